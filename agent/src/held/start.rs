//! Starting: what ran before a hold runs again, in the reverse order of its stop.

use std::time::Duration;

use futures::future::join_all;
use jiff::Timestamp;
use lazarette_core::{
    error::{Reason, ReasonedError, chain},
    stack::ContainerState,
};
use tokio::time::Instant;

use super::Holder;
use crate::{
    disk::blocking,
    docker::{DockerError, Patience},
    faults,
    hold::{
        HeldContainer, Hold, HoldEnd, Was,
        journal::{JournalError, Journaled},
    },
};

/// How often a container that may still be stopping is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// What was let go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Thawed {
    /// Ids and names of what runs again, whoever started it.
    pub started: Vec<(String, String)>,
    /// Names of containers that somebody removed meanwhile (F16).
    pub gone: Vec<String>,
    /// When the first of them was stopped.
    pub from: Timestamp,
    /// When the last of them ran again.
    pub to: Timestamp,
    /// How long that took.
    pub downtime: Duration,
}

impl Thawed {
    /// Of a stack that nothing was stopped of.
    pub const fn nothing(now: Timestamp) -> Self {
        Self::now(Vec::new(), Vec::new(), now)
    }

    const fn now(started: Vec<(String, String)>, gone: Vec<String>, now: Timestamp) -> Self {
        Self { started, gone, from: now, to: now, downtime: Duration::ZERO }
    }
}

/// Something of a stack does not run again.
#[derive(Debug, thiserror::Error)]
pub enum ThawError {
    /// Containers that do not start.
    #[error(
        "start again {}; the agent goes on trying. Mend what it says, or type `docker start {}`",
        failed.iter().map(|it| format!("`{}`: {}", it.name, it.why)).collect::<Vec<_>>().join("; "),
        failed.iter().map(|it| it.name.as_str()).collect::<Vec<_>>().join(" ")
    )]
    Start {
        /// Each of them.
        failed: Vec<NotStarted>,
    },
    /// Everything runs, but the journal cannot be read or written.
    #[error("forget the hold: everything runs again")]
    Journal(#[source] JournalError),
}

impl ReasonedError for ThawError {
    fn reason(&self) -> Reason {
        Reason::ThawFailed
    }
}

/// A container that does not start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotStarted {
    /// Its name.
    pub name: String,
    /// What Docker said last.
    pub why: String,
}

/// What starting a hold's containers came to.
#[derive(Debug, Default)]
struct Started {
    running: Vec<(String, String)>,
    gone: Vec<String>,
    failed: Vec<NotStarted>,
}

/// How a container came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Back {
    /// It runs, and has a health check or not.
    Runs { has_health_check: bool },
    /// Another hold keeps it, it did not run before, or it is paused: left as it is.
    LeftAlone,
    /// Somebody removed it.
    Gone,
}

impl Holder {
    /// Starts everything of a hold that ran before and is in no other hold, then forgets the hold.
    pub(super) async fn start_all(&self, journaled: Journaled) -> Result<Thawed, ThawError> {
        faults::point("before_thaw");
        let started = self.start_layers(journaled.hold()).await?;
        self.close(&journaled, started).await
    }

    /// The same for a hold of a former life of this agent, whose stops may still be under way.
    pub(super) async fn start_left_over(&self, journaled: Journaled) -> Result<Thawed, ThawError> {
        self.start_layers(journaled.hold()).await?;
        self.settle(journaled.hold()).await;
        let started = self.start_layers(journaled.hold()).await?;
        self.close(&journaled, started).await
    }

    /// Starts everything and keeps the hold.
    pub(super) async fn start_and_keep(&self, hold: &Hold) -> Result<Thawed, ThawError> {
        let Started { running, gone, failed } = self.start_layers(hold).await?;
        if failed.is_empty() {
            return Ok(Thawed::now(running, gone, self.clock.now()));
        }
        Err(ThawError::Start { failed })
    }

    async fn start_layers(&self, hold: &Hold) -> Result<Started, ThawError> {
        let others = self.find_all().await.map_err(ThawError::Journal)?.holds;
        let others: Vec<&Hold> =
            others.iter().map(Journaled::hold).filter(|it| it.id != hold.id).collect();
        let mut all = Started::default();
        for (above, layer) in hold.layers.iter().enumerate().rev() {
            let starts = layer.iter().map(|it| self.start_unless_held(it, hold, &others));
            let mut to_wait_for = Vec::new();
            for (held, back) in layer.iter().zip(join_all(starts).await) {
                match back {
                    Ok(Back::Runs { has_health_check }) => {
                        all.running.push((held.id.clone(), held.name.clone()));
                        to_wait_for.extend(has_health_check.then_some(held));
                    }
                    Ok(Back::LeftAlone) => {}
                    Ok(Back::Gone) => all.gone.push(held.name.clone()),
                    Err(error) => {
                        let why = chain(&error);
                        all.failed.push(NotStarted { name: held.name.clone(), why });
                    }
                }
            }
            if above > 0 {
                self.wait_for_layer(&to_wait_for).await;
            }
        }
        Ok(all)
    }

