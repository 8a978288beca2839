//! Walk: a tree on disk as steps in the order of its paths, without following or leaving anything.

use std::{
    os::fd::{AsFd, OwnedFd},
    path::PathBuf,
    sync::Arc,
};

use lazarette_core::error::{Reason, ReasonedError};
use lazarette_repo::tree::{Node, NodeKind};
use rustix::{fs::OFlags, io::Errno};

use super::{
    attributes::{Attributes, Holder},
    exchange::PREFIX,
    inode::{Inode, open_beneath},
    removal::names,
};

/// One directory is open for each level, and nobody has that many levels but to do harm.
const DEPTH_LIMIT: usize = 2000;

/// Something could not be read, so there is no backup of it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WalkError {
    /// A system call failed.
    #[error("{doing} `{}`", .path.display().to_string().escape_debug())]
    Call {
        /// Verb.
        doing: &'static str,
        /// From the root.
        path: PathBuf,
        /// Why.
        #[source]
        errno: Errno,
    },
    /// There are more levels than anybody needs.
    #[error("enter `{}`: it is more than {DEPTH_LIMIT} directories deep", shown(.path))]
    TooDeep {
        /// From the root.
        path: Vec<u8>,
    },
}

impl ReasonedError for WalkError {
    fn reason(&self) -> Reason {
        match self {
            Self::Call { .. } => Reason::DumpFailed,
            Self::TooDeep { .. } => Reason::LimitReached,
        }
    }
}

impl WalkError {
    pub(crate) fn call(doing: &'static str, path: &[u8]) -> impl FnOnce(Errno) -> Self {
        let path = PathBuf::from(shown(path));
        move |errno| Self::Call { doing, path, errno }
    }
}

/// A path for people: from the root, with what is no text escaped, and not too long.
pub(crate) fn shown(path: &[u8]) -> String {
    let text = path.escape_ascii().to_string();
    match text.char_indices().nth_back(400) {
        Some((at, _)) => format!("…{}", text.get(at..).unwrap_or_default()),
        None if text.is_empty() => "/".to_owned(),
        None => text,
    }
}

/// A file whose content is to be read.
#[derive(Clone, Debug)]
pub(crate) struct FileFound {
    /// The directory that it is in.
    pub(crate) dir: Arc<OwnedFd>,
    /// Its name there.
    pub(crate) name: Vec<u8>,
    /// From the root, without a leading slash.
    pub(crate) path: Vec<u8>,
    /// As it was found.
    pub(crate) inode: Inode,
}

/// One step of a walk.
#[derive(Debug)]
pub(crate) enum Step {
    /// A directory begins; its entries follow, sorted by the bytes of their names.
    Enter(Node),
    /// A plain file.
    File(FileFound),
    /// A link, pipe or device.
    Special(Node),
    /// The directory that began last is over.
    Leave,
}

/// Takes what an operator should read.
pub(crate) type Note<'a> = &'a mut dyn FnMut(String);

/// A tree that is being walked.
#[derive(Debug)]
pub(crate) struct Walk {
    only: Vec<Vec<u8>>,
    stack: Vec<Level>,
    /// The path of the directory on top of the stack.
    path: Vec<u8>,
    root: Option<OwnedFd>,
}

#[derive(Debug)]
struct Level {
    dir: Arc<OwnedFd>,
    /// What is left, the next one last.
    left: Vec<Vec<u8>>,
    /// How long the path around it is.
    outer: usize,
}

impl Walk {
    /// Of the directory `root`, or of what is at and below the paths of `only`, unless that is
    /// empty.
    pub(crate) fn of(root: OwnedFd, only: Vec<Vec<u8>>) -> Self {
        Self { only, stack: Vec::new(), path: Vec::new(), root: Some(root) }
    }

    /// The next step; nothing after the root was left.
    pub(crate) fn next(&mut self, note: Note<'_>) -> Result<Option<Step>, WalkError> {
        if let Some(root) = self.root.take() {
            let node = self.dir_node(&root, b"root", note)?;
            self.push(root, 0)?;
            return Ok(Some(Step::Enter(node)));
        }
        loop {
            let Some(level) = self.stack.last_mut() else { return Ok(None) };
            let Some(name) = level.left.pop() else {
                self.path.truncate(level.outer);
                self.stack.pop();
                return Ok(Some(Step::Leave));
            };
            let dir = Arc::clone(&level.dir);
            if let Some(step) = self.entry(&dir, name, note)? {
                return Ok(Some(step));
            }
        }
    }

