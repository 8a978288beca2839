//! Collection: the records of one kind, each under its key.

use std::marker::PhantomData;
use std::sync::Arc;

use bytes::Bytes;

use super::batch::Batch;
use super::error::KeyText;
use super::key::Key;
use super::record::{self, Record, RecordError};
use super::scan::{Order, Scan};
use super::{Store, StoreError};

/// How often [`Collection::update`] tries again when somebody else was first.
const UPDATE_TRIES: usize = 100;

/// The records of one kind, under keys that begin with the collection's name.
#[derive(Debug)]
pub struct Collection<K, V> {
    name: &'static str,
    kinds: PhantomData<fn() -> (K, V)>,
}

/// A record and the bytes it was read from, which a conditional change needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found<V> {
    /// The record.
    pub value: V,
    seen: Bytes,
}

/// A page of records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing<K, V> {
    /// In the order that was asked for.
    pub records: Vec<(K, Found<V>)>,
    /// There is more behind the last record.
    pub more: bool,
}

/// Which part of a collection to list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part<'a, K> {
    /// What the ids' bytes begin with; empty for all.
    pub within: &'a [u8],
    /// The last id of the page before.
    pub after: Option<&'a K>,
    /// At most so many.
    pub limit: usize,
    /// By id.
    pub order: Order,
}

impl<K> Part<'_, K> {
    /// The first page of everything, smallest id first.
    pub fn first() -> Self {
        Self { within: &[], after: None, limit: super::MAX_PAGE_ENTRIES, order: Order::Ascending }
    }
}

impl<K: Key, V: Record> Collection<K, V> {
    /// The collection called `name`, which no other collection has.
    pub const fn new(name: &'static str) -> Self {
        Self { name, kinds: PhantomData }
    }

    /// The key of the record with this id: `name/` and the id's bytes.
    pub fn key(&self, id: &K) -> Vec<u8> {
        let mut key = self.prefix();
        id.write(&mut key);
        key
    }

    /// The record with this id.
    ///
    /// # Errors
    ///
    /// [`StoreError::Record`] when what is stored is not such a record.
    pub async fn get(&self, store: &dyn Store, id: &K) -> Result<Option<Found<V>>, StoreError> {
        let key = self.key(id);
        let Some(seen) = store.get(&key).await? else { return Ok(None) };
        found(&key, seen).map(Some)
    }

    /// A page of records.
    ///
    /// # Errors
    ///
    /// [`StoreError::Record`] when one of them is not such a record: no page is shown with holes.
    pub async fn list(
        &self,
        store: &dyn Store,
        part: Part<'_, K>,
    ) -> Result<Listing<K, V>, StoreError> {
        let mut prefix = self.prefix();
        let name_bytes = prefix.len();
        prefix.extend_from_slice(part.within);
        let after = part.after.map(|id| self.key(id));
        let scan = Scan { prefix, after, limit: part.limit, order: part.order };
        let page = store.scan(scan).await?;

        let mut records = Vec::with_capacity(page.entries.len());
        for entry in page.entries {
            let id = entry.key.get(name_bytes..).and_then(K::read);
            let id = id.ok_or_else(|| unreadable(&entry.key, RecordError::Key))?;
            records.push((id, found(&entry.key, entry.value)?));
        }
        Ok(Listing { records, more: page.more })
    }

    /// Every record whose id begins with `within`, smallest id first, page by page.
    ///
    /// # Errors
    ///
    /// As [`Collection::list`].
    pub async fn all(&self, store: &dyn Store, within: &[u8]) -> Result<Vec<(K, V)>, StoreError> {
        let mut all: Vec<(K, V)> = Vec::new();
        loop {
            let after = all.last().map(|(id, _)| id);
            let part = Part { within, after, ..Part::first() };
            let listing = self.list(store, part).await?;
            all.extend(listing.records.into_iter().map(|(id, found)| (id, found.value)));
            if !listing.more {
                return Ok(all);
            }
        }
    }

    /// Adds to `batch` that the record, which must not be there, is.
    ///
    /// # Errors
    ///
    /// [`StoreError::Record`] when it cannot be written as JSON.
    pub fn insert(&self, batch: &mut Batch, id: &K, value: &V) -> Result<(), StoreError> {
        let key = self.key(id);
        let bytes = encode(&key, value)?;
        batch.insert(key, bytes);
        Ok(())
    }

    /// Adds to `batch` that the record is there, whatever was.
    ///
    /// # Errors
    ///
    /// [`StoreError::Record`] when it cannot be written as JSON.
    pub fn put(&self, batch: &mut Batch, id: &K, value: &V) -> Result<(), StoreError> {
        let key = self.key(id);
        let bytes = encode(&key, value)?;
        batch.put(key, bytes);
        Ok(())
    }

    /// Adds to `batch` that the record becomes `value`, if it still is as `seen`.
    ///
    /// # Errors
    ///
    /// [`StoreError::Record`] when it cannot be written as JSON.
    pub fn replace(
        &self,
        batch: &mut Batch,
        id: &K,
        seen: &Found<V>,
        value: &V,
    ) -> Result<(), StoreError> {
        let key = self.key(id);
        let bytes = encode(&key, value)?;
        batch.replace(key, seen.seen.clone(), bytes);
        Ok(())
    }

    /// Adds to `batch` that the record is gone, if it still is as `seen`.
    pub fn remove(&self, batch: &mut Batch, id: &K, seen: &Found<V>) {
        batch.remove(self.key(id), seen.seen.clone());
    }

    /// Adds to `batch` the condition that the record still is as `seen`.
    pub fn require(&self, batch: &mut Batch, id: &K, seen: &Found<V>) {
        batch.require(self.key(id), super::Expected::Value(seen.seen.clone()));
    }

    /// Replaces the record by what `change` makes of it, again and again until nobody else was
    /// first; `change` says no by an error of its own.
    ///
    /// # Errors
    ///
    /// What `change` said, or why the store could not do it.
    pub async fn update<E, F>(&self, store: &dyn Store, id: &K, change: F) -> Result<V, E>
    where
        E: From<StoreError>,
        F: Fn(Option<&V>) -> Result<V, E>,
    {
        let mut tries = UPDATE_TRIES;
        loop {
            let seen = self.get(store, id).await?;
            let value = change(seen.as_ref().map(|found| &found.value))?;
            let mut batch = Batch::new();
            match &seen {
                Some(seen) => self.replace(&mut batch, id, seen, &value)?,
                None => self.insert(&mut batch, id, &value)?,
            }
            tries -= 1;
            match store.commit(batch).await {
                Ok(()) => return Ok(value),
                Err(error) if error.is_conflict() && tries > 0 => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn prefix(&self) -> Vec<u8> {
        let mut prefix = self.name.as_bytes().to_vec();
        prefix.push(b'/');
        prefix
    }
}

fn found<V: Record>(key: &[u8], seen: Bytes) -> Result<Found<V>, StoreError> {
    let value = record::decode(key, &seen).map_err(|source| unreadable(key, source))?;
    Ok(Found { value, seen })
}

fn encode<V: Record>(key: &[u8], value: &V) -> Result<Vec<u8>, StoreError> {
    record::encode(key, value).map_err(|source| unreadable(key, source))
}

fn unreadable(key: &[u8], source: RecordError) -> StoreError {
    StoreError::Record { key: KeyText::of(key), source: Arc::new(source) }
}
