//! Grants: which run of which host may use which repository now, and for what.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use lazarette_core::{
    error::{Failure, Reason},
    id::{HostId, RepositoryId, RunId},
};
use lazarette_repo::{repository::Repository, session::Session};

/// What a run may do with a repository.
#[derive(Clone, Debug)]
pub enum Right {
    /// Put packs and commit one snapshot.
    Write(Arc<Session>),
    /// Read.
    Read(Arc<Repository>),
}

/// What one run may use.
#[derive(Clone, Debug)]
pub struct Grant {
    /// Only this host's agent.
    pub host: HostId,
    /// Which repository.
    pub repository: RepositoryId,
    /// For what.
    pub right: Right,
}

/// The grants of the runs that are under way. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Grants(Arc<Mutex<HashMap<RunId, Grant>>>);

impl Grants {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Gives `run` its grant.
    pub fn give(&self, run: RunId, grant: Grant) {
        self.lock().insert(run, grant);
    }

    /// Takes it away; every later call of the run is refused.
    pub fn take(&self, run: RunId) -> Option<Grant> {
        self.lock().remove(&run)
    }

    /// The grant of `run`, for `host`.
    ///
    /// # Errors
    ///
    /// `HOST_OFFLINE`-like `STORAGE_UNAVAILABLE` when the run has none (now): the agent may ask
    /// again, since a controller that was just started has yet to look after its runs;
    /// `POLICY_DENIED` when it is another host's.
    pub fn of(&self, run: RunId, host: HostId) -> Result<Grant, Failure> {
        let grant = self.lock().get(&run).cloned().ok_or_else(|| {
            let message = format!("run {run} has no grant for a repository now");
            Failure::new(Reason::StorageUnavailable, message)
        })?;
        if grant.host != host {
            let message = format!("run {run} is not a run of this host");
            return Err(Failure::new(Reason::PolicyDenied, message));
        }
        Ok(grant)
    }

    /// The session of a backup.
    ///
    /// # Errors
    ///
    /// As [`Grants::of`]; `POLICY_DENIED` when the run may only read.
    pub fn session(&self, run: RunId, host: HostId) -> Result<Arc<Session>, Failure> {
        match self.of(run, host)?.right {
            Right::Write(session) => Ok(session),
            Right::Read(_) => Err(Failure::new(
                Reason::PolicyDenied,
                format!("run {run} is a restore: it may not write into the repository"),
            )),
        }
    }

    /// The repository of a restore.
    ///
    /// # Errors
    ///
    /// As [`Grants::of`]; `POLICY_DENIED` when the run may only write: history is readable only
    /// while a restore is granted.
    pub fn readable(&self, run: RunId, host: HostId) -> Result<Arc<Repository>, Failure> {
        match self.of(run, host)?.right {
            Right::Read(repository) => Ok(repository),
            Right::Write(_) => Err(Failure::new(
                Reason::PolicyDenied,
                format!("run {run} is a backup: it may not read from the repository"),
            )),
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<RunId, Grant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
