//! Hosts, as they are shown.

use jiff::Timestamp;
use lazarette_core::name::HostName;
use lazarette_proto::{
    controller::v1 as wire,
    convert::{ConvertError, from_wire_time},
};
use serde::Serialize;

use crate::{
    output::View,
    table::{self, Table},
};

/// A host.
#[derive(Debug, Serialize)]
pub struct HostView {
    name: String,
    host_id: String,
    connected: bool,
    last_seen_time: Option<Timestamp>,
    agent_version: String,
    engine_version: String,
    certificate_expire_time: Option<Timestamp>,
    warnings: Vec<String>,
    holds: Vec<String>,
}

impl TryFrom<wire::Host> for HostView {
    type Error = ConvertError;

    fn try_from(it: wire::Host) -> Result<Self, Self::Error> {
        let time = |field, at: Option<_>| at.map(|at| from_wire_time(field, Some(at))).transpose();
        Ok(Self {
            name: it.name,
            host_id: it.host_id,
            connected: it.connected,
            last_seen_time: time("last_seen_time", it.last_seen_time)?,
            agent_version: it.agent_version,
            engine_version: it.engine_version,
            certificate_expire_time: time("certificate_expire_time", it.certificate_expire_time)?,
            warnings: it.warnings,
            holds: it.holds,
        })
    }
}

/// Hosts, with what an operator should know about the controller itself.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub struct HostsView {
    /// One a host.
    pub hosts: Vec<HostView>,
    /// Lines; for programs they are in `ctl controller show`.
    #[serde(skip)]
    pub controller_warnings: Vec<String>,
}

impl View for HostsView {
    fn table(&self) -> String {
        let headings = ["NAME", "CONNECTED", "LAST SEEN", "AGENT", "DOCKER", "CERTIFICATE ENDS"];
        let mut table = Table::new(&headings);
        let or_dash = |text: &str| if text.is_empty() { "-".to_owned() } else { text.to_owned() };
        for it in &self.hosts {
            table.row([
                &it.name,
                &if it.connected { "yes" } else { "no" },
                &table::time_or_dash(it.last_seen_time),
                &or_dash(&it.agent_version),
                &or_dash(&it.engine_version),
                &table::time_or_dash(it.certificate_expire_time),
            ]);
        }
        let mut text = table.lines(0);
        let lines = |of: fn(&HostView) -> &[String]| -> Vec<String> {
            let of_host = |it| of(it).iter().map(|line| format!("{}: {line}", it.name));
            self.hosts.iter().flat_map(of_host).collect()
        };
        let about = self.controller_warnings.iter().map(|line| format!("the controller: {line}"));
        table::section(&mut text, "WARNINGS", about.chain(lines(|it| &it.warnings)));
        table::section(&mut text, "HELD", lines(|it| &it.holds));
        text
    }
}

/// A token for a host that is to be enrolled.
#[derive(Debug, Serialize)]
pub struct InviteView {
    /// What the host is to be called.
    pub host: HostName,
    /// Works once.
    pub token: String,
    /// When it ends.
    pub expire_time: Timestamp,
}

impl View for InviteView {
    fn table(&self) -> String {
        format!("{}\n", self.token)
    }
}

/// A host that was removed.
#[derive(Debug, Serialize)]
pub struct RemovedView {
    /// What it was called.
    pub removed: HostName,
}

impl View for RemovedView {
    fn table(&self) -> String {
        format!("removed {}; its snapshots stay\n", self.removed)
    }
}
