//! RPC: what agents and operators may ask; each service a file.

pub mod certificate;
pub mod enrollment;
pub mod host;
pub mod repository;
pub mod run;
pub mod snapshot;
pub mod stack;
pub mod storage;

use lazarette_core::error::{Failure, Reason};
use lazarette_node::{identity::Identity, peer::PeerInfo, status};
use lazarette_proto::convert::ConvertError;
use tonic::{Request, Status};

/// Who sent `request`, for records: `admin/eve`, `agent/host-…`.
fn caller<T>(request: &Request<T>) -> String {
    match PeerInfo::of(request).and_then(PeerInfo::identity) {
        Some(Identity::Operator { name, role }) => format!("{role}/{name}"),
        Some(identity) => identity.to_string(),
        None => "nobody".to_owned(),
    }
}

/// The serial of the certificate that came with `request`, in hex; empty without one.
fn certificate_of<T>(request: &Request<T>) -> String {
    let serial = PeerInfo::of(request).and_then(PeerInfo::serial);
    serial.map(ToString::to_string).unwrap_or_default()
}

/// The host whose agent sent `request`.
fn host_of<T>(request: &Request<T>) -> Result<lazarette_core::id::HostId, Status> {
    PeerInfo::of(request).and_then(PeerInfo::host).ok_or_else(|| {
        let failure = Failure::new(Reason::RoleDenied, "only an agent may call this");
        status::of_failure(&failure)
    })
}

/// A failure, for the wire. Everything inside the controller fails with one.
#[expect(clippy::needless_pass_by_value, reason = "for `map_err`")]
fn refused(failure: Failure) -> Status {
    status::of_failure(&failure)
}

/// A message that cannot be, for the wire.
#[expect(clippy::needless_pass_by_value, reason = "for `map_err`")]
fn malformed(error: ConvertError) -> Status {
    status::of(&error)
}
