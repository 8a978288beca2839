//! Records: one synced file per run, to which a line is added for whatever must not be forgotten.
//!
//! Never in a record: the key of a repository.

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use jiff::Timestamp;
use lazarette_core::{
    error::{Reason, ReasonedError, chain},
    id::{RunId, StackId},
    name::{ComponentName, HostName, StackName},
    plan::{BackupPlan, RestorePlan},
    run::{Outcome, RunEvent, RunState},
};
use lazarette_node::durable::{self, DurableError};
use serde::{Deserialize, Serialize};

use crate::{
    hold::journal::SetAside,
    reserve::{self, Reserve},
    sealed::{self, SealError},
    vault::Commit,
};

const WHAT: &str = "run";
const FORMAT: u32 = 1;

/// What a run is: the first line of its file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Job {
    /// Chosen by who asked for it.
    pub run: RunId,
    /// Whose run it is.
    pub stack: StackId,
    /// What the controller calls this host.
    pub host: HostName,
    /// What to do.
    pub plan: Plan,
}

/// What a run is to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "does", rename_all = "snake_case")]
pub enum Plan {
    /// Makes a snapshot.
    Backup(BackupPlan),
    /// Puts a snapshot back.
    Restore(RestorePlan),
}

impl Plan {
    /// The stack that is worked on.
    pub const fn stack(&self) -> &StackName {
        match self {
            Self::Backup(plan) => &plan.stack,
            Self::Restore(plan) => &plan.stack,
        }
    }

    /// Containers to stop, by name, layer after layer.
    pub fn stop(&self) -> &[Vec<String>] {
        match self {
            Self::Backup(plan) => &plan.stop,
            Self::Restore(plan) => &plan.stop,
        }
    }
}

/// How far a component of a restore is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Generation {
    /// As before the run; again, when it was undone.
    Untouched,
    /// The restored data is being put beside the live data.
    Beside,
    /// The restored data is beside, and is what was saved.
    Verified,
    /// The restored data is taking the place of the live data, or has taken it.
    Swapped,
    /// The old data is gone.
    Accepted,
}

/// A line of a record after the first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "line", rename_all = "snake_case")]
pub enum Line {
    /// What happened.
    Event {
        /// 1 for the first.
        sequence: u64,
        /// What.
        event: RunEvent,
    },
    /// Written before what it says is begun, so that it can be undone.
    Reached {
        /// Which component.
        component: ComponentName,
        /// How far.
        generation: Generation,
    },
    /// Everything is in the repository, and the controller is about to be asked for the snapshot.
    Committing {
        /// What it is asked.
        commit: Commit,
    },
    /// From here on there is only forward: the old data may go.
    Accepting {
        /// What the run will have come to.
        outcome: Outcome,
    },
}

/// A run as its file tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// What it is.
    pub job: Job,
    /// What happened; the first has sequence 1.
    pub events: Vec<RunEvent>,
    /// Where it stands.
    pub state: RunState,
    /// How far the components of a restore are.
    pub generations: BTreeMap<ComponentName, Generation>,
    /// What the controller was, perhaps, asked for.
    pub committing: Option<Commit>,
    /// What it will have come to, once there is only forward.
    pub accepting: Option<Outcome>,
}

impl Record {
    /// A run of which nothing has happened yet.
    pub fn new(job: Job) -> Self {
        Self {
            job,
            events: vec![],
            state: RunState::Queued,
            generations: BTreeMap::new(),
            committing: None,
            accepting: None,
        }
    }

    /// Of the newest event; 0 when there is none.
    pub fn sequence(&self) -> u64 {
        u64::try_from(self.events.len()).unwrap_or(u64::MAX)
    }

