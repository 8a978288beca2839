//! Held stacks: the one way to make a stack quiet, and to let it go again.

mod start;
#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Duration};

use futures::future::join_all;
use jiff::Timestamp;
use lazarette_core::{
    error::{Reason, ReasonedError, chain},
    id::{HoldId, RunId},
    name::StackName,
    stack::ContainerState,
};
use lazarette_node::clock::Clock;
use tokio_util::sync::CancellationToken;

pub use self::start::{ThawError, Thawed};
use crate::{
    disk::blocking,
    docker::{DockerError, Patience, RestartPolicy},
    faults,
    hold::{
        HeldContainer, Hold, HoldEnd, Was,
        containers::Containers,
        journal::{Found, HoldJournal, JournalError, Journaled},
    },
};

/// A stack to be held.
#[derive(Clone, Debug)]
pub struct Wish {
    /// For which run.
    pub run: RunId,
    /// Which stack.
    pub stack: StackName,
    /// Names of containers, in stop order.
    pub layers: Vec<Vec<String>>,
    /// What is to end it.
    pub until: Until,
}

/// What is to end a hold.
#[derive(Clone, Debug)]
pub enum Until {
    /// So long after the last stop, the agent alone. For backups: restart policies stay as they are.
    Budget(Duration),
    /// The run or an operator. For restores: what is half swapped must not be started, so nothing
    /// restarts by itself meanwhile either (H17).
    Operator {
        /// One sentence.
        why: String,
    },
}

/// A stack could not be made quiet, or did not stay so. It has been thawed.
#[derive(Debug, thiserror::Error)]
pub enum HoldError {
    /// The journal could not be written: nothing was stopped.
    #[error("write down the hold before anything is stopped")]
    Journal(#[source] JournalError),
    /// Docker could not be asked.
    #[error("look at container `{container}`")]
    Look {
        /// Which.
        container: String,
        /// Why.
        #[source]
        source: DockerError,
    },
    /// A container is not there.
    #[error("container `{container}` is gone; if it was made anew, back up again")]
    Gone {
        /// Which.
        container: String,
    },
    /// A container must not be stopped (H13).
    #[error(
        "container `{container}` would be deleted when it stops (`--rm`): wait for its end, or \
         exclude it"
    )]
    Unsupported {
        /// Which.
        container: String,
    },
    /// A container did not stop.
    #[error("stop container `{container}`")]
    Stop {
        /// Which.
        container: String,
        /// Why.
        #[source]
        source: DockerError,
    },
    /// Somebody else started a container while it had to stand still.
    #[error("container `{container}` was started by somebody else while the stack was held")]
    Restarted {
        /// Which.
        container: String,
    },
    /// It was asked for.
    #[error("cancelled")]
    Cancelled,
}

impl ReasonedError for HoldError {
    fn reason(&self) -> Reason {
        match self {
            Self::Journal(error) => error.reason(),
            Self::Look { source, .. } => source.reason(),
            Self::Gone { .. } => Reason::ContainerGone,
            Self::Unsupported { .. } => Reason::StackUnsupported,
            Self::Stop { source, .. } if source.is_unreachable() => Reason::DockerUnavailable,
            Self::Stop { .. } => Reason::QuiesceFailed,
            Self::Restarted { .. } => Reason::ContainerRestarted,
            Self::Cancelled => Reason::Cancelled,
        }
    }
}

/// How hard a thaw is tried.
#[derive(Clone, Copy, Debug)]
pub struct Persistence {
    /// How often a container is started before it is given up.
    pub tries: u32,
    /// The pause after the first of them; doubled after each.
    pub pause: Duration,
    /// How long an Engine that does not answer is waited for.
    pub engine: Duration,
    /// How long a layer's health checks hold up the next layer.
    pub layer_health: Duration,
}

impl Default for Persistence {
    fn default() -> Self {
        Self {
            tries: 5,
            pause: Duration::from_millis(500),
            engine: Duration::from_mins(10),
            layer_health: Duration::from_secs(30),
        }
    }
}

/// A stack that is quiet, and for how long it has been.
#[derive(Debug)]
#[must_use = "a stack that is not let go stays quiet until the reaper finds it"]
pub struct Held {
    journaled: Journaled,
    /// When the first container was asked to stop.
    pub from: Timestamp,
    /// The same, since boot.
    pub from_boot: Duration,
}

impl Held {
    /// What was written down.
    pub const fn hold(&self) -> &Hold {
        self.journaled.hold()
    }

    /// As the journal has it.
    pub fn into_journaled(self) -> Journaled {
        self.journaled
    }
}

/// Holds stacks and lets them go.
#[derive(Clone, Debug)]
pub struct Holder {
    containers: Arc<dyn Containers>,
    journal: HoldJournal,
    clock: Arc<dyn Clock>,
    persistence: Persistence,
}

