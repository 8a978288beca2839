//! The way back: the old data in its place again, wherever a restore stood.

use lazarette_core::{
    error::{Failure, Reason, chain},
    plan::RestorePlan,
    run::Phase,
};
use tokio_util::sync::CancellationToken;

use super::End;
use crate::{
    held::Held,
    runs::{
        record::Generation,
        work::{Work, failed},
    },
};

/// Undoes a restore that failed. The stack stays held, for an operator to say more; when the run
/// was cancelled, it runs again.
pub(in crate::runs) async fn take_back(
    work: &Work<'_>,
    plan: &RestorePlan,
    held: Held,
    failure: Failure,
) -> End {
    work.log.enter(Phase::RollingBack).await;
    if let Err(hidden) = undo_all(work, plan, &held).await {
        return keep(work, held, both(&failure, &hidden)).await;
    }
    if !work.cancel.is_cancelled() {
        return keep(work, held, failure).await;
    }
    work.log.enter(Phase::Thawing).await;
    match let_go(work, held).await {
        Ok(()) => End::Cancelled,
        Err(failure) => End::Held(failure),
    }
}

/// Undoes what is left of a held restore, and starts the stack with its old data.
///
/// # Errors
///
/// A [`Failure`]: the stack stays held.
pub(in crate::runs) async fn roll_back(work: &Work<'_>, plan: &RestorePlan) -> Result<(), Failure> {
    let Some(held) = work.tools.holder.find(work.job.run).await.map_err(failed)? else {
        return undo_components(work, plan).await; // somebody let it go by hand
    };
    undo_all(work, plan, &held).await?;
    let_go(work, held).await
}

async fn undo_all(work: &Work<'_>, plan: &RestorePlan, held: &Held) -> Result<(), Failure> {
    let never = CancellationToken::new();
    // What was started with the new data must not write into the old.
    work.tools.holder.hold_again(held, &never).await.map_err(failed)?;
    undo_components(work, plan).await
}

async fn undo_components(work: &Work<'_>, plan: &RestorePlan) -> Result<(), Failure> {
    let never = CancellationToken::new();
    let record = work.log.record();
    let mut failures = Vec::new();
    for saved in plan.components.iter().rev() {
        let component = &saved.component;
        let reached = record.generations.get(&component.name).copied();
        if reached.is_none_or(|reached| reached == Generation::Untouched) {
            continue;
        }
        let undone = match work.driver(component) {
            Ok(driver) => driver.undo(&work.cx(component, &never)).await.map_err(failed),
            Err(failure) => Err(failure),
        };
        match undone {
            Ok(()) => {
                let reached = work.log.reach(&component.name, Generation::Untouched).await;
                if let Err(error) = reached {
                    tracing::error!(error = %chain(&error), "write down what was undone");
                }
            }
            Err(failure) => {
                failures.push(format!("put back `{}`: {}", component.name, failure.message));
            }
        }
    }
    if failures.is_empty() {
        return Ok(());
    }
    Err(Failure::new(Reason::RestoreFailed, failures.join("; ")))
}

async fn let_go(work: &Work<'_>, held: Held) -> Result<(), Failure> {
    work.tools.holder.start(&held).await.map_err(failed)?;
    work.tools.holder.release(held).await.map_err(failed)
}

async fn keep(work: &Work<'_>, held: Held, failure: Failure) -> End {
    let why = format!("{} failed: {}", work.job.run, failure.message);
    if let Err(error) = work.tools.holder.keep(held, why).await {
        tracing::error!(error = %chain(&error), "write down why the stack is held");
    }
    End::Held(failure)
}

fn both(failure: &Failure, hidden: &Failure) -> Failure {
    let text = format!(
        "{}; and the old data could not be put back: {}. The stack stays stopped",
        failure.message, hidden.message
    );
    Failure::new(failure.reason, text)
}
