//! The tree of a snapshot: a directory for each component, and the manifest beside them.

use std::collections::BTreeMap;

use jiff::Timestamp;
use lazarette_core::{
    error::{Failure, Reason, chain},
    manifest::MANIFEST_PATH,
    name::ComponentName,
};
use lazarette_repo::{
    id::BlobId,
    reader::{ReadError, Reader},
    tree::{Node, NodeKind, Tree, mode},
    writer::{Content, WriteError, Writer},
};

/// Stores the root of a snapshot: `manifest.json`, and each component's directory at its name.
pub(super) async fn save_root(
    writer: &Writer,
    components: &[(ComponentName, BlobId)],
    manifest: Content,
    now: Timestamp,
) -> Result<BlobId, WriteError> {
    let mut kinds: BTreeMap<&str, Vec<Node>> = BTreeMap::new();
    let mut root = Vec::new();
    for (name, tree) in components {
        match name.as_str().split_once('/') {
            None => root.push(directory(name.as_str(), *tree, now)),
            Some((kind, rest)) => {
                kinds.entry(kind).or_default().push(directory(rest, *tree, now));
            }
        }
    }
    for (kind, nodes) in kinds {
        let tree = Tree::new(nodes).map_err(WriteError::Tree)?;
        root.push(directory(kind, writer.save_tree(&tree).await?, now));
    }
    let mut file = Node::new(MANIFEST_PATH.as_bytes(), NodeKind::File, now);
    file.mode = mode::from_unix(0o100_600);
    file.size = manifest.size();
    file.links = 1;
    file.content = Some(manifest.into_blobs());
    root.push(file);
    writer.save_tree(&Tree::new(root).map_err(WriteError::Tree)?).await
}

/// The directory of `component` in the snapshot whose root is `root`.
pub(super) async fn find(reader: &Reader, root: BlobId, path: &str) -> Result<BlobId, Failure> {
    let mut at = root;
    for part in path.split('/') {
        let tree = reader.tree(at).await.map_err(|error| read_failed(&error, path))?;
        let node = tree.find(part.as_bytes());
        let Some(subtree) = node.and_then(|it| it.subtree) else {
            let text = format!(
                "the snapshot has no directory `{path}`, which its manifest names: check the \
                 repository with `ctl repo check`"
            );
            return Err(Failure::new(Reason::RepositoryDamaged, text));
        };
        at = subtree;
    }
    Ok(at)
}

fn read_failed(error: &ReadError, path: &str) -> Failure {
    let reason =
        if error.is_transient() { Reason::StorageUnavailable } else { Reason::RepositoryDamaged };
    Failure::new(reason, format!("find `{path}` in the snapshot: {}", chain(error)))
}

fn directory(name: &str, tree: BlobId, now: Timestamp) -> Node {
    let mut node = Node::new(name.as_bytes(), NodeKind::Dir, now);
    node.mode = mode::from_unix(0o040_700);
    node.links = 2;
    node.subtree = Some(tree);
    node
}
