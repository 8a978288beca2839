//! Restoring: a tree of a snapshot made on disk, in an empty directory.
//!
//! Directories are made as they are met, files are written in rows, as many at a time as are read
//! ahead, and a directory gets its metadata when everything in it has been made.

use std::{
    collections::HashMap,
    fs::File,
    io,
    os::fd::OwnedFd,
    sync::{Arc, OnceLock},
};

use lazarette_core::error::{Reason, ReasonedError};
use lazarette_repo::{
    id::BlobId,
    reader::{ReadError, Reader},
    tree::{Node, NodeKind, Tree, TreeError},
};

use super::{
    cuts::{self, Cuts},
    place::{self, PlaceError},
    walk::shown,
};

/// More levels than this are refused when they are saved, too.
const DEPTH_LIMIT: usize = 2000;
/// So many steps make a row, or so many pieces of files, or so many open directories.
const ROW_STEPS: usize = 8192;
const ROW_PIECES: usize = 16384;
const ROW_DIRS: usize = 256;
/// So many directories are read ahead at once.
const TREES_AHEAD: usize = 256;
/// The piece that large holes are made of when they are saved.
const ZEROS: usize = 8 << 20;

/// Why a tree was not restored.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RestoreError {
    /// The repository does not give it.
    #[error("fetch `{path}`")]
    Read {
        /// From the root.
        path: String,
        /// Why.
        #[source]
        source: Box<ReadError>,
    },
    /// A directory is none.
    #[error("read the directory `{path}` of the snapshot")]
    Tree {
        /// From the root.
        path: String,
        /// Why.
        #[source]
        source: TreeError,
    },
    /// It cannot be made on disk.
    #[error("restore `{path}`")]
    Place {
        /// From the root.
        path: String,
        /// Why.
        #[source]
        source: PlaceError,
    },
    /// The snapshot is not what a snapshot is.
    #[error("restore `{path}`: {why}")]
    Refused {
        /// From the root.
        path: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The list of cuts cannot be written.
    #[error("keep the list of what was restored")]
    Cuts(#[source] io::Error),
}

impl ReasonedError for RestoreError {
    fn reason(&self) -> Reason {
        match self {
            Self::Place { source, .. } if source.is_full() => Reason::DiskFull,
            Self::Cuts(error) if error.kind() == io::ErrorKind::StorageFull => Reason::DiskFull,
            Self::Read { source, .. } if source.is_transient() => Reason::StorageUnavailable,
            Self::Place { .. } | Self::Cuts(_) => Reason::RestoreFailed,
            Self::Read { .. } | Self::Tree { .. } | Self::Refused { .. } => {
                Reason::RepositoryDamaged
            }
        }
    }
}

/// What may be made at most: what was counted when the tree was saved.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Entries, the root included.
    pub(crate) entries: u64,
    /// Bytes of content.
    pub(crate) bytes: u64,
}

/// Something to be done in the order of the tree.
#[derive(Debug)]
enum Step {
    File { dir: Arc<OwnedFd>, node: Node, path: Vec<u8> },
    Link { first: Vec<u8>, dir: Arc<OwnedFd>, name: Vec<u8>, path: Vec<u8> },
    Finish { dir: Arc<OwnedFd>, node: Node, path: Vec<u8> },
}

#[derive(Debug)]
struct Level {
    dir: Arc<OwnedFd>,
    node: Node,
    /// How long the path around it is.
    outer: usize,
    /// What is left, the next one last.
    left: Vec<Node>,
    /// Directories below that were read ahead.
    ahead: HashMap<BlobId, Tree>,
}

/// A tree on its way to disk.
struct Restoring<'a> {
    reader: &'a Reader,
    root: Arc<OwnedFd>,
    left: Limits,
    stack: Vec<Level>,
    path: Vec<u8>,
    row: Vec<Step>,
    row_pieces: usize,
    row_dirs: usize,
    /// Where files with several names have their first one.
    names: HashMap<(u64, u64), Vec<u8>>,
    cuts: Vec<Cuts>,
    progress: &'a dyn Fn(u64),
    note: &'a mut dyn FnMut(String),
}

/// Restores what is below `node`, and its metadata, into the empty directory `root`, and writes to
/// `cuts` where its files are cut.
pub(crate) fn restore(
    reader: &Reader,
    node: Node,
    (root, cuts): (OwnedFd, File),
    limits: Limits,
    (progress, note): (&dyn Fn(u64), &mut dyn FnMut(String)),
) -> Result<(), RestoreError> {
    let mut restoring = Restoring {
        reader,
        root: Arc::new(root),
        left: limits,
        stack: Vec::new(),
        path: Vec::new(),
        row: Vec::new(),
        row_pieces: 0,
        row_dirs: 0,
        names: HashMap::new(),
        cuts: Vec::new(),
        progress,
        note,
    };
    restoring.begin(node)?;
    while restoring.step()? {}
    restoring.write_row()?;
    cuts::write(cuts, restoring.cuts).map_err(RestoreError::Cuts)
}

