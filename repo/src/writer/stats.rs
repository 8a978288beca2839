//! Stats: what a run amounted to, counted by all its threads.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::pack::BlobKind;

/// What a run amounted to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Files and streams read.
    pub files_read: u64,
    /// Files whose content was reused without reading them.
    pub files_reused: u64,
    /// Bytes read.
    pub bytes_read: u64,
    /// New blobs of files.
    pub blobs_new: u64,
    /// New blobs of directories.
    pub trees_new: u64,
    /// Blobs that were there already.
    pub blobs_reused: u64,
    /// Plain bytes of new blobs.
    pub bytes_new: u64,
    /// Bytes of new blobs as they are stored.
    pub bytes_packed: u64,
    /// Bytes of packs that are durable.
    pub bytes_stored: u64,
    /// Packs that are durable.
    pub packs: u64,
}

/// The same, being counted.
#[derive(Debug, Default)]
pub(super) struct Counters {
    files_read: AtomicU64,
    files_reused: AtomicU64,
    bytes_read: AtomicU64,
    blobs_new: AtomicU64,
    trees_new: AtomicU64,
    blobs_reused: AtomicU64,
    bytes_new: AtomicU64,
    bytes_packed: AtomicU64,
    bytes_stored: AtomicU64,
    packs: AtomicU64,
}

fn add(counter: &AtomicU64, number: usize) {
    counter.fetch_add(u64::try_from(number).unwrap_or(u64::MAX), Ordering::Relaxed);
}

impl Counters {
    pub(super) fn file_read(&self) {
        add(&self.files_read, 1);
    }

    pub(super) fn file_reused(&self, blobs: usize) {
        add(&self.files_reused, 1);
        add(&self.blobs_reused, blobs);
    }

    pub(super) fn read(&self) -> Stats {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Stats {
            files_read: of(&self.files_read),
            files_reused: of(&self.files_reused),
            bytes_read: of(&self.bytes_read),
            blobs_new: of(&self.blobs_new),
            trees_new: of(&self.trees_new),
            blobs_reused: of(&self.blobs_reused),
            bytes_new: of(&self.bytes_new),
            bytes_packed: of(&self.bytes_packed),
            bytes_stored: of(&self.bytes_stored),
            packs: of(&self.packs),
        }
    }

    pub(super) fn bytes_read(&self, bytes: usize) {
        add(&self.bytes_read, bytes);
    }

    pub(super) fn reused(&self, blobs: usize) {
        add(&self.blobs_reused, blobs);
    }

    pub(super) fn new_blob(&self, kind: BlobKind, plain: usize, packed: usize) {
        match kind {
            BlobKind::Data => add(&self.blobs_new, 1),
            BlobKind::Tree => add(&self.trees_new, 1),
        }
        add(&self.bytes_new, plain);
        add(&self.bytes_packed, packed);
    }

    pub(super) fn stored(&self, bytes: usize) {
        add(&self.bytes_stored, bytes);
        add(&self.packs, 1);
    }
}
