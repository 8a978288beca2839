//! Renewal: a new certificate at half the life of the old one, with a new key, without a restart.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use lazarette_core::error::{Failure, Reason, chain};
use lazarette_node::{
    credentials::{Credentials, CredentialsError},
    key_request::{KeyRequest, KeyRequestError},
    live::{LiveCredentials, LiveError},
    status,
};
use lazarette_proto::controller::v1::{
    RenewCertificateRequest, certificate_service_client::CertificateServiceClient,
};
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;

use crate::disk::blocking;

/// How often the certificate's age is looked at: a suspended machine notices soon.
const LOOK_EVERY: Duration = Duration::from_mins(10);
/// After a failure, and the most that hosts are spread by.
const TRY_AGAIN: Duration = Duration::from_mins(1);

/// A certificate could not be renewed; the old one stays in use.
#[derive(Debug, thiserror::Error)]
enum RenewError {
    #[error("make a key")]
    Key(#[source] KeyRequestError),
    #[error("ask the controller for a new certificate")]
    Refused(#[source] Failure),
    #[error("use the new certificate")]
    Credentials(#[source] CredentialsError),
    #[error("keep the new certificate")]
    Save(#[source] CredentialsError),
    #[error("take the new certificate into use")]
    Live(#[source] LiveError),
}

/// Renews whenever half of the certificate's life is over, until cancelled.
pub async fn renew_when_due(
    live: LiveCredentials,
    calls: Channel,
    path: PathBuf,
    cancel: CancellationToken,
) {
    loop {
        let wait = match due_in(&live) {
            Some(wait) => wait.min(LOOK_EVERY),
            None => match renew(&live, calls.clone(), &path).await {
                Ok(()) => {
                    tracing::info!(until = %live.current().certificate().not_after, "renewed");
                    LOOK_EVERY
                }
                Err(error) => {
                    tracing::warn!(error = %chain(&error), "renew the certificate");
                    TRY_AGAIN.mul_f64(0.5 + fastrand::f64())
                }
            },
        };
        tokio::select! {
            () = cancel.cancelled() => return,
            () = tokio::time::sleep(wait) => {}
        }
    }
}

/// How long until half of the certificate's life is over; nothing when it is.
fn due_in(live: &LiveCredentials) -> Option<Duration> {
    let half = live.current().certificate().renewal();
    let left = half.duration_since(live.clock().now());
    Duration::try_from(left).ok().filter(|left| !left.is_zero())
}

async fn renew(live: &LiveCredentials, calls: Channel, path: &Path) -> Result<(), RenewError> {
    let key = KeyRequest::generate().map_err(RenewError::Key)?;
    let request = RenewCertificateRequest { certificate_request: key.request_der().to_vec() };
    let answer = CertificateServiceClient::new(calls).renew_certificate(request).await;
    let answer = answer.map_err(|refused| {
        RenewError::Refused(status::to_failure(&refused, Reason::HostOffline))
    })?;
    let chain = answer.into_inner().certificates.into_iter().map(Into::into).collect();
    let authorities = live.current().authorities().to_vec();
    let credentials =
        Credentials::new(key.key_pem(), chain, authorities).map_err(RenewError::Credentials)?;
    let (saved, path) = (credentials.clone(), path.to_path_buf());
    blocking(move || saved.save(&path)).await.map_err(RenewError::Save)?;
    live.replace(credentials).map_err(RenewError::Live)
}
