//! Forge: packs, directories and reports made with the key of a run, true ones and others.

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use bytes::Bytes;
use futures::StreamExt as _;
use jiff::Timestamp;
use lazarette_core::component::{Component, ComponentKind};
use lazarette_core::evidence::Evidence;
use lazarette_core::manifest::{FORMAT, MANIFEST_PATH, Manifest, SavedComponent};
use lazarette_core::units::ByteCount;
use lazarette_proto::common::v1::Totals;
use lazarette_proto::storage::v1::storage_service_client::StorageServiceClient;
use lazarette_proto::storage::v1::{
    CommitSnapshotRequest, KnownBlobsRequest, LocateBlobsRequest, PackEntry as WireEntry, PackHead,
    PutPackRequest, ReadPackRequest, ReportPackRequest, put_pack_request::Part,
};
use lazarette_repo::crypto::{Cipher, MasterKey};
use lazarette_repo::id::{BlobId, PackId};
use lazarette_repo::pack::{BlobKind, PackEntry, SealedPack};
use lazarette_repo::sink::{PackSink, SinkError};
use lazarette_repo::tree::{Node, NodeKind, Tree};
use lazarette_repo::writer::{StreamOptions, Writer, WriterOptions};
use tokio::runtime::Handle;
use tonic::Status;
use tonic::transport::Channel;

use super::Granted;

/// What messages may be that no service of the controller should take.
const HUGE: usize = 1 << 30;

/// Makes and sends what belongs to one run.
#[derive(Clone, Debug)]
pub struct Forge {
    granted: Granted,
    channel: Channel,
}

/// A backup that was made and not sent.
#[derive(Clone, Debug)]
pub struct Forged {
    /// Its packs.
    pub packs: Vec<SealedPack>,
    /// Its root directory.
    pub tree: BlobId,
}

/// Keeps packs instead of sending them.
#[derive(Debug, Default)]
struct Kept(Mutex<Vec<SealedPack>>);

#[async_trait::async_trait]
impl PackSink for Kept {
    async fn known(&self, ids: &[BlobId]) -> Result<Vec<bool>, SinkError> {
        Ok(vec![false; ids.len()])
    }

    async fn put_pack(&self, pack: SealedPack) -> Result<(), SinkError> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(pack);
        Ok(())
    }
}

impl Forge {
    /// For what `granted` allows, over `channel`.
    pub const fn new(granted: Granted, channel: Channel) -> Self {
        Self { granted, channel }
    }

    /// What was granted.
    pub const fn granted(&self) -> &Granted {
        &self.granted
    }

    /// Over which it sends.
    pub fn channel(&self) -> Channel {
        self.channel.clone()
    }

    /// The run's id, as calls name it.
    pub fn run(&self) -> String {
        self.granted.run.to_string()
    }

    /// A client without limits of its own.
    pub fn client(&self) -> StorageServiceClient<Channel> {
        StorageServiceClient::new(self.channel.clone())
            .max_encoding_message_size(HUGE)
            .max_decoding_message_size(HUGE)
    }

    /// The manifest that an agent of ours would write.
    ///
    /// # Errors
    ///
    /// Never in practice.
    pub fn manifest(&self) -> Result<Manifest> {
        let kind = ComponentKind::Volume { volume: "loot_data".to_owned(), mounted_by: Vec::new() };
        Ok(Manifest {
            format: FORMAT,
            stack: self.granted.stack,
            stack_name: super::Script::STACK.parse()?,
            host_name: self.granted.host.clone(),
            run: self.granted.run,
            agent_version: "0.1.0".to_owned(),
            held: None,
            components: vec![SavedComponent {
                component: Component { name: "volume/loot_data".parse()?, kind },
                path: "volume/loot_data".to_owned(),
                bytes: ByteCount(0),
                evidence: Evidence::default(),
            }],
            uncovered: Vec::new(),
            warnings: Vec::new(),
        })
    }

    /// A backup with `manifest` and one file of `content`.
    ///
    /// # Errors
    ///
    /// When it cannot be made.
    pub async fn backup(&self, manifest: &Manifest, content: &[u8]) -> Result<Forged> {
        let manifest = serde_json::to_vec(manifest)?;
        self.tree_of(&[(MANIFEST_PATH, &manifest), ("loot", content)]).await
    }

