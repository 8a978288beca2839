//! Data: text like a dump's, and the same a day later, from a seed.

pub(crate) mod tree;

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;

/// A row of numbers that looks like chance and is always the same.
pub(crate) struct Chance(pub(crate) u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: u64) -> u64 {
        (self.next() >> 11) % limit
    }
}

/// How many regions of the second dump differ, and by how many rows: one per cent in all.
const REGIONS: u64 = 20;

/// Writes a dump of `size` bytes, about, and one a day later of which one per cent is different:
/// in twenty places rows are changed and some are new, so that what follows is shifted.
pub(crate) fn dumps(size: u64, first: &Path, changed: &Path) -> anyhow::Result<()> {
    let words = words();
    let (mut one, mut two) =
        (BufWriter::new(File::create(first)?), BufWriter::new(File::create(changed)?));
    let (mut chance, mut other) = (Chance(0x5eed), Chance(0xd1ff));
    let (mut written, mut number) = (0, 0);
    let region = size / REGIONS;
    while written < size {
        let row = row(&mut chance, &words, number);
        one.write_all(row.as_bytes())?;
        let is_changed = written % region < region / 100;
        if is_changed {
            two.write_all(self::row(&mut other, &words, number).as_bytes())?;
        } else {
            two.write_all(row.as_bytes())?;
        }
        written += u64::try_from(row.len())?;
        number += 1;
    }
    one.into_inner()?.sync_all()?;
    two.into_inner()?.sync_all()?;
    Ok(())
}

fn words() -> Vec<String> {
    let mut chance = Chance(0x0_0d5);
    let letters = b"etaoinshrdlucmfwypvbgkjqxz";
    let word = |chance: &mut Chance| {
        let length = 2 + chance.below(8);
        let letter = |chance: &mut Chance| {
            let number = chance.below(26).min(chance.below(26));
            letters.get(usize::try_from(number).unwrap_or(0)).copied().map_or('e', char::from)
        };
        (0..length).map(|_| letter(chance)).collect()
    };
    (0..4096).map(|_| word(&mut chance)).collect()
}

/// A row as `COPY` writes it: numbers, a time, words, an amount, an address.
fn row(chance: &mut Chance, words: &[String], number: u64) -> String {
    let mut text = String::new();
    for _ in 0..4 + chance.below(10) {
        let index = usize::try_from(chance.below(4096).min(chance.below(4096))).unwrap_or(0);
        text.push_str(words.get(index).map_or("", String::as_str));
        text.push(' ');
    }
    format!(
        "{number}\t{:08x}-{:04x}\t2026-{:02}-{:02} {:02}:{:02}:{:02}.{:06}+00\t{text}\t{}.{:02}\tuser{}@example.org\n",
        chance.below(1 << 32),
        chance.below(1 << 16),
        1 + chance.below(12),
        1 + chance.below(28),
        chance.below(24),
        chance.below(60),
        chance.below(60),
        chance.below(1_000_000),
        chance.below(100_000),
        chance.below(100),
        chance.below(1_000_000),
    )
}
