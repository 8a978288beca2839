//! Stacks of all hosts, as they are now.

use std::{sync::Arc, time::Duration};

use lazarette_core::{
    error::{Failure, Reason},
    name::{HostName, StackAddress},
    snapshot::Snapshot,
    stack::StackSeen,
};
use lazarette_node::clock::Clock;
use lazarette_proto::{
    controller::v1::{
        GetStackRequest, GetStackResponse, ListStacksRequest, ListStacksResponse,
        Stack as WireStack, stack_service_server::StackService,
    },
    convert::{parse, to_wire_time},
};
use tonic::{Request, Response, Status};

use super::{malformed, refused};
use crate::{
    fleet::Fleet,
    places::{Places, store_failed},
    store::{
        Store,
        catalog::Catalog,
        hosts::{Host, Hosts},
        stacks::{Stack, Stacks},
    },
};

/// How long one host is waited for when all are listed: looking takes a busy one some seconds.
const PATIENCE: Duration = Duration::from_secs(20);

/// Lists stacks.
#[derive(Debug)]
pub struct StacksRpc {
    /// Where they are kept.
    pub store: Arc<dyn Store>,
    /// Who sees them.
    pub fleet: Fleet,
    /// Which one an address means.
    pub places: Places,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
}

impl StacksRpc {
    async fn hosts(&self, only: Option<String>) -> Result<Vec<Host>, Failure> {
        let hosts = Hosts::new(Arc::clone(&self.store));
        let Some(name) = only else { return hosts.list().await.map_err(store_failed) };
        let name: HostName = parse("host", &name).map_err(|error| Failure::of(&error))?;
        let host = hosts.by_name(&name).await.map_err(store_failed)?;
        let message = || format!("there is no host `{name}`; `ctl host list` shows them");
        Ok(vec![host.ok_or_else(|| Failure::new(Reason::HostUnknown, message()))?])
    }

    /// The stacks of one host: those that are there, and those that only snapshots remember; and why
    /// it could not be asked.
    async fn of_host(
        &self,
        host: &Host,
        known: &[Stack],
    ) -> Result<(Vec<WireStack>, Option<String>), Failure> {
        let asked = match self.fleet.agent(host.id) {
            None => Err("not connected".to_owned()),
            Some(agent) => match tokio::time::timeout(PATIENCE, agent.stacks()).await {
                Ok(stacks) => stacks.map_err(|failure| failure.message),
                Err(_elapsed) => Err(format!("did not answer within {} s", PATIENCE.as_secs())),
            },
        };
        let (mut seen, away) = match asked {
            Ok(seen) => (seen, None),
            Err(why) => (Vec::new(), Some(format!("{}: {why}", host.name))),
        };
        let mut stacks = Vec::new();
        for stack in known.iter().filter(|stack| stack.host == host.id) {
            let place = seen.iter().position(|it| it.name == stack.name);
            let seen = place.map(|place| seen.swap_remove(place));
            let snapshots = self.snapshots(stack).await?;
            if seen.is_some() || !snapshots.is_empty() {
                stacks.push(wire(host, Some(stack), stack.name.as_str(), seen, &snapshots));
            }
        }
        stacks.extend(seen.into_iter().map(|it| {
            let name = it.name.clone();
            wire(host, None, name.as_str(), Some(it), &[])
        }));
        stacks.sort_by(|one, other| one.name.cmp(&other.name));
        Ok((stacks, away))
    }

    async fn snapshots(&self, stack: &Stack) -> Result<Vec<Snapshot>, Failure> {
        let catalog = Catalog::new(Arc::clone(&self.store));
        catalog.list(Some(stack.id)).await.map_err(store_failed)
    }
}

fn wire(
    host: &Host,
    known: Option<&Stack>,
    name: &str,
    seen: Option<StackSeen>,
    snapshots: &[Snapshot],
) -> WireStack {
    WireStack {
        stack_id: known.map(|it| it.id.to_string()).unwrap_or_default(),
        host: host.name.to_string(),
        name: name.to_owned(),
        seen: seen.map(Into::into),
        last_snapshot_time: snapshots.first().map(|it| to_wire_time(it.time)),
        snapshot_count: u64::try_from(snapshots.len()).unwrap_or(u64::MAX),
    }
}

#[tonic::async_trait]
impl StackService for StacksRpc {
    async fn list_stacks(
        &self,
        request: Request<ListStacksRequest>,
    ) -> Result<Response<ListStacksResponse>, Status> {
        let hosts = self.hosts(request.into_inner().host).await.map_err(refused)?;
        let known = Stacks::new(Arc::clone(&self.store)).list().await;
        let known = known.map_err(store_failed).map_err(refused)?;
        // All at once, so that a host which does not answer costs its own time only.
        let asked = hosts.iter().map(|host| self.of_host(host, &known));
        let of_hosts = futures::future::join_all(asked).await;
        let mut answer = ListStacksResponse::default();
        for (host, of_host) in hosts.iter().zip(of_hosts) {
            let (some, away) = of_host.map_err(refused)?;
            answer.stacks.extend(some);
            if let Some(why) = away {
                answer.unreachable.push(why);
                answer.unreachable_hosts.push(host.name.to_string());
            }
        }
        Ok(Response::new(answer))
    }

    async fn get_stack(
        &self,
        request: Request<GetStackRequest>,
    ) -> Result<Response<GetStackResponse>, Status> {
        let address: StackAddress =
            parse("address", &request.get_ref().address).map_err(malformed)?;
        let place = self.places.find(&address, self.clock.now()).await.map_err(refused)?;
        let snapshots = self.snapshots(&place.stack).await.map_err(refused)?;
        let name = place.stack.name.clone();
        let stack = wire(&place.host, Some(&place.stack), name.as_str(), place.seen, &snapshots);
        Ok(Response::new(GetStackResponse { stack: Some(stack) }))
    }
}