impl Restoring<'_> {
    /// Enters the root.
    fn begin(&mut self, node: Node) -> Result<(), RestoreError> {
        if node.kind != NodeKind::Dir {
            return Err(self.refused("it is no directory"));
        }
        self.count(&node)?;
        let dir = Arc::clone(&self.root);
        self.enter(dir, node, 0, None)
    }

    /// Takes the next entry; whether there may be more.
    fn step(&mut self) -> Result<bool, RestoreError> {
        let Some(level) = self.stack.last_mut() else { return Ok(false) };
        let Some(node) = level.left.pop() else {
            if let Some(Level { dir, node, outer, .. }) = self.stack.pop() {
                let path = self.path.clone();
                self.path.truncate(outer);
                self.row.push(Step::Finish { dir, node, path });
                self.row_dirs += 1;
            }
            return self.write_full_row().map(|()| true);
        };
        let dir = Arc::clone(&level.dir);
        let outer = self.path.len();
        if outer > 0 {
            self.path.push(b'/');
        }
        self.path.extend_from_slice(&node.name);
        self.count(&node)?;
        match node.kind {
            NodeKind::Dir => {
                let ahead = node.subtree.and_then(|id| level_tree(&mut self.stack, id));
                let made = place::make_dir(&dir, &node.name).map_err(|error| self.place(error))?;
                self.enter(Arc::new(made), node, outer, ahead)?;
                return Ok(true); // the path stays until it is left
            }
            NodeKind::File => self.file(dir, node),
            NodeKind::Other => {
                (self.note)(format!("left out `{}`: it is of no known kind", shown(&self.path)));
            }
            NodeKind::Symlink | NodeKind::Dev | NodeKind::CharDev | NodeKind::Fifo => {
                let made = place::make_special(&dir, &self.path, &node);
                made.map_err(|error| self.place(error))?;
            }
        }
        self.path.truncate(outer);
        self.write_full_row().map(|()| true)
    }

    fn count(&mut self, node: &Node) -> Result<(), RestoreError> {
        let is_file = node.kind == NodeKind::File;
        let is_named = is_file
            && node.links > 1
            && node.inode != 0
            && self.names.contains_key(&(node.device_id, node.inode));
        let bytes = if is_file && !is_named { node.size } else { 0 };
        let left = self.left.entries.checked_sub(1).zip(self.left.bytes.checked_sub(bytes));
        let Some((entries, bytes)) = left else {
            return Err(self.refused("the snapshot holds more than was saved"));
        };
        self.left = Limits { entries, bytes };
        Ok(())
    }

    fn enter(
        &mut self,
        dir: Arc<OwnedFd>,
        node: Node,
        outer: usize,
        tree: Option<Tree>,
    ) -> Result<(), RestoreError> {
        if self.stack.len() >= DEPTH_LIMIT {
            return Err(self.refused("it is too deep"));
        }
        let Some(id) = node.subtree else { return Err(self.refused("it is an empty entry")) };
        let tree = match tree {
            Some(tree) => tree,
            None => self.tree(id)?,
        };
        let mut left = tree.into_nodes();
        let ahead = self.read_ahead(&left)?;
        left.reverse();
        self.stack.push(Level { dir, node, outer, left, ahead });
        Ok(())
    }

    fn tree(&self, id: BlobId) -> Result<Tree, RestoreError> {
        self.reader.tree_blocking(id).map_err(|error| self.read(error))
    }

    /// Reads the first directories among `nodes` together.
    fn read_ahead(&self, nodes: &[Node]) -> Result<HashMap<BlobId, Tree>, RestoreError> {
        let ids = nodes.iter().filter(|node| node.kind == NodeKind::Dir);
        let mut ids: Vec<_> = ids.filter_map(|node| node.subtree).take(TREES_AHEAD).collect();
        ids.dedup();
        let mut trees = HashMap::new();
        if ids.len() < 2 {
            return Ok(trees);
        }
        let mut blobs = self.reader.blobs(ids.clone());
        for id in ids {
            let Some(blob) = blobs.next_blocking() else { break };
            let json = blob.map_err(|error| self.read(error))?;
            let tree = Tree::from_json(json)
                .map_err(|source| RestoreError::Tree { path: shown(&self.path), source })?;
            trees.insert(id, tree);
        }
        Ok(trees)
    }

    fn file(&mut self, dir: Arc<OwnedFd>, node: Node) {
        let path = self.path.clone();
        if node.links > 1 && node.inode != 0 {
            let file = (node.device_id, node.inode);
            if let Some(first) = self.names.get(&file) {
                let first = first.clone();
                self.row.push(Step::Link { first, dir, name: node.name, path });
                return;
            }
            self.names.insert(file, path.clone());
        }
        self.row_pieces += node.content.as_ref().map_or(0, Vec::len);
        self.row.push(Step::File { dir, node, path });
    }

    fn write_full_row(&mut self) -> Result<(), RestoreError> {
        let is_full = self.row.len() >= ROW_STEPS
            || self.row_pieces >= ROW_PIECES
            || self.row_dirs >= ROW_DIRS;
        if is_full { self.write_row() } else { Ok(()) }
    }

    /// Does everything that waits, in order.
    fn write_row(&mut self) -> Result<(), RestoreError> {
        let row = std::mem::take(&mut self.row);
        (self.row_pieces, self.row_dirs) = (0, 0);
        let pieces = row.iter().flat_map(|step| match step {
            Step::File { node, .. } => wanted(node),
            Step::Link { .. } | Step::Finish { .. } => Vec::new(),
        });
        let mut blobs = self.reader.blobs(pieces.collect());
        let fail = |path: &[u8]| {
            let path = shown(path);
            move |source| RestoreError::Place { path, source }
        };
        for step in row {
            match step {
                Step::File { dir, node, path } => self.write_file(&dir, &node, path, &mut blobs)?,
                Step::Link { first, dir, name, path } => {
                    place::make_link(&*self.root, &first, &*dir, &name).map_err(fail(&path))?;
                }
                Step::Finish { dir, node, path } => {
                    place::finish_dir(&dir, &node).map_err(fail(&path))?;
                }
            }
        }
        Ok(())
    }

    fn write_file(
        &mut self,
        dir: &OwnedFd,
        node: &Node,
        path: Vec<u8>,
        blobs: &mut lazarette_repo::reader::Blobs,
    ) -> Result<(), RestoreError> {
        let fail = |source| RestoreError::Place { path: shown(&path), source };
        let refused = |why| RestoreError::Refused { path: shown(&path), why };
        let file = place::make_file(dir, node).map_err(fail)?;
        let pieces = node.content.as_deref().unwrap_or_default();
        let mut sizes = Vec::with_capacity(pieces.len());
        let (mut at, mut end) = (0_u64, 0_u64);
        for id in pieces {
            let size = if pieces.len() > 1 && *id == zeros() {
                ZEROS
            } else {
                let Some(blob) = blobs.next_blocking() else {
                    return Err(refused("a piece of it did not come"));
                };
                let blob = blob.map_err(|error| unread(&path, error))?;
                end = place::write_content(&file, at, blob).map_err(fail)?.max(end);
                blob.len()
            };
            at += u64::try_from(size).unwrap_or(u64::MAX);
            sizes.push(u32::try_from(size).unwrap_or(u32::MAX));
        }
        if at != node.size {
            return Err(refused("it is not as long as the snapshot says"));
        }
        place::finish_file(&file, node, end).map_err(fail)?;
        (self.progress)(at);
        if sizes.len() > 1 {
            self.cuts.push(Cuts { path, sizes });
        }
        Ok(())
    }

    fn place(&self, source: PlaceError) -> RestoreError {
        RestoreError::Place { path: shown(&self.path), source }
    }

    fn read(&self, error: ReadError) -> RestoreError {
        unread(&self.path, error)
    }

    fn refused(&self, why: &'static str) -> RestoreError {
        RestoreError::Refused { path: shown(&self.path), why }
    }
}

fn unread(path: &[u8], error: ReadError) -> RestoreError {
    RestoreError::Read { path: shown(path), source: Box::new(error) }
}

fn level_tree(stack: &mut [Level], id: BlobId) -> Option<Tree> {
    stack.last_mut()?.ahead.remove(&id)
}

/// The pieces of a file that must be read: those of a large hole need not be.
fn wanted(node: &Node) -> Vec<BlobId> {
    let pieces = node.content.as_deref().unwrap_or_default();
    match pieces.len() {
        0 | 1 => pieces.to_vec(),
        _ => pieces.iter().copied().filter(|id| *id != zeros()).collect(),
    }
}

/// What [`ZEROS`] zeros are.
fn zeros() -> BlobId {
    static ID: OnceLock<BlobId> = OnceLock::new();
    *ID.get_or_init(|| BlobId::of(&vec![0; ZEROS]))
}
