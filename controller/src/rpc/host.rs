//! Hosts are invited, listed and removed.

use std::{sync::Arc, time::Duration};

use jiff::{SignedDuration, Timestamp};
use lazarette_core::{
    error::{Failure, Reason},
    name::HostName,
};
use lazarette_node::{address::Address, clock::Clock, connections::Connections};
use lazarette_proto::{
    controller::v1::{
        DrainHostRequest, DrainHostResponse, Host as WireHost, InviteHostRequest,
        InviteHostResponse, ListHostsRequest, ListHostsResponse, RemoveHostRequest,
        RemoveHostResponse, RenameHostRequest, RenameHostResponse,
        host_service_server::HostService,
    },
    convert::{ConvertError, parse, to_wire_time},
};
use tonic::{Request, Response, Status};

use super::{act, caller, malformed, record, refused};
use crate::{
    disks::Disks,
    fleet::Fleet,
    pki::{Authority, new_token},
    places::store_failed,
    runs::Runs,
    store::{
        Batch, Store,
        hosts::{Host, Hosts},
        revocations::{Revocation, Revocations},
        tokens::{Invitation, Tokens},
    },
};

/// For how long a token is good when nothing else is said.
const TOKEN_LIFE: Duration = Duration::from_hours(1);
/// No token is good for longer.
const TOKEN_LIFE_MAX: Duration = Duration::from_hours(7 * 24);

/// Invites, lists and removes hosts.
#[derive(Debug)]
pub struct HostsRpc {
    /// Where hosts are kept.
    pub store: Arc<dyn Store>,
    /// Whose fingerprint is in a token.
    pub authority: Arc<Authority>,
    /// Where the controller is reached.
    pub address: Address,
    /// Who is connected.
    pub fleet: Fleet,
    /// Whose runs are open.
    pub runs: Runs,
    /// Who is refused.
    pub revocations: Arc<Revocations>,
    /// What is cut.
    pub connections: Connections,
    /// How much room there is.
    pub disks: Disks,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
}

impl HostsRpc {
    fn hosts(&self) -> Hosts {
        Hosts::new(Arc::clone(&self.store))
    }

    async fn named(&self, name: &HostName) -> Result<Option<Host>, Status> {
        self.hosts().by_name(name).await.map_err(store_failed).map_err(refused)
    }

    async fn existing(&self, name: &HostName) -> Result<Host, Status> {
        self.named(name).await?.ok_or_else(|| {
            let message = format!("there is no host `{name}`; `ctl host list` shows them");
            refused(Failure::new(Reason::HostUnknown, message))
        })
    }

    fn wire(&self, host: Host) -> WireHost {
        let agent = self.fleet.agent(host.id);
        let (warnings, holds) = agent
            .as_ref()
            .map(|agent| (agent.warnings.clone(), agent.host.holds.clone()))
            .unwrap_or_default();
        let enrolled = host.is_enrolled();
        WireHost {
            host_id: host.id.to_string(),
            name: host.name.to_string(),
            connected: agent.is_some(),
            last_seen_time: host.last_seen.map(to_wire_time),
            agent_version: host.agent_version.unwrap_or_default(),
            engine_version: host.engine_version.unwrap_or_default(),
            certificate_expire_time: enrolled.then(|| to_wire_time(host.certificate_expires)),
            warnings,
            holds,
            clock_ahead_ms: agent
                .and_then(|agent| agent.clock_ahead)
                .and_then(|ahead| i64::try_from(ahead.as_millis()).ok()),
            drain_time: host.drained.map(to_wire_time),
        }
    }
}

#[tonic::async_trait]
impl HostService for HostsRpc {
    async fn invite_host(
        &self,
        request: Request<InviteHostRequest>,
    ) -> Result<Response<InviteHostResponse>, Status> {
        let name: HostName = parse("host", &request.get_ref().host).map_err(malformed)?;
        let life = life(request.get_ref().valid_period.as_ref()).map_err(malformed)?;
        if self.named(&name).await?.is_some_and(|host| host.is_enrolled()) {
            let message = format!(
                "there is a host `{name}` already; remove it first, or choose another name"
            );
            return Err(refused(Failure::new(Reason::NameTaken, message)));
        }
        let token = new_token(&self.authority, self.address.clone()).map_err(|error| {
            refused(Failure::new(Reason::Internal, lazarette_core::error::chain(&error)))
        })?;
        let now = self.clock.now();
        let invitation = Invitation {
            token: token.id.clone(),
            secret_digest: hex::encode(token.secret.digest()),
            host: name.clone(),
            invited_by: caller(&request),
            created: now,
            expires: now
                .saturating_add(SignedDuration::try_from(life).unwrap_or_default())
                .unwrap_or(Timestamp::MAX),
            used: None,
        };
        let mut batch = Batch::new();
        let tokens = Tokens::new(Arc::clone(&self.store));
        tokens.add(&mut batch, &invitation).map_err(store_failed).map_err(refused)?;
        let act = act(&*self.clock, &request, format!("invite host {name}"));
        record(&self.store, &act, &batch).await?;
        Ok(Response::new(InviteHostResponse {
            token: token.reveal().to_string(),
            expire_time: Some(to_wire_time(invitation.expires)),
        }))
    }

