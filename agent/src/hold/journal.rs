//! Journal of holds: one synced file each; `ls` shows what is held right now.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use lazarette_core::{
    error::{Reason, ReasonedError, chain},
    id::HoldId,
};
use lazarette_node::durable::{self, DurableError};

use super::{Hold, HoldEnd};
use crate::{
    reserve::{self, Reserve},
    sealed::{self, SealError},
};

const WHAT: &str = "hold";
const FORMAT: u32 = 1;

/// A hold that is safely on disk. Only [`HoldJournal`] makes one, so nothing can be stopped that a
/// restarted agent would not find.
#[derive(Debug)]
#[must_use = "a hold that is not released is thawed by the reaper"]
pub struct Journaled(Hold);

impl Journaled {
    /// What was written.
    pub const fn hold(&self) -> &Hold {
        &self.0
    }
}

/// The journal could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The directory cannot be read.
    #[error("list the holds in `{}`", path.display())]
    List {
        /// The directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A hold cannot be written or removed.
    #[error("keep the journal of holds")]
    Durable(#[source] DurableError),
    /// A hold cannot be put into words.
    #[error("write down the hold")]
    Encode(#[source] SealError),
}

impl ReasonedError for JournalError {
    fn reason(&self) -> Reason {
        match self {
            Self::Durable(error) if reserve::is_full(error.io()) => Reason::DiskFull,
            Self::List { .. } | Self::Durable(_) | Self::Encode(_) => Reason::Internal,
        }
    }
}

/// A file of the journal that cannot be read. It has been renamed and stops nothing (H15).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetAside {
    /// Where it is now.
    pub path: PathBuf,
    /// What is wrong with it.
    pub why: String,
}

/// What is in the journal.
#[derive(Debug, Default)]
pub struct Found {
    /// Oldest first.
    pub holds: Vec<Journaled>,
    /// Files that cannot be read.
    pub set_aside: Vec<SetAside>,
}

/// One directory, one file per hold. Its calls block for as long as the disk takes to sync.
#[derive(Clone, Debug)]
pub struct HoldJournal {
    dir: PathBuf,
    reserve: Arc<Reserve>,
}

impl HoldJournal {
    /// Over `dir`, which is made when it is not there.
    ///
    /// # Errors
    ///
    /// [`JournalError::List`] when it cannot be made.
    pub fn new(dir: impl Into<PathBuf>, reserve: Arc<Reserve>) -> Result<Self, JournalError> {
        let dir = dir.into();
        fs::create_dir_all(&dir)
            .map_err(|source| JournalError::List { path: dir.clone(), source })?;
        Ok(Self { dir, reserve })
    }

    /// Writes `hold` down. When this returns, it outlives a power cut.
    ///
    /// # Errors
    ///
    /// [`JournalError`]; then nothing may be stopped.
    pub fn open(&self, hold: Hold) -> Result<Journaled, JournalError> {
        self.write(&hold)?;
        Ok(Journaled(hold))
    }

    /// Changes what ends `hold`.
    ///
    /// # Errors
    ///
    /// [`JournalError`]; the end is then as before.
    pub fn set_end(&self, hold: &mut Journaled, end: HoldEnd) -> Result<(), JournalError> {
        let changed = Hold { end, ..hold.0.clone() };
        self.write(&changed)?;
        hold.0 = changed;
        Ok(())
    }

    /// Everything that is held. Files that cannot be read are set aside and named.
    ///
    /// # Errors
    ///
    /// [`JournalError::List`] when the directory cannot be read.
    pub fn find(&self) -> Result<Found, JournalError> {
        let list = |source| JournalError::List { path: self.dir.clone(), source };
        let mut paths = Vec::new();
        for entry in fs::read_dir(&self.dir).map_err(list)? {
            let path = entry.map_err(list)?.path();
            // What a crash left of a write is ignored: nothing was stopped for it.
            if path.extension().is_some_and(|extension| extension == "hold") {
                paths.push(path);
            }
        }
        paths.sort();
        let mut found = Found::default();
        for path in paths {
            match read(&path) {
                Ok(Some(hold)) => found.holds.push(Journaled(hold)),
                Ok(None) => {} // released meanwhile
                Err(error) => found.set_aside.push(set_aside(&path, &error)),
            }
        }
        Ok(found)
    }

    /// Forgets a hold that has ended. Doing it twice is doing it once.
    ///
    /// # Errors
    ///
    /// [`JournalError`]; the hold is then ended once more later, which does no harm.
    pub fn release(&self, ended: HoldId) -> Result<(), JournalError> {
        durable::remove(&self.path_of(ended)).map_err(JournalError::Durable)
    }

    fn write(&self, hold: &Hold) -> Result<(), JournalError> {
        let mut text = sealed::title(WHAT, FORMAT);
        text.push_str(&sealed::seal(hold).map_err(JournalError::Encode)?);
        let path = self.path_of(hold.id);
        self.reserve
            .spend(
                |error: &DurableError| reserve::is_full(error.io()),
                || durable::write(&path, text.as_bytes(), 0o600),
            )
            .map_err(JournalError::Durable)
    }

    fn path_of(&self, id: HoldId) -> PathBuf {
        self.dir.join(format!("{id}.hold"))
    }
}

/// Why a file of the journal cannot be read.
#[derive(Debug, thiserror::Error)]
enum ReadError {
    #[error("read it")]
    Io(#[source] io::Error),
    #[error("understand it")]
    Seal(#[source] SealError),
}

fn read(path: &Path) -> Result<Option<Hold>, ReadError> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(ReadError::Io(error)),
    };
    let mut lines = text.lines();
    let title = lines.next().unwrap_or_default();
    sealed::read_title(title, WHAT, FORMAT).map_err(ReadError::Seal)?;
    sealed::open(lines.next().unwrap_or_default()).map(Some).map_err(ReadError::Seal)
}

fn set_aside(path: &Path, error: &ReadError) -> SetAside {
    let why = chain(error);
    let aside = path.with_extension("unreadable");
    let path = match fs::rename(path, &aside) {
        Ok(()) => aside,
        Err(error) => {
            tracing::error!(%error, path = %path.display(), "set aside an unreadable hold");
            path.to_owned()
        }
    };
    tracing::error!(path = %path.display(), why, "a hold cannot be read: it has been set aside");
    SetAside { path, why }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use lazarette_node::clock::BootId;

    use super::*;
    use crate::{docker::RestartPolicy, hold::tests::hold};

    fn journal() -> (tempfile::TempDir, HoldJournal) {
        let dir = tempfile::tempdir().unwrap();
        let reserve = Arc::new(Reserve::take(dir.path().join("reserve")));
        let journal = HoldJournal::new(dir.path().join("holds"), reserve).unwrap();
        (dir, journal)
    }

    fn operator() -> HoldEnd {
        HoldEnd::Operator { why: "x".to_owned() }
    }

    #[test]
    fn a_hold_is_found_until_it_is_released() {
        let (_dir, journal) = journal();
        let mut opened = journal.open(hold(operator(), &[&["web"], &["db"]])).unwrap();
        let end = HoldEnd::Deadline { boot: BootId::new("b"), since_boot_ms: 7 };
        journal.set_end(&mut opened, end).unwrap();

        let found = journal.find().unwrap().holds;
        assert_eq!(found[0].hold(), opened.hold());

        journal.release(opened.hold().id).unwrap();
        journal.release(opened.hold().id).unwrap();
        assert!(journal.find().unwrap().holds.is_empty());
    }

    #[test]
    fn h15_an_unreadable_file_is_set_aside_and_hides_no_other() {
        let (_dir, journal) = journal();
        let broken = journal.open(hold(operator(), &[&["a"]])).unwrap();
        let whole = journal.open(hold(operator(), &[&["b"]])).unwrap();
        let path = journal.path_of(broken.hold().id);
        let damaged = fs::read_to_string(&path).unwrap().replace("shop", "shot");
        fs::write(&path, damaged).unwrap();

        let found = journal.find().unwrap();

        assert_eq!(found.holds.len(), 1);
        assert_eq!(found.holds[0].hold(), whole.hold());
        assert_eq!(found.set_aside.len(), 1);
        assert!(found.set_aside[0].path.exists() && found.set_aside[0].why.contains("checksum"));
        assert_eq!(journal.find().unwrap().set_aside, []);
    }

    #[test]
    fn what_a_crash_left_of_a_write_is_ignored() {
        let (_dir, journal) = journal();
        fs::write(journal.dir.join("hold-1.hold.new"), "half").unwrap();
        let found = journal.find().unwrap();
        assert!(found.holds.is_empty() && found.set_aside.is_empty());
    }

    #[test]
    fn the_golden_file_of_format_1_is_read_for_ever() {
        let (_dir, journal) = journal();
        let golden = include_str!("golden/hold-1.hold");
        fs::write(journal.dir.join("golden.hold"), golden).unwrap();

        let found = journal.find().unwrap();

        assert_eq!(found.set_aside, []);
        let hold = found.holds[0].hold();
        assert_eq!(hold.stack.as_str(), "shop");
        assert_eq!(hold.since, "2026-01-02T03:04:05Z".parse::<Timestamp>().unwrap());
        assert_eq!(hold.layers[0][0].restart_policy, RestartPolicy::UnlessStopped);
        let end = HoldEnd::Deadline { boot: BootId::new("b1"), since_boot_ms: 60_000 };
        assert_eq!(hold.end, end);
    }
}
