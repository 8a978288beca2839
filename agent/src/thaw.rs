//! Thawing everything: what an operator types, or the machine at boot, when no agent does it.
//!
//! Needs the journal and the Docker socket only: no configuration, no certificate, no controller
//! (H17).

use std::{path::Path, sync::Arc};

use futures::future::join_all;
use lazarette_core::error::chain;
use lazarette_node::clock::Clock;

use crate::{
    docker::Docker,
    held::{Holder, Persistence},
    hold::{
        HoldEnd,
        journal::{HoldJournal, JournalError},
    },
    reserve::Reserve,
};

/// What came of thawing everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// A line for each hold that was ended.
    pub thawed: Vec<String>,
    /// A line for each that an operator has to end.
    pub kept: Vec<String>,
    /// A line for each that could not be ended or read.
    pub failed: Vec<String>,
}

/// The journal in a state directory.
///
/// # Errors
///
/// [`JournalError`] when its directory cannot be made.
pub fn journal(state_dir: &Path) -> Result<HoldJournal, JournalError> {
    let reserve = Arc::new(Reserve::take(state_dir.join("reserve")));
    HoldJournal::new(state_dir.join("holds"), reserve)
}

/// Starts again whatever is held in `state_dir`, but for failed restores.
///
/// # Errors
///
/// [`JournalError`] when the journal cannot be read at all.
pub async fn thaw_all(
    state_dir: &Path,
    docker_socket: &Path,
    clock: Arc<dyn Clock>,
) -> Result<Report, JournalError> {
    let containers = Arc::new(Docker::at(docker_socket));
    let holder = Holder::new(containers, journal(state_dir)?, clock, Persistence::default());
    let found = holder.find_all().await?;
    let mut report = Report::default();
    report.failed.extend(found.set_aside.iter().map(|it| {
        format!(
            "{}: cannot be read ({}); see which containers are stopped",
            it.path.display(),
            it.why
        )
    }));
    let mut thaws = Vec::new();
    for left in found.holds {
        match &left.hold().end {
            HoldEnd::Deadline { .. } => {
                let stack = left.hold().stack.clone();
                let holder = &holder;
                thaws.push(async move { (stack, holder.thaw_left_over(left).await) });
            }
            HoldEnd::Operator { why } => {
                let (stack, run) = (&left.hold().stack, left.hold().run);
                report.kept.push(format!(
                    "stack `{stack}` stays held: {why}. Type `ctl run resume {run}` or `ctl run \
                     rollback {run}`"
                ));
            }
        }
    }
    for (stack, thawed) in join_all(thaws).await {
        match thawed {
            Ok(thawed) => {
                let names: Vec<&str> =
                    thawed.started.iter().map(|(_, name)| name.as_str()).collect();
                report.thawed.push(format!("stack `{stack}` runs again: {}", names.join(" ")));
            }
            Err(error) => report.failed.push(format!("stack `{stack}`: {}", chain(&error))),
        }
    }
    Ok(report)
}
