//! Runs: started once, followed by whoever asks, carried out one per stack.

mod backup;
pub mod drive;
pub mod log;
pub mod record;
mod recover;
mod restore;
#[cfg(test)]
mod tests;
mod tree;
pub mod work;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use lazarette_core::{
    error::{Reason, ReasonedError},
    id::RunId,
    name::StackName,
    run::RunState,
};
use lazarette_node::tasks::Tasks;
use tokio_util::sync::CancellationToken;

use self::{
    log::RunLog,
    record::{Job, Record, RecordError, Records, ended},
    work::{Grant, Tools},
};
use crate::disk::blocking;

/// A run cannot be started, or not be asked that.
#[derive(Debug, thiserror::Error)]
pub enum RunsError {
    /// The agent never had it, or has forgotten it.
    #[error("this agent does not know run `{0}`: it never had it, or it ended long ago")]
    Unknown(RunId),
    /// The id belongs to a run with another plan.
    #[error("run `{0}` exists with another plan; ask with an id of its own")]
    Exists(RunId),
    /// Another run has the stack.
    #[error("stack `{stack}` is busy with `{other}`; wait for its end, or cancel it")]
    Busy {
        /// Which stack.
        stack: StackName,
        /// Whose it is.
        other: RunId,
    },
    /// Only a held run can be resumed or rolled back.
    #[error("run `{run}` is {state}: only a held run can be resumed or rolled back")]
    NotHeld {
        /// Which.
        run: RunId,
        /// What it is.
        state: &'static str,
    },
    /// The agent is being stopped.
    #[error("this agent is being stopped; ask again when it is back")]
    Stopping,
    /// Its record cannot be begun.
    #[error("begin the record of the run")]
    Record(#[source] RecordError),
}

impl ReasonedError for RunsError {
    fn reason(&self) -> Reason {
        match self {
            Self::Unknown(_) => Reason::RunUnknown,
            Self::Exists(_) => Reason::RunExists,
            Self::Busy { .. } => Reason::StackBusy,
            Self::NotHeld { .. } => Reason::RunState,
            Self::Stopping => Reason::AgentRestarted,
            Self::Record(error) => error.reason(),
        }
    }
}

/// All runs that this agent knows. Clones are the same.
#[derive(Clone, Debug)]
pub struct Runs {
    all: Arc<Mutex<BTreeMap<RunId, Known>>>,
    records: Records,
    tools: Tools,
    tasks: Tasks,
}

/// A run that is known.
#[derive(Clone, Debug)]
struct Known {
    log: Arc<RunLog>,
    cancel: CancellationToken,
    /// Somebody works on it now.
    is_driven: bool,
}

impl Runs {
    /// With what former lives of this agent wrote down; call [`Self::recover`] next.
    ///
    /// # Errors
    ///
    /// [`RecordError`] when the records cannot be listed.
    pub fn load(records: Records, tools: Tools, tasks: Tasks) -> Result<Self, RecordError> {
        let mut all = BTreeMap::new();
        for (record, file) in records.find()?.records {
            let run = record.job.run;
            let log = RunLog::new(record, file, tools.clock.clone());
            all.insert(run, Known { log, cancel: CancellationToken::new(), is_driven: false });
        }
        Ok(Self { all: Arc::new(Mutex::new(all)), records, tools, tasks })
    }

    /// Starts a run. The same one again is the same run.
    ///
    /// # Errors
    ///
    /// [`RunsError`]; nothing was begun then.
    pub async fn start(&self, job: Job, grant: Grant) -> Result<(), RunsError> {
        if self.tasks.cancellation().is_cancelled() {
            return Err(RunsError::Stopping);
        }
        let runs = self.clone();
        let begun = blocking(move || runs.begin(job)).await?;
        if let Some(run) = begun {
            self.drive(run, drive::Begin::Start(grant));
        }
        Ok(())
    }

    /// The log of a run.
    ///
    /// # Errors
    ///
    /// [`RunsError::Unknown`].
    pub fn log(&self, run: RunId) -> Result<Arc<RunLog>, RunsError> {
        self.known(run).map(|known| known.log)
    }

    /// The logs of all runs, oldest first.
    pub fn logs(&self) -> Vec<Arc<RunLog>> {
        self.lock().values().map(|known| known.log.clone()).collect()
    }

