//! Snapshots, in and out.

use lazarette_core::{snapshot::Snapshot, units::ByteCount};

use super::{ConvertError, all, from_wire_time, parse, to_wire_time};
use crate::common::v1 as wire;

impl From<Snapshot> for wire::Snapshot {
    fn from(it: Snapshot) -> Self {
        Self {
            snapshot_id: it.id.to_string(),
            repository_id: it.repository.to_string(),
            stack_id: it.stack.to_string(),
            stack: it.stack_name.to_string(),
            host_id: it.host.to_string(),
            host: it.host_name.to_string(),
            run_id: it.run.to_string(),
            commit_time: Some(to_wire_time(it.time)),
            components: it.components.into_iter().map(Into::into).collect(),
            incomplete: it.incomplete,
            read_bytes: it.read_bytes.0,
            new_bytes: it.new_bytes.0,
            stored_bytes: it.stored_bytes.0,
            downtime_ms: it.downtime_ms,
        }
    }
}

impl TryFrom<wire::Snapshot> for Snapshot {
    type Error = ConvertError;

    fn try_from(it: wire::Snapshot) -> Result<Self, Self::Error> {
        Ok(Self {
            id: parse("snapshot_id", &it.snapshot_id)?,
            repository: parse("repository_id", &it.repository_id)?,
            stack: parse("stack_id", &it.stack_id)?,
            stack_name: parse("stack", &it.stack)?,
            host: parse("host_id", &it.host_id)?,
            host_name: parse("host", &it.host)?,
            run: parse("run_id", &it.run_id)?,
            time: from_wire_time("commit_time", it.commit_time)?,
            components: all("components", it.components)?,
            incomplete: it.incomplete,
            read_bytes: ByteCount(it.read_bytes),
            new_bytes: ByteCount(it.new_bytes),
            stored_bytes: ByteCount(it.stored_bytes),
            downtime_ms: it.downtime_ms,
        })
    }
}
