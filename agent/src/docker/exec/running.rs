//! Running: a command that was started, until it is known how it ended.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use bollard::models::ContainerInspectResponse;
use bytes::Bytes;
use futures::{Stream, StreamExt as _};
use serde_json::{Value, json};
use tokio::{
    io::AsyncWriteExt as _,
    net::unix::{OwnedReadHalf, OwnedWriteHalf},
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    Exec, ExecError, Printed,
    frames::{Frames, Kind},
    tail::Tail,
};
use crate::docker::{Docker, DockerError, Doing, Noun, look::path_part, plain, wire};

/// A command whose input failed gets so long to see its end.
const LAST_WORDS: Duration = Duration::from_secs(10);

/// The Engine may learn of a container's end later than of its commands' ends.
const AFTERMATH: Duration = Duration::from_secs(2);

/// The most of an opening that is kept: what a missing program answers is shorter.
const OPENING: usize = 1024;

type Cause = Box<dyn std::error::Error + Send + Sync>;

/// A command that runs.
#[derive(Debug)]
pub(super) struct Running {
    program: String,
    container: String,
    docker: Docker,
    id: String,
    frames: Frames<OwnedReadHalf>,
    input: Option<OwnedWriteHalf>,
    opening: Vec<u8>,
    stdout: Tail,
    stderr: Tail,
    stall: Duration,
    cancel: CancellationToken,
}

impl Running {
    pub(super) async fn start(
        exec: Exec,
        docker: &Docker,
        container: &str,
        fed: bool,
    ) -> Result<Self, ExecError> {
        let program = plain(exec.program(), 80);
        let cancel = exec.cancel.clone();
        let started = async {
            let doing = Doing::new("run a command in", Noun::Container, container);
            let name = path_part(&doing, container)?;
            let path = format!("/containers/{name}/exec");
            let made = wire::post(docker, &doing, &path, &create_body(&exec, fed)).await?;
            let id = made.get("Id").and_then(Value::as_str).unwrap_or_default().to_owned();
            let doing = Doing::new("start", Noun::Exec, &id);
            let path = format!("/exec/{}/start", path_part(&doing, &id)?);
            let body = json!({ "Detach": false, "Tty": false });
            let hijacked = wire::hijack(docker, &doing, &path, &body).await?;
            Ok::<_, DockerError>((id, hijacked))
        };
        let started = tokio::select! {
            biased;
            () = cancel.cancelled() => {
                return Err(ExecError::Cancelled { program, container: plain(container, 80) });
            }
            started = started => started,
        };
        let (id, hijacked) = started.map_err(|source| ExecError::Docker {
            program: program.clone(),
            container: plain(container, 80),
            source: Box::new(source),
        })?;
        let (read, write) = hijacked.stream.into_split();
        Ok(Self {
            program,
            container: plain(container, 80),
            docker: docker.clone(),
            id,
            frames: Frames::new(read, &hijacked.early),
            input: Some(write),
            opening: Vec::new(),
            stdout: Tail::default(),
            stderr: Tail::default(),
            stall: exec.stall,
            cancel,
        })
    }

    /// The next of its output; none when all of it came and it exited with zero.
    pub(super) async fn next_stdout(&mut self) -> Result<Option<Bytes>, ExecError> {
        loop {
            let piece = tokio::select! {
                biased;
                () = self.cancel.cancelled() => return Err(self.cancelled()),
                piece = timeout(self.stall, self.frames.next()) => piece,
            };
            match piece {
                Err(_elapsed) => return Err(self.stalled().await),
                Ok(Err(error)) => return Err(self.unknown(error).await),
                Ok(Ok(Some((Kind::Stderr, piece)))) => self.stderr.push(&piece),
                Ok(Ok(Some((Kind::Stdout, piece)))) => {
                    self.open_with(&piece);
                    return Ok(Some(piece));
                }
                Ok(Ok(None)) => return self.ending().await.map(|()| None),
            }
        }
    }

