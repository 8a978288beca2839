//! Plans, as they are shown.

use lazarette_core::{
    plan::{BackupPlan, RestorePlan},
    units::ByteCount,
};
use serde::Serialize;

use super::{ComponentView, SavedView, UncoveredView, components, layers, uncovered_lines};
use crate::{
    output::View,
    table::{self, Table},
};

/// What a backup would do.
#[derive(Debug, Serialize)]
pub struct BackupPlanView {
    task: &'static str,
    stack: String,
    stop: Vec<Vec<String>>,
    components: Vec<ComponentView>,
    uncovered: Vec<UncoveredView>,
    warnings: Vec<String>,
    hold_budget_seconds: u32,
}

impl BackupPlanView {
    /// Of the stack at `address`.
    pub fn new(address: String, plan: BackupPlan) -> Self {
        Self {
            task: "backup",
            stack: address,
            stop: plan.stop,
            components: plan.components.into_iter().map(Into::into).collect(),
            uncovered: plan.uncovered.into_iter().map(Into::into).collect(),
            warnings: plan.warnings,
            hold_budget_seconds: plan.hold_budget_seconds,
        }
    }
}

impl View for BackupPlanView {
    fn table(&self) -> String {
        let mut head = Table::bare();
        head.row([&"backup of", &self.stack]);
        head.row([&"stops", &layers(&self.stop)]);
        let budget = format!("within {} s, whatever happens", self.hold_budget_seconds);
        head.row([&"starts again", &budget]);
        let mut text = head.lines(0);
        let mut saved = Table::bare();
        for component in &self.components {
            components(&mut saved, component);
        }
        text.push_str("\nSAVES\n");
        text.push_str(&saved.lines(2));
        table::section(&mut text, "DOES NOT SAVE", uncovered_lines(&self.uncovered));
        table::section(&mut text, "WARNINGS", &self.warnings);
        text
    }
}

/// What a restore would do.
#[derive(Debug, Serialize)]
pub struct RestorePlanView {
    task: &'static str,
    stack: String,
    snapshot_id: String,
    stop: Vec<Vec<String>>,
    components: Vec<SavedView>,
    left_out: Vec<UncoveredView>,
    warnings: Vec<String>,
}

impl RestorePlanView {
    /// Of the stack at `address`.
    pub fn new(address: String, plan: RestorePlan) -> Self {
        Self {
            task: "restore",
            stack: address,
            snapshot_id: plan.snapshot.to_string(),
            stop: plan.stop,
            components: plan.components.into_iter().map(Into::into).collect(),
            left_out: plan.left_out.into_iter().map(Into::into).collect(),
            warnings: plan.warnings,
        }
    }
}

impl View for RestorePlanView {
    fn table(&self) -> String {
        let mut head = Table::bare();
        head.row([&"restore of", &self.stack]);
        head.row([&"to snapshot", &self.snapshot_id]);
        head.row([&"stops", &layers(&self.stop)]);
        let mut text = head.lines(0);
        let mut restored = Table::bare();
        for it in &self.components {
            let facts = format!("{} facts to compare", it.evidence.0.len());
            let what = super::described(&it.component.kind);
            restored.row([&it.component.name, &ByteCount(it.size_bytes), &what, &facts]);
        }
        text.push_str("\nREPLACES WHAT IS THERE\n");
        text.push_str(&restored.lines(2));
        table::section(&mut text, "LEAVES AS IT IS", uncovered_lines(&self.left_out));
        table::section(&mut text, "WARNINGS", &self.warnings);
        text
    }
}
