//! Script: what a hostile agent answers its controller.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use futures::{Stream, StreamExt as _};
use jiff::Timestamp;
use lazarette_core::component::{Component, ComponentKind};
use lazarette_core::id::{RunId, StackId};
use lazarette_core::name::HostName;
use lazarette_core::run::RunEvent;
use lazarette_core::stack::{Origin, StackSeen};
use lazarette_node::clock::{Clock as _, SystemClock};
use lazarette_proto::PROTOCOL_VERSION;
use lazarette_proto::agent::v1 as wire;
use lazarette_proto::agent::v1::agent_service_server::AgentService;
use lazarette_proto::agent::v1::watch_run_response::Item;
use lazarette_proto::convert::to_wire_time;
use lazarette_repo::crypto::MasterKey;
use tokio::sync::watch;
use tonic::{Request, Response, Status};

use crate::wait;

/// How long a run may take from `ctl` to the agent.
const HANDED_OVER: Duration = Duration::from_secs(30);

/// What a run was given.
#[derive(Clone, Debug)]
pub struct Granted {
    /// Which run.
    pub run: RunId,
    /// Of which stack.
    pub stack: StackId,
    /// What the controller calls the host.
    pub host: HostName,
    /// Opens the repository.
    pub key: MasterKey,
    /// Of the snapshot that is to be restored; empty for a backup.
    pub tree: Vec<u8>,
}

/// What a hostile agent answers. Clones are the same.
#[derive(Clone, Debug)]
pub struct Script {
    state: Arc<Mutex<State>>,
    changed: watch::Sender<u64>,
}

#[derive(Debug)]
struct State {
    host: wire::GetHostResponse,
    stack: StackSeen,
    runs: BTreeMap<RunId, Run>,
}

#[derive(Clone, Debug)]
struct Run {
    granted: Granted,
    events: Vec<wire::SequencedEvent>,
}

impl Script {
    /// The stack that it says it has.
    pub const STACK: &str = "loot";

    pub(super) fn new() -> Result<Self> {
        let host = wire::GetHostResponse {
            agent_version: "0.1.0".to_owned(),
            protocol_version: PROTOCOL_VERSION,
            boot_id: "00000000-0000-0000-0000-000000000000".to_owned(),
            engine_version: "20.10.24".to_owned(),
            architecture: "x86_64".to_owned(),
            host_time: SystemClock::new().ok().map(|clock| to_wire_time(clock.now())),
            holds: Vec::new(),
        };
        let state = State { host, stack: stack()?, runs: BTreeMap::new() };
        Ok(Self { state: Arc::new(Mutex::new(state)), changed: watch::Sender::new(0) })
    }

    /// Changes what it says of its host and its stack from now on.
    pub fn change(&self, change: impl FnOnce(&mut wire::GetHostResponse, &mut StackSeen)) {
        let mut state = self.state();
        let State { host, stack, .. } = &mut *state;
        change(host, stack);
    }

    /// Waits until the controller has handed over `run`, and gives what came with it.
    ///
    /// # Errors
    ///
    /// When it does not within half a minute.
    pub fn granted(&self, run: &str) -> Result<Granted> {
        let run: RunId = run.parse()?;
        wait::until(&format!("{run} to be handed over"), HANDED_OVER, || {
            Ok(self.state().runs.get(&run).map(|run| run.granted.clone()))
        })
    }

