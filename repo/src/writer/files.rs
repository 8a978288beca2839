//! Files: many small ones at once, opened and read by the workers themselves.

use std::fmt;
use std::io;
use std::sync::Arc;

use tokio::sync::oneshot;

use crate::writer::work::Job;
use crate::writer::{Content, WriteError, Writer};

/// Appends the whole content of one file to a buffer, or fails; what it appended before it failed
/// is forgotten.
pub type FileRead = Box<dyn FnOnce(&mut Vec<u8>) -> io::Result<()> + Send>;

/// Files for a worker, and where it answers.
pub(super) struct Files {
    pub(super) reads: Vec<FileRead>,
    pub(super) reply: oneshot::Sender<Vec<io::Result<Content>>>,
}

/// The contents of files that a worker is reading.
#[must_use = "what became of the files is in here"]
pub struct PendingFiles {
    answer: oneshot::Receiver<Vec<io::Result<Content>>>,
    shared: Arc<super::Shared>,
}

impl fmt::Debug for PendingFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PendingFiles").finish_non_exhaustive()
    }
}

impl PendingFiles {
    /// What became of each file, in order. A file that could not be read has no content; whether
    /// that matters is for the caller to say.
    ///
    /// # Errors
    ///
    /// When the writer has failed.
    pub async fn wait(self) -> Result<Vec<io::Result<Content>>, WriteError> {
        self.answer.await.map_err(|_gone| self.shared.lost())
    }

    /// [`Self::wait`] for a thread that may block.
    ///
    /// # Errors
    ///
    /// As [`Self::wait`].
    pub fn wait_blocking(self) -> Result<Vec<io::Result<Content>>, WriteError> {
        self.answer.blocking_recv().map_err(|_gone| self.shared.lost())
    }
}

impl Writer {
    /// Gives `files` to a worker, which reads them one after another: some dozens of small files,
    /// a few MiB together. All of them are in memory at once.
    ///
    /// # Errors
    ///
    /// When the writer has failed.
    pub async fn write_files(&self, files: Vec<FileRead>) -> Result<PendingFiles, WriteError> {
        self.shared.check()?;
        let permit = Arc::clone(&self.shared.buffers).acquire_owned().await;
        let permit = permit.map_err(|_gone| WriteError::Gone)?;
        let (reply, answer) = oneshot::channel();
        let sent = self.jobs.send(Job::Files { files: Files { reads: files, reply }, permit });
        sent.map_err(|_gone| WriteError::Gone)?;
        Ok(PendingFiles { answer, shared: Arc::clone(&self.shared) })
    }

    /// [`Self::write_files`] for a thread that may block.
    ///
    /// # Errors
    ///
    /// As [`Self::write_files`].
    pub fn write_files_blocking(&self, files: Vec<FileRead>) -> Result<PendingFiles, WriteError> {
        self.shared.runtime.block_on(self.write_files(files))
    }
}
