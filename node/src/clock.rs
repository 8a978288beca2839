//! Clock: what time it is, by the wall and since this machine booted.

use std::{fmt, fs, io, sync::Mutex, time::Duration};

use jiff::Timestamp;
use rustix::time::{ClockId, clock_gettime};

const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// One boot of one machine, as the kernel names it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct BootId(String);

impl BootId {
    /// The id with this text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for BootId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// Tells the time. Handed to whoever needs it, so that tests can set it.
pub trait Clock: fmt::Debug + Send + Sync + 'static {
    /// The time by the wall. May jump in either direction.
    fn now(&self) -> Timestamp;

    /// How long this machine has been up, time asleep included. Never goes back while [`Self::boot_id`] stays.
    fn since_boot(&self) -> Duration;

    /// Which boot [`Self::since_boot`] counts from.
    fn boot_id(&self) -> BootId;
}

/// The kernel does not say which boot this is.
#[derive(Debug, thiserror::Error)]
#[error("read `{BOOT_ID}`")]
pub struct ClockError(#[source] io::Error);

/// The clock of this machine.
#[derive(Clone, Debug)]
pub struct SystemClock {
    boot_id: BootId,
}

impl SystemClock {
    /// Reads the boot id once; it cannot change while we run.
    ///
    /// # Errors
    /// The kernel does not say which boot this is.
    pub fn new() -> Result<Self, ClockError> {
        let text = fs::read_to_string(BOOT_ID).map_err(ClockError)?;
        Ok(Self { boot_id: BootId::new(text.trim()) })
    }
}

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the clock that others ask")]
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    fn since_boot(&self) -> Duration {
        let time = clock_gettime(ClockId::Boottime);
        let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
        Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or_default())
    }

    fn boot_id(&self) -> BootId {
        self.boot_id.clone()
    }
}

/// A clock that stands still until it is moved by hand.
#[derive(Debug)]
pub struct SettableClock(Mutex<Moment>);

#[derive(Clone, Debug)]
struct Moment {
    now: Timestamp,
    since_boot: Duration,
    boot: u64,
}

impl SettableClock {
    /// Stands at `now`, an hour after the first boot.
    pub fn new(now: Timestamp) -> Self {
        Self(Mutex::new(Moment { now, since_boot: Duration::from_hours(1), boot: 1 }))
    }

    /// Sets the wall time only, as somebody does by hand.
    pub fn set(&self, now: Timestamp) {
        self.change(|moment| moment.now = now);
    }

    /// Lets time pass, by the wall and since the boot.
    pub fn advance(&self, by: Duration) {
        self.change(|moment| {
            let by_wall = jiff::SignedDuration::try_from(by).unwrap_or(jiff::SignedDuration::MAX);
            moment.now = moment.now.saturating_add(by_wall).unwrap_or(Timestamp::MAX);
            moment.since_boot = moment.since_boot.saturating_add(by);
        });
    }

    /// The machine boots: another boot id, counted from zero.
    pub fn reboot(&self) {
        self.change(|moment| {
            moment.boot = moment.boot.saturating_add(1);
            moment.since_boot = Duration::ZERO;
        });
    }

    fn change(&self, change: impl FnOnce(&mut Moment)) {
        change(&mut self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
    }

    fn moment(&self) -> Moment {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }
}

impl Clock for SettableClock {
    fn now(&self) -> Timestamp {
        self.moment().now
    }

    fn since_boot(&self) -> Duration {
        self.moment().since_boot
    }

    fn boot_id(&self) -> BootId {
        BootId::new(format!("boot-{}", self.moment().boot))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_has_a_boot_id_and_has_been_up_for_a_while() {
        let clock = SystemClock::new().unwrap();
        assert_eq!(clock.boot_id().as_str().len(), 36);
        assert_eq!(clock.boot_id(), SystemClock::new().unwrap().boot_id());
        let before = clock.since_boot();
        assert!(before > Duration::ZERO && clock.since_boot() >= before);
    }

    #[test]
    fn a_wall_clock_set_back_leaves_the_time_since_boot_alone() {
        let clock = SettableClock::new(Timestamp::UNIX_EPOCH);
        clock.advance(Duration::from_secs(10));
        clock.set(Timestamp::UNIX_EPOCH);
        assert_eq!(clock.since_boot(), Duration::from_secs(3610));

        let boot = clock.boot_id();
        clock.reboot();
        assert_ne!(clock.boot_id(), boot);
        assert_eq!(clock.since_boot(), Duration::ZERO);
    }
}
