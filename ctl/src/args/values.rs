//! Values: words of the command line that are checked before anybody is asked.

use std::{fmt, str::FromStr, time::Duration};

use lazarette_core::{id::RepositoryId, name::StackAddress};

/// The shortest beginning of a snapshot's id, in hex digits.
const SHORTEST: usize = 4;
const WHOLE: usize = 64;
/// The longest time a token may be valid.
const LONGEST_VALID: Duration = Duration::from_hours(30 * 24);

/// A word is none of its kind. clap names it and the option.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct WordError(&'static str);

/// A snapshot's id or the beginning of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotWord(String);

impl fmt::Display for SnapshotWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl FromStr for SnapshotWord {
    type Err = WordError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_hex = text.bytes().all(|it| matches!(it, b'0'..=b'9' | b'a'..=b'f'));
        if is_hex && (SHORTEST..=WHOLE).contains(&text.len()) {
            return Ok(Self(text.to_owned()));
        }
        Err(WordError("it is 4 to 64 digits of `0-9a-f`, as `ctl snapshot list` prints them"))
    }
}

/// Which snapshot to bring back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RestorePoint {
    /// The newest one.
    Latest,
    /// This one.
    Snapshot(SnapshotWord),
}

impl fmt::Display for RestorePoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Latest => f.pad("latest"),
            Self::Snapshot(word) => word.fmt(f),
        }
    }
}

impl FromStr for RestorePoint {
    type Err = WordError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "latest" {
            return Ok(Self::Latest);
        }
        let snapshot = text.parse().map(Self::Snapshot);
        snapshot.map_err(|_refused: WordError| {
            WordError(
                "it is `latest`, or 4 to 64 digits of `0-9a-f`, as `ctl snapshot list` prints them",
            )
        })
    }
}

/// A repository by its own id, or by the stack that it belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RepositoryWord {
    /// `repository-…`.
    Id(RepositoryId),
    /// That of a stack.
    Stack(StackAddress),
}

impl fmt::Display for RepositoryWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => id.fmt(f),
            Self::Stack(address) => address.fmt(f),
        }
    }
}

impl FromStr for RepositoryWord {
    type Err = WordError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Ok(id) = text.parse() {
            return Ok(Self::Id(id));
        }
        let stack = text.parse().map(Self::Stack);
        stack.map_err(|_refused| {
            WordError("it is `repository-…`, `HOST/STACK` or `STACK`; `ctl repo list` lists them")
        })
    }
}

/// A whole number and a unit: `45m`, `1h`, `7d`.
///
/// # Errors
/// [`WordError`] also for nothing at all and for more than 30 days.
pub(super) fn valid_period(text: &str) -> Result<Duration, WordError> {
    let refused = WordError("it is a whole number and a unit, s, m, h or d, at most 30d: `1h`");
    let mut digits = text.chars();
    let seconds: u64 = match digits.next_back() {
        Some('s') => 1,
        Some('m') => 60,
        Some('h') => 3600,
        Some('d') => 24 * 3600,
        Some(_) | None => return Err(refused),
    };
    let digits = digits.as_str();
    let plain = !digits.is_empty() && digits.bytes().all(|it| it.is_ascii_digit());
    let number = digits.parse::<u64>().ok().filter(|_| plain);
    let period = number.and_then(|it| it.checked_mul(seconds)).map(Duration::from_secs);
    period.filter(|it| !it.is_zero() && *it <= LONGEST_VALID).ok_or(refused)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn periods_have_one_number_and_one_unit() {
        assert_eq!(valid_period("90m").unwrap(), Duration::from_mins(90));
        for text in
            ["", "0s", "-1h", "1y", "90m30", "P1D", "1000000000000s", "h", "1", "+1h", "１h"]
        {
            assert!(valid_period(text).is_err(), "{text}");
        }
    }

    #[test]
    fn snapshots_are_named_by_lower_case_hex_digits() {
        assert!(
            "1f3a".parse::<SnapshotWord>().is_ok()
                && "a".repeat(64).parse::<SnapshotWord>().is_ok()
        );
        for text in ["", "abc", "ABCD", "latest", "../a", "12 34", &"a".repeat(65)] {
            assert!(text.parse::<SnapshotWord>().is_err(), "{text}");
        }
        assert_eq!("latest".parse::<RestorePoint>().unwrap(), RestorePoint::Latest);
    }
}
