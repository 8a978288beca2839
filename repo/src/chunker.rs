//! Chunker: where a stream is cut, by its content alone, so that what did not change is cut alike.
//!
//! It is `FastCDC` with a gear table that follows from the repository's master key: the sizes of
//! chunks tell nobody without the key what is in them. No reader cares where the cuts are.

use std::fmt;
use std::sync::Arc;

use crate::crypto::MasterKey;
use crate::hash::Hasher;

/// The smallest chunk, but for the last of a stream.
pub const MIN: usize = 512 << 10;
/// The size around which chunks lie.
pub const AVERAGE: usize = 1 << 20;
/// The largest chunk.
pub const MAX: usize = 8 << 20;

/// Below this hash there is a cut in a chunk smaller than the average: one in 2^21 bytes.
const RARELY: u64 = 1 << (64 - 21);
/// Below this hash there is a cut in a chunk larger than that: one in 2^19 bytes.
const OFTEN: u64 = 1 << (64 - 19);

/// Cuts streams.
#[derive(Clone)]
pub struct Chunker {
    gear: Arc<[u64; 256]>,
}

impl fmt::Debug for Chunker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Chunker(…)")
    }
}

/// How far a chunk has been looked at.
#[derive(Debug, Clone, Default)]
pub struct Scan {
    hash: u64,
    position: usize,
}

impl Chunker {
    /// The chunker of the repository with this key.
    pub fn new(key: &MasterKey) -> Self {
        let seed = key.derive("lazarette chunker 1");
        let mut gear = [0; 256];
        for (value, entry) in (0u8..=u8::MAX).zip(&mut gear) {
            let mut hasher = Hasher::default();
            hasher.update(&seed);
            hasher.update(&[value]);
            let digest = hasher.finish();
            let (first, _) = digest.split_first_chunk::<8>().unwrap_or((&[0; 8], &[]));
            *entry = u64::from_le_bytes(*first);
        }
        Self { gear: Arc::new(gear) }
    }

    /// The size of the chunk that begins with `chunk`; `None` when it goes on behind it. `scan`
    /// remembers how far this has looked, and is new again after a cut.
    pub fn cut(&self, scan: &mut Scan, chunk: &[u8]) -> Option<usize> {
        let cut = self
            .look(scan, chunk, AVERAGE, RARELY)
            .or_else(|| self.look(scan, chunk, MAX, OFTEN))
            .or_else(|| (chunk.len() >= MAX).then_some(MAX));
        if cut.is_some() {
            *scan = Scan::default();
        }
        cut
    }

    /// Looks on up to `end`, or to the end of what is there, for a hash below `limit`.
    fn look(&self, scan: &mut Scan, chunk: &[u8], end: usize, limit: u64) -> Option<usize> {
        let from = scan.position.max(MIN);
        let to = end.min(chunk.len());
        let bytes = chunk.get(from..to)?;
        let mut hash = scan.hash;
        for (index, byte) in bytes.iter().enumerate() {
            hash = (hash << 1).wrapping_add(self.gear_of(*byte));
            if hash < limit {
                return Some(from + index + 1);
            }
        }
        *scan = Scan { hash, position: to.max(from) };
        None
    }

    #[expect(clippy::indexing_slicing, reason = "a byte is always below 256")]
    #[inline]
    fn gear_of(&self, byte: u8) -> u64 {
        self.gear[usize::from(byte)]
    }

    /// Every chunk of `content`, in order.
    pub fn split<'content>(
        &self,
        content: &'content [u8],
    ) -> impl Iterator<Item = &'content [u8]> + use<'_, 'content> {
        let mut rest = content;
        std::iter::from_fn(move || {
            if rest.is_empty() {
                return None;
            }
            let size = self.cut(&mut Scan::default(), rest).unwrap_or(rest.len());
            let (chunk, after) = rest.split_at_checked(size)?;
            rest = after;
            Some(chunk)
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn chunker(seed: u8) -> Chunker {
        Chunker::new(&MasterKey::from_bytes(&[seed; 64]).unwrap())
    }

    fn noise(size: usize, mut state: u64) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(size + 8);
        while bytes.len() < size {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            bytes.extend_from_slice(&state.to_le_bytes());
        }
        bytes.truncate(size);
        bytes
    }

    fn sizes(chunker: &Chunker, content: &[u8]) -> Vec<usize> {
        chunker.split(content).map(<[u8]>::len).collect()
    }

    #[test]
    fn chunks_keep_their_limits_and_lie_around_the_average() {
        let content = noise(64 << 20, 1);

        let sizes = sizes(&chunker(1), &content);

        assert_eq!(sizes.iter().sum::<usize>(), content.len());
        let (_, inner) = sizes.split_last().unwrap();
        assert!(inner.iter().all(|size| (MIN..=MAX).contains(size)));
        let average = content.len() / sizes.len();
        assert!((MIN..2 * AVERAGE).contains(&average), "{average}");
    }

    #[test]
    fn the_same_byte_for_ever_is_cut_at_the_maximum_or_the_minimum() {
        let sizes = sizes(&chunker(1), &vec![7; 20 << 20]);

        assert!(sizes.iter().all(|size| *size <= MAX));
    }

    #[test]
    fn another_key_cuts_elsewhere() {
        let content = noise(16 << 20, 2);

        assert_ne!(sizes(&chunker(1), &content), sizes(&chunker(2), &content));
    }

    #[test]
    fn after_an_insertion_the_cuts_are_found_again() {
        let content = noise(32 << 20, 3);
        let mut changed = content.clone();
        changed.splice(5_000_000..5_000_000, *b"inserted");
        let chunker = chunker(1);

        let before: std::collections::HashSet<_> = chunker.split(&content).collect();
        let kept = chunker.split(&changed).filter(|chunk| before.contains(chunk)).count();

        assert!(kept + 3 >= before.len(), "{kept} of {}", before.len());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]
        #[test]
        fn cuts_do_not_depend_on_how_the_stream_arrives(
            seed in 1u64..,
            steps in proptest::collection::vec(1usize..900_000, 1..40),
        ) {
            let content = noise(6 << 20, seed);
            let chunker = chunker(1);
            let whole: Vec<_> = sizes(&chunker, &content);

            let (mut start, mut scan, mut pieces) = (0, Scan::default(), Vec::new());
            let mut end = 0;
            let mut steps = steps.into_iter().cycle();
            while end < content.len() {
                end = (end + steps.next().unwrap()).min(content.len());
                while let Some(size) = chunker.cut(&mut scan, &content[start..end]) {
                    pieces.push(size);
                    start += size;
                }
            }
            if start < content.len() {
                pieces.push(content.len() - start);
            }

            prop_assert_eq!(pieces, whole);
        }
    }
}
