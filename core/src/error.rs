//! Errors for people and programs: the chain of causes, and the closed list of reasons.

use std::{error::Error, fmt};

use serde::{Deserialize, Serialize};

/// The whole chain of causes on one line, outermost first. The only printer of chains.
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}

/// What a caller can do about an error; becomes the code on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The thing named does not exist.
    NotFound,
    /// It exists already, or something else is in the way.
    Conflict,
    /// It may work later, with nothing changed by hand.
    NotReady,
    /// What was asked makes no sense; asking again is of no use.
    Invalid,
    /// The caller may not.
    Denied,
    /// It was cancelled on request.
    Cancelled,
    /// A limit was reached.
    Exhausted,
    /// Data is damaged or not what it was.
    Damaged,
    /// None of the above: a defect, or a disk, or a tool that failed.
    Internal,
}

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident = $text:literal, $kind:ident;)*) => {
        /// Why something did not work: the closed list that programs match on. Never renamed.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Reason {
            $($(#[$doc])* $name,)*
        }

        impl Reason {
            /// Every reason there is.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// As written on the wire and in JSON.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            /// What a caller can do about it.
            pub const fn kind(self) -> Kind {
                match self { $(Self::$name => Kind::$kind,)* }
            }
        }
    };
}

reasons! {
    /// No host of that name.
    HostUnknown = "HOST_UNKNOWN", NotFound;
    /// No stack of that name on the hosts that were asked.
    StackUnknown = "STACK_UNKNOWN", NotFound;
    /// More than one stack has that name.
    StackAmbiguous = "STACK_AMBIGUOUS", Invalid;
    /// No component of that name in the stack or snapshot.
    ComponentUnknown = "COMPONENT_UNKNOWN", NotFound;
    /// No snapshot of that id, or none at all.
    SnapshotUnknown = "SNAPSHOT_UNKNOWN", NotFound;
    /// The beginning of an id fits several snapshots.
    SnapshotAmbiguous = "SNAPSHOT_AMBIGUOUS", Invalid;
    /// No run of that id.
    RunUnknown = "RUN_UNKNOWN", NotFound;
    /// The id belongs to another run with another plan.
    RunExists = "RUN_EXISTS", Conflict;
    /// The run is not in a state in which that can be asked.
    RunState = "RUN_STATE", Conflict;
    /// The stack is held by another run.
    StackBusy = "STACK_BUSY", Conflict;
    /// A repository does not exist, or is not one.
    RepositoryUnknown = "REPOSITORY_UNKNOWN", NotFound;
    /// A passphrase or key does not open the repository.
    KeyWrong = "KEY_WRONG", Denied;
    /// Somebody else holds an exclusive lock on the repository.
    RepositoryLocked = "REPOSITORY_LOCKED", NotReady;
    /// The host is not connected.
    HostOffline = "HOST_OFFLINE", NotReady;
    /// The host takes no new runs, because an operator said so.
    HostDrained = "HOST_DRAINED", NotReady;
    /// The controller cannot be reached from here.
    ControllerUnreachable = "CONTROLLER_UNREACHABLE", NotReady;
    /// Contact to the agent was lost for too long.
    AgentLost = "AGENT_LOST", Internal;
    /// The agent was restarted in the middle of the run.
    AgentRestarted = "AGENT_RESTARTED", Internal;
    /// Agent and controller do not speak the same version.
    VersionUnsupported = "VERSION_UNSUPPORTED", Invalid;
    /// The caller's role may not do that.
    RoleDenied = "ROLE_DENIED", Denied;
    /// There is no certificate, or not one of this fleet.
    Unauthenticated = "UNAUTHENTICATED", Denied;
    /// The certificate is no longer valid.
    CertificateExpired = "CERTIFICATE_EXPIRED", Denied;
    /// The host or credential was removed.
    Revoked = "REVOKED", Denied;
    /// The host's own policy file forbids it.
    PolicyDenied = "POLICY_DENIED", Denied;
    /// A token was used, has expired, is forged or belongs to another controller.
    TokenRefused = "TOKEN_REFUSED", Denied;
    /// A name is taken by another.
    NameTaken = "NAME_TAKEN", Conflict;
    /// A field of a request, configuration or command line cannot be.
    InvalidInput = "INVALID_INPUT", Invalid;
    /// The stack has something that a backup or restore must not touch as it is.
    StackUnsupported = "STACK_UNSUPPORTED", Invalid;
    /// Docker does not answer, or answered with an error.
    DockerUnavailable = "DOCKER_UNAVAILABLE", NotReady;
    /// A container went away in the middle.
    ContainerGone = "CONTAINER_GONE", NotReady;
    /// A container was restarted in the middle by somebody else.
    ContainerRestarted = "CONTAINER_RESTARTED", NotReady;
    /// A database is down, refuses connections, or has none left.
    EngineNotReady = "ENGINE_NOT_READY", NotReady;
    /// A tool of the engine is missing or ended with an error.
    DumpFailed = "DUMP_FAILED", Internal;
    /// Nobody knows how the dump ended, so it did not succeed.
    DumpUnknown = "DUMP_UNKNOWN", NotReady;
    /// The dump ended well but is not what it should be.
    DumpInvalid = "DUMP_INVALID", Damaged;
    /// No byte came for too long.
    DumpStalled = "DUMP_STALLED", NotReady;
    /// Tables were rewritten while they were dumped.
    DdlDuringDump = "DDL_DURING_DUMP", NotReady;
    /// Writers that could not be stopped went on writing.
    WritersActive = "WRITERS_ACTIVE", NotReady;
    /// The stack could not be made quiet, or not in time.
    QuiesceFailed = "QUIESCE_FAILED", NotReady;
    /// The hold lasted longer than its budget.
    HoldExpired = "HOLD_EXPIRED", NotReady;
    /// Something of the stack did not come back as it was.
    ThawFailed = "THAW_FAILED", Internal;
    /// A container did not become healthy.
    Unhealthy = "UNHEALTHY", Internal;
    /// What was restored is not what was saved.
    EvidenceDiffers = "EVIDENCE_DIFFERS", Damaged;
    /// A restore into a database, volume or file failed.
    RestoreFailed = "RESTORE_FAILED", Internal;
    /// An object of the repository is damaged.
    RepositoryDamaged = "REPOSITORY_DAMAGED", Damaged;
    /// An entry of the audit log is missing, added or changed.
    AuditBroken = "AUDIT_BROKEN", Damaged;
    /// An agent reported a pack that is not what it says.
    PackRefused = "PACK_REFUSED", Damaged;
    /// The repository's storage does not answer or refuses.
    StorageUnavailable = "STORAGE_UNAVAILABLE", NotReady;
    /// A disk is full; the message says where.
    DiskFull = "DISK_FULL", Exhausted;
    /// Too much at once.
    LimitReached = "LIMIT_REACHED", Exhausted;
    /// The controller's store failed.
    StoreFailed = "STORE_FAILED", Internal;
    /// It was stopped on request.
    Cancelled = "CANCELLED", Cancelled;
    /// A defect of Lazarette.
    Internal = "INTERNAL", Internal;
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl std::str::FromStr for Reason {
    type Err = UnknownReason;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.iter().copied().find(|reason| reason.as_str() == text);
        found.ok_or_else(|| UnknownReason(text.chars().take(80).collect()))
    }
}

