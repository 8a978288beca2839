//! The tail: the last of what a command wrote, however much that was.

use std::collections::VecDeque;

use crate::docker::escaped;

/// How much is kept.
const KEPT: usize = 64 << 10;

/// How much of it an error shows.
const SHOWN: usize = 4 << 10;

/// A ring of the last 64 KiB.
#[derive(Debug, Default)]
pub(super) struct Tail {
    ring: VecDeque<u8>,
    /// All that was ever written.
    pub(super) total: u64,
}

impl Tail {
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.total = self.total.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        let kept = bytes.get(bytes.len().saturating_sub(KEPT)..).unwrap_or_default();
        let overflow = (self.ring.len() + kept.len()).saturating_sub(KEPT);
        self.ring.drain(..overflow);
        self.ring.extend(kept);
    }

    /// All that is kept, as text.
    pub(super) fn text(&self) -> String {
        let bytes: Vec<u8> = self.ring.iter().copied().collect();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// The last 4 KiB, printable: what a container writes must not move a terminal.
    pub(super) fn shown(&self) -> String {
        let skipped = self.ring.len().saturating_sub(SHOWN);
        let bytes: Vec<u8> = self.ring.iter().skip(skipped).copied().collect();
        let text = String::from_utf8_lossy(&bytes);
        text.trim().chars().flat_map(escaped).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_last_64_kib_are_kept_and_4_shown_however_much_is_written() {
        let mut tail = Tail::default();
        for _ in 0..100 {
            tail.push(&vec![b'x'; 10_000]);
        }
        tail.push(&vec![b'y'; 200_000]);
        tail.push(b"end\n");

        assert_eq!(tail.total, 1_200_004);
        assert_eq!(tail.text().len(), KEPT);
        assert!(tail.text().ends_with("yyend\n"));
        assert_eq!(tail.shown().len(), SHOWN - 1);
    }

    #[test]
    fn control_characters_are_shown_and_not_obeyed() {
        let mut tail = Tail::default();
        tail.push(b"one\ntwo\x1b]0;title\x07 \xff");
        assert_eq!(tail.shown(), "one\ntwo\\u{1b}]0;title\\u{7} \u{fffd}");
    }
}
