//! Memory store: a store that lives as long as its process.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::watch;

use super::batch::{Batch, Effect};
use super::error::KeyText;
use super::scan::{Entry, Order, Page, Scan};
use super::space::{Reserve, Space};
use super::{Store, StoreError, StoreState};

/// A store that lives as long as its process, for tests and trials.
#[derive(Debug)]
pub struct MemoryStore {
    entries: Mutex<BTreeMap<Vec<u8>, Bytes>>,
    state: watch::Sender<StoreState>,
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self { entries: Mutex::default(), state: watch::Sender::new(StoreState::Ready) }
    }

    /// Runs `with` on the entries. They are changed in one step that cannot panic, so a poisoned
    /// lock still guards a whole state.
    fn with<T>(&self, with: impl FnOnce(&mut BTreeMap<Vec<u8>, Bytes>) -> T) -> T {
        with(&mut self.entries.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        Ok(self.with(|entries| entries.get(key).cloned()))
    }

    async fn scan(&self, scan: Scan) -> Result<Page, StoreError> {
        let Some(bounds) = scan.bounds() else { return Ok(Page::default()) };
        self.with(|entries| {
            let entries = entries
                .range(bounds)
                .map(|(key, value)| Ok(Entry { key: key.clone(), value: value.clone() }));
            match scan.order {
                Order::Ascending => Page::fill(scan.limit, entries),
                Order::Descending => Page::fill(scan.limit, entries.rev()),
            }
        })
    }

    async fn commit(&self, batch: Batch) -> Result<(), StoreError> {
        batch.check().map_err(StoreError::Refused)?;
        self.with(|entries| {
            for change in batch.changes() {
                if !change.expected.holds(entries.get(&change.key).map(AsRef::as_ref)) {
                    return Err(StoreError::Conflict { key: KeyText::of(&change.key) });
                }
            }
            for change in batch.changes() {
                match &change.effect {
                    Effect::Keep => {}
                    Effect::Put(value) => {
                        entries.insert(change.key.clone(), value.clone());
                    }
                    Effect::Delete => {
                        entries.remove(&change.key);
                    }
                }
            }
            Ok(())
        })
    }

    fn state(&self) -> watch::Receiver<StoreState> {
        self.state.subscribe()
    }

    fn space(&self) -> Result<Space, StoreError> {
        Ok(Space { free_bytes: u64::MAX, total_bytes: u64::MAX, reserve: Reserve::None })
    }
}
