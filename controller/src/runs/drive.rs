//! Drive: one run from where it stands to its end.

use std::{sync::Arc, time::Duration};

use lazarette_core::{
    error::{Failure, Reason},
    id::SnapshotId,
    run::{Outcome, Run, RunEvent, RunState, Task},
};
use lazarette_node::{backoff::Backoff, identity::Identity, status};
use lazarette_proto::{
    agent::v1::{
        self as agent, ListRunsRequest, ResumeRunRequest, StartRunRequest, WatchRunRequest,
        start_run_request, watch_run_response::Item,
    },
    convert::{ConvertError, Required as _},
};
use lazarette_repo::{id::ObjectId, lock::REFRESH_EVERY, repository::Repository, session::Session};
use tonic::{Request, Status};

use super::{Plan, Runs, queue::Wait};
use crate::{
    fleet::Agent,
    grants::{Grant, Right},
    places::store_failed,
    store::{Batch, audit::Act, runs::Reporter},
    vaults::reason_of,
};

/// zstd's level for new data.
const COMPRESSION_LEVEL: i32 = 3;
/// How long an agent may take to accept a run.
const START_TIMEOUT: Duration = Duration::from_mins(1);

/// How the watching of a run ended.
enum Watched {
    /// The run is over.
    Over,
    /// The connection is gone, or the agent is.
    Lost,
    /// The agent does not know the run.
    Forgotten,
}

impl Runs {
    /// Drives `run` until it is over; the whole of it is safe to repeat after a crash.
    pub(super) async fn drive(&self, run: Run) {
        let id = run.id;
        let ended = self.drive_to_the_end(run).await;
        if let Some(grant) = self.0.grants.take(id)
            && let Right::Write(session) = grant.right
            && let Err(error) = session.end().await
        {
            tracing::warn!(error = %lazarette_core::error::chain(&error), "left a lock behind");
        }
        if let Err(failure) = ended {
            self.fail(id, failure).await;
        }
    }

    async fn fail(&self, id: lazarette_core::id::RunId, failure: Failure) {
        tracing::info!(reason = %failure.reason, "run failed: {}", failure.message);
        let event = RunEvent::Failed { at: self.0.clock.now(), failure };
        if let Err(error) = self.report(id, event).await {
            tracing::error!(reason = %error.reason, "cannot record a failure: {}", error.message);
        }
    }

    async fn drive_to_the_end(&self, run: Run) -> Result<(), Failure> {
        let began = !matches!(run.state, RunState::Queued);
        let _slot = self.0.queue.enter(&run, began);
        if !began && !self.wait_for_turn(&run).await? {
            let event = RunEvent::Cancelled { at: self.0.clock.now() };
            return self.report(run.id, event).await.map(drop);
        }
        let refresher = self.grant(&run).await?;
        if !began {
            self.begin(&run).await?;
        }
        tokio::select! {
            ended = self.follow(&run) => ended,
            lost = refresher => Err(lost),
        }
    }

    /// Waits until the run may begin; false when it was cancelled first.
    async fn wait_for_turn(&self, run: &Run) -> Result<bool, Failure> {
        let mut changed = self.0.queue.watch();
        let mut told = None;
        loop {
            changed.mark_unchanged();
            if self.get(run.id).await?.cancel_asked {
                return Ok(false);
            }
            let wait = match self.0.queue.try_begin(run.id) {
                Ok(()) => return Ok(true),
                Err(wait) => wait,
            };
            if told != Some(wait) {
                told = Some(wait);
                let text = match wait {
                    Wait::Stack(before) => format!("waits for {before}, of the same stack"),
                    Wait::Limit => "waits: as many runs as may are under way".to_owned(),
                };
                let at = self.0.clock.now();
                self.report(run.id, RunEvent::Noted { at, component: None, text }).await?;
            }
            if changed.changed().await.is_err() {
                return Err(Failure::new(Reason::Internal, "the queue is gone"));
            }
        }
    }

    /// Gives the run what it may use of its repository. The future that is returned keeps the
    /// lock of a backup fresh, and ends only when it was lost.
    async fn grant(&self, run: &Run) -> Result<impl Future<Output = Failure> + use<>, Failure> {
        let vaults = &self.0.vaults;
        let (repository, right, session) = match &run.task {
            Task::Backup { .. } => {
                let opened = vaults.of_stack(run.stack).await;
                let (id, repository) = opened.map_err(|error| Failure::of(&error))?;
                let waiting = |error: &lazarette_repo::lock::LockError| {
                    tracing::info!("{error}");
                };
                let lock = vaults.lock(id, &repository, waiting).await;
                let lock = lock.map_err(|error| Failure::of(&error))?;
                let session = Session::begin(&repository, lock).await.map_err(|error| {
                    let message = lazarette_core::error::chain(&error);
                    Failure::new(reason_of(&error), message)
                })?;
                (id, Right::Write(Arc::clone(&session)), Some(session))
            }
            Task::Restore { snapshot, .. } => {
                let (id, repository) = self.repository_of(*snapshot).await?;
                (id, Right::Read(repository), None)
            }
        };
        self.0.grants.give(run.id, Grant { host: run.host, repository, right });
        let clock = Arc::clone(&self.0.clock);
        Ok(async move {
            let Some(session) = session else { return std::future::pending().await };
            loop {
                tokio::time::sleep(REFRESH_EVERY.unsigned_abs()).await;
                if let Err(error) = session.lock().refresh(clock.now()).await {
                    let message = lazarette_core::error::chain(&error);
                    return Failure::new(Reason::RepositoryLocked, message);
                }
            }
        })
    }

