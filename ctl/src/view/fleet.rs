//! Backups of many stacks, as they are shown.

use lazarette_core::{name::HostName, name::StackAddress, run::Run, units::ByteCount};
use serde::Serialize;

use super::{plan::BackupPlanView, run::RunView};
use crate::{
    error::{CtlError, Exit},
    follow::Followed,
    output::View,
    table::{self, Table},
};

/// Above the hosts of which nobody knows what they have.
const NOT_ASKED: &str = "HOSTS THAT COULD NOT BE ASKED: WHAT ELSE THEY HAVE IS NOT BACKED UP";

/// Backups of many stacks: those that were accepted, and those that were not.
#[derive(Debug, Serialize)]
pub struct FleetView {
    succeeded_count: usize,
    incomplete_count: usize,
    failed_count: usize,
    runs: Vec<RunView>,
    not_begun: Vec<RefusedView>,
    /// Hosts that could not be asked: what else they have was not backed up.
    not_asked: Vec<HostName>,
    #[serde(skip)]
    is_detached: bool,
}

/// A stack of which no backup was accepted.
#[derive(Debug, Serialize)]
pub struct RefusedView {
    host: String,
    stack: String,
    reason: &'static str,
    message: String,
}

impl RefusedView {
    /// `stack` was not backed up because of `error`.
    pub fn new(stack: &StackAddress, error: &CtlError) -> Self {
        Self {
            host: stack.host.as_ref().map(ToString::to_string).unwrap_or_default(),
            stack: stack.stack.to_string(),
            reason: error.reason().as_str(),
            message: error.message(),
        }
    }
}

impl FleetView {
    /// Of runs that are over, with what their snapshots miss.
    pub fn ended(
        ended: Vec<(Followed, Vec<String>)>,
        not_begun: Vec<RefusedView>,
        not_asked: Vec<HostName>,
    ) -> Self {
        let view = |(followed, missing): (Followed, Vec<String>)| {
            RunView::new(followed.run, followed.started).with_incomplete(missing)
        };
        let runs = ended.into_iter().map(view).collect();
        Self { not_asked, ..Self::new(runs, not_begun, false) }
    }

    /// Of runs that were accepted and whose ends nobody waits for.
    pub fn detached(runs: Vec<Run>, not_begun: Vec<RefusedView>, not_asked: Vec<HostName>) -> Self {
        let runs = runs.into_iter().map(|run| RunView::new(run, None)).collect();
        Self { not_asked, ..Self::new(runs, not_begun, true) }
    }

    fn new(runs: Vec<RunView>, not_begun: Vec<RefusedView>, is_detached: bool) -> Self {
        let succeeded = runs.iter().filter(|it| it.state == "succeeded").count();
        let is_incomplete = |it: &&RunView| it.incomplete.iter().flatten().next().is_some();
        Self {
            succeeded_count: succeeded,
            incomplete_count: runs.iter().filter(is_incomplete).count(),
            failed_count: if is_detached { 0 } else { runs.len() - succeeded } + not_begun.len(),
            runs,
            not_begun,
            not_asked: Vec::new(),
            is_detached,
        }
    }

    /// Done when all of them are, nothing is missing and every host was asked; in part when some are.
    pub const fn exit(&self) -> Exit {
        let some = if self.is_detached { self.runs.len() } else { self.succeeded_count };
        match (self.failed_count, self.incomplete_count, self.not_asked.len()) {
            (0, 0, 0) => Exit::Done,
            _ if some > 0 => Exit::InPart,
            _ => Exit::Failed,
        }
    }
}

impl View for FleetView {
    fn table(&self) -> String {
        let headings =
            ["HOST", "STACK", "STATE", "SNAPSHOT", "READ", "STORED", "DOWNTIME", "TOOK", ""];
        let mut table = Table::new(&headings);
        for it in &self.runs {
            let snapshot: String =
                it.snapshot_id.iter().flat_map(|id| id.chars().take(8)).collect();
            let bytes = |of: fn(&RunView) -> Option<u64>| {
                of(it).map(|bytes| ByteCount(bytes).to_string()).unwrap_or_default()
            };
            let downtime = it.totals.map(|it| table::span(it.downtime_ms)).unwrap_or_default();
            let took = it.duration_ms.map(table::span).unwrap_or_default();
            let remark = match (&it.failure, it.incomplete.as_deref()) {
                (Some(failure), _) => failure.reason.to_string(),
                (None, Some([_, ..])) => "incomplete".to_owned(),
                (None, _) => String::new(),
            };
            table.row([
                &it.host,
                &it.stack,
                &it.state,
                &snapshot,
                &bytes(|it| it.totals.map(|it| it.read_bytes)),
                &bytes(|it| it.totals.map(|it| it.stored_bytes)),
                &downtime,
                &took,
                &remark,
            ]);
        }
        for it in &self.not_begun {
            let none = "";
            table.row([
                &it.host, &it.stack, &"refused", &none, &none, &none, &none, &none, &it.reason,
            ]);
        }
        let mut text = table.lines(0);
        let failed = self.runs.iter().filter_map(|it| {
            let failure = it.failure.as_ref()?;
            Some(format!("{}/{}: {} ({})", it.host, it.stack, failure.message, it.run_id))
        });
        let refused =
            self.not_begun.iter().map(|it| format!("{}/{}: {}", it.host, it.stack, it.message));
        table::section(&mut text, "FAILED", failed.chain(refused));
        let missing = self.runs.iter().flat_map(|it| {
            let lines = it.incomplete.iter().flatten();
            lines.map(move |line| format!("{}/{}: {line}", it.host, it.stack))
        });
        table::section(&mut text, "INCOMPLETE", missing);
        table::section(&mut text, NOT_ASKED, self.not_asked.iter().map(HostName::as_str));
        text
    }
}

/// What backups of many stacks would do.
#[derive(Debug, Default, Serialize)]
pub struct PlansView {
    /// Of those that can be backed up.
    pub plans: Vec<BackupPlanView>,
    /// The others.
    pub not_begun: Vec<RefusedView>,
    /// Hosts that could not be asked.
    pub not_asked: Vec<HostName>,
}

impl PlansView {
    /// Done when every stack can be backed up, and every host was asked.
    pub const fn exit(&self) -> Exit {
        let all = self.not_begun.is_empty() && self.not_asked.is_empty();
        match (self.plans.is_empty(), all) {
            (_, true) => Exit::Done,
            (false, false) => Exit::InPart,
            (true, false) => Exit::Failed,
        }
    }
}

impl View for PlansView {
    fn table(&self) -> String {
        let plans: Vec<_> = self.plans.iter().map(View::table).collect();
        let mut text = plans.join("\n");
        let refused =
            self.not_begun.iter().map(|it| format!("{}/{}: {}", it.host, it.stack, it.message));
        table::section(&mut text, "NOT BACKED UP", refused);
        table::section(&mut text, NOT_ASKED, self.not_asked.iter().map(HostName::as_str));
        text
    }
}
