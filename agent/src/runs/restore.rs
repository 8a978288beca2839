//! Restores: beside what is there, compared, swapped, started; and back, if any of it fails.

mod back;

use lazarette_core::{
    error::{Failure, Reason, chain},
    evidence::Difference,
    manifest::SavedComponent,
    plan::RestorePlan,
    run::{Outcome, Phase, Totals},
    stack::StackSeen,
    units::ByteCount,
};
use lazarette_repo::{
    id::BlobId,
    reader::{Reader, ReaderOptions},
};
use tokio_util::sync::CancellationToken;

pub(super) use self::back::{roll_back, take_back};
use super::{
    record::Generation,
    tree,
    work::{Grant, Work, failed},
};
use crate::{
    faults,
    held::{Held, Until, Wish},
    source::{Packs, Source},
    vault::{self, Vault},
};

/// How many differences are told; the first ones say enough.
const DIFFERENCES: usize = 10;

/// Where the components of a snapshot are read from.
struct Sources {
    reader: Reader,
    packs: Packs,
    /// One a component of the plan, in its order.
    trees: Vec<BlobId>,
}

/// How a restore ended, for now.
#[derive(Debug)]
pub(super) enum End {
    /// The stack runs with the restored data.
    Succeeded(Outcome),
    /// Nothing was changed; the stack runs.
    Failed(Failure),
    /// It was asked to stop; the stack runs with its old data.
    Cancelled,
    /// The stack stands still with its old data, or with what the failure says.
    Held(Failure),
}

/// Puts the snapshot back as `plan` says, for the first time or again.
pub(super) async fn restore(work: &Work<'_>, plan: &RestorePlan, grant: &Grant) -> End {
    work.log.enter(Phase::Preparing).await;
    let scope = work.cancel.child_token();
    let vault = work.vault(&scope);
    let was_held = match work.tools.holder.find(work.job.run).await {
        Ok(held) => held,
        Err(error) if work.log.record().generations.is_empty() => {
            return End::Failed(failed(error));
        }
        Err(error) => return End::Held(failed(error)),
    };
    let prepared = prepare(work, plan, grant, &vault).await;
    let (sources, held) = match (prepared, was_held) {
        (Ok(sources), was_held) => match take_hold(work, plan, was_held).await {
            Ok(held) => (sources, held),
            Err(end) => return end,
        },
        (Err(failure), None) => return nothing_changed(work, work.explain(failure, &vault)),
        (Err(failure), Some(_)) => return End::Held(work.explain(failure, &vault)),
    };
    match go_forward(work, (plan, &vault), sources, &held, &scope).await {
        Ok(outcome) => End::Succeeded(accept(work, plan, held, outcome).await),
        Err(failure) => {
            let failure = work.explain(failure, &vault);
            take_back(work, plan, held, failure).await
        }
    }
}

fn nothing_changed(work: &Work<'_>, failure: Failure) -> End {
    if work.cancel.is_cancelled() { End::Cancelled } else { End::Failed(failure) }
}

/// Everything that can be found wrong before anything stands still.
async fn prepare(
    work: &Work<'_>,
    plan: &RestorePlan,
    grant: &Grant,
    vault: &Vault,
) -> Result<Sources, Failure> {
    let seen = work.tools.stacks.look(&plan.stack).await?;
    work.tools.stacks.allow(&work.job.plan, &seen)?;
    check_fits(plan, &seen)?;
    let Some(root) = grant.tree else {
        return Err(Failure::new(Reason::InvalidInput, "the grant has no tree to restore from"));
    };
    let runtime = tokio::runtime::Handle::current();
    let options = ReaderOptions::default();
    let reader = Reader::new(&grant.key, vault::source(vault), runtime, options);
    let mut trees = Vec::new();
    for saved in &plan.components {
        work.driver(&saved.component)?;
        trees.push(tree::find(&reader, root, &saved.path).await?);
    }
    let packs = Packs { key: grant.key.clone(), source: vault::source(vault) };
    Ok(Sources { reader, packs, trees })
}

/// A restore needs the containers that the plan knows; a database has to run.
fn check_fits(plan: &RestorePlan, seen: &StackSeen) -> Result<(), Failure> {
    let missing = plan.stop.iter().flatten().find(|name| seen.container(name).is_none());
    if let Some(name) = missing {
        let text = format!("container `{name}` is not there any more: restore again");
        return Err(Failure::new(Reason::ContainerGone, text));
    }
    Ok(())
}

async fn take_hold(
    work: &Work<'_>,
    plan: &RestorePlan,
    was_held: Option<Held>,
) -> Result<Held, End> {
    work.log.enter(Phase::Quiescing).await;
    let holder = &work.tools.holder;
    if let Some(held) = was_held {
        return match holder.hold_again(&held, work.cancel).await {
            Ok(()) => Ok(held),
            Err(error) => Err(End::Held(failed(error))),
        };
    }
    let wish = Wish {
        run: work.job.run,
        stack: plan.stack.clone(),
        layers: plan.stop.clone(),
        until: Until::Operator {
            why: format!("{} restores snapshot {}", work.job.run, plan.snapshot.short()),
        },
    };
    holder.hold(wish, work.cancel).await.map_err(|error| nothing_changed(work, failed(error)))
}

