//! Claims: which blobs somebody in this run has taken care of, so that nobody else does.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::id::BlobId;

/// How many parts it has: threads rarely meet in one.
const SHARDS: usize = 64;

/// The blobs that are known or being written.
#[derive(Debug)]
pub(super) struct Claims {
    shards: Vec<Mutex<HashSet<BlobId>>>,
}

impl Default for Claims {
    fn default() -> Self {
        Self { shards: (0..SHARDS).map(|_| Mutex::default()).collect() }
    }
}

impl Claims {
    /// Whether `id` is now the caller's to write: true once.
    pub(super) fn claim(&self, id: BlobId) -> bool {
        self.shard(&id).is_some_and(|mut shard| shard.insert(id))
    }

    /// Whether somebody has claimed `id`.
    pub(super) fn has(&self, id: &BlobId) -> bool {
        self.shard(id).is_some_and(|shard| shard.contains(id))
    }

    fn shard(&self, id: &BlobId) -> Option<MutexGuard<'_, HashSet<BlobId>>> {
        let [first, ..] = id.as_bytes();
        let shard = self.shards.get(usize::from(*first) % SHARDS)?;
        Some(shard.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
