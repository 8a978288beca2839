//! Restore: `ctl restore`.

use lazarette_core::plan::RestorePlan;
use lazarette_proto::{common::v1::RestoreTask, controller::v1::plan_run_response::Plan};

use super::start::{self, Wished};
use crate::{
    args::RestoreArgs,
    ask,
    connect::Connection,
    error::{CtlError, Exit},
    follow::Wanted,
    output::{Output, View as _},
    view::plan::RestorePlanView,
};

pub(super) async fn run(
    args: RestoreArgs,
    connection: &Connection,
    output: &mut Output,
) -> Result<Exit, CtlError> {
    let components: Vec<_> = args.components.iter().map(ToString::to_string).collect();
    let snapshot_id = args.snapshot.to_string();
    let wished = Wished::Restore(RestoreTask { snapshot_id, components: components.clone() });
    let answer = start::plan(connection, &args.stack, &wished).await?;
    let Some(Plan::Restore(plan)) = answer.plan else { return Err(start::no_plan()) };
    let plan = RestorePlan::try_from(plan).map_err(CtlError::strange("read the plan"))?;
    let snapshot_id = plan.snapshot.to_string();
    let plan = RestorePlanView::new(answer.address.clone(), plan);
    if args.dry_run {
        output.show(&plan)?;
        return Ok(Exit::Done);
    }
    if !(args.yes && output.is_json()) {
        output.say(&plan.table());
    }
    let question = format!("Replace what {} has now?", answer.address);
    ask::confirm(output, args.yes, &question).await?;

    // The stack that was planned for, even if a second one of that name has come up meanwhile.
    let stack = answer.address.parse().unwrap_or(args.stack);
    let wished = Wished::Restore(RestoreTask { snapshot_id, components });
    let run = start::start(connection, &stack, wished).await?;
    if args.detach {
        return start::detach(output, run);
    }
    output.say(&format!("{} of {}/{}", run.id, run.host_name, run.stack_name));
    start::finish(connection, output, (run.id, 0), Wanted::Success).await
}
