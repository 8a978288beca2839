//! Walk: every entry below a directory, each directory before what is in it.

use crate::id::BlobId;
use crate::reader::{ReadError, Reader};
use crate::tree::{Node, NodeKind, Tree};

/// An entry with its path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its path below the root, any bytes, as `etc/passwd`.
    pub path: Vec<u8>,
    /// What it is.
    pub node: Node,
}

/// A walk that goes on entry by entry: directories before what is in them, by name within one.
#[derive(Debug)]
pub struct Walk {
    reader: Reader,
    /// What is still to be given out, last first: entries, and directories to be read.
    stack: Vec<Step>,
}

#[derive(Debug)]
enum Step {
    Entry(Box<Entry>),
    Read { path: Vec<u8>, id: BlobId },
}

impl Reader {
    /// Walks through everything below the directory `root`.
    pub fn walk(&self, root: BlobId) -> Walk {
        Walk { reader: self.clone(), stack: vec![Step::Read { path: Vec::new(), id: root }] }
    }

    /// The entry at `path` below the directory `root`, as `etc/passwd`; `None` when there is none.
    ///
    /// # Errors
    ///
    /// [`ReadError::At`] with the path of the directory that cannot be read.
    pub async fn find(&self, root: BlobId, path: &[u8]) -> Result<Option<Node>, ReadError> {
        let mut names = path.split(|byte| *byte == b'/').filter(|name| !name.is_empty()).peekable();
        let mut directory = root;
        while let Some(name) = names.next() {
            let shown = || String::from_utf8_lossy(path).into_owned();
            let tree = self.tree(directory).await.map_err(|error| error.at(shown()))?;
            let Some(node) = tree.find(name) else { return Ok(None) };
            if names.peek().is_none() {
                return Ok(Some(node.clone()));
            }
            match node.subtree {
                Some(below) => directory = below,
                None => return Ok(None),
            }
        }
        Ok(None)
    }
}

impl Walk {
    /// The next entry; `None` after the last.
    ///
    /// # Errors
    ///
    /// [`ReadError::At`] with the path of the directory that cannot be read; the walk goes on
    /// behind it when asked again.
    pub async fn next(&mut self) -> Result<Option<Entry>, ReadError> {
        loop {
            match self.stack.pop() {
                None => return Ok(None),
                Some(Step::Entry(entry)) => {
                    if let (NodeKind::Dir, Some(id)) = (entry.node.kind, entry.node.subtree) {
                        let path = entry.path.clone();
                        self.stack.push(Step::Read { path, id });
                    }
                    return Ok(Some(*entry));
                }
                Some(Step::Read { path, id }) => {
                    let tree = self.reader.tree(id).await;
                    let shown = || String::from_utf8_lossy(&path).into_owned();
                    let tree = tree.map_err(|error| error.at(shown()))?;
                    self.push(&path, tree);
                }
            }
        }
    }

    fn push(&mut self, path: &[u8], tree: Tree) {
        for node in tree.into_nodes().into_iter().rev() {
            let mut below = path.to_vec();
            if !below.is_empty() {
                below.push(b'/');
            }
            below.extend_from_slice(&node.name);
            self.stack.push(Step::Entry(Box::new(Entry { path: below, node })));
        }
    }
}
