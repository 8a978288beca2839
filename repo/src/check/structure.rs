//! Structure: keys, indexes, snapshots and locks are readable, packs have the size that they should,
//! and everything that a snapshot names is there.

use std::collections::{BTreeMap, HashMap, HashSet};

use lazarette_core::error::chain;

use crate::check::{Check, Problem};
use crate::config::Config;
use crate::crypto::OVERHEAD;
use crate::id::{BlobId, ObjectId, PackId};
use crate::index::IndexFile;
use crate::pack::{BlobKind, blob};
use crate::snapshot::Snapshot;
use crate::storage::{Kind, ObjectName, StorageError};
use crate::tree::Tree;
use crate::unpacked;

/// How many bytes of a pack its entry of a header takes, plain and compressed, and the rest of it.
const ENTRY: u64 = 37;
const COMPRESSED_ENTRY: u64 = 41;
const AROUND_HEADER: u64 = 32 + 4;

/// What a directory leads to.
type Refers = (Vec<BlobId>, Vec<BlobId>);

impl Check<'_> {
    /// Reads everything but the packs.
    pub(super) async fn small_objects(&mut self) -> Result<(), StorageError> {
        if let Err(error) = Config::read(self.storage, &self.cipher).await {
            self.problem(ObjectName::Config, chain(&error));
        }
        for object in self.storage.list(Kind::Key).await? {
            let name = ObjectName::Key(object.id);
            match self.storage.read(name).await {
                Ok(content) if ObjectId::of(&content) == object.id => {}
                Ok(_) => self.problem(name, "its content has another SHA-256: it is damaged"),
                Err(error) => self.problem(name, chain(&error)),
            }
        }
        for kind in [Kind::Index, Kind::Snapshot, Kind::Lock] {
            for object in self.storage.list(kind).await? {
                let name = ObjectName::of(kind, object.id);
                match unpacked::read(self.storage, &self.cipher, name).await {
                    Ok(json) => self.small_object(name, object.id, &json),
                    Err(error) => self.problem(name, chain(&error)),
                }
            }
        }
        self.report.snapshots = count(self.snapshots.len());
        self.report.blobs = count(self.index.len());
        Ok(())
    }

    fn small_object(&mut self, name: ObjectName, id: ObjectId, json: &[u8]) {
        let read = match name {
            ObjectName::Index(_) => {
                IndexFile::from_json(json).map(|file| self.index.insert_file(id, &file))
            }
            ObjectName::Snapshot(_) => serde_json::from_slice::<Snapshot>(json)
                .map(|snapshot| drop(self.snapshots.insert(id, snapshot))),
            ObjectName::Config | ObjectName::Key(_) | ObjectName::Pack(_) | ObjectName::Lock(_) => {
                Ok(())
            }
        };
        if let Err(error) = read {
            self.problem(name, chain(&error));
        }
    }

    /// Sees that every indexed pack is there and has its size.
    pub(super) async fn packs(&mut self) -> Result<(), StorageError> {
        let listed = self.storage.list(Kind::Pack).await?;
        let sizes: HashMap<_, _> =
            listed.iter().map(|pack| (PackId::new(*pack.id.as_bytes()), pack.size)).collect();
        // A blob that is in two packs is indexed in one of them: of the other no more than the
        // least size is known.
        let mut wanted: BTreeMap<PackId, u64> = BTreeMap::new();
        for (_, place) in self.index.blobs() {
            let entry = if place.uncompressed.is_some() { COMPRESSED_ENTRY } else { ENTRY };
            *wanted.entry(place.pack).or_insert(AROUND_HEADER) += u64::from(place.length) + entry;
        }
        self.report.packs = count(wanted.len());
        for (pack, wanted) in wanted {
            match sizes.get(&pack) {
                None => self.damaged_pack(pack, "it is missing"),
                Some(size) if *size < wanted => {
                    let what = format!("it has {size} bytes, but {wanted} are needed: it was cut");
                    self.damaged_pack(pack, what);
                }
                Some(_) => {}
            }
        }
        Ok(())
    }

    pub(super) fn damaged_pack(&mut self, pack: PackId, what: impl Into<String>) {
        self.damage.packs.entry(pack).or_default().push(what.into());
    }

    pub(super) fn damaged_blob(&mut self, blob: BlobId, object: ObjectName, what: String) {
        self.damage.blobs.entry(blob).or_default().push((object, what));
    }

    /// Follows every snapshot to its last blob, and turns damage into problems.
    pub(super) async fn trees(&mut self) {
        let mut refers: HashMap<BlobId, Refers> = HashMap::new();
        let snapshots = std::mem::take(&mut self.snapshots);
        for (id, snapshot) in &snapshots {
            self.follow(*id, snapshot.tree, &mut refers).await;
        }
        let mut by_age: Vec<_> = snapshots.iter().collect();
        by_age.sort_by_key(|(id, snapshot)| (snapshot.time, **id));
        let damage = std::mem::take(&mut self.damage);
        let mut problems = Vec::new();
        for (pack, whats) in damage.packs {
            let object = ObjectName::Pack(pack);
            problems.extend(whats.into_iter().map(|what| {
                (Problem { object, blob: None, what, snapshots: Vec::new() }, Some(pack))
            }));
        }
        for (blob, found) in damage.blobs {
            problems.extend(found.into_iter().map(|(object, what)| {
                (Problem { object, blob: Some(blob), what, snapshots: Vec::new() }, None)
            }));
        }
        if !problems.is_empty() {
            for (id, snapshot) in by_age {
                self.concern(*id, snapshot.tree, &refers, &mut problems);
            }
        }
        self.report.problems.extend(problems.into_iter().map(|(problem, _)| problem));
    }

    /// Reads the directories below `root` that no snapshot has led to before.
    async fn follow(
        &mut self,
        snapshot: ObjectId,
        root: BlobId,
        refers: &mut HashMap<BlobId, Refers>,
    ) {
        let mut todo = vec![root];
        while let Some(id) = todo.pop() {
            if refers.contains_key(&id) {
                continue;
            }
            let tree = self.tree(id).await;
            let (mut data, mut trees) = (Vec::new(), Vec::new());
            match tree {
                Ok(tree) => {
                    for node in tree.into_nodes() {
                        data.extend(node.content.into_iter().flatten());
                        trees.extend(node.subtree);
                    }
                }
                Err((object, what)) => {
                    let object = object.unwrap_or(ObjectName::Snapshot(snapshot));
                    self.damaged_blob(id, object, what);
                }
            }
            for blob in &data {
                let known = self.index.locate(blob).is_some_and(|it| it.kind == BlobKind::Data);
                if !known && !self.damage.blobs.contains_key(blob) {
                    let what = "a file needs it, but it is in no pack".to_owned();
                    self.damaged_blob(*blob, ObjectName::Snapshot(snapshot), what);
                }
            }
            todo.extend(trees.iter().copied());
            refers.insert(id, (data, trees));
        }
    }

    async fn tree(&self, id: BlobId) -> Result<Tree, (Option<ObjectName>, String)> {
        let place = self.index.locate(&id).filter(|place| place.kind == BlobKind::Tree);
        let place = place.ok_or((None, "a directory, but it is in no pack".to_owned()))?;
        let object = Some(ObjectName::Pack(place.pack));
        let start = u64::from(place.offset);
        let range = start..start + u64::from(place.length);
        let read = self.storage.read_range(ObjectName::Pack(place.pack), range).await;
        let mut sealed = read.map_err(|error| (object, chain(&error)))?.to_vec();
        let plain = blob::open(&self.cipher, &place.entry(id), &mut sealed)
            .map_err(|error| (object, chain(&error)))?;
        Tree::from_json(&plain).map_err(|error| (object, chain(&error)))
    }

    /// Adds the snapshot to every problem that it meets.
    fn concern(
        &self,
        id: ObjectId,
        root: BlobId,
        refers: &HashMap<BlobId, Refers>,
        problems: &mut [(Problem, Option<PackId>)],
    ) {
        let (mut todo, mut seen, mut packs) = (vec![root], HashSet::new(), HashSet::new());
        while let Some(blob) = todo.pop() {
            if !seen.insert(blob) {
                continue;
            }
            packs.extend(self.index.locate(&blob).map(|place| place.pack));
            if let Some((data, trees)) = refers.get(&blob) {
                todo.extend(data.iter().chain(trees).copied());
            }
        }
        for (problem, pack) in problems {
            let meets_blob = problem.blob.is_some_and(|blob| seen.contains(&blob));
            if meets_blob || pack.is_some_and(|pack| packs.contains(&pack)) {
                problem.snapshots.push(id);
            }
        }
    }
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

/// What sealing adds to a blob is part of its length; this is asserted where sizes are added up.
const _: () = assert!(OVERHEAD == 32, "the header is sealed with as much around it");
