//! Verify: whom to believe. The chain is webpki's to check; the identity is checked on top of it.

use std::sync::Arc;

use lazarette_core::id::FleetId;
use rustls::{
    CertificateError as TlsCertificateError, DigitallySignedStruct, DistinguishedName, Error,
    OtherError, RootCertStore, SignatureScheme,
    client::{
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_cert_signed_by_trust_anchor,
    },
    crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature},
    server::{
        ParsedCertificate, WebPkiClientVerifier,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use crate::{
    certificate::{Certificate, CertificateError, KeyFingerprint},
    identity::{Identity, Subject},
    tls::{self, TlsError},
};

/// A certificate with a good chain whose bearer is not whom we want to speak to.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// It says nothing that we understand.
    #[error("read who the peer is")]
    Unreadable(#[source] CertificateError),
    /// It is another fleet's.
    #[error("the peer belongs to another fleet, {0}")]
    Fleet(FleetId),
    /// It is something else than what may stand there.
    #[error("the peer is `{0}`, which may not be at this end of a connection")]
    Role(Identity),
    /// Nothing in its chain has the key that the token names.
    #[error("the peer's certificate is not from the authority that the token names")]
    Pin,
}

impl From<IdentityError> for Error {
    fn from(error: IdentityError) -> Self {
        Self::InvalidCertificate(TlsCertificateError::Other(OtherError(Arc::new(error))))
    }
}

/// What the controller's certificate is checked against.
#[derive(Debug)]
pub(crate) enum Trust {
    /// The authorities we have, and our own fleet.
    Fleet { roots: Arc<RootCertStore>, fleet: FleetId },
    /// An authority that we only know the key of; the server sends its certificate along.
    Pin(KeyFingerprint),
}

/// Lets a client speak to a controller only: names in DNS do not matter.
#[derive(Debug)]
pub(crate) struct ControllerVerifier {
    trust: Trust,
    provider: Arc<CryptoProvider>,
}

impl ControllerVerifier {
    pub(crate) fn new(trust: Trust) -> Self {
        Self { trust, provider: tls::provider() }
    }

    fn check_chain(
        &self,
        leaf: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), Error> {
        let pinned;
        let roots = match &self.trust {
            Trust::Fleet { roots, .. } => roots.as_ref(),
            Trust::Pin(pin) => {
                pinned = pinned_roots(*pin, chain)?;
                &pinned
            }
        };
        let algorithms = self.provider.signature_verification_algorithms.all;
        let leaf = ParsedCertificate::try_from(leaf)?;
        verify_server_cert_signed_by_trust_anchor(&leaf, roots, chain, now, algorithms)
    }

    fn check_identity(&self, leaf: &CertificateDer<'_>) -> Result<(), IdentityError> {
        let Subject { fleet, identity } =
            Certificate::read(leaf).map_err(IdentityError::Unreadable)?.subject;
        match (&self.trust, identity) {
            (Trust::Fleet { fleet: own, .. }, _) if *own != fleet => {
                Err(IdentityError::Fleet(fleet))
            }
            (_, Identity::Controller) => Ok(()),
            (_, other) => Err(IdentityError::Role(other)),
        }
    }
}

fn pinned_roots(pin: KeyFingerprint, chain: &[CertificateDer<'_>]) -> Result<RootCertStore, Error> {
    let is_pinned = |der: &&CertificateDer<'_>| {
        KeyFingerprint::of_certificate(der).is_ok_and(|fingerprint| fingerprint == pin)
    };
    let authority = chain.iter().find(is_pinned).ok_or(IdentityError::Pin)?;
    let mut roots = RootCertStore::empty();
    roots.add(authority.clone().into_owned())?;
    Ok(roots)
}

impl ServerCertVerifier for ControllerVerifier {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.check_chain(leaf, chain, now)?;
        self.check_identity(leaf)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, leaf, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, leaf, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// Lets agents and operators of this fleet speak to the controller. An agent's certificate may
/// have expired: what it may still do then is for `authz` to say.
#[derive(Debug)]
pub(crate) struct MemberVerifier {
    chain: Arc<dyn ClientCertVerifier>,
    fleet: FleetId,
}

impl MemberVerifier {
    pub(crate) fn new(roots: Arc<RootCertStore>, fleet: FleetId) -> Result<Self, TlsError> {
        let chain = WebPkiClientVerifier::builder_with_provider(roots, tls::provider())
            .build()
            .map_err(TlsError::Verifier)?;
        Ok(Self { chain, fleet })
    }

    fn check_identity(&self, subject: &Subject) -> Result<(), IdentityError> {
        match &subject.identity {
            _ if subject.fleet != self.fleet => Err(IdentityError::Fleet(subject.fleet)),
            Identity::Agent { .. } | Identity::Operator { .. } => Ok(()),
            Identity::Controller => Err(IdentityError::Role(Identity::Controller)),
        }
    }
}

impl ClientCertVerifier for MemberVerifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.chain.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let certificate = Certificate::read(leaf).map_err(IdentityError::Unreadable)?;
        self.check_identity(&certificate.subject)?;
        let agent = matches!(certificate.subject.identity, Identity::Agent { .. });
        match self.chain.verify_client_cert(leaf, chain, now) {
            // Only its age may be wrong: everything else is checked as of its last second.
            Err(error) if agent && is_expired(&error) => {
                self.chain.verify_client_cert(leaf, chain, certificate.end())
            }
            answer => answer,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chain.verify_tls12_signature(message, leaf, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chain.verify_tls13_signature(message, leaf, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chain.supported_verify_schemes()
    }
}

pub(crate) fn is_expired(error: &Error) -> bool {
    matches!(
        error,
        Error::InvalidCertificate(
            TlsCertificateError::Expired | TlsCertificateError::ExpiredContext { .. }
        )
    )
}
