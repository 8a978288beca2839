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
    clock_ahead_ms: Option<i64>,
    drain_time: Option<Timestamp>,
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
            clock_ahead_ms: it.clock_ahead_ms,
            drain_time: time("drain_time", it.drain_time)?,
        })
    }
}

impl HostView {
    /// What it is called.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl View for HostView {
    fn table(&self) -> String {
        let or_dash = |text: &str| if text.is_empty() { "-".to_owned() } else { text.to_owned() };
        let mut table = Table::bare();
        table.row([&"host", &self.name]);
        table.row([&"id", &self.host_id]);
        table.row([&"connected", &if self.connected { "yes" } else { "no" }]);
        table.row([&"last seen", &table::time_or_dash(self.last_seen_time)]);
        table.row([&"agent", &or_dash(&self.agent_version)]);
        table.row([&"Docker", &or_dash(&self.engine_version)]);
        if let Some(ahead) = self.clock_ahead_ms {
            let way = if ahead < 0 { "behind" } else { "ahead" };
            table.row([&"clock", &format!("{} {way}", table::span(ahead.unsigned_abs()))]);
        }
        let ends = table::time_or_dash(self.certificate_expire_time);
        table.row([&"certificate ends", &ends]);
        if let Some(since) = self.drain_time {
            table.row([&"drained since", &table::time(since)]);
        }
        let mut text = table.lines(0);
        table::section(&mut text, "WARNINGS", &self.warnings);
        table::section(&mut text, "HELD", &self.holds);
        text
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
                &match (it.connected, it.drain_time) {
                    (true, None) => "yes",
                    (true, Some(_)) => "yes, drained",
                    (false, None) => "no",
                    (false, Some(_)) => "no, drained",
                },
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

/// A host that is called otherwise now.
#[derive(Debug, Serialize)]
pub struct RenamedView {
    /// What it was called.
    pub renamed: HostName,
    /// What it is called.
    pub name: HostName,
}

impl View for RenamedView {
    fn table(&self) -> String {
        format!("{} is called {} now\n", self.renamed, self.name)
    }
}

/// A host that takes no new runs, or takes them again.
#[derive(Debug, Serialize)]
pub struct DrainedView {
    /// Which.
    pub host: HostName,
    /// Whether it takes none.
    pub drained: bool,
    /// Runs of it that are not over.
    pub open_run_ids: Vec<String>,
}

impl View for DrainedView {
    fn table(&self) -> String {
        let takes = if self.drained { "takes no new runs" } else { "takes runs again" };
        let mut text = format!("{} {takes}\n", self.host);
        table::section(&mut text, "NOT OVER YET", &self.open_run_ids);
        text
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
