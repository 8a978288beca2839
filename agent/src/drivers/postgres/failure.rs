//! Failures: what a tool of PostgreSQL said, turned into a reason and a way out.

use std::{error::Error, fmt};

use lazarette_core::error::{Reason, ReasonedError as _};

use crate::{docker::exec::ExecError, driver::DriverError};

/// A sentence for people over what a program said.
#[derive(Debug, thiserror::Error)]
#[error("{sentence}")]
pub(super) struct Explained {
    sentence: String,
    #[source]
    source: Box<dyn Error + Send + Sync>,
}

impl Explained {
    pub(super) fn new(
        sentence: impl Into<String>,
        source: impl Into<Box<dyn Error + Send + Sync>>,
    ) -> Self {
        Self { sentence: sentence.into(), source: source.into() }
    }
}

/// A sentence that has nothing behind it.
pub(super) fn odd(doing: &str, what: impl fmt::Display) -> DriverError {
    DriverError::new(Reason::DumpInvalid, doing, what.to_string())
}

/// What a server or tool says, what that means, and the way out.
const KNOWN: &[(&str, Reason, &str)] = &[
    (
        "too many clients already",
        Reason::EngineNotReady,
        "the server has no connection left: end some clients, or raise `max_connections`",
    ),
    (
        "remaining connection slots are reserved",
        Reason::EngineNotReady,
        "the server has no connection left: end some clients, raise `max_connections`, or let \
         the role be a superuser, for whom some are reserved",
    ),
    (
        "too many connections for",
        Reason::EngineNotReady,
        "a connection limit is reached: end some clients, or raise the limit of the role or \
         database",
    ),
    (
        "the database system is",
        Reason::EngineNotReady,
        "the server starts, stops or recovers: try again when it is ready",
    ),
    (
        "not currently accepting connections",
        Reason::EngineNotReady,
        "the database refuses connections: allow them with \
         `ALTER DATABASE … ALLOW_CONNECTIONS true`, or drop it if it is not needed",
    ),
    (
        "authentication failed",
        Reason::EngineNotReady,
        "the server does not let us in: its password is not the one in the container's \
         environment; allow local connections of its superuser in `pg_hba.conf`",
    ),
    (
        "no password supplied",
        Reason::EngineNotReady,
        "the server wants a password and the container's environment has none: set \
         `POSTGRES_PASSWORD` or `POSTGRES_PASSWORD_FILE`, or allow local connections",
    ),
    (
        "no pg_hba.conf entry",
        Reason::EngineNotReady,
        "the server does not let us in: allow local connections of its superuser in `pg_hba.conf`",
    ),
    (
        "No space left on device",
        Reason::DiskFull,
        "the disk of the server is full: make room, then try again",
    ),
    (
        "aborting because of server version mismatch",
        Reason::DumpFailed,
        "the tools in the container are older than its server: use an image in which both are of \
         one version",
    ),
    (
        "canceling statement due to lock timeout",
        Reason::DumpStalled,
        "a table stayed locked for a minute: end the transaction that holds it, then try again",
    ),
    (
        "terminating connection due to administrator command",
        Reason::EngineNotReady,
        "the server or an administrator ended our session",
    ),
    (
        "server closed the connection unexpectedly",
        Reason::EngineNotReady,
        "the server went away in the middle: see its log",
    ),
    (
        "Is the server running",
        Reason::EngineNotReady,
        "the server does not answer on its socket: see whether it runs, and its log",
    ),
];

/// Says what happened while `doing`.
pub(super) fn explain(doing: &str, error: ExecError) -> DriverError {
    let (reason, sentence) = match &error {
        ExecError::Exit { stderr, .. } => match known(stderr) {
            Some((reason, sentence)) => (reason, Some(sentence)),
            None => (error.reason(), None),
        },
        ExecError::NotRun { .. } => (
            Reason::DumpFailed,
            Some(
                "the container lacks PostgreSQL's own tools: use an image that has `psql`, \
                 `pg_dump`, `pg_dumpall` and `pg_restore` on its PATH",
            ),
        ),
        // What was to be fed knows best why it ended.
        ExecError::Input { source, .. } => {
            let known = source.downcast_ref::<DriverError>();
            (known.map_or(error.reason(), DriverError::reason), None)
        }
        ExecError::ContainerEnded { .. }
        | ExecError::ExitUnknown { .. }
        | ExecError::Stalled { .. }
        | ExecError::Cancelled { .. }
        | ExecError::Docker { .. }
        | ExecError::Odd { .. } => (error.reason(), None),
    };
    match sentence {
        Some(sentence) => DriverError::new(reason, doing, Explained::new(sentence, error)),
        None => DriverError::new(reason, doing, error),
    }
}

/// What `stderr` means, if that is known.
pub(super) fn known(stderr: &str) -> Option<(Reason, &'static str)> {
    let found = KNOWN.iter().find(|(said, ..)| stderr.contains(said));
    found.map(|(_, reason, sentence)| (*reason, *sentence))
}

#[cfg(test)]
mod tests {
    use lazarette_core::error::chain;

    use super::*;

    fn exit(stderr: &str) -> ExecError {
        ExecError::Exit {
            program: "psql".to_owned(),
            container: "db".to_owned(),
            code: 2,
            stderr: stderr.to_owned(),
        }
    }

    #[test]
    fn what_a_server_says_becomes_a_reason_and_a_way_out() {
        let cases = [
            ("FATAL:  sorry, too many clients already", Reason::EngineNotReady, "max_connections"),
            ("could not extend file: No space left on device", Reason::DiskFull, "make room"),
            ("FATAL: the database system is starting up", Reason::EngineNotReady, "try again"),
            ("FATAL: Peer authentication failed for user", Reason::EngineNotReady, "pg_hba"),
        ];
        for (stderr, reason, way_out) in cases {
            let error = explain("dump database `shop`", exit(stderr));
            assert_eq!(error.reason(), reason, "{stderr}");
            let told = chain(&error);
            assert!(told.starts_with("dump database `shop`: "), "{told}");
            assert!(told.contains(way_out) && told.contains(stderr), "{told}");
        }
    }

    #[test]
    fn what_is_not_known_is_passed_on_as_it_was_said() {
        let error = explain("dump database `shop`", exit("ERROR:  something new"));
        assert_eq!(error.reason(), Reason::DumpFailed);
        assert!(chain(&error).ends_with("ERROR:  something new"));
    }

    #[test]
    fn missing_tools_are_named() {
        let error = ExecError::NotRun {
            program: "pg_dump".to_owned(),
            container: "db".to_owned(),
            code: 127,
            said: "OCI runtime exec failed".to_owned(),
        };
        let error = explain("dump database `shop`", error);
        assert!(chain(&error).contains("lacks PostgreSQL's own tools"));
    }
}
