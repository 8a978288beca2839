//! A `StorageService` in memory, and what a vault makes of its moods.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use futures::{Stream, StreamExt as _};
use lazarette_core::error::{Failure, Reason, ReasonedError as _};
use lazarette_node::{status, tasks::Tasks};
use lazarette_proto::storage::v1::{
    self as wire,
    put_pack_request::Part,
    storage_service_server::{StorageService, StorageServiceServer},
};
use lazarette_repo::hash::sha256;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{
    Request, Response, Status, Streaming,
    transport::{Channel, Endpoint, Server},
};

use super::*;

/// A pack, and where in it.
type InPack = (Vec<u8>, wire::PackEntry);

/// What a controller would keep.
#[derive(Debug, Default)]
pub(crate) struct Shelf {
    packs: Mutex<BTreeMap<Vec<u8>, Bytes>>,
    entries: Mutex<BTreeMap<Vec<u8>, InPack>>,
    commits: Mutex<BTreeMap<String, (BlobId, String)>>,
    away_for: AtomicU32,
    refuses: Mutex<Option<Failure>>,
}

/// A controller in memory.
#[derive(Clone, Debug)]
pub(crate) struct MemoryController {
    pub(crate) shelf: Arc<Shelf>,
    address: SocketAddr,
    _tasks: Tasks,
}

impl MemoryController {
    pub(crate) async fn start() -> Self {
        let shelf = Arc::new(Shelf::default());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let tasks = Tasks::new();
        let service = StorageServiceServer::from_arc(shelf.clone());
        tasks.spawn(tracing::Span::none(), |_| async move {
            let incoming = TcpListenerStream::new(listener);
            Server::builder().add_service(service).serve_with_incoming(incoming).await.unwrap();
        });
        Self { shelf, address, _tasks: tasks }
    }

    pub(crate) fn channel(&self) -> Channel {
        Endpoint::from_shared(format!("http://{}", self.address)).unwrap().connect_lazy()
    }
}

impl Shelf {
    /// The next calls find no controller.
    pub(crate) fn go_away_for(&self, calls: u32) {
        self.away_for.store(calls, Ordering::SeqCst);
    }

    /// Every call from now on is refused.
    pub(crate) fn refuse(&self, reason: Reason) {
        *self.refuses.lock().unwrap() = Some(Failure::new(reason, "the controller says no"));
    }

    /// The root trees of all snapshots.
    pub(crate) fn snapshots(&self) -> Vec<BlobId> {
        self.commits.lock().unwrap().values().map(|(tree, _)| *tree).collect()
    }

    fn mood(&self) -> Result<(), Status> {
        let left = self.away_for.load(Ordering::SeqCst);
        if left > 0 {
            self.away_for.store(left - 1, Ordering::SeqCst);
            return Err(Status::unavailable("going down"));
        }
        match &*self.refuses.lock().unwrap() {
            Some(failure) => Err(status::of_failure(failure)),
            None => Ok(()),
        }
    }
}

#[tonic::async_trait]
impl StorageService for Shelf {
    async fn known_blobs(
        &self,
        request: Request<wire::KnownBlobsRequest>,
    ) -> Result<Response<wire::KnownBlobsResponse>, Status> {
        self.mood()?;
        let entries = self.entries.lock().unwrap();
        let ids = request.into_inner().blob_ids;
        let known = ids.chunks(32).map(|id| u8::from(entries.contains_key(id)));
        Ok(Response::new(wire::KnownBlobsResponse { known: known.collect::<Vec<u8>>().into() }))
    }

    async fn put_pack(
        &self,
        request: Request<Streaming<wire::PutPackRequest>>,
    ) -> Result<Response<wire::PutPackResponse>, Status> {
        self.mood()?;
        let mut parts = request.into_inner();
        let Some(Part::Head(head)) = parts.message().await?.and_then(|it| it.part) else {
            return Err(Status::invalid_argument("no head"));
        };
        let mut all = BytesMut::new();
        while let Some(Part::Chunk(chunk)) = parts.message().await?.and_then(|it| it.part) {
            assert!(chunk.len() <= 1 << 20);
            all.extend_from_slice(&chunk);
        }
        assert_eq!(u64::try_from(all.len()).unwrap(), head.size_bytes);
        assert_eq!(sha256(&all)[..], head.pack_id[..]);
        self.packs.lock().unwrap().insert(head.pack_id.to_vec(), all.freeze());
        Ok(Response::new(wire::PutPackResponse {}))
    }

