//! Runs are planned, started, watched and ended.

use std::{collections::VecDeque, pin::Pin};

use futures::{Stream, StreamExt as _};
use lazarette_core::{
    error::Failure,
    id::RunId,
    name::StackAddress,
    run::{Run, Task},
};
use lazarette_proto::{
    common::v1::RestoreTask,
    controller::v1::{
        CancelRunRequest, CancelRunResponse, GetRunRequest, GetRunResponse, ListRunsRequest,
        ListRunsResponse, PlanRunRequest, PlanRunResponse, ResumeRunRequest, ResumeRunResponse,
        RollBackRunRequest, RollBackRunResponse, StartBackupRequest, StartBackupResponse,
        StartRestoreRequest, StartRestoreResponse, StoredEvent, WatchRunRequest, WatchRunResponse,
        plan_run_response, run_service_server::RunService, run_wish::Wish,
        watch_run_response::Item,
    },
    convert::{Required as _, parse, parse_all},
};
use tokio::sync::watch;
use tonic::{Request, Response, Status};

use super::{caller, malformed, refused, snapshot};
use crate::{
    feed::Newest,
    places::store_failed,
    runs::{Plan, Runs},
    store::catalog::Catalog,
};

/// Events that are read from the store at once.
const EVENTS_PAGE: usize = 200;
/// Runs that are listed when nothing else is said.
const RUNS_PAGE: usize = 100;
/// The most that are listed at once.
const RUNS_PAGE_MAX: usize = 1000;

/// Plans, starts and watches runs.
#[derive(Debug)]
pub struct RunsRpc {
    /// What they do.
    pub runs: Runs,
    /// What can be restored.
    pub catalog: Catalog,
}

impl RunsRpc {
    /// A wish whose snapshot may be the beginning of an id, or `latest`.
    async fn task(&self, wish: Wish, address: &StackAddress) -> Result<Task, Status> {
        match wish {
            Wish::Backup(backup) => backup.try_into().map_err(malformed),
            Wish::Restore(RestoreTask { snapshot_id, components }) => {
                let components = parse_all("components", &components).map_err(malformed)?;
                let snapshot = if snapshot_id == "latest" {
                    let newest = self.runs.newest(address).await;
                    newest.map_err(refused)?
                } else {
                    snapshot::named(&self.catalog, &snapshot_id).await.map_err(refused)?.id
                };
                Ok(Task::Restore { snapshot, components })
            }
        }
    }

    async fn start(
        &self,
        run_id: &str,
        address: &str,
        task: Task,
        asked_by: String,
    ) -> Result<Run, Status> {
        let id: RunId = parse("run_id", run_id).map_err(malformed)?;
        let address: StackAddress = parse("address", address).map_err(malformed)?;
        self.runs.start(id, &address, task, asked_by).await.map_err(refused)
    }
}

/// A watcher of one run.
struct Watcher {
    runs: Runs,
    run: RunId,
    after: u64,
    newest: watch::Receiver<Newest>,
    ready: VecDeque<WatchRunResponse>,
    is_behind: bool,
    over: bool,
}

impl Watcher {
    /// The next item; nothing once the run is over and everything was given.
    async fn next(&mut self) -> Result<Option<WatchRunResponse>, Failure> {
        loop {
            if let Some(item) = self.ready.pop_front() {
                return Ok(Some(item));
            }
            if self.over {
                return Ok(None);
            }
            if self.is_behind {
                self.read_events().await?;
                continue;
            }
            if self.newest.changed().await.is_err() {
                return Ok(None);
            }
            let newest = self.newest.borrow_and_update().clone();
            self.is_behind = newest.sequence > self.after || newest.progress.is_none();
            if let Some(progress) = newest.progress {
                let item = Some(Item::Progress(progress.into()));
                self.ready.push_back(WatchRunResponse { item });
            }
        }
    }

    /// Reads the next events from the store. The state is read first: what it says is over has
    /// all its events stored.
    async fn read_events(&mut self) -> Result<(), Failure> {
        let state = self.runs.get(self.run).await?.state;
        let events = self.runs.records().events(self.run, self.after, EVENTS_PAGE).await;
        let events = events.map_err(store_failed)?;
        self.is_behind = events.len() == EVENTS_PAGE;
        self.over = !self.is_behind && state.is_terminal();
        for it in events {
            self.after = it.sequence;
            let item =
                Item::Event(StoredEvent { sequence: it.sequence, event: Some(it.event.into()) });
            self.ready.push_back(WatchRunResponse { item: Some(item) });
        }
        Ok(())
    }
}

type Items = Pin<Box<dyn Stream<Item = Result<WatchRunResponse, Status>> + Send>>;

#[tonic::async_trait]
impl RunService for RunsRpc {
    async fn plan_run(
        &self,
        request: Request<PlanRunRequest>,
    ) -> Result<Response<PlanRunResponse>, Status> {
        let request = request.into_inner();
        let address: StackAddress = parse("address", &request.address).map_err(malformed)?;
        let wish = request.wish.and_then(|it| it.wish).required("wish").map_err(malformed)?;
        let task = self.task(wish, &address).await?;
        let (place, plan) = self.runs.plan(&address, &task).await.map_err(refused)?;
        let plan = match plan {
            Plan::Backup(plan) => plan_run_response::Plan::Backup(plan.into()),
            Plan::Restore(plan) => plan_run_response::Plan::Restore(plan.into()),
        };
        Ok(Response::new(PlanRunResponse { plan: Some(plan), address: place.address() }))
    }

