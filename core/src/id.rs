//! Identifiers: one type per thing, so a [`RunId`] can never stand where a [`HostId`] is due.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The text is not an id of the type asked for.
#[derive(Debug, thiserror::Error)]
#[error("`{}` is not an id of the form `{form}`", text.escape_debug())]
pub struct ParseIdError {
    text: String,
    form: &'static str,
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident = $prefix:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Uuid);

        impl $name {
            /// A fresh id; ids made later sort later.
            #[expect(clippy::new_without_default, reason = "an id by default would be a surprise")]
            pub fn new() -> Self {
                Self(Uuid::now_v7())
            }

            /// From the 16 bytes that [`Self::as_bytes`] gave.
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(Uuid::from_bytes(bytes))
            }

            /// The 16 bytes, big-endian: keys made of them sort by age.
            pub const fn as_bytes(&self) -> &[u8; 16] {
                self.0.as_bytes()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "-{}"), self.0.simple())
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                let refused = || ParseIdError {
                    text: text.chars().take(80).collect(),
                    form: concat!($prefix, "-<32 hex digits>"),
                };
                let digits = text.strip_prefix(concat!($prefix, "-")).ok_or_else(refused)?;
                let strict = digits.len() == 32 && !digits.contains(|c: char| c.is_uppercase());
                let uuid = Uuid::try_parse(digits).ok().filter(|_| strict);
                uuid.map(Self).ok_or_else(refused)
            }
        }

        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                String::deserialize(from)?.parse().map_err(serde::de::Error::custom)
            }
        }
    )*};
}

ids! {
    /// A controller and all that it manages; part of every identity.
    FleetId = "fleet";
    /// A Docker host, on which one agent runs.
    HostId = "host";
    /// A stack; stays the same when it moves or is renamed.
    StackId = "stack";
    /// A repository of snapshots.
    RepositoryId = "repository";
    /// One execution: a backup, a restore.
    RunId = "run";
    /// One stack held quiet.
    HoldId = "hold";
}

/// A finished snapshot: the id that the repository gives it, which is the SHA-256 of its object.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SnapshotId([u8; 32]);

impl SnapshotId {
    /// From the bytes of the hash.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes of the hash.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The first eight hex digits, as people write it.
    pub fn short(&self) -> String {
        hex::encode(self.0).chars().take(8).collect()
    }
}

impl fmt::Display for SnapshotId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for SnapshotId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SnapshotId({self})")
    }
}

impl FromStr for SnapshotId {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut bytes = [0; 32];
        match hex::decode_to_slice(text, &mut bytes) {
            Ok(()) => Ok(Self(bytes)),
            Err(_not_hex) => {
                Err(ParseIdError { text: text.chars().take(80).collect(), form: "64 hex digits" })
            }
        }
    }
}

impl Serialize for SnapshotId {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for SnapshotId {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_form_round_trips_and_refuses_its_neighbours() {
        let run = RunId::new();
        assert_eq!(run, run.to_string().parse().unwrap());
        assert!(run.to_string().parse::<HostId>().is_err());
        assert!(run.to_string().to_uppercase().parse::<RunId>().is_err());
    }

    #[test]
    fn a_snapshot_id_is_64_hex_digits_and_nothing_else() {
        let id = SnapshotId::from_bytes([0xab; 32]);
        assert_eq!(id, id.to_string().parse().unwrap());
        assert_eq!(id.short(), "abababab");
        assert!("abab".parse::<SnapshotId>().is_err());
    }
}
