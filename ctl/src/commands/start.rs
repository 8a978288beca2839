//! Start: a backup or restore is planned, accepted and followed.

use std::time::Duration;

use lazarette_core::{id::RunId, name::StackAddress, run::Run};
use lazarette_node::backoff::Backoff;
use lazarette_proto::{
    common::v1::{BackupTask, RestoreTask, Run as WireRun},
    controller::v1::{
        PlanRunRequest, PlanRunResponse, RunWish, StartBackupRequest, StartRestoreRequest,
        run_wish::Wish,
    },
    convert::Required as _,
};
use tonic::Status;

use crate::{
    connect::{Connection, is_gone_for_now, refused},
    error::{CtlError, Exit},
    follow::{Followed, Wanted, follow},
    output::Output,
    view::run::RunView,
};

/// How often accepting a run is tried while the controller has gone for a moment.
const ATTEMPTS: u32 = 8;

/// What is wished.
#[derive(Clone, Debug)]
pub(super) enum Wished {
    Backup(BackupTask),
    Restore(RestoreTask),
}

impl Wished {
    const fn word(&self) -> &'static str {
        match self {
            Self::Backup(_) => "back up",
            Self::Restore(_) => "restore",
        }
    }
}

/// What it would do.
pub(super) async fn plan(
    connection: &Connection,
    stack: &StackAddress,
    wished: &Wished,
) -> Result<PlanRunResponse, CtlError> {
    let wish = match wished.clone() {
        Wished::Backup(task) => Wish::Backup(task),
        Wished::Restore(task) => Wish::Restore(task),
    };
    let wish = Some(RunWish { wish: Some(wish) });
    let request = PlanRunRequest { address: stack.to_string(), wish };
    let answer = connection.runs().plan_run(request).await;
    let answer = answer.map_err(refused(format!("plan to {} {stack}", wished.word())))?;
    Ok(answer.into_inner())
}

/// The controller's answer is not a plan of what was asked.
pub(super) fn no_plan() -> CtlError {
    let missing = None::<()>.required("plan");
    match missing {
        Err(error) => CtlError::strange("read the plan")(error),
        Ok(()) => CtlError::Declined,
    }
}

/// Has a run accepted. The id is chosen here, so that asking again is not a second run.
pub(super) async fn start(
    connection: &Connection,
    stack: &StackAddress,
    wished: Wished,
) -> Result<Run, CtlError> {
    let run_id = RunId::new();
    let mut backoff = Backoff::new(Duration::from_millis(300), Duration::from_secs(5));
    let mut chance = fastrand::Rng::new();
    loop {
        match accept(connection, run_id, stack, wished.clone()).await {
            Ok(run) => {
                let run = run.required("run").and_then(Run::try_from);
                return run.map_err(CtlError::strange("read the run"));
            }
            Err(status) if is_gone_for_now(&status) && backoff.attempts() < ATTEMPTS => {}
            Err(status) => {
                return Err(refused(format!("{} {stack}", wished.word()))(status));
            }
        }
        tokio::time::sleep(backoff.next_delay(&mut chance)).await;
    }
}

async fn accept(
    connection: &Connection,
    run_id: RunId,
    stack: &StackAddress,
    wished: Wished,
) -> Result<Option<WireRun>, Status> {
    let (run_id, address, mut runs) = (run_id.to_string(), stack.to_string(), connection.runs());
    match wished {
        Wished::Backup(task) => {
            let request = StartBackupRequest { run_id, address, task: Some(task) };
            Ok(runs.start_backup(request).await?.into_inner().run)
        }
        Wished::Restore(task) => {
            let request = StartRestoreRequest { run_id, address, task: Some(task) };
            Ok(runs.start_restore(request).await?.into_inner().run)
        }
    }
}

/// Shows a run that was accepted and whose end nobody waits for.
pub(super) fn detach(output: &mut Output, run: Run) -> Result<Exit, CtlError> {
    let id = run.id;
    output.show(&RunView::new(run, None))?;
    if !output.is_json() {
        output.say(&format!("`ctl run watch {id}` follows it"));
    }
    Ok(Exit::Done)
}

/// Follows a run from after event `after`, shows how it ended and judges it.
pub(super) async fn finish(
    connection: &Connection,
    output: &mut Output,
    (run, after): (RunId, u64),
    wanted: Wanted,
) -> Result<Exit, CtlError> {
    let followed = follow(connection, output, run, after).await?;
    output.show(&view(&followed))?;
    followed.judge(wanted)
}

/// As it is shown at its end.
pub(super) fn view(followed: &Followed) -> RunView {
    RunView::new(followed.run.clone(), followed.started)
}
