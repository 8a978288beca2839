//! Driving: one run from where it stands to where it ends, whatever happens.

use std::sync::Arc;

use lazarette_core::error::{Failure, Reason};
use tokio_util::sync::CancellationToken;

use super::{
    backup::backup,
    log::RunLog,
    record::{Job, Plan},
    recover::recover,
    restore::{End, restore, roll_back},
    work::{Grant, Tools, Work},
};

/// How a run is taken up.
#[derive(Debug)]
pub(super) enum Begin {
    /// For the first time.
    Start(Grant),
    /// Held, and to be tried again.
    Resume(Grant),
    /// Held, and to be ended.
    RollBack,
    /// Left by a former life of this agent.
    Recover,
}

/// Who may stop a run.
#[derive(Debug)]
pub(super) struct Stops {
    /// Somebody asked for its end.
    pub(super) asked: CancellationToken,
    /// The agent is being stopped.
    pub(super) agent: CancellationToken,
}

/// Drives a run until it is over, or held.
pub(super) async fn drive(log: &Arc<RunLog>, tools: &Tools, stops: Stops, begin: Begin) {
    let cancel = stops.asked.child_token();
    let job = log.job();
    let work = Work { job: &job, log, tools, cancel: &cancel };
    let end = {
        let mut driving = std::pin::pin!(go(&work, begin));
        tokio::select! {
            end = &mut driving => end,
            () = stops.agent.cancelled() => {
                cancel.cancel();
                driving.await
            }
        }
    };
    let Some(end) = end else { return };
    let by_the_agent = stops.agent.is_cancelled() && !stops.asked.is_cancelled();
    match end {
        End::Succeeded(outcome) => log.succeeded(outcome).await,
        End::Held(failure) => log.held(failure).await,
        End::Cancelled if by_the_agent => log.failed(stopped(&job, "stopped")).await,
        End::Cancelled => log.cancelled().await,
        End::Failed(failure) => log.failed(failure).await,
    }
}

/// Nothing when there is nothing more to say of it.
async fn go(work: &Work<'_>, begin: Begin) -> Option<End> {
    match (begin, &work.job.plan) {
        (Begin::Start(grant), Plan::Backup(plan)) => {
            work.log.started().await;
            Some(match backup(work, plan, &grant).await {
                Ok(outcome) => End::Succeeded(outcome),
                // Only when all that was stopped runs again was it really cancelled.
                Err(failure) if failure.reason == Reason::Cancelled => End::Cancelled,
                Err(failure) => End::Failed(failure),
            })
        }
        (Begin::Start(grant), Plan::Restore(plan)) => {
            work.log.started().await;
            Some(restore(work, plan, &grant).await)
        }
        (Begin::Resume(grant), Plan::Restore(plan)) => {
            work.log.resumed().await;
            Some(restore(work, plan, &grant).await)
        }
        (Begin::RollBack, Plan::Restore(plan)) => {
            work.log.say(None, "rolling back: the old data is put back and the stack started");
            match roll_back(work, plan).await {
                Ok(()) => work.log.rolled_back().await,
                Err(failure) => {
                    let text = format!("could not be rolled back: {}", failure.message);
                    work.log.say(None, &text);
                }
            }
            None
        }
        (Begin::Recover, _) => recover(work).await,
        (Begin::Resume(_) | Begin::RollBack, Plan::Backup(_)) => None,
    }
}

/// What is said of a run that ended because its agent was stopped.
pub(super) fn stopped(job: &Job, how: &str) -> Failure {
    let text = format!(
        "the agent was {how} in the middle of the run; the stack `{}` runs as before. Start the \
         run again",
        job.plan.stack()
    );
    Failure::new(Reason::AgentRestarted, text)
}
