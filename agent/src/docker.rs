//! Docker: hands on the Docker Engine of this host. The one place that knows its API and its versions.

mod act;
mod error;
pub mod exec;
mod health;
mod look;
mod wire;

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

pub use self::{
    act::RestartPolicy,
    error::{DockerError, Doing, Noun},
    health::Patience,
    look::EngineVersion,
};
pub(crate) use self::{
    act::own_grace,
    error::{escaped, plain},
};

/// How long the Engine may take to answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadlines {
    /// To be reached and to say its version.
    pub connect: Duration,
    /// For any call.
    pub call: Duration,
    /// For stopping a container, beyond the container's own time to stop.
    pub stop_extra: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            call: Duration::from_secs(30),
            stop_extra: Duration::from_secs(30),
        }
    }
}

/// The Docker Engine behind a socket. Cheap to clone; making one does nothing yet.
#[derive(Clone)]
pub struct Docker {
    inner: Arc<Inner>,
}

struct Inner {
    socket: PathBuf,
    deadlines: Deadlines,
    /// Knows the API version that was agreed on; none until the Engine was reached.
    client: Mutex<Option<bollard::Docker>>,
}

impl fmt::Debug for Docker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Docker").field("socket", &self.inner.socket).finish_non_exhaustive()
    }
}

impl Docker {
    /// The Engine that listens on `socket`, with the usual deadlines.
    pub fn at(socket: impl Into<PathBuf>) -> Self {
        Self::new(socket, Deadlines::default())
    }

    /// The Engine that listens on `socket`.
    pub fn new(socket: impl Into<PathBuf>, deadlines: Deadlines) -> Self {
        let inner = Inner { socket: socket.into(), deadlines, client: Mutex::new(None) };
        Self { inner: Arc::new(inner) }
    }

    /// Where it listens.
    pub fn socket(&self) -> &Path {
        &self.inner.socket
    }

    /// Calls the Engine with the usual deadline.
    async fn call<T, F>(
        &self,
        doing: &Doing,
        ask: impl FnOnce(bollard::Docker) -> F,
    ) -> Result<T, DockerError>
    where
        F: Future<Output = Result<T, bollard::errors::Error>>,
    {
        self.call_within(self.inner.deadlines.call, doing, ask).await
    }

    async fn call_within<T, F>(
        &self,
        deadline: Duration,
        doing: &Doing,
        ask: impl FnOnce(bollard::Docker) -> F,
    ) -> Result<T, DockerError>
    where
        F: Future<Output = Result<T, bollard::errors::Error>>,
    {
        let client = self.client().await?;
        match tokio::time::timeout(deadline, ask(client)).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(self.explain(doing, error)),
            Err(_elapsed) => Err(DockerError::Timeout { doing: doing.clone(), after: deadline }),
        }
    }

    /// A client that speaks the newest version both sides know.
    async fn client(&self) -> Result<bollard::Docker, DockerError> {
        let known = self.inner.client.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(client) = known {
            return Ok(client);
        }
        let doing = Doing::new("ask", Noun::Engine, "");
        let far = Duration::from_hours(24).as_secs();
        let socket = self.inner.socket.to_string_lossy();
        let client = bollard::Docker::connect_with_unix(&socket, far, bollard::API_DEFAULT_VERSION)
            .map_err(|error| self.explain(&doing, error))?;
        let deadline = self.inner.deadlines.connect;
        let agreed = match tokio::time::timeout(deadline, client.negotiate_version()).await {
            Ok(agreed) => agreed.map_err(|error| self.explain(&doing, error))?,
            Err(_elapsed) => return Err(DockerError::Timeout { doing, after: deadline }),
        };
        *self.inner.client.lock().unwrap_or_else(PoisonError::into_inner) = Some(agreed.clone());
        Ok(agreed)
    }

    /// Another Engine may answer next time: the version is agreed on anew.
    fn forget(&self) {
        *self.inner.client.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn explain(&self, doing: &Doing, error: bollard::errors::Error) -> DockerError {
        use bollard::errors::Error;
        #[expect(clippy::wildcard_enum_match_arm, reason = "which there are depends on features")]
        match error {
            Error::DockerResponseServerError { status_code, message } => {
                self.refused(doing, status_code, &message)
            }
            Error::SocketNotFoundError(_) => self.unreachable(rustix::io::Errno::NOENT.into()),
            Error::HyperLegacyError { err } => self.unreachable(io_error(err)),
            Error::HyperResponseError { err } => self.unreachable(std::io::Error::other(err)),
            Error::IOError { err } => self.unreachable(err),
            other => DockerError::Answer { doing: doing.clone(), source: Box::new(other) },
        }
    }

    fn refused(&self, doing: &Doing, status: u16, message: &str) -> DockerError {
        if status == 404 {
            return DockerError::Gone { doing: doing.clone() };
        }
        if status == 400 && message.contains("client version") {
            self.forget();
        }
        DockerError::Refused { doing: doing.clone(), status, message: plain(message, 2000) }
    }

    fn unreachable(&self, source: std::io::Error) -> DockerError {
        self.forget();
        DockerError::Unreachable { socket: self.inner.socket.clone(), source: Box::new(source) }
    }
}

/// The cause that a person can do something about.
fn io_error(error: impl std::error::Error + Send + Sync + 'static) -> std::io::Error {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(&error);
    while let Some(inner) = cause {
        if let Some(io) = inner.downcast_ref::<std::io::Error>() {
            return io.raw_os_error().map_or_else(
                || std::io::Error::new(io.kind(), io.to_string()),
                std::io::Error::from_raw_os_error,
            );
        }
        cause = inner.source();
    }
    std::io::Error::other(error)
}
