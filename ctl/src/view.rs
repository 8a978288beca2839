//! Views: what is shown of each thing, as a table for people and as stable fields for programs.

pub mod audit;
pub mod context;
pub mod controller;
pub mod credential;
pub mod fleet;
pub mod host;
pub mod plan;
pub mod repository;
pub mod run;
pub mod snapshot;
pub mod stack;

use lazarette_core::component::{Component, ComponentKind};
use lazarette_core::{evidence::Evidence, manifest::SavedComponent, stack::Uncovered};
use serde::Serialize;

use crate::table::Table;

/// A component.
#[derive(Debug, Serialize)]
pub struct ComponentView {
    name: String,
    #[serde(flatten)]
    kind: ComponentKind,
}

impl From<Component> for ComponentView {
    fn from(it: Component) -> Self {
        Self { name: it.name.to_string(), kind: it.kind }
    }
}

/// A component in a snapshot.
#[derive(Debug, Serialize)]
pub struct SavedView {
    #[serde(flatten)]
    component: ComponentView,
    path: String,
    size_bytes: u64,
    evidence: Evidence,
}

impl From<SavedComponent> for SavedView {
    fn from(it: SavedComponent) -> Self {
        let component = it.component.into();
        Self { component, path: it.path, size_bytes: it.bytes.0, evidence: it.evidence }
    }
}

/// Something that is not saved.
#[derive(Debug, Serialize)]
pub struct UncoveredView {
    what: String,
    why: String,
    size_bytes: Option<u64>,
}

impl From<Uncovered> for UncoveredView {
    fn from(it: Uncovered) -> Self {
        Self { what: it.what, why: it.why, size_bytes: it.size.map(|size| size.0) }
    }
}

/// What a component is, in one line.
fn described(kind: &ComponentKind) -> String {
    let used_by = |by: &[String]| match by {
        [] => String::new(),
        by => format!(", used by {}", by.join(", ")),
    };
    match kind {
        ComponentKind::Database { driver, container, version, .. } if version.is_empty() => {
            format!("{driver} in {container}, which did not answer")
        }
        ComponentKind::Database { driver, container, version, .. } => {
            format!("{driver} {version} in {container}")
        }
        ComponentKind::Volume { volume, mounted_by } => {
            format!("volume {volume}{}", used_by(mounted_by))
        }
        ComponentKind::Bind { path, mounted_by } => format!("{path}{}", used_by(mounted_by)),
        ComponentKind::Files { root, paths } => format!("{} files in {root}", paths.len()),
        ComponentKind::Definition => {
            "containers, networks and volumes as Docker has them".to_owned()
        }
    }
}

/// Lines of a component below its own: one a database, one a file.
fn details(kind: &ComponentKind) -> &[String] {
    match kind {
        ComponentKind::Database { notes, .. } => notes,
        ComponentKind::Files { paths, .. } => paths,
        ComponentKind::Volume { .. } | ComponentKind::Bind { .. } | ComponentKind::Definition => {
            &[]
        }
    }
}

/// Components with what they are.
fn components(table: &mut Table, component: &ComponentView) {
    table.row([&component.name, &described(&component.kind)]);
    for detail in details(&component.kind) {
        table.row([&"", &format!("- {detail}")]);
    }
}

/// What is not saved, and why.
fn uncovered_lines(uncovered: &[UncoveredView]) -> impl Iterator<Item = String> {
    uncovered.iter().map(|it| match it.size_bytes {
        Some(size) => {
            format!("{} ({}): {}", it.what, lazarette_core::units::ByteCount(size), it.why)
        }
        None => format!("{}: {}", it.what, it.why),
    })
}

/// Layers as people read them: first what stops first.
fn layers(stop: &[Vec<String>]) -> String {
    let layers: Vec<_> = stop.iter().map(|layer| layer.join(", ")).collect();
    if layers.is_empty() { "nothing".to_owned() } else { layers.join("; then ") }
}
