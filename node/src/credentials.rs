//! Credentials: a key, its certificate and the authority to trust, in one PEM file of mode 0600.

use std::{
    fmt, fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use lazarette_core::id::FleetId;
use rustls::sign::CertifiedKey;
use rustls_pki_types::{
    CertificateDer, PrivateKeyDer,
    pem::{self, PemObject as _},
};
use zeroize::Zeroizing;

use crate::{
    certificate::{self, Certificate, CertificateError, KeyFingerprint},
    durable::{self, DurableError},
    tls,
};

/// Credentials cannot be read or do not fit together.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// The file cannot be read.
    #[error("read the credentials `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Others than the owner can read the file.
    #[error("`{p}` can be read by others than its owner (mode {mode:03o}): run `chmod 600 {p}`", p = path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// What is in the file cannot be used.
    #[error("use the credentials `{}`", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: Box<CredentialsError>,
    },
    /// The text is not PEM, or a part is missing.
    #[error("read the PEM text of {what}")]
    Pem {
        /// Which part.
        what: &'static str,
        /// Why.
        #[source]
        source: pem::Error,
    },
    /// There is no certificate, or no authority.
    #[error("the credentials hold no {0}")]
    Missing(&'static str),
    /// A certificate is not one of Lazarette's.
    #[error("use the certificate")]
    Certificate(#[source] CertificateError),
    /// The key is of a kind that cannot be used, or is not the certificate's.
    #[error("use the key with its certificate")]
    Key(#[source] rustls::Error),
    /// They could not be written.
    #[error("keep the credentials")]
    Write(#[source] DurableError),
}

/// A key, the chain of its certificate, and the authorities to trust. Cheap to clone.
#[derive(Clone)]
pub struct Credentials(Arc<Parts>);

struct Parts {
    key: PrivateKeyDer<'static>,
    certified: Arc<CertifiedKey>,
    authorities: Vec<CertificateDer<'static>>,
    certificate: Certificate,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Credentials").field(&self.0.certificate).finish()
    }
}

impl Credentials {
    /// From a key in PEM, the certificate's chain (its own first) and the authorities to trust.
    ///
    /// # Errors
    /// They do not fit together, or one of them cannot be used.
    pub fn new(
        key_pem: &str,
        chain: Vec<CertificateDer<'static>>,
        authorities: Vec<CertificateDer<'static>>,
    ) -> Result<Self, CredentialsError> {
        let key = PrivateKeyDer::from_pem_slice(key_pem.as_bytes())
            .map_err(|source| CredentialsError::Pem { what: "the key", source })?;
        let leaf = chain.first().ok_or(CredentialsError::Missing("certificate"))?;
        if authorities.is_empty() {
            return Err(CredentialsError::Missing("authority to trust"));
        }
        let certificate = Certificate::read(leaf).map_err(CredentialsError::Certificate)?;
        let signing = tls::provider()
            .key_provider
            .load_private_key(key.clone_key())
            .map_err(CredentialsError::Key)?;
        let certified = CertifiedKey::new(chain, signing);
        certified.keys_match().map_err(CredentialsError::Key)?;
        let certified = Arc::new(certified);
        Ok(Self(Arc::new(Parts { key, certified, authorities, certificate })))
    }

    /// From one PEM text with key, certificate and authority in any order.
    ///
    /// # Errors
    /// A part is missing or cannot be used.
    pub fn from_pem(text: &str) -> Result<Self, CredentialsError> {
        let mut chain = Vec::new();
        let mut authorities = Vec::new();
        for der in CertificateDer::pem_slice_iter(text.as_bytes()) {
            let der =
                der.map_err(|source| CredentialsError::Pem { what: "a certificate", source })?;
            let is_authority =
                certificate::is_authority(&der).map_err(CredentialsError::Certificate)?;
            if is_authority { authorities.push(der) } else { chain.push(der) }
        }
        Self::new(text, chain, authorities)
    }

    /// All of it as one PEM text: key, certificate, authority.
    pub fn to_pem(&self) -> Zeroizing<String> {
        let mut text = Zeroizing::new(String::new());
        let label = match self.0.key {
            PrivateKeyDer::Pkcs1(_) => "RSA PRIVATE KEY",
            PrivateKeyDer::Sec1(_) => "EC PRIVATE KEY",
            PrivateKeyDer::Pkcs8(_) | _ => "PRIVATE KEY",
        };
        push_pem(&mut text, label, self.0.key.secret_der());
        for der in self.0.certified.cert.iter().chain(&self.0.authorities) {
            push_pem(&mut text, "CERTIFICATE", der);
        }
        text
    }

    /// Reads the file at `path`, which nobody but its owner may read.
    ///
    /// # Errors
    /// Others can read the file, or what is in it cannot be used; both name the file.
    pub fn load(path: &Path) -> Result<Self, CredentialsError> {
        let read = |source| CredentialsError::Read { path: path.to_owned(), source };
        let mode = fs::metadata(path).map_err(read)?.mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(CredentialsError::Exposed { path: path.to_owned(), mode });
        }
        let text = Zeroizing::new(fs::read_to_string(path).map_err(read)?);
        let within =
            |error| CredentialsError::File { path: path.to_owned(), source: Box::new(error) };
        Self::from_pem(&text).map_err(within)
    }

    /// Writes the file at `path` durably, readable by its owner only, in place of what was there.
    ///
    /// # Errors
    /// The file could not be written; the one before is still there.
    pub fn save(&self, path: &Path) -> Result<(), CredentialsError> {
        durable::write(path, self.to_pem().as_bytes(), 0o600).map_err(CredentialsError::Write)
    }

    /// What the certificate says: identity, serial, when it ends.
    pub fn certificate(&self) -> &Certificate {
        &self.0.certificate
    }

    /// The fleet it belongs to.
    pub fn fleet(&self) -> FleetId {
        self.0.certificate.subject.fleet
    }

    /// The authorities to trust, as DER.
    pub fn authorities(&self) -> &[CertificateDer<'static>] {
        &self.0.authorities
    }

    /// The fingerprint of the (first) authority's key: what tokens carry.
    ///
    /// # Errors
    /// The authority cannot be read.
    pub fn authority_fingerprint(&self) -> Result<KeyFingerprint, CredentialsError> {
        let authority = self.0.authorities.first();
        let authority = authority.ok_or(CredentialsError::Missing("authority to trust"))?;
        KeyFingerprint::of_certificate(authority).map_err(CredentialsError::Certificate)
    }

    pub(crate) fn certified(&self) -> &Arc<CertifiedKey> {
        &self.0.certified
    }
}

fn push_pem(text: &mut String, label: &str, der: &[u8]) {
    text.push_str("-----BEGIN ");
    text.push_str(label);
    text.push_str("-----\n");
    let encoded = Zeroizing::new(STANDARD.encode(der));
    let mut rest = encoded.as_str();
    while !rest.is_empty() {
        let (line, more) = rest.split_at(rest.len().min(64));
        text.push_str(line);
        text.push('\n');
        rest = more;
    }
    text.push_str("-----END ");
    text.push_str(label);
    text.push_str("-----\n");
}
