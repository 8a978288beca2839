//! Names: what people call hosts, stacks and components, checked once where they enter.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// The longest name, in bytes.
pub const MAX_LEN: usize = 63;

/// The text cannot be a name.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{text}` is not a name for a {what}: {why}")]
pub struct ParseNameError {
    what: &'static str,
    text: String,
    why: &'static str,
}

/// Why `text` cannot be a name, or nothing.
fn objection(text: &str) -> Option<&'static str> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    match text.chars().next() {
        None => Some("it is empty"),
        Some(_) if text.len() > MAX_LEN => Some("it is longer than 63 characters"),
        Some(first) if !first.is_ascii_alphanumeric() => {
            Some("it must begin with a letter or a digit")
        }
        Some(_) if text.contains("..") => Some("it contains `..`"),
        Some(_) if !text.chars().all(plain) => {
            Some("only letters, digits, `.`, `_` and `-` are allowed")
        }
        Some(_) => None,
    }
}

/// At most 80 characters of `text`, with everything a terminal could obey escaped.
fn quoted(text: &str) -> String {
    text.chars().take(80).flat_map(char::escape_debug).collect()
}

macro_rules! names {
    ($($(#[$doc:meta])* $name:ident = $what:literal, $check:path;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = ParseNameError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                match $check(text) {
                    None => Ok(Self(text.to_owned())),
                    Some(why) => Err(ParseNameError { what: $what, text: quoted(text), why }),
                }
            }
        }

        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                String::deserialize(from)?.parse().map_err(serde::de::Error::custom)
            }
        }
    )*};
}

names! {
    /// What people call a host. Unique in a fleet.
    HostName = "host", objection;
    /// What people call a stack: its Compose project, or the name of a lone container. Unique on a host.
    StackName = "stack", objection;
    /// A component of a stack: `postgres/db`, `volume/uploads`, `bind/media`, `files`, `definition`.
    ComponentName = "component", component_objection;
    /// A person or program that uses `ctl`.
    OperatorName = "operator", objection;
}

/// A component is called by its kind, or by `kind/name`.
fn component_objection(text: &str) -> Option<&'static str> {
    match text.split_once('/') {
        None => objection(text),
        Some((kind, name)) => objection(kind).or_else(|| objection(name)),
    }
}

/// A stack by where it is: `host/stack`, or only `stack` when that is enough to find it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StackAddress {
    /// The host, when it was named.
    pub host: Option<HostName>,
    /// The stack.
    pub stack: StackName,
}

impl fmt::Display for StackAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Some(host) => write!(f, "{host}/{}", self.stack),
            None => write!(f, "{}", self.stack),
        }
    }
}

impl FromStr for StackAddress {
    type Err = ParseNameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once('/') {
            None => Ok(Self { host: None, stack: text.parse()? }),
            Some((host, stack)) => Ok(Self { host: Some(host.parse()?), stack: stack.parse()? }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_could_be_a_path_an_option_or_a_command_are_refused() {
        let bad = ["", "..", ".a", "-rf", "a/b", "a b", "a;b", "$(x)", "a\0", "a..b", "\u{1b}[2J"];
        for text in bad {
            assert!(text.parse::<StackName>().is_err(), "{text:?}");
        }
        assert!("x".repeat(300).parse::<StackName>().is_err());
        assert!("shop-2_b.c".parse::<StackName>().is_ok());
    }

    #[test]
    fn a_refusal_names_the_field_and_escapes_what_it_shows() {
        let error = "a\u{1b}b".parse::<HostName>().unwrap_err().to_string();
        assert!(error.contains("host") && error.contains("\\u{1b}"), "{error}");
    }

    #[test]
    fn an_address_is_a_stack_with_or_without_its_host() {
        let address: StackAddress = "host1/shop".parse().unwrap();
        assert_eq!(address.to_string(), "host1/shop");
        assert!("a/b/c".parse::<StackAddress>().is_err());
        assert!("postgres/db".parse::<ComponentName>().is_ok());
        assert!("postgres/../db".parse::<ComponentName>().is_err());
    }
}
