//! Digest: one number for everything in the store, whatever the order.
//!
//! It is written with each batch and compared with the entries when the store is opened. The mark
//! finds a log that ends too early, as sled makes it end at the first message that it cannot read;
//! the digest finds what is missing, old or changed anywhere else.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256};

/// The sum of the hashes of all entries: adding and taking away are exact opposites.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Digest(u128);

impl Digest {
    /// With one entry more.
    pub(super) fn add(&mut self, key: &[u8], value: &[u8]) {
        self.0 = self.0.wrapping_add(hash(key, value));
    }

    /// With one entry less.
    pub(super) fn subtract(&mut self, key: &[u8], value: &[u8]) {
        self.0 = self.0.wrapping_sub(hash(key, value));
    }
}

fn hash(key: &[u8], value: &[u8]) -> u128 {
    let mut hasher = Sha256::new();
    hasher.update(u64::try_from(key.len()).unwrap_or(u64::MAX).to_be_bytes());
    hasher.update(key);
    hasher.update(value);
    let hash: [u8; 32] = hasher.finalize().into();
    hash.first_chunk().map_or(0, |half: &[u8; 16]| u128::from_be_bytes(*half))
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{self:?}"))
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        u128::from_str_radix(&text, 16).map(Self).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_does_not_count_and_what_is_taken_away_is_gone() {
        let (mut one, mut other) = (Digest::default(), Digest::default());

        one.add(b"a", b"1");
        one.add(b"b", b"2");
        other.add(b"b", b"2");
        other.add(b"c", b"3");
        other.add(b"a", b"1");
        other.subtract(b"c", b"3");

        assert_eq!(one, other);
    }

    #[test]
    fn a_byte_that_moves_from_the_key_to_the_value_counts() {
        let (mut one, mut other) = (Digest::default(), Digest::default());

        one.add(b"ab", b"c");
        other.add(b"a", b"bc");

        assert_ne!(one, other);
    }
}
