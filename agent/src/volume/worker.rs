//! Worker: the agent's side of a child process that works in one directory (H31).
//!
//! The child is this very program. It is told what to do over its standard input, once; after that
//! it can only ask for what the two seams of the repository give, and say what it has done. A child
//! that dies, a pipe that ends early, a message that makes no sense: each is an error, and never a
//! result.

use std::{
    fmt,
    os::fd::{AsFd, AsRawFd, OwnedFd},
    path::PathBuf,
    process::{ExitStatus, Stdio},
    sync::Arc,
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use futures::{StreamExt as _, future::BoxFuture, stream::FuturesUnordered};
use lazarette_core::{
    error::{Reason, ReasonedError, chain},
    units::ByteCount,
};
use lazarette_repo::{pack::SealedPack, sink::PackSink, source::PackSource};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    process::{Child, ChildStderr, ChildStdin, ChildStdout, Command},
    sync::mpsc,
};
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use super::{
    child::COMMAND,
    frame::{BODY_LIMIT, Frame},
    message::{Done, Job, Order, PipeError, Report},
};

/// Packs on their way up at once: each is held in memory until it is durable.
const PACKS_AT_ONCE: usize = 2;
/// Other questions on their way at once.
const QUESTIONS_AT_ONCE: usize = 8;
/// Of what a child says to its standard error, so much is kept: a panic fits.
const STDERR_LIMIT: u64 = 16 << 10;
/// Notes that are passed on; a tree can have a million files that are worth one.
const NOTES_LIMIT: usize = 100;
/// How long a child may take to end after its last message.
const END_GRACE: Duration = Duration::from_secs(10);

/// The child did not do what it was told.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// It could not be started.
    #[error("start a child process for a directory")]
    Start(#[source] std::io::Error),
    /// The pipe carried nonsense.
    #[error("work with a child process")]
    Pipe(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// It ended without a last message, or with another status than it should.
    #[error("work with a child process: it ended with {status}{}", said(.stderr))]
    Died {
        /// How.
        status: ExitStatus,
        /// What it said last.
        stderr: String,
    },
    /// It says that it failed, and why.
    #[error("{why}")]
    Failed {
        /// What programs match on.
        reason: Reason,
        /// The whole chain of causes.
        why: String,
    },
    /// It was asked to stop.
    #[error("work with a child process: it was cancelled")]
    Cancelled,
}

fn said(stderr: &str) -> String {
    if stderr.is_empty() { String::new() } else { format!(", saying `{}`", stderr.escape_debug()) }
}

impl ReasonedError for WorkerError {
    fn reason(&self) -> Reason {
        match self {
            Self::Start(_) | Self::Pipe(_) | Self::Died { .. } => Reason::Internal,
            Self::Failed { reason, .. } => *reason,
            Self::Cancelled => Reason::Cancelled,
        }
    }
}

/// Takes what a child says while it works.
pub trait Listener: Send + Sync {
    /// One line for an operator.
    fn note(&self, text: String);

    /// `bytes` more were read or written.
    fn progress(&self, bytes: ByteCount);
}

/// Where a child's questions go. It gets an error for those that nobody answers.
#[derive(Clone, Debug, Default)]
pub struct Seams {
    sink: Option<Arc<dyn PackSink>>,
    source: Option<Arc<dyn PackSource>>,
}

impl Seams {
    /// For a child that saves.
    pub fn storing(sink: Arc<dyn PackSink>) -> Self {
        Self { sink: Some(sink), ..Self::default() }
    }

    /// For a child that restores.
    pub fn reading(source: Arc<dyn PackSource>) -> Self {
        Self { source: Some(source), ..Self::default() }
    }

    /// For a child that only looks.
    pub fn none() -> Self {
        Self::default()
    }
}

/// What is needed to start children.
#[derive(Clone, Debug)]
pub struct Workers {
    /// The program that a child runs: this one.
    program: PathBuf,
}

impl Default for Workers {
    fn default() -> Self {
        Self { program: PathBuf::from("/proc/self/exe") }
    }
}

impl Workers {
    /// Children that run `program`, which must call [`main`](super::child::main) first of all.
    pub fn running(program: impl Into<PathBuf>) -> Self {
        Self { program: program.into() }
    }

    /// Has a child do `job` in the open directory `dir`, and waits until it is gone.
    ///
    /// # Cancel safety
    ///
    /// Cancelled by `cancel`, the child is killed and waited for. When the future is dropped, it is
    /// killed and waited for by the runtime.
    pub(crate) async fn work(
        &self,
        dir: &OwnedFd,
        job: Job,
        key: Zeroizing<Vec<u8>>,
        call: Call<'_>,
    ) -> Result<Done, WorkerError> {
        // The child changes into it between fork and exec, where the descriptor is still open.
        let path = format!("/proc/self/fd/{}", dir.as_fd().as_raw_fd());
        let mut child = Command::new(&self.program)
            .arg(COMMAND)
            .current_dir(path)
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(WorkerError::Start)?;
        let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (Some(stdin), Some(stdout), Some(stderr)) = pipes else {
            return Err(WorkerError::Start(std::io::ErrorKind::BrokenPipe.into()));
        };
        let first = Frame::new(&Order::Begin(Box::new(job)), Bytes::copy_from_slice(&key))
            .map_err(|error| WorkerError::Pipe(Box::new(error)))?;
        drop(key);
        let talked = tokio::select! {
            talked = call.talk(first, stdin, stdout) => talked,
            () = call.cancel.cancelled() => Err(WorkerError::Cancelled),
        };
        end(child, stderr, talked).await
    }
}

/// Waits for the end of a child, or brings it about, and judges all that is known.
async fn end(
    mut child: Child,
    mut stderr: ChildStderr,
    talked: Result<Done, WorkerError>,
) -> Result<Done, WorkerError> {
    let is_over = matches!(talked, Ok(_) | Err(WorkerError::Failed { .. }));
    let grace = if is_over { END_GRACE } else { Duration::ZERO };
    let mut text = Vec::new();
    let said = async {
        let read = (&mut stderr).take(STDERR_LIMIT).read_to_end(&mut text).await;
        drop(read); // what was read until then is all there is
        child.wait().await
    };
    let status = match tokio::time::timeout(grace, said).await {
        Ok(status) => status.map_err(WorkerError::Start)?,
        Err(_elapsed) => {
            child.start_kill().map_err(WorkerError::Start)?;
            let read = (&mut stderr).take(STDERR_LIMIT).read_to_end(&mut text).await;
            drop(read);
            child.wait().await.map_err(WorkerError::Start)?
        }
    };
    let stderr = String::from_utf8_lossy(&text).trim().to_owned();
    match talked {
        Ok(_) if !status.success() => Err(WorkerError::Died { status, stderr }),
        Err(WorkerError::Pipe(error)) if error.is::<PipeError>() => {
            tracing::debug!(error = chain(&*error), "the pipe to a child ended");
            Err(WorkerError::Died { status, stderr })
        }
        talked => talked,
    }
}

/// What goes on between a child and its parent.
#[derive(Clone, Copy)]
pub struct Call<'a> {
    /// Who answers.
    pub seams: &'a Seams,
    /// Who listens.
    pub listener: &'a dyn Listener,
    /// The wish to stop.
    pub cancel: &'a CancellationToken,
}

