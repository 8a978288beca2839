//! Runs: accepted, queued, driven to their end, whatever happens to agents and to this process.

mod drive;
mod queue;

use std::{sync::Arc, time::Duration};

use lazarette_core::{
    error::{Failure, Reason},
    id::{HostId, RunId, SnapshotId, StackId},
    name::StackAddress,
    plan::{BackupPlan, RestorePlan},
    run::{Run, RunEvent, RunState, Task},
    snapshot::Snapshot,
};
use lazarette_node::{clock::Clock, status, tasks::Tasks};
use lazarette_proto::agent::v1::{CancelRunRequest, RollBackRunRequest};
use tonic::Request;

use self::queue::Queue;
use crate::{
    disks::Disks,
    feed::Feeds,
    fleet::Fleet,
    grants::Grants,
    places::{Place, Places, store_failed},
    store::{
        audit::Audit,
        catalog::Catalog,
        runs::{Created, Reporter, Runs as Records},
    },
    vaults::Vaults,
};

/// Limits and times of runs.
#[derive(Clone, Copy, Debug)]
pub struct RunOptions {
    /// Runs at once on one host.
    pub per_host: usize,
    /// Runs at once of all hosts.
    pub total: usize,
    /// After this time without its agent a run has failed.
    pub lost_after: Duration,
    /// After how many seconds an agent starts everything again, whatever happens.
    pub hold_budget_seconds: u32,
}

/// Everything that runs need. Clones are the same.
#[derive(Clone, Debug)]
pub struct Runs(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    records: Records,
    catalog: Catalog,
    places: Places,
    fleet: Fleet,
    vaults: Arc<Vaults>,
    grants: Grants,
    feeds: Feeds,
    queue: Queue,
    clock: Arc<dyn Clock>,
    tasks: Tasks,
    audit: Audit,
    disks: Disks,
    options: RunOptions,
}

/// What [`Runs`] is made of.
#[derive(Debug)]
pub struct Parts {
    /// Where runs are kept.
    pub records: Records,
    /// What can be restored.
    pub catalog: Catalog,
    /// Which stack an address means.
    pub places: Places,
    /// Who carries them out.
    pub fleet: Fleet,
    /// Where snapshots go.
    pub vaults: Arc<Vaults>,
    /// Who may use them.
    pub grants: Grants,
    /// Who watches.
    pub feeds: Feeds,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// Who owns what goes on behind.
    pub tasks: Tasks,
    /// Where lies of agents are written down.
    pub audit: Audit,
    /// Where there must be room.
    pub disks: Disks,
    /// Limits and times.
    pub options: RunOptions,
}

/// A plan of either kind.
#[derive(Clone, Debug)]
pub enum Plan {
    /// Of a backup.
    Backup(BackupPlan),
    /// Of a restore.
    Restore(RestorePlan),
}

/// The failure of a call on a run that is not there.
fn unknown(id: RunId) -> Failure {
    Failure::new(Reason::RunUnknown, format!("there is no run {id}; `ctl run list` shows them"))
}

/// A drained host takes no new run.
fn refuse_drained(place: &Place) -> Result<(), Failure> {
    let Some(since) = place.host.drained else { return Ok(()) };
    let name = &place.host.name;
    let message = format!(
        "host `{name}` is drained since {since}: it takes no new runs; `ctl host drain {name} \
         --undo` ends that"
    );
    Err(Failure::new(Reason::HostDrained, message))
}

impl Runs {
    /// Nothing is driven before [`Runs::recover`].
    pub fn new(parts: Parts) -> Self {
        let Parts { records, catalog, places, fleet, vaults, grants, feeds, clock, tasks, .. } =
            parts;
        let Parts { audit, disks, options, .. } = parts;
        let queue = Queue::new(options.per_host, options.total);
        Self(Arc::new(Inner {
            records,
            catalog,
            places,
            fleet,
            vaults,
            grants,
            feeds,
            queue,
            clock,
            tasks,
            audit,
            disks,
            options,
        }))
    }

    /// Goes on with every run that is not over: the same call as for a new one.
    ///
    /// # Errors
    ///
    /// The store cannot read them.
    pub async fn recover(&self) -> Result<usize, Failure> {
        let runs = self.0.records.unfinished().await.map_err(store_failed)?;
        let count = runs.len();
        for run in runs {
            self.spawn(run);
        }
        Ok(count)
    }

