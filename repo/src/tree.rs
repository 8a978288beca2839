//! Tree: one directory as a blob, its entries sorted by name.

pub mod mode;
mod node;
mod quote;

use serde::{Deserialize, Serialize};

pub use node::{Node, NodeKind, Xattr};

/// A directory.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tree {
    nodes: Vec<Node>,
}

/// Why a directory cannot be stored or understood.
#[derive(Debug, thiserror::Error)]
pub enum TreeError {
    /// An entry has a name that no directory entry has.
    #[error("take `{name}` as the name of a file: it is empty, `.`, `..`, or holds `/` or NUL")]
    Name {
        /// The name, quoted.
        name: String,
    },
    /// Two entries have one name.
    #[error("store a directory with two entries named `{name}`")]
    Twice {
        /// The name, quoted.
        name: String,
    },
    /// The blob is no directory.
    #[error("read a directory")]
    Json(#[source] serde_json::Error),
}

#[derive(Serialize, Deserialize)]
struct TreeJson {
    nodes: Vec<Node>,
}

impl Tree {
    /// The directory with these entries, which are sorted here.
    ///
    /// # Errors
    ///
    /// [`TreeError::Name`] and [`TreeError::Twice`].
    pub fn new(mut nodes: Vec<Node>) -> Result<Self, TreeError> {
        nodes.sort_by(|one, other| one.name.cmp(&other.name));
        let tree = Self { nodes };
        tree.check()?;
        Ok(tree)
    }

    /// Its entries, sorted by name.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// Its entries, sorted by name.
    pub fn into_nodes(self) -> Vec<Node> {
        self.nodes
    }

    /// The entry with this name.
    pub fn find(&self, name: &[u8]) -> Option<&Node> {
        let at = self.nodes.binary_search_by(|node| node.name.as_slice().cmp(name)).ok()?;
        self.nodes.get(at)
    }

    /// The content of the blob, exactly as restic writes it.
    ///
    /// # Errors
    ///
    /// [`TreeError::Json`]; never in practice.
    pub fn to_json(&self) -> Result<Vec<u8>, TreeError> {
        let mut json = Vec::with_capacity(64 + self.nodes.len() * 512);
        json.extend_from_slice(b"{\"nodes\":[");
        for (index, node) in self.nodes.iter().enumerate() {
            if index > 0 {
                json.push(b',');
            }
            node.write_json(&mut json).map_err(TreeError::Json)?;
        }
        json.extend_from_slice(b"]}\n");
        Ok(json)
    }

    /// The directory in a blob. Names that could lead out of it are refused.
    ///
    /// # Errors
    ///
    /// [`TreeError::Json`], [`TreeError::Name`], [`TreeError::Twice`].
    pub fn from_json(json: &[u8]) -> Result<Self, TreeError> {
        let tree: TreeJson = serde_json::from_slice(json).map_err(TreeError::Json)?;
        Self::new(tree.nodes)
    }

    fn check(&self) -> Result<(), TreeError> {
        for node in &self.nodes {
            if !is_name(&node.name) {
                return Err(TreeError::Name { name: quote::quote(&node.name) });
            }
        }
        for pair in self.nodes.windows(2) {
            if let [one, other] = pair
                && one.name == other.name
            {
                return Err(TreeError::Twice { name: quote::quote(&one.name) });
            }
        }
        Ok(())
    }
}

fn is_name(name: &[u8]) -> bool {
    !name.is_empty()
        && name != b"."
        && name != b".."
        && !name.iter().any(|byte| matches!(byte, b'/' | 0))
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    fn node(name: &[u8]) -> Node {
        Node::new(name, NodeKind::File, Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn entries_are_sorted_by_the_bytes_of_their_names() {
        let tree = Tree::new(vec![node(b"b"), node(b"a\xff"), node(b"a")]).unwrap();

        let names: Vec<_> = tree.nodes().iter().map(|node| node.name.clone()).collect();
        assert_eq!(names, [b"a".to_vec(), b"a\xff".to_vec(), b"b".to_vec()]);
        assert!(tree.find(b"a\xff").is_some());
    }

    #[test]
    fn names_that_lead_out_of_a_directory_are_refused() {
        for name in [b"".as_slice(), b".", b"..", b"../../etc/passwd", b"a/b", b"a\0b"] {
            assert!(matches!(Tree::new(vec![node(name)]), Err(TreeError::Name { .. })));
        }
    }

    #[test]
    fn a_name_twice_is_refused() {
        let twice = Tree::new(vec![node(b"a"), node(b"a")]);

        assert!(matches!(twice, Err(TreeError::Twice { .. })));
    }

    #[test]
    fn an_empty_directory_is_what_restic_writes() {
        assert_eq!(Tree::default().to_json().unwrap(), b"{\"nodes\":[]}\n");
    }
}
