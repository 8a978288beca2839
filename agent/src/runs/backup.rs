//! Backups: quiet, read, let go, and only then make the snapshot exist.

use std::{pin::pin, sync::Arc, time::Duration};

use lazarette_core::{
    component::Component,
    error::{Failure, Reason, chain},
    evidence::Evidence,
    manifest::{FORMAT, Held as HeldTime, Manifest, SavedComponent},
    name::ComponentName,
    plan::BackupPlan,
    run::{Outcome, Phase, Totals},
    stack::StackSeen,
    units::ByteCount,
};
use lazarette_repo::{
    id::BlobId,
    writer::{StreamOptions, WriteError, Writer, WriterOptions},
};
use tokio_util::sync::CancellationToken;

use super::{
    tree,
    work::{Grant, Work, cancelled, failed},
};
use crate::{
    faults,
    held::{Held, Thawed, Until, Wish},
    sink::{Packs, Sink},
    vault::{self, Commit, Vault},
};

/// What a driver has to come to an end after it was asked to; then it is left behind.
const STOP_GRACE: Duration = Duration::from_secs(5);

/// A component whose data is in the repository.
struct Saved {
    component: Component,
    evidence: Evidence,
    tree: BlobId,
    bytes: ByteCount,
}

/// Makes a snapshot as `plan` says. Whatever comes of it, the stack runs as before; or the failure
/// says what of it does not.
pub(super) async fn backup(
    work: &Work<'_>,
    plan: &BackupPlan,
    grant: &Grant,
) -> Result<Outcome, Failure> {
    work.log.enter(Phase::Preparing).await;
    let seen = work.tools.stacks.look(&plan.stack).await?;
    work.tools.stacks.allow(&work.job.plan, &seen)?;
    check_fits(plan, &seen)?;
    for component in &plan.components {
        work.driver(component)?;
    }
    work.check_cancelled()?;
    // What is under way ends with this, also when the run does not.
    let scope = work.cancel.child_token();
    let vault = work.vault(&scope);
    let writer = start_writer(&vault, grant).map_err(write_failed)?;
    work.log.count_from_zero(None);
    let packs = Packs { key: grant.key.clone(), sink: vault::sink(&vault) };
    let saved = hold_and_save(work, plan, (&writer, &packs), &scope).await;
    let done = match saved {
        Ok((saved, thawed)) => {
            let held = (!plan.stop.is_empty()).then_some(&thawed);
            let committing = commit(work, plan, (&vault, writer), saved, held);
            let patience = work.tools.timers.patience();
            let health = work.tools.holder.wait_healthy(&thawed, &patience);
            let (committed, unhealthy) = tokio::join!(committing, health);
            for why in unhealthy {
                work.log.say(None, &format!("after the backup, {why}"));
            }
            committed
        }
        Err(failure) => Err(failure),
    };
    done.map_err(|failure| work.explain(failure, &vault))
}

fn start_writer(vault: &Vault, grant: &Grant) -> Result<Arc<Writer>, WriteError> {
    let options = WriterOptions { level: grant.level, ..WriterOptions::default() };
    let runtime = tokio::runtime::Handle::current();
    Writer::start(&grant.key, vault::sink(vault), runtime, options).map(Arc::new)
}

/// The plan was made a moment ago; whoever changed the stack since has to be asked again.
pub(super) fn check_fits(plan: &BackupPlan, seen: &StackSeen) -> Result<(), Failure> {
    if !seen.refusals.is_empty() {
        return Err(Failure::new(Reason::StackUnsupported, seen.refusals.join("; ")));
    }
    let missing = plan.stop.iter().flatten().find(|name| seen.container(name).is_none());
    if let Some(name) = missing {
        let text = format!("container `{name}` is not there any more: back up again");
        return Err(Failure::new(Reason::ContainerGone, text));
    }
    for component in &plan.components {
        let Some(now) = seen.component(&component.name) else {
            let text = format!("component `{}` is not there any more", component.name);
            return Err(Failure::new(Reason::ComponentUnknown, text));
        };
        if now.kind.word() != component.kind.word() {
            let text = format!("component `{}` is another one now: back up again", component.name);
            return Err(Failure::new(Reason::ComponentUnknown, text));
        }
    }
    Ok(())
}

