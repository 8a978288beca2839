//! Holds: stacks kept quiet, each written down before it begins and each with an end.

pub mod containers;
pub mod journal;
#[cfg(test)]
pub(crate) mod model;

use std::time::Duration;

use jiff::Timestamp;
use lazarette_core::{
    id::{HoldId, RunId},
    name::StackName,
};
use lazarette_node::clock::{BootId, Clock};
use serde::{Deserialize, Serialize};

use crate::docker::RestartPolicy;

/// One stack held quiet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hold {
    /// Names its file.
    pub id: HoldId,
    /// The run it is held for.
    pub run: RunId,
    /// Which stack.
    pub stack: StackName,
    /// When it began, by the host's clock: for people only.
    pub since: Timestamp,
    /// What ends it.
    pub end: HoldEnd,
    /// Whether restart policies are set to `no` meanwhile (H17).
    pub fenced: bool,
    /// Stopped in this order and started in the reverse one, those of one layer together (H15).
    pub layers: Vec<Vec<HeldContainer>>,
}

/// What ends a hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ends", rename_all = "snake_case", deny_unknown_fields)]
pub enum HoldEnd {
    /// The agent alone, at this time since boot; another boot means that it is over (H14).
    Deadline {
        /// The boot that the time counts from.
        boot: BootId,
        /// Milliseconds since that boot.
        since_boot_ms: u64,
    },
    /// An operator, or the run itself: what was swapped must not be started as it is.
    Operator {
        /// One sentence.
        why: String,
    },
}

/// A container of a held stack, as it was before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeldContainer {
    /// Docker's id: a container of the same name made later is another one.
    pub id: String,
    /// For people.
    pub name: String,
    /// What it did.
    pub was: Was,
    /// When it was started before the hold, as Docker says it.
    pub started_at: String,
    /// Its restart policy before the hold.
    pub restart_policy: RestartPolicy,
    /// Seconds that it is given to stop.
    pub stop_timeout_seconds: u32,
}

/// What a container did before a hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Was {
    /// It ran: it is started when its last hold ends.
    Running,
    /// It was paused: it stays so.
    Paused,
    /// It did not run: it stays so.
    Stopped,
}

impl HoldEnd {
    /// A deadline `after` now.
    pub fn deadline(clock: &dyn Clock, after: Duration) -> Self {
        let at = clock.since_boot().saturating_add(after);
        let since_boot_ms = u64::try_from(at.as_millis()).unwrap_or(u64::MAX);
        Self::Deadline { boot: clock.boot_id(), since_boot_ms }
    }

    /// Whether the agent is to end it now.
    pub fn is_over(&self, clock: &dyn Clock) -> bool {
        match self {
            Self::Deadline { boot, since_boot_ms } => {
                *boot != clock.boot_id()
                    || clock.since_boot() >= Duration::from_millis(*since_boot_ms)
            }
            Self::Operator { .. } => false,
        }
    }
}

impl Hold {
    /// Every container, in stop order.
    pub fn containers(&self) -> impl Iterator<Item = &HeldContainer> {
        self.layers.iter().flatten()
    }

    /// Whether the container with this id is held.
    pub fn holds(&self, container: &str) -> bool {
        self.containers().any(|it| it.id == container)
    }

    /// How long stopping may take: layers one after another, those of one layer together.
    pub fn stop_time(layers: &[Vec<HeldContainer>]) -> Duration {
        let slowest = |layer: &Vec<HeldContainer>| {
            layer.iter().map(|it| u64::from(it.stop_timeout_seconds)).max().unwrap_or(0)
        };
        Duration::from_secs(layers.iter().map(slowest).sum())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use lazarette_node::clock::SettableClock;

    use super::*;

    pub(crate) fn held(name: &str) -> HeldContainer {
        HeldContainer {
            id: format!("id-{name}"),
            name: name.to_owned(),
            was: Was::Running,
            started_at: "2026-01-01T00:00:00Z".to_owned(),
            restart_policy: RestartPolicy::Always,
            stop_timeout_seconds: 10,
        }
    }

    pub(crate) fn hold(end: HoldEnd, layers: &[&[&str]]) -> Hold {
        Hold {
            id: HoldId::new(),
            run: RunId::new(),
            stack: "shop".parse().unwrap(),
            since: Timestamp::UNIX_EPOCH,
            end,
            fenced: false,
            layers: layers.iter().map(|it| it.iter().map(|name| held(name)).collect()).collect(),
        }
    }

    #[test]
    fn h14_a_wall_clock_set_back_does_not_prolong_a_hold_and_another_boot_ends_it() {
        let clock = SettableClock::new(Timestamp::UNIX_EPOCH);
        let end = HoldEnd::deadline(&clock, Duration::from_mins(1));
        clock.set(Timestamp::MIN);
        assert!(!end.is_over(&clock));

        clock.advance(Duration::from_mins(1));
        assert!(end.is_over(&clock));

        let end = HoldEnd::deadline(&clock, Duration::from_mins(1));
        clock.reboot();
        assert!(end.is_over(&clock));
    }

    #[test]
    fn a_hold_of_an_operator_is_never_over_by_itself() {
        let clock = SettableClock::new(Timestamp::UNIX_EPOCH);
        let end = HoldEnd::Operator { why: "a restore failed".to_owned() };
        clock.reboot();
        clock.advance(Duration::from_secs(1_000_000));
        assert!(!end.is_over(&clock));
    }

    #[test]
    fn stopping_takes_as_long_as_the_slowest_of_each_layer() {
        let end = HoldEnd::Operator { why: String::new() };
        let mut hold = hold(end, &[&["web", "worker"], &["api"]]);
        hold.layers[0][1].stop_timeout_seconds = 30;
        assert_eq!(Hold::stop_time(&hold.layers), Duration::from_secs(40));
    }
}
