//! Recovery: what a restarted agent does about a run that it finds in the middle.

use lazarette_core::{
    component::ComponentKind,
    error::{Failure, Reason, chain},
    plan::{BackupPlan, RestorePlan},
    run::{Outcome, Phase, RunState},
};
use tokio_util::sync::CancellationToken;

use super::{
    drive::stopped,
    record::{Generation, Plan, Record},
    restore::{End, accept, roll_back},
    work::{Work, failed},
};
use crate::{
    held::{Held, Until, Wish},
    vault::Commit,
};

/// What is to be done about a run that was found.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Recovery {
    /// It is over, or waits for an operator.
    Nothing,
    /// Nothing of it can be left on the host.
    NeverBegan,
    /// A backup: let the stack go.
    LetGo,
    /// A backup whose snapshot may exist: ask for it once more (F6).
    AskAgain(Commit),
    /// A restore: put the old data back, then let the stack go.
    TakeBack,
    /// A restore whose old data may be gone: go on to the end.
    Finish(Outcome),
}

/// Decides by what was written down and by whether the stack is held.
pub(super) fn decide(record: &Record, is_held: bool) -> Recovery {
    if record.state.is_terminal() || matches!(record.state, RunState::Held { .. }) {
        return Recovery::Nothing;
    }
    if let Some(outcome) = &record.accepting {
        return Recovery::Finish(outcome.clone());
    }
    let is_touched = record.generations.values().any(|reached| *reached != Generation::Untouched);
    match &record.job.plan {
        Plan::Backup(_) if matches!(record.state, RunState::Queued) && !is_held => {
            Recovery::NeverBegan
        }
        Plan::Backup(_) => match &record.committing {
            Some(commit) => Recovery::AskAgain(commit.clone()),
            None => Recovery::LetGo,
        },
        Plan::Restore(_) if is_held || is_touched => Recovery::TakeBack,
        Plan::Restore(_) => Recovery::NeverBegan,
    }
}

/// Ends a run that a former life of this agent left.
pub(super) async fn recover(work: &Work<'_>) -> Option<End> {
    let held = match work.tools.holder.find(work.job.run).await {
        Ok(held) => held,
        Err(error) => return Some(End::Failed(failed(error))),
    };
    let record = work.log.record();
    if matches!(record.state, RunState::Queued) {
        work.log.started().await; // the events of a run begin with its start
    }
    match (decide(&record, held.is_some()), &work.job.plan) {
        (Recovery::Nothing, _) => None,
        (Recovery::LetGo, Plan::Backup(plan)) => Some(let_go(work, plan, held).await),
        (Recovery::AskAgain(commit), Plan::Backup(plan)) => {
            Some(ask_again(work, plan, held, &commit).await)
        }
        (Recovery::TakeBack, Plan::Restore(plan)) => Some(take_back(work, plan, held).await),
        (Recovery::Finish(outcome), Plan::Restore(plan)) => finish(work, plan, held, outcome).await,
        (_, _) => Some(End::Failed(stopped(work.job, "restarted"))),
    }
}

/// Everything is in the repository: the same request again is answered with the same snapshot.
async fn ask_again(work: &Work<'_>, plan: &BackupPlan, held: Option<Held>, commit: &Commit) -> End {
    if held.is_some() {
        return let_go(work, plan, held).await; // it was not to be committed yet
    }
    match work.vault(work.cancel).commit(commit).await {
        Ok(snapshot) => End::Succeeded(Outcome::Saved { snapshot, totals: commit.totals }),
        Err(error) => {
            tracing::warn!(error = %chain(&error), "ask for the snapshot once more");
            End::Failed(stopped(work.job, "restarted"))
        }
    }
}

/// Starts what a backup stopped, and ends what its tools left behind (F27).
async fn let_go(work: &Work<'_>, plan: &BackupPlan, held: Option<Held>) -> End {
    work.log.enter(Phase::Thawing).await;
    let thawed = match held {
        Some(held) => work.tools.holder.thaw_left_over(held.into_journaled()).await.map(drop),
        None => Ok(()),
    };
    end_left_overs(work, plan).await;
    match thawed {
        Ok(()) => End::Failed(stopped(work.job, "restarted")),
        Err(error) => End::Failed(Failure::new(Reason::ThawFailed, chain(&error))),
    }
}

async fn end_left_overs(work: &Work<'_>, plan: &BackupPlan) {
    let never = CancellationToken::new();
    let is_database = |kind: &ComponentKind| matches!(kind, ComponentKind::Database { .. });
    for component in plan.components.iter().filter(|it| is_database(&it.kind)) {
        let Ok(driver) = work.driver(component) else { continue };
        if let Err(error) = driver.undo(&work.cx(component, &never)).await {
            let text = format!("what the run left in it could not be ended: {}", chain(&error));
            work.log.say(Some(&component.name), &text);
        }
    }
}