/// Reads everything while the stack stands still, and lets it go whatever came of that.
async fn hold_and_save(
    work: &Work<'_>,
    plan: &BackupPlan,
    (writer, packs): (&Arc<Writer>, &Packs),
    scope: &CancellationToken,
) -> Result<(Vec<Saved>, Thawed), Failure> {
    let holder = &work.tools.holder;
    let budget = Duration::from_secs(plan.hold_budget_seconds.into());
    let budget = budget.min(work.tools.timers.hold_budget);
    let held = take_hold(work, plan, budget).await?;
    work.log.enter(Phase::Saving).await;
    let saving = save_all(work, plan, (writer, packs), scope);
    let mut saved = within(work, held.is_some().then_some(budget), scope, saving).await;
    if let (Ok(_), Some(held)) = (&saved, &held)
        && let Err(error) = holder.check_quiet(held).await
    {
        saved = Err(failed(error));
    }
    work.log.enter(Phase::Thawing).await;
    let thawed = match held {
        None => Ok(Thawed::nothing(work.tools.clock.now())),
        Some(held) => holder.thaw(held).await,
    };
    match (saved, thawed) {
        (Ok(saved), Ok(thawed)) => {
            note_thaw(work, &thawed);
            Ok((saved, thawed))
        }
        (Err(failure), Ok(_)) => Err(failure),
        (Ok(_), Err(error)) => Err(failed(error)),
        (Err(failure), Err(error)) => {
            let text = format!("{}; before that: {}", chain(&error), failure.message);
            Err(Failure::new(Reason::ThawFailed, text))
        }
    }
}

async fn take_hold(
    work: &Work<'_>,
    plan: &BackupPlan,
    budget: Duration,
) -> Result<Option<Held>, Failure> {
    work.log.enter(Phase::Quiescing).await;
    if plan.stop.iter().all(Vec::is_empty) {
        return Ok(None);
    }
    // The run ends the hold at its budget; the reaper, a little later, if the run cannot.
    let until = Until::Budget(budget + 2 * STOP_GRACE);
    let (run, stack, layers) = (work.job.run, plan.stack.clone(), plan.stop.clone());
    let held = work.tools.holder.hold(Wish { run, stack, layers, until }, work.cancel).await;
    held.map(Some).map_err(failed)
}

/// Lets `saving` come to its end, but not beyond the budget, and not when it is to stop.
async fn within<T>(
    work: &Work<'_>,
    budget: Option<Duration>,
    scope: &CancellationToken,
    saving: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    let mut saving = pin!(saving);
    let too_long = async {
        match budget {
            Some(budget) => tokio::time::sleep(budget).await,
            None => std::future::pending().await,
        }
    };
    let why = tokio::select! {
        biased;
        saved = &mut saving => return saved,
        () = work.cancel.cancelled() => cancelled(),
        () = too_long => {
            let text = format!(
                "the stack stood still for its whole budget of {} s and was not saved in that \
                 time: raise the budget, or leave out what is large",
                budget.unwrap_or_default().as_secs()
            );
            Failure::new(Reason::HoldExpired, text)
        }
    };
    scope.cancel();
    if tokio::time::timeout(STOP_GRACE, saving).await.is_err() {
        tracing::warn!("what was being saved did not stop in time: it is left behind");
    }
    Err(why)
}

async fn save_all(
    work: &Work<'_>,
    plan: &BackupPlan,
    (writer, packs): (&Arc<Writer>, &Packs),
    scope: &CancellationToken,
) -> Result<Vec<Saved>, Failure> {
    let mut all = Vec::new();
    for component in &plan.components {
        work.check_cancelled()?;
        let driver = work.driver(component)?;
        let mut sink =
            Sink::new(Arc::clone(writer), work.tools.clock.now()).with_packs(packs.clone());
        let cx = work.cx(component, scope);
        let during = |failure: Failure| {
            let text = format!("save `{}`: {}", component.name, failure.message);
            Failure::new(failure.reason, text)
        };
        let dumped = driver.dump(&cx, &mut sink).await;
        let evidence = dumped.map_err(|error| during(failed(error)))?;
        let (tree, bytes) = sink.finish().await.map_err(|error| during(failed(error)))?;
        all.push(Saved { component: component.clone(), evidence, tree, bytes });
        faults::point("while_saving");
    }
    Ok(all)
}