    /// The step for one entry; nothing for what is left out.
    fn entry(
        &mut self,
        dir: &Arc<OwnedFd>,
        name: Vec<u8>,
        note: Note<'_>,
    ) -> Result<Option<Step>, WalkError> {
        if self.path.is_empty() && name.starts_with(PREFIX.as_bytes()) {
            note(format!("left out `{}`, which a restore has left there", shown(&name)));
            return Ok(None);
        }
        let path = self.path_of(&name);
        if !self.is_wanted(&path) {
            return Ok(None);
        }
        let inode = match Inode::at(dir, &name) {
            Err(Errno::NOENT) => {
                note(format!("`{}` went away before it was read", shown(&path)));
                return Ok(None);
            }
            outcome => outcome.map_err(WalkError::call("look at", &path))?,
        };
        match inode.kind {
            NodeKind::File if inode.is_mount => {
                note(format!("left out `{}`: another file is mounted on it", shown(&path)));
                Ok(None)
            }
            NodeKind::File => {
                Ok(Some(Step::File(FileFound { dir: Arc::clone(dir), name, path, inode })))
            }
            NodeKind::Dir if inode.is_mount => {
                note(format!(
                    "did not enter `{}`: another file system is mounted there",
                    shown(&path)
                ));
                // An empty directory, on which it can be mounted again.
                let outer = self.path.len();
                self.stack.push(Level { dir: Arc::clone(dir), left: Vec::new(), outer });
                Ok(Some(Step::Enter(inode.node(&name, Vec::new()))))
            }
            NodeKind::Dir => self.enter(dir, &name, &path, note),
            NodeKind::Other => {
                note(format!("left out the socket `{}`", shown(&path)));
                Ok(None)
            }
            NodeKind::Symlink | NodeKind::Dev | NodeKind::CharDev | NodeKind::Fifo => {
                special(dir, (&name, &path), &inode, note).map(|node| node.map(Step::Special))
            }
        }
    }

    fn enter(
        &mut self,
        dir: &Arc<OwnedFd>,
        name: &[u8],
        path: &[u8],
        note: Note<'_>,
    ) -> Result<Option<Step>, WalkError> {
        let open = match open_beneath(dir, name, OFlags::RDONLY | OFlags::DIRECTORY) {
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {
                note(format!("`{}` went away before it was read", shown(path)));
                return Ok(None);
            }
            outcome => outcome.map_err(WalkError::call("open", path))?,
        };
        let outer = self.path.len();
        self.path = path.to_vec();
        let node = self.dir_node(&open, name, note)?;
        self.push(open, outer)?;
        Ok(Some(Step::Enter(node)))
    }

    fn push(&mut self, dir: OwnedFd, outer: usize) -> Result<(), WalkError> {
        if self.stack.len() >= DEPTH_LIMIT {
            return Err(WalkError::TooDeep { path: self.path.clone() });
        }
        let mut left = names(&dir).map_err(WalkError::call("list", &self.path))?;
        left.reverse();
        self.stack.push(Level { dir: Arc::new(dir), left, outer });
        Ok(())
    }

    fn dir_node(&self, dir: &OwnedFd, name: &[u8], note: Note<'_>) -> Result<Node, WalkError> {
        let inode = Inode::open(dir).map_err(WalkError::call("look at", &self.path))?;
        let found = Holder::Open(dir.as_fd()).read();
        let found = found.map_err(WalkError::call("read attributes of", &self.path))?;
        Ok(inode.node(name, kept(found, &self.path, note)))
    }

    fn path_of(&self, name: &[u8]) -> Vec<u8> {
        let mut path = Vec::with_capacity(self.path.len() + 1 + name.len());
        path.extend_from_slice(&self.path);
        if !path.is_empty() {
            path.push(b'/');
        }
        path.extend_from_slice(name);
        path
    }

    /// Whether `path` leads to, is, or is below one of those that are wanted.
    fn is_wanted(&self, path: &[u8]) -> bool {
        let holds = |outer: &[u8], inner: &[u8]| {
            inner.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
        };
        self.only.is_empty() || self.only.iter().any(|it| holds(it, path) || holds(path, it))
    }
}

/// The attributes that are kept; says which cannot be.
pub(crate) fn kept(
    found: Attributes,
    path: &[u8],
    note: Note<'_>,
) -> Vec<lazarette_repo::tree::Xattr> {
    for name in found.unkept {
        note(format!("left out the attribute `{name}` of `{}`: it has no name", shown(path)));
    }
    found.kept
}

/// The node of a link, pipe or device; nothing when it is gone.
fn special(
    dir: &impl AsFd,
    (name, path): (&[u8], &[u8]),
    inode: &Inode,
    note: Note<'_>,
) -> Result<Option<Node>, WalkError> {
    let target = if inode.kind == NodeKind::Symlink {
        match rustix::fs::readlinkat(dir, name, Vec::new()) {
            Ok(target) => target.into_bytes(),
            Err(Errno::NOENT | Errno::INVAL) => {
                note(format!("`{}` went away before it was read", shown(path)));
                return Ok(None);
            }
            Err(errno) => return Err(WalkError::call("read the link", path)(errno)),
        }
    } else {
        Vec::new()
    };
    // By its path, because it cannot be opened. The child's root is the tree's, so whoever changes
    // a directory on the way meanwhile leads to another place in the same tree.
    let found = match Holder::Path(path).read() {
        Err(Errno::NOENT | Errno::NOTDIR | Errno::NAMETOOLONG) => Attributes::default(),
        outcome => outcome.map_err(WalkError::call("read attributes of", path))?,
    };
    let mut node = inode.node(name, kept(found, path, note));
    node.link_target = target;
    Ok(Some(node))
}
