//! Vault: the repository as one run sees it through the controller's `StorageService`.
//!
//! Everything in it is named by its content, so every call can be repeated: while the controller is
//! away, a run waits and asks again.

mod refusal;
#[cfg(test)]
pub(crate) mod tests;

use std::{
    collections::BTreeSet,
    fmt,
    ops::Range,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use lazarette_core::{
    id::{RunId, SnapshotId},
    run::Totals,
    units::ByteCount,
};
use lazarette_node::{backoff::Backoff, status};
use lazarette_proto::storage::v1::{
    self as wire, put_pack_request::Part, storage_service_client::StorageServiceClient,
};
use lazarette_repo::{
    id::{BlobId, PackId},
    index::BlobLocation,
    pack::{BlobKind, SealedPack},
    sink::{PackSink, SinkError},
    source::{PackSource, SourceError},
};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::{Status, transport::Channel};

pub use self::refusal::{FirstRefusal, VaultError};

/// A pack travels in pieces of this size; each is a slice of the pack, not a copy.
const CHUNK_BYTES: usize = 512 << 10;
/// As many ids as one question may hold.
const IDS: usize = 4096;
/// One try of one call; then the connection is taken for dead.
const CALL_LIMIT: Duration = Duration::from_mins(2);

/// The repository of one run.
#[derive(Clone)]
pub struct Vault {
    client: StorageServiceClient<Channel>,
    run: RunId,
    patience: Duration,
    cancel: CancellationToken,
    refusal: FirstRefusal,
    put: Arc<Mutex<Put>>,
    read: Arc<AtomicU64>,
}

/// What a snapshot is asked for with: the same words again mean the same snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Commit {
    /// The root tree.
    pub tree: BlobId,
    /// Every pack of the run.
    pub packs: BTreeSet<PackId>,
    /// What the run took.
    pub totals: Totals,
}

/// What a run has put, whoever made it: packs come from this process and from its children.
#[derive(Debug, Default)]
struct Put {
    packs: BTreeSet<PackId>,
    /// Of the packs.
    bytes: u64,
    /// Of the blobs in them, before they were compressed and sealed.
    plain_bytes: u64,
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Vault").field("run", &self.run).finish_non_exhaustive()
    }
}

impl Vault {
    /// For `run`, over `channel`; a controller that is away is waited for as long as `patience`.
    pub fn new(
        channel: Channel,
        run: RunId,
        patience: Duration,
        cancel: CancellationToken,
    ) -> Self {
        let client = StorageServiceClient::new(channel);
        Self {
            client,
            run,
            patience,
            cancel,
            refusal: FirstRefusal::default(),
            put: Arc::default(),
            read: Arc::default(),
        }
    }

    /// The first thing that the controller refused, or the wait that was too long: why a run
    /// failed, however deep the error lies that it ended with.
    pub fn refusal(&self) -> &FirstRefusal {
        &self.refusal
    }

    /// What was put: of plain blobs, and of the packs that hold them.
    pub fn put_bytes(&self) -> (ByteCount, ByteCount) {
        let put = self.put.lock().unwrap_or_else(PoisonError::into_inner);
        (ByteCount(put.plain_bytes), ByteCount(put.bytes))
    }

    /// Every pack that was put.
    pub fn packs(&self) -> BTreeSet<PackId> {
        self.put.lock().unwrap_or_else(PoisonError::into_inner).packs.clone()
    }

    /// How many bytes of packs were read.
    pub fn read_bytes(&self) -> ByteCount {
        ByteCount(self.read.load(Ordering::Relaxed))
    }

    /// Makes the snapshot exist. Doing it twice is doing it once.
    ///
    /// # Errors
    ///
    /// [`VaultError`]: whether the snapshot exists is then not known, unless it was refused.
    pub async fn commit(&self, commit: &Commit) -> Result<SnapshotId, VaultError> {
        let Commit { tree, packs, totals } = commit;
        let request = wire::CommitSnapshotRequest {
            run_id: self.run.to_string(),
            tree: Bytes::copy_from_slice(tree.as_bytes()),
            pack_ids: packs.iter().flat_map(|it| *it.as_bytes()).collect::<Vec<u8>>().into(),
            totals: Some((*totals).into()),
        };
        let answer = self
            .patiently("make the snapshot exist", || {
                let (mut client, request) = (self.client.clone(), request.clone());
                async move { client.commit_snapshot(request).await }
            })
            .await?;
        let id = answer.into_inner().snapshot_id.parse();
        id.map_err(|error| self.nonsense("make the snapshot exist", &error))
    }

