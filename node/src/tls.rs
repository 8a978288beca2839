//! TLS: version 1.3 only, both ways, nobody trusted but the fleet's own authority.

use std::sync::Arc;

use jiff::Timestamp;
use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    client::Resumption,
    crypto::{CryptoProvider, aws_lc_rs},
    server::{NoServerSessionStorage, VerifierBuilderError},
    sign::{CertifiedKey, SingleCertAndKey},
    time_provider::TimeProvider,
    version::TLS13,
};
use rustls_pki_types::UnixTime;

use crate::{
    certificate::KeyFingerprint,
    clock::Clock,
    credentials::Credentials,
    protocol::Protocol,
    verify::{ControllerVerifier, MemberVerifier, Trust},
};

/// A configuration for TLS cannot be made of these credentials.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The authority's certificate cannot be one.
    #[error("trust the authority of the fleet")]
    Authority(#[source] rustls::Error),
    /// Nobody could be believed.
    #[error("make the check of client certificates")]
    Verifier(#[source] VerifierBuilderError),
    /// The library refuses the settings.
    #[error("set up TLS 1.3")]
    Version(#[source] rustls::Error),
}

/// Rustls asks our clock, so that tests can set it.
#[derive(Debug)]
struct Time(Arc<dyn Clock>);

impl TimeProvider for Time {
    fn current_time(&self) -> Option<UnixTime> {
        let since: Timestamp = self.0.now();
        let seconds = u64::try_from(since.as_second()).ok()?;
        Some(UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds)))
    }
}

pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

fn roots(credentials: &Credentials) -> Result<Arc<RootCertStore>, TlsError> {
    let mut roots = RootCertStore::empty();
    for authority in credentials.authorities() {
        roots.add(authority.clone()).map_err(TlsError::Authority)?;
    }
    Ok(Arc::new(roots))
}

fn alpn(protocols: &[Protocol]) -> Vec<Vec<u8>> {
    protocols.iter().map(|protocol| protocol.alpn().as_bytes().to_vec()).collect()
}

/// For agents and operators: a certificate is asked of them.
pub(crate) fn members(
    credentials: &Credentials,
    clock: &Arc<dyn Clock>,
) -> Result<ServerConfig, TlsError> {
    let verifier = MemberVerifier::new(roots(credentials)?, credentials.fleet())?;
    let config = ServerConfig::builder_with_details(provider(), Arc::new(Time(clock.clone())))
        .with_protocol_versions(&[&TLS13])
        .map_err(TlsError::Version)?
        .with_client_cert_verifier(Arc::new(verifier))
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(credentials.certified().clone())));
    Ok(without_resumption(config, &[Protocol::Reverse, Protocol::Calls]))
}

/// For somebody without a certificate: enrolment only. The authority's certificate is sent along.
pub(crate) fn newcomers(
    credentials: &Credentials,
    clock: &Arc<dyn Clock>,
) -> Result<ServerConfig, TlsError> {
    let certified = credentials.certified();
    let chain = certified.cert.iter().chain(credentials.authorities()).cloned().collect();
    let certified = Arc::new(CertifiedKey::new(chain, certified.key.clone()));
    let config = ServerConfig::builder_with_details(provider(), Arc::new(Time(clock.clone())))
        .with_protocol_versions(&[&TLS13])
        .map_err(TlsError::Version)?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
    Ok(without_resumption(config, &[Protocol::Enroll]))
}

/// A resumed session would skip the check of the certificate, so there are none.
fn without_resumption(mut config: ServerConfig, protocols: &[Protocol]) -> ServerConfig {
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.alpn_protocols = alpn(protocols);
    config
}

/// For a member of the fleet that calls the controller.
pub(crate) fn member(
    credentials: &Credentials,
    protocol: Protocol,
    clock: &Arc<dyn Clock>,
) -> Result<ClientConfig, TlsError> {
    let trust = Trust::Fleet { roots: roots(credentials)?, fleet: credentials.fleet() };
    let mut config = ClientConfig::builder_with_details(provider(), Arc::new(Time(clock.clone())))
        .with_protocol_versions(&[&TLS13])
        .map_err(TlsError::Version)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(ControllerVerifier::new(trust)))
        .with_client_cert_resolver(Arc::new(SingleCertAndKey::from(
            credentials.certified().clone(),
        )));
    config.resumption = Resumption::disabled();
    config.alpn_protocols = alpn(&[protocol]);
    Ok(config)
}

/// For somebody who only has a token.
pub(crate) fn newcomer(
    authority: KeyFingerprint,
    clock: &Arc<dyn Clock>,
) -> Result<ClientConfig, TlsError> {
    let verifier = ControllerVerifier::new(Trust::Pin(authority));
    let mut config = ClientConfig::builder_with_details(provider(), Arc::new(Time(clock.clone())))
        .with_protocol_versions(&[&TLS13])
        .map_err(TlsError::Version)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    config.resumption = Resumption::disabled();
    config.alpn_protocols = alpn(&[Protocol::Enroll]);
    Ok(config)
}