    async fn report_pack(
        &self,
        request: Request<wire::ReportPackRequest>,
    ) -> Result<Response<wire::ReportPackResponse>, Status> {
        self.mood()?;
        let report = request.into_inner();
        let mut entries = self.entries.lock().unwrap();
        for entry in report.entries {
            entries.insert(entry.blob_id.to_vec(), (report.pack_id.to_vec(), entry));
        }
        Ok(Response::new(wire::ReportPackResponse {}))
    }

    async fn commit_snapshot(
        &self,
        request: Request<wire::CommitSnapshotRequest>,
    ) -> Result<Response<wire::CommitSnapshotResponse>, Status> {
        self.mood()?;
        let request = request.into_inner();
        assert!(self.entries.lock().unwrap().contains_key(&request.tree.to_vec()));
        let tree = BlobId::try_from(&request.tree[..]).unwrap();
        let snapshot_id = hex::encode(sha256(request.run_id.as_bytes()));
        self.commits.lock().unwrap().insert(request.run_id, (tree, snapshot_id.clone()));
        Ok(Response::new(wire::CommitSnapshotResponse { snapshot_id }))
    }

    async fn locate_blobs(
        &self,
        request: Request<wire::LocateBlobsRequest>,
    ) -> Result<Response<wire::LocateBlobsResponse>, Status> {
        self.mood()?;
        let entries = self.entries.lock().unwrap();
        let locate = |id: &[u8]| match entries.get(id) {
            Some((pack, entry)) => {
                wire::BlobLocation { pack_id: pack.clone().into(), entry: Some(entry.clone()) }
            }
            None => wire::BlobLocation::default(),
        };
        let locations = request.into_inner().blob_ids.chunks(32).map(locate).collect();
        Ok(Response::new(wire::LocateBlobsResponse { locations }))
    }

    type ReadPackStream =
        Pin<Box<dyn Stream<Item = Result<wire::ReadPackResponse, Status>> + Send>>;

    async fn read_pack(
        &self,
        request: Request<wire::ReadPackRequest>,
    ) -> Result<Response<Self::ReadPackStream>, Status> {
        self.mood()?;
        let request = request.into_inner();
        let pack = self.packs.lock().unwrap()[&request.pack_id.to_vec()].clone();
        let from = usize::try_from(request.offset_bytes).unwrap();
        let length = usize::try_from(request.length_bytes).unwrap();
        let part = pack.slice(from..from + length);
        let chunks: Vec<Bytes> = part.chunks(1000).map(Bytes::copy_from_slice).collect();
        let parts = chunks.into_iter().map(|chunk| Ok(wire::ReadPackResponse { chunk }));
        Ok(Response::new(tokio_stream::iter(parts).boxed()))
    }
}

fn vault(controller: &MemoryController, patience: Duration) -> (Vault, CancellationToken) {
    let cancel = CancellationToken::new();
    (Vault::new(controller.channel(), RunId::new(), patience, cancel.clone()), cancel)
}

#[tokio::test]
async fn a_controller_that_goes_away_is_asked_again() {
    let controller = MemoryController::start().await;
    let (vault, _cancel) = vault(&controller, Duration::from_mins(1));
    controller.shelf.go_away_for(2);

    let known = vault.known(&[BlobId::of(b"x")]).await.unwrap();

    assert_eq!(known, [false]);
    assert_eq!(vault.refusal().failure(), None);
}

#[tokio::test]
async fn a_refusal_is_final_and_remembered_with_its_reason() {
    let controller = MemoryController::start().await;
    let (vault, _cancel) = vault(&controller, Duration::from_mins(1));
    controller.shelf.refuse(Reason::DiskFull);

    assert!(vault.known(&[BlobId::of(b"x")]).await.is_err());

    assert_eq!(vault.refusal().failure().unwrap().reason, Reason::DiskFull);
}

#[tokio::test]
async fn patience_ends_and_a_cancelled_run_does_not_wait_for_it() {
    let controller = MemoryController::start().await;
    controller.shelf.go_away_for(u32::MAX);
    let (tree, packs) = (BlobId::of(b"x"), BTreeSet::new());
    let commit = Commit { tree, packs, totals: Totals::default() };
    let (vault_in_a_hurry, _cancel) = vault(&controller, Duration::ZERO);
    let away = vault_in_a_hurry.commit(&commit).await.unwrap_err();
    assert!(matches!(away, VaultError::Away { .. }), "{away}");

    let (vault, cancel) = vault(&controller, Duration::from_hours(1));
    let waiting = vault.commit(&commit);
    cancel.cancel();
    assert_eq!(waiting.await.unwrap_err().reason(), Reason::Cancelled);
}
