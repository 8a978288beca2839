//! A stack's definition: all that is needed to create its containers, networks and volumes again.

use serde::{Deserialize, Serialize};

/// Everything Docker knows of a stack, as Docker says it.
///
/// Containers, networks and volumes are kept as the Engine's own inspect documents: nothing that a
/// later version needs can then have been left out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StackDefinition {
    /// Of this document; 1.
    pub format: u32,
    /// The Engine's version when it was read.
    pub engine_version: String,
    /// The Engine's API version that the documents follow.
    pub api_version: String,
    /// Of the host: `x86_64`.
    pub architecture: String,
    /// One a container, sorted by name: `GET /containers/{id}/json`.
    pub containers: Vec<serde_json::Value>,
    /// One a network of the stack, sorted by name: `GET /networks/{id}`.
    pub networks: Vec<serde_json::Value>,
    /// One a named volume, sorted by name: `GET /volumes/{name}`.
    pub volumes: Vec<serde_json::Value>,
    /// One an image that a container uses, sorted by id: `GET /images/{id}/json`.
    pub images: Vec<serde_json::Value>,
}