    /// Forgets the hold when all of it runs; else lets the reaper have it.
    async fn close(&self, journaled: &Journaled, started: Started) -> Result<Thawed, ThawError> {
        let Started { running, gone, failed } = started;
        let (journal, hold) = (self.journal.clone(), journaled.hold().clone());
        if failed.is_empty() {
            let forgotten = blocking(move || journal.release(hold.id)).await;
            forgotten.map_err(ThawError::Journal)?;
            faults::point("after_thaw");
            return Ok(Thawed::now(running, gone, self.clock.now()));
        }
        if matches!(hold.end, HoldEnd::Deadline { .. }) {
            let end = HoldEnd::deadline(&*self.clock, Duration::ZERO);
            let over = Hold { end, ..hold };
            if let Err(error) = blocking(move || journal.open(over).map(drop)).await {
                tracing::error!(error = %chain(&error), "let the reaper have the hold");
            }
        }
        Err(ThawError::Start { failed })
    }

    async fn start_unless_held(
        &self,
        held: &HeldContainer,
        hold: &Hold,
        others: &[&Hold],
    ) -> Result<Back, DockerError> {
        if held.was != Was::Running || others.iter().any(|it| it.holds(&held.id)) {
            return Ok(Back::LeftAlone);
        }
        self.start_again(held, hold.fenced).await
    }

    /// Starts one container, with as many tries as it has.
    async fn start_again(&self, held: &HeldContainer, fenced: bool) -> Result<Back, DockerError> {
        let mut pause = self.persistence.pause;
        let mut tries = 0;
        let give_up = Instant::now() + self.persistence.engine;
        loop {
            let error = match self.start_once(held, fenced).await {
                Err(error) => error,
                back => return back,
            };
            if error.is_unreachable() && Instant::now() < give_up {
                tracing::warn!(container = held.name, error = %chain(&error), "wait for docker");
            } else {
                tries += 1;
                tracing::warn!(container = held.name, error = %chain(&error), tries, "start again");
            }
            if tries >= self.persistence.tries {
                return Err(error);
            }
            tokio::time::sleep(pause).await;
            pause = pause.saturating_mul(2).min(Duration::from_secs(10));
        }
    }

    async fn start_once(&self, held: &HeldContainer, fenced: bool) -> Result<Back, DockerError> {
        let Some(now) = self.containers.look(&held.id).await? else { return Ok(Back::Gone) };
        if fenced && now.restart_policy != held.restart_policy {
            self.containers.set_restart_policy(&held.id, &held.restart_policy).await?;
        }
        let has_health_check = now.has_health_check;
        match now.state {
            ContainerState::Running | ContainerState::Restarting => {
                Ok(Back::Runs { has_health_check })
            }
            ContainerState::Paused => Ok(Back::LeftAlone),
            ContainerState::Stopped => match self.containers.start(&held.id).await {
                Ok(()) => Ok(Back::Runs { has_health_check }),
                Err(error) if error.is_gone() => Ok(Back::Gone),
                Err(error) => Err(error),
            },
        }
    }

    async fn wait_for_layer(&self, layer: &[&HeldContainer]) {
        let give_up = self.persistence.layer_health;
        let patience = Patience { give_up, ..Patience::default() };
        let waits = layer.iter().map(|it| self.containers.wait_healthy(&it.id, &patience));
        for error in join_all(waits).await.into_iter().filter_map(Result::err) {
            tracing::warn!(error = %chain(&error), "go on without it");
        }
    }

    /// Waits for stops that a former life of this agent asked for and that may still come: a
    /// container that is untouched until its time to stop is over was never asked, or stopped.
    pub(super) async fn settle(&self, hold: &Hold) {
        let waits = hold.containers().filter(|it| it.was == Was::Running).map(|held| async move {
            let grace = Duration::from_secs(u64::from(held.stop_timeout_seconds) + 1);
            let until = Instant::now() + grace.min(self.persistence.layer_health);
            while Instant::now() < until && self.is_untouched(held).await {
                tokio::time::sleep(LOOK_EVERY).await;
            }
        });
        join_all(waits).await;
    }

    async fn is_untouched(&self, held: &HeldContainer) -> bool {
        let now = self.containers.look(&held.id).await;
        matches!(now, Ok(Some(now)) if now.state == ContainerState::Running
            && now.started_at == held.started_at)
    }
}
