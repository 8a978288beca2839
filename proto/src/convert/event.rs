//! Events and progress of runs, in and out.

use jiff::Timestamp;
use lazarette_core::{
    error::Failure,
    run::{Outcome, Phase, Progress, RunEvent, Totals},
    units::ByteCount,
};

use super::{ConvertError, Required as _, from_wire_time, parse, to_wire_time};
use crate::common::v1 as wire;

impl From<Failure> for wire::Failure {
    fn from(it: Failure) -> Self {
        Self { reason: it.reason.as_str().to_owned(), message: it.message }
    }
}

impl TryFrom<wire::Failure> for Failure {
    type Error = ConvertError;

    fn try_from(it: wire::Failure) -> Result<Self, Self::Error> {
        Ok(Self { reason: parse("reason", &it.reason)?, message: it.message })
    }
}

/// A failure that must be there.
pub(super) fn failure(it: Option<wire::Failure>) -> Result<Failure, ConvertError> {
    it.required("failure")?.try_into()
}

impl From<Phase> for wire::Phase {
    fn from(it: Phase) -> Self {
        match it {
            Phase::Preparing => Self::Preparing,
            Phase::Quiescing => Self::Quiescing,
            Phase::Saving => Self::Saving,
            Phase::Restoring => Self::Restoring,
            Phase::Verifying => Self::Verifying,
            Phase::Swapping => Self::Swapping,
            Phase::RollingBack => Self::RollingBack,
            Phase::Thawing => Self::Thawing,
            Phase::Committing => Self::Committing,
        }
    }
}

impl TryFrom<wire::Phase> for Phase {
    type Error = ConvertError;

    fn try_from(it: wire::Phase) -> Result<Self, Self::Error> {
        Ok(match it {
            wire::Phase::Unspecified => {
                return Err(ConvertError::new("phase", "is of no known kind"));
            }
            wire::Phase::Preparing => Self::Preparing,
            wire::Phase::Quiescing => Self::Quiescing,
            wire::Phase::Saving => Self::Saving,
            wire::Phase::Restoring => Self::Restoring,
            wire::Phase::Verifying => Self::Verifying,
            wire::Phase::Swapping => Self::Swapping,
            wire::Phase::RollingBack => Self::RollingBack,
            wire::Phase::Thawing => Self::Thawing,
            wire::Phase::Committing => Self::Committing,
        })
    }
}

impl From<Totals> for wire::Totals {
    fn from(it: Totals) -> Self {
        Self {
            read_bytes: it.read.0,
            new_bytes: it.new.0,
            stored_bytes: it.stored.0,
            item_count: it.items,
            downtime_ms: it.downtime_ms,
        }
    }
}

impl From<wire::Totals> for Totals {
    fn from(it: wire::Totals) -> Self {
        Self {
            read: ByteCount(it.read_bytes),
            new: ByteCount(it.new_bytes),
            stored: ByteCount(it.stored_bytes),
            items: it.item_count,
            downtime_ms: it.downtime_ms,
        }
    }
}

impl From<Outcome> for wire::Outcome {
    fn from(it: Outcome) -> Self {
        use wire::outcome::Outcome as Wire;
        let outcome = match it {
            Outcome::Saved { snapshot, totals } => Wire::Saved(wire::SavedOutcome {
                snapshot_id: snapshot.to_string(),
                totals: Some(totals.into()),
            }),
            Outcome::Restored { snapshot, totals, facts_compared } => {
                Wire::Restored(wire::RestoredOutcome {
                    snapshot_id: snapshot.to_string(),
                    totals: Some(totals.into()),
                    compared_fact_count: facts_compared,
                })
            }
        };
        Self { outcome: Some(outcome) }
    }
}

impl TryFrom<wire::Outcome> for Outcome {
    type Error = ConvertError;

