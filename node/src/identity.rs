//! Identity: what a certificate says its bearer is.

use std::{fmt, str::FromStr};

use lazarette_core::{
    id::{FleetId, HostId},
    name::OperatorName,
    role::Role,
};

const SCHEME: &str = "lazarette://";

/// What the bearer of a certificate is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Identity {
    /// The controller of the fleet.
    Controller,
    /// The agent of a host.
    Agent {
        /// The host.
        host: HostId,
    },
    /// A person or program that uses `ctl`.
    Operator {
        /// Who.
        name: OperatorName,
        /// What they may do.
        role: Role,
    },
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Controller => f.write_str("controller"),
            Self::Agent { host } => write!(f, "agent/{host}"),
            Self::Operator { name, role } => write!(f, "operator/{role}/{name}"),
        }
    }
}

/// An identity in its fleet; its text is the one URI in a certificate.
///
/// `lazarette://<fleet>/controller`, `…/agent/<host>` or `…/operator/<role>/<name>`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Subject {
    /// The fleet that issued the certificate.
    pub fleet: FleetId,
    /// What the bearer is in it.
    pub identity: Identity,
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}/{}", self.fleet, self.identity)
    }
}

/// The URI is not an identity of Lazarette.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{}` is not an identity: it must be lazarette://<fleet>/ and `controller`, `agent/<host>` or `operator/<role>/<name>`", .0.escape_debug())]
pub struct ParseSubjectError(String);

impl FromStr for Subject {
    type Err = ParseSubjectError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse(text).ok_or_else(|| ParseSubjectError(text.chars().take(160).collect()))
    }
}

fn parse(text: &str) -> Option<Subject> {
    let (fleet, path) = text.strip_prefix(SCHEME)?.split_once('/')?;
    let mut parts = path.split('/');
    let identity = match (parts.next()?, parts.next(), parts.next(), parts.next()) {
        ("controller", None, None, None) => Identity::Controller,
        ("agent", Some(host), None, None) => Identity::Agent { host: host.parse().ok()? },
        ("operator", Some(role), Some(name), None) => {
            Identity::Operator { name: name.parse().ok()?, role: role.parse().ok()? }
        }
        _ => return None,
    };
    Some(Subject { fleet: fleet.parse().ok()?, identity })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identities() -> Vec<Identity> {
        let operators = Role::ALL
            .map(|role| Identity::Operator { name: "Ada.Lovelace-1".parse().unwrap(), role });
        [Identity::Controller, Identity::Agent { host: HostId::new() }]
            .into_iter()
            .chain(operators)
            .collect()
    }

    #[test]
    fn every_identity_round_trips_through_its_uri() {
        let fleet = FleetId::new();
        for identity in identities() {
            let subject = Subject { fleet, identity };
            assert_eq!(subject.to_string().parse::<Subject>().unwrap(), subject);
        }
    }

    #[test]
    fn anything_else_is_refused() {
        let fleet = FleetId::new();
        let host = HostId::new();
        for path in [
            "",
            "controller/",
            "/controller",
            "Controller",
            "controller?x",
            "agent",
            "agent/",
            "agent/../controller",
            "operator/root/eve",
            "operator/admin",
            "operator/admin/",
            "operator/admin/a/b",
            "operator/admin/a%2fb",
            "operator/ admin/a",
        ] {
            let uri = format!("lazarette://{fleet}/{path}");
            assert!(uri.parse::<Subject>().is_err(), "{uri}");
        }
        for uri in [
            format!("Lazarette://{fleet}/controller"),
            format!("https://{fleet}/controller"),
            format!("lazarette:///agent/{host}"),
            format!("lazarette://x@{fleet}/agent/{host}"),
            format!("lazarette://{fleet}:1/agent/{host}"),
            format!("lazarette://{fleet}/agent/{host}/"),
            format!("lazarette://{fleet}/agent/{fleet}"),
        ] {
            assert!(uri.parse::<Subject>().is_err(), "{uri}");
        }
    }
}