    /// Feeds it all of `body` and waits for its end.
    ///
    /// Something that takes long without a word, an index that is built, has not stalled; a
    /// container that is paused or gone has.
    pub(super) async fn feed<E>(
        mut self,
        body: impl Stream<Item = Result<Bytes, E>> + Send,
    ) -> Result<Printed, ExecError>
    where
        E: Into<Cause> + Send,
    {
        let taken = AtomicU64::new(0);
        let mut taken_before = 0;
        let mut fed = None;
        {
            let mut feeding = Box::pin(feed_all(self.input.take(), body, &taken));
            loop {
                tokio::select! {
                    biased;
                    () = self.cancel.cancelled() => return Err(self.cancelled()),
                    done = &mut feeding, if fed.is_none() => match done {
                        Ok(all) => fed = Some(all),
                        Err(source) => {
                            drop(feeding);
                            return Err(self.starved(source).await);
                        }
                    },
                    piece = timeout(self.stall, self.frames.next()) => match piece {
                        Ok(Ok(None)) => break,
                        Ok(Ok(Some((Kind::Stderr, piece)))) => self.stderr.push(&piece),
                        Ok(Ok(Some((Kind::Stdout, piece)))) => {
                            self.open_with(&piece);
                            self.stdout.push(&piece);
                        }
                        Ok(Err(error)) => return Err(self.unknown(error).await),
                        Err(_elapsed) => {
                            let now = taken.load(Ordering::Relaxed);
                            if now == taken_before && !self.works().await {
                                return Err(self.stalled().await);
                            }
                            taken_before = now;
                        }
                    },
                }
            }
        }
        self.ending().await?;
        if fed != Some(true) {
            return Err(self.odd("it ended before it had read all of its input"));
        }
        Ok(Printed { stdout: self.stdout.text(), stderr: self.stderr.text() })
    }

    /// Its input ended with an error: it sees the end of it, and gets a moment to end as well.
    async fn starved(&mut self, source: Cause) -> ExecError {
        let over = async { while let Ok(Some(_)) = self.frames.next().await {} };
        if timeout(LAST_WORDS, over).await.is_err() {
            tracing::warn!(container = self.container, program = self.program, "still runs");
        }
        let (program, container) = self.names();
        ExecError::Input { program, container, source }
    }

    /// All output came: how did it end?
    async fn ending(&mut self) -> Result<(), ExecError> {
        let give_up = Instant::now() + self.stall;
        let mut pause = Duration::from_millis(2);
        loop {
            let doing = Doing::new("inspect", Noun::Exec, &self.id);
            let path = format!("/exec/{}/json", self.id);
            let state = match wire::get(&self.docker, &doing, &path).await {
                Ok(state) => state,
                Err(error) => return Err(self.unknown(error).await),
            };
            let running = state.get("Running").and_then(Value::as_bool);
            let code = state.get("ExitCode").and_then(Value::as_i64);
            match (running, code) {
                (Some(false), Some(0)) => return Ok(()),
                (Some(false), Some(code)) => return Err(self.failed(code).await),
                (Some(true), _) if Instant::now() < give_up => {
                    tokio::select! {
                        () = self.cancel.cancelled() => return Err(self.cancelled()),
                        () = sleep(pause) => pause = (pause * 2).min(Duration::from_millis(250)),
                    }
                }
                (Some(true), _) => {
                    return Err(self.unknown("it closed its output and runs on").await);
                }
                _ => return Err(self.unknown("docker does not say its exit code").await),
            }
        }
    }

    fn open_with(&mut self, piece: &[u8]) {
        let room = OPENING.saturating_sub(self.opening.len());
        self.opening.extend_from_slice(piece.get(..room).unwrap_or(piece));
    }