async fn go_forward(
    work: &Work<'_>,
    (plan, vault): (&RestorePlan, &Vault),
    sources: Sources,
    held: &Held,
    scope: &CancellationToken,
) -> Result<Outcome, Failure> {
    let total = plan.components.iter().map(|it| it.bytes).sum();
    work.log.count_from_zero(Some(total));
    work.log.enter(Phase::Restoring).await;
    let Sources { reader, packs, trees } = sources;
    for (saved, tree) in plan.components.iter().zip(trees) {
        let source = Source::new(reader.clone(), tree).await.map_err(failed)?;
        put_beside(work, saved, source.with_packs(packs.clone()), scope).await?;
    }
    faults::point("after_restore_beside");
    work.log.enter(Phase::Verifying).await;
    let mut facts_compared = 0;
    for saved in &plan.components {
        facts_compared += compare(work, saved, scope).await?;
    }
    work.log.enter(Phase::Swapping).await;
    for saved in &plan.components {
        swap(work, saved, scope).await?;
        faults::point("after_swap_one");
    }
    faults::point("after_swap_all");
    work.check_cancelled()?;
    work.log.enter(Phase::Thawing).await;
    let thawed = work.tools.holder.start(held).await.map_err(failed)?;
    let patience = work.tools.timers.patience();
    let health = work.tools.holder.wait_healthy(&thawed, &patience);
    let unhealthy = tokio::select! {
        unhealthy = health => unhealthy,
        () = work.cancel.cancelled() => vec![],
    };
    work.check_cancelled()?;
    if !unhealthy.is_empty() {
        return Err(Failure::new(Reason::Unhealthy, unhealthy.join("; ")));
    }
    let totals = Totals {
        read: total,
        new: ByteCount(0),
        stored: vault.read_bytes(),
        items: u64::try_from(plan.components.len()).unwrap_or(u64::MAX),
        downtime_ms: u64::try_from(thawed.downtime.as_millis()).unwrap_or(u64::MAX),
    };
    let outcome = Outcome::Restored { snapshot: plan.snapshot, totals, facts_compared };
    faults::point("before_accept");
    work.log.accepting(outcome.clone()).await.map_err(failed)?;
    Ok(outcome)
}

async fn put_beside(
    work: &Work<'_>,
    saved: &SavedComponent,
    mut source: Source,
    scope: &CancellationToken,
) -> Result<(), Failure> {
    work.check_cancelled()?;
    let component = &saved.component;
    work.log.reach(&component.name, Generation::Beside).await.map_err(failed)?;
    let cx = work.cx(component, scope);
    let restored = work.driver(component)?.restore(&cx, &mut source).await;
    restored.map_err(|error| about(saved, "restore", &failed(error)))
}

/// Compares what is beside with the evidence of the snapshot. How many facts are equal.
async fn compare(
    work: &Work<'_>,
    saved: &SavedComponent,
    scope: &CancellationToken,
) -> Result<u64, Failure> {
    work.check_cancelled()?;
    let component = &saved.component;
    let cx = work.cx(component, scope);
    let found = work.driver(component)?.verify(&cx, &saved.evidence).await;
    let found = found.map_err(|error| about(saved, "verify", &failed(error)))?;
    let differences = saved.evidence.differences(&found);
    if !differences.is_empty() {
        let failure = Failure::new(Reason::EvidenceDiffers, told(&differences));
        return Err(about(saved, "verify", &failure));
    }
    work.log.reach(&component.name, Generation::Verified).await.map_err(failed)?;
    Ok(u64::try_from(saved.evidence.0.len()).unwrap_or(u64::MAX))
}

fn told(differences: &[Difference]) -> String {
    let first: Vec<String> =
        differences.iter().take(DIFFERENCES).map(ToString::to_string).collect();
    let more = differences.len().saturating_sub(DIFFERENCES);
    let more = if more > 0 { format!("; and {more} more") } else { String::new() };
    format!("what was restored is not what was saved: {}{more}", first.join("; "))
}

async fn swap(
    work: &Work<'_>,
    saved: &SavedComponent,
    scope: &CancellationToken,
) -> Result<(), Failure> {
    work.check_cancelled()?;
    let component = &saved.component;
    work.log.reach(&component.name, Generation::Swapped).await.map_err(failed)?;
    let swapped = work.driver(component)?.swap(&work.cx(component, scope)).await;
    swapped.map_err(|error| about(saved, "put in place", &failed(error)))
}

/// Removes the old data and lets the stack go. From here there is only forward: what cannot be
/// removed is told, and the run has succeeded all the same.
pub(super) async fn accept(
    work: &Work<'_>,
    plan: &RestorePlan,
    held: Held,
    outcome: Outcome,
) -> Outcome {
    let never = CancellationToken::new();
    for saved in &plan.components {
        let component = &saved.component;
        let accepted = match work.driver(component) {
            Ok(driver) => driver.accept(&work.cx(component, &never)).await.map_err(failed),
            Err(failure) => Err(failure),
        };
        match accepted {
            Ok(()) => {
                let reached = work.log.reach(&component.name, Generation::Accepted).await;
                if let Err(error) = reached {
                    tracing::error!(error = %chain(&error), "write down what was accepted");
                }
            }
            Err(failure) => {
                let text = format!("its old data could not be removed: {}", failure.message);
                work.log.say(Some(&component.name), &text);
            }
        }
    }
    if let Err(error) = work.tools.holder.release(held).await {
        tracing::error!(error = %chain(&error), "forget the hold of a restore that is done");
    }
    outcome
}

fn about(saved: &SavedComponent, verb: &str, failure: &Failure) -> Failure {
    let text = format!("{verb} `{}`: {}", saved.component.name, failure.message);
    Failure::new(failure.reason, text)
}