    async fn start_backup(
        &self,
        request: Request<StartBackupRequest>,
    ) -> Result<Response<StartBackupResponse>, Status> {
        let asked_by = caller(&request);
        let request = request.into_inner();
        let task = request.task.unwrap_or_default().try_into().map_err(malformed)?;
        let run = self.start(&request.run_id, &request.address, task, asked_by).await?;
        Ok(Response::new(StartBackupResponse { run: Some(run.into()) }))
    }

    async fn start_restore(
        &self,
        request: Request<StartRestoreRequest>,
    ) -> Result<Response<StartRestoreResponse>, Status> {
        let asked_by = caller(&request);
        let request = request.into_inner();
        let task = request.task.required("task").map_err(malformed)?;
        let task = task.try_into().map_err(malformed)?;
        let run = self.start(&request.run_id, &request.address, task, asked_by).await?;
        Ok(Response::new(StartRestoreResponse { run: Some(run.into()) }))
    }

    async fn get_run(
        &self,
        request: Request<GetRunRequest>,
    ) -> Result<Response<GetRunResponse>, Status> {
        let id = parse("run_id", &request.get_ref().run_id).map_err(malformed)?;
        let run = self.runs.get(id).await.map_err(refused)?;
        Ok(Response::new(GetRunResponse { run: Some(run.into()) }))
    }

    async fn list_runs(
        &self,
        request: Request<ListRunsRequest>,
    ) -> Result<Response<ListRunsResponse>, Status> {
        let request = request.into_inner();
        let size = usize::try_from(request.page_size).unwrap_or(usize::MAX);
        let size = if size == 0 { RUNS_PAGE } else { size.min(RUNS_PAGE_MAX) };
        let stack = match request.address {
            None => None,
            Some(address) => {
                let address = parse("address", &address).map_err(malformed)?;
                Some(self.runs.stack(&address).await.map_err(refused)?)
            }
        };
        let mut before: Option<RunId> = match request.page_token.as_str() {
            "" => None,
            token => Some(parse("page_token", token).map_err(malformed)?),
        };
        let mut runs = Vec::new();
        loop {
            let page = self.runs.records().list(before, RUNS_PAGE_MAX).await;
            let page = page.map_err(store_failed).map_err(refused)?;
            let last = page.len() < RUNS_PAGE_MAX;
            before = page.last().map(|run| run.id);
            let wanted = |run: &Run| {
                (!request.open || !run.state.is_terminal())
                    && stack.is_none_or(|stack| run.stack == stack)
            };
            runs.extend(page.into_iter().filter(wanted));
            if runs.len() > size || last {
                break;
            }
        }
        let more = runs.len() > size;
        runs.truncate(size);
        let next_page_token = runs.last().filter(|_| more).map(|run| run.id.to_string());
        Ok(Response::new(ListRunsResponse {
            runs: runs.into_iter().map(Into::into).collect(),
            next_page_token: next_page_token.unwrap_or_default(),
        }))
    }

    type WatchRunStream = Items;

    async fn watch_run(
        &self,
        request: Request<WatchRunRequest>,
    ) -> Result<Response<Items>, Status> {
        let request = request.into_inner();
        let run: RunId = parse("run_id", &request.run_id).map_err(malformed)?;
        let newest = self.runs.feeds().watch(run);
        self.runs.get(run).await.map_err(refused)?;
        let watcher = Watcher {
            runs: self.runs.clone(),
            run,
            after: request.after_sequence,
            newest,
            ready: VecDeque::new(),
            is_behind: true,
            over: false,
        };
        let items = futures::stream::unfold(Some(watcher), |watcher| async move {
            let mut watcher = watcher?;
            match watcher.next().await {
                Ok(Some(item)) => Some((Ok(item), Some(watcher))),
                Ok(None) => None,
                Err(failure) => Some((Err(refused(failure)), None)),
            }
        });
        Ok(Response::new(items.boxed()))
    }

    async fn cancel_run(
        &self,
        request: Request<CancelRunRequest>,
    ) -> Result<Response<CancelRunResponse>, Status> {
        let id = parse("run_id", &request.get_ref().run_id).map_err(malformed)?;
        self.runs.cancel(id).await.map_err(refused)?;
        Ok(Response::new(CancelRunResponse {}))
    }

    async fn resume_run(
        &self,
        request: Request<ResumeRunRequest>,
    ) -> Result<Response<ResumeRunResponse>, Status> {
        let id = parse("run_id", &request.get_ref().run_id).map_err(malformed)?;
        self.runs.resume(id).await.map_err(refused)?;
        Ok(Response::new(ResumeRunResponse {}))
    }

    async fn roll_back_run(
        &self,
        request: Request<RollBackRunRequest>,
    ) -> Result<Response<RollBackRunResponse>, Status> {
        let id = parse("run_id", &request.get_ref().run_id).map_err(malformed)?;
        self.runs.roll_back(id).await.map_err(refused)?;
        Ok(Response::new(RollBackRunResponse {}))
    }
}