    /// Asks a run to stop. One that is over, or held, is left as it is.
    ///
    /// # Errors
    ///
    /// [`RunsError::Unknown`].
    pub fn cancel(&self, run: RunId) -> Result<(), RunsError> {
        let known = self.known(run)?;
        if known.is_driven {
            known.cancel.cancel();
        }
        Ok(())
    }

    /// Lets a held run try again.
    ///
    /// # Errors
    ///
    /// [`RunsError`].
    pub fn resume(&self, run: RunId, grant: Grant) -> Result<(), RunsError> {
        self.claim_held(run)?;
        self.drive(run, drive::Begin::Resume(grant));
        Ok(())
    }

    /// Ends a held run: its stack runs again with its old data.
    ///
    /// # Errors
    ///
    /// [`RunsError`].
    pub fn roll_back(&self, run: RunId) -> Result<(), RunsError> {
        self.claim_held(run)?;
        self.drive(run, drive::Begin::RollBack);
        Ok(())
    }

    /// Whether somebody works on the run now: its hold is then not for the reaper.
    pub fn is_driven(&self, run: RunId) -> bool {
        self.lock().get(&run).is_some_and(|known| known.is_driven)
    }

    /// Ends what former lives of this agent left undone; and forgets what ended long ago.
    pub async fn recover(&self) {
        self.forget_old().await;
        for log in self.logs() {
            let run = log.job().run;
            if log.state().is_terminal() || matches!(log.state(), RunState::Held { .. }) {
                continue;
            }
            if let Some(known) = self.lock().get_mut(&run) {
                known.is_driven = true;
            }
            self.drive(run, drive::Begin::Recover);
        }
    }

    async fn forget_old(&self) {
        let oldest = self.tools.clock.now() - self.tools.timers.remember_runs;
        for log in self.logs() {
            let is_old = ended(&log.state()).is_some_and(|at| at < oldest);
            if !is_old {
                continue;
            }
            let run = log.job().run;
            self.lock().remove(&run);
            let records = self.records.clone();
            if let Err(error) = blocking(move || records.forget(run)).await {
                tracing::warn!(error = %lazarette_core::error::chain(&error), %run, "forget a run");
            }
        }
    }

    /// Writes the run down, unless it is known. It is claimed for whoever called.
    fn begin(&self, job: Job) -> Result<Option<RunId>, RunsError> {
        // The lock is held while the record is written: two starts at once are one after another.
        let mut all = self.lock();
        if let Some(known) = all.get(&job.run) {
            let same = known.log.job() == job;
            return if same { Ok(None) } else { Err(RunsError::Exists(job.run)) };
        }
        let stack = job.plan.stack().clone();
        let busy = all
            .values()
            .map(|known| known.log.record())
            .find(|record| *record.job.plan.stack() == stack && !record.state.is_terminal());
        if let Some(other) = busy {
            return Err(RunsError::Busy { stack, other: other.job.run });
        }
        let file = self.records.begin(&job).map_err(RunsError::Record)?;
        let run = job.run;
        let log = RunLog::new(Record::new(job), file, self.tools.clock.clone());
        all.insert(run, Known { log, cancel: CancellationToken::new(), is_driven: true });
        Ok(Some(run))
    }

    fn claim_held(&self, run: RunId) -> Result<(), RunsError> {
        let mut all = self.lock();
        let known = all.get_mut(&run).ok_or(RunsError::Unknown(run))?;
        let state = known.log.state();
        if known.is_driven || !matches!(state, RunState::Held { .. }) {
            return Err(RunsError::NotHeld { run, state: state.word() });
        }
        known.is_driven = true;
        known.cancel = CancellationToken::new();
        Ok(())
    }

    fn known(&self, run: RunId) -> Result<Known, RunsError> {
        self.lock().get(&run).cloned().ok_or(RunsError::Unknown(run))
    }

    fn drive(&self, run: RunId, begin: drive::Begin) {
        let Ok(known) = self.known(run) else { return };
        let (runs, tools) = (self.clone(), self.tools.clone());
        let span = tracing::info_span!("run", %run);
        self.tasks.spawn(span, |stop| async move {
            drive::drive(
                &known.log,
                &tools,
                drive::Stops { asked: known.cancel, agent: stop },
                begin,
            )
            .await;
            if let Some(known) = runs.lock().get_mut(&run) {
                known.is_driven = false;
            }
        });
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<RunId, Known>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
