//! Journal: what an exchange is about to do, on disk before it does it.

use std::{fs::File, io::Read, os::fd::OwnedFd};

use rustix::{
    fs::{Mode, OFlags},
    io::Errno,
};
use serde::{Deserialize, Serialize};

use super::{Exchange, ExchangeError};
use crate::volume::{
    confine::Place,
    inode::{FileTime, open_beneath},
};

const NAME: &[u8] = b"swap.json";
const BESIDE: &[u8] = b"swap.json.new";

/// What an exchange is about to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "way", rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum Journal {
    /// Two directories change places.
    Directory {
        /// The restored one.
        new: Place,
        /// The live one.
        previous: Place,
    },
    /// Files change places with those of the same path, or get the content of theirs.
    Paths {
        /// Of the files, as hex digits.
        leaves: Vec<String>,
        /// Of directories that are made for them, as hex digits, outer ones first.
        made: Vec<String>,
        /// When the content of the root changed, before.
        time: FileTime,
    },
    /// Entries of the root are moved away, others are moved in.
    Entries {
        /// Names that are moved in, as hex digits.
        new: Vec<String>,
        /// Names that are moved away, as hex digits.
        previous: Vec<String>,
        /// When the content of the restored root changed, before it was moved.
        new_time: FileTime,
        /// When that of the live root did.
        previous_time: FileTime,
    },
}

impl Exchange {
    /// Writes the journal, synced, whole or not at all.
    pub(super) fn write_journal(
        &self,
        work: &OwnedFd,
        journal: &Journal,
    ) -> Result<(), ExchangeError> {
        let bytes = serde_json::to_vec(journal).map_err(|source| ExchangeError::Journal {
            path: self.work_path(),
            run: self.run,
            source,
        })?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::CLOEXEC;
        let file =
            rustix::fs::openat(work, BESIDE, flags | OFlags::NOFOLLOW, Mode::RUSR | Mode::WUSR)
                .map_err(self.call("make the journal in"))?;
        let mut file = File::from(file);
        let write = std::io::Write::write_all(&mut file, &bytes).and_then(|()| file.sync_all());
        write.map_err(|source| ExchangeError::Call {
            doing: "write the journal in",
            path: self.work_path(),
            source,
        })?;
        rustix::fs::renameat(work, BESIDE, work, NAME).map_err(self.call("keep the journal in"))?;
        rustix::fs::fsync(work).map_err(self.call("sync"))?;
        rustix::fs::fsync(&self.around).map_err(self.call("sync"))
    }

    /// Reads the journal; nothing when there is none, so nothing live was touched.
    pub(super) fn read_journal(&self, work: &OwnedFd) -> Result<Option<Journal>, ExchangeError> {
        let file = match open_beneath(work, NAME, OFlags::RDONLY | OFlags::NONBLOCK) {
            Ok(file) => file,
            Err(Errno::NOENT) => return Ok(None),
            Err(error) => return Err(self.call("open the journal in")(error)),
        };
        let mut bytes = Vec::new();
        File::from(file).read_to_end(&mut bytes).map_err(|source| ExchangeError::Call {
            doing: "read the journal in",
            path: self.work_path(),
            source,
        })?;
        let path = self.work_path().join("swap.json");
        serde_json::from_slice(&bytes).map(Some).map_err(|source| ExchangeError::Journal {
            path,
            run: self.run,
            source,
        })
    }
}
