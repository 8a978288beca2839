//! Certificates are renewed by their own bearer.

use std::sync::Arc;

use lazarette_core::error::{Failure, Reason};
use lazarette_node::clock::Clock;
use lazarette_proto::controller::v1::{
    RenewCertificateRequest, RenewCertificateResponse,
    certificate_service_server::CertificateService,
};
use tonic::{Request, Response, Status};

use super::{host_of, refused};
use crate::{pki::Authority, places::store_failed, store::hosts::Hosts};

/// Signs a new certificate for an agent, whose old one may have ended (H29).
#[derive(Debug)]
pub struct Certificates {
    /// Who signs.
    pub authority: Arc<Authority>,
    /// Who may have one.
    pub hosts: Hosts,
    /// When it begins.
    pub clock: Arc<dyn Clock>,
}

#[tonic::async_trait]
impl CertificateService for Certificates {
    async fn renew_certificate(
        &self,
        request: Request<RenewCertificateRequest>,
    ) -> Result<Response<RenewCertificateResponse>, Status> {
        let id = host_of(&request)?;
        let host = self.hosts.get(id).await.map_err(store_failed).map_err(refused)?;
        if host.is_none_or(|host| host.removed.is_some()) {
            let message = format!("host {id} was removed; invite it anew with `ctl host invite`");
            return Err(refused(Failure::new(Reason::Revoked, message)));
        }
        let wanted = request.into_inner().certificate_request;
        let issued = self.authority.certify_agent(&wanted, id, self.clock.now());
        let issued = issued.map_err(|error| {
            let message = lazarette_core::error::chain(&error);
            refused(Failure::new(Reason::InvalidInput, message))
        })?;
        let (key, expires) = (issued.certificate.key, issued.certificate.not_after);
        let updated = self.hosts.update(id, |host| {
            host.key = key;
            host.certificate_expires = expires;
        });
        updated.await.map_err(store_failed).map_err(refused)?;
        tracing::info!(host = %id, "certificate renewed");
        Ok(Response::new(RenewCertificateResponse { certificates: vec![issued.der.to_vec()] }))
    }
}
