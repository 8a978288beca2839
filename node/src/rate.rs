//! Rate: how often each of many may do something, with a bounded memory of who did.

use std::{
    collections::HashMap,
    hash::Hash,
    net::{IpAddr, Ipv6Addr},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// So many at once, and one more after each `every`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// How many at once, after a time of quiet.
    pub burst: u32,
    /// How long until one more is possible.
    pub every: Duration,
}

/// A bucket of tokens for each caller. Callers whose buckets are full again are forgotten; when
/// there are more than `most` others, strangers are refused.
#[derive(Debug)]
pub struct Rates<K> {
    rate: Rate,
    most: usize,
    /// When the bucket of each is full again.
    full: Mutex<HashMap<K, Instant>>,
}

/// It was too often: how long to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too often; possible again in {} s", .0.as_secs().saturating_add(1))]
pub struct TooOften(pub Duration);

impl<K: Eq + Hash> Rates<K> {
    /// Everybody's bucket is full.
    pub fn new(rate: Rate, most: usize) -> Self {
        Self { rate, most, full: Mutex::default() }
    }

    /// Takes a token out of the bucket of `caller`.
    ///
    /// # Errors
    ///
    /// [`TooOften`] when it is empty; nothing is taken then.
    pub fn take(&self, caller: K, now: Instant) -> Result<(), TooOften> {
        let mut buckets = self.full.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= self.most && !buckets.contains_key(&caller) {
            buckets.retain(|_, full| *full > now);
            if buckets.len() >= self.most {
                return Err(TooOften(self.rate.every));
            }
        }
        let full = buckets.get(&caller).copied().unwrap_or(now).max(now);
        let longest = self.rate.every.saturating_mul(self.rate.burst.saturating_sub(1));
        let missing = full.saturating_duration_since(now);
        match missing.checked_sub(longest) {
            Some(wait) if !wait.is_zero() => Err(TooOften(wait)),
            Some(_) | None => {
                buckets.insert(caller, full + self.rate.every);
                Ok(())
            }
        }
    }
}

/// What counts as one address: an IPv4 address, or the network of 64 bits that an IPv6 host has
/// to itself.
pub fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_burst_is_let_through_then_one_at_a_time() {
        let rates = Rates::new(Rate { burst: 3, every: SECOND }, 10);
        let now = Instant::now();

        let first: Vec<bool> = (0..5).map(|_| rates.take("a", now).is_ok()).collect();
        let later = (rates.take("a", now + SECOND), rates.take("a", now + SECOND));

        assert_eq!(first, [true, true, true, false, false]);
        assert_eq!(later, (Ok(()), Err(TooOften(SECOND))));
        assert!(rates.take("b", now).is_ok(), "one caller's bucket is not another's");
        let rested = now + 10 * SECOND;
        assert_eq!((0..5).filter(|_| rates.take("a", rested).is_ok()).count(), 3);
    }

    #[test]
    fn strangers_are_refused_while_memory_is_full_and_quiet_callers_are_forgotten() {
        let rates = Rates::new(Rate { burst: 1, every: SECOND }, 2);
        let now = Instant::now();
        rates.take(1, now).unwrap();
        rates.take(2, now).unwrap();

        assert!(rates.take(3, now).is_err());
        assert!(rates.take(3, now + 2 * SECOND).is_ok());
        assert_eq!(rates.full.lock().unwrap().len(), 1);
    }

    #[test]
    fn an_ipv6_host_has_one_bucket_however_many_addresses_it_uses() {
        let of = |text: &str| network(text.parse().unwrap());
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:1"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_eq!(of("::ffff:10.0.0.1"), of("10.0.0.1"));
        assert_ne!(of("10.0.0.1"), of("10.0.0.2"));
    }

    #[test]
    fn the_wait_is_told_in_whole_seconds() {
        let told = TooOften(Duration::from_millis(300)).to_string();
        assert_eq!(told, "too often; possible again in 1 s");
    }
}
