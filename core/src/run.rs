//! A run: one execution, as a state that changes only by [`RunState::apply`].

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    error::Failure,
    id::{HostId, RunId, SnapshotId, StackId},
    name::{ComponentName, HostName, StackName},
    units::ByteCount,
};

/// One execution, as the controller keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// Chosen by who asked for it.
    pub id: RunId,
    /// What is to be done.
    pub task: Task,
    /// On which stack.
    pub stack: StackId,
    /// What the stack is called.
    pub stack_name: StackName,
    /// On which host.
    pub host: HostId,
    /// What the host is called.
    pub host_name: HostName,
    /// Who asked for it, as `role/name`.
    pub asked_by: String,
    /// When it was accepted, by the controller's clock.
    pub created: Timestamp,
    /// Where it stands.
    pub state: RunState,
    /// Of the newest event.
    pub sequence: u64,
    /// The newest event of the agent's that is in it.
    pub agent_sequence: u64,
    /// Whether somebody asked for its end.
    pub cancel_asked: bool,
}

/// What a run is to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "task", rename_all = "snake_case")]
pub enum Task {
    /// Makes a snapshot.
    Backup {
        /// Only these; all when empty.
        components: Vec<ComponentName>,
    },
    /// Puts a snapshot back in place.
    Restore {
        /// Which.
        snapshot: SnapshotId,
        /// Only these; all but `files` when empty (H11).
        components: Vec<ComponentName>,
    },
}

impl Task {
    /// The verb.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Backup { .. } => "backup",
            Self::Restore { .. } => "restore",
        }
    }
}

/// What an agent does during a run. A run may skip phases, and goes back only to undo.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Looking at the stack and at what the run needs.
    Preparing,
    /// Stopping writers.
    Quiescing,
    /// Reading data into the repository.
    Saving,
    /// Reading data out of the repository, beside what is there.
    Restoring,
    /// Comparing what was restored with the snapshot's evidence.
    Verifying,
    /// Putting the restored data in the place of the old.
    Swapping,
    /// Putting the old data back.
    RollingBack,
    /// Starting what was stopped, and waiting for its health.
    Thawing,
    /// Making the snapshot exist.
    Committing,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Preparing => "preparing",
            Self::Quiescing => "quiescing",
            Self::Saving => "saving",
            Self::Restoring => "restoring",
            Self::Verifying => "verifying",
            Self::Swapping => "swapping",
            Self::RollingBack => "rolling back",
            Self::Thawing => "thawing",
            Self::Committing => "committing",
        })
    }
}

/// Where a run stands. Terminal states never change again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum RunState {
    /// Accepted; no agent has it yet.
    Queued,
    /// An agent is working on it.
    Running {
        /// When the agent took it, by the agent's clock.
        since: Timestamp,
        /// What the agent is doing now.
        phase: Phase,
    },
    /// Its agent does not answer; what it does meanwhile is not known.
    LostContact {
        /// When the agent took it.
        since: Timestamp,
        /// What the agent did last.
        phase: Phase,
        /// Since when it does not answer, by the controller's clock.
        lost: Timestamp,
    },
    /// A restore that failed: the stack is stopped with its old data in place, until an operator
    /// resumes the run or rolls it back.
    Held {
        /// Since when.
        since: Timestamp,
        /// What failed.
        failure: Failure,
    },
    /// Done.
    Succeeded {
        /// When.
        at: Timestamp,
        /// What came of it.
        outcome: Outcome,
    },
    /// Over, without its effect; the stack runs as before.
    Failed {
        /// When.
        at: Timestamp,
        /// Why.
        failure: Failure,
    },
    /// Stopped on request; the stack runs as before.
    Cancelled {
        /// When.
        at: Timestamp,
    },
    /// A held run that an operator ended: the stack runs again with its old data.
    RolledBack {
        /// When.
        at: Timestamp,
        /// Why it had been held.
        failure: Failure,
    },
}

