//! Session: how the server in a container is reached: as whom, on which socket, with which secret.

mod open;

use bytes::Bytes;
use futures::{Stream, TryStreamExt as _};
use lazarette_core::error::Reason;
use serde::{Deserialize, de::DeserializeOwned};
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use super::{
    failure::{self, Explained},
    quote,
};
use crate::{
    docker::{
        Docker,
        exec::{ByteStream, Exec},
    },
    driver::DriverError,
};

/// Our sessions on servers are called so, with the run's id behind it.
pub(super) const APPLICATION: &str = "lazarette-";

/// The longest line that a query may answer: one JSON document.
const MAX_LINE: usize = 64 << 20;

/// A server that answered, and how to reach it again. Nothing is held open: every call is a tool
/// that is run in the container.
#[derive(Clone, Debug)]
pub(super) struct Session {
    docker: Docker,
    container: String,
    access: Access,
    application: String,
    cancel: CancellationToken,
    /// What the server said of itself.
    pub(super) server: Server,
}

/// One way to reach a server.
#[derive(Clone, Debug)]
pub(super) struct Access {
    /// Of the container; none is the one that its image names.
    pub(super) os_user: Option<&'static str>,
    /// Directory of the socket; empty is the tool's own default.
    pub(super) socket: String,
    pub(super) role: String,
    pub(super) password: Option<Zeroizing<String>>,
    /// A database that lets us in.
    pub(super) database: String,
}

/// What a server says of itself.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Server {
    /// As `170011`.
    pub(super) version_num: u32,
    /// As `17.11 (Debian 17.11-1)`.
    pub(super) version: String,
    /// Whether it replays somebody else's log.
    pub(super) in_recovery: bool,
    pub(super) superuser: bool,
    /// Only told to superusers.
    pub(super) data_directory: Option<String>,
    /// Whom it takes us for.
    pub(super) role: String,
}

impl Server {
    /// As `17`.
    pub(super) fn major(&self) -> u32 {
        self.version_num / 10_000
    }
}

impl Session {
    /// The session of another task that must not be cancelled: undoing, accepting.
    pub(super) fn uncancelled(mut self) -> Self {
        self.cancel = CancellationToken::new();
        self
    }

    /// What the server calls our sessions.
    pub(super) fn application(&self) -> &str {
        &self.application
    }

    /// Whom we are there.
    pub(super) fn role(&self) -> &str {
        &self.server.role
    }

    /// The database that was first to let us in.
    pub(super) fn home(&self) -> &str {
        &self.access.database
    }

    /// A tool that will work on `database`, with `arguments` before the connection.
    pub(super) fn tool(&self, program: &str, arguments: &[&str], database: &str) -> Exec {
        let options = options(&self.server);
        let settings = (self.application.as_str(), options.as_str());
        self.access.exec(program, arguments, database, settings).cancel(&self.cancel)
    }

    /// `psql` on `database`, with these arguments.
    pub(super) fn psql(&self, database: &str, arguments: &[&str]) -> Exec {
        let arguments = [PSQL, arguments].concat();
        self.tool("psql", &arguments, database).env("PGCLIENTENCODING", "UTF8")
    }

    /// Runs `tool` and streams what it prints.
    pub(super) fn stream(&self, tool: Exec) -> ByteStream {
        tool.stdout(&self.docker, &self.container)
    }

    /// Runs `tool` on what `body` gives it.
    pub(super) async fn feed(
        &self,
        tool: Exec,
        body: impl Stream<Item = Result<Bytes, DriverError>> + Send,
        doing: &str,
    ) -> Result<(), DriverError> {
        let fed = tool.stdin(&self.docker, &self.container, body).await;
        fed.map(drop).map_err(|error| failure::explain(doing, error))
    }

    /// Runs `script` in `database`, stopping at its first error. It is fed, never an argument: it
    /// may hold secrets.
    pub(super) async fn run(
        &self,
        database: &str,
        script: String,
        doing: &str,
    ) -> Result<(), DriverError> {
        let tool = self.psql(database, &[]);
        let body = futures::stream::iter([Ok(Bytes::from(script))]);
        self.feed(tool, body, doing).await
    }