    /// A backup with these files and nothing else.
    ///
    /// # Errors
    ///
    /// When it cannot be made.
    pub async fn tree_of(&self, files: &[(&str, &[u8])]) -> Result<Forged> {
        let kept = Arc::new(Kept::default());
        let options =
            WriterOptions { workers: 1, uploads: 1, pack_size: 1 << 20, level: 1, verify: false };
        let writer = Writer::start(&self.granted.key, kept.clone(), Handle::current(), options)?;
        let mut nodes = Vec::new();
        for (name, content) in files {
            let content = writer.write(*content, StreamOptions::default()).await?;
            let mut node = Node::new(name.as_bytes(), NodeKind::File, Timestamp::UNIX_EPOCH);
            node.size = content.size();
            node.content = Some(content.into_blobs());
            nodes.push(node);
        }
        let tree = writer.save_tree(&Tree::new(nodes)?).await?;
        writer.finish().await?;
        let packs = std::mem::take(&mut *kept.0.lock().unwrap_or_else(PoisonError::into_inner));
        Ok(Forged { packs, tree })
    }

    /// Puts a pack as an agent of ours would.
    ///
    /// # Errors
    ///
    /// What the controller says.
    pub async fn put(&self, pack: &SealedPack) -> Result<(), Status> {
        self.put_parts(parts(&self.run(), pack)).await
    }

    /// Sends these parts as one pack.
    ///
    /// # Errors
    ///
    /// What the controller says.
    pub async fn put_parts(&self, parts: Vec<Part>) -> Result<(), Status> {
        let messages = parts.into_iter().map(|part| PutPackRequest { part: Some(part) });
        self.client().put_pack(futures::stream::iter(messages)).await.map(drop)
    }

    /// Begins a pack of `size` bytes, sends all of it but the last byte, and never ends.
    ///
    /// # Errors
    ///
    /// What the controller says, if it says anything.
    pub async fn put_and_stall(&self, size: u64) -> Result<(), Status> {
        let pack_id = bytes_of(&PackId::of(b"stalled"));
        let head = PackHead { run_id: self.run(), pack_id, size_bytes: size };
        let chunk = Bytes::from(vec![0; 1 << 20]);
        let chunks = usize::try_from(size >> 20).unwrap_or_default().saturating_sub(1);
        let chunks = std::iter::repeat_n(Part::Chunk(chunk), chunks);
        let parts = std::iter::once(Part::Head(head)).chain(chunks);
        let messages = futures::stream::iter(parts.map(|part| PutPackRequest { part: Some(part) }));
        let endless = messages.chain(futures::stream::pending());
        self.client().put_pack(endless).await.map(drop)
    }

    /// Reports a pack as an agent of ours would.
    ///
    /// # Errors
    ///
    /// What the controller says.
    pub async fn report(&self, pack: &SealedPack) -> Result<(), Status> {
        self.report_as(pack.id, &pack.entries).await
    }

    /// Reports that pack `id` holds `entries`.
    ///
    /// # Errors
    ///
    /// What the controller says.
    pub async fn report_as(&self, id: PackId, entries: &[PackEntry]) -> Result<(), Status> {
        let entries = entries.iter().map(wire_entry).collect();
        let request = ReportPackRequest { run_id: self.run(), pack_id: bytes_of(&id), entries };
        self.client().report_pack(request).await.map(drop)
    }

    /// Puts and reports every pack, and commits.
    ///
    /// # Errors
    ///
    /// What the controller says to the first of these calls that it refuses.
    pub async fn send(&self, forged: &Forged) -> Result<String, Status> {
        for pack in &forged.packs {
            self.put(pack).await?;
            self.report(pack).await?;
        }
        self.commit(self.commit_of(forged)).await
    }

    /// The request with which an agent of ours would commit it.
    pub fn commit_of(&self, forged: &Forged) -> CommitSnapshotRequest {
        let packs: Vec<u8> = forged.packs.iter().flat_map(|pack| *pack.id.as_bytes()).collect();
        let totals = Totals { item_count: 1, ..Totals::default() };
        CommitSnapshotRequest {
            run_id: self.run(),
            tree: Bytes::copy_from_slice(forged.tree.as_bytes()),
            pack_ids: packs.into(),
            totals: Some(totals),
        }
    }

