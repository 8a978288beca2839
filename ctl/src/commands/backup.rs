//! Backup: `ctl backup`.

use lazarette_core::{
    name::StackAddress,
    plan::BackupPlan,
    run::{Outcome, RunState},
    selection::Selection,
    snapshot::Snapshot,
};
use lazarette_proto::{
    common::v1::BackupTask,
    controller::v1::{GetSnapshotRequest, plan_run_response::Plan},
    convert::Required as _,
};

use super::{
    fleet,
    start::{self, Wished},
};
use crate::{
    args::BackupArgs,
    connect::{Connection, refused},
    error::{CtlError, Exit},
    follow::{Followed, Wanted, follow},
    output::Output,
    view::plan::BackupPlanView,
};

pub(super) async fn run(
    args: BackupArgs,
    connection: &Connection,
    output: &mut Output,
) -> Result<Exit, CtlError> {
    if let Some(stack) = only_one(&args) {
        return one(&stack, &args, connection, output).await;
    }
    if let Some(component) = args.components.first() {
        let text = format!("--component {component} is of one stack: name that stack alone");
        return Err(CtlError::Usage(text));
    }
    let BackupArgs { stacks: patterns, hosts, labels, dry_run, detach, .. } = args;
    let wish = fleet::Wish { selection: Selection { patterns, hosts, labels }, dry_run, detach };
    fleet::run(wish, connection, output).await
}

/// The stack, when it is named and is all that is asked for.
fn only_one(args: &BackupArgs) -> Option<StackAddress> {
    match &*args.stacks {
        [pattern] if args.hosts.is_empty() && args.labels.is_empty() => pattern.address(),
        _ => None,
    }
}

async fn one(
    stack: &StackAddress,
    args: &BackupArgs,
    connection: &Connection,
    output: &mut Output,
) -> Result<Exit, CtlError> {
    let components = args.components.iter().map(ToString::to_string).collect();
    let wished = Wished::Backup(BackupTask { components });
    if args.dry_run {
        output.show(&plan(connection, stack, &wished).await?)?;
        return Ok(Exit::Done);
    }
    let run = start::start(connection, stack, wished).await?;
    if args.detach {
        return start::detach(output, run);
    }
    output.say(&format!("{} of {}/{}", run.id, run.host_name, run.stack_name));
    let followed = follow(connection, output, run.id, 0).await?;
    let incomplete = incomplete(connection, &followed).await?;
    let exit = if incomplete.is_empty() { Exit::Done } else { Exit::InPart };
    output.show(&start::view(&followed).with_incomplete(incomplete))?;
    followed.judge(Wanted::Success)?;
    Ok(exit)
}

/// What a backup of `stack` would do.
pub(super) async fn plan(
    connection: &Connection,
    stack: &StackAddress,
    wished: &Wished,
) -> Result<BackupPlanView, CtlError> {
    let answer = start::plan(connection, stack, wished).await?;
    let Some(Plan::Backup(plan)) = answer.plan else { return Err(start::no_plan()) };
    let plan = BackupPlan::try_from(plan).map_err(CtlError::strange("read the plan"))?;
    Ok(BackupPlanView::new(answer.address, plan))
}

/// What makes the snapshot that was made less than whole.
pub(super) async fn incomplete(
    connection: &Connection,
    followed: &Followed,
) -> Result<Vec<String>, CtlError> {
    let RunState::Succeeded { outcome: Outcome::Saved { snapshot, .. }, .. } = &followed.run.state
    else {
        return Ok(Vec::new());
    };
    let request = GetSnapshotRequest { snapshot: snapshot.to_string() };
    let answer = connection.snapshots().get_snapshot(request).await;
    let answer = answer.map_err(refused(format!("look at snapshot {snapshot}")))?;
    let snapshot = answer.into_inner().snapshot.required("snapshot").and_then(Snapshot::try_from);
    Ok(snapshot.map_err(CtlError::strange("read the snapshot"))?.incomplete)
}
