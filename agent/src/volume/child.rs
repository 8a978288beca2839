//! Child: what this program is when it works in one directory for an agent.

use std::{
    fs::File,
    io::{self, BufReader, BufWriter},
    os::{fd::AsFd, unix::fs::OpenOptionsExt as _},
    path::Path,
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use bytes::Bytes;
use lazarette_core::error::{Reason, ReasonedError, chain};
use zeroize::Zeroizing;

use super::{
    cache::{CacheReader, CacheWriter},
    confine::{ConfineError, Powers, confine},
    frame::Frame,
    message::{Job, Order, PipeError, Report, Task},
    remote::Remote,
    save::Caches,
};

/// The hidden command that makes this program a child.
pub const COMMAND: &str = "volume-child";

/// Does what a child does, if this process was started as one. The first call of `main`, before
/// there is a second thread; its result is the process's.
pub fn main() -> Option<ExitCode> {
    let is_child = std::env::args_os().nth(1).is_some_and(|command| command == COMMAND);
    is_child.then(run)
}

/// Why a child could not do its work.
#[derive(Debug, thiserror::Error)]
enum ChildError {
    #[error("take a task")]
    Pipe(#[from] PipeError),
    #[error("open `{path}`")]
    Open {
        path: String,
        #[source]
        source: io::Error,
    },
    #[error(transparent)]
    Confine(#[from] ConfineError),
    #[error(transparent)]
    Work(Box<super::work::WorkError>),
}

impl ReasonedError for ChildError {
    fn reason(&self) -> Reason {
        match self {
            Self::Pipe(_) | Self::Open { .. } | Self::Confine(_) => Reason::Internal,
            Self::Work(error) => error.reason(),
        }
    }
}

/// What was opened before the child was locked in.
#[derive(Debug)]
pub(crate) enum Opened {
    /// For [`Task::Save`].
    Caches(Box<Caches>),
    /// For [`Task::Verify`], to be read; for [`Task::Restore`], to be written.
    Cuts(File),
}

fn run() -> ExitCode {
    let (Ok(mut from_agent), Ok(mut to_agent)) = (owned(io::stdin()), owned(io::stdout())) else {
        return ExitCode::FAILURE;
    };
    let begun = begin(&mut from_agent);
    let (task, opened, key) = match begun {
        Ok(begun) => begun,
        Err(error) => {
            let frame = Frame::new(&failed(&error), Bytes::new());
            let sent = frame.and_then(|frame| frame.write_to(&mut to_agent));
            return if sent.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
        }
    };
    let is_over = Arc::new(AtomicBool::new(false));
    let seen_over = Arc::clone(&is_over);
    let remote = Remote::over(from_agent, to_agent, move |error| {
        if !seen_over.load(Ordering::SeqCst) {
            // Nobody is left to work for, and the work may be anywhere.
            tracing::debug!(error = chain(error), "the agent is gone");
            leave();
        }
    });
    let last = match super::work::work(task, opened, &key, &remote) {
        Ok(done) => Report::Done(Box::new(done)),
        Err(error) => failed(&ChildError::Work(Box::new(error))),
    };
    // The agent may close the pipe as soon as it has heard the last message.
    is_over.store(true, Ordering::SeqCst);
    remote.say_last(&last);
    ExitCode::SUCCESS
}

#[expect(clippy::exit, reason = "ends all threads at once: there is nobody to report to")]
fn leave() {
    std::process::exit(1);
}

fn owned(stream: impl AsFd) -> io::Result<File> {
    stream.as_fd().try_clone_to_owned().map(File::from)
}

fn failed(error: &ChildError) -> Report {
    Report::Failed { reason: error.reason(), why: chain(error) }
}

/// Takes the task, opens what it needs from elsewhere, and gives up everything else.
fn begin(from_agent: &mut File) -> Result<(Task, Opened, Zeroizing<Vec<u8>>), ChildError> {
    let frame = Frame::read_from(from_agent).map_err(PipeError::Frame)?.ok_or(PipeError::Gone)?;
    let (order, body) = frame.open::<Order>().map_err(PipeError::Frame)?;
    let Order::Begin(job) = order else { return Err(PipeError::OutOfPlace.into()) };
    let Job { place, task } = *job;
    let key = Zeroizing::new(body.to_vec());
    if let Ok(mut body) = body.try_into_mut() {
        zeroize::Zeroize::zeroize(body.as_mut());
    }
    let opened = open(&task)?;
    let powers = match task {
        Task::Save { .. } | Task::Verify { .. } => Powers::Read,
        Task::Restore { .. } => Powers::Write,
    };
    rustix::process::umask(rustix::fs::Mode::empty());
    confine(place, powers)?;
    Ok((task, opened, key))
}

fn open(task: &Task) -> Result<Opened, ChildError> {
    let fail = |path: &Path| {
        let path = path.display().to_string();
        move |source| ChildError::Open { path, source }
    };
    let create = |path: &Path| {
        let mut options = File::options();
        options.write(true).create(true).truncate(true).mode(0o600).open(path)
    };
    match task {
        Task::Save { cache, new_cache, .. } => {
            // A cache that cannot be read costs time only.
            let old = cache.as_ref().and_then(|path| File::open(path).ok());
            let new = match new_cache {
                Some(path) => {
                    let file = create(path).map_err(fail(path))?;
                    Some(CacheWriter::new(BufWriter::new(file)).map_err(fail(path))?)
                }
                None => None,
            };
            let old = old.map(|file| CacheReader::new(BufReader::new(file)));
            Ok(Opened::Caches(Box::new(Caches { old, new })))
        }
        Task::Verify { cuts, .. } => File::open(cuts).map(Opened::Cuts).map_err(fail(cuts)),
        Task::Restore { cuts, .. } => create(cuts).map(Opened::Cuts).map_err(fail(cuts)),
    }
}
