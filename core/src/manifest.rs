//! The manifest: what a snapshot holds, written into it as `manifest.json`.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    component::Component,
    evidence::Evidence,
    id::{RunId, StackId},
    name::{ComponentName, HostName, StackName},
    stack::Uncovered,
    units::ByteCount,
};

/// Where the manifest stands in a snapshot.
pub const MANIFEST_PATH: &str = "manifest.json";

/// The newest format that this version writes.
pub const FORMAT: u32 = 1;

/// What a snapshot holds, so that it can be restored and judged without any other document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Of this document; [`FORMAT`].
    pub format: u32,
    /// Of which stack.
    pub stack: StackId,
    /// What the stack was called.
    pub stack_name: StackName,
    /// What its host was called.
    pub host_name: HostName,
    /// Which run made it.
    pub run: RunId,
    /// Version of the agent that wrote it.
    pub agent_version: String,
    /// When the last application was stopped and the first started again, by the host's clock.
    pub held: Option<Held>,
    /// One a component, sorted by name.
    pub components: Vec<SavedComponent>,
    /// What of the stack was not saved, and why.
    pub uncovered: Vec<Uncovered>,
    /// What an operator should know about it.
    pub warnings: Vec<String>,
}

/// A time in which the applications stood still.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// When the first of them was stopped.
    pub from: Timestamp,
    /// When the last of them ran again.
    pub to: Timestamp,
}

/// One component in a snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedComponent {
    /// What it is and where it was.
    pub component: Component,
    /// The directory in the snapshot that holds it, without a leading slash.
    pub path: String,
    /// Size of what was read.
    pub bytes: ByteCount,
    /// What it counted at the cut.
    pub evidence: Evidence,
}

impl Manifest {
    /// The component of that name.
    pub fn component(&self, name: &ComponentName) -> Option<&SavedComponent> {
        self.components.iter().find(|saved| saved.component.name == *name)
    }
}
