//! Enrolment: a token makes a host known, once.

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
    time::{Duration, Instant},
};

use lazarette_core::{
    error::{Failure, Reason},
    id::HostId,
};
use lazarette_node::{
    clock::Clock,
    peer::PeerInfo,
    rate::{Rate, Rates, network},
    token::{TokenId, TokenSecret},
};
use lazarette_proto::{
    PROTOCOL_VERSION,
    convert::{ConvertError, parse},
    enrollment::v1::{EnrollRequest, EnrollResponse, enrollment_service_server::EnrollmentService},
};
use tonic::{Request, Response, Status};

use super::{malformed, refused};
use crate::{
    pki::{Authority, Issued},
    places::store_failed,
    store::{
        Batch, Store,
        audit::{Act, Audit},
        hosts::{Host, Hosts},
        tokens::{Invitation, TokenError, Tokens},
    },
};

/// Each address, and all of them together: enough for a fleet that is set up by a script.
const OF_ONE: Rate = Rate { burst: 10, every: Duration::from_secs(1) };
const OF_ALL: Rate = Rate { burst: 50, every: Duration::from_millis(100) };
/// Addresses that are told apart at once.
const ADDRESSES: usize = 10_000;

/// How often somebody without a certificate may call (T9).
#[derive(Debug)]
pub struct Limits {
    of_one: Rates<IpAddr>,
    of_all: Rates<()>,
}

impl Default for Limits {
    fn default() -> Self {
        Self { of_one: Rates::new(OF_ONE, ADDRESSES), of_all: Rates::new(OF_ALL, 1) }
    }
}

impl Limits {
    fn admit(&self, peer: Option<&PeerInfo>) -> Result<(), Failure> {
        let now = Instant::now();
        let address = peer.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.address.ip());
        let taken = self.of_one.take(network(address), now);
        taken
            .and_then(|()| self.of_all.take((), now))
            .map_err(|often| Failure::new(Reason::LimitReached, format!("enrol a host: {often}")))
    }
}

/// Burns tokens and signs certificates.
#[derive(Debug)]
pub struct Enrollment {
    /// Who signs.
    pub authority: Arc<Authority>,
    /// Where hosts and tokens are kept.
    pub store: Arc<dyn Store>,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// How often anybody may try.
    pub limits: Limits,
}

#[tonic::async_trait]
impl EnrollmentService for Enrollment {
    async fn enroll(
        &self,
        request: Request<EnrollRequest>,
    ) -> Result<Response<EnrollResponse>, Status> {
        self.limits.admit(PeerInfo::of(&request)).map_err(refused)?;
        let request = request.into_inner();
        if request.protocol_version != PROTOCOL_VERSION {
            let message = format!(
                "the agent speaks protocol {}, this controller {PROTOCOL_VERSION}; install the \
                 agent of this controller's version",
                request.protocol_version
            );
            return Err(refused(Failure::new(Reason::VersionUnsupported, message)));
        }
        let token: TokenId = parse("token_id", &request.token_id).map_err(malformed)?;
        let secret: [u8; 32] =
            request.token_secret.as_slice().try_into().map_err(|_length| {
                malformed(ConvertError::new("token_secret", "has not 32 bytes"))
            })?;
        let (host, issued) = self
            .burn_and_sign(&token, &TokenSecret::from_bytes(secret), &request.certificate_request)
            .await
            .map_err(refused)?;
        tracing::info!(host = %host.id, name = %host.name, "host enrolled");
        Ok(Response::new(EnrollResponse {
            certificates: vec![issued.der.to_vec()],
            authority: self.authority.certificate().to_vec(),
            host_id: host.id.to_string(),
            host: host.name.to_string(),
        }))
    }
}

impl Enrollment {
    /// Signs first, but gives the certificate out only once the token is burnt, durably: of two
    /// who come with one token at most one gets a certificate that anybody knows.
    async fn burn_and_sign(
        &self,
        token: &TokenId,
        secret: &TokenSecret,
        wanted: &[u8],
    ) -> Result<(Host, Issued), Failure> {
        let now = self.clock.now();
        let mut batch = Batch::new();
        let tokens = Tokens::new(Arc::clone(&self.store));
        let burnt = tokens.burn(&mut batch, token, secret, now).await;
        let invitation = burnt.map_err(|error: TokenError| Failure::of(&error))?;
        let hosts = Hosts::new(Arc::clone(&self.store));
        let remembered = hosts.by_name(&invitation.host).await.map_err(store_failed)?;
        let remembered = remembered.filter(|host| !host.is_enrolled());
        let id = remembered.as_ref().map_or_else(HostId::new, |host| host.id);
        let issued = self.authority.certify_agent(wanted, id, now).map_err(|error| {
            Failure::new(Reason::InvalidInput, lazarette_core::error::chain(&error))
        })?;
        let host = Host {
            id,
            key: issued.certificate.key,
            enrolled: now,
            certificate_expires: issued.certificate.not_after,
            ..Host::remembered(invitation.host.clone())
        };
        if remembered.is_none() {
            hosts.add(&mut batch, &host).map_err(store_failed)?;
        }
        let act = Act {
            at: now,
            who: "nobody".to_owned(),
            certificate: String::new(),
            what: format!("enroll host {} with token {token}", host.name),
            refused: None,
        };
        let audit = Audit::new(Arc::clone(&self.store));
        match audit.record(&act, &batch).await {
            Ok(_) => {}
            Err(error) if error.is_conflict() => return Err(lost_the_race(&invitation)),
            Err(error) => return Err(store_failed(error)),
        }
        if remembered.is_some() {
            hosts.update(id, |it| *it = host.clone()).await.map_err(store_failed)?;
        }
        Ok((host, issued))
    }
}

fn lost_the_race(invitation: &Invitation) -> Failure {
    let message = format!(
        "take the token: it was used meanwhile, or the name `{}` was taken; ask for another with \
         `ctl host invite`",
        invitation.host
    );
    Failure::new(Reason::TokenRefused, message)
}