fn note_thaw(work: &Work<'_>, thawed: &Thawed) {
    for name in &thawed.gone {
        let text = format!("container `{name}` was removed by somebody while it was held");
        work.log.say(None, &text);
    }
}

/// Writes the manifest and the root, and asks the controller for the snapshot.
async fn commit(
    work: &Work<'_>,
    plan: &BackupPlan,
    (vault, writer): (&Vault, Arc<Writer>),
    saved: Vec<Saved>,
    held: Option<&Thawed>,
) -> Result<Outcome, Failure> {
    work.log.enter(Phase::Committing).await;
    work.check_cancelled()?;
    let read = saved.iter().map(|it| it.bytes).sum();
    let trees: Vec<(ComponentName, BlobId)> =
        saved.iter().map(|it| (it.component.name.clone(), it.tree)).collect();
    let manifest = manifest(work, plan, saved, held);
    let manifest = serde_json::to_vec_pretty(&manifest)
        .map_err(|error| Failure::new(Reason::Internal, format!("write the manifest: {error}")))?;
    let content = writer.write(&manifest[..], StreamOptions::default()).await;
    let content = content.map_err(write_failed)?;
    let now = work.tools.clock.now();
    let root = tree::save_root(&writer, &trees, content, now).await.map_err(write_failed)?;
    let Some(writer) = Arc::into_inner(writer) else {
        let text = "a driver still writes although it is done: the run cannot be trusted";
        return Err(Failure::new(Reason::Internal, text));
    };
    let written = writer.finish().await.map_err(write_failed)?;
    work.check_cancelled()?;
    let stats = written.stats;
    let (new, stored) = vault.put_bytes();
    let downtime = held.map(|it| it.downtime).unwrap_or_default();
    let totals = Totals {
        read,
        new,
        stored,
        items: stats.files_read.saturating_add(stats.files_reused),
        downtime_ms: u64::try_from(downtime.as_millis()).unwrap_or(u64::MAX),
    };
    let mut packs = vault.packs();
    packs.extend(written.packs);
    let commit = Commit { tree: root, packs, totals };
    work.log.committing(commit.clone()).await.map_err(failed)?;
    faults::point("before_commit");
    let snapshot = vault.commit(&commit).await.map_err(failed)?;
    faults::point("after_commit");
    Ok(Outcome::Saved { snapshot, totals })
}

fn manifest(
    work: &Work<'_>,
    plan: &BackupPlan,
    saved: Vec<Saved>,
    held: Option<&Thawed>,
) -> Manifest {
    let mut components: Vec<SavedComponent> = saved
        .into_iter()
        .map(|it| SavedComponent {
            path: it.component.name.to_string(),
            component: it.component,
            bytes: it.bytes,
            evidence: it.evidence,
        })
        .collect();
    components.sort_by(|one, other| one.component.name.cmp(&other.component.name));
    Manifest {
        format: FORMAT,
        stack: work.job.stack,
        stack_name: plan.stack.clone(),
        host_name: work.job.host.clone(),
        run: work.job.run,
        agent_version: env!("CARGO_PKG_VERSION").to_owned(),
        held: held.map(|it| HeldTime { from: it.from, to: it.to }),
        components,
        uncovered: plan.uncovered.clone(),
        warnings: plan.warnings.clone(),
    }
}

#[expect(clippy::needless_pass_by_value, reason = "for `map_err`")]
fn write_failed(error: WriteError) -> Failure {
    let reason = if error.is_transient() { Reason::StorageUnavailable } else { Reason::Internal };
    Failure::new(reason, chain(&error))
}