    /// What `queries` answer in `database`: each row is one JSON document.
    pub(super) async fn rows<T: DeserializeOwned>(
        &self,
        database: &str,
        queries: &[String],
        doing: &str,
    ) -> Result<Vec<T>, DriverError> {
        let arguments: Vec<_> = queries.iter().flat_map(|query| ["-c", query]).collect();
        lines(self.stream(self.psql(database, &arguments)), doing).await
    }

    /// What `query` answers in `database`: one JSON document.
    pub(super) async fn row<T: DeserializeOwned>(
        &self,
        database: &str,
        query: String,
        doing: &str,
    ) -> Result<T, DriverError> {
        let rows: Vec<T> = self.rows(database, &[query], doing).await?;
        let row = rows.into_iter().next();
        row.ok_or_else(|| failure::odd(doing, "the server gave no answer"))
    }
}

/// No start-up file, bare rows, no questions, no going on after an error.
const PSQL: &[&str] = &["-XAtqw", "-v", "ON_ERROR_STOP=1"];

impl Access {
    /// `program arguments -d CONNECTION`. The database's name is inside a quoted value: it can be
    /// neither an option nor another connection.
    fn exec(
        &self,
        program: &str,
        arguments: &[&str],
        database: &str,
        (application, options): (&str, &str),
    ) -> Exec {
        let mut pairs = vec![("dbname", database), ("user", self.role.as_str())];
        if !self.socket.is_empty() {
            pairs.push(("host", self.socket.as_str()));
        }
        pairs.push(("application_name", application));
        let connection = quote::connection(&pairs);
        let argv = [&[program], arguments, &["-d", &connection]].concat();
        let mut exec = Exec::new(argv)
            .env("LC_ALL", "C")
            .env("PGOPTIONS", options)
            .env("PGHOST", "")
            .env("PGHOSTADDR", "")
            .env("PGCONNECT_TIMEOUT", "10");
        if let Some(user) = self.os_user {
            exec = exec.user(user);
        }
        if let Some(password) = &self.password {
            exec = exec.env("PGPASSWORD", password.as_str());
        }
        exec
    }
}

/// Settings of our sessions, whatever a database or role has set for its own (H2, H5).
fn options(server: &Server) -> String {
    let mut settings = vec![
        "statement_timeout=0",
        "lock_timeout=0",
        "idle_in_transaction_session_timeout=0",
        "default_transaction_read_only=off",
        "default_transaction_isolation=read\\ committed",
        "standard_conforming_strings=on",
        "search_path=pg_catalog",
        "DateStyle=ISO,YMD",
        "IntervalStyle=postgres",
        "bytea_output=hex",
        "client_min_messages=warning",
    ];
    if server.superuser {
        settings.push("session_replication_role=origin");
    }
    if server.version_num >= 140_000 {
        settings.push("idle_session_timeout=0");
    }
    if server.version_num >= 170_000 {
        settings.push("transaction_timeout=0");
    }
    settings.iter().map(|setting| format!("-c {setting}")).collect::<Vec<_>>().join(" ")
}

/// The JSON documents in a stream, one a line.
async fn lines<T: DeserializeOwned>(
    mut stream: ByteStream,
    doing: &str,
) -> Result<Vec<T>, DriverError> {
    let mut rows = Vec::new();
    let mut line = Vec::new();
    loop {
        let chunk = stream.try_next().await.map_err(|error| failure::explain(doing, error))?;
        let Some(chunk) = chunk else { break };
        for piece in chunk.split_inclusive(|byte| *byte == b'\n') {
            line.extend_from_slice(piece);
            if line.ends_with(b"\n") {
                rows.push(parse(&line, doing)?);
                line.clear();
            } else if line.len() > MAX_LINE {
                return Err(failure::odd(doing, "the server answered with an endless line"));
            }
        }
    }
    if !line.is_empty() {
        rows.push(parse(&line, doing)?);
    }
    Ok(rows)
}

fn parse<T: DeserializeOwned>(line: &[u8], doing: &str) -> Result<T, DriverError> {
    serde_json::from_slice(line).map_err(|error| {
        let why = Explained::new("the server's answer cannot be understood", error);
        DriverError::new(Reason::DumpInvalid, doing, why)
    })
}
