//! The audit log, as it is shown.

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

/// Something that somebody did, or was refused.
#[derive(Debug, Serialize)]
pub struct ActView {
    sequence: u64,
    time: Timestamp,
    who: String,
    certificate_serial: Option<String>,
    what: String,
    refused_reason: Option<String>,
}

impl TryFrom<wire::AuditEntry> for ActView {
    type Error = ConvertError;

    fn try_from(it: wire::AuditEntry) -> Result<Self, Self::Error> {
        let some = |text: String| (!text.is_empty()).then_some(text);
        Ok(Self {
            sequence: it.sequence,
            time: from_wire_time("act_time", it.act_time)?,
            who: it.who,
            certificate_serial: some(it.certificate_serial),
            what: it.what,
            refused_reason: some(it.refused_reason),
        })
    }
}

impl View for Vec<ActView> {
    fn table(&self) -> String {
        let mut table = Table::new(&["NUMBER", "TIME", "WHO", "REFUSED", "WHAT"]);
        for it in self {
            table.row([
                &it.sequence,
                &table::time(it.time),
                &it.who,
                &it.refused_reason.as_deref().unwrap_or("-"),
                &it.what,
            ]);
        }
        table.lines(0)
    }
}

/// A log that is whole.
#[derive(Debug, Serialize)]
pub struct ChainView {
    entry_count: u64,
    end_hash: Option<String>,
}

impl From<wire::VerifyAuditResponse> for ChainView {
    fn from(it: wire::VerifyAuditResponse) -> Self {
        let end_hash = (!it.end_hash.is_empty()).then_some(it.end_hash);
        Self { entry_count: it.entry_count, end_hash }
    }
}

impl View for ChainView {
    fn table(&self) -> String {
        match &self.end_hash {
            Some(hash) => {
                format!(
                    "the audit log is whole: {} entries, the last is {hash}\n",
                    self.entry_count
                )
            }
            None => "the audit log is empty\n".to_owned(),
        }
    }
}
