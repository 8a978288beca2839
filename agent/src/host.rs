//! Host: what this machine has, as runs and the controller see it.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

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
    discover::{self, Server, Sought},
    docker::Docker,
    driver::{Cx, Driver, Notes},
    drivers,
    held::Holder,
    policy::{Policy, Verb, places},
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
    /// Lets each database say its version, where its data is, and how it would be restored.
    async fn ask_engines(&self, seen: &StackSeen) -> BTreeMap<String, Server> {
        let (run, cancel) = (RunId::new(), CancellationToken::new());
        let asked = seen.components.iter().filter_map(|component| {
            let docker = &self.docker;
            let (stack, notes) = (&seen.name, &Unheard);
            let cx = Cx { run, stack, component, docker, cancel: &cancel, notes };
            let ComponentKind::Database { container, .. } = &component.kind else { return None };
            let driver = drivers::find(&component.kind)?;
            Some(async move {
                let answer = match tokio::time::timeout(INSPECT_LIMIT, driver.inspect(&cx)).await {
                    Ok(Ok(found)) => Server {
                        version: found.version,
                        notes: found.notes,
                        data_dirs: found.data_dirs,
                        silent: String::new(),
                    },
                    Ok(Err(error)) => Server { silent: chain(&error), ..Server::default() },
                    Err(_elapsed) => {
                        let silent = "it did not answer in time".to_owned();
                        Server { silent, ..Server::default() }
                    }
                };
                (container.clone(), answer)
            })
        });
        join_all(asked).await.into_iter().collect()
    }

    /// The stack, as far as the Engine and `servers` tell.
    async fn find(
        &self,
        stack: &StackName,
        servers: BTreeMap<String, Server>,
    ) -> Result<StackSeen, Failure> {
        let sought = discover::find(&self.docker, &self.policy, stack, servers).await;
        match sought.map_err(|error| Failure::of(&error))? {
            Sought::Found(seen) => Ok(*seen),
            Sought::Unknown { known } => {
                let text = format!("there is no stack `{stack}`; there are: {}", known.join(", "));
                Err(Failure::new(Reason::StackUnknown, text))
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
        let seen = self.find(stack, BTreeMap::new()).await?;
        let servers = self.ask_engines(&seen).await;
        // A server knows better than its image where its data is, and so what it covers (H10).
        if servers.is_empty() { Ok(seen) } else { self.find(stack, servers).await }
    }

    fn allow(&self, plan: &Plan, seen: &StackSeen) -> Result<(), Failure> {
        let planned: Vec<&Component> = match plan {
            Plan::Backup(plan) => plan.components.iter().collect(),
            Plan::Restore(plan) => plan.components.iter().map(|it| &it.component).collect(),
        };
        places::check(planned, seen).map_err(|error| Failure::of(&error))?;
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