impl Holder {
    /// With hands on the containers, and a journal that outlives this process.
    pub fn new(
        containers: Arc<dyn Containers>,
        journal: HoldJournal,
        clock: Arc<dyn Clock>,
        persistence: Persistence,
    ) -> Self {
        Self { containers, journal, clock, persistence }
    }

    /// Writes the hold down, then stops what is to stop: layer after layer, those of one layer
    /// together. When this fails, everything has been started again.
    ///
    /// # Cancel safety
    ///
    /// Not cancel safe: when dropped, the reaper thaws. Cancel `cancel` instead.
    ///
    /// # Errors
    ///
    /// [`HoldError`].
    pub async fn hold(&self, wish: Wish, cancel: &CancellationToken) -> Result<Held, HoldError> {
        let hold = self.prepare(wish).await?;
        let journal = self.journal.clone();
        let journaled = blocking(move || journal.open(hold)).await.map_err(HoldError::Journal)?;
        faults::point("after_journal");
        let (from, from_boot) = (self.clock.now(), self.clock.since_boot());
        let held = Held { journaled, from, from_boot };
        match self.stop_all(held.hold(), cancel).await {
            Ok(()) => {
                faults::point("after_stop");
                Ok(held)
            }
            Err(error) => {
                if let Err(hidden) = self.thaw(held).await {
                    tracing::error!(error = %chain(&hidden), "thaw what could not be held");
                }
                Err(error)
            }
        }
    }

    /// Whether everything that was stopped has stood still until now (F15, F17).
    ///
    /// # Errors
    ///
    /// [`HoldError::Restarted`], [`HoldError::Gone`] and [`HoldError::Look`].
    pub async fn check_quiet(&self, held: &Held) -> Result<(), HoldError> {
        for held in held.hold().containers().filter(|it| it.was == Was::Running) {
            let container = held.name.clone();
            let now = self.containers.look(&held.id).await;
            match now.map_err(|source| HoldError::Look { container: container.clone(), source })? {
                None => return Err(HoldError::Gone { container }),
                Some(now) if now.state != ContainerState::Stopped => {
                    return Err(HoldError::Restarted { container });
                }
                Some(now) if now.started_at != held.started_at => {
                    return Err(HoldError::Restarted { container });
                }
                Some(_) => {}
            }
        }
        Ok(())
    }

    /// Starts again what ran before the hold, and forgets the hold. Never listens to a
    /// cancellation.
    ///
    /// # Errors
    ///
    /// [`ThawError`] when something could not be started; the hold then stays in the journal, and
    /// is over, so that the reaper tries again.
    pub async fn thaw(&self, held: Held) -> Result<Thawed, ThawError> {
        let Held { journaled, from, from_boot } = held;
        let mut thawed = self.start_all(journaled).await?;
        thawed.from = from;
        thawed.downtime = self.clock.since_boot().saturating_sub(from_boot);
        Ok(thawed)
    }

    /// Thaws a hold that a former life of this agent, or a failed thaw, left behind.
    ///
    /// # Errors
    ///
    /// [`ThawError`]; the hold stays in the journal.
    pub async fn thaw_left_over(&self, left: Journaled) -> Result<Thawed, ThawError> {
        self.start_left_over(left).await
    }

    /// Stops again what may have been started since, or was never stopped, of a hold that stands.
    ///
    /// # Errors
    ///
    /// [`HoldError`]; the hold stands all the same.
    pub async fn hold_again(
        &self,
        held: &Held,
        cancel: &CancellationToken,
    ) -> Result<(), HoldError> {
        self.stop_all(held.hold(), cancel).await
    }

    /// Starts again what ran before the hold; the hold stands until [`Self::release`].
    ///
    /// # Errors
    ///
    /// [`ThawError`] when something could not be started.
    pub async fn start(&self, held: &Held) -> Result<Thawed, ThawError> {
        let mut thawed = self.start_and_keep(held.hold()).await?;
        thawed.from = held.from;
        thawed.downtime = self.clock.since_boot().saturating_sub(held.from_boot);
        Ok(thawed)
    }

    /// Forgets a hold whose stack runs.
    ///
    /// # Errors
    ///
    /// [`JournalError`]; the hold then stands.
    pub async fn release(&self, held: Held) -> Result<(), JournalError> {
        let (journal, id) = (self.journal.clone(), held.hold().id);
        blocking(move || journal.release(id)).await
    }

    /// Leaves the stack as it is, until an operator says more.
    ///
    /// # Errors
    ///
    /// [`JournalError`]; the hold then keeps its former end.
    pub async fn keep(&self, held: Held, why: String) -> Result<(), JournalError> {
        let (journal, mut journaled) = (self.journal.clone(), held.journaled);
        blocking(move || journal.set_end(&mut journaled, HoldEnd::Operator { why })).await
    }