    /// Says what `task` would do to the stack at `address`, and changes nothing.
    ///
    /// # Errors
    ///
    /// Why it cannot be done.
    pub async fn plan(
        &self,
        address: &StackAddress,
        task: &Task,
    ) -> Result<(Place, Plan), Failure> {
        let place = self.0.places.find(address, self.0.clock.now()).await?;
        let plan = self.plan_for(&place, task).await?;
        Ok((place, plan))
    }

    async fn plan_for(&self, place: &Place, task: &Task) -> Result<Plan, Failure> {
        let Some(seen) = &place.seen else {
            self.0.fleet.connected(place.host.id, &place.host.name)?;
            let message = format!(
                "stack `{}` is not on its host any more; create its containers first",
                place.address()
            );
            return Err(Failure::new(Reason::StackUnknown, message));
        };
        let plan = match task {
            Task::Backup { components } => {
                let budget = self.0.options.hold_budget_seconds;
                let plan = BackupPlan::of(seen, components, budget);
                Plan::Backup(plan.map_err(|error| Failure::of(&error))?)
            }
            Task::Restore { snapshot, components } => {
                let snapshot = self.0.catalog.get(*snapshot).await.map_err(store_failed)?;
                let snapshot = snapshot.ok_or_else(|| {
                    let message = "there is no such snapshot; `ctl snapshot list` shows them";
                    Failure::new(Reason::SnapshotUnknown, message)
                })?;
                own(&snapshot, place)?;
                let plan = RestorePlan::of(seen, &snapshot, components);
                Plan::Restore(plan.map_err(|error| Failure::of(&error))?)
            }
        };
        Ok(plan)
    }

    /// Accepts a run; the same id with the same task again gives the same run.
    ///
    /// # Errors
    ///
    /// `RUN_EXISTS` when the id belongs to another; `STACK_BUSY` when the stack is held; `DISK_FULL`
    /// when there is too little room for a backup; why no plan can be made.
    pub async fn start(
        &self,
        id: RunId,
        address: &StackAddress,
        task: Task,
        asked_by: String,
    ) -> Result<Run, Failure> {
        let known = self.0.records.get(id).await.map_err(store_failed)?;
        let now = self.0.clock.now();
        let place = self.0.places.find(address, now).await?;
        if known.is_none() {
            self.plan_for(&place, &task).await?;
            self.refuse_held(&place).await?;
            refuse_drained(&place)?;
            if let Task::Backup { .. } = task {
                self.0.disks.admit_backup()?;
            }
        }
        let run = Run {
            id,
            task,
            stack: place.stack.id,
            stack_name: place.stack.name,
            host: place.host.id,
            host_name: place.host.name,
            asked_by,
            created: now,
            state: RunState::Queued,
            sequence: 0,
            agent_sequence: 0,
            cancel_asked: false,
        };
        match self.0.records.create(&run).await.map_err(|error| Failure::of(&error))? {
            Created::Known(run) => Ok(*run),
            Created::New => {
                self.spawn(run.clone());
                Ok(run)
            }
        }
    }

    /// A held stack takes no other run: its data is in between.
    async fn refuse_held(&self, place: &Place) -> Result<(), Failure> {
        let open = self.0.records.unfinished().await.map_err(store_failed)?;
        let held = open
            .into_iter()
            .find(|run| run.stack == place.stack.id && matches!(run.state, RunState::Held { .. }));
        held.map_or(Ok(()), |run| {
            let message = format!(
                "stack `{}` is held by {}, a restore that failed; end it first with `ctl run \
                 resume {0}` or `ctl run rollback {0}`",
                place.address(),
                run.id
            );
            Err(Failure::new(Reason::StackBusy, message.replace("{0}", &run.id.to_string())))
        })
    }

    /// The run with this id.
    ///
    /// # Errors
    ///
    /// `RUN_UNKNOWN`
    pub async fn get(&self, id: RunId) -> Result<Run, Failure> {
        self.0.records.get(id).await.map_err(store_failed)?.ok_or_else(|| unknown(id))
    }

    /// The stack at `address`.
    ///
    /// # Errors
    ///
    /// As [`Places::find`].
    pub async fn stack(&self, address: &StackAddress) -> Result<StackId, Failure> {
        Ok(self.0.places.find(address, self.0.clock.now()).await?.stack.id)
    }

    /// The newest snapshot of the stack at `address`.
    ///
    /// # Errors
    ///
    /// `SNAPSHOT_UNKNOWN` when it has none.
    pub async fn newest(&self, address: &StackAddress) -> Result<SnapshotId, Failure> {
        let stack = self.stack(address).await?;
        let snapshots = self.0.catalog.list(Some(stack)).await.map_err(store_failed)?;
        snapshots.first().map(|it| it.id).ok_or_else(|| {
            let message =
                format!("stack `{address}` has no snapshot; make one with `ctl backup {address}`");
            Failure::new(Reason::SnapshotUnknown, message)
        })
    }