impl fmt::Debug for Call<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call").field("seams", self.seams).finish_non_exhaustive()
    }
}

/// Whether an answer is one to a pack.
type Answered = (bool, Result<Frame, super::frame::FrameError>);

impl Call<'_> {
    /// Answers until the last message.
    async fn talk(
        &self,
        first: Frame,
        mut stdin: ChildStdin,
        stdout: ChildStdout,
    ) -> Result<Done, WorkerError> {
        let pipe = |error: PipeError| WorkerError::Pipe(Box::new(error));
        let (answers, mut to_write) = mpsc::channel::<Frame>(QUESTIONS_AT_ONCE);
        let write = async {
            write_frame(&mut stdin, &first).await?;
            drop(first);
            while let Some(frame) = to_write.recv().await {
                write_frame(&mut stdin, &frame).await?;
            }
            Ok::<_, std::io::Error>(stdin)
        };
        let listen = self.listen(stdout, answers);
        tokio::pin!(write, listen);
        let done = tokio::select! {
            done = &mut listen => done?,
            // The end of the pipe says less than the status of the child that ended it.
            Err(_broken) = &mut write => return Err(pipe(PipeError::Gone)),
        };
        Ok(done)
    }

    async fn listen(
        &self,
        mut stdout: ChildStdout,
        answers: mpsc::Sender<Frame>,
    ) -> Result<Done, WorkerError> {
        let pipe = |error: PipeError| WorkerError::Pipe(Box::new(error));
        let mut buffer = BytesMut::with_capacity(64 << 10);
        let mut asked = FuturesUnordered::<BoxFuture<'_, Answered>>::new();
        let mut packs = 0_usize;
        let mut notes = 0_usize;
        loop {
            let may_read = packs < PACKS_AT_ONCE && asked.len() < QUESTIONS_AT_ONCE;
            if may_read && let Some(frame) = Frame::take(&mut buffer).map_err(nonsense)? {
                let (report, body) = frame.open::<Report>().map_err(nonsense)?;
                match report {
                    Report::Done(done) => return Ok(*done),
                    Report::Failed { reason, why } => {
                        return Err(WorkerError::Failed { reason, why });
                    }
                    Report::Note(text) => {
                        self.note(&mut notes, &text);
                    }
                    Report::Progress(bytes) => self.listener.progress(bytes),
                    question @ (Report::AskKnown { .. }
                    | Report::PutPack { .. }
                    | Report::Locate { .. }
                    | Report::ReadPack { .. }) => {
                        let is_pack = matches!(question, Report::PutPack { .. });
                        packs += usize::from(is_pack);
                        let answer = answer(self.seams.clone(), question, body);
                        asked.push(Box::pin(async move { (is_pack, answer.await) }));
                    }
                }
                continue;
            }
            tokio::select! {
                Some((is_pack, answer)) = asked.next() => {
                    packs -= usize::from(is_pack);
                    let answer = answer.map_err(nonsense)?;
                    answers.send(answer).await.map_err(|_closed| pipe(PipeError::Gone))?;
                }
                read = stdout.read_buf(&mut buffer), if may_read => match read {
                    Ok(0) | Err(_) => return Err(pipe(PipeError::Gone)),
                    Ok(_) => {}
                },
            }
        }
    }

    fn note(&self, notes: &mut usize, text: &str) {
        *notes += 1;
        let text = match *notes {
            1..NOTES_LIMIT => text.chars().take(4096).collect(),
            NOTES_LIMIT => "there is more like this, which is not listed".to_owned(),
            _ => return,
        };
        self.listener.note(text);
    }
}