    async fn failed(&self, code: i64) -> ExecError {
        if matches!(code, 137 | 143) && self.container_ends().await {
            return self.container_ended();
        }
        let (program, container) = self.names();
        let stderr = self.stderr.shown();
        if matches!(code, 126 | 127) {
            // The Engine answers on standard output (M5), a wrapper on standard error.
            let opening = String::from_utf8_lossy(&self.opening);
            let said = if stderr.is_empty() { plain(&opening, OPENING) } else { stderr };
            return ExecError::NotRun { program, container, code, said };
        }
        ExecError::Exit { program, container, code, stderr }
    }

    async fn unknown(&self, source: impl Into<Cause>) -> ExecError {
        if self.container_ends().await {
            return self.container_ended();
        }
        let (program, container) = self.names();
        ExecError::ExitUnknown { program, container, source: source.into() }
    }

    async fn stalled(&self) -> ExecError {
        let paused = self.docker.container(&self.container).await.ok().and_then(|it| it.state);
        let paused = paused.and_then(|it| it.paused).unwrap_or(false);
        let (program, container) = self.names();
        ExecError::Stalled { program, container, after: self.stall, paused }
    }

    /// Whether the container does not run, or is gone, within a moment.
    async fn container_ends(&self) -> bool {
        let give_up = Instant::now() + AFTERMATH;
        loop {
            match self.docker.container(&self.container).await {
                Ok(seen) if !runs(&seen) => return true,
                Ok(_) if Instant::now() < give_up => sleep(Duration::from_millis(50)).await,
                Ok(_) => return false,
                Err(error) => return error.is_gone(),
            }
        }
    }

    /// Whether the container runs, so that the command may be at work without a word.
    async fn works(&self) -> bool {
        let state = self.docker.container(&self.container).await.ok().and_then(|it| it.state);
        state.is_some_and(|it| it.running == Some(true) && it.paused != Some(true))
    }

    fn names(&self) -> (String, String) {
        (self.program.clone(), self.container.clone())
    }

    fn cancelled(&self) -> ExecError {
        let (program, container) = self.names();
        ExecError::Cancelled { program, container }
    }

    fn container_ended(&self) -> ExecError {
        let (program, container) = self.names();
        ExecError::ContainerEnded { program, container }
    }

    fn odd(&self, what: &'static str) -> ExecError {
        let (program, container) = self.names();
        ExecError::Odd { program, container, what }
    }
}

fn runs(seen: &ContainerInspectResponse) -> bool {
    seen.state.as_ref().and_then(|it| it.running) != Some(false)
}

/// Writes all of `body`. Whether all of it was taken, or why it ended early.
async fn feed_all<E: Into<Cause>>(
    input: Option<OwnedWriteHalf>,
    body: impl Stream<Item = Result<Bytes, E>>,
    taken: &AtomicU64,
) -> Result<bool, Cause> {
    let Some(mut input) = input else { return Ok(false) };
    let mut body = std::pin::pin!(body);
    while let Some(chunk) = body.next().await {
        let mut chunk = chunk.map_err(Into::into)?;
        while !chunk.is_empty() {
            match input.write_buf(&mut chunk).await {
                Ok(0) | Err(_) => return Ok(false),
                Ok(n) => {
                    taken.fetch_add(u64::try_from(n).unwrap_or(0), Ordering::Relaxed);
                }
            }
        }
    }
    Ok(input.shutdown().await.is_ok())
}

fn create_body(exec: &Exec, fed: bool) -> Value {
    let env: Vec<String> =
        exec.env.iter().map(|(name, value)| format!("{name}={}", value.as_str())).collect();
    let mut body = json!({
        "AttachStdin": fed,
        "AttachStdout": true,
        "AttachStderr": true,
        "Tty": false,
        "Cmd": exec.argv,
        "Env": env,
    });
    if let (Some(user), Some(body)) = (&exec.user, body.as_object_mut()) {
        body.insert("User".to_owned(), Value::String(user.clone()));
    }
    body
}