    fn try_from(it: wire::Outcome) -> Result<Self, Self::Error> {
        use wire::outcome::Outcome as Wire;
        Ok(match it.outcome.required("outcome")? {
            Wire::Saved(saved) => Self::Saved {
                snapshot: parse("snapshot_id", &saved.snapshot_id)?,
                totals: saved.totals.required("totals")?.into(),
            },
            Wire::Restored(restored) => Self::Restored {
                snapshot: parse("snapshot_id", &restored.snapshot_id)?,
                totals: restored.totals.required("totals")?.into(),
                facts_compared: restored.compared_fact_count,
            },
        })
    }
}

impl From<RunEvent> for wire::RunEvent {
    fn from(it: RunEvent) -> Self {
        use wire::run_event::Event as W;
        let (at, event) = match it {
            RunEvent::Started { at } => (at, W::Started(wire::Started {})),
            RunEvent::Entered { at, phase } => {
                (at, W::Entered(wire::Entered { phase: wire::Phase::from(phase).into() }))
            }
            RunEvent::Noted { at, component, text } => {
                let component = component.map(|it| it.to_string());
                (at, W::Noted(wire::Noted { component, text }))
            }
            RunEvent::ContactLost { at } => (at, W::ContactLost(wire::ContactLost {})),
            RunEvent::ContactRegained { at } => (at, W::ContactRegained(wire::ContactRegained {})),
            RunEvent::Held { at, failure } => {
                (at, W::Held(wire::HeldEvent { failure: Some(failure.into()) }))
            }
            RunEvent::Resumed { at } => (at, W::Resumed(wire::Resumed {})),
            RunEvent::Succeeded { at, outcome } => {
                (at, W::Succeeded(wire::SucceededEvent { outcome: Some(outcome.into()) }))
            }
            RunEvent::Failed { at, failure } => {
                (at, W::Failed(wire::FailedEvent { failure: Some(failure.into()) }))
            }
            RunEvent::Cancelled { at } => (at, W::Cancelled(wire::CancelledEvent {})),
            RunEvent::RolledBack { at } => (at, W::RolledBack(wire::RolledBackEvent {})),
        };
        Self { event_time: Some(to_wire_time(at)), event: Some(event) }
    }
}

impl TryFrom<wire::RunEvent> for RunEvent {
    type Error = ConvertError;

    fn try_from(it: wire::RunEvent) -> Result<Self, Self::Error> {
        let at = from_wire_time("event_time", it.event_time)?;
        event_at(at, it.event.required("event")?).map_err(|it| it.within("event"))
    }
}

fn event_at(at: Timestamp, event: wire::run_event::Event) -> Result<RunEvent, ConvertError> {
    use wire::run_event::Event as W;
    Ok(match event {
        W::Started(_) => RunEvent::Started { at },
        W::Entered(entered) => RunEvent::Entered { at, phase: entered.phase().try_into()? },
        W::Noted(noted) => RunEvent::Noted {
            at,
            component: noted.component.map(|it| parse("component", &it)).transpose()?,
            text: noted.text,
        },
        W::ContactLost(_) => RunEvent::ContactLost { at },
        W::ContactRegained(_) => RunEvent::ContactRegained { at },
        W::Held(held) => RunEvent::Held { at, failure: failure(held.failure)? },
        W::Resumed(_) => RunEvent::Resumed { at },
        W::Succeeded(succeeded) => {
            RunEvent::Succeeded { at, outcome: succeeded.outcome.required("outcome")?.try_into()? }
        }
        W::Failed(failed) => RunEvent::Failed { at, failure: failure(failed.failure)? },
        W::Cancelled(_) => RunEvent::Cancelled { at },
        W::RolledBack(_) => RunEvent::RolledBack { at },
    })
}

impl From<Progress> for wire::Progress {
    fn from(it: Progress) -> Self {
        Self {
            component: it.component.map(|it| it.to_string()),
            done_bytes: it.done.0,
            total_bytes: it.total.map(|it| it.0),
        }
    }
}

impl TryFrom<wire::Progress> for Progress {
    type Error = ConvertError;

    fn try_from(it: wire::Progress) -> Result<Self, Self::Error> {
        Ok(Self {
            component: it.component.map(|it| parse("component", &it)).transpose()?,
            done: ByteCount(it.done_bytes),
            total: it.total_bytes.map(ByteCount),
        })
    }
}
