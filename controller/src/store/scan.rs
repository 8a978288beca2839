//! Scan: which entries of the store to list.

use std::ops::Bound;

use bytes::Bytes;

use super::{MAX_PAGE_BYTES, MAX_PAGE_ENTRIES};

/// The order of a scan by key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// Smallest key first.
    #[default]
    Ascending,
    /// Greatest key first.
    Descending,
}

/// Which entries to list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scan {
    /// Every listed key begins with it.
    pub prefix: Vec<u8>,
    /// The last key of the page before, to go on behind it in the scan's order.
    pub after: Option<Vec<u8>>,
    /// At most so many; never more than [`MAX_PAGE_ENTRIES`].
    pub limit: usize,
    /// By key.
    pub order: Order,
}

/// One entry of the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// At most [`super::MAX_KEY_BYTES`] long.
    pub key: Vec<u8>,
    /// At most [`super::MAX_VALUE_BYTES`] long.
    pub value: Bytes,
}

/// A part of a scan's answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// In the scan's order.
    pub entries: Vec<Entry>,
    /// There is more behind the last entry.
    pub more: bool,
}

/// From where to where, in key order.
pub(super) type Bounds = (Bound<Vec<u8>>, Bound<Vec<u8>>);

impl Scan {
    /// The first page of the keys that begin with `prefix`, smallest first.
    pub fn prefix(prefix: impl Into<Vec<u8>>) -> Self {
        Self {
            prefix: prefix.into(),
            after: None,
            limit: MAX_PAGE_ENTRIES,
            order: Order::Ascending,
        }
    }

    /// The range of keys, without those of the store itself; nothing if it is empty.
    pub(super) fn bounds(&self) -> Option<Bounds> {
        let lowest = if self.prefix.is_empty() { vec![1] } else { self.prefix.clone() };
        if lowest.first() == Some(&0) {
            return None;
        }
        let mut start = Bound::Included(lowest.clone());
        let mut end = successor(&self.prefix).map_or(Bound::Unbounded, Bound::Excluded);
        match (&self.after, self.order) {
            (Some(after), Order::Ascending) if *after >= lowest => {
                start = Bound::Excluded(after.clone());
            }
            (Some(after), Order::Descending) if !is_above(after, &end) => {
                end = Bound::Excluded(after.clone());
            }
            (_, Order::Ascending | Order::Descending) => {}
        }
        is_range(&start, &end).then_some((start, end))
    }
}

impl Page {
    /// Takes entries until the page is full.
    pub(super) fn fill<E>(
        limit: usize,
        entries: impl Iterator<Item = Result<Entry, E>>,
    ) -> Result<Self, E> {
        let limit = limit.clamp(1, MAX_PAGE_ENTRIES);
        let mut page = Self::default();
        let mut bytes = 0;
        for entry in entries {
            let entry = entry?;
            if page.entries.len() == limit || bytes > MAX_PAGE_BYTES {
                page.more = true;
                break;
            }
            bytes += entry.value.len();
            page.entries.push(entry);
        }
        Ok(page)
    }
}

/// The smallest key above every key that begins with `prefix`.
fn successor(prefix: &[u8]) -> Option<Vec<u8>> {
    let kept = prefix.iter().rposition(|byte| *byte != u8::MAX)?;
    let mut next: Vec<u8> = prefix.iter().take(kept + 1).copied().collect();
    let last = next.last_mut()?;
    *last += 1;
    Some(next)
}

fn is_above(key: &[u8], end: &Bound<Vec<u8>>) -> bool {
    match end {
        Bound::Unbounded => false,
        Bound::Included(end) => key > end.as_slice(),
        Bound::Excluded(end) => key >= end.as_slice(),
    }
}

fn is_range(start: &Bound<Vec<u8>>, end: &Bound<Vec<u8>>) -> bool {
    match (start, end) {
        (Bound::Unbounded, _) | (_, Bound::Unbounded) => true,
        (
            Bound::Included(start) | Bound::Excluded(start),
            Bound::Included(end) | Bound::Excluded(end),
        ) => start < end,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_prefix_is_the_next_key_that_does_not_begin_with_it() {
        assert_eq!(successor(b"run/"), Some(b"run0".to_vec()));
        assert_eq!(successor(&[7, 255, 255]), Some(vec![8]));
        assert_eq!(successor(&[255]), None);
        assert_eq!(successor(b""), None);
    }

    #[test]
    fn keys_of_the_store_itself_are_never_listed() {
        let everything = Scan::prefix("").bounds();

        assert_eq!(everything, Some((Bound::Included(vec![1]), Bound::Unbounded)));
        assert_eq!(Scan::prefix("\0").bounds(), None);
    }
}
