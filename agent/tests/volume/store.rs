//! Store: packs in memory, and everything that a test needs to save and restore with them.

use std::{
    collections::HashMap,
    io::Write as _,
    ops::Range,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use async_trait::async_trait;
use bytes::Bytes;
use lazarette_agent::volume::{
    Extent, SavedTree, VolumeError, Volumes,
    exchange::{Exchange, Way},
    root::Root,
    worker::{Call, Listener, Seams, Workers},
};
use lazarette_core::{evidence::Evidence, id::RunId, units::ByteCount};
use lazarette_repo::{
    crypto::MasterKey,
    id::{BlobId, PackId},
    index::BlobLocation,
    pack::SealedPack,
    sink::{PackSink, SinkError},
    source::{PackSource, SourceError},
    tree::Node,
};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

/// Whether this test can run: only root makes devices, owners and trusted attributes.
pub(crate) fn is_root(test: &str) -> bool {
    let is_root = rustix::process::geteuid().is_root();
    if !is_root {
        let said = writeln!(std::io::stderr(), "SKIPPED {test}: needs root");
        drop(said);
    }
    is_root
}

/// Packs in memory.
#[derive(Debug, Default)]
pub(crate) struct Store {
    packs: Mutex<HashMap<PackId, Bytes>>,
    index: Mutex<HashMap<BlobId, BlobLocation>>,
    /// How many packs were put.
    pub(crate) puts: AtomicU64,
    /// Taken away by each pack; at zero the sink refuses.
    pub(crate) room: Mutex<Option<u64>>,
    /// Cancelled by the first pack.
    pub(crate) on_pack: Mutex<Option<CancellationToken>>,
}

#[async_trait]
impl PackSink for Store {
    async fn known(&self, ids: &[BlobId]) -> Result<Vec<bool>, SinkError> {
        let index = self.index.lock().unwrap();
        Ok(ids.iter().map(|id| index.contains_key(id)).collect())
    }

    async fn put_pack(&self, pack: SealedPack) -> Result<(), SinkError> {
        self.puts.fetch_add(1, Ordering::Relaxed);
        if let Some(cancel) = &*self.on_pack.lock().unwrap() {
            cancel.cancel();
        }
        if let Some(room) = &mut *self.room.lock().unwrap() {
            let left = room.checked_sub(1);
            *room = left.ok_or_else(|| SinkError::plain("store a pack: the store is full"))?;
        }
        let mut index = self.index.lock().unwrap();
        for entry in &pack.entries {
            index.entry(entry.id).or_insert(BlobLocation::new(pack.id, entry));
        }
        self.packs.lock().unwrap().insert(pack.id, pack.bytes);
        Ok(())
    }
}

#[async_trait]
impl PackSource for Store {
    async fn locate(&self, ids: &[BlobId]) -> Result<Vec<Option<BlobLocation>>, SourceError> {
        let index = self.index.lock().unwrap();
        Ok(ids.iter().map(|id| index.get(id).copied()).collect())
    }

    async fn read_pack(&self, pack: PackId, range: Range<u64>) -> Result<Bytes, SourceError> {
        let packs = self.packs.lock().unwrap();
        let pack = packs.get(&pack).ok_or_else(|| SourceError::plain("find a pack"))?;
        let range = usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap();
        Ok(pack.slice(range))
    }
}

impl Store {
    /// Changes one byte of every pack.
    pub(crate) fn damage(&self) {
        for pack in self.packs.lock().unwrap().values_mut() {
            let mut bytes = pack.to_vec();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            *pack = bytes.into();
        }
    }
}

/// What a child said.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    pub(crate) notes: Mutex<Vec<String>>,
    pub(crate) bytes: AtomicU64,
}

impl Listener for Heard {
    fn note(&self, text: String) {
        self.notes.lock().unwrap().push(text);
    }

    fn progress(&self, bytes: ByteCount) {
        self.bytes.fetch_add(bytes.0, Ordering::Relaxed);
    }
}

/// A place to work in, packs, and a key.
#[derive(Debug)]
pub(crate) struct Bench {
    dir: TempDir,
    pub(crate) store: Arc<Store>,
    pub(crate) key: MasterKey,
    pub(crate) heard: Heard,
    pub(crate) cancel: CancellationToken,
    pub(crate) run: RunId,
}

impl Bench {
    /// In the usual place for temporary files, which is on ext4.
    pub(crate) fn new() -> Self {
        Self::on(Path::new("/var/tmp"))
    }

    /// On the file system of `outer`.
    pub(crate) fn on(outer: &Path) -> Self {
        let dir = tempfile::Builder::new().prefix("lazarette-volume-").tempdir_in(outer).unwrap();
        std::fs::create_dir(dir.path().join("data")).unwrap();
        Self {
            dir,
            store: Arc::default(),
            key: MasterKey::generate().unwrap(),
            heard: Heard::default(),
            cancel: CancellationToken::new(),
            run: RunId::new(),
        }
    }

    pub(crate) fn sink(&self) -> Arc<dyn PackSink> {
        Arc::<Store>::clone(&self.store)
    }

    pub(crate) fn source(&self) -> Arc<dyn PackSource> {
        Arc::<Store>::clone(&self.store)
    }

    /// The live directory.
    pub(crate) fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// The directory around it.
    pub(crate) fn outer(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn volumes(&self) -> Volumes {
        let workers = Workers::running(env!("CARGO_BIN_EXE_lazarette-agent"));
        Volumes::new(workers, self.dir.path().join("caches"))
    }

    pub(crate) fn call<'a>(&'a self, seams: &'a Seams) -> Call<'a> {
        Call { seams, listener: &self.heard, cancel: &self.cancel }
    }

    pub(crate) async fn save(&self) -> Result<SavedTree, VolumeError> {
        let root = Root::named(&self.data())?;
        let seams = Seams::storing(self.sink());
        self.volumes().save(&root, &[], &self.key, self.call(&seams)).await
    }

    pub(crate) async fn restore_to(
        &self,
        path: &Path,
        (node, extent): (Node, Extent),
    ) -> Result<(), VolumeError> {
        let root = Root::named(path)?;
        let seams = Seams::reading(self.source());
        self.volumes().restore(&root, (node, extent), &self.key, self.call(&seams)).await
    }

    pub(crate) async fn verify(&self, path: &Path) -> Result<Evidence, VolumeError> {
        let root = Root::named(path)?;
        self.volumes().verify(&root, self.call(&Seams::none())).await
    }

    pub(crate) fn exchange(&self, way: Way) -> Exchange {
        Exchange::of(&self.data(), way, self.run).unwrap()
    }

    /// Restores beside, compares the evidence, and says where it is.
    pub(crate) async fn restore_beside(&self, saved: &SavedTree, way: Way) -> PathBuf {
        let new = self.exchange(way).prepare().unwrap();
        self.restore_to(&new, (saved.root.clone(), saved.extent)).await.unwrap();
        let found = self.verify(&new).await.unwrap();
        assert_eq!(saved.evidence.differences(&found), []);
        new
    }

    pub(crate) fn notes(&self) -> Vec<String> {
        self.heard.notes.lock().unwrap().clone()
    }
}
