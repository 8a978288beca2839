//! Storage: what an agent may do with the repository of a run that was granted to it.

use std::{pin::Pin, sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use futures::{Stream, StreamExt as _};
use lazarette_core::{
    error::{Failure, Reason},
    id::{HostId, RunId, SnapshotId},
    run::Totals,
    snapshot::Snapshot,
};
use lazarette_node::clock::Clock;
use lazarette_proto::{
    convert::{Required as _, hash, hashes, parse},
    storage::v1::{
        BlobLocation, CommitSnapshotRequest, CommitSnapshotResponse, KnownBlobsRequest,
        KnownBlobsResponse, LocateBlobsRequest, LocateBlobsResponse, PackEntry as WireEntry,
        PackHead, PutPackRequest, PutPackResponse, ReadPackRequest, ReadPackResponse,
        ReportPackRequest, ReportPackResponse, put_pack_request::Part,
        storage_service_server::StorageService,
    },
};
use lazarette_repo::{
    id::{BlobId, PackId},
    pack::{BlobKind, PackEntry},
    reader::ReadError,
    session::{CommitError, CommitRequest, ReportError, Session},
    snapshot::Summary,
    source::PackSource as _,
    storage::{ObjectName, StorageError},
};
use tonic::{Request, Response, Status, Streaming};

use super::{host_of, malformed, refused};
use crate::{
    entry::{self, EntryError},
    grants::Grants,
    places::store_failed,
    runs::Runs,
    store::{Batch, Store, catalog::Catalog, stacks::Stacks},
    uploads::Uploads,
    vaults::{of_storage, reason_of},
};

/// Blobs that may be asked for at once.
const IDS: usize = 4096;
/// No pack of ours is larger: restic's own limit.
const PACK_BYTES: u64 = 128 << 20;
/// Packs are of this size, but for a few.
const USUAL_PACK_BYTES: usize = 16 << 20;
/// How long one message of a pack may take.
const PART_TIMEOUT: Duration = Duration::from_mins(2);
/// The most that is read from a pack at once.
const READ_BYTES: u64 = 64 << 20;
/// What one message carries.
const CHUNK_BYTES: usize = 1 << 20;
/// All packs of one run: 2 million of 16 MiB.
const PACKS: usize = 2 << 20;

/// Serves the repositories of granted runs.
#[derive(Debug)]
pub struct StorageRpc {
    /// Which runs may use what.
    pub grants: Grants,
    /// Which runs there are.
    pub runs: Runs,
    /// Where snapshots are listed.
    pub catalog: Catalog,
    /// Where all that is kept.
    pub store: Arc<dyn Store>,
    /// When a snapshot was committed.
    pub clock: Arc<dyn Clock>,
    /// How much may be on its way in.
    pub uploads: Uploads,
}

impl StorageRpc {
    /// Turns "not now" into "never" for a run that is over.
    async fn settle(&self, run: RunId, failure: Failure) -> Status {
        if failure.reason != Reason::StorageUnavailable {
            return refused(failure);
        }
        match self.runs.get(run).await {
            Ok(found) if !found.state.is_terminal() => refused(failure),
            Ok(found) => {
                let message = format!("run {run} is over ({})", found.state.word());
                refused(Failure::new(Reason::PolicyDenied, message))
            }
            Err(unknown) => refused(unknown),
        }
    }

    async fn session(&self, run: RunId, host: HostId) -> Result<Arc<Session>, Status> {
        match self.grants.session(run, host) {
            Ok(session) => Ok(session),
            Err(failure) => Err(self.settle(run, failure).await),
        }
    }

    async fn readable(
        &self,
        run: RunId,
        host: HostId,
    ) -> Result<Arc<lazarette_repo::repository::Repository>, Status> {
        match self.grants.readable(run, host) {
            Ok(repository) => Ok(repository),
            Err(failure) => Err(self.settle(run, failure).await),
        }
    }

    /// Receives one pack whole, stores it under its hash.
    async fn receive(
        &self,
        host: HostId,
        mut parts: Streaming<PutPackRequest>,
    ) -> Result<(), Status> {
        let first = next_part(&mut parts).await?.and_then(|it| it.part);
        let Some(Part::Head(head)) = first else {
            return Err(input("the first part of a pack must be its head"));
        };
        let PackHead { run_id, pack_id, size_bytes } = head;
        let run: RunId = parse("run_id", &run_id).map_err(malformed)?;
        let session = self.session(run, host).await?;
        let pack = PackId::new(hash("pack_id", &pack_id).map_err(malformed)?);
        if size_bytes > PACK_BYTES {
            return Err(input("field `size_bytes` is more than a pack may have"));
        }
        let size = usize::try_from(size_bytes).unwrap_or(usize::MAX);
        // The agent tries again in a moment.
        let _room = self.uploads.room(host, size_bytes).ok_or_else(|| {
            let message = "too many packs of this host are on their way in; try again";
            refused(Failure::new(Reason::StorageUnavailable, message))
        })?;
        let mut content = BytesMut::with_capacity(size.min(USUAL_PACK_BYTES));
        while let Some(message) = next_part(&mut parts).await? {
            let Some(Part::Chunk(chunk)) = message.part else {
                return Err(input("after its head a pack has chunks only"));
            };
            if content.len() + chunk.len() > size {
                return Err(input("the pack is longer than its head says"));
            }
            content.extend_from_slice(&chunk);
        }
        if content.len() != size {
            return Err(input("the pack ended early"));
        }
        store_pack(&session, pack, content.freeze()).await.map_err(refused)
    }

    /// Commits, and enters the snapshot into the catalog; both can be repeated.
    async fn commit(
        &self,
        host: HostId,
        run: RunId,
        request: CommitSnapshotRequest,
    ) -> Result<SnapshotId, Status> {
        let grant = self.grants.of(run, host);
        let session = self.session(run, host).await?;
        let repository = grant.map_err(refused)?.repository;
        let run = self.runs.get(run).await.map_err(refused)?;
        let tree = BlobId::new(hash("tree", &request.tree).map_err(malformed)?);
        let packs = hashes("pack_ids", &request.pack_ids, PACKS).map_err(malformed)?;
        let packs: Vec<_> = packs.into_iter().map(PackId::new).collect();
        let totals: Totals = request.totals.required("totals").map_err(malformed)?.into();
        // Read and judged before there is a snapshot: one that lies never exists.
        session.checkpoint(&packs).await.map_err(commit_refused)?;
        let manifest = entry::manifest(session.repository(), tree).await;
        let manifest = manifest.and_then(|it| entry::believe(&it, &run).map(|()| it));
        let manifest = manifest.map_err(|error| refused(manifest_refused(&error)))?;
        let before = self.newest_before(&run).await.map_err(refused)?;
        let now = self.clock.now();
        let committed = session.commit(CommitRequest {
            run: run.id.to_string(),
            tree,
            paths: vec![format!("/{}", run.stack_name)],
            hostname: run.host_name.to_string(),
            username: "lazarette".to_owned(),
            tags: vec![format!("stack:{}", run.stack), entry::downtime_tag(totals.downtime_ms)],
            time: now,
            parent: None,
            program_version: concat!("lazarette ", env!("CARGO_PKG_VERSION")).to_owned(),
            packs,
            summary: Some(summary(totals, run.created, now)),
        });
        let committed = committed.await.map_err(commit_refused)?;
        let place = (repository, host);
        let entry = entry::entry(place, &committed, manifest, &before);
        self.enter(&entry, &before).await.map_err(refused)?;
        tracing::info!(snapshot = %committed.id.short(), "snapshot committed");
        Ok(SnapshotId::from_bytes(*committed.id.as_bytes()))
    }

    /// What the stack's newest snapshot holds; nothing for a partial backup, which may hold less.
    async fn newest_before(
        &self,
        run: &lazarette_core::run::Run,
    ) -> Result<Vec<lazarette_core::name::ComponentName>, Failure> {
        let partial = matches!(
            &run.task,
            lazarette_core::run::Task::Backup { components } if !components.is_empty()
        );
        let stacks = Stacks::new(Arc::clone(&self.store));
        let stack = stacks.get(run.stack).await.map_err(store_failed)?;
        let components = stack.map(|it| it.components).unwrap_or_default();
        Ok(if partial { Vec::new() } else { components })
    }

    async fn enter(
        &self,
        entry: &Snapshot,
        before: &[lazarette_core::name::ComponentName],
    ) -> Result<(), Failure> {
        let names: Vec<_> = entry.components.iter().map(|it| it.component.name.clone()).collect();
        let mut batch = Batch::new();
        self.catalog.put(&mut batch, entry).map_err(store_failed)?;
        self.store.commit(batch).await.map_err(store_failed)?;
        if before.is_empty() || names.len() >= before.len() {
            let stacks = Stacks::new(Arc::clone(&self.store));
            let grown = |stack: &mut crate::store::stacks::Stack| {
                if names.len() >= stack.components.len() {
                    stack.components.clone_from(&names);
                }
            };
            stacks.update(entry.stack, grown).await.map_err(store_failed)?;
        }
        Ok(())
    }
}

/// The next message of a pack. One that does not come keeps room from others.
async fn next_part(
    parts: &mut Streaming<PutPackRequest>,
) -> Result<Option<PutPackRequest>, Status> {
    let next = tokio::time::timeout(PART_TIMEOUT, parts.message()).await;
    next.unwrap_or_else(|_late| {
        let message = format!("no part of the pack came for {} s", PART_TIMEOUT.as_secs());
        Err(refused(Failure::new(Reason::StorageUnavailable, message)))
    })
}

/// Verifies that the content is what its name says, then stores it.
async fn store_pack(session: &Arc<Session>, pack: PackId, content: Bytes) -> Result<(), Failure> {
    let hashed = content.clone();
    let found = tokio::task::spawn_blocking(move || PackId::of(&hashed)).await;
    if !found.is_ok_and(|found| found == pack) {
        let message = format!("take pack {pack}: its content has another SHA-256");
        return Err(Failure::new(Reason::PackRefused, message));
    }
    let storage = session.repository().storage();
    let created = storage.create(ObjectName::Pack(pack), content).await;
    created.map(drop).map_err(|error| storage_failed(&error))
}

fn manifest_refused(error: &EntryError) -> Failure {
    let reason = match error {
        EntryError::Foreign { .. } | EntryError::Read(ReadError::Missing { .. }) => {
            Reason::PackRefused
        }
        EntryError::Read(error) if error.is_transient() => Reason::StorageUnavailable,
        EntryError::Read(_)
        | EntryError::Missing
        | EntryError::Format(_)
        | EntryError::Newer(_) => Reason::DumpInvalid,
    };
    Failure::new(reason, lazarette_core::error::chain(error))
}

fn storage_failed(error: &StorageError) -> Failure {
    let message =
        format!("the controller cannot store it: {}", lazarette_core::error::chain(error));
    Failure::new(of_storage(error), message)
}

fn summary(totals: Totals, start: jiff::Timestamp, end: jiff::Timestamp) -> Summary {
    Summary {
        backup_start: start,
        backup_end: end,
        total_files_processed: totals.items,
        total_bytes_processed: totals.read.0,
        data_added: totals.new.0,
        data_added_packed: totals.stored.0,
        ..Summary::default()
    }
}

fn report_refused(error: &ReportError) -> Status {
    let reason = match error {
        ReportError::Storage { source: StorageError::NotFound { .. }, .. }
        | ReportError::Content { .. }
        | ReportError::Lie { .. }
        | ReportError::Known { .. }
        | ReportError::Header { .. } => Reason::PackRefused,
        ReportError::Storage { source, .. } => of_storage(source),
    };
    refused(Failure::new(reason, lazarette_core::error::chain(error)))
}

#[expect(clippy::needless_pass_by_value, reason = "for `map_err`")]
fn commit_refused(error: CommitError) -> Status {
    let reason = match &error {
        CommitError::Pack(error) => return report_refused(error),
        CommitError::Conflict { .. } => Reason::RunExists,
        CommitError::NoTree { .. } | CommitError::Tree { .. } => Reason::PackRefused,
        CommitError::Repository(error) => reason_of(error),
        CommitError::Object(_) => Reason::StorageUnavailable,
    };
    refused(Failure::new(reason, lazarette_core::error::chain(&error)))
}

fn input(what: &str) -> Status {
    refused(Failure::new(Reason::InvalidInput, what))
}

fn entry_in(it: &WireEntry) -> Result<PackEntry, Status> {
    Ok(PackEntry {
        id: BlobId::new(hash("blob_id", &it.blob_id).map_err(malformed)?),
        kind: if it.tree { BlobKind::Tree } else { BlobKind::Data },
        offset: it.offset_bytes,
        length: it.length_bytes,
        uncompressed: it.plain_bytes,
    })
}

fn blob_ids(bytes: &[u8]) -> Result<Vec<BlobId>, Status> {
    let ids = hashes("blob_ids", bytes, IDS).map_err(malformed)?;
    Ok(ids.into_iter().map(BlobId::new).collect())
}

type Chunks = Pin<Box<dyn Stream<Item = Result<ReadPackResponse, Status>> + Send>>;

#[tonic::async_trait]
impl StorageService for StorageRpc {
    async fn known_blobs(
        &self,
        request: Request<KnownBlobsRequest>,
    ) -> Result<Response<KnownBlobsResponse>, Status> {
        let host = host_of(&request)?;
        let request = request.into_inner();
        let run = parse("run_id", &request.run_id).map_err(malformed)?;
        let session = self.session(run, host).await?;
        let known = session.known(&blob_ids(&request.blob_ids)?);
        let known = known.into_iter().map(u8::from).collect::<Vec<_>>();
        Ok(Response::new(KnownBlobsResponse { known: known.into() }))
    }

    async fn put_pack(
        &self,
        request: Request<Streaming<PutPackRequest>>,
    ) -> Result<Response<PutPackResponse>, Status> {
        let host = host_of(&request)?;
        self.receive(host, request.into_inner()).await?;
        Ok(Response::new(PutPackResponse {}))
    }

    async fn report_pack(
        &self,
        request: Request<ReportPackRequest>,
    ) -> Result<Response<ReportPackResponse>, Status> {
        let host = host_of(&request)?;
        let request = request.into_inner();
        let run = parse("run_id", &request.run_id).map_err(malformed)?;
        let session = self.session(run, host).await?;
        let pack = PackId::new(hash("pack_id", &request.pack_id).map_err(malformed)?);
        let claimed = request.entries.iter().map(entry_in).collect::<Result<Vec<_>, _>>()?;
        session.report(pack, &claimed).await.map_err(|error| report_refused(&error))?;
        Ok(Response::new(ReportPackResponse {}))
    }

    async fn commit_snapshot(
        &self,
        request: Request<CommitSnapshotRequest>,
    ) -> Result<Response<CommitSnapshotResponse>, Status> {
        let host = host_of(&request)?;
        let request = request.into_inner();
        let run = parse("run_id", &request.run_id).map_err(malformed)?;
        let snapshot = self.commit(host, run, request).await?;
        Ok(Response::new(CommitSnapshotResponse { snapshot_id: snapshot.to_string() }))
    }

    async fn locate_blobs(
        &self,
        request: Request<LocateBlobsRequest>,
    ) -> Result<Response<LocateBlobsResponse>, Status> {
        let host = host_of(&request)?;
        let request = request.into_inner();
        let run = parse("run_id", &request.run_id).map_err(malformed)?;
        let repository = self.readable(run, host).await?;
        let ids = blob_ids(&request.blob_ids)?;
        let located = repository
            .with_index(|index| ids.iter().map(|id| (*id, index.locate(id))).collect::<Vec<_>>());
        let wire = |(id, place): (BlobId, Option<lazarette_repo::index::BlobLocation>)| {
            let Some(place) = place else { return BlobLocation::default() };
            let entry = WireEntry {
                blob_id: Bytes::copy_from_slice(id.as_bytes()),
                tree: place.kind == BlobKind::Tree,
                offset_bytes: place.offset,
                length_bytes: place.length,
                plain_bytes: place.uncompressed,
            };
            let pack_id = Bytes::copy_from_slice(place.pack.as_bytes());
            BlobLocation { pack_id, entry: Some(entry) }
        };
        let locations = located.into_iter().map(wire).collect();
        Ok(Response::new(LocateBlobsResponse { locations }))
    }

    type ReadPackStream = Chunks;

    async fn read_pack(
        &self,
        request: Request<ReadPackRequest>,
    ) -> Result<Response<Chunks>, Status> {
        let host = host_of(&request)?;
        let request = request.into_inner();
        let run: RunId = parse("run_id", &request.run_id).map_err(malformed)?;
        let repository = self.readable(run, host).await?;
        let pack = PackId::new(hash("pack_id", &request.pack_id).map_err(malformed)?);
        let (start, length) = (request.offset_bytes, request.length_bytes);
        let end = start.checked_add(length).filter(|_| length <= READ_BYTES);
        let end = end.ok_or_else(|| input("field `length_bytes` is more than 64 MiB"))?;
        if !repository.with_index(|index| index.contains_pack(&pack)) {
            let message = format!("pack {pack} is none of the repository of run {run}");
            return Err(refused(Failure::new(Reason::PolicyDenied, message)));
        }
        let content = repository.read_pack(pack, start..end).await.map_err(|error| {
            let reason = if error.is_transient() {
                Reason::StorageUnavailable
            } else {
                Reason::RepositoryDamaged
            };
            refused(Failure::new(reason, lazarette_core::error::chain(&error)))
        })?;
        let chunks = futures::stream::unfold(content, |mut content| async move {
            if content.is_empty() {
                return None;
            }
            let chunk = content.split_to(content.len().min(CHUNK_BYTES));
            Some((Ok(ReadPackResponse { chunk }), content))
        });
        Ok(Response::new(chunks.boxed()))
    }
}