    /// The hold that was left for `run`, to go on with.
    ///
    /// # Errors
    ///
    /// [`JournalError`] when the journal cannot be read.
    pub async fn find(&self, run: RunId) -> Result<Option<Held>, JournalError> {
        let found = self.find_all().await?;
        let journaled = found.holds.into_iter().find(|it| it.hold().run == run);
        let from = self.clock.now();
        let from_boot = self.clock.since_boot();
        Ok(journaled.map(|journaled| Held { journaled, from, from_boot }))
    }

    /// Everything that is held.
    ///
    /// # Errors
    ///
    /// [`JournalError`] when the journal cannot be read.
    pub async fn find_all(&self) -> Result<Found, JournalError> {
        let journal = self.journal.clone();
        blocking(move || journal.find()).await
    }

    /// Waits until everything that was started is healthy, and names what is not.
    pub async fn wait_healthy(&self, thawed: &Thawed, patience: &Patience) -> Vec<String> {
        let waits = thawed.started.iter().map(|(id, _name)| async move {
            let healthy = self.containers.wait_healthy(id, patience).await;
            healthy.err().map(|error| chain(&error))
        });
        join_all(waits).await.into_iter().flatten().collect()
    }

    /// What to write down. Changes nothing.
    async fn prepare(&self, wish: Wish) -> Result<Hold, HoldError> {
        let others = self.find_all().await.map_err(HoldError::Journal)?.holds;
        let mut layers = Vec::new();
        for names in &wish.layers {
            let looks = names.iter().map(|name| self.describe(name, &others));
            let layer: Result<Vec<_>, _> = join_all(looks).await.into_iter().collect();
            layers.push(layer?);
        }
        add_already_held(&mut layers, &wish.stack, &others);
        let (end, fenced) = match wish.until {
            Until::Budget(budget) => {
                let stops = Hold::stop_time(&layers);
                (HoldEnd::deadline(&*self.clock, stops.saturating_add(budget)), false)
            }
            Until::Operator { why } => (HoldEnd::Operator { why }, true),
        };
        Ok(Hold {
            id: HoldId::new(),
            run: wish.run,
            stack: wish.stack,
            since: self.clock.now(),
            end,
            fenced,
            layers,
        })
    }

    async fn describe(&self, name: &str, others: &[Journaled]) -> Result<HeldContainer, HoldError> {
        let container = name.to_owned();
        let now = match self.containers.look(name).await {
            Ok(Some(now)) => now,
            Ok(None) => return Err(HoldError::Gone { container }),
            Err(source) => return Err(HoldError::Look { container, source }),
        };
        if now.is_removed_when_stopped {
            return Err(HoldError::Unsupported { container });
        }
        let mut others = others.iter().flat_map(|it| it.hold().containers());
        if let Some(held) = others.find(|it| it.id == now.id) {
            return Ok(held.clone());
        }
        Ok(HeldContainer {
            id: now.id,
            name: now.name,
            was: match now.state {
                ContainerState::Running | ContainerState::Restarting => Was::Running,
                ContainerState::Paused => Was::Paused,
                ContainerState::Stopped => Was::Stopped,
            },
            started_at: now.started_at,
            restart_policy: now.restart_policy,
            stop_timeout_seconds: u32::try_from(now.grace.as_secs()).unwrap_or(u32::MAX),
        })
    }

    async fn stop_all(&self, hold: &Hold, cancel: &CancellationToken) -> Result<(), HoldError> {
        for layer in &hold.layers {
            if cancel.is_cancelled() {
                return Err(HoldError::Cancelled);
            }
            let running = layer.iter().filter(|it| it.was == Was::Running);
            let stops = running.map(|it| self.stop(it, hold.fenced));
            // All of them are waited for, also after a failure: none may stop behind our back.
            join_all(stops).await.into_iter().collect::<Result<(), _>>()?;
        }
        if cancel.is_cancelled() { Err(HoldError::Cancelled) } else { Ok(()) }
    }

    async fn stop(&self, held: &HeldContainer, fenced: bool) -> Result<(), HoldError> {
        let failed = |source| HoldError::Stop { container: held.name.clone(), source };
        if fenced && held.restart_policy != RestartPolicy::No {
            let no = RestartPolicy::No;
            self.containers.set_restart_policy(&held.id, &no).await.map_err(failed)?;
        }
        let grace = Duration::from_secs(held.stop_timeout_seconds.into());
        self.containers.stop(&held.id, grace).await.map_err(failed)
    }
}

/// What another hold already stopped is held by this one too: it starts when its last hold ends (H16).
fn add_already_held(layers: &mut Vec<Vec<HeldContainer>>, stack: &StackName, others: &[Journaled]) {
    for other in others.iter().map(Journaled::hold).filter(|it| it.stack == *stack) {
        for held in other.containers() {
            if !layers.iter().flatten().any(|it| it.id == held.id) {
                layers.push(vec![held.clone()]);
            }
        }
    }
}
