//! Errors: why a command did not do what it was asked, for people and for programs.

use std::{io, process::ExitCode};

use lazarette_core::{
    error::{Failure, Reason, chain},
    id::RunId,
};
use lazarette_node::{dial::DialError, live::LiveError};
use lazarette_proto::convert::ConvertError;

use crate::{contexts::ContextsError, hints};

/// How the program ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Done.
    Done,
    /// Failed; also: the answer is no.
    Failed,
    /// It was not called as it can be.
    Usage,
    /// Done, but not all of it.
    InPart,
    /// Ctrl-C while following a run, which goes on.
    Interrupted,
}

impl Exit {
    /// As the shell sees it.
    pub const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::InPart => 3,
            Self::Interrupted => 130,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// A command did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum CtlError {
    /// It was not called as it can be.
    #[error("{0}")]
    Usage(String),
    /// There is no usable context.
    #[error("find the controller to talk to")]
    Contexts(#[from] ContextsError),
    /// The credentials cannot be used.
    #[error("prepare to talk to the controller")]
    Credentials(#[source] Box<LiveError>),
    /// The controller cannot be reached, or does not let us in.
    #[error(transparent)]
    Dial(Box<DialError>),
    /// The controller says no.
    #[error("{doing}")]
    Refused {
        /// Verb and object.
        doing: String,
        /// What it said.
        #[source]
        failure: Failure,
    },
    /// The controller answers what this version does not understand.
    #[error("{doing}: understand the controller's answer (is it of another version?)")]
    Strange {
        /// Verb and object.
        doing: String,
        /// What is wrong with it.
        #[source]
        source: ConvertError,
    },
    /// A run ended otherwise than it was to.
    #[error("{what}")]
    Ended {
        /// What it is now.
        what: String,
        /// Which.
        run: RunId,
        /// Why.
        #[source]
        failure: Failure,
    },
    /// Somebody pressed Ctrl-C; the run goes on.
    #[error("stopped following {0}; the run goes on")]
    Left(RunId),
    /// Somebody pressed Ctrl-C; all runs go on.
    #[error("stopped following; all runs go on")]
    LeftAll,
    /// Somebody said no.
    #[error("nothing was done: it was not confirmed")]
    Declined,
    /// Something here cannot be read.
    #[error("read {what}")]
    Input {
        /// What.
        what: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Whoever read our output went away; nothing to say and nobody to say it to.
    #[error("write the output")]
    Output(#[source] io::Error),
}

impl CtlError {
    /// The controller's answer to `doing` is not what it can be.
    pub fn strange(doing: impl Into<String>) -> impl FnOnce(ConvertError) -> Self {
        let doing = doing.into();
        move |source| Self::Strange { doing, source }
    }

    /// What programs match on.
    pub fn reason(&self) -> Reason {
        match self {
            Self::Usage(_) | Self::Contexts(_) | Self::Declined | Self::Input { .. } => {
                Reason::InvalidInput
            }
            Self::Credentials(_) => Reason::Unauthenticated,
            Self::Dial(error) => match **error {
                DialError::Unreachable { .. }
                | DialError::Slow { .. }
                | DialError::NotAController { .. } => Reason::ControllerUnreachable,
                DialError::Expired { .. } => Reason::CertificateExpired,
                DialError::Closed { .. } => Reason::Revoked,
                DialError::Untrusted { .. }
                | DialError::Refused { .. }
                | DialError::Setup { .. } => Reason::Unauthenticated,
            },
            Self::Refused { failure, .. } | Self::Ended { failure, .. } => failure.reason,
            Self::Strange { .. } => Reason::VersionUnsupported,
            Self::Left(_) | Self::LeftAll => Reason::Cancelled,
            Self::Output(_) => Reason::Internal,
        }
    }

    /// What can be done about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Usage(_)
            | Self::Output(_)
            | Self::Strange { .. }
            | Self::Credentials(_)
            | Self::Input { .. } => None,
            Self::Contexts(error) => Some(error.hint()),
            Self::Declined => Some("answer `y`, or give `--yes`".to_owned()),
            Self::LeftAll => Some("`ctl run list --open` shows how far they are".to_owned()),
            Self::Left(run) => Some(format!(
                "`ctl run watch {run}` follows it again, `ctl run cancel {run}` ends it"
            )),
            Self::Ended { run, .. } => {
                hints::of(self.reason()).map(|hint| hint.replace("RUN", &run.to_string()))
            }
            Self::Dial(_) | Self::Refused { .. } => hints::of(self.reason()).map(str::to_owned),
        }
    }

    /// How the program ends.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Usage(_) => Exit::Usage,
            Self::Left(_) | Self::LeftAll => Exit::Interrupted,
            Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => Exit::Done,
            Self::Contexts(_)
            | Self::Credentials(_)
            | Self::Dial(_)
            | Self::Refused { .. }
            | Self::Strange { .. }
            | Self::Ended { .. }
            | Self::Declined
            | Self::Input { .. }
            | Self::Output(_) => Exit::Failed,
        }
    }

    /// The whole chain of causes.
    pub fn message(&self) -> String {
        chain(self)
    }
}
