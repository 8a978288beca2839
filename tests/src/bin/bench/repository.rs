//! Repository: our writer and reader in one process, beside restic.

pub(crate) mod tree;

use std::collections::BTreeSet;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context as _, ensure};
use jiff::Timestamp;
use lazarette_repo::id::{BlobId, PackId};
use lazarette_repo::key::{Hardness, KeyOwner};
use lazarette_repo::lock::{Holder, Lock, LockMode};
use lazarette_repo::reader::{Reader, ReaderOptions};
use lazarette_repo::repository::Repository;
use lazarette_repo::session::{CommitRequest, Session};
use lazarette_repo::storage::fs::FsStorage;
use lazarette_repo::tree::{Node, NodeKind, Tree};
use lazarette_repo::writer::{StreamOptions, Writer, WriterOptions};
use tokio::runtime::{Handle, Runtime};

use crate::data;
use crate::peer::Restic;
use crate::rows::{Pair, Rows};

const PASSPHRASE: &str = "bench";

/// Measures a dump stored for the first time, stored with one per cent changed, and restored to a
/// file. Each run takes both sides in turn, into fresh repositories.
pub(crate) fn dump(
    restic: &Restic,
    scratch: &Path,
    (size, runs): (u64, usize),
    rows: &mut Rows,
) -> anyhow::Result<()> {
    let (first, second) = (scratch.join("dump"), scratch.join("dump-changed"));
    data::dumps(size, &first, &second)?;
    let bytes = first.metadata()?.len();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let (mut stored, mut changed, mut restored): (Pair, Pair, Pair) = Default::default();
    for _ in 0..runs {
        let (ours, theirs) = (scratch.join("ours"), scratch.join("theirs"));
        let target = scratch.join("restored");
        settle();
        restic.init(&theirs)?;
        stored.1.push(restic.store(&theirs, &first)?);
        settle();
        stored.0.push(store(&runtime, &ours, &first, "first")?);
        settle();
        changed.1.push(restic.store(&theirs, &second)?);
        settle();
        changed.0.push(store(&runtime, &ours, &second, "second")?);
        settle();
        restored.1.push(restic.restore(&theirs, &target)?);
        same(&second, &target)?;
        std::fs::remove_file(&target)?;
        settle();
        restored.0.push(restore(&runtime, &ours, &target)?);
        same(&second, &target)?;
        for path in [&ours, &theirs] {
            std::fs::remove_dir_all(path)?;
        }
        std::fs::remove_file(&target)?;
    }
    for (name, pair) in [("first", &stored), ("changed", &changed), ("restore", &restored)] {
        let name = format!("repository/dump/{name}");
        rows.add(&name, &restic.name, bytes, pair);
    }
    std::fs::remove_file(first)?;
    std::fs::remove_file(second)?;
    Ok(())
}

/// Lets the disk come to rest, so that nobody pays for another's writes.
fn settle() {
    rustix::fs::sync();
}

/// Opens or makes the repository, writes one run and commits it: what `restic backup` does.
fn store(runtime: &Runtime, root: &Path, source: &Path, run: &str) -> anyhow::Result<f64> {
    let is_new = !root.exists();
    if is_new {
        runtime.block_on(create(root))?;
    }
    let begin = Instant::now();
    runtime.block_on(backup(root, source, run))?;
    Ok(begin.elapsed().as_secs_f64())
}

async fn create(root: &Path) -> anyhow::Result<()> {
    let owner = KeyOwner { username: "bench".to_owned(), hostname: "bench".to_owned() };
    let storage = Arc::new(FsStorage::create(root)?);
    let passphrases = [(owner, PASSPHRASE.into())];
    Repository::create(storage, &passphrases, Hardness::DEFAULT, Timestamp::UNIX_EPOCH).await?;
    Ok(())
}

async fn open(root: &Path) -> anyhow::Result<Arc<Repository>> {
    Ok(Repository::open(Arc::new(FsStorage::open(root)?), &PASSPHRASE.into()).await?)
}

async fn backup(root: &Path, source: &Path, run: &str) -> anyhow::Result<()> {
    let session = begin(root).await?;
    let options = WriterOptions::default();
    let key = session.repository().master_key();
    let writer = Arc::new(Writer::start(key, session.clone(), Handle::current(), options)?);
    let content = tokio::task::spawn_blocking({
        let (writer, source) = (Arc::clone(&writer), File::open(source)?);
        move || writer.write_blocking(source, StreamOptions::default())
    });
    let content = content.await??;
    let mut node = Node::new(b"dump", NodeKind::File, Timestamp::UNIX_EPOCH);
    node.size = content.size();
    node.content = Some(content.into_blobs());
    let tree = writer.save_tree(&Tree::new(vec![node])?).await?;
    let writer = Arc::into_inner(writer).context("the writer is ours alone")?;
    let written = writer.finish().await?;
    commit(session, run, tree, written.packs.into_iter().collect()).await
}

/// Opens the repository, locks it, and begins to write.
async fn begin(root: &Path) -> anyhow::Result<Arc<Session>> {
    let repository = open(root).await?;
    let pid = std::process::id();
    let holder = Holder { hostname: "bench".to_owned(), username: "bench".to_owned(), pid };
    let now = Timestamp::UNIX_EPOCH;
    let lock = Lock::acquire(&repository, LockMode::Shared, &holder, now).await?;
    Ok(Session::begin(&repository, lock).await?)
}

/// Makes the snapshot exist, and gives the lock back. Runs are called `first` and otherwise.
async fn commit(
    session: Arc<Session>,
    run: &str,
    tree: BlobId,
    packs: BTreeSet<PackId>,
) -> anyhow::Result<()> {
    let request = CommitRequest {
        run: run.to_owned(),
        tree,
        paths: vec!["/dump".to_owned()],
        hostname: "bench".to_owned(),
        username: "bench".to_owned(),
        tags: Vec::new(),
        time: Timestamp::UNIX_EPOCH
            + jiff::SignedDuration::from_secs(if run == "first" { 1 } else { 2 }),
        parent: None,
        program_version: "lazarette bench".to_owned(),
        packs: packs.into_iter().collect(),
        summary: None,
    };
    session.commit(request).await?;
    session.end().await?;
    Ok(())
}

/// Opens the repository and writes the newest dump to `target`: what `restic dump` does.
fn restore(runtime: &Runtime, root: &Path, target: &Path) -> anyhow::Result<f64> {
    let begin = Instant::now();
    let (reader, content) = runtime.block_on(async {
        let repository = open(root).await?;
        let snapshot = repository.find_snapshot("latest").await?;
        let options = ReaderOptions::default();
        let source = Arc::clone(&repository);
        let reader = Reader::new(repository.master_key(), source, Handle::current(), options);
        let node = reader.find(snapshot.snapshot.tree, b"dump").await?;
        let content = node.and_then(|node| node.content).context("the snapshot has a dump")?;
        anyhow::Ok((reader, content))
    })?;
    reader.read_blocking(&content, &mut File::create(target)?)?;
    Ok(begin.elapsed().as_secs_f64())
}

fn same(one: &Path, other: &Path) -> anyhow::Result<()> {
    let status = std::process::Command::new("cmp").arg("--silent").args([one, other]).status()?;
    ensure!(status.success(), "{} was restored with other content", one.display());
    Ok(())
}
