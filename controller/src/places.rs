//! Places: which stack an address means (H27).

use std::sync::Arc;

use jiff::Timestamp;
use lazarette_core::{
    error::{Failure, Reason},
    id::StackId,
    name::StackAddress,
    stack::StackSeen,
};

use crate::{
    fleet::Fleet,
    store::{
        Store, StoreError,
        hosts::{Host, Hosts},
        stacks::{Stack, Stacks},
    },
};

/// A stack that was found.
#[derive(Clone, Debug)]
pub struct Place {
    /// Where it is.
    pub host: Host,
    /// As the controller keeps it.
    pub stack: Stack,
    /// As its agent sees it now; none when the host is not connected or the stack is gone.
    pub seen: Option<StackSeen>,
}

impl Place {
    /// `host/stack`, as people write it.
    pub fn address(&self) -> String {
        format!("{}/{}", self.host.name, self.stack.name)
    }
}

/// Finds stacks by their address. Clones are the same.
#[derive(Clone, Debug)]
pub struct Places {
    hosts: Hosts,
    stacks: Stacks,
    fleet: Fleet,
}

/// A stack on a host, before anything is kept of it.
struct Candidate {
    host: Host,
    known: Option<Stack>,
    seen: Option<StackSeen>,
}

impl Places {
    /// Over what is kept in `store` and connected in `fleet`.
    pub fn new(store: &Arc<dyn Store>, fleet: Fleet) -> Self {
        let (hosts, stacks) = (Hosts::new(Arc::clone(store)), Stacks::new(Arc::clone(store)));
        Self { hosts, stacks, fleet }
    }

    /// The one stack that `address` means. One that nobody asked for before gets its id now.
    ///
    /// # Errors
    ///
    /// `HOST_UNKNOWN`; `STACK_UNKNOWN` with the hosts that could not be asked; `STACK_AMBIGUOUS`
    /// with the candidates.
    pub async fn find(&self, address: &StackAddress, now: Timestamp) -> Result<Place, Failure> {
        let hosts = self.hosts_of(address).await?;
        let (mut found, mut unreachable) = (Vec::new(), Vec::new());
        for host in hosts {
            let known = self.stacks.at(host.id, &address.stack).await.map_err(store_failed)?;
            let seen = match self.fleet.agent(host.id) {
                None => {
                    unreachable.push(host.name.to_string());
                    None
                }
                Some(agent) => match agent.stack(&address.stack).await {
                    Ok(seen) => Some(seen),
                    Err(failure) if failure.reason == Reason::StackUnknown => None,
                    Err(failure) if address.host.is_some() => return Err(failure),
                    Err(failure) => {
                        unreachable.push(format!("{} ({})", host.name, failure.message));
                        None
                    }
                },
            };
            if known.is_some() || seen.is_some() {
                found.push(Candidate { host, known, seen });
            }
        }
        let candidate = one_of(found, address, &unreachable)?;
        self.keep(candidate, address, now).await
    }

    async fn hosts_of(&self, address: &StackAddress) -> Result<Vec<Host>, Failure> {
        let Some(name) = &address.host else {
            return self.hosts.list().await.map_err(store_failed);
        };
        let host = self.hosts.by_name(name).await.map_err(store_failed)?;
        let host = host.ok_or_else(|| {
            let message = format!("there is no host `{name}`; `ctl host list` shows them");
            Failure::new(Reason::HostUnknown, message)
        })?;
        Ok(vec![host])
    }

    /// The stack of that name on a removed host of the same name: a machine that was replaced, and
    /// enrolled again under its old name, has its old stacks and their snapshots.
    async fn left_behind(
        &self,
        host: &Host,
        address: &StackAddress,
    ) -> Result<Option<Stack>, Failure> {
        for stack in self.stacks.list().await.map_err(store_failed)? {
            if stack.name != address.stack || stack.host == host.id {
                continue;
            }
            let old = self.hosts.get(stack.host).await.map_err(store_failed)?;
            if old.is_some_and(|old| old.name == host.name && old.removed.is_some()) {
                let moved = self.stacks.move_to(stack.id, host.id).await;
                return moved.map_err(store_failed);
            }
        }
        Ok(None)
    }

    async fn keep(
        &self,
        candidate: Candidate,
        address: &StackAddress,
        now: Timestamp,
    ) -> Result<Place, Failure> {
        let Candidate { host, known, seen } = candidate;
        let known = match known {
            Some(stack) => Some(stack),
            None => self.left_behind(&host, address).await?,
        };
        let stack = if let Some(stack) = known {
            stack
        } else {
            let draft = Stack {
                id: StackId::new(),
                host: host.id,
                name: address.stack.clone(),
                repository: None,
                created: now,
                components: Vec::new(),
            };
            self.stacks.find_or_add(&draft).await.map_err(store_failed)?
        };
        Ok(Place { host, stack, seen })
    }
}

fn one_of(
    mut found: Vec<Candidate>,
    address: &StackAddress,
    unreachable: &[String],
) -> Result<Candidate, Failure> {
    if found.len() > 1 {
        let names = found.iter().map(|it| format!("{}/{}", it.host.name, address.stack));
        let message = format!(
            "`{address}` may be {}; write the one you mean",
            names.collect::<Vec<_>>().join(" or ")
        );
        return Err(Failure::new(Reason::StackAmbiguous, message));
    }
    found.pop().ok_or_else(|| {
        let hint = match unreachable {
            [] => "`ctl stack list` shows them".to_owned(),
            hosts => format!("not asked: {}", hosts.join(", ")),
        };
        Failure::new(Reason::StackUnknown, format!("there is no stack `{address}`; {hint}"))
    })
}

/// An error of the store, as a failure.
#[expect(clippy::needless_pass_by_value, reason = "for `map_err`")]
pub fn store_failed(error: StoreError) -> Failure {
    Failure::of(&error)
}
