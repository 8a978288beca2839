//! Finish: the end of a run, when all that it wrote is durable.

use std::sync::PoisonError;
use std::thread::JoinHandle;

use crate::id::PackId;
use crate::writer::{Stats, WriteError, Writer};

/// A run of which everything is durable: what a commit needs to know of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// Every pack that it has put.
    pub packs: Vec<PackId>,
    /// What it amounted to.
    pub stats: Stats,
}

impl Writer {
    /// Waits until everything is durable.
    ///
    /// # Errors
    ///
    /// The first error of the run, as [`WriteError::Failed`]; or [`WriteError::Poisoned`].
    pub async fn finish(self) -> Result<Written, WriteError> {
        self.shared.check()?;
        self.send_trees().await?;
        let runtime = self.shared.runtime.clone();
        let joined = runtime.spawn_blocking(move || self.join()).await;
        joined.map_err(|_gone| WriteError::Gone)?
    }

    /// [`Self::finish`] for a thread that may block.
    ///
    /// # Errors
    ///
    /// As [`Self::finish`].
    pub fn finish_blocking(self) -> Result<Written, WriteError> {
        self.shared.check()?;
        self.shared.runtime.clone().block_on(self.send_trees())?;
        self.join()
    }

    /// Lets the workers come to their end, then the directories, then the uploads.
    fn join(mut self) -> Result<Written, WriteError> {
        let (closed, _) = crossbeam_channel::bounded(0);
        drop(std::mem::replace(&mut self.jobs, closed));
        join_all(&mut self.threads)?;
        let packs = {
            let mut queue = self.trees.lock().unwrap_or_else(PoisonError::into_inner);
            queue.packs.take()
        };
        if let Some(packs) = packs {
            let mut packs = packs.lock().unwrap_or_else(PoisonError::into_inner);
            self.shared.check()?;
            packs.flush()?;
        }
        let (closed, _) = crossbeam_channel::bounded(0);
        drop(std::mem::replace(&mut self.uploads, closed));
        join_all(&mut self.uploaders)?;
        self.shared.check()?;
        let mut packs = self.shared.packs.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(Written { packs: std::mem::take(&mut packs), stats: self.shared.counters.read() })
    }
}

fn join_all(threads: &mut Vec<JoinHandle<()>>) -> Result<(), WriteError> {
    for thread in threads.drain(..) {
        thread.join().map_err(|_gone| WriteError::Gone)?;
    }
    Ok(())
}
