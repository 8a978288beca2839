//! Snapshots, from the catalog, and what is in them.

use std::{pin::Pin, sync::Arc};

use futures::{Stream, StreamExt as _};
use lazarette_core::{
    error::{Failure, Reason},
    id::SnapshotId,
    name::StackAddress,
    snapshot::Snapshot,
};
use lazarette_node::clock::Clock;
use lazarette_proto::{
    controller::v1::{
        GetSnapshotRequest, GetSnapshotResponse, ListSnapshotFilesRequest,
        ListSnapshotFilesResponse, ListSnapshotsRequest, ListSnapshotsResponse,
        snapshot_service_server::SnapshotService,
    },
    convert::{parse, to_wire_time},
};
use lazarette_repo::{
    id::{BlobId, ObjectId},
    reader::Reader,
    tree::{Node, NodeKind},
};
use tonic::{Request, Response, Status};

use super::{malformed, refused};
use crate::{
    entry,
    places::{Places, store_failed},
    store::catalog::Catalog,
    vaults::{Vaults, reason_of},
};

/// Fewer digits than this name nothing.
const DIGITS: usize = 4;

/// Lists snapshots.
#[derive(Debug)]
pub struct SnapshotsRpc {
    /// Where they are listed.
    pub catalog: Catalog,
    /// Where they are.
    pub vaults: Arc<Vaults>,
    /// Which stack an address means.
    pub places: Places,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
}

/// The one snapshot that `text` means: an id, or the beginning of one.
///
/// # Errors
///
/// `SNAPSHOT_UNKNOWN`, `SNAPSHOT_AMBIGUOUS` with the candidates, `INVALID_INPUT`.
pub async fn named(catalog: &Catalog, text: &str) -> Result<Snapshot, Failure> {
    let digits = text.len() >= DIGITS && text.len() <= 64;
    if !digits || !text.chars().all(|c| c.is_ascii_hexdigit()) {
        let shown: String = text.chars().take(80).flat_map(char::escape_debug).collect();
        let message =
            format!("`{shown}` is not a snapshot: write at least {DIGITS} hex digits of its id");
        return Err(Failure::new(Reason::InvalidInput, message));
    }
    let mut found = catalog.begins_with(text).await.map_err(store_failed)?;
    match found.len() {
        0 | 1 => found.pop().ok_or_else(|| {
            let message = format!("there is no snapshot `{text}`; `ctl snapshot list` shows them");
            Failure::new(Reason::SnapshotUnknown, message)
        }),
        _ => {
            let ids = found.iter().map(|it| it.id.to_string()).collect::<Vec<_>>().join(" or ");
            let message = format!("`{text}` may be {ids}; write more digits");
            Err(Failure::new(Reason::SnapshotAmbiguous, message))
        }
    }
}

/// What is still to be listed.
struct Listing {
    reader: Reader,
    /// Deepest last.
    stack: Vec<(Vec<u8>, Node)>,
    below: Vec<u8>,
}

impl Listing {
    async fn next(&mut self) -> Result<Option<ListSnapshotFilesResponse>, Status> {
        while let Some((parent, node)) = self.stack.pop() {
            let mut path = parent;
            if !path.is_empty() {
                path.push(b'/');
            }
            path.extend_from_slice(&node.name);
            let inside = is_inside(&path, &self.below);
            let on_the_way = is_inside(&self.below, &path);
            if !inside && !on_the_way {
                continue;
            }
            if let Some(subtree) = node.subtree {
                self.push(&path, subtree).await?;
            }
            if inside {
                return Ok(Some(wire(path, &node)));
            }
        }
        Ok(None)
    }

    async fn push(&mut self, path: &[u8], tree: BlobId) -> Result<(), Status> {
        let tree = self.reader.tree(tree).await.map_err(|error| {
            let message = lazarette_core::error::chain(&error);
            refused(Failure::new(Reason::RepositoryDamaged, message))
        })?;
        let nodes = tree.into_nodes().into_iter().rev();
        self.stack.extend(nodes.map(|node| (path.to_vec(), node)));
        Ok(())
    }
}

