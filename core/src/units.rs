//! Quantities that carry their unit.

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

/// A number of bytes.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct ByteCount(pub u64);

impl fmt::Display for ByteCount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [(&str, u64); 4] =
            [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
        match UNITS.into_iter().find(|&(_, size)| self.0 >= size) {
            Some((unit, size)) => {
                let tenths = u128::from(self.0) * 10 / u128::from(size);
                f.pad(&format!("{}.{} {unit}", tenths / 10, tenths % 10))
            }
            None => f.pad(&format!("{} B", self.0)),
        }
    }
}

impl std::ops::Add for ByteCount {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl std::iter::Sum for ByteCount {
    fn sum<I: Iterator<Item = Self>>(items: I) -> Self {
        items.fold(Self(0), |sum, item| sum + item)
    }
}

/// Bytes in a second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteRate(pub u64);

impl ByteRate {
    /// What `bytes` in `time` come to; nothing for no time at all.
    pub fn of(bytes: ByteCount, time: Duration) -> Option<Self> {
        let nanos = time.as_nanos();
        let rate = (u128::from(bytes.0) * 1_000_000_000).checked_div(nanos)?;
        Some(Self(u64::try_from(rate).unwrap_or(u64::MAX)))
    }
}

impl fmt::Display for ByteRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}/s", ByteCount(self.0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_one_decimal_and_never_rounds_up() {
        assert_eq!(ByteCount(1_023).to_string(), "1023 B");
        assert_eq!(ByteCount(1_572_864).to_string(), "1.5 MiB");
        assert_eq!(ByteCount(2_097_151).to_string(), "1.9 MiB");
    }

    #[test]
    fn a_rate_of_no_time_is_none() {
        assert_eq!(ByteRate::of(ByteCount(1), Duration::ZERO), None);
        let rate = ByteRate::of(ByteCount(3 << 20), Duration::from_secs(2)).unwrap();
        assert_eq!(rate.to_string(), "1.5 MiB/s");
    }
}
