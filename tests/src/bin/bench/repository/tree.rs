//! Tree: a directory of many files, walked, stored and written back by the agent's own child
//! process, into and from a repository of this process.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use anyhow::Context as _;
use async_trait::async_trait;
use lazarette_agent::volume::root::Root;
use lazarette_agent::volume::worker::{Call, Listener, Seams, Workers};
use lazarette_agent::volume::{Extent, SavedTree, Volumes};
use lazarette_core::units::ByteCount;
use lazarette_repo::id::{BlobId, PackId};
use lazarette_repo::pack::SealedPack;
use lazarette_repo::session::Session;
use lazarette_repo::sink::{PackSink, SinkError};
use lazarette_repo::source::PackSource;
use lazarette_tests::program;
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

use super::{begin, commit, create, open, settle};
use crate::data::tree::Shape;
use crate::peer::{Restic, Restored};
use crate::rows::{Pair, Rows};
use crate::same_trees;

/// Measures a tree stored for the first time, stored a day later, and restored into an empty
/// directory. Each run takes both sides in turn, into fresh repositories.
pub(crate) fn measure(
    restic: &Restic,
    scratch: &Path,
    (shape, runs): (Shape, usize),
    rows: &mut Rows,
) -> anyhow::Result<()> {
    let source = scratch.join("tree");
    let bytes = shape.make(&source)?;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let (mut stored, mut changed, mut restored): (Pair, Pair, Pair) = Default::default();
    for day in 1..=u64::try_from(runs)? {
        let theirs = scratch.join("theirs");
        let ours = Ours::new(&runtime, scratch)?;
        restic.init(&theirs)?;
        settle();
        stored.1.push(restic.store_tree(&theirs, &source)?);
        settle();
        stored.0.push(ours.store(&source, "first")?.0);
        shape.change(&source, day)?;
        settle();
        changed.1.push(restic.store_tree(&theirs, &source)?);
        settle();
        let (seconds, saved) = ours.store(&source, "second")?;
        changed.0.push(seconds);
        let (one, other) = (scratch.join("restored-theirs"), scratch.join("restored-ours/data"));
        settle();
        restored.1.push(restic.restore_tree(&theirs, &one, Restored::Written)?);
        same_trees(&source, &one)?;
        std::fs::remove_dir_all(&one)?;
        settle();
        restored.0.push(ours.restore(&saved, &other)?);
        same_trees(&source, &other)?;
        for path in [&theirs, &ours.root, &ours.caches, &scratch.join("restored-ours")] {
            std::fs::remove_dir_all(path)?;
        }
    }
    for (name, pair) in [("first", &stored), ("changed", &changed), ("restore", &restored)] {
        rows.add(&format!("repository/tree/{name}"), &restic.name, bytes, pair);
    }
    std::fs::remove_dir_all(source)?;
    Ok(())
}

/// Our side: a repository, and what the agent remembers of unchanged files.
struct Ours<'a> {
    runtime: &'a Runtime,
    root: PathBuf,
    caches: PathBuf,
}

impl<'a> Ours<'a> {
    fn new(runtime: &'a Runtime, scratch: &Path) -> anyhow::Result<Self> {
        let (root, caches) = (scratch.join("ours"), scratch.join("caches"));
        runtime.block_on(create(&root))?;
        Ok(Self { runtime, root, caches })
    }

    fn volumes(&self) -> anyhow::Result<Volumes> {
        Ok(Volumes::new(Workers::running(program("lazarette-agent")?), &self.caches))
    }

    /// Opens the repository and stores `source`: what `restic backup` does.
    fn store(&self, source: &Path, run: &str) -> anyhow::Result<(f64, SavedTree)> {
        let begun = Instant::now();
        let saved = self.runtime.block_on(async {
            let session = begin(&self.root).await?;
            let sink = Arc::new(Noted { session: session.clone(), packs: Mutex::default() });
            let (seams, cancel) = (Seams::storing(sink.clone()), CancellationToken::new());
            let call = Call { seams: &seams, listener: &Deaf, cancel: &cancel };
            let key = session.repository().master_key();
            let saved = self.volumes()?.save(&Root::named(source)?, &[], key, call).await?;
            let tree = saved.root.subtree.context("the tree has a root")?;
            let packs = sink.packs.lock().unwrap_or_else(PoisonError::into_inner).clone();
            drop((seams, sink));
            commit(session, run, tree, packs).await?;
            anyhow::Ok(saved)
        })?;
        Ok((begun.elapsed().as_secs_f64(), saved))
    }

    /// Opens the repository and writes `saved` into `target`: what `restic restore` does.
    fn restore(&self, saved: &SavedTree, target: &Path) -> anyhow::Result<f64> {
        std::fs::create_dir_all(target)?;
        let begun = Instant::now();
        self.runtime.block_on(async {
            let repository = open(&self.root).await?;
            let source: Arc<dyn PackSource> = repository.clone();
            let (seams, cancel) = (Seams::reading(source), CancellationToken::new());
            let call = Call { seams: &seams, listener: &Deaf, cancel: &cancel };
            let what: (_, Extent) = (saved.root.clone(), saved.extent);
            let root = Root::named(target)?;
            self.volumes()?.restore(&root, what, repository.master_key(), call).await?;
            anyhow::Ok(())
        })?;
        Ok(begun.elapsed().as_secs_f64())
    }
}

/// A session that notes what it was given, as an agent does.
#[derive(Debug)]
struct Noted {
    session: Arc<Session>,
    packs: Mutex<BTreeSet<PackId>>,
}

#[async_trait]
impl PackSink for Noted {
    async fn known(&self, ids: &[BlobId]) -> Result<Vec<bool>, SinkError> {
        PackSink::known(&*self.session, ids).await
    }

    async fn put_pack(&self, pack: SealedPack) -> Result<(), SinkError> {
        let id = pack.id;
        PackSink::put_pack(&*self.session, pack).await?;
        self.packs.lock().unwrap_or_else(PoisonError::into_inner).insert(id);
        Ok(())
    }
}

/// Nobody listens.
struct Deaf;

impl Listener for Deaf {
    fn note(&self, _text: String) {}

    fn progress(&self, _bytes: ByteCount) {}
}
