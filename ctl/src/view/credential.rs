//! Credentials of operators, as they are shown.

use jiff::Timestamp;
use lazarette_proto::{
    controller::v1 as wire,
    convert::{ConvertError, from_wire_time},
};
use serde::Serialize;

use crate::{
    output::View,
    table::{self, Table},
};

/// A certificate of an operator.
#[derive(Debug, Serialize)]
pub struct CredentialView {
    serial: String,
    operator: Option<String>,
    role: Option<String>,
    issue_time: Option<Timestamp>,
    expire_time: Option<Timestamp>,
    last_seen_time: Option<Timestamp>,
    revoked: Option<RevocationView>,
}

/// Since when it is refused, by whom and why.
#[derive(Debug, Serialize)]
struct RevocationView {
    time: Timestamp,
    by: String,
    reason: String,
}

impl TryFrom<wire::Credential> for CredentialView {
    type Error = ConvertError;

    fn try_from(it: wire::Credential) -> Result<Self, Self::Error> {
        let some = |text: String| (!text.is_empty()).then_some(text);
        let time = |field, at: Option<_>| at.map(|at| from_wire_time(field, Some(at))).transpose();
        let revoked = time("revoke_time", it.revoke_time)?;
        Ok(Self {
            serial: it.serial,
            operator: some(it.operator),
            role: some(it.role),
            issue_time: time("issue_time", it.issue_time)?,
            expire_time: time("expire_time", it.expire_time)?,
            last_seen_time: time("last_seen_time", it.last_seen_time)?,
            revoked: revoked.map(|time| RevocationView {
                time,
                by: it.revoked_by,
                reason: it.revoke_reason,
            }),
        })
    }
}

impl View for Vec<CredentialView> {
    fn table(&self) -> String {
        let headings = ["OPERATOR", "ROLE", "SERIAL", "ENDS", "LAST SEEN", "REVOKED"];
        let mut table = Table::new(&headings);
        let or_dash = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
        for it in self {
            let revoked = match &it.revoked {
                None => "-".to_owned(),
                Some(it) if it.reason.is_empty() => {
                    format!("{} by {}", table::time(it.time), it.by)
                }
                Some(it) => format!("{} by {}: {}", table::time(it.time), it.by, it.reason),
            };
            table.row([
                &or_dash(&it.operator),
                &or_dash(&it.role),
                &it.serial,
                &table::time_or_dash(it.expire_time),
                &table::time_or_dash(it.last_seen_time),
                &revoked,
            ]);
        }
        table.lines(0)
    }
}

/// Credentials that are refused from now on.
#[derive(Debug, Serialize)]
pub struct RevokedView {
    /// Which.
    pub revoked: String,
    /// Connections that were open with them.
    pub cut_connection_count: u32,
}

impl View for RevokedView {
    fn table(&self) -> String {
        format!("revoked {}; connections cut: {}\n", self.revoked, self.cut_connection_count)
    }
}
