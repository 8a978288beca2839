//! Remote calls: what the controller may ask of an agent, translated and passed on. No decisions.

use std::pin::Pin;

use futures::{Stream, StreamExt as _};
use lazarette_core::{
    error::{Failure, ReasonedError},
    id::RunId,
    name::StackName,
};
use lazarette_node::{
    authz::{Caller, Rule, Table, allow},
    status,
};
use lazarette_proto::{
    PROTOCOL_VERSION,
    agent::v1::{
        self as wire, agent_service_server::AgentService, watch_run_response::Item as WireItem,
    },
    convert::{ConvertError, Required as _, hash, parse, to_wire_time},
};
use lazarette_repo::{crypto::MasterKey, id::BlobId};
use tonic::{Request, Response, Status};

use crate::{
    host::Host,
    runs::{
        Runs,
        log::Item,
        record::{Job, Plan},
        work::{Grant, Stacks as _},
    },
};

/// Who may call what on an agent: its controller, everything.
pub const TABLE: Table = Table::new(RULES);

const CONTROLLER: &[Caller] = &[Caller::Controller];

const RULES: &[Rule] = &[
    allow("/lazarette.agent.v1.AgentService/GetHost", CONTROLLER),
    allow("/lazarette.agent.v1.AgentService/ListStacks", CONTROLLER),
    allow("/lazarette.agent.v1.AgentService/GetStack", CONTROLLER),
    allow("/lazarette.agent.v1.AgentService/ListRuns", CONTROLLER),
    allow("/lazarette.agent.v1.AgentService/StartRun", CONTROLLER),
    allow("/lazarette.agent.v1.AgentService/WatchRun", CONTROLLER),
    allow("/lazarette.agent.v1.AgentService/CancelRun", CONTROLLER),
    allow("/lazarette.agent.v1.AgentService/ResumeRun", CONTROLLER),
    allow("/lazarette.agent.v1.AgentService/RollBackRun", CONTROLLER),
];

/// Answers the controller's calls.
#[derive(Clone, Debug)]
pub struct Rpc {
    host: Host,
    runs: Runs,
}

impl Rpc {
    /// About this host and its runs.
    pub const fn new(host: Host, runs: Runs) -> Self {
        Self { host, runs }
    }
}

#[tonic::async_trait]
impl AgentService for Rpc {
    async fn get_host(
        &self,
        _request: Request<wire::GetHostRequest>,
    ) -> Result<Response<wire::GetHostResponse>, Status> {
        let seen = self.host.describe().await;
        Ok(Response::new(wire::GetHostResponse {
            agent_version: env!("CARGO_PKG_VERSION").to_owned(),
            protocol_version: PROTOCOL_VERSION,
            boot_id: seen.boot_id,
            engine_version: seen.engine_version,
            architecture: std::env::consts::ARCH.to_owned(),
            host_time: Some(to_wire_time(seen.time)),
            holds: seen.holds,
        }))
    }

    async fn list_stacks(
        &self,
        _request: Request<wire::ListStacksRequest>,
    ) -> Result<Response<wire::ListStacksResponse>, Status> {
        let stacks = self.host.list().await.map_err(refuse)?;
        let stacks = stacks.into_iter().map(Into::into).collect();
        Ok(Response::new(wire::ListStacksResponse { stacks }))
    }

    async fn get_stack(
        &self,
        request: Request<wire::GetStackRequest>,
    ) -> Result<Response<wire::GetStackResponse>, Status> {
        let name: StackName = parse("stack", &request.into_inner().stack).map_err(invalid)?;
        let stack = self.host.look(&name).await.map_err(refuse)?;
        Ok(Response::new(wire::GetStackResponse { stack: Some(stack.into()) }))
    }

    async fn list_runs(
        &self,
        _request: Request<wire::ListRunsRequest>,
    ) -> Result<Response<wire::ListRunsResponse>, Status> {
        let runs = self.runs.logs().into_iter().map(|log| {
            let (state, sequence) = log.standing();
            let run_id = log.job().run.to_string();
            wire::AgentRun { run_id, state: Some(state.into()), sequence }
        });
        Ok(Response::new(wire::ListRunsResponse { runs: runs.collect() }))
    }

