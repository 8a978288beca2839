//! Entries of a root that stays: moved away and moved in one after the other, and back.

use std::os::fd::OwnedFd;

use rustix::{
    fs::{Mode, OFlags, RenameFlags},
    io::Errno,
};

use super::{
    Exchange, ExchangeError, NEW, PREFIX, PREVIOUS, copy_metadata, exists, journal::Journal,
};
use crate::volume::{
    inode::{Inode, open_beneath},
    removal::names,
};

impl Exchange {
    /// Moves every entry of the root to `previous`, then every entry of `new` to the root.
    pub(super) fn swap_entries(&self, work: &OwnedFd) -> Result<(), ExchangeError> {
        let new = self.inner(work, NEW)?;
        let journal = self.read_journal(work)?;
        let (moved_in, moved_away, time) =
            if let Some(Journal::Entries { new, previous, new_time, .. }) = journal {
                (decode(&new), decode(&previous), new_time)
            } else {
                let ours = |name: &Vec<u8>| name.starts_with(PREFIX.as_bytes());
                let list = |dir: &OwnedFd| names(dir).map_err(self.call("list"));
                let moved_in = list(&new)?;
                let moved_away: Vec<_> =
                    list(&self.around)?.into_iter().filter(|name| !ours(name)).collect();
                self.make_previous(work)?;
                let new_time = Inode::open(&new).map_err(self.call("look into"))?.mtime;
                let journal = Journal::Entries {
                    new: encode(&moved_in),
                    previous: encode(&moved_away),
                    new_time,
                    previous_time: self.time()?,
                };
                self.write_journal(work, &journal)?;
                (moved_in, moved_away, new_time)
            };
        let previous = self.inner(work, PREVIOUS)?;
        for name in &moved_away {
            // Where both are called the same, the one in the root is the old one until there is
            // one in `previous`.
            if !exists(&previous, name).map_err(self.call("look into"))? {
                self.move_entry(&self.around, &previous, name)?;
            }
        }
        for name in &moved_in {
            if exists(&new, name).map_err(self.call("look into"))? {
                self.move_entry(&new, &self.around, name)?;
            }
        }
        let doing = "give the root its metadata beside";
        copy_metadata(&new, &self.around).map_err(self.copied(doing))?;
        self.set_time(time)
    }

    /// The same, backwards.
    pub(super) fn unswap_entries(&self, work: &OwnedFd) -> Result<(), ExchangeError> {
        let Some(Journal::Entries { new: moved_in, previous: moved_away, previous_time, .. }) =
            self.read_journal(work)?
        else {
            return Ok(());
        };
        let (new, previous) = (self.inner(work, NEW)?, self.inner(work, PREVIOUS)?);
        for name in decode(&moved_in) {
            let is_out = exists(&new, &name).map_err(self.call("look into"))?;
            let had_one = moved_away.contains(&hex::encode(&name));
            let old_is_away = exists(&previous, &name).map_err(self.call("look into"))?;
            // It is in the root when it is not in `new`; and what is in the root by its name is
            // the old one as long as that is not in `previous`.
            if !is_out && (!had_one || old_is_away) {
                self.move_entry(&self.around, &new, &name)?;
            }
        }
        for name in decode(&moved_away) {
            if exists(&previous, &name).map_err(self.call("look into"))? {
                self.move_entry(&previous, &self.around, &name)?;
            }
        }
        let doing = "give the root its metadata beside";
        copy_metadata(&previous, &self.around).map_err(self.copied(doing))?;
        self.set_time(previous_time)
    }

    /// Whether everything that was restored is in the root.
    pub(super) fn are_entries_swapped(&self, work: &OwnedFd) -> Result<bool, ExchangeError> {
        let Some(Journal::Entries { new: moved_in, .. }) = self.read_journal(work)? else {
            return Ok(false);
        };
        let new = self.inner(work, NEW)?;
        for name in decode(&moved_in) {
            let is_out = exists(&new, &name).map_err(self.call("look into"))?;
            if is_out {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// `previous`, with the metadata of the root, so that it need not be written down.
    pub(super) fn make_previous(&self, work: &OwnedFd) -> Result<(), ExchangeError> {
        match rustix::fs::mkdirat(work, PREVIOUS, Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(self.call("make a directory in")(error)),
        }
        copy_metadata(&self.around, &self.inner(work, PREVIOUS)?)
            .map_err(self.copied("keep the metadata of the root in"))
    }

    pub(super) fn inner(&self, work: &OwnedFd, name: &[u8]) -> Result<OwnedFd, ExchangeError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        open_beneath(work, name, flags).map_err(self.call("open a directory in"))
    }

    fn move_entry(&self, from: &OwnedFd, to: &OwnedFd, name: &[u8]) -> Result<(), ExchangeError> {
        match rustix::fs::renameat_with(from, name, to, name, RenameFlags::NOREPLACE) {
            Err(Errno::BUSY | Errno::XDEV) => {
                let name = String::from_utf8_lossy(name).into_owned();
                Err(ExchangeError::Mounted { path: self.path.join(name) })
            }
            outcome => outcome.map_err(self.call("move an entry by way of")),
        }
    }
}

fn encode(names: &[Vec<u8>]) -> Vec<String> {
    names.iter().map(hex::encode).collect()
}

/// Names that are no hex digits, or no names, were not written by [`encode`]: they move nothing.
fn decode(names: &[String]) -> Vec<Vec<u8>> {
    let is_name =
        |name: &Vec<u8>| !name.is_empty() && name != b"." && name != b".." && !name.contains(&b'/');
    names.iter().filter_map(|name| hex::decode(name).ok()).filter(is_name).collect()
}
