//! Tree: many small files and a few large ones, and the same a day later.

use std::fs::File;
use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use super::{Chance, row, words};

/// Of the whole tree: files, directories, and the size of each of the four large ones.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    files: u64,
    large: u64,
}

/// How many small files are in a directory.
const PER_DIRECTORY: u64 = 100;
/// One in so many small files changes from day to day.
const CHANGED: u64 = 100;

impl Shape {
    /// 20,000 small files of 256 bytes to 128 KiB and four of 192 MiB; `part` of all that.
    pub(crate) const fn part(part: u64) -> Self {
        Self { files: 20_000 / part, large: (192 << 20) / part }
    }

    /// Makes the tree in the new directory `root`; its bytes. Seven files of ten are text, and two
    /// of the large ones.
    pub(crate) fn make(self, root: &Path) -> anyhow::Result<u64> {
        let mut chance = Chance(0x7_4ee);
        let words = words();
        let mut bytes = 0;
        for number in 0..self.files {
            let path = small(root, number);
            if number % PER_DIRECTORY == 0 {
                std::fs::create_dir_all(path.parent().unwrap_or(root))?;
            }
            let size = log_uniform(&mut chance);
            let is_text = chance.below(10) < 7;
            std::fs::write(path, content(&mut chance, &words, size, is_text))?;
            bytes += size;
        }
        for number in 0..4 {
            let mut file = File::create(large(root, number))?;
            let mut left = self.large;
            while left > 0 {
                let size = left.min(1 << 20);
                file.write_all(&content(&mut chance, &words, size, number % 2 == 0))?;
                left -= size;
            }
            bytes += self.large;
        }
        rustix::fs::sync();
        Ok(bytes)
    }

    /// Changes the tree as `day` does: one small file of a hundred, and eight MiB of the large ones
    /// (in parts), each day others.
    pub(crate) fn change(self, root: &Path, day: u64) -> anyhow::Result<()> {
        let mut chance = Chance(0xda7 + day);
        let words = words();
        for number in (day % CHANGED..self.files).step_by(usize::try_from(CHANGED)?) {
            let size = log_uniform(&mut chance);
            std::fs::write(small(root, number), content(&mut chance, &words, size, true))?;
        }
        let size = self.large / 96;
        for number in 0..4 {
            let mut file = File::options().write(true).open(large(root, number))?;
            file.seek(SeekFrom::Start(chance.below(self.large - size)))?;
            file.write_all(&content(&mut chance, &words, size, number % 2 == 0))?;
        }
        rustix::fs::sync();
        Ok(())
    }
}

fn small(root: &Path, number: u64) -> PathBuf {
    root.join(format!("d{:03}/f{number:05}", number / PER_DIRECTORY))
}

fn large(root: &Path, number: u64) -> PathBuf {
    root.join(format!("large{number}"))
}

/// 256 bytes to 128 KiB: each power of two as often as any other.
fn log_uniform(chance: &mut Chance) -> u64 {
    let least = 256 << chance.below(9);
    least + chance.below(least)
}

/// `size` bytes of rows, or of what cannot be compressed.
fn content(chance: &mut Chance, words: &[String], size: u64, is_text: bool) -> Vec<u8> {
    let size = usize::try_from(size).unwrap_or(0);
    let mut bytes = Vec::with_capacity(size + 512);
    while bytes.len() < size {
        if is_text {
            let number = chance.next();
            bytes.extend_from_slice(row(chance, words, number).as_bytes());
        } else {
            bytes.extend_from_slice(&chance.next().to_le_bytes());
        }
    }
    bytes.truncate(size);
    bytes
}
