//! Maker: directories made of what comes in the order of a walk.

use std::{collections::HashMap, fs::File, io::BufWriter};

use lazarette_repo::{
    id::BlobId,
    tree::{Node, Xattr},
};

use super::{FileDone, SaveError, Saved, read};
use crate::volume::{
    cache::{CacheWriter, CachedFile},
    content::Content,
    inode::{FileTime, Inode},
    listing::Listing,
    walk::{FileFound, Step, shown},
};

/// A file that was changed so shortly before it was read may change again with the same time: some
/// file systems count in steps of two seconds.
const SETTLED_MILLIS: i64 = 2000;

/// Makes directories of what comes in the order of the walk.
pub(super) struct TreeMaker<'a> {
    content: &'a dyn Content,
    pub(super) note: &'a mut dyn FnMut(String),
    stack: Vec<(Node, Vec<Node>)>,
    /// Files with several names, by file system and number.
    names: HashMap<(u64, u64), FirstName>,
    listing: Listing,
    new_cache: Option<CacheWriter<BufWriter<File>>>,
    allocated: u64,
    unchanged: u64,
    done: Option<Node>,
}

#[derive(Clone, Debug)]
struct FirstName {
    inode: Inode,
    attributes: Vec<Xattr>,
    ids: Vec<BlobId>,
    size: u64,
    /// When it was read, for the cache; nothing when it must not be in there.
    began: Option<FileTime>,
}

impl<'a> TreeMaker<'a> {
    /// For what `content` takes; writes what was read to `new_cache`.
    pub(super) fn new(
        content: &'a dyn Content,
        note: &'a mut dyn FnMut(String),
        new_cache: Option<CacheWriter<BufWriter<File>>>,
    ) -> Self {
        Self {
            content,
            note,
            stack: Vec::new(),
            names: HashMap::new(),
            listing: Listing::default(),
            new_cache,
            allocated: 0,
            unchanged: 0,
            done: None,
        }
    }

    pub(super) fn step(&mut self, step: Step) -> Result<(), SaveError> {
        match step {
            Step::Enter(node) => {
                self.listing.enter(&node);
                self.stack.push((node, Vec::new()));
            }
            Step::Special(node) => {
                self.listing.special(&node);
                self.add(node);
            }
            Step::Leave => {
                self.listing.leave();
                let Some((mut node, nodes)) = self.stack.pop() else { return Ok(()) };
                node.subtree = Some(self.tree(nodes)?);
                if self.stack.is_empty() {
                    self.done = Some(node);
                } else {
                    self.add(node);
                }
            }
            Step::File(_) => {}
        }
        Ok(())
    }

    pub(super) fn file(&mut self, found: &FileFound, done: FileDone) {
        let first = match done {
            FileDone::Gone => {
                (self.note)(format!("`{}` went away before it was read", shown(&found.path)));
                return;
            }
            FileDone::Known(inode, cached) => {
                self.unchanged += 1;
                self.keep(&cached);
                let CachedFile { attributes, content: ids, size, .. } = *cached;
                FirstName { inode, attributes, ids, size, began: None }
            }
            FileDone::Read(read) => {
                for note in read.notes {
                    (self.note)(note);
                }
                let taken = read.taken;
                let began = (!read.changed).then_some(read.began);
                let first = FirstName {
                    inode: read.inode,
                    attributes: read.attributes,
                    ids: taken.ids,
                    size: taken.size,
                    began,
                };
                self.keep_read(found, &first);
                first
            }
        };
        self.put(found, &first);
        self.allocated += first.inode.allocated;
        if first.inode.links > 1 {
            self.names.insert((found.inode.device, found.inode.number), first);
        }
    }

    /// Another name of a file.
    pub(super) fn named(&mut self, found: &FileFound) -> Result<(), SaveError> {
        let Some(first) = self.names.get(&(found.inode.device, found.inode.number)).cloned() else {
            // The first name was gone before it was read; this is the first one then.
            for (_, done) in read(vec![(0, found.clone())], self.content) {
                self.file(found, done?);
            }
            return Ok(());
        };
        self.keep_read(found, &first);
        self.put(found, &first);
        Ok(())
    }

    fn put(&mut self, found: &FileFound, first: &FirstName) {
        let mut node = first.inode.node(&found.name, first.attributes.clone());
        node.size = first.size;
        self.listing.file(&node, &first.ids);
        node.content = Some(first.ids.clone());
        self.add(node);
    }

    fn add(&mut self, node: Node) {
        if let Some((_, nodes)) = self.stack.last_mut() {
            nodes.push(node);
        }
    }

    fn tree(&self, nodes: Vec<Node>) -> Result<BlobId, SaveError> {
        let path = || {
            let names: Vec<_> = self.stack.iter().skip(1).map(|(node, _)| &*node.name).collect();
            shown(&names.join(&b'/'))
        };
        self.content.tree(nodes).map_err(|source| SaveError::Tree { path: path(), source })
    }

    /// Keeps what was read in the cache, if it can be trusted the next time.
    fn keep_read(&mut self, found: &FileFound, first: &FirstName) {
        let inode = &first.inode;
        let settled = |began: FileTime| inode.ctime.millis_until(began) >= SETTLED_MILLIS;
        if !first.began.is_some_and(settled) || self.new_cache.is_none() {
            return;
        }
        let file = CachedFile {
            path: found.path.clone(),
            device: inode.device,
            number: inode.number,
            size: inode.size,
            mtime: inode.mtime,
            ctime: inode.ctime,
            attributes: first.attributes.clone(),
            content: first.ids.clone(),
        };
        self.keep(&file);
    }

    fn keep(&mut self, file: &CachedFile) {
        let Some(cache) = &mut self.new_cache else { return };
        if let Err(error) = cache.push(file) {
            (self.note)(format!("the cache of unchanged files cannot be written: {error}"));
            self.new_cache = None;
        }
    }

    pub(super) fn finish(mut self) -> Result<Saved, SaveError> {
        let root = self.done.ok_or(SaveError::Thread)?;
        if let Some(cache) = self.new_cache.take() {
            let written = cache.finish().and_then(|file| file.into_inner().map_err(Into::into));
            if let Err(error) = written.and_then(|file| file.sync_all()) {
                (self.note)(format!("the cache of unchanged files cannot be written: {error}"));
            }
        }
        let (evidence, bytes) = (self.listing.evidence(), self.listing.bytes());
        let (allocated, entries) = (self.allocated, self.listing.entries());
        Ok(Saved { root, evidence, bytes, allocated, entries, unchanged: self.unchanged })
    }
}
