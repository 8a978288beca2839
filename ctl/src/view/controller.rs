//! The controller, as it is shown.

use jiff::Timestamp;
use lazarette_core::units::ByteCount;
use lazarette_proto::{
    controller::v1 as wire,
    convert::{ConvertError, from_wire_time},
};
use serde::Serialize;

use crate::{
    output::View,
    table::{self, Table},
};

/// The controller.
#[derive(Debug, Serialize)]
pub struct ControllerView {
    version: String,
    protocol_version: u32,
    fleet_id: String,
    address: String,
    start_time: Timestamp,
    disks: Vec<DiskView>,
    warnings: Vec<String>,
}

/// One of its disks.
#[derive(Debug, Serialize)]
struct DiskView {
    holds: String,
    path: String,
    free_bytes: u64,
    total_bytes: u64,
    is_low: bool,
}

impl TryFrom<wire::GetControllerResponse> for ControllerView {
    type Error = ConvertError;

    fn try_from(it: wire::GetControllerResponse) -> Result<Self, Self::Error> {
        let disk = |it: wire::Disk| DiskView {
            holds: it.holds,
            path: it.path,
            free_bytes: it.free_bytes,
            total_bytes: it.total_bytes,
            is_low: it.is_low,
        };
        Ok(Self {
            version: it.version,
            protocol_version: it.protocol_version,
            fleet_id: it.fleet_id,
            address: it.address,
            start_time: from_wire_time("start_time", it.start_time)?,
            disks: it.disks.into_iter().map(disk).collect(),
            warnings: it.warnings,
        })
    }
}

impl View for ControllerView {
    fn table(&self) -> String {
        let mut text = format!(
            "lazarette-controller {} at {}, since {}\n{}\n\n",
            self.version,
            self.address,
            table::time(self.start_time),
            self.fleet_id
        );
        let mut disks = Table::new(&["DISK OF", "FREE", "SIZE", "LOW", "DIRECTORY"]);
        for it in &self.disks {
            disks.row([
                &it.holds,
                &ByteCount(it.free_bytes),
                &ByteCount(it.total_bytes),
                &if it.is_low { "yes" } else { "no" },
                &it.path,
            ]);
        }
        text.push_str(&disks.lines(0));
        table::section(&mut text, "WARNINGS", self.warnings.clone());
        text
    }
}