fn nonsense(error: super::frame::FrameError) -> WorkerError {
    WorkerError::Pipe(Box::new(error))
}

async fn write_frame(stdin: &mut ChildStdin, frame: &Frame) -> std::io::Result<()> {
    stdin.write_all(&frame.start()).await?;
    stdin.write_all(frame.body()).await?;
    stdin.flush().await
}

/// The answer to a question.
async fn answer(
    seams: Seams,
    report: Report,
    body: Bytes,
) -> Result<Frame, super::frame::FrameError> {
    let refused = |question, why: String, transient| {
        Frame::new(&Order::Refused { question, why, transient }, Bytes::new())
    };
    let nobody = |question| refused(question, "ask for what this task does not need".into(), false);
    match (report, &seams) {
        (Report::AskKnown { question, ids }, Seams { sink: Some(sink), .. }) => {
            match sink.known(&ids).await {
                Ok(known) => Frame::new(&Order::Known { question, known }, Bytes::new()),
                Err(error) => refused(question, chain(&error), error.is_transient()),
            }
        }
        (Report::PutPack { question, id, entries }, Seams { sink: Some(sink), .. }) => {
            let entries = entries.into_iter().map(Into::into).collect();
            match sink.put_pack(SealedPack { id, bytes: body, entries }).await {
                Ok(()) => Frame::new(&Order::Stored { question }, Bytes::new()),
                Err(error) => refused(question, chain(&error), error.is_transient()),
            }
        }
        (Report::Locate { question, ids }, Seams { source: Some(source), .. }) => {
            match source.locate(&ids).await {
                Ok(found) => {
                    let locations = found.into_iter().map(|it| it.map(Into::into)).collect();
                    Frame::new(&Order::Located { question, locations }, Bytes::new())
                }
                Err(error) => refused(question, chain(&error), error.is_transient()),
            }
        }
        (Report::ReadPack { question, pack, start, end }, Seams { source: Some(source), .. }) => {
            let length = usize::try_from(end.saturating_sub(start)).unwrap_or(usize::MAX);
            if length > BODY_LIMIT {
                return refused(question, "read too much of a pack at once".into(), false);
            }
            match source.read_pack(pack, start..end).await {
                Ok(part) => Frame::new(&Order::Part { question }, part),
                Err(error) => refused(question, chain(&error), error.is_transient()),
            }
        }
        (
            Report::AskKnown { question, .. }
            | Report::PutPack { question, .. }
            | Report::Locate { question, .. }
            | Report::ReadPack { question, .. },
            _,
        ) => nobody(question),
        (Report::Progress(_) | Report::Note(_) | Report::Done(_) | Report::Failed { .. }, _) => {
            nobody(0)
        }
    }
}
