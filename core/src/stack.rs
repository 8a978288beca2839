//! Stacks as a host has them: what discovery found, what it proposes to save, and what it does not.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    component::Component,
    name::{ComponentName, StackName},
    units::ByteCount,
};

/// A stack as its agent sees it now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StackSeen {
    /// Its name on this host.
    pub name: StackName,
    /// Where it comes from.
    pub origin: Origin,
    /// Its containers, sorted by name.
    pub containers: Vec<ContainerSeen>,
    /// What would be saved, sorted by name.
    pub components: Vec<Component>,
    /// What would not be saved, and why.
    pub uncovered: Vec<Uncovered>,
    /// Why it cannot be backed up as it is; empty when it can (H13, H20).
    pub refusals: Vec<String>,
    /// What an operator should know: disturbers, missing files, ignored labels.
    pub warnings: Vec<String>,
    /// What its containers are labelled with, to choose stacks by: `lazarette.label.KEY=VALUE`.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
}

/// Where a stack comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "origin", rename_all = "snake_case")]
pub enum Origin {
    /// A Compose project.
    Compose {
        /// The project directory on the host, when its labels say so.
        working_dir: Option<String>,
        /// Compose files in their order, as the labels say them.
        config_files: Vec<String>,
    },
    /// One container that belongs to no project.
    Container,
}

/// A container of a stack.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerSeen {
    /// Docker's id, 64 hex digits.
    pub id: String,
    /// Without a slash.
    pub name: String,
    /// Of the Compose service; the container's name otherwise.
    pub service: String,
    /// As it was given.
    pub image: String,
    /// What it is doing.
    pub state: ContainerState,
    /// Names of containers that it needs: `depends_on`, shared namespaces, `volumes_from`, links (H19).
    pub needs: Vec<String>,
    /// What it is to a backup.
    pub part: Part,
    /// Whether it has a health check.
    pub has_health_check: bool,
    /// Seconds that it is given to stop.
    pub stop_timeout_seconds: u32,
}

/// What a container does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ContainerState {
    /// It runs.
    Running,
    /// It is paused.
    Paused,
    /// It is being restarted, over and over or once.
    Restarting,
    /// It does not run.
    Stopped,
}

/// What a container is to a backup.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// A database that is dumped while it runs.
    Database,
    /// Anything else: it may write into volumes or databases, so it is stopped.
    Application,
    /// A job that has ended: it is neither stopped nor started (H20).
    OneShot,
}

/// Something of a stack that is not saved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Uncovered {
    /// A component's name, a volume, a path.
    pub what: String,
    /// Why not, as a clause.
    pub why: String,
    /// How large it is, when that is known.
    pub size: Option<ByteCount>,
}

impl StackSeen {
    /// The component of that name.
    pub fn component(&self, name: &ComponentName) -> Option<&Component> {
        self.components.iter().find(|component| component.name == *name)
    }

    /// The container of that name.
    pub fn container(&self, name: &str) -> Option<&ContainerSeen> {
        self.containers.iter().find(|container| container.name == name)
    }
}