    /// Adds a line. Says why not when it does not fit.
    ///
    /// # Errors
    ///
    /// A sentence: a sequence with a gap, or an event that the state cannot take.
    pub fn add(&mut self, line: Line) -> Result<(), String> {
        match line {
            Line::Event { sequence, event } => {
                if sequence != self.sequence() + 1 {
                    return Err(format!("event {sequence} comes after {}", self.sequence()));
                }
                let state = self.state.clone().apply(event.clone());
                self.state = state.map_err(|illegal| illegal.to_string())?;
                self.events.push(event);
            }
            Line::Reached { component, generation } => {
                self.generations.insert(component, generation);
            }
            Line::Committing { commit } => self.committing = Some(commit),
            Line::Accepting { outcome } => self.accepting = Some(outcome),
        }
        Ok(())
    }
}

/// A record could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The directory cannot be read.
    #[error("list the runs in `{}`", path.display())]
    List {
        /// The directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A record cannot be begun or removed.
    #[error("keep the record of a run")]
    Durable(#[source] DurableError),
    /// A line cannot be added.
    #[error("add to the record `{}`", path.display())]
    Append {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A line cannot be put into words.
    #[error("write down what happened")]
    Encode(#[source] SealError),
}

impl ReasonedError for RecordError {
    fn reason(&self) -> Reason {
        match self {
            Self::Durable(error) if reserve::is_full(error.io()) => Reason::DiskFull,
            Self::Append { source, .. } if reserve::is_full(source) => Reason::DiskFull,
            Self::List { .. } | Self::Durable(_) | Self::Append { .. } | Self::Encode(_) => {
                Reason::Internal
            }
        }
    }
}

/// Where records are.
#[derive(Clone, Debug)]
pub struct Records {
    dir: PathBuf,
    reserve: Arc<Reserve>,
}

/// The file of one record, open to be added to. Its calls block.
#[derive(Debug)]
pub struct RecordFile {
    path: PathBuf,
    file: File,
    length: u64,
    reserve: Arc<Reserve>,
}

/// What was found at start.
#[derive(Debug, Default)]
pub struct FoundRecords {
    /// Oldest first.
    pub records: Vec<(Record, RecordFile)>,
    /// Files that cannot be read.
    pub set_aside: Vec<SetAside>,
}

impl Records {
    /// In `dir`, which is made when it is not there.
    ///
    /// # Errors
    ///
    /// [`RecordError::List`] when it cannot be made.
    pub fn new(dir: impl Into<PathBuf>, reserve: Arc<Reserve>) -> Result<Self, RecordError> {
        let dir = dir.into();
        let made = fs::create_dir_all(&dir);
        made.map_err(|source| RecordError::List { path: dir.clone(), source })?;
        Ok(Self { dir, reserve })
    }

    /// Begins the record of `job`. When this returns, it outlives a power cut.
    ///
    /// # Errors
    ///
    /// [`RecordError`]; the run must not begin then.
    pub fn begin(&self, job: &Job) -> Result<RecordFile, RecordError> {
        let mut text = sealed::title(WHAT, FORMAT);
        text.push_str(&sealed::seal(job).map_err(RecordError::Encode)?);
        let path = self.path_of(job.run);
        self.reserve
            .spend(
                |error: &DurableError| reserve::is_full(error.io()),
                || durable::write(&path, text.as_bytes(), 0o600),
            )
            .map_err(RecordError::Durable)?;
        self.reopen(path, u64::try_from(text.len()).unwrap_or(u64::MAX))
    }

    /// Every record. What cannot be read is set aside and named.
    ///
    /// # Errors
    ///
    /// [`RecordError::List`] when the directory cannot be read.
    pub fn find(&self) -> Result<FoundRecords, RecordError> {
        let list = |source| RecordError::List { path: self.dir.clone(), source };
        let mut paths = Vec::new();
        for entry in fs::read_dir(&self.dir).map_err(list)? {
            let path = entry.map_err(list)?.path();
            if path.extension().is_some_and(|extension| extension == "run") {
                paths.push(path);
            }
        }
        paths.sort(); // by id, which is by age
        let mut found = FoundRecords::default();
        for path in paths {
            let opened = read(&path).and_then(|(record, length)| {
                let file = self.reopen(path.clone(), length).map_err(|error| chain(&error))?;
                Ok((record, file))
            });
            match opened {
                Ok(opened) => found.records.push(opened),
                Err(why) => found.set_aside.push(set_aside(&path, why)),
            }
        }
        Ok(found)
    }

    /// Forgets a run.
    ///
    /// # Errors
    ///
    /// [`RecordError::Durable`].
    pub fn forget(&self, run: RunId) -> Result<(), RecordError> {
        durable::remove(&self.path_of(run)).map_err(RecordError::Durable)
    }

    fn reopen(&self, path: PathBuf, length: u64) -> Result<RecordFile, RecordError> {
        let open = || {
            let file = OpenOptions::new().append(true).open(&path)?;
            file.set_len(length)?; // a line that a crash cut off never happened
            Ok(file)
        };
        let file = open().map_err(|source| RecordError::Append { path: path.clone(), source })?;
        Ok(RecordFile { path, file, length, reserve: self.reserve.clone() })
    }

    fn path_of(&self, run: RunId) -> PathBuf {
        self.dir.join(format!("{run}.run"))
    }
}

impl RecordFile {
    /// Adds a line; with `sync`, it outlives a power cut when this returns.
    ///
    /// # Errors
    ///
    /// [`RecordError`]; the line is then not in the file.
    pub fn append(&mut self, line: &Line, sync: bool) -> Result<(), RecordError> {
        let text = sealed::seal(line).map_err(RecordError::Encode)?;
        let Self { path, file, length, reserve } = self;
        let write = || {
            let mut file = &*file;
            file.write_all(text.as_bytes())?;
            if sync { file.sync_data() } else { Ok(()) }
        };
        let before = *length;
        let written = reserve.spend(reserve::is_full, || {
            write().inspect_err(|_error| {
                if let Err(error) = file.set_len(before) {
                    tracing::error!(%error, path = %path.display(), "take a half line back");
                }
            })
        });
        written.map_err(|source| RecordError::Append { path: path.clone(), source })?;
        *length += u64::try_from(text.len()).unwrap_or(0);
        Ok(())
    }
}

/// The record in a file and how much of the file is sound: a crash may have cut its last line.
fn read(path: &Path) -> Result<(Record, u64), String> {
    let text = fs::read(path).map_err(|error| error.to_string())?;
    let text = String::from_utf8_lossy(&text);
    let mut lines = text.split_inclusive('\n');
    let mut sound = 0;
    let mut next = || {
        let line = lines.next()?;
        sound += line.len();
        Some((line.strip_suffix('\n')?, sound))
    };
    let nothing = || "it is empty".to_owned();
    let (title, _) = next().ok_or_else(nothing)?;
    sealed::read_title(title, WHAT, FORMAT).map_err(|error| chain(&error))?;
    let (job, mut length) = next().ok_or_else(nothing)?;
    let mut record = Record::new(sealed::open(job).map_err(|error| chain(&error))?);
    while let Some((line, end)) = next() {
        let added = sealed::open(line).map_err(|error| chain(&error)).and_then(|it| record.add(it));
        if let Err(why) = added {
            tracing::warn!(path = %path.display(), why, "the rest of a record is not believed");
            break;
        }
        length = end;
    }
    Ok((record, u64::try_from(length).unwrap_or(u64::MAX)))
}

fn set_aside(path: &Path, why: String) -> SetAside {
    let aside = path.with_extension("unreadable");
    let path = match fs::rename(path, &aside) {
        Ok(()) => aside,
        Err(error) => {
            tracing::error!(%error, path = %path.display(), "set aside an unreadable run");
            path.to_owned()
        }
    };
    tracing::error!(path = %path.display(), why, "a run cannot be read: it has been set aside");
    SetAside { path, why }
}

/// When the run ended; nothing while it has not.
pub const fn ended(state: &RunState) -> Option<Timestamp> {
    match state {
        RunState::Succeeded { at, .. }
        | RunState::Failed { at, .. }
        | RunState::Cancelled { at }
        | RunState::RolledBack { at, .. } => Some(*at),
        RunState::Queued
        | RunState::Running { .. }
        | RunState::LostContact { .. }
        | RunState::Held { .. } => None,
    }
}

#[cfg(test)]
pub(crate) mod tests;
