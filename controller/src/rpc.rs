//! RPC: what agents and operators may ask; each service a file.

pub mod audit;
pub mod certificate;
pub mod controller;
pub mod credential;
pub mod enrollment;
pub mod host;
pub mod repository;
pub mod run;
pub mod snapshot;
pub mod stack;
pub mod storage;

use std::sync::Arc;

use lazarette_core::error::{Failure, Reason};
use lazarette_node::{clock::Clock, peer::PeerInfo, status};
use lazarette_proto::convert::ConvertError;
use tonic::{Request, Status};

use crate::{
    places::store_failed,
    store::{
        Batch, Store,
        audit::{Act, Audit},
    },
    witness,
};

/// Who sent `request`, for records: `admin/eve`, `agent/host-…`.
fn caller<T>(request: &Request<T>) -> String {
    witness::who(PeerInfo::of(request))
}

/// That whoever sent `request` does `what`, for the audit log.
fn act<T>(clock: &dyn Clock, request: &Request<T>, what: impl Into<String>) -> Act {
    let serial = PeerInfo::of(request).and_then(PeerInfo::serial);
    Act {
        at: clock.now(),
        who: caller(request),
        certificate: serial.map(ToString::to_string).unwrap_or_default(),
        what: what.into(),
        refused: None,
    }
}

/// Writes an act into the audit log, together with what `also` changes.
async fn record(store: &Arc<dyn Store>, act: &Act, also: &Batch) -> Result<(), Status> {
    let audit = Audit::new(Arc::clone(store));
    audit.record(act, also).await.map(drop).map_err(store_failed).map_err(refused)
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