/// Whether `path` is `base` or below it.
fn is_inside(path: &[u8], base: &[u8]) -> bool {
    match path.strip_prefix(base) {
        Some([]) => true,
        Some([next, ..]) => base.is_empty() || *next == b'/',
        None => false,
    }
}

fn wire(path: Vec<u8>, node: &Node) -> ListSnapshotFilesResponse {
    let kind = match node.kind {
        NodeKind::File => "file",
        NodeKind::Dir => "dir",
        NodeKind::Symlink => "symlink",
        NodeKind::Fifo => "fifo",
        NodeKind::Dev => "dev",
        NodeKind::CharDev => "chardev",
        NodeKind::Other => "other",
    };
    ListSnapshotFilesResponse {
        path,
        kind: kind.to_owned(),
        size_bytes: node.size,
        mode: lazarette_repo::tree::mode::permissions(node.mode),
        uid: node.uid,
        gid: node.gid,
        modify_time: Some(to_wire_time(node.mtime)),
    }
}

type Files = Pin<Box<dyn Stream<Item = Result<ListSnapshotFilesResponse, Status>> + Send>>;

#[tonic::async_trait]
impl SnapshotService for SnapshotsRpc {
    async fn list_snapshots(
        &self,
        request: Request<ListSnapshotsRequest>,
    ) -> Result<Response<ListSnapshotsResponse>, Status> {
        let stack = match request.into_inner().address {
            None => None,
            Some(address) => {
                let address: StackAddress = parse("address", &address).map_err(malformed)?;
                let place = self.places.find(&address, self.clock.now()).await;
                Some(place.map_err(refused)?.stack.id)
            }
        };
        let snapshots = self.catalog.list(stack).await.map_err(store_failed).map_err(refused)?;
        let snapshots = snapshots.into_iter().map(Into::into).collect();
        Ok(Response::new(ListSnapshotsResponse { snapshots }))
    }

    async fn get_snapshot(
        &self,
        request: Request<GetSnapshotRequest>,
    ) -> Result<Response<GetSnapshotResponse>, Status> {
        let found = named(&self.catalog, &request.get_ref().snapshot).await.map_err(refused)?;
        // With its evidence, which lists are without.
        let whole = self.catalog.get(found.id).await.map_err(store_failed).map_err(refused)?;
        Ok(Response::new(GetSnapshotResponse { snapshot: whole.map(Into::into) }))
    }

    type ListSnapshotFilesStream = Files;

    async fn list_snapshot_files(
        &self,
        request: Request<ListSnapshotFilesRequest>,
    ) -> Result<Response<Files>, Status> {
        let request = request.into_inner();
        let found = named(&self.catalog, &request.snapshot).await.map_err(refused)?;
        let repository = self.vaults.open(found.repository).await;
        let repository = repository.map_err(|it| refused(Failure::of(&it)))?;
        let id: SnapshotId = found.id;
        let snapshot = repository.snapshot(ObjectId::new(*id.as_bytes())).await;
        let snapshot = snapshot.map_err(|error| {
            let message = lazarette_core::error::chain(&error);
            refused(Failure::new(reason_of(&error), message))
        })?;
        let below = request.path.trim_matches('/').as_bytes().to_vec();
        let mut listing = Listing { reader: entry::reader(&repository), stack: vec![], below };
        listing.push(&[], snapshot.snapshot.tree).await?;
        let files = futures::stream::unfold(Some(listing), |listing| async move {
            let mut listing = listing?;
            match listing.next().await {
                Ok(Some(file)) => Some((Ok(file), Some(listing))),
                Ok(None) => None,
                Err(error) => Some((Err(error), None)),
            }
        });
        Ok(Response::new(files.boxed()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_inside_itself_and_what_is_above_it_but_not_beside() {
        assert!(is_inside(b"a/b", b"a"));
        assert!(is_inside(b"a", b"a"));
        assert!(is_inside(b"a", b""));
        assert!(!is_inside(b"ab", b"a"));
        assert!(!is_inside(b"a", b"a/b"));
    }
}
