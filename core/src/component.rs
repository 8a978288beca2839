//! Components: the parts of a stack that are saved and restored, each by its own means.

use serde::{Deserialize, Serialize};

use crate::name::ComponentName;

/// One part of a stack.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Component {
    /// What people call it; unique in its stack.
    pub name: ComponentName,
    /// What it is.
    pub kind: ComponentKind,
}

/// What a component is, with all that is needed to find it on its host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum ComponentKind {
    /// A database server in a container; everything in it is one component.
    Database {
        /// The driver that knows it: `postgres`.
        driver: String,
        /// The container's name, without a slash.
        container: String,
        /// The server's version as it reports it; empty while it does not run.
        version: String,
        /// One line a database: its name and how it will be restored (H6).
        notes: Vec<String>,
    },
    /// A named volume.
    Volume {
        /// As Docker calls it.
        volume: String,
        /// Containers that mount it, by name.
        mounted_by: Vec<String>,
    },
    /// A directory or file of the host, mounted into a container.
    Bind {
        /// Absolute, on the host.
        path: String,
        /// Containers that mount it, by name.
        mounted_by: Vec<String>,
    },
    /// The project's own files: compose files in order, `.env`, `env_file`s, configs, secrets.
    Files {
        /// The project directory, absolute, on the host.
        root: String,
        /// Relative to the root, sorted.
        paths: Vec<String>,
    },
    /// All that is needed to create the stack's containers, networks and volumes again.
    Definition,
}

impl ComponentKind {
    /// The first word of the component's name.
    pub fn word(&self) -> &str {
        match self {
            Self::Database { driver, .. } => driver,
            Self::Volume { .. } => "volume",
            Self::Bind { .. } => "bind",
            Self::Files { .. } => "files",
            Self::Definition => "definition",
        }
    }
}