    async fn repository_of(
        &self,
        snapshot: SnapshotId,
    ) -> Result<(lazarette_core::id::RepositoryId, Arc<Repository>), Failure> {
        let entry = self.0.catalog.get(snapshot).await.map_err(store_failed)?;
        let entry = entry.ok_or_else(|| {
            Failure::new(Reason::SnapshotUnknown, "the snapshot was forgotten meanwhile")
        })?;
        let opened = self.0.vaults.open(entry.repository).await;
        Ok((entry.repository, opened.map_err(|error| Failure::of(&error))?))
    }

    /// The agent of the run's host, waited for as long as a run may be without it.
    async fn reach(&self, run: &Run) -> Result<Agent, Failure> {
        let agent = self.0.fleet.wait_for(run.host, self.0.options.lost_after).await;
        agent.ok_or_else(|| {
            let message = format!(
                "host `{}` was not connected for {:?}; nothing was done",
                run.host_name, self.0.options.lost_after
            );
            Failure::new(Reason::HostOffline, message)
        })
    }

    /// Sees that the agent has the run. An answer that was lost, or a controller that died after it
    /// asked, must not plan anew: the stack may be stopped already.
    async fn begin(&self, run: &Run) -> Result<(), Failure> {
        let since = tokio::time::Instant::now();
        let mut chance = fastrand::Rng::new();
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));
        loop {
            let agent = self.reach(run).await?;
            let begun = async {
                if is_known(run, &agent).await? {
                    return Ok(());
                }
                self.hand_over(run, &agent).await
            };
            match begun.await {
                Err(failure)
                    if failure.reason == Reason::HostOffline
                        && since.elapsed() < self.0.options.lost_after =>
                {
                    tokio::time::sleep(backoff.next_delay(&mut chance)).await;
                }
                begun => return begun,
            }
        }
    }

    /// Plans anew, on what is there now, and hands the plan to the agent.
    async fn hand_over(&self, run: &Run, agent: &Agent) -> Result<(), Failure> {
        let address = format!("{}/{}", run.host_name, run.stack_name);
        let address = address.parse().map_err(|error: lazarette_core::name::ParseNameError| {
            Failure::new(Reason::Internal, error.to_string())
        })?;
        let (_, plan) = self.plan(&address, &run.task).await?;
        let plan = match plan {
            Plan::Backup(plan) => start_run_request::Plan::Backup(plan.into()),
            Plan::Restore(plan) => start_run_request::Plan::Restore(plan.into()),
        };
        let mut request = Request::new(StartRunRequest {
            run_id: run.id.to_string(),
            stack_id: run.stack.to_string(),
            host: run.host_name.to_string(),
            plan: Some(plan),
            grant: Some(self.wire_grant(run).await?),
        });
        request.set_timeout(START_TIMEOUT);
        let accepted = agent.client().start_run(request).await;
        accepted.map(drop).map_err(|it| status::to_failure(&it, Reason::HostOffline))
    }

    /// Asks the agent to go on with a held run.
    pub(super) async fn resume_at(&self, run: &Run, agent: &Agent) -> Result<(), Failure> {
        let grant = Some(self.wire_grant(run).await?);
        let mut request = Request::new(ResumeRunRequest { run_id: run.id.to_string(), grant });
        request.set_timeout(START_TIMEOUT);
        let accepted = agent.client().resume_run(request).await;
        accepted.map(drop).map_err(|it| status::to_failure(&it, Reason::HostOffline))
    }

    async fn wire_grant(&self, run: &Run) -> Result<agent::Grant, Failure> {
        let grant = self.0.grants.of(run.id, run.host)?;
        let (repository, tree) = match (&grant.right, &run.task) {
            (Right::Read(repository), Task::Restore { snapshot, .. }) => {
                let id = ObjectId::new(*snapshot.as_bytes());
                let found = repository.snapshot(id).await.map_err(|error| {
                    let message = lazarette_core::error::chain(&error);
                    Failure::new(reason_of(&error), message)
                })?;
                (Arc::clone(repository), found.snapshot.tree.as_bytes().to_vec())
            }
            (Right::Read(repository), Task::Backup { .. }) => (Arc::clone(repository), Vec::new()),
            (Right::Write(session), _) => (Arc::clone(session.repository()), Vec::new()),
        };
        let master_key = repository.master_key().to_bytes().to_vec();
        Ok(agent::Grant { master_key, tree, compression_level: COMPRESSION_LEVEL })
    }

    /// Takes the agent's events in until the run is over.
    async fn follow(&self, run: &Run) -> Result<(), Failure> {
        let mut chance = fastrand::Rng::new();
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));
        loop {
            let agent = self.0.fleet.agent(run.host);
            let watched = match agent {
                Some(agent) => self.watch(run, &agent, &mut backoff).await?,
                None => Watched::Lost,
            };
            match watched {
                Watched::Over => return Ok(()),
                Watched::Forgotten => {
                    let message = format!(
                        "the agent of host `{}` does not know this run any more",
                        run.host_name
                    );
                    return Err(Failure::new(Reason::AgentLost, message));
                }
                Watched::Lost => {
                    self.lose_contact(run).await?;
                    tokio::time::sleep(backoff.next_delay(&mut chance)).await;
                }
            }
        }
    }

    /// Says that contact is lost, and waits for it.
    async fn lose_contact(&self, run: &Run) -> Result<(), Failure> {
        let state = self.get(run.id).await?.state;
        let at = self.0.clock.now();
        if matches!(state, RunState::Running { .. }) && self.0.fleet.agent(run.host).is_none() {
            self.report(run.id, RunEvent::ContactLost { at }).await?;
        }
        // A held stack waits for an operator, however long that takes.
        let held = matches!(state, RunState::Held { .. });
        let patience = if held { Duration::from_hours(24) } else { self.0.options.lost_after };
        if self.0.fleet.wait_for(run.host, patience).await.is_some() || held {
            return Ok(());
        }
        let message = format!(
            "contact to host `{}` was lost for {:?}; its agent starts the stack again by itself",
            run.host_name, self.0.options.lost_after
        );
        Err(Failure::new(Reason::AgentLost, message))
    }

    /// Follows one stream of events.
    async fn watch(
        &self,
        run: &Run,
        agent: &Agent,
        backoff: &mut Backoff,
    ) -> Result<Watched, Failure> {
        let known = self.get(run.id).await?;
        let request =
            WatchRunRequest { run_id: run.id.to_string(), after_sequence: known.agent_sequence };
        let mut events = match agent.client().watch_run(request).await {
            Ok(events) => events.into_inner(),
            Err(refused) => return Ok(lost_or_forgotten(&refused)),
        };
        backoff.reset();
        if matches!(known.state, RunState::LostContact { .. }) {
            let at = self.0.clock.now();
            self.report(run.id, RunEvent::ContactRegained { at }).await?;
        }
        if known.cancel_asked {
            self.cancel(run.id).await?;
        }
        loop {
            match events.message().await {
                Ok(Some(message)) => {
                    if self.take_in(run, message.item).await? {
                        return Ok(Watched::Over);
                    }
                }
                Ok(None) => return Ok(Watched::Lost),
                Err(refused) => return Ok(lost_or_forgotten(&refused)),
            }
        }
    }

    /// Takes one item in; true when the run is over with it.
    async fn take_in(&self, run: &Run, item: Option<Item>) -> Result<bool, Failure> {
        let refused = |error: ConvertError| Failure::of(&error);
        match item.required("item").map_err(refused)? {
            Item::Progress(progress) => {
                self.0.feeds.progress(run.id, progress.try_into().map_err(refused)?);
                Ok(false)
            }
            Item::Event(it) => {
                let by = Reporter::Agent { sequence: it.sequence };
                let event = it.event.required("event").map_err(refused)?;
                let event = event.try_into().map_err(refused)?;
                self.doubt(run, &event).await?;
                Ok(self.take(run.id, by, event).await?.state.is_terminal())
            }
        }
    }
}