    /// Calls until an answer comes that decides something.
    async fn patiently<T, F>(
        &self,
        doing: &'static str,
        call: impl Fn() -> F + Send + Sync,
    ) -> Result<T, VaultError>
    where
        F: Future<Output = Result<T, Status>> + Send,
    {
        let give_up = Instant::now() + self.patience;
        let mut backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(15));
        loop {
            let tried = tokio::select! {
                biased;
                () = self.cancel.cancelled() => return Err(VaultError::Cancelled { doing }),
                tried = tokio::time::timeout(CALL_LIMIT, call()) => tried,
            };
            let refused = match tried {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(refused)) => refused,
                Err(_elapsed) => Status::deadline_exceeded("the controller did not answer"),
            };
            if !status::is_outage(&refused) {
                return Err(self.refusal.first(VaultError::refused(doing, &refused)));
            }
            if Instant::now() >= give_up {
                return Err(self.refusal.first(VaultError::away(doing, &refused, self.patience)));
            }
            let pause = backoff.next_delay(&mut fastrand::Rng::new());
            let attempts = backoff.attempts();
            tracing::warn!(doing, attempts, error = refused.message(), "the controller is away");
            tokio::select! {
                () = self.cancel.cancelled() => return Err(VaultError::Cancelled { doing }),
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    fn nonsense(&self, doing: &'static str, why: &dyn ToString) -> VaultError {
        self.refusal.first(VaultError::Nonsense { doing, why: why.to_string() })
    }

    async fn known_batch(&self, ids: &[BlobId]) -> Result<Vec<bool>, VaultError> {
        let doing = "ask which data the repository has";
        let request =
            wire::KnownBlobsRequest { run_id: self.run.to_string(), blob_ids: joined(ids) };
        let answer = self
            .patiently(doing, || {
                let (mut client, request) = (self.client.clone(), request.clone());
                async move { client.known_blobs(request).await }
            })
            .await?;
        let known = answer.into_inner().known;
        if known.len() != ids.len() {
            return Err(self.nonsense(doing, &"it answered about another number of blobs"));
        }
        Ok(known.iter().map(|byte| *byte != 0).collect())
    }

    async fn put_one(&self, pack: &SealedPack) -> Result<(), VaultError> {
        let pack_id = Bytes::copy_from_slice(pack.id.as_bytes());
        let head = wire::PackHead {
            run_id: self.run.to_string(),
            pack_id: pack_id.clone(),
            size_bytes: u64::try_from(pack.bytes.len()).unwrap_or(u64::MAX),
        };
        self.patiently("store a pack", || {
            let mut client = self.client.clone();
            let head = wire::PutPackRequest { part: Some(Part::Head(head.clone())) };
            let content = pack.bytes.clone();
            let chunks = (0..content.len()).step_by(CHUNK_BYTES).map(move |from| {
                let to = content.len().min(from + CHUNK_BYTES);
                wire::PutPackRequest { part: Some(Part::Chunk(content.slice(from..to))) }
            });
            let parts = tokio_stream::iter(std::iter::once(head).chain(chunks));
            async move { client.put_pack(parts).await }
        })
        .await?;
        let report = wire::ReportPackRequest {
            run_id: self.run.to_string(),
            pack_id,
            entries: pack.entries.iter().map(to_wire).collect(),
        };
        self.patiently("report a pack", || {
            let (mut client, report) = (self.client.clone(), report.clone());
            async move { client.report_pack(report).await }
        })
        .await?;
        let mut put = self.put.lock().unwrap_or_else(PoisonError::into_inner);
        if put.packs.insert(pack.id) {
            put.bytes += u64::try_from(pack.bytes.len()).unwrap_or(0);
            put.plain_bytes +=
                pack.entries.iter().map(|it| u64::from(it.plain_size())).sum::<u64>();
        }
        Ok(())
    }

    async fn locate_batch(&self, ids: &[BlobId]) -> Result<Vec<Option<BlobLocation>>, VaultError> {
        let doing = "ask where data is in the repository";
        let request =
            wire::LocateBlobsRequest { run_id: self.run.to_string(), blob_ids: joined(ids) };
        let answer = self
            .patiently(doing, || {
                let (mut client, request) = (self.client.clone(), request.clone());
                async move { client.locate_blobs(request).await }
            })
            .await?;
        let locations = answer.into_inner().locations;
        if locations.len() != ids.len() {
            return Err(self.nonsense(doing, &"it answered about another number of blobs"));
        }
        let located = locations.into_iter().map(from_wire).collect::<Result<_, _>>();
        located.map_err(|why| self.nonsense(doing, &why))
    }

    async fn read(&self, pack: PackId, range: Range<u64>) -> Result<Bytes, VaultError> {
        let doing = "read a part of a pack";
        let length_bytes = range.end.saturating_sub(range.start);
        let request = wire::ReadPackRequest {
            run_id: self.run.to_string(),
            pack_id: Bytes::copy_from_slice(pack.as_bytes()),
            offset_bytes: range.start,
            length_bytes,
        };
        let length = usize::try_from(length_bytes).unwrap_or(usize::MAX);
        let bytes = self
            .patiently(doing, || {
                let (mut client, request) = (self.client.clone(), request.clone());
                async move {
                    let mut parts = client.read_pack(request).await?.into_inner();
                    let mut all = BytesMut::with_capacity(length);
                    while let Some(part) = parts.message().await? {
                        all.extend_from_slice(&part.chunk);
                    }
                    Ok(all.freeze())
                }
            })
            .await?;
        self.read.fetch_add(length_bytes, Ordering::Relaxed);
        if bytes.len() != length {
            return Err(self.nonsense(doing, &format!("{} bytes, not {length}", bytes.len())));
        }
        Ok(bytes)
    }
}

#[async_trait]
impl PackSink for Vault {
    async fn known(&self, ids: &[BlobId]) -> Result<Vec<bool>, SinkError> {
        let mut known = Vec::with_capacity(ids.len());
        for batch in ids.chunks(IDS) {
            let answer = self.known_batch(batch).await;
            known.extend(answer.map_err(|error| SinkError::new("ask the controller", error))?);
        }
        Ok(known)
    }

