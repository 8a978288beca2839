//! Roles: what a person or program that uses `ctl` may do.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// A role of an operator. The table of what each may do is the controller's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Everything.
    Admin,
    /// Looks, and starts backups.
    Operator,
    /// Looks, and restores.
    Restorer,
    /// Looks.
    Viewer,
    /// Starts backups and waits for them; for pipelines.
    Ci,
}

impl Role {
    /// Every role there is.
    pub const ALL: [Self; 5] =
        [Self::Admin, Self::Operator, Self::Restorer, Self::Viewer, Self::Ci];

    /// As written in certificates and on command lines.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Operator => "operator",
            Self::Restorer => "restorer",
            Self::Viewer => "viewer",
            Self::Ci => "ci",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The text is not a role.
#[derive(Debug, thiserror::Error)]
#[error("`{}` is not a role; it is one of admin, operator, restorer, viewer, ci", .0.escape_debug())]
pub struct ParseRoleError(String);

impl FromStr for Role {
    type Err = ParseRoleError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.into_iter().find(|role| role.as_str() == text);
        found.ok_or_else(|| ParseRoleError(text.chars().take(80).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_round_trip() {
        for role in Role::ALL {
            assert_eq!(role.as_str().parse::<Role>().unwrap(), role);
        }
        assert!("root".parse::<Role>().is_err());
    }
}
