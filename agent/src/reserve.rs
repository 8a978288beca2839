//! Reserve: disk space kept aside for what must be written when the disk is full (F51).

use std::{
    fs::{self, File, OpenOptions},
    io,
    path::{Path, PathBuf},
};

use rustix::fs::FallocateFlags;

/// Enough for every hold and the last words of every run of one host.
const SIZE_BYTES: u64 = 1 << 20;

/// A file that takes up space until the space is needed.
#[derive(Debug)]
pub struct Reserve {
    path: PathBuf,
}

impl Reserve {
    /// Takes the space, at `path`. A disk that has none left is not an error here: what is written
    /// later fails by itself.
    pub fn take(path: impl Into<PathBuf>) -> Self {
        let reserve = Self { path: path.into() };
        reserve.refill();
        reserve
    }

    /// Does `write`; when the disk is full, gives the space up and does it once more.
    ///
    /// # Errors
    ///
    /// What `write` says the last time.
    pub fn spend<T, E>(
        &self,
        is_full: impl Fn(&E) -> bool,
        write: impl Fn() -> Result<T, E>,
    ) -> Result<T, E> {
        match write() {
            Err(error) if is_full(&error) && fs::remove_file(&self.path).is_ok() => {
                tracing::warn!(path = %self.path.display(), "disk full: used the reserved space");
                let written = write();
                self.refill();
                written
            }
            written => written,
        }
    }

    fn refill(&self) {
        if let Err(error) = fill(&self.path) {
            tracing::debug!(%error, path = %self.path.display(), "reserve disk space");
        }
    }
}

fn fill(path: &Path) -> io::Result<()> {
    let file: File = OpenOptions::new().create(true).append(true).open(path)?;
    if file.metadata()?.len() >= SIZE_BYTES {
        return Ok(());
    }
    Ok(rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, SIZE_BYTES)?)
}

/// Whether the disk, or the caller's share of it, is full.
pub fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn a_full_disk_gives_up_the_reserve_and_the_write_is_done_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("reserve");
        let reserve = Reserve::take(&path);
        assert_eq!(fs::metadata(&path).unwrap().len(), SIZE_BYTES);

        let tries = Cell::new(0);
        let written = reserve.spend(is_full, || {
            tries.set(tries.get() + 1);
            if path.exists() { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
        });

        assert!(written.is_ok());
        assert_eq!(tries.get(), 2);
        assert!(path.exists());
    }
}
