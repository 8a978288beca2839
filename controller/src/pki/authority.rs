//! Authority: the key that makes certificates of the fleet, and its own certificate.

use std::{
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use jiff::Timestamp;
use lazarette_core::id::{FleetId, ParseIdError};
use lazarette_node::{
    certificate::{CertificateDer, CertificateError, KeyFingerprint},
    credentials::CredentialsError,
    durable::{self, DurableError},
};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SerialNumber,
};
use x509_parser::pem::Pem;
use zeroize::Zeroizing;

/// In the controller's directory: the authority's key and certificate, mode 0600.
pub const AUTHORITY_FILE: &str = "authority.pem";

const AUTHORITY_LIFE: Duration = Duration::from_hours(10 * 365 * 24);
/// Clocks may differ by this much: a certificate begins so long before it is issued.
pub(super) const SKEW: Duration = Duration::from_mins(5);

/// The authority could not be made, read or used.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    /// Its file cannot be read, may be read by others, or is there already.
    #[error("{doing} `{}`", path.display())]
    File {
        /// What we wanted.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// Its file could not be written.
    #[error("keep the authority")]
    Write(#[source] DurableError),
    /// A certificate could not be made or read.
    #[error("{doing}")]
    Certificate {
        /// What we wanted.
        doing: &'static str,
        /// Why not.
        #[source]
        source: rcgen::Error,
    },
    /// The request's key cannot be certified.
    #[error("certify the key: {0}")]
    Key(&'static str),
    /// What was made is not what Lazarette reads.
    #[error("read back the certificate that was made")]
    ReadBack(#[source] CertificateError),
    /// Key and certificate that were made do not fit.
    #[error("put the credentials together")]
    Credentials(#[source] CredentialsError),
    /// The authority's certificate names no fleet.
    #[error("read the fleet in the authority's certificate")]
    Fleet(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The machine has no randomness.
    #[error("get random bytes")]
    Chance(#[source] getrandom::Error),
}

pub(super) fn rcgen_failed(doing: &'static str) -> impl Fn(rcgen::Error) -> PkiError {
    move |source| PkiError::Certificate { doing, source }
}

/// The fleet's authority.
#[derive(Debug)]
pub struct Authority {
    fleet: FleetId,
    fingerprint: KeyFingerprint,
    certificate: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// Makes a new fleet's authority and keeps it in `directory`, which must have none yet.
    ///
    /// # Errors
    /// There is one already, or the file cannot be written.
    pub fn create(directory: &Path, fleet: FleetId, now: Timestamp) -> Result<Self, PkiError> {
        let path = directory.join(AUTHORITY_FILE);
        if path.exists() {
            let source = io::Error::from(io::ErrorKind::AlreadyExists);
            return Err(PkiError::File { doing: "make an authority in", path, source });
        }
        let key = KeyPair::generate().map_err(rcgen_failed("make the authority's key"))?;
        let mut params = params(now, AUTHORITY_LIFE)?;
        params.distinguished_name.push(DnType::CommonName, fleet.to_string());
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let certificate =
            params.self_signed(&key).map_err(rcgen_failed("make the authority's certificate"))?;
        let text = Zeroizing::new(format!("{}{}", key.serialize_pem(), certificate.pem()));
        durable::write(&path, text.as_bytes(), 0o600).map_err(PkiError::Write)?;
        Self::new(key, certificate.der().clone())
    }

    /// The authority that is kept in `directory`.
    ///
    /// # Errors
    /// There is none, others can read it, or it is damaged.
    pub fn load(directory: &Path) -> Result<Self, PkiError> {
        let path = directory.join(AUTHORITY_FILE);
        let failed =
            |source| PkiError::File { doing: "read the authority", path: path.clone(), source };
        let mode = fs::metadata(&path).map_err(failed)?.mode() & 0o777;
        if mode & 0o077 != 0 {
            let way_out = format!(
                "it can be read by others than its owner (mode {mode:03o}): run `chmod 600 {}`",
                path.display()
            );
            return Err(failed(io::Error::new(io::ErrorKind::PermissionDenied, way_out)));
        }
        let text = Zeroizing::new(fs::read_to_string(&path).map_err(failed)?);
        let damaged = || failed(io::Error::new(io::ErrorKind::InvalidData, "it is damaged"));
        let blocks = Pem::iter_from_buffer(text.as_bytes()).filter_map(Result::ok);
        let block = blocks.filter(|block| block.label == "CERTIFICATE").last();
        let certificate = CertificateDer::from(block.ok_or_else(damaged)?.contents);
        let key = KeyPair::from_pem(&text).map_err(rcgen_failed("read the authority's key"))?;
        Self::new(key, certificate)
    }

    fn new(key: KeyPair, certificate: CertificateDer<'static>) -> Result<Self, PkiError> {
        let fingerprint =
            KeyFingerprint::of_certificate(&certificate).map_err(PkiError::ReadBack)?;
        if KeyFingerprint::of_public_key(&rcgen::PublicKeyData::subject_public_key_info(&key))
            != fingerprint
        {
            return Err(PkiError::Key("it is not the key of the authority's certificate"));
        }
        let fleet = fleet_of(&certificate)?;
        let issuer = Issuer::from_ca_cert_der(&certificate, key)
            .map_err(rcgen_failed("use the authority's certificate"))?;
        Ok(Self { fleet, fingerprint, certificate, issuer })
    }

    /// The fleet.
    pub const fn fleet(&self) -> FleetId {
        self.fleet
    }

    /// The fingerprint of its key, which tokens carry.
    pub const fn fingerprint(&self) -> KeyFingerprint {
        self.fingerprint
    }

    /// Its certificate, which every member trusts.
    pub const fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    pub(super) const fn issuer(&self) -> &Issuer<'static, KeyPair> {
        &self.issuer
    }
}

fn fleet_of(certificate: &CertificateDer<'_>) -> Result<FleetId, PkiError> {
    use x509_parser::prelude::{FromDer as _, X509Certificate};
    let (_, read) = X509Certificate::from_der(certificate)
        .map_err(|error| PkiError::Fleet(error.to_string().into()))?;
    let name = read.subject().iter_common_name().next().and_then(|name| name.as_str().ok());
    let fleet: Result<FleetId, ParseIdError> = name.unwrap_or_default().parse();
    fleet.map_err(|error| PkiError::Fleet(error.into()))
}

/// Of a certificate that begins now and lasts for `life`; it names nobody yet.
pub(super) fn params(now: Timestamp, life: Duration) -> Result<CertificateParams, PkiError> {
    let mut serial = [0; 16];
    getrandom::fill(&mut serial).map_err(PkiError::Chance)?;
    // Positive and without leading zeros, as certificates want it.
    if let Some(first) = serial.first_mut() {
        *first = (*first & 0x7F) | 0x40;
    }
    let since_epoch = Duration::from_secs(u64::try_from(now.as_second()).unwrap_or_default());
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    params.not_before = epoch + since_epoch.saturating_sub(SKEW);
    params.not_after = epoch + since_epoch.saturating_add(life);
    Ok(params)
}
