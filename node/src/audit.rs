//! Audit: who hears of every call and of what became of it.

use std::fmt;

use lazarette_core::error::Failure;

use crate::{identity::Identity, peer::PeerInfo};

/// One call, and whether it was refused: by the layer in front of all services, or by the service.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// The method's path.
    pub method: &'a str,
    /// Who called; absent only when a connection was served without this crate.
    pub peer: Option<&'a PeerInfo>,
    /// Why nothing was done. Not told of what fails in the middle of a streamed answer.
    pub refused: Option<&'a Failure>,
}

/// Hears of every call, once, when its answer begins.
pub trait Audit: fmt::Debug + Send + Sync + 'static {
    /// It was answered. Must not block.
    fn hear(&self, call: Call<'_>);
}

/// Writes refused calls to the log, others only when much is logged.
#[derive(Clone, Copy, Debug)]
pub struct LogAudit;

impl Audit for LogAudit {
    fn hear(&self, Call { method, peer, refused }: Call<'_>) {
        let who =
            peer.and_then(PeerInfo::identity).map_or_else(|| "nobody".into(), Identity::to_string);
        let address = peer.map(|peer| peer.address);
        if let Some(failure) = refused {
            let (reason, why) = (failure.reason, &failure.message);
            tracing::info!(method, %who, ?address, %reason, why, "call refused");
        } else {
            tracing::debug!(method, %who, ?address, "call answered");
        }
    }
}
