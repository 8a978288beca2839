//! Exec: commands in containers, whose output ends with an error unless they ended well.
//!
//! A command is its argv, never a shell (H4). The end of its output proves nothing: a missing
//! program answers on stdout, a killed container and a dead Engine end the stream cleanly (M5, M6).
//! So what is streamed ends without an error only after the Engine said that the command exited
//! with zero.

mod error;
mod frames;
mod running;
mod tail;

use std::{fmt, time::Duration};

use bytes::Bytes;
use futures::{Stream, StreamExt as _, TryStreamExt as _, stream, stream::BoxStream};
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

pub use self::error::ExecError;
use self::running::Running;
use super::Docker;

/// Chunks of bytes, ending early with the error that cut them short.
pub type ByteStream = BoxStream<'static, Result<Bytes, ExecError>>;

/// So long without a byte is too long.
pub const STALL: Duration = Duration::from_mins(2);

/// The most that [`Exec::text`] returns.
pub const MAX_TEXT: usize = 1 << 20;

/// A command line, ready to run in a container.
#[derive(Clone)]
pub struct Exec {
    argv: Vec<String>,
    env: Vec<(String, Zeroizing<String>)>,
    user: Option<String>,
    stall: Duration,
    cancel: CancellationToken,
}

impl fmt::Debug for Exec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exec").field("program", &self.program()).finish_non_exhaustive()
    }
}

/// What a command that was fed printed: the last 64 KiB of each, with unreadable bytes replaced.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Printed {
    /// On its standard output.
    pub stdout: String,
    /// On its standard error.
    pub stderr: String,
}

impl Exec {
    /// For `argv`: the program and its arguments. No secrets: others can see them.
    pub fn new<T: Into<String>>(argv: impl IntoIterator<Item = T>) -> Self {
        Self {
            argv: argv.into_iter().map(Into::into).collect(),
            env: Vec::new(),
            user: None,
            stall: STALL,
            cancel: CancellationToken::new(),
        }
    }

    /// As this user of the container, as a name, `uid` or `uid:gid`.
    #[must_use]
    pub fn user(mut self, user: impl Into<String>) -> Self {
        self.user = Some(user.into());
        self
    }

    /// With an environment variable: the only way for secrets. They are in no log and no error.
    #[must_use]
    pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.env.push((name.into(), Zeroizing::new(value.into())));
        self
    }

    /// With another time without a byte after which it has stalled.
    #[must_use]
    pub const fn stall_after(mut self, stall: Duration) -> Self {
        self.stall = stall;
        self
    }

    /// Given up when `cancel` is. The command itself may go on in its container: nobody else than
    /// the server it talks to can end it safely (H4).
    #[must_use]
    pub fn cancel(mut self, cancel: &CancellationToken) -> Self {
        self.cancel = cancel.clone();
        self
    }

    /// Its first word, for messages; the rest may be long.
    fn program(&self) -> &str {
        self.argv.first().map_or("", String::as_str)
    }

    /// Runs it when first polled, and streams what it prints on standard output.
    ///
    /// The stream ends without an error only when the command is known to have exited with zero.
    /// Dropping it leaves the command to itself.
    pub fn stdout(self, docker: &Docker, container: &str) -> ByteStream {
        enum At {
            Start(Box<(Exec, Docker, String)>),
            Reading(Box<Running>),
        }
        let start = At::Start(Box::new((self, docker.clone(), container.to_owned())));
        stream::try_unfold(start, |at| async move {
            let mut running = match at {
                At::Reading(running) => running,
                At::Start(start) => {
                    let (exec, docker, container) = *start;
                    Box::new(Running::start(exec, &docker, &container, false).await?)
                }
            };
            let chunk = running.next_stdout().await?;
            Ok(chunk.map(|chunk| (chunk, At::Reading(running))))
        })
        .boxed()
    }

    /// Runs it and returns what it prints on standard output, without the last line break.
    ///
    /// # Errors
    ///
    /// [`ExecError`] when it cannot be run, does not exit with zero, prints more than 1 MiB or
    /// something that is not UTF-8.
    pub async fn text(self, docker: &Docker, container: &str) -> Result<String, ExecError> {
        let odd = ExecError::output_of(&self, container);
        let mut whole = Vec::new();
        let mut stdout = self.stdout(docker, container);
        while let Some(chunk) = stdout.try_next().await? {
            if whole.len() + chunk.len() > MAX_TEXT {
                return Err(odd("it printed more than 1 MiB"));
            }
            whole.extend_from_slice(&chunk);
        }
        if whole.last() == Some(&b'\n') {
            whole.truncate(whole.len() - 1);
        }
        String::from_utf8(whole).map_err(|_bytes| odd("it printed something that is not UTF-8"))
    }

    /// Runs it, feeds it `body` and waits for its end.
    ///
    /// When `body` ends with an error that is what is returned. The command then saw the end of
    /// its input too soon: what it made of that must not be used.
    ///
    /// # Errors
    ///
    /// [`ExecError`] when it cannot be run, does not exit with zero, or ends before it has taken
    /// all of `body`.
    pub async fn stdin<E>(
        self,
        docker: &Docker,
        container: &str,
        body: impl Stream<Item = Result<Bytes, E>> + Send,
    ) -> Result<Printed, ExecError>
    where
        E: Into<Box<dyn std::error::Error + Send + Sync>> + Send,
    {
        Running::start(self, docker, container, true).await?.feed(body).await
    }
}
