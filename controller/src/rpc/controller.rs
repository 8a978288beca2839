//! The controller says what it is and how it is.

use jiff::Timestamp;
use lazarette_core::id::FleetId;
use lazarette_node::address::Address;
use lazarette_proto::{
    PROTOCOL_VERSION,
    controller::v1::{
        Disk as WireDisk, GetControllerRequest, GetControllerResponse,
        controller_service_server::ControllerService,
    },
    convert::to_wire_time,
};
use tonic::{Request, Response, Status};

use super::refused;
use crate::disks::{Disk, Disks};

/// Answers for the controller itself.
#[derive(Debug)]
pub struct ControllerRpc {
    /// Which fleet's it is.
    pub fleet: FleetId,
    /// Where it is reached.
    pub address: Address,
    /// Since when it runs.
    pub started: Timestamp,
    /// How much room there is.
    pub disks: Disks,
}

fn wire(disk: &Disk) -> WireDisk {
    WireDisk {
        holds: disk.holds.to_owned(),
        path: disk.path.display().to_string(),
        free_bytes: disk.space.free_bytes,
        total_bytes: disk.space.total_bytes,
        is_low: disk.space.is_low(),
    }
}

#[tonic::async_trait]
impl ControllerService for ControllerRpc {
    async fn get_controller(
        &self,
        _: Request<GetControllerRequest>,
    ) -> Result<Response<GetControllerResponse>, Status> {
        let disks = self.disks.look().map_err(refused)?;
        Ok(Response::new(GetControllerResponse {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            protocol_version: PROTOCOL_VERSION,
            fleet_id: self.fleet.to_string(),
            address: self.address.to_string(),
            start_time: Some(to_wire_time(self.started)),
            warnings: disks.iter().filter_map(Disk::warning).collect(),
            disks: disks.iter().map(wire).collect(),
        }))
    }
}
