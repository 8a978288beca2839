//! Batch: changes that happen together or not at all.

use std::collections::HashSet;

use bytes::Bytes;

use super::error::KeyText;
use super::{MAX_BATCH_BYTES, MAX_KEY_BYTES, MAX_VALUE_BYTES};

/// What must be at a key for a batch to be applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expected {
    /// Anything or nothing.
    Any,
    /// Nothing.
    Absent,
    /// Exactly this value.
    Value(Bytes),
}

impl Expected {
    pub(super) fn holds(&self, current: Option<&[u8]>) -> bool {
        match self {
            Self::Any => true,
            Self::Absent => current.is_none(),
            Self::Value(value) => current == Some(value.as_ref()),
        }
    }
}

/// What becomes of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It stays as it is: only the expectation counts.
    Keep,
    /// It gets this value.
    Put(Bytes),
    /// It is no longer there.
    Delete,
}

/// One change of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Which key; each key at most once in a batch.
    pub key: Vec<u8>,
    /// Under which condition.
    pub expected: Expected,
    /// What becomes of it.
    pub effect: Effect,
}

/// Changes that happen together or not at all, in no order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    changes: Vec<Change>,
}

/// Why a batch cannot be taken by any store.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// An empty key, or one that is too long.
    #[error("the key `{key}` has {bytes} bytes, allowed are 1 to {MAX_KEY_BYTES}")]
    KeyLength {
        /// The key.
        key: KeyText,
        /// Its length.
        bytes: usize,
    },
    /// Keys that begin with a zero byte are the store's own.
    #[error("the key `{key}` begins with a zero byte, which is reserved for the store itself")]
    KeyReserved {
        /// The key.
        key: KeyText,
    },
    /// Two changes of one key have no order.
    #[error("the key `{key}` is changed twice in one batch")]
    KeyTwice {
        /// The key.
        key: KeyText,
    },
    /// A value that is too long.
    #[error("the value of `{key}` has {bytes} bytes, allowed are {MAX_VALUE_BYTES}")]
    ValueLength {
        /// The key.
        key: KeyText,
        /// The length of the value.
        bytes: usize,
    },
    /// A batch that is too big.
    #[error("the batch has {bytes} bytes, allowed are {MAX_BATCH_BYTES}")]
    BatchBytes {
        /// Keys and values together.
        bytes: usize,
    },
}

impl Batch {
    /// A batch without a change.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a change.
    pub fn push(&mut self, change: Change) {
        self.changes.push(change);
    }

    /// Adds "`key` gets `value`, whatever it had".
    pub fn put(&mut self, key: impl Into<Vec<u8>>, value: impl Into<Bytes>) {
        self.change(key, Expected::Any, Effect::Put(value.into()));
    }

    /// Adds "`key`, which must not be there, gets `value`".
    pub fn insert(&mut self, key: impl Into<Vec<u8>>, value: impl Into<Bytes>) {
        self.change(key, Expected::Absent, Effect::Put(value.into()));
    }

    /// Adds "`key`, which must have the value `seen`, gets `value`".
    pub fn replace(
        &mut self,
        key: impl Into<Vec<u8>>,
        seen: impl Into<Bytes>,
        value: impl Into<Bytes>,
    ) {
        self.change(key, Expected::Value(seen.into()), Effect::Put(value.into()));
    }

    /// Adds "`key` is no longer there, whatever it had".
    pub fn delete(&mut self, key: impl Into<Vec<u8>>) {
        self.change(key, Expected::Any, Effect::Delete);
    }

    /// Adds "`key`, which must have the value `seen`, is no longer there".
    pub fn remove(&mut self, key: impl Into<Vec<u8>>, seen: impl Into<Bytes>) {
        self.change(key, Expected::Value(seen.into()), Effect::Delete);
    }

    /// Adds a condition on a key that is not changed.
    pub fn require(&mut self, key: impl Into<Vec<u8>>, expected: Expected) {
        self.change(key, expected, Effect::Keep);
    }

    /// The changes, in the order in which they were added.
    pub fn changes(&self) -> &[Change] {
        &self.changes
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// The length of its keys and values together.
    pub fn bytes(&self) -> usize {
        self.changes.iter().map(Change::bytes).sum()
    }

    /// Whether every store can take it.
    ///
    /// # Errors
    ///
    /// The first rule that is broken.
    pub fn check(&self) -> Result<(), BatchError> {
        let mut seen = HashSet::with_capacity(self.changes.len());
        for change in &self.changes {
            change.check()?;
            if !seen.insert(&change.key) {
                return Err(BatchError::KeyTwice { key: KeyText::of(&change.key) });
            }
        }
        let bytes = self.bytes();
        if bytes > MAX_BATCH_BYTES {
            return Err(BatchError::BatchBytes { bytes });
        }
        Ok(())
    }

    fn change(&mut self, key: impl Into<Vec<u8>>, expected: Expected, effect: Effect) {
        self.changes.push(Change { key: key.into(), expected, effect });
    }
}

impl Change {
    fn bytes(&self) -> usize {
        let value = match &self.effect {
            Effect::Put(value) => value.len(),
            Effect::Keep | Effect::Delete => 0,
        };
        self.key.len() + value
    }

    fn check(&self) -> Result<(), BatchError> {
        let key = || KeyText::of(&self.key);
        if self.key.is_empty() || self.key.len() > MAX_KEY_BYTES {
            return Err(BatchError::KeyLength { key: key(), bytes: self.key.len() });
        }
        if self.key.first() == Some(&0) {
            return Err(BatchError::KeyReserved { key: key() });
        }
        match &self.effect {
            Effect::Put(value) if value.len() > MAX_VALUE_BYTES => {
                Err(BatchError::ValueLength { key: key(), bytes: value.len() })
            }
            Effect::Put(_) | Effect::Keep | Effect::Delete => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_broken_rule_of_a_batch_names_the_key_and_the_limit() {
        let mut long_key = Batch::new();
        long_key.put(vec![b'k'; MAX_KEY_BYTES + 1], "v");
        let mut empty_key = Batch::new();
        empty_key.put("", "v");
        let mut reserved = Batch::new();
        reserved.put("\0store", "v");
        let mut long_value = Batch::new();
        long_value.put("run/1", vec![0; MAX_VALUE_BYTES + 1]);
        let mut twice = Batch::new();
        twice.put("run/1", "v");
        twice.delete("run/1");
        let mut big = Batch::new();
        for n in 0..17 {
            big.put(format!("run/{n}"), vec![0; MAX_VALUE_BYTES]);
        }

        let messages: Vec<String> = [empty_key, reserved, long_value, twice, big]
            .iter()
            .map(|batch| batch.check().unwrap_err().to_string())
            .collect();

        assert!(long_key.check().unwrap_err().to_string().contains("257 bytes, allowed are 1 to"));
        assert_eq!(
            messages,
            [
                "the key `` has 0 bytes, allowed are 1 to 256",
                "the key `\\x00store` begins with a zero byte, which is reserved for the store itself",
                "the value of `run/1` has 65537 bytes, allowed are 65536",
                "the key `run/1` is changed twice in one batch",
                "the batch has 1114204 bytes, allowed are 1048576",
            ]
        );
    }
}