/// A reason of a newer version, or none.
#[derive(Debug, thiserror::Error)]
#[error("`{}` is not a reason this version knows", .0.escape_debug())]
pub struct UnknownReason(String);

impl Serialize for Reason {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Reason {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(serde::de::Error::custom)
    }
}

/// A failure as it is stored, sent and shown: a reason for programs, a sentence for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// What programs match on.
    pub reason: Reason,
    /// The whole chain of causes, outermost first, ending in what can be done.
    pub message: String,
}

impl Failure {
    /// With a message that is ready to be read.
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into() }
    }

    /// Of an error and all its causes.
    pub fn of<E: ReasonedError + 'static>(error: &E) -> Self {
        Self { reason: error.reason(), message: chain(error) }
    }
}

/// An error that knows its reason. Every error that crosses a border is one.
pub trait ReasonedError: Error {
    /// What programs match on.
    fn reason(&self) -> Reason;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_unique_and_round_trip() {
        for reason in Reason::ALL {
            assert_eq!(reason.as_str().parse::<Reason>().unwrap(), *reason);
        }
        assert!("NO_SUCH".parse::<Reason>().is_err());
    }

    #[test]
    fn a_chain_is_printed_outermost_first() {
        #[derive(Debug, thiserror::Error)]
        #[error("open the store")]
        struct Outer(#[source] fmt::Error);

        let text = chain(&Outer(fmt::Error));
        assert!(text.starts_with("open the store: "), "{text}");
    }
}