    /// Where runs are kept.
    pub fn records(&self) -> &Records {
        &self.0.records
    }

    /// For watchers.
    pub fn feeds(&self) -> &Feeds {
        &self.0.feeds
    }

    /// Asks for the end of a run. It is over when its events say so.
    ///
    /// # Errors
    ///
    /// `RUN_UNKNOWN`; `RUN_STATE` when it is held.
    pub async fn cancel(&self, id: RunId) -> Result<(), Failure> {
        let run = self.get(id).await?;
        if let RunState::Held { .. } = run.state {
            let message = format!("run {id} is held; end it with `ctl run rollback {id}`");
            return Err(Failure::new(Reason::RunState, message));
        }
        self.0.records.ask_cancel(id).await.map_err(|error| Failure::of(&error))?;
        self.0.queue.wake();
        if let Some(agent) = self.0.fleet.agent(run.host) {
            let request = Request::new(CancelRunRequest { run_id: id.to_string() });
            if let Err(refused) = agent.client().cancel_run(request).await {
                // Queued ones are not with the agent yet; others are told when it is back.
                tracing::debug!(run = %id, %refused, "agent was not told of the cancellation");
            }
        }
        Ok(())
    }

    /// Asks a held run to try again.
    ///
    /// # Errors
    ///
    /// `RUN_STATE` when it is not held; `HOST_OFFLINE`.
    pub async fn resume(&self, id: RunId) -> Result<(), Failure> {
        let run = self.held(id).await?;
        let agent = self.0.fleet.connected(run.host, &run.host_name)?;
        self.resume_at(&run, &agent).await
    }

    /// Asks a held run to end with the old data.
    ///
    /// # Errors
    ///
    /// `RUN_STATE` when it is not held; `HOST_OFFLINE`.
    pub async fn roll_back(&self, id: RunId) -> Result<(), Failure> {
        let run = self.held(id).await?;
        let agent = self.0.fleet.connected(run.host, &run.host_name)?;
        let request = Request::new(RollBackRunRequest { run_id: id.to_string() });
        let told = agent.client().roll_back_run(request).await;
        told.map(drop).map_err(|it| status::to_failure(&it, Reason::HostOffline))
    }

    async fn held(&self, id: RunId) -> Result<Run, Failure> {
        let run = self.get(id).await?;
        if matches!(run.state, RunState::Held { .. }) {
            return Ok(run);
        }
        let message = format!("run {id} is {}, not held", run.state.word());
        Err(Failure::new(Reason::RunState, message))
    }

    /// Whether a host has runs that are not over.
    ///
    /// # Errors
    ///
    /// The store cannot read them.
    pub async fn open_on(&self, host: HostId) -> Result<Vec<Run>, Failure> {
        let open = self.0.records.unfinished().await.map_err(store_failed)?;
        Ok(open.into_iter().filter(|run| run.host == host).collect())
    }

    /// Takes an event of the controller's own into a run.
    async fn report(&self, id: RunId, event: RunEvent) -> Result<Run, Failure> {
        self.take(id, Reporter::Controller, event).await
    }

    async fn take(&self, id: RunId, by: Reporter, event: RunEvent) -> Result<Run, Failure> {
        let run = self.0.records.record(id, by, &event).await;
        let run = run.map_err(|error| Failure::of(&error))?;
        self.0.feeds.event(id, run.sequence);
        Ok(run)
    }

    fn spawn(&self, run: Run) {
        let runs = self.clone();
        let span = tracing::info_span!("run", id = %run.id, stack = %run.stack_name);
        self.0.tasks.spawn(span, |cancel| async move {
            tokio::select! {
                () = cancel.cancelled() => {} // the next start goes on with it
                () = runs.drive(run) => {}
            }
        });
    }
}

/// A snapshot is restored in place onto the stack that it is of.
fn own(snapshot: &Snapshot, place: &Place) -> Result<(), Failure> {
    if snapshot.stack == place.stack.id {
        return Ok(());
    }
    let message = format!(
        "snapshot {} is of `{}/{}`, not of `{}`",
        snapshot.id.short(),
        snapshot.host_name,
        snapshot.stack_name,
        place.address()
    );
    Err(Failure::new(Reason::SnapshotUnknown, message))
}
