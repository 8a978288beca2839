//! Snapshots as the catalog knows them.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    id::{HostId, RepositoryId, RunId, SnapshotId, StackId},
    manifest::SavedComponent,
    name::{HostName, StackName},
    units::ByteCount,
};

/// One finished, immutable recovery point of a stack.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// What the repository calls it.
    pub id: SnapshotId,
    /// Where it is.
    pub repository: RepositoryId,
    /// Of which stack.
    pub stack: StackId,
    /// What the stack was called.
    pub stack_name: StackName,
    /// On which host it was.
    pub host: HostId,
    /// What the host was called.
    pub host_name: HostName,
    /// Which run made it.
    pub run: RunId,
    /// When it was committed, by the controller's clock.
    pub time: Timestamp,
    /// What it holds.
    pub components: Vec<SavedComponent>,
    /// What makes it less than whole; empty when nothing does (H32).
    pub incomplete: Vec<String>,
    /// Size of all that was read.
    pub read_bytes: ByteCount,
    /// What of it was not in the repository before.
    pub new_bytes: ByteCount,
    /// What it added to the repository, compressed.
    pub stored_bytes: ByteCount,
    /// How long applications were stopped, in milliseconds.
    pub downtime_ms: u64,
}