    async fn list_hosts(
        &self,
        _: Request<ListHostsRequest>,
    ) -> Result<Response<ListHostsResponse>, Status> {
        let hosts = self.hosts().list().await.map_err(store_failed).map_err(refused)?;
        let hosts = hosts.into_iter().map(|host| self.wire(host)).collect();
        let controller_warnings = self.disks.warnings();
        Ok(Response::new(ListHostsResponse { hosts, controller_warnings }))
    }

    async fn remove_host(
        &self,
        request: Request<RemoveHostRequest>,
    ) -> Result<Response<RemoveHostResponse>, Status> {
        let name: HostName = parse("host", &request.get_ref().host).map_err(malformed)?;
        let host = self.existing(&name).await?;
        let act = act(&*self.clock, &request, format!("remove host {name}"));
        let revocation = Revocation { at: act.at, by: act.who.clone(), why: act.what.clone() };
        let revoked = self.revocations.revoke_host(host.id, &revocation, &Batch::new()).await;
        revoked.map_err(store_failed).map_err(refused)?;
        let removed = self.hosts().remove(host.id, act.at, &Batch::new()).await;
        removed.map_err(store_failed).map_err(refused)?;
        let cut = self.connections.cut_host(host.id);
        record(&self.store, &act, &Batch::new()).await?;
        tracing::info!(host = %host.id, %name, cut, "host removed");
        for run in self.runs.open_on(host.id).await.map_err(refused)? {
            // It ends as lost once its agent has been away for too long; its queue goes on now.
            self.runs.cancel(run.id).await.map_err(refused)?;
        }
        Ok(Response::new(RemoveHostResponse {}))
    }

    async fn rename_host(
        &self,
        request: Request<RenameHostRequest>,
    ) -> Result<Response<RenameHostResponse>, Status> {
        let name: HostName = parse("host", &request.get_ref().host).map_err(malformed)?;
        let new: HostName = parse("new_name", &request.get_ref().new_name).map_err(malformed)?;
        let host = self.existing(&name).await?;
        // A run knows its host by name until its agent has it.
        let open = self.runs.open_on(host.id).await.map_err(refused)?;
        if let Some(run) = open.first() {
            let message = format!(
                "host `{name}` has runs that are not over: wait for them, `ctl run watch {}`",
                run.id
            );
            return Err(refused(Failure::new(Reason::RunState, message)));
        }
        let act = act(&*self.clock, &request, format!("rename host {name} to {new}"));
        let renamed = self.hosts().rename(host.id, &new).await;
        renamed.map_err(|error| {
            if !error.is_conflict() {
                return refused(store_failed(error));
            }
            let message = format!("there is a host `{new}` already; choose another name");
            refused(Failure::new(Reason::NameTaken, message))
        })?;
        record(&self.store, &act, &Batch::new()).await?;
        Ok(Response::new(RenameHostResponse {}))
    }

    async fn drain_host(
        &self,
        request: Request<DrainHostRequest>,
    ) -> Result<Response<DrainHostResponse>, Status> {
        let drained = request.get_ref().drained;
        let name: HostName = parse("host", &request.get_ref().host).map_err(malformed)?;
        let host = self.existing(&name).await?;
        let what = if drained { "drain" } else { "end the draining of" };
        let act = act(&*self.clock, &request, format!("{what} host {name}"));
        let since = act.at;
        let hosts = self.hosts();
        let updated = hosts.update(host.id, |it| {
            it.drained = drained.then(|| it.drained.unwrap_or(since));
        });
        updated.await.map_err(store_failed).map_err(refused)?;
        record(&self.store, &act, &Batch::new()).await?;
        let open = self.runs.open_on(host.id).await.map_err(refused)?;
        let open_run_ids = open.iter().map(|run| run.id.to_string()).collect();
        Ok(Response::new(DrainHostResponse { open_run_ids }))
    }
}

fn life(wanted: Option<&prost_types::Duration>) -> Result<Duration, ConvertError> {
    let Some(wanted) = wanted else { return Ok(TOKEN_LIFE) };
    let field = "valid_period";
    let life = Duration::try_from(*wanted).map_err(|it| ConvertError::new(field, it))?;
    if life.is_zero() || life > TOKEN_LIFE_MAX {
        return Err(ConvertError::new(field, "must be more than nothing and at most 7 days"));
    }
    Ok(life)
}