/// The stack is held for this if it is not: volumes are exchanged under stopped containers.
async fn take_back(work: &Work<'_>, plan: &RestorePlan, held: Option<Held>) -> End {
    work.log.enter(Phase::RollingBack).await;
    if let Err(failure) = ensure_held(work, plan, held).await {
        return End::Held(failure);
    }
    match roll_back(work, plan).await {
        Ok(()) => {
            work.log.enter(Phase::Thawing).await;
            End::Failed(stopped(work.job, "restarted"))
        }
        Err(failure) => {
            let text = format!(
                "the agent was restarted in the middle of the restore, and the old data could not \
                 be put back: {}",
                failure.message
            );
            End::Held(Failure::new(Reason::AgentRestarted, text))
        }
    }
}

async fn ensure_held(
    work: &Work<'_>,
    plan: &RestorePlan,
    held: Option<Held>,
) -> Result<(), Failure> {
    if held.is_some() {
        return Ok(());
    }
    let wish = Wish {
        run: work.job.run,
        stack: plan.stack.clone(),
        layers: plan.stop.clone(),
        until: Until::Operator { why: format!("{} is being undone", work.job.run) },
    };
    let never = CancellationToken::new();
    work.tools.holder.hold(wish, &never).await.map(drop).map_err(failed)
}

/// Goes on where there is only forward.
async fn finish(
    work: &Work<'_>,
    plan: &RestorePlan,
    held: Option<Held>,
    outcome: Outcome,
) -> Option<End> {
    let Some(held) = held else { return Some(End::Succeeded(outcome)) };
    if let Err(error) = work.tools.holder.start(&held).await {
        work.log.say(None, &format!("the restored data is in place, but: {}", chain(&error)));
    }
    Some(End::Succeeded(accept(work, plan, held, outcome).await))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use jiff::Timestamp;
    use lazarette_core::{
        id::SnapshotId,
        run::{RunEvent, Totals},
    };

    use lazarette_repo::id::BlobId;

    use super::*;
    use crate::runs::record::{
        Line,
        tests::{backup_job, restore_job},
    };

    fn started(mut record: Record) -> Record {
        let event = RunEvent::Started { at: Timestamp::UNIX_EPOCH };
        record.add(Line::Event { sequence: record.sequence() + 1, event }).unwrap();
        record
    }

    fn reached(mut record: Record, generation: Generation) -> Record {
        let component = "volume/uploads".parse().unwrap();
        record.add(Line::Reached { component, generation }).unwrap();
        record
    }

    #[test]
    fn a_backup_in_the_middle_is_let_go_and_its_tools_are_ended() {
        let record = started(Record::new(backup_job()));
        assert_eq!(decide(&record, true), Recovery::LetGo);
        assert_eq!(decide(&record, false), Recovery::LetGo);
        assert_eq!(decide(&Record::new(backup_job()), false), Recovery::NeverBegan);
    }

    #[test]
    fn f6_a_snapshot_that_may_exist_is_asked_for_once_more() {
        let (tree, packs) = (BlobId::of(b"root"), BTreeSet::new());
        let commit = Commit { tree, packs, totals: Totals::default() };
        let mut record = started(Record::new(backup_job()));
        record.add(Line::Committing { commit: commit.clone() }).unwrap();
        assert_eq!(decide(&record, false), Recovery::AskAgain(commit));
    }

    #[test]
    fn a_restore_is_taken_back_from_wherever_it_stood() {
        let record = started(Record::new(restore_job()));
        assert_eq!(decide(&record, false), Recovery::NeverBegan);
        assert_eq!(decide(&record, true), Recovery::TakeBack);
        for generation in [Generation::Beside, Generation::Verified, Generation::Swapped] {
            let record = reached(record.clone(), generation);
            assert_eq!(decide(&record, true), Recovery::TakeBack);
            assert_eq!(decide(&record, false), Recovery::TakeBack);
        }
    }

    #[test]
    fn once_the_old_data_may_be_gone_there_is_only_forward() {
        let snapshot = SnapshotId::from_bytes([1; 32]);
        let outcome = Outcome::Restored { snapshot, totals: Totals::default(), facts_compared: 3 };
        let mut record = reached(started(Record::new(restore_job())), Generation::Swapped);
        record.add(Line::Accepting { outcome: outcome.clone() }).unwrap();

        let record = reached(record, Generation::Accepted);

        assert_eq!(decide(&record, true), Recovery::Finish(outcome));
    }

    #[test]
    fn what_is_over_or_waits_for_an_operator_is_left_alone() {
        let mut over = started(Record::new(backup_job()));
        let event = RunEvent::Cancelled { at: Timestamp::UNIX_EPOCH };
        over.add(Line::Event { sequence: 2, event }).unwrap();
        let mut held = reached(started(Record::new(restore_job())), Generation::Beside);
        let failure = Failure::new(Reason::Unhealthy, "x");
        let event = RunEvent::Held { at: Timestamp::UNIX_EPOCH, failure };
        held.add(Line::Event { sequence: 2, event }).unwrap();

        assert_eq!(decide(&over, false), Recovery::Nothing);
        assert_eq!(decide(&held, true), Recovery::Nothing);
    }
}
