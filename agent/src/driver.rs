//! Drivers: what each kind of component must be able to do. One file a kind implements [`Driver`].
//!
//! A driver has no state. Everything it makes has a name derived from the run, so that any call can
//! be repeated, and undone by an agent that only knows the run and the component.

use std::fmt;

use async_trait::async_trait;
use lazarette_core::{
    component::Component,
    error::{Reason, ReasonedError},
    evidence::Evidence,
    id::RunId,
    name::StackName,
    units::ByteCount,
};
use tokio_util::sync::CancellationToken;

use crate::{docker::Docker, sink::Sink, source::Source};

/// What every call gets: one component of one run, hands on its host, and the wish to stop.
#[derive(Clone, Copy, Debug)]
pub struct Cx<'a> {
    /// Names everything that is made.
    pub run: RunId,
    /// Of which stack the component is.
    pub stack: &'a StackName,
    /// What is worked on.
    pub component: &'a Component,
    /// The Docker Engine of this host.
    pub docker: &'a Docker,
    /// Cancelled when the run is. Long loops look at it; undoing and accepting do not.
    pub cancel: &'a CancellationToken,
    /// Where to say what an operator should read.
    pub notes: &'a dyn Notes,
}

/// Takes what an operator should read about a component.
pub trait Notes: fmt::Debug + Send + Sync {
    /// One line, without secrets.
    fn note(&self, component: &Component, text: String);

    /// `bytes` more were read or written.
    fn progress(&self, component: &Component, bytes: ByteCount);
}

/// What a driver found when it looked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inspection {
    /// As the engine reports it; empty where there is none.
    pub version: String,
    /// Size of the data at rest, when that is cheap to know.
    pub size: Option<ByteCount>,
    /// One line each, for `stack show`: databases and the way of their restore (H6).
    pub notes: Vec<String>,
    /// Absolute paths in the container that hold the engine's own data (H10).
    pub data_dirs: Vec<String>,
}

/// A kind of component, as the agent works with it.
///
/// A restore goes `restore` (beside, nothing live changes), `verify` (counts what is beside),
/// `swap`, and in the end `accept`; from anywhere in between `undo` leads back. Doing any of them
/// twice is doing it once.
#[async_trait]
pub trait Driver: fmt::Debug + Send + Sync + 'static {
    /// The first word of its components' names: `postgres`, `volume`.
    fn word(&self) -> &'static str;

    /// Looks and changes nothing.
    async fn inspect(&self, cx: &Cx<'_>) -> Result<Inspection, DriverError>;

    /// Streams into `sink` everything that [`restore`](Self::restore) will ask for, judges it by
    /// the engine's own gate, and says what was counted at the cut.
    async fn dump(&self, cx: &Cx<'_>, sink: &mut Sink) -> Result<Evidence, DriverError>;

    /// Puts what [`dump`](Self::dump) took beside what is there. What an earlier try of the same
    /// run left beside is removed first.
    async fn restore(&self, cx: &Cx<'_>, source: &mut Source) -> Result<(), DriverError>;

    /// Counts what [`restore`](Self::restore) put beside, as [`dump`](Self::dump) counted.
    /// `saved` says what was counted then, for a driver that can only look at the same things.
    async fn verify(&self, cx: &Cx<'_>, saved: &Evidence) -> Result<Evidence, DriverError>;

    /// Puts what is beside in the place of what is there, which becomes the previous generation.
    async fn swap(&self, cx: &Cx<'_>) -> Result<(), DriverError>;

    /// Leads back to before [`restore`](Self::restore), wherever things stand: swaps back, and
    /// removes what was put beside. Never listens to `cx.cancel`.
    async fn undo(&self, cx: &Cx<'_>) -> Result<(), DriverError>;

    /// Removes the previous generation. Never listens to `cx.cancel`.
    async fn accept(&self, cx: &Cx<'_>) -> Result<(), DriverError>;
}

/// A driver could not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[error("{doing}")]
pub struct DriverError {
    /// What programs match on.
    reason: Reason,
    /// Verb and object, lowercase, no full stop: "dump database `shop`".
    doing: String,
    /// Why.
    #[source]
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl DriverError {
    /// While `doing`, because of `source`.
    pub fn new(
        reason: Reason,
        doing: impl Into<String>,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self { reason, doing: doing.into(), source: Some(source.into()) }
    }

    /// With a sentence that says all there is.
    pub fn plain(reason: Reason, doing: impl Into<String>) -> Self {
        Self { reason, doing: doing.into(), source: None }
    }
}

impl ReasonedError for DriverError {
    fn reason(&self) -> Reason {
        self.reason
    }
}
