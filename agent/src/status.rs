//! Status: what a host's files say of holds and runs, without an agent.

use std::{path::Path, sync::Arc};

use lazarette_core::{error::chain, run::RunState};

use crate::{
    hold::{HoldEnd, journal::JournalError},
    reserve::Reserve,
    runs::record::{Plan, Records},
    thaw,
};

/// One line for each hold and each run, for an operator.
///
/// # Errors
///
/// [`JournalError`] when the journal cannot be read.
pub fn lines(state_dir: &Path) -> Result<Vec<String>, JournalError> {
    let found = thaw::journal(state_dir)?.find()?;
    let mut lines = Vec::new();
    for left in &found.holds {
        let hold = left.hold();
        let names: Vec<&str> = hold.containers().map(|it| it.name.as_str()).collect();
        let end = match &hold.end {
            HoldEnd::Deadline { .. } => "the agent ends it".to_owned(),
            HoldEnd::Operator { why } => why.clone(),
        };
        lines.push(format!(
            "held: stack {} since {} for {}: {} ({end})",
            hold.stack,
            hold.since,
            hold.run,
            names.join(" ")
        ));
    }
    lines.extend(found.set_aside.iter().map(|it| format!("{}: {}", it.path.display(), it.why)));
    let reserve = Arc::new(Reserve::take(state_dir.join("reserve")));
    match Records::new(state_dir.join("runs"), reserve).and_then(|records| records.find()) {
        Ok(found) => lines.extend(found.records.iter().map(|(record, _file)| {
            let verb = match record.job.plan {
                Plan::Backup(_) => "backup",
                Plan::Restore(_) => "restore",
            };
            let why = match &record.state {
                RunState::Failed { failure, .. } | RunState::Held { failure, .. } => {
                    format!(": {failure}")
                }
                RunState::Queued
                | RunState::Running { .. }
                | RunState::LostContact { .. }
                | RunState::Succeeded { .. }
                | RunState::Cancelled { .. }
                | RunState::RolledBack { .. } => String::new(),
            };
            let (run, stack) = (record.job.run, record.job.plan.stack());
            format!("run: {run} {verb} {stack} {}{why}", record.state.word())
        })),
        Err(error) => lines.push(chain(&error)),
    }
    if lines.is_empty() {
        lines.push("nothing is held and no run is known".to_owned());
    }
    Ok(lines)
}
