//! Work: what every step of a run has in its hands.

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use lazarette_core::{
    component::{Component, ComponentKind},
    error::{Failure, Reason, ReasonedError},
    name::StackName,
    stack::StackSeen,
};
use lazarette_node::clock::Clock;
use lazarette_repo::{crypto::MasterKey, id::BlobId};
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;

use super::{
    log::RunLog,
    record::{Job, Plan},
};
use crate::{
    config::Timers,
    docker::Docker,
    driver::{Cx, Driver},
    held::Holder,
    vault::Vault,
};

/// What the host has, as runs see it.
#[async_trait]
pub trait Stacks: fmt::Debug + Send + Sync + 'static {
    /// The stack of that name, as it is now.
    ///
    /// # Errors
    ///
    /// A [`Failure`]: there is none, or the Engine cannot be asked.
    async fn look(&self, stack: &StackName) -> Result<StackSeen, Failure>;

    /// Whether the host's own policy lets the run do what it plans.
    ///
    /// # Errors
    ///
    /// A [`Failure`] with what is forbidden and where.
    fn allow(&self, plan: &Plan, seen: &StackSeen) -> Result<(), Failure>;

    /// Who knows that kind of component.
    fn driver(&self, kind: &ComponentKind) -> Option<&'static dyn Driver>;
}

/// What all runs of an agent work with.
#[derive(Clone)]
pub struct Tools {
    /// The Engine of this host.
    pub docker: Docker,
    /// Makes stacks quiet and lets them go.
    pub holder: Holder,
    /// What the host has.
    pub stacks: Arc<dyn Stacks>,
    /// To the controller, for data.
    pub calls: Channel,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// How long things may take.
    pub timers: Timers,
}

impl fmt::Debug for Tools {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tools").field("stacks", &self.stacks).finish_non_exhaustive()
    }
}

/// What a run may use of a repository. Kept in memory for one run, never written down.
#[derive(Clone)]
pub struct Grant {
    /// Opens and seals everything in it.
    pub key: MasterKey,
    /// The root tree of the snapshot to restore.
    pub tree: Option<BlobId>,
    /// zstd's level for new data.
    pub level: i32,
}

impl fmt::Debug for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Grant").field("tree", &self.tree).finish_non_exhaustive()
    }
}

/// One run being worked on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Work<'a> {
    pub(super) job: &'a Job,
    pub(super) log: &'a Arc<RunLog>,
    pub(super) tools: &'a Tools,
    pub(super) cancel: &'a CancellationToken,
}

impl<'a> Work<'a> {
    /// What a driver is called with.
    pub(super) fn cx(&self, component: &'a Component, cancel: &'a CancellationToken) -> Cx<'a> {
        Cx {
            run: self.job.run,
            stack: self.job.plan.stack(),
            component,
            docker: &self.tools.docker,
            cancel,
            notes: &**self.log,
        }
    }

    /// Who knows `component`.
    pub(super) fn driver(&self, component: &Component) -> Result<&'static dyn Driver, Failure> {
        self.tools.stacks.driver(&component.kind).ok_or_else(|| {
            let text = format!(
                "component `{}` is of a kind that this agent does not know: upgrade the agent",
                component.name
            );
            Failure::new(Reason::VersionUnsupported, text)
        })
    }

    /// The repository of this run.
    pub(super) fn vault(&self, cancel: &CancellationToken) -> Vault {
        let patience = self.tools.timers.controller_patience;
        Vault::new(self.tools.calls.clone(), self.job.run, patience, cancel.clone())
    }

    /// An error when the run was asked to stop.
    pub(super) fn check_cancelled(&self) -> Result<(), Failure> {
        if self.cancel.is_cancelled() { Err(cancelled()) } else { Ok(()) }
    }

    /// The failure, with the reason that the controller gave, when it all began with that.
    pub(super) fn explain(&self, failure: Failure, vault: &Vault) -> Failure {
        if failure.reason == Reason::ThawFailed {
            return failure; // what does not run is more than that it was cancelled
        }
        if self.cancel.is_cancelled() {
            return cancelled();
        }
        match vault.refusal().failure() {
            Some(refusal) if failure.message.contains(&refusal.message) => {
                Failure::new(refusal.reason, failure.message)
            }
            Some(refusal) => {
                let text = format!("{}: {}", failure.message, refusal.message);
                Failure::new(refusal.reason, text)
            }
            None => failure,
        }
    }
}

/// The run was asked to stop.
pub(super) fn cancelled() -> Failure {
    Failure::new(Reason::Cancelled, "cancelled")
}

/// An error of ours as the run's failure.
#[expect(clippy::needless_pass_by_value, reason = "for `map_err`")]
pub(super) fn failed<E: ReasonedError + 'static>(error: E) -> Failure {
    Failure::of(&error)
}