    /// Asks for a snapshot; its id.
    ///
    /// # Errors
    ///
    /// What the controller says.
    pub async fn commit(&self, request: CommitSnapshotRequest) -> Result<String, Status> {
        Ok(self.client().commit_snapshot(request).await?.into_inner().snapshot_id)
    }

    /// Asks which of these bytes, taken as ids, are known.
    ///
    /// # Errors
    ///
    /// What the controller says.
    pub async fn known(&self, blob_ids: Vec<u8>) -> Result<Vec<u8>, Status> {
        let request = KnownBlobsRequest { run_id: self.run(), blob_ids: blob_ids.into() };
        Ok(self.client().known_blobs(request).await?.into_inner().known.to_vec())
    }

    /// Asks where these bytes, taken as ids, are.
    ///
    /// # Errors
    ///
    /// What the controller says.
    pub async fn locate(&self, blob_ids: Vec<u8>) -> Result<(), Status> {
        let request = LocateBlobsRequest { run_id: self.run(), blob_ids: blob_ids.into() };
        self.client().locate_blobs(request).await.map(drop)
    }

    /// Reads a part of a pack.
    ///
    /// # Errors
    ///
    /// What the controller says, at once or in the middle.
    pub async fn read(&self, pack: PackId, offset: u64, length: u64) -> Result<Vec<u8>, Status> {
        let request = ReadPackRequest {
            run_id: self.run(),
            pack_id: bytes_of(&pack),
            offset_bytes: offset,
            length_bytes: length,
        };
        let mut chunks = self.client().read_pack(request).await?.into_inner();
        let mut content = Vec::new();
        while let Some(chunk) = chunks.message().await? {
            content.extend_from_slice(&chunk.chunk);
        }
        Ok(content)
    }
}

/// The parts in which a pack is sent.
pub fn parts(run: &str, pack: &SealedPack) -> Vec<Part> {
    let size = u64::try_from(pack.bytes.len()).unwrap_or(u64::MAX);
    let head = PackHead { run_id: run.to_owned(), pack_id: bytes_of(&pack.id), size_bytes: size };
    let chunks = pack.bytes.chunks(512 << 10).map(|chunk| Part::Chunk(pack.bytes.slice_ref(chunk)));
    std::iter::once(Part::Head(head)).chain(chunks).collect()
}

/// A pack sealed with `key` whose header says that `content` is `blob`, whatever it is.
///
/// # Errors
///
/// Never in practice.
pub fn pack_that_lies(key: &MasterKey, blob: BlobId, content: &[u8]) -> Result<SealedPack> {
    let cipher = Cipher::new(key);
    let mut bytes = cipher.seal(content)?;
    let length = u32::try_from(bytes.len())?;
    let entry = PackEntry { id: blob, kind: BlobKind::Data, offset: 0, length, uncompressed: None };
    let mut header = vec![0];
    header.extend_from_slice(&length.to_le_bytes());
    header.extend_from_slice(blob.as_bytes());
    let header = cipher.seal(&header)?;
    bytes.extend_from_slice(&header);
    bytes.extend_from_slice(&u32::try_from(header.len())?.to_le_bytes());
    let bytes = Bytes::from(bytes);
    Ok(SealedPack { id: PackId::of(&bytes), bytes, entries: vec![entry] })
}

/// These bytes as a pack of one blob that is none.
pub fn pack_of(bytes: impl Into<Bytes>) -> SealedPack {
    let bytes = bytes.into();
    SealedPack { id: PackId::of(&bytes), bytes, entries: Vec::new() }
}

fn bytes_of(id: &PackId) -> Bytes {
    Bytes::copy_from_slice(id.as_bytes())
}

fn wire_entry(entry: &PackEntry) -> WireEntry {
    WireEntry {
        blob_id: Bytes::copy_from_slice(entry.id.as_bytes()),
        tree: entry.kind == BlobKind::Tree,
        offset_bytes: entry.offset,
        length_bytes: entry.length,
        plain_bytes: entry.uncompressed,
    }
}
