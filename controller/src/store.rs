//! Store: where everything the controller must remember is kept.
//!
//! The one trait [`Store`] has two implementations that pass one conformance suite: [`DiskStore`],
//! which survives power cuts, and [`MemoryStore`] for tests. Nothing outside this folder knows
//! sled. Typed records are read and written through a [`Collection`].

pub mod audit;
mod batch;
pub mod catalog;
mod collection;
pub mod credentials;
mod digest;
mod directory;
mod disk;
mod engine;
mod error;
pub mod fleet;
pub mod hosts;
mod key;
mod mark;
mod memory;
mod record;
mod release;
pub mod repositories;
pub mod revocations;
pub mod runs;
mod scan;
mod space;
pub mod stacks;
pub mod tokens;
mod writer;

#[cfg(test)]
mod conformance;
#[cfg(test)]
mod golden;

use std::fmt;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::watch;

pub use self::batch::{Batch, BatchError, Change, Effect, Expected};
pub use self::collection::{Collection, Found, Listing, Part};
pub use self::disk::{Counters, DiskStore, Options};
pub use self::error::{Failure, KeyText, OpenError, StoreError};
pub use self::key::Key;
pub use self::memory::MemoryStore;
pub use self::record::{Record, RecordError};
pub use self::scan::{Entry, Order, Page, Scan};
pub use self::space::{Reserve, Space};

/// The longest key, in bytes.
pub const MAX_KEY_BYTES: usize = 256;
/// The longest value, in bytes, its header included.
pub const MAX_VALUE_BYTES: usize = 64 * 1024;
/// The most that one batch may write, in bytes of keys and values.
pub const MAX_BATCH_BYTES: usize = 1024 * 1024;
/// The most entries in one page of a scan.
pub const MAX_PAGE_ENTRIES: usize = 1000;
/// The size of values at which a page of a scan ends early, in bytes.
pub const MAX_PAGE_BYTES: usize = 4 * 1024 * 1024;

/// An ordered map of bytes in which a batch of changes happens wholly or not at all.
///
/// Reads see only what is durable. Writes of one store happen one after another.
#[async_trait]
pub trait Store: fmt::Debug + Send + Sync + 'static {
    /// The value of `key`.
    ///
    /// # Errors
    ///
    /// [`StoreError::Failed`] when the store no longer works.
    async fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError>;

    /// The entries that `scan` asks for, in its order; full pages may be followed by more.
    ///
    /// # Errors
    ///
    /// [`StoreError::Failed`] when the store no longer works.
    async fn scan(&self, scan: Scan) -> Result<Page, StoreError>;

    /// Applies every change of `batch`, or none. When it returns `Ok` they survive a power cut.
    ///
    /// # Errors
    ///
    /// [`StoreError::Conflict`] when an expectation does not hold: nothing was changed;
    /// [`StoreError::DiskFull`] when too little space is left: nothing was changed;
    /// [`StoreError::Failed`] when it is not known whether the changes are there.
    ///
    /// # Cancel safety
    ///
    /// Not cancel safe: dropped after it was first polled, the batch may be applied or not.
    async fn commit(&self, batch: Batch) -> Result<(), StoreError>;

    /// Whether the store still works. After [`StoreState::Failed`] the process must end with
    /// [`EXIT_FAILED`], so that its supervisor starts it anew: a store never recovers by itself.
    fn state(&self) -> watch::Receiver<StoreState>;

    /// How much room is left where the store lives.
    ///
    /// # Errors
    ///
    /// [`StoreError::Failed`] when the file system does not answer.
    fn space(&self) -> Result<Space, StoreError>;
}

/// The exit code of a controller whose store has failed.
pub const EXIT_FAILED: u8 = 70;

/// Whether a store works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreState {
    /// It answers.
    Ready,
    /// An error of the disk, or below: every call fails until the process is started again.
    Failed,
}
