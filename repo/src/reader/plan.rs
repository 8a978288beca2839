//! Plan: which blobs are read together, in the order in which they are wanted.

use std::collections::VecDeque;
use std::ops::Range;

use crate::id::{BlobId, PackId};
use crate::index::BlobLocation;

/// How much of a pack is read at once, unless one blob alone is larger.
const RANGE: u64 = 4 << 20;

/// How many plain bytes a range may give, for what compresses well.
const PLAIN: u64 = 8 << 20;

/// How large a gap is read over rather than starting anew.
const GAP: u64 = 32 << 10;

/// How many blobs are in a range at most.
const BLOBS: usize = 1024;

/// Blobs to be read together from one pack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Segment {
    pub(super) pack: PackId,
    pub(super) range: Range<u64>,
    pub(super) blobs: Vec<(BlobId, BlobLocation)>,
}

/// Takes the next segment off `wanted`: its first blobs, as many as go together.
pub(super) fn next(wanted: &mut VecDeque<(BlobId, BlobLocation)>) -> Option<Segment> {
    let (id, place) = wanted.pop_front()?;
    let mut segment = Segment { pack: place.pack, range: span(&place), blobs: vec![(id, place)] };
    let mut plain = plain_size(id, &place);
    while let Some((id, place)) = wanted.front() {
        plain += plain_size(*id, place);
        if plain > PLAIN || segment.blobs.len() >= BLOBS || !joins(&segment, place) {
            break;
        }
        segment.range.end = span(place).end;
        segment.blobs.extend(wanted.pop_front());
    }
    Some(segment)
}

/// Whether the blob at `place` follows the segment closely.
fn joins(segment: &Segment, place: &BlobLocation) -> bool {
    let span = span(place);
    place.pack == segment.pack
        && span.start >= segment.range.end
        && span.start - segment.range.end <= GAP
        && span.end - segment.range.start <= RANGE
}

/// The bytes of a blob within its pack.
pub(super) fn span(place: &BlobLocation) -> Range<u64> {
    let start = u64::from(place.offset);
    start..start + u64::from(place.length)
}

fn plain_size(id: BlobId, place: &BlobLocation) -> u64 {
    u64::from(place.entry(id).plain_size())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pack::BlobKind;

    fn blob(pack: u8, offset: u32, length: u32) -> (BlobId, BlobLocation) {
        let pack = PackId::new([pack; 32]);
        let kind = BlobKind::Data;
        (BlobId::new([0; 32]), BlobLocation { pack, kind, offset, length, uncompressed: None })
    }

    fn ranges(blobs: &[(BlobId, BlobLocation)]) -> Vec<Range<u64>> {
        let mut wanted: VecDeque<_> = blobs.iter().copied().collect();
        std::iter::from_fn(|| next(&mut wanted)).map(|segment| segment.range).collect()
    }

    #[test]
    fn neighbours_are_read_together() {
        let ranges = ranges(&[blob(1, 0, 100), blob(1, 100, 50), blob(1, 160, 40)]);

        assert!(matches!(ranges.as_slice(), [Range { start: 0, end: 200 }]));
    }

    #[test]
    fn other_packs_gaps_and_the_way_back_begin_anew() {
        let blobs = [blob(1, 0, 100), blob(2, 100, 100), blob(2, 100_000, 100), blob(2, 0, 100)];

        assert_eq!(ranges(&blobs), [0..100, 100..200, 100_000..100_100, 0..100]);
    }

    #[test]
    fn ranges_stay_small() {
        let blobs: Vec<_> = (0..8).map(|number| blob(1, number << 20, 1 << 20)).collect();

        assert_eq!(ranges(&blobs), [0..4 << 20, 4 << 20..8 << 20]);
    }
}