/// What came of a run that succeeded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    /// A snapshot exists.
    Saved {
        /// Which.
        snapshot: SnapshotId,
        /// What it took.
        totals: Totals,
    },
    /// The stack is as the snapshot says.
    Restored {
        /// Which.
        snapshot: SnapshotId,
        /// What it took.
        totals: Totals,
        /// How many facts of evidence were compared and found equal.
        facts_compared: u64,
    },
}

/// What a run took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// Read from the stack, or written to it.
    pub read: ByteCount,
    /// Of it, not in the repository before.
    pub new: ByteCount,
    /// Added to the repository, or read from it, compressed.
    pub stored: ByteCount,
    /// Files, dumps and other single things.
    pub items: u64,
    /// How long applications were stopped, in milliseconds.
    pub downtime_ms: u64,
}

/// What an agent or the controller reports of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum RunEvent {
    /// The agent took the run.
    Started {
        /// By the agent's clock.
        at: Timestamp,
    },
    /// The agent went on to `phase`.
    Entered {
        /// By the agent's clock.
        at: Timestamp,
        /// Never earlier than the one before, but for rolling back and thawing.
        phase: Phase,
    },
    /// Something that an operator should read; changes no state.
    Noted {
        /// By the clock of who noted it.
        at: Timestamp,
        /// About which component, if about one.
        component: Option<ComponentName>,
        /// One line.
        text: String,
    },
    /// The agent does not answer.
    ContactLost {
        /// By the controller's clock.
        at: Timestamp,
    },
    /// The agent answers again and still has the run.
    ContactRegained {
        /// By the controller's clock.
        at: Timestamp,
    },
    /// The restore failed and the stack is held.
    Held {
        /// By the agent's clock.
        at: Timestamp,
        /// Why.
        failure: Failure,
    },
    /// An operator asked a held run to go on.
    Resumed {
        /// By the agent's clock.
        at: Timestamp,
    },
    /// It is done.
    Succeeded {
        /// By the agent's clock.
        at: Timestamp,
        /// What came of it.
        outcome: Outcome,
    },
    /// Something failed; the stack runs as before.
    Failed {
        /// By the clock of who says so.
        at: Timestamp,
        /// Why.
        failure: Failure,
    },
    /// It was stopped on request.
    Cancelled {
        /// By the clock of who says so.
        at: Timestamp,
    },
    /// A held run was rolled back; the stack runs with its old data.
    RolledBack {
        /// By the agent's clock.
        at: Timestamp,
    },
}

/// `event` makes no sense in `state`.
#[derive(Debug, thiserror::Error)]
#[error("a run that is {} cannot take {event:?}", state.word())]
pub struct IllegalTransition {
    /// Where it stands, unchanged.
    pub state: RunState,
    /// What did not fit.
    pub event: RunEvent,
}

impl RunState {
    /// Whether the run is over.
    pub const fn is_terminal(&self) -> bool {
        matches!(
            self,
            Self::Succeeded { .. }
                | Self::Failed { .. }
                | Self::Cancelled { .. }
                | Self::RolledBack { .. }
        )
    }

