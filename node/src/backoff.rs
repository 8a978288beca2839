//! Back-off: how long to wait before trying again, so that a fleet does not come back all at once.

use std::time::Duration;

/// Delays with full jitter: anything between nothing and a limit that doubles up to a cap.
#[derive(Clone, Debug)]
pub struct Backoff {
    base: Duration,
    cap: Duration,
    attempt: u32,
}

impl Backoff {
    /// The first delay is at most `base`, none is longer than `cap`.
    pub const fn new(base: Duration, cap: Duration) -> Self {
        Self { base, cap, attempt: 0 }
    }

    /// The delay before the next attempt.
    pub fn next_delay(&mut self, chance: &mut fastrand::Rng) -> Duration {
        let factor = 2_u32.saturating_pow(self.attempt);
        let limit = self.base.saturating_mul(factor).min(self.cap);
        self.attempt = self.attempt.saturating_add(1);
        limit.mul_f64(chance.f64())
    }

    /// How many delays there were since the beginning or the last success.
    pub const fn attempts(&self) -> u32 {
        self.attempt
    }

    /// It worked: the next delay is short again.
    pub const fn reset(&mut self) {
        self.attempt = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: Duration = Duration::from_millis(500);
    const CAP: Duration = Duration::from_secs(30);

    #[test]
    fn delays_stay_below_a_limit_that_doubles_and_never_above_the_cap() {
        let mut chance = fastrand::Rng::with_seed(7);
        for _ in 0..100 {
            let mut backoff = Backoff::new(BASE, CAP);
            for attempt in 0..40_u32 {
                let limit = BASE.saturating_mul(2_u32.saturating_pow(attempt)).min(CAP);
                assert!(backoff.next_delay(&mut chance) <= limit, "attempt {attempt}");
            }
        }
    }

    #[test]
    fn two_hosts_do_not_wait_equally_long() {
        let delays = |seed| {
            let (mut backoff, mut chance) =
                (Backoff::new(BASE, CAP), fastrand::Rng::with_seed(seed));
            std::iter::repeat_with(|| backoff.next_delay(&mut chance)).take(5).collect::<Vec<_>>()
        };
        assert_ne!(delays(1), delays(2));
        assert_eq!(delays(1), delays(1));
    }

    #[test]
    fn after_a_success_the_delay_is_short_again() {
        let (mut backoff, mut chance) = (Backoff::new(BASE, CAP), fastrand::Rng::with_seed(3));
        for _ in 0..20 {
            backoff.next_delay(&mut chance);
        }
        backoff.reset();
        assert!(backoff.next_delay(&mut chance) <= BASE);
    }
}