    async fn put_pack(&self, pack: SealedPack) -> Result<(), SinkError> {
        self.put_one(&pack)
            .await
            .map_err(|error| SinkError::new("give a pack to the controller", error))
    }
}

#[async_trait]
impl PackSource for Vault {
    async fn locate(&self, ids: &[BlobId]) -> Result<Vec<Option<BlobLocation>>, SourceError> {
        let mut located = Vec::with_capacity(ids.len());
        for batch in ids.chunks(IDS) {
            let answer = self.locate_batch(batch).await;
            located.extend(answer.map_err(|error| SourceError::new("ask the controller", error))?);
        }
        Ok(located)
    }

    async fn read_pack(&self, pack: PackId, range: Range<u64>) -> Result<Bytes, SourceError> {
        let read = self.read(pack, range).await;
        read.map_err(|error| SourceError::new("ask the controller for a pack", error))
    }
}

/// What a run writes to, for the repository's writer.
pub fn sink(vault: &Vault) -> Arc<dyn PackSink> {
    Arc::new(vault.clone())
}

/// What a run reads from, for the repository's reader.
pub fn source(vault: &Vault) -> Arc<dyn PackSource> {
    Arc::new(vault.clone())
}

fn joined(ids: &[BlobId]) -> Bytes {
    ids.iter().flat_map(|it| *it.as_bytes()).collect::<Vec<u8>>().into()
}

fn to_wire(entry: &lazarette_repo::pack::PackEntry) -> wire::PackEntry {
    wire::PackEntry {
        blob_id: Bytes::copy_from_slice(entry.id.as_bytes()),
        tree: entry.kind == BlobKind::Tree,
        offset_bytes: entry.offset,
        length_bytes: entry.length,
        plain_bytes: entry.uncompressed,
    }
}

fn from_wire(location: wire::BlobLocation) -> Result<Option<BlobLocation>, String> {
    if location.pack_id.is_empty() {
        return Ok(None);
    }
    let pack = PackId::try_from(&location.pack_id[..]).map_err(|error| error.to_string())?;
    let entry = location.entry.ok_or_else(|| "a location without its entry".to_owned())?;
    Ok(Some(BlobLocation {
        pack,
        kind: if entry.tree { BlobKind::Tree } else { BlobKind::Data },
        offset: entry.offset_bytes,
        length: entry.length_bytes,
        uncompressed: entry.plain_bytes,
    }))
}