    async fn start_run(
        &self,
        request: Request<wire::StartRunRequest>,
    ) -> Result<Response<wire::StartRunResponse>, Status> {
        let (job, grant) = job(request.into_inner()).map_err(invalid)?;
        self.runs.start(job, grant).await.map_err(|error| status::of(&error))?;
        Ok(Response::new(wire::StartRunResponse {}))
    }

    type WatchRunStream =
        Pin<Box<dyn Stream<Item = Result<wire::WatchRunResponse, Status>> + Send>>;

    async fn watch_run(
        &self,
        request: Request<wire::WatchRunRequest>,
    ) -> Result<Response<Self::WatchRunStream>, Status> {
        let request = request.into_inner();
        let run = run_id(&request.run_id)?;
        let log = self.runs.log(run).map_err(|error| status::of(&error))?;
        let items = log.follow(request.after_sequence).map(|item| Ok(to_wire(item)));
        Ok(Response::new(Box::pin(items)))
    }

    async fn cancel_run(
        &self,
        request: Request<wire::CancelRunRequest>,
    ) -> Result<Response<wire::CancelRunResponse>, Status> {
        let run = run_id(&request.into_inner().run_id)?;
        self.runs.cancel(run).map_err(|error| status::of(&error))?;
        Ok(Response::new(wire::CancelRunResponse {}))
    }

    async fn resume_run(
        &self,
        request: Request<wire::ResumeRunRequest>,
    ) -> Result<Response<wire::ResumeRunResponse>, Status> {
        let request = request.into_inner();
        let run = run_id(&request.run_id)?;
        let grant = request.grant.required("grant").and_then(grant).map_err(invalid)?;
        self.runs.resume(run, grant).map_err(|error| status::of(&error))?;
        Ok(Response::new(wire::ResumeRunResponse {}))
    }

    async fn roll_back_run(
        &self,
        request: Request<wire::RollBackRunRequest>,
    ) -> Result<Response<wire::RollBackRunResponse>, Status> {
        let run = run_id(&request.into_inner().run_id)?;
        self.runs.roll_back(run).map_err(|error| status::of(&error))?;
        Ok(Response::new(wire::RollBackRunResponse {}))
    }
}

fn run_id(text: &str) -> Result<RunId, Status> {
    parse("run_id", text).map_err(invalid)
}

fn job(request: wire::StartRunRequest) -> Result<(Job, Grant), ConvertError> {
    use wire::start_run_request::Plan as WirePlan;
    let plan = match request.plan.required("plan")? {
        WirePlan::Backup(plan) => {
            Plan::Backup(plan.try_into().map_err(|error: ConvertError| error.within("backup"))?)
        }
        WirePlan::Restore(plan) => {
            Plan::Restore(plan.try_into().map_err(|error: ConvertError| error.within("restore"))?)
        }
    };
    let job = Job {
        run: parse("run_id", &request.run_id)?,
        stack: parse("stack_id", &request.stack_id)?,
        host: parse("host", &request.host)?,
        plan,
    };
    Ok((job, grant(request.grant.required("grant")?)?))
}

fn grant(grant: wire::Grant) -> Result<Grant, ConvertError> {
    let key = zeroize::Zeroizing::new(grant.master_key);
    let key = MasterKey::from_bytes(&key)
        .map_err(|error| ConvertError::new("grant.master_key", error))?;
    let tree = match &grant.tree[..] {
        [] => None,
        bytes => Some(BlobId::new(hash("grant.tree", bytes)?)),
    };
    Ok(Grant { key, tree, level: grant.compression_level })
}

fn to_wire(item: Item) -> wire::WatchRunResponse {
    let item = match item {
        Item::Event(sequence, event) => {
            WireItem::Event(wire::SequencedEvent { sequence, event: Some(event.into()) })
        }
        Item::Progress(progress) => WireItem::Progress(progress.into()),
    };
    wire::WatchRunResponse { item: Some(item) }
}

#[expect(clippy::needless_pass_by_value, reason = "for `map_err`")]
fn invalid(error: ConvertError) -> Status {
    debug_assert_eq!(error.reason(), lazarette_core::error::Reason::InvalidInput);
    status::of(&error)
}

#[expect(clippy::needless_pass_by_value, reason = "for `map_err`")]
fn refuse(failure: Failure) -> Status {
    status::of_failure(&failure)
}
