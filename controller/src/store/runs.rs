//! Runs, each under its id, with its events by sequence and an index of those not over.

use std::sync::Arc;

use lazarette_core::error::{Reason, ReasonedError};
use lazarette_core::id::RunId;
use lazarette_core::run::{IllegalTransition, Run, RunEvent};
use serde::{Deserialize, Serialize};

use super::{Batch, Collection, Found, Order, Part, Record, Store, StoreError};

impl Record for Run {
    const VERSION: u8 = 1;
}

impl Record for RunEvent {
    const VERSION: u8 = 1;
}

/// That a run is not over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Unfinished {}

impl Record for Unfinished {
    const VERSION: u8 = 1;
}

const RUNS: Collection<RunId, Run> = Collection::new("run");
const EVENTS: Collection<(RunId, u64), RunEvent> = Collection::new("run-event");
const UNFINISHED: Collection<RunId, Unfinished> = Collection::new("run-unfinished");

/// No run has more events: one that does is not told by an agent of ours.
const EVENTS_MAX: u64 = 20_000;

/// One event of a run, with its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NumberedEvent {
    /// 1 for the first of the run, then without gaps.
    pub sequence: u64,
    /// What happened.
    pub event: RunEvent,
}

/// Who reports an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reporter {
    /// The controller itself.
    Controller,
    /// The agent, with the event's place in its own sequence: one that is in already is not
    /// taken twice.
    Agent {
        /// 1 for the agent's first event of the run.
        sequence: u64,
    },
}

/// What came of a run that was to be created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Created {
    /// It is new.
    New,
    /// It was there before, for the same task on the same stack: this is how it stands.
    Known(Box<Run>),
}

/// Why something could not be done to a run.
#[derive(Debug, thiserror::Error)]
pub enum RunsError {
    /// The store could not do it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There is none with this id.
    #[error("find the run {0}: there is none")]
    Unknown(RunId),
    /// The id belongs to another run.
    #[error("create the run {0}: its id belongs to a run for another task or stack")]
    Exists(RunId),
    /// It has as many events as a run may have.
    #[error("record an event of the run {0}: it has {EVENTS_MAX} already")]
    TooMany(RunId),
    /// The event does not fit its state.
    #[error("record an event of the run {run}")]
    Illegal {
        /// Which run.
        run: RunId,
        /// What does not fit.
        #[source]
        source: Box<IllegalTransition>,
    },
}

impl ReasonedError for RunsError {
    fn reason(&self) -> Reason {
        match self {
            Self::Store(error) => error.reason(),
            Self::Unknown(_) => Reason::RunUnknown,
            Self::Exists(_) => Reason::RunExists,
            Self::TooMany(_) => Reason::LimitReached,
            Self::Illegal { .. } => Reason::RunState,
        }
    }
}

/// The runs in a store.
#[derive(Clone, Debug)]
pub struct Runs(Arc<dyn Store>);