    /// One word for lists and filters.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running { .. } => "running",
            Self::LostContact { .. } => "lost-contact",
            Self::Held { .. } => "held",
            Self::Succeeded { .. } => "succeeded",
            Self::Failed { .. } => "failed",
            Self::Cancelled { .. } => "cancelled",
            Self::RolledBack { .. } => "rolled-back",
        }
    }

    /// The state after `event`.
    ///
    /// # Errors
    ///
    /// [`IllegalTransition`], with both sides unchanged in it, when the run is over or the event
    /// does not belong to its state.
    pub fn apply(self, event: RunEvent) -> Result<Self, Box<IllegalTransition>> {
        use RunEvent as E;
        match (self, event) {
            (state, E::Noted { .. }) if !state.is_terminal() => Ok(state),
            (Self::Queued, E::Started { at }) | (Self::Held { .. }, E::Resumed { at }) => {
                Ok(Self::Running { since: at, phase: Phase::Preparing })
            }
            (Self::Running { since, phase }, E::Entered { phase: next, .. })
                if next >= phase || matches!(next, Phase::RollingBack | Phase::Thawing) =>
            {
                Ok(Self::Running { since, phase: next })
            }
            (Self::LostContact { since, phase, .. }, E::ContactRegained { .. }) => {
                Ok(Self::Running { since, phase })
            }
            (Self::Running { since, phase }, E::ContactLost { at }) => {
                Ok(Self::LostContact { since, phase, lost: at })
            }
            (Self::Running { .. }, E::Held { at, failure }) => {
                Ok(Self::Held { since: at, failure })
            }
            (Self::Held { failure, .. }, E::RolledBack { at }) => {
                Ok(Self::RolledBack { at, failure })
            }
            (Self::Running { .. }, E::Succeeded { at, outcome }) => {
                Ok(Self::Succeeded { at, outcome })
            }
            (
                Self::Queued | Self::Running { .. } | Self::LostContact { .. },
                E::Failed { at, failure },
            ) => Ok(Self::Failed { at, failure }),
            (Self::Queued | Self::Running { .. }, E::Cancelled { at }) => {
                Ok(Self::Cancelled { at })
            }
            (state, event) => Err(Box::new(IllegalTransition { state, event })),
        }
    }
}

/// How far a running component is. Never stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Which component, if one.
    pub component: Option<ComponentName>,
    /// Done so far, of the whole run.
    pub done: ByteCount,
    /// Of how much, when that is known.
    pub total: Option<ByteCount>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Reason;

    const AT: Timestamp = Timestamp::UNIX_EPOCH;

    fn failure() -> Failure {
        Failure::new(Reason::Internal, "x")
    }

    fn terminal() -> [RunState; 3] {
        [
            RunState::Cancelled { at: AT },
            RunState::Failed { at: AT, failure: failure() },
            RunState::RolledBack { at: AT, failure: failure() },
        ]
    }

    fn every_event() -> Vec<RunEvent> {
        vec![
            RunEvent::Started { at: AT },
            RunEvent::Entered { at: AT, phase: Phase::Thawing },
            RunEvent::Noted { at: AT, component: None, text: String::new() },
            RunEvent::ContactLost { at: AT },
            RunEvent::ContactRegained { at: AT },
            RunEvent::Held { at: AT, failure: failure() },
            RunEvent::Resumed { at: AT },
            RunEvent::Failed { at: AT, failure: failure() },
            RunEvent::Cancelled { at: AT },
            RunEvent::RolledBack { at: AT },
        ]
    }

    #[test]
    fn a_run_that_is_over_stays_over() {
        for state in terminal() {
            assert!(state.is_terminal());
            for event in every_event() {
                assert!(state.clone().apply(event.clone()).is_err(), "{state:?} took {event:?}");
            }
        }
    }

    #[test]
    fn phases_go_forward_but_for_undoing_and_thawing() {
        let saving = RunState::Running { since: AT, phase: Phase::Committing };
        let entered = |phase| RunEvent::Entered { at: AT, phase };
        assert!(saving.clone().apply(entered(Phase::Saving)).is_err());
        assert!(saving.clone().apply(entered(Phase::Thawing)).is_ok());
        assert!(saving.apply(entered(Phase::RollingBack)).is_ok());
    }

    #[test]
    fn a_held_run_ends_only_by_an_operator() {
        let held = RunState::Held { since: AT, failure: failure() };
        assert!(held.clone().apply(RunEvent::Failed { at: AT, failure: failure() }).is_err());
        assert!(held.clone().apply(RunEvent::Resumed { at: AT }).is_ok());
        assert!(held.apply(RunEvent::RolledBack { at: AT }).unwrap().is_terminal());
    }

    #[test]
    fn lost_contact_goes_back_to_the_phase_it_was_in() {
        let running = RunState::Running { since: AT, phase: Phase::Saving };
        let lost = running.clone().apply(RunEvent::ContactLost { at: AT }).unwrap();
        assert_eq!(lost.apply(RunEvent::ContactRegained { at: AT }).unwrap(), running);
    }
}