impl Runs {
    /// An agent that says it made a snapshot is believed only when the catalog has it, of this run.
    async fn doubt(&self, run: &Run, event: &RunEvent) -> Result<(), Failure> {
        let RunEvent::Succeeded { outcome: Outcome::Saved { snapshot, .. }, .. } = event else {
            return Ok(());
        };
        let entry = self.0.catalog.get(*snapshot).await.map_err(store_failed)?;
        if entry.is_some_and(|entry| entry.run == run.id) {
            return Ok(());
        }
        let message =
            format!("the agent named snapshot {snapshot}, which run {} did not make", run.id);
        let reason = Reason::PackRefused;
        let act = Act {
            at: self.0.clock.now(),
            who: Identity::Agent { host: run.host }.to_string(),
            certificate: String::new(),
            what: format!("WatchRun: {message}"),
            refused: Some(reason.to_string()),
        };
        self.0.audit.record(&act, &Batch::new()).await.map_err(store_failed)?;
        Err(Failure::new(reason, message))
    }
}

/// Whether the agent has taken the run before.
async fn is_known(run: &Run, agent: &Agent) -> Result<bool, Failure> {
    let mut request = Request::new(ListRunsRequest {});
    request.set_timeout(START_TIMEOUT);
    let answer = agent.client().list_runs(request).await;
    let answer = answer.map_err(|it| status::to_failure(&it, Reason::HostOffline))?;
    let id = run.id.to_string();
    Ok(answer.into_inner().runs.iter().any(|it| it.run_id == id))
}

fn lost_or_forgotten(refused: &Status) -> Watched {
    if status::reason(refused) == Some(Reason::RunUnknown) {
        return Watched::Forgotten;
    }
    tracing::info!(%refused, "contact to the agent was lost");
    Watched::Lost
}
