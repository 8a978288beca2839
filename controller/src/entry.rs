//! Entry: a snapshot of a repository, as the catalog has it.

use std::sync::Arc;

use lazarette_core::{
    id::{HostId, RepositoryId, RunId, SnapshotId},
    manifest::{FORMAT, MANIFEST_PATH, Manifest},
    name::ComponentName,
    run::Run,
    snapshot::Snapshot,
    units::ByteCount,
};
use lazarette_repo::{
    id::BlobId,
    reader::{ReadError, Reader, ReaderOptions},
    repository::Repository,
    snapshot::Identified,
};
use tokio::runtime::Handle;

/// A manifest larger than this is none of ours.
const MANIFEST_BYTES: u64 = 64 << 20;
/// The tag that says how long applications were stopped.
const DOWNTIME_TAG: &str = "downtime-ms:";

/// The manifest of a snapshot cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum EntryError {
    /// The repository cannot give it.
    #[error("read the manifest of a snapshot")]
    Read(#[from] ReadError),
    /// There is none: another program made the snapshot.
    #[error("read the manifest of a snapshot: there is none")]
    Missing,
    /// It is not one.
    #[error("understand the manifest of a snapshot")]
    Format(#[source] serde_json::Error),
    /// A newer version wrote it.
    #[error(
        "understand the manifest of a snapshot: it has format {0}, this version knows {FORMAT}"
    )]
    Newer(u32),
    /// It is of something else than the run that brings it.
    #[error("believe the manifest of run {run}: its `{field}` is `{says}`, the run's is `{is}`")]
    Foreign {
        /// Which run.
        run: RunId,
        /// The field that lies.
        field: &'static str,
        /// What stands there.
        says: String,
        /// What is true.
        is: String,
    },
}

/// Reads the manifest of a snapshot whose root directory is, or will be, `tree`.
///
/// # Errors
///
/// [`EntryError`]
pub async fn manifest(repository: &Arc<Repository>, tree: BlobId) -> Result<Manifest, EntryError> {
    let reader = reader(repository);
    let root = reader.tree(tree).await?;
    let node = root.find(MANIFEST_PATH.as_bytes()).ok_or(EntryError::Missing)?;
    let content = node.content.as_ref().filter(|_| node.size <= MANIFEST_BYTES);
    let mut json = Vec::new();
    reader.read(content.ok_or(EntryError::Missing)?, &mut json).await?;
    let manifest: Manifest = serde_json::from_slice(&json).map_err(EntryError::Format)?;
    if manifest.format > FORMAT {
        return Err(EntryError::Newer(manifest.format));
    }
    Ok(manifest)
}

/// Whether the manifest that a run brings is of that run. It says under which stack a snapshot is
/// listed and restored, and the host that writes it may lie.
///
/// # Errors
///
/// [`EntryError::Foreign`], with the first field that lies.
pub fn believe(manifest: &Manifest, run: &Run) -> Result<(), EntryError> {
    let fields = [
        ("run", manifest.run.to_string(), run.id.to_string()),
        ("stack", manifest.stack.to_string(), run.stack.to_string()),
        ("stack_name", manifest.stack_name.to_string(), run.stack_name.to_string()),
        ("host_name", manifest.host_name.to_string(), run.host_name.to_string()),
    ];
    match fields.into_iter().find(|(_, says, is)| says != is) {
        Some((field, says, is)) => Err(EntryError::Foreign { run: run.id, field, says, is }),
        None => Ok(()),
    }
}

/// A reader of an open repository.
pub fn reader(repository: &Arc<Repository>) -> Reader {
    let source = Arc::clone(repository);
    Reader::new(repository.master_key(), source, Handle::current(), ReaderOptions::default())
}

/// The tag that keeps the downtime.
pub fn downtime_tag(milliseconds: u64) -> String {
    format!("{DOWNTIME_TAG}{milliseconds}")
}

/// What the catalog keeps of `snapshot`. `before` are the components of the snapshot before it:
/// one that is missing now makes this one incomplete (H32).
pub fn entry(
    (repository, host): (RepositoryId, HostId),
    snapshot: &Identified,
    manifest: Manifest,
    before: &[ComponentName],
) -> Snapshot {
    let missing = before.iter().filter(|name| manifest.component(name).is_none());
    let incomplete = missing.map(|name| {
        format!("`{name}` is missing: the snapshot before had it; `ctl stack show` says why")
    });
    let incomplete = incomplete.collect();
    let summary = snapshot.snapshot.summary.unwrap_or_default();
    let downtime = snapshot.snapshot.tags.iter().find_map(|tag| tag.strip_prefix(DOWNTIME_TAG));
    Snapshot {
        id: SnapshotId::from_bytes(*snapshot.id.as_bytes()),
        repository,
        stack: manifest.stack,
        stack_name: manifest.stack_name,
        host,
        host_name: manifest.host_name,
        run: manifest.run,
        time: snapshot.snapshot.time,
        components: manifest.components,
        incomplete,
        read_bytes: ByteCount(summary.total_bytes_processed),
        new_bytes: ByteCount(summary.data_added),
        stored_bytes: ByteCount(summary.data_added_packed),
        downtime_ms: downtime.and_then(|it| it.parse().ok()).unwrap_or_default(),
    }
}
