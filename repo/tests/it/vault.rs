//! Vault: a repository for one test, and runs that write into it.

use std::sync::Arc;

use jiff::Timestamp;
use lazarette_repo::id::BlobId;
use lazarette_repo::key::{Hardness, KeyOwner};
use lazarette_repo::lock::{Holder, Lock, LockMode};
use lazarette_repo::reader::{Reader, ReaderOptions};
use lazarette_repo::repository::Repository;
use lazarette_repo::session::{CommitRequest, Session};
use lazarette_repo::sink::PackSink;
use lazarette_repo::snapshot::Identified;
use lazarette_repo::storage::Storage;
use lazarette_repo::storage::memory::MemoryStorage;
use lazarette_repo::tree::{Node, NodeKind, Tree};
use lazarette_repo::writer::{Content, StreamOptions, Writer, WriterOptions, Written};
use tokio::runtime::Handle;

pub(crate) const PASSPHRASE: &str = "controller passphrase";

pub(crate) fn now() -> Timestamp {
    "2026-02-03T04:05:06.789Z".parse().unwrap()
}

/// Small packs, so that a test has many.
pub(crate) fn options() -> WriterOptions {
    WriterOptions { workers: 2, uploads: 2, pack_size: 1 << 20, level: 1, verify: true }
}

pub(crate) async fn create(storage: Arc<dyn Storage>) -> Arc<Repository> {
    let owner = |name: &str| KeyOwner { username: name.to_owned(), hostname: "test".to_owned() };
    let passphrases = [
        (owner("controller"), PASSPHRASE.into()),
        (owner("recovery"), "recovery passphrase".into()),
    ];
    Repository::create(storage, &passphrases, Hardness::TEST, now()).await.unwrap()
}

pub(crate) async fn in_memory() -> (Arc<MemoryStorage>, Arc<Repository>) {
    let storage = Arc::new(MemoryStorage::new());
    let repository = create(storage.clone()).await;
    (storage, repository)
}

pub(crate) fn holder() -> Holder {
    Holder { hostname: "test".to_owned(), username: "lazarette".to_owned(), pid: 1 }
}

pub(crate) async fn session(repository: &Arc<Repository>) -> Arc<Session> {
    let lock = Lock::acquire(repository, LockMode::Shared, &holder(), now()).await.unwrap();
    Session::begin(repository, lock).await.unwrap()
}

pub(crate) fn writer(repository: &Repository, sink: Arc<dyn PackSink>) -> Writer {
    Writer::start(repository.master_key(), sink, Handle::current(), options()).unwrap()
}

pub(crate) fn reader(repository: &Arc<Repository>) -> Reader {
    let source = Arc::clone(repository);
    Reader::new(repository.master_key(), source, Handle::current(), ReaderOptions::default())
}

pub(crate) fn file(name: &str, content: Content) -> Node {
    let mut node = Node::new(name.as_bytes(), NodeKind::File, now());
    node.mode = 0o640;
    node.size = content.size();
    node.links = 1;
    node.content = Some(content.into_blobs());
    node
}

pub(crate) fn request(run: &str, tree: BlobId, written: &Written) -> CommitRequest {
    CommitRequest {
        run: run.to_owned(),
        tree,
        paths: vec!["/shop".to_owned()],
        hostname: "host".to_owned(),
        username: "lazarette".to_owned(),
        tags: vec!["test".to_owned()],
        time: now(),
        parent: None,
        program_version: "lazarette test".to_owned(),
        packs: written.packs.clone(),
        summary: None,
    }
}

/// Writes `contents` as files named by number, commits, and ends the session.
pub(crate) async fn backup(
    repository: &Arc<Repository>,
    run: &str,
    contents: &[&[u8]],
) -> (Identified, Written) {
    let session = session(repository).await;
    let writer = writer(repository, session.clone());
    let mut nodes = Vec::new();
    for (number, content) in contents.iter().enumerate() {
        let content = writer.write(*content, StreamOptions::default()).await.unwrap();
        nodes.push(file(&format!("file {number}"), content));
    }
    let tree = writer.save_tree(&Tree::new(nodes).unwrap()).await.unwrap();
    let written = writer.finish().await.unwrap();
    let snapshot = session.commit(request(run, tree, &written)).await.unwrap();
    session.end().await.unwrap();
    (snapshot, written)
}

/// Reads the files that [`backup`] wrote.
pub(crate) async fn restore(
    repository: &Arc<Repository>,
    snapshot: &Identified,
) -> Result<Vec<Vec<u8>>, lazarette_repo::reader::ReadError> {
    let reader = reader(repository);
    let tree = reader.tree(snapshot.snapshot.tree).await?;
    let mut nodes = tree.into_nodes();
    nodes.sort_by_key(|node| {
        let name = String::from_utf8(node.name.clone()).unwrap();
        name.strip_prefix("file ").unwrap().parse::<usize>().unwrap()
    });
    let mut contents = Vec::new();
    for node in nodes {
        let mut content = Vec::new();
        let size = reader.read(&node.content.unwrap(), &mut content).await?;
        assert_eq!(size, node.size);
        contents.push(content);
    }
    Ok(contents)
}

/// Bytes by chance: half of them compress well.
pub(crate) fn noise(size: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(size + 16);
    while bytes.len() < size {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        if seed.is_multiple_of(2) {
            bytes.extend_from_slice(&state.to_le_bytes());
        } else {
            bytes.extend_from_slice(format!("{:06} row of text\n", state % 1_000_000).as_bytes());
        }
    }
    bytes.truncate(size);
    bytes
}