    /// Says that something happened in a run.
    ///
    /// # Errors
    ///
    /// When it has no such run.
    pub fn say(&self, run: RunId, event: RunEvent) -> Result<()> {
        let mut state = self.state();
        let known =
            state.runs.get_mut(&run).with_context(|| format!("no {run} was handed over"))?;
        push(known, event);
        drop(state);
        self.changed.send_modify(|count| *count += 1);
        Ok(())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn push(run: &mut Run, event: RunEvent) {
    let sequence = u64::try_from(run.events.len()).unwrap_or(u64::MAX).saturating_add(1);
    run.events.push(wire::SequencedEvent { sequence, event: Some(event.into()) });
}

/// One volume, which nothing has to stop for.
fn stack() -> Result<StackSeen> {
    let kind = ComponentKind::Volume { volume: "loot_data".to_owned(), mounted_by: Vec::new() };
    Ok(StackSeen {
        name: Script::STACK.parse()?,
        origin: Origin::Container,
        containers: Vec::new(),
        components: vec![Component { name: "volume/loot_data".parse()?, kind }],
        labels: BTreeMap::new(),
        uncovered: Vec::new(),
        refusals: Vec::new(),
        warnings: Vec::new(),
    })
}

type Items = Pin<Box<dyn Stream<Item = Result<wire::WatchRunResponse, Status>> + Send>>;

#[tonic::async_trait]
impl AgentService for Script {
    async fn get_host(
        &self,
        _: Request<wire::GetHostRequest>,
    ) -> Result<Response<wire::GetHostResponse>, Status> {
        Ok(Response::new(self.state().host.clone()))
    }

    async fn list_stacks(
        &self,
        _: Request<wire::ListStacksRequest>,
    ) -> Result<Response<wire::ListStacksResponse>, Status> {
        let stacks = vec![self.state().stack.clone().into()];
        Ok(Response::new(wire::ListStacksResponse { stacks }))
    }

    async fn get_stack(
        &self,
        _: Request<wire::GetStackRequest>,
    ) -> Result<Response<wire::GetStackResponse>, Status> {
        let stack = Some(self.state().stack.clone().into());
        Ok(Response::new(wire::GetStackResponse { stack }))
    }

    async fn list_runs(
        &self,
        _: Request<wire::ListRunsRequest>,
    ) -> Result<Response<wire::ListRunsResponse>, Status> {
        let run = |(id, run): (&RunId, &Run)| wire::AgentRun {
            run_id: id.to_string(),
            state: None,
            sequence: run.events.last().map(|event| event.sequence).unwrap_or_default(),
        };
        let runs = self.state().runs.iter().map(run).collect();
        Ok(Response::new(wire::ListRunsResponse { runs }))
    }

    async fn start_run(
        &self,
        request: Request<wire::StartRunRequest>,
    ) -> Result<Response<wire::StartRunResponse>, Status> {
        let request = request.into_inner();
        let granted = granted(request).map_err(|error| Status::internal(error.to_string()))?;
        let mut run = Run { granted, events: Vec::new() };
        push(&mut run, RunEvent::Started { at: Timestamp::UNIX_EPOCH });
        self.state().runs.insert(run.granted.run, run);
        self.changed.send_modify(|count| *count += 1);
        Ok(Response::new(wire::StartRunResponse {}))
    }

    type WatchRunStream = Items;

    async fn watch_run(
        &self,
        request: Request<wire::WatchRunRequest>,
    ) -> Result<Response<Items>, Status> {
        let wire::WatchRunRequest { run_id, after_sequence } = request.into_inner();
        let run: RunId = run_id.parse().map_err(|_not| Status::not_found("no such run"))?;
        let (script, changed) = (self.clone(), self.changed.subscribe());
        let items = futures::stream::unfold(
            (script, changed, after_sequence),
            move |(script, mut changed, after)| async move {
                loop {
                    let next = script
                        .state()
                        .runs
                        .get(&run)?
                        .events
                        .iter()
                        .find(|it| it.sequence > after)
                        .cloned();
                    if let Some(event) = next {
                        let after = event.sequence;
                        let item = Some(Item::Event(event));
                        let item = Ok(wire::WatchRunResponse { item });
                        return Some((item, (script, changed, after)));
                    }
                    changed.changed().await.ok()?;
                }
            },
        );
        Ok(Response::new(items.boxed()))
    }

    async fn cancel_run(
        &self,
        request: Request<wire::CancelRunRequest>,
    ) -> Result<Response<wire::CancelRunResponse>, Status> {
        let run = request.into_inner().run_id.parse();
        let run: RunId = run.map_err(|_not| Status::not_found("no such run"))?;
        let said = self.say(run, RunEvent::Cancelled { at: Timestamp::UNIX_EPOCH });
        said.map_err(|error| Status::not_found(error.to_string()))?;
        Ok(Response::new(wire::CancelRunResponse {}))
    }

    async fn resume_run(
        &self,
        _: Request<wire::ResumeRunRequest>,
    ) -> Result<Response<wire::ResumeRunResponse>, Status> {
        Err(Status::unimplemented("it never holds anything"))
    }

    async fn roll_back_run(
        &self,
        _: Request<wire::RollBackRunRequest>,
    ) -> Result<Response<wire::RollBackRunResponse>, Status> {
        Err(Status::unimplemented("it never holds anything"))
    }
}

fn granted(request: wire::StartRunRequest) -> Result<Granted> {
    let grant = request.grant.context("find the grant")?;
    Ok(Granted {
        run: request.run_id.parse()?,
        stack: request.stack_id.parse()?,
        host: request.host.parse()?,
        key: MasterKey::from_bytes(&grant.master_key)?,
        tree: grant.tree,
    })
}
