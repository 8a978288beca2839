//! Memory: a storage that is gone with its process, for tests.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;

use crate::id::ObjectId;
use crate::storage::{Created, Kind, Listed, ObjectName, Storage, StorageError};

/// A storage in memory.
#[derive(Debug, Default)]
pub struct MemoryStorage {
    objects: Mutex<BTreeMap<ObjectName, Bytes>>,
}

impl MemoryStorage {
    /// An empty storage.
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts `content` in place of `name`, whatever is there: for tests of damage.
    pub fn overwrite(&self, name: ObjectName, content: impl Into<Bytes>) {
        self.with(|objects| objects.insert(name, content.into()));
    }

    fn with<T>(&self, work: impl FnOnce(&mut BTreeMap<ObjectName, Bytes>) -> T) -> T {
        work(&mut self.objects.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn object(&self, name: ObjectName) -> Result<Bytes, StorageError> {
        self.with(|objects| objects.get(&name).cloned()).ok_or(StorageError::NotFound { name })
    }
}

#[async_trait]
impl Storage for MemoryStorage {
    async fn create(&self, name: ObjectName, content: Bytes) -> Result<Created, StorageError> {
        self.with(|objects| match objects.get(&name) {
            Some(there) if *there == content => Ok(Created::AlreadyThere),
            Some(_) => Err(StorageError::Conflict { name }),
            None => {
                objects.insert(name, content);
                Ok(Created::New)
            }
        })
    }

    async fn read(&self, name: ObjectName) -> Result<Bytes, StorageError> {
        self.object(name)
    }

    async fn read_range(&self, name: ObjectName, range: Range<u64>) -> Result<Bytes, StorageError> {
        let content = self.object(name)?;
        let (start, end) = (usize::try_from(range.start), usize::try_from(range.end));
        match (start, end) {
            (Ok(start), Ok(end)) if start <= end && end <= content.len() => {
                Ok(content.slice(start..end))
            }
            _ => Err(StorageError::Short { name, wanted: range.end, size: size_of(&content) }),
        }
    }

    async fn size(&self, name: ObjectName) -> Result<u64, StorageError> {
        Ok(size_of(&self.object(name)?))
    }

    async fn list(&self, kind: Kind) -> Result<Vec<Listed>, StorageError> {
        Ok(self.with(|objects| {
            objects
                .iter()
                .filter_map(|(name, content)| {
                    let id = ObjectId::new(*name.digest()?);
                    let ours = ObjectName::of(kind, id) == *name;
                    ours.then(|| Listed { id, size: size_of(content) })
                })
                .collect()
        }))
    }

    async fn delete(&self, name: ObjectName) -> Result<(), StorageError> {
        self.with(|objects| objects.remove(&name));
        Ok(())
    }
}

fn size_of(content: &Bytes) -> u64 {
    u64::try_from(content.len()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::conformance;

    #[tokio::test]
    async fn memory_conforms() {
        conformance::all(&MemoryStorage::new()).await;
    }
}
