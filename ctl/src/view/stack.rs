//! Stacks, as they are shown.

use std::collections::BTreeMap;

use jiff::Timestamp;
use lazarette_core::stack::{ContainerSeen, ContainerState, Origin, Part, StackSeen};
use lazarette_proto::{
    controller::v1 as wire,
    convert::{ConvertError, from_wire_time},
};
use serde::Serialize;

use super::{ComponentView, UncoveredView, components, uncovered_lines};
use crate::{
    output::View,
    table::{self, Table},
};

/// A stack.
#[derive(Debug, Serialize)]
pub struct StackView {
    stack_id: String,
    host: String,
    name: String,
    last_snapshot_time: Option<Timestamp>,
    snapshot_count: u64,
    seen: Option<SeenView>,
}

/// A stack as its agent sees it.
#[derive(Debug, Serialize)]
struct SeenView {
    #[serde(flatten)]
    origin: Origin,
    containers: Vec<ContainerSeen>,
    components: Vec<ComponentView>,
    uncovered: Vec<UncoveredView>,
    refusals: Vec<String>,
    warnings: Vec<String>,
    labels: BTreeMap<String, String>,
}

impl From<StackSeen> for SeenView {
    fn from(it: StackSeen) -> Self {
        Self {
            origin: it.origin,
            containers: it.containers,
            components: it.components.into_iter().map(Into::into).collect(),
            uncovered: it.uncovered.into_iter().map(Into::into).collect(),
            refusals: it.refusals,
            warnings: it.warnings,
            labels: it.labels,
        }
    }
}

impl TryFrom<wire::Stack> for StackView {
    type Error = ConvertError;

    fn try_from(it: wire::Stack) -> Result<Self, Self::Error> {
        let seen = it.seen.map(StackSeen::try_from).transpose().map_err(|it| it.within("seen"))?;
        let last = it.last_snapshot_time;
        let last = last.map(|at| from_wire_time("last_snapshot_time", Some(at))).transpose()?;
        Ok(Self {
            stack_id: it.stack_id,
            host: it.host,
            name: it.name,
            last_snapshot_time: last,
            snapshot_count: it.snapshot_count,
            seen: seen.map(Into::into),
        })
    }
}

impl StackView {
    /// In one word or two, how it is.
    fn standing(&self) -> &'static str {
        let Some(seen) = &self.seen else { return "not seen" };
        let runs = |it: &&ContainerSeen| it.state == ContainerState::Running;
        let due = seen.containers.iter().filter(|it| it.part != Part::OneShot);
        match (due.clone().filter(runs).count(), due.count()) {
            _ if !seen.refusals.is_empty() => "refused",
            (running, all) if running == all => "running",
            (0, _) => "stopped",
            (_, _) => "running in part",
        }
    }
}

/// The stacks that could be listed.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub struct StacksView(pub Vec<StackView>);

impl View for StacksView {
    fn table(&self) -> String {
        let mut table = Table::new(&[
            "HOST",
            "STACK",
            "STATE",
            "CONTAINERS",
            "COMPONENTS",
            "UNCOVERED",
            "SNAPSHOTS",
            "NEWEST",
        ]);
        for it in &self.0 {
            let seen = it.seen.as_ref();
            let count = |of: fn(&SeenView) -> usize| {
                seen.map_or_else(|| "-".to_owned(), |seen| of(seen).to_string())
            };
            table.row([
                &it.host,
                &it.name,
                &it.standing(),
                &count(|seen| seen.containers.len()),
                &count(|seen| seen.components.len()),
                &count(|seen| seen.uncovered.len()),
                &it.snapshot_count,
                &table::time_or_dash(it.last_snapshot_time),
            ]);
        }
        table.lines(0)
    }
}

impl View for StackView {
    fn table(&self) -> String {
        let mut head = Table::bare();
        head.row([&"stack", &format!("{}/{}", self.host, self.name)]);
        head.row([&"id", &self.stack_id]);
        head.row([&"state", &self.standing()]);
        head.row([&"snapshots", &self.snapshot_count]);
        head.row([&"newest", &table::time_or_dash(self.last_snapshot_time)]);
        let Some(seen) = &self.seen else {
            return head.lines(0) + "\nIts host does not have it, or could not be asked.\n";
        };
        head.row([&"from", &origin(&seen.origin)]);
        for (key, value) in &seen.labels {
            head.row([&"label", &format!("{key}={value}")]);
        }
        let mut text = head.lines(0);
        text.push_str("\nCONTAINERS\n");
        text.push_str(&containers(&seen.containers).lines(2));
        text.push_str("\nSAVED\n");
        let mut saved = Table::bare();
        for component in &seen.components {
            components(&mut saved, component);
        }
        text.push_str(&saved.lines(2));
        table::section(&mut text, "NOT SAVED", uncovered_lines(&seen.uncovered));
        table::section(&mut text, "CANNOT BE BACKED UP AS IT IS", &seen.refusals);
        table::section(&mut text, "WARNINGS", &seen.warnings);
        text
    }
}

fn origin(origin: &Origin) -> String {
    match origin {
        Origin::Compose { working_dir: Some(dir), config_files } => {
            format!("Compose project in {dir}: {}", config_files.join(", "))
        }
        Origin::Compose { working_dir: None, .. } => {
            "Compose project without a known directory".to_owned()
        }
        Origin::Container => "a container of its own".to_owned(),
    }
}

fn containers(containers: &[ContainerSeen]) -> Table {
    let mut table = Table::bare();
    for it in containers {
        let state = match it.state {
            ContainerState::Running => "running",
            ContainerState::Paused => "paused",
            ContainerState::Restarting => "restarting",
            ContainerState::Stopped => "stopped",
        };
        let part = match it.part {
            Part::Database => "dumped while it runs",
            Part::Application => "stopped during a backup",
            Part::OneShot => "a job that has ended",
        };
        table.row([&it.name, &it.image, &state, &part]);
    }
    table
}
