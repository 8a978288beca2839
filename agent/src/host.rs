//! Host: what this machine has, as runs and the controller see it.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use futures::future::join_all;
use jiff::Timestamp;
use lazarette_core::{
    component::{Component, ComponentKind},
    error::{Failure, Reason, chain},
    id::RunId,
    name::StackName,
    stack::StackSeen,
    units::ByteCount,
};
use lazarette_node::clock::Clock;
use tokio_util::sync::CancellationToken;

use crate::{
    discover,
    docker::Docker,
    driver::{Cx, Driver, Notes},
    drivers,
    held::Holder,
    policy::{Policy, Verb},
    runs::{record::Plan, work::Stacks},
};

/// For a database to say what it is.
const INSPECT_LIMIT: Duration = Duration::from_secs(15);

/// What this machine has. Clones are the same.
#[derive(Clone, Debug)]
pub struct Host {
    docker: Docker,
    policy: Arc<Policy>,
    holder: Holder,
    clock: Arc<dyn Clock>,
}

/// What this machine is now.
#[derive(Clone, Debug)]
pub struct Description {
    /// The kernel's boot id.
    pub boot_id: String,
    /// Of the Docker Engine; empty when it does not answer.
    pub engine_version: String,
    /// By its own clock.
    pub time: Timestamp,
    /// One line for each stack that is held.
    pub holds: Vec<String>,
}

impl Host {
    /// With its Engine and what its policy file allows.
    pub const fn new(
        docker: Docker,
        policy: Arc<Policy>,
        holder: Holder,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self { docker, policy, holder, clock }
    }

    /// Every stack.
    ///
    /// # Errors
    ///
    /// A [`Failure`] when the Engine cannot be asked.
    pub async fn list(&self) -> Result<Vec<StackSeen>, Failure> {
        let found = discover::discover(&self.docker, &self.policy).await;
        found.map_err(|error| Failure::of(&error))
    }

    /// What this machine is now; what cannot be known is left empty.
    pub async fn describe(&self) -> Description {
        let engine_version =
            self.docker.version().await.map(|version| version.engine).unwrap_or_default();
        let found = self.holder.find_all().await.unwrap_or_default();
        let mut holds: Vec<String> = found
            .holds
            .iter()
            .map(|left| {
                let hold = left.hold();
                format!("{} is held by {} since {}", hold.stack, hold.run, hold.since)
            })
            .collect();
        holds.extend(
            found
                .set_aside
                .iter()
                .map(|it| format!("{} cannot be read: {}", it.path.display(), it.why)),
        );
        Description {
            boot_id: self.clock.boot_id().to_string(),
            engine_version,
            time: self.clock.now(),
            holds,
        }
    }
}

impl Host {
    /// Lets each database say its version and how it would be restored.
    async fn ask_engines(&self, seen: &mut StackSeen) {
        let (run, cancel) = (RunId::new(), CancellationToken::new());
        let asked = seen.components.iter().map(|component| {
            let docker = &self.docker;
            let (stack, notes) = (&seen.name, &Unheard);
            let cx = Cx { run, stack, component, docker, cancel: &cancel, notes };
            let driver = drivers::find(&component.kind);
            async move {
                if !matches!(component.kind, ComponentKind::Database { .. }) {
                    return None;
                }
                let found = tokio::time::timeout(INSPECT_LIMIT, driver?.inspect(&cx)).await;
                Some(match found {
                    Ok(found) => found.map_err(|error| chain(&error)),
                    Err(_elapsed) => Err("it did not answer in time".to_owned()),
                })
            }
        });
        let answers = join_all(asked).await;
        for (component, answer) in seen.components.iter_mut().zip(answers) {
            let ComponentKind::Database { version, notes, .. } = &mut component.kind else {
                continue;
            };
            match answer {
                Some(Ok(found)) => (*version, *notes) = (found.version, found.notes),
                Some(Err(why)) => seen.warnings.push(format!("`{}`: {why}", component.name)),
                None => {}
            }
        }
    }
}

/// Nobody reads what a driver says when it only looks.
#[derive(Debug)]
struct Unheard;

impl Notes for Unheard {
    fn note(&self, _component: &Component, _text: String) {}

    fn progress(&self, _component: &Component, _bytes: ByteCount) {}
}

#[async_trait]
impl Stacks for Host {
    async fn look(&self, stack: &StackName) -> Result<StackSeen, Failure> {
        let mut all = self.list().await?;
        let names: Vec<String> = all.iter().map(|it| it.name.to_string()).collect();
        let Some(at) = all.iter().position(|it| it.name == *stack) else {
            let text = format!("there is no stack `{stack}`; there are: {}", names.join(", "));
            return Err(Failure::new(Reason::StackUnknown, text));
        };
        let mut seen = all.swap_remove(at);
        self.ask_engines(&mut seen).await;
        Ok(seen)
    }

    fn allow(&self, plan: &Plan, _seen: &StackSeen) -> Result<(), Failure> {
        let (verb, hold) = match plan {
            Plan::Backup(plan) => {
                (Verb::Backup, Duration::from_secs(plan.hold_budget_seconds.into()))
            }
            // A restore is held until it is done: no budget of its own.
            Plan::Restore(_) => (Verb::Restore, Duration::ZERO),
        };
        self.policy.check(verb, plan.stack(), hold).map_err(|error| Failure::of(&error))
    }

    fn driver(&self, kind: &ComponentKind) -> Option<&'static dyn Driver> {
        drivers::find(kind)
    }
}