impl Runs {
    /// Those in `store`.
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self(store)
    }

    /// Keeps a new run; twice is as once.
    ///
    /// # Errors
    ///
    /// [`RunsError::Exists`] when the id belongs to a run for another task or stack.
    pub async fn create(&self, run: &Run) -> Result<Created, RunsError> {
        let mut batch = Batch::new();
        RUNS.insert(&mut batch, &run.id, run)?;
        UNFINISHED.put(&mut batch, &run.id, &Unfinished {})?;
        match self.0.commit(batch).await {
            Ok(()) => Ok(Created::New),
            Err(error) if error.is_conflict() => {
                let known = self.get(run.id).await?.ok_or(RunsError::Unknown(run.id))?;
                if known.task == run.task && known.stack == run.stack {
                    Ok(Created::Known(Box::new(known)))
                } else {
                    Err(RunsError::Exists(run.id))
                }
            }
            Err(error) => Err(error.into()),
        }
    }

    /// The run with this id.
    ///
    /// # Errors
    ///
    /// The store cannot read it.
    pub async fn get(&self, id: RunId) -> Result<Option<Run>, StoreError> {
        Ok(RUNS.get(&*self.0, &id).await?.map(|found| found.value))
    }

    /// At most `limit` runs, newest first, those older than `before` if it is given.
    ///
    /// # Errors
    ///
    /// The store cannot read them.
    pub async fn list(&self, before: Option<RunId>, limit: usize) -> Result<Vec<Run>, StoreError> {
        let part =
            Part { after: before.as_ref(), limit, order: Order::Descending, ..Part::first() };
        let listing = RUNS.list(&*self.0, part).await?;
        Ok(listing.records.into_iter().map(|(_, found)| found.value).collect())
    }

    /// Every run that is not over, oldest first: queued, running, out of contact or held.
    ///
    /// # Errors
    ///
    /// The store cannot read them.
    pub async fn unfinished(&self) -> Result<Vec<Run>, StoreError> {
        let mut runs = Vec::new();
        for (id, Unfinished {}) in UNFINISHED.all(&*self.0, &[]).await? {
            runs.extend(self.get(id).await?.filter(|run| !run.state.is_terminal()));
        }
        Ok(runs)
    }

    /// At most `limit` events of `run` after `sequence`, oldest first, without gaps.
    ///
    /// # Errors
    ///
    /// The store cannot read them.
    pub async fn events(
        &self,
        run: RunId,
        after: u64,
        limit: usize,
    ) -> Result<Vec<NumberedEvent>, StoreError> {
        let part =
            Part { within: run.as_bytes(), after: Some(&(run, after)), limit, ..Part::first() };
        let listing = EVENTS.list(&*self.0, part).await?;
        let numbered = |((_, sequence), found): ((RunId, u64), Found<RunEvent>)| NumberedEvent {
            sequence,
            event: found.value,
        };
        Ok(listing.records.into_iter().map(numbered).collect())
    }

    /// Takes one event of a run into its state and its events; gives the run as it is then. An
    /// event of the agent that is in already changes nothing.
    ///
    /// # Errors
    ///
    /// [`RunsError::Illegal`] when the event does not fit the state: nothing is changed.
    pub async fn record(
        &self,
        id: RunId,
        reporter: Reporter,
        event: &RunEvent,
    ) -> Result<Run, RunsError> {
        loop {
            let seen = RUNS.get(&*self.0, &id).await?.ok_or(RunsError::Unknown(id))?;
            let Some(run) = next(&seen.value, reporter, event)? else { return Ok(seen.value) };
            let mut batch = Batch::new();
            RUNS.replace(&mut batch, &id, &seen, &run)?;
            EVENTS.insert(&mut batch, &(id, run.sequence), event)?;
            if run.state.is_terminal() {
                batch.delete(UNFINISHED.key(&id));
            }
            match self.0.commit(batch).await {
                Ok(()) => return Ok(run),
                Err(error) if error.is_conflict() => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Notes that somebody asked for the run's end; twice is as once. Gives the run as it is then.
    ///
    /// # Errors
    ///
    /// [`RunsError::Unknown`] when there is no such run.
    pub async fn ask_cancel(&self, id: RunId) -> Result<Run, RunsError> {
        RUNS.update(&*self.0, &id, |run| {
            let run = run.ok_or(RunsError::Unknown(id))?;
            Ok(Run { cancel_asked: run.cancel_asked || !run.state.is_terminal(), ..run.clone() })
        })
        .await
    }
}

/// The run after the event, or nothing if the event is in it.
fn next(run: &Run, reporter: Reporter, event: &RunEvent) -> Result<Option<Run>, RunsError> {
    let agent_sequence = match reporter {
        Reporter::Controller => run.agent_sequence,
        Reporter::Agent { sequence } if sequence <= run.agent_sequence => return Ok(None),
        Reporter::Agent { .. } if run.sequence >= EVENTS_MAX => {
            return Err(RunsError::TooMany(run.id));
        }
        Reporter::Agent { sequence } => sequence,
    };
    let state = run
        .state
        .clone()
        .apply(event.clone())
        .map_err(|source| RunsError::Illegal { run: run.id, source })?;
    Ok(Some(Run { state, agent_sequence, sequence: run.sequence + 1, ..run.clone() }))
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use lazarette_core::id::{HostId, StackId};
    use lazarette_core::run::{Phase, RunState, Task};

    use super::super::MemoryStore;
    use super::*;

    const AT: Timestamp = Timestamp::UNIX_EPOCH;

    fn run() -> Run {
        Run {
            id: RunId::new(),
            task: Task::Backup { components: Vec::new() },
            stack: StackId::new(),
            stack_name: "shop".parse().unwrap(),
            host: HostId::new(),
            host_name: "web".parse().unwrap(),
            asked_by: "operator/ada".to_owned(),
            created: AT,
            state: RunState::Queued,
            sequence: 0,
            agent_sequence: 0,
            cancel_asked: false,
        }
    }

    fn runs() -> Runs {
        Runs::new(Arc::new(MemoryStore::new()))
    }

    #[tokio::test]
    async fn a_run_is_created_once_and_its_id_serves_no_other_task() {
        let (runs, run) = (runs(), run());
        let other = Run { stack: StackId::new(), ..run.clone() };

        let outcomes = (runs.create(&run).await.unwrap(), runs.create(&run).await.unwrap());
        let refused = runs.create(&other).await;

        assert_eq!(outcomes, (Created::New, Created::Known(Box::new(run))));
        assert!(matches!(refused, Err(RunsError::Exists(_))));
    }

    #[tokio::test]
    async fn events_are_numbered_without_gaps_and_taken_once() {
        let (runs, run) = (runs(), run());
        runs.create(&run).await.unwrap();
        let events = [
            RunEvent::Started { at: AT },
            RunEvent::Entered { at: AT, phase: Phase::Saving },
            RunEvent::Cancelled { at: AT },
        ];

        for _ in 0..2 {
            for (sequence, event) in (1..).zip(&events) {
                runs.record(run.id, Reporter::Agent { sequence }, event).await.unwrap();
            }
        }

        let stored = runs.events(run.id, 1, 10).await.unwrap();
        let sequences: Vec<u64> = stored.iter().map(|event| event.sequence).collect();
        assert_eq!(sequences, [2, 3]);
        assert_eq!(stored[1].event, events[2]);
        assert_eq!(runs.get(run.id).await.unwrap().unwrap().state, RunState::Cancelled { at: AT });
    }

    #[test]
    fn an_agent_does_not_fill_the_store_with_events_and_the_run_can_still_be_ended() {
        let full = Run { sequence: EVENTS_MAX, agent_sequence: EVENTS_MAX, ..run() };
        let more = RunEvent::Noted { at: AT, component: None, text: "more".to_owned() };
        let end = RunEvent::Cancelled { at: AT };

        let refused = next(&full, Reporter::Agent { sequence: EVENTS_MAX + 1 }, &more);

        assert!(matches!(refused, Err(RunsError::TooMany(_))));
        assert!(next(&full, Reporter::Controller, &end).unwrap().is_some());
    }

    #[tokio::test]
    async fn an_event_that_does_not_fit_changes_nothing() {
        let (runs, run) = (runs(), run());
        runs.create(&run).await.unwrap();

        let refused =
            runs.record(run.id, Reporter::Controller, &RunEvent::Resumed { at: AT }).await;

        assert!(matches!(refused, Err(RunsError::Illegal { .. })));
        assert_eq!(runs.get(run.id).await.unwrap(), Some(run.clone()));
        assert_eq!(runs.events(run.id, 0, 10).await.unwrap(), []);
    }

    #[tokio::test]
    async fn a_run_is_unfinished_until_it_is_over_and_lists_show_the_newest_first() {
        let (runs, first, second) = (runs(), run(), run());
        runs.create(&first).await.unwrap();
        runs.create(&second).await.unwrap();

        let asked = runs.ask_cancel(first.id).await.unwrap();
        runs.record(first.id, Reporter::Controller, &RunEvent::Cancelled { at: AT }).await.unwrap();

        assert!(asked.cancel_asked);
        assert_eq!(runs.unfinished().await.unwrap(), std::slice::from_ref(&second));
        let listed: Vec<RunId> =
            runs.list(None, 10).await.unwrap().iter().map(|run| run.id).collect();
        assert_eq!(listed, [second.id, first.id]);
        assert_eq!(runs.list(Some(second.id), 10).await.unwrap().len(), 1);
    }
}
