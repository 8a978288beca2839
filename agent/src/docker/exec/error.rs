//! Exec errors: why a command in a container did not do what it was asked.

use std::time::Duration;

use lazarette_core::error::{Reason, ReasonedError};

use super::Exec;
use crate::docker::{DockerError, plain};

/// A command in a container did not do what it was asked. Only its program is named: the rest may
/// hold secrets.
#[derive(Debug, thiserror::Error)]
pub enum ExecError {
    /// It ran, and said no.
    #[error("`{program}` in container `{container}` exited with {code}: {stderr}")]
    Exit {
        /// First word of the command line.
        program: String,
        /// Where.
        container: String,
        /// As Docker reports it.
        code: i64,
        /// The last 4 KiB that it wrote there, printable.
        stderr: String,
    },
    /// The container has no such program, or nothing that can be run.
    #[error("`{program}` cannot be run in container `{container}` (exit code {code}): {said}")]
    NotRun {
        /// First word of the command line.
        program: String,
        /// Where.
        container: String,
        /// 126 or 127.
        code: i64,
        /// What came instead of output, printable.
        said: String,
    },
    /// The container ended, or went away, in the middle.
    #[error("container `{container}` ended while `{program}` ran in it")]
    ContainerEnded {
        /// First word of the command line.
        program: String,
        /// Where.
        container: String,
    },
    /// Its output ended, and nobody can say how the command did.
    #[error("nobody knows how `{program}` in container `{container}` ended")]
    ExitUnknown {
        /// First word of the command line.
        program: String,
        /// Where.
        container: String,
        /// Why nobody knows.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// No byte came for too long.
    #[error(
        "`{program}` in container `{container}` stood still for {} s{}",
        after.as_secs_f32(),
        if *paused { ": the container is paused" } else { "" }
    )]
    Stalled {
        /// First word of the command line.
        program: String,
        /// Where.
        container: String,
        /// How long.
        after: Duration,
        /// Whether the container is known to be paused.
        paused: bool,
    },
    /// The run was cancelled meanwhile.
    #[error("`{program}` in container `{container}` was given up: the run was cancelled")]
    Cancelled {
        /// First word of the command line.
        program: String,
        /// Where.
        container: String,
    },
    /// It could not be started.
    #[error("run `{program}` in container `{container}`")]
    Docker {
        /// First word of the command line.
        program: String,
        /// Where.
        container: String,
        /// What Docker said.
        #[source]
        source: Box<DockerError>,
    },
    /// What it was to be fed ended with an error.
    #[error("feed `{program}` in container `{container}`")]
    Input {
        /// First word of the command line.
        program: String,
        /// Where.
        container: String,
        /// Why its input ended.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// It exited with zero, but cannot have done what it was asked.
    #[error("`{program}` in container `{container}`: {what}")]
    Odd {
        /// First word of the command line.
        program: String,
        /// Where.
        container: String,
        /// A clause.
        what: &'static str,
    },
}

impl ExecError {
    /// Makes errors about the output of a command.
    pub(super) fn output_of(exec: &Exec, container: &str) -> impl Fn(&'static str) -> Self + use<> {
        let program = plain(exec.program(), 80);
        let container = plain(container, 80);
        move |what| Self::Odd { program: program.clone(), container: container.clone(), what }
    }
}

impl ReasonedError for ExecError {
    fn reason(&self) -> Reason {
        match self {
            Self::Exit { .. } | Self::NotRun { .. } => Reason::DumpFailed,
            Self::ContainerEnded { .. } => Reason::ContainerGone,
            Self::ExitUnknown { .. } => Reason::DumpUnknown,
            Self::Stalled { .. } => Reason::DumpStalled,
            Self::Cancelled { .. } => Reason::Cancelled,
            Self::Docker { source, .. } if source.is_conflict() => Reason::EngineNotReady,
            Self::Docker { source, .. } => source.reason(),
            Self::Input { .. } => Reason::RestoreFailed,
            Self::Odd { .. } => Reason::DumpInvalid,
        }
    }
}
