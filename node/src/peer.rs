//! Peer: who is at the other end of a connection.

use std::{net::SocketAddr, sync::Arc};

use jiff::Timestamp;
use lazarette_core::id::HostId;
use rustls::CommonState;

use crate::{
    certificate::{Certificate, CertificateError, Serial},
    identity::Identity,
    protocol::Protocol,
};

/// Who is at the other end of a connection. In the extensions of every request that came over it.
#[derive(Clone, Debug)]
pub struct PeerInfo {
    /// What its certificate says; absent only on [`Protocol::Enroll`], seen from the controller.
    pub certificate: Option<Arc<Certificate>>,
    /// What is spoken.
    pub protocol: Protocol,
    /// Where it called from, or where we called.
    pub address: SocketAddr,
}

impl PeerInfo {
    /// The peer that sent `request`, or that it will be answered to.
    pub fn of<T>(request: &tonic::Request<T>) -> Option<&Self> {
        request.extensions().get()
    }

    /// What it is, when it has a certificate.
    pub fn identity(&self) -> Option<&Identity> {
        self.certificate.as_ref().map(|certificate| &certificate.subject.identity)
    }

    /// The host whose agent it is.
    pub fn host(&self) -> Option<HostId> {
        match self.identity()? {
            Identity::Agent { host } => Some(*host),
            Identity::Controller | Identity::Operator { .. } => None,
        }
    }

    /// The serial number of its certificate.
    pub fn serial(&self) -> Option<&Serial> {
        self.certificate.as_ref().map(|certificate| &certificate.serial)
    }

    /// Whether its certificate's time is over.
    pub fn is_expired(&self, now: Timestamp) -> bool {
        self.certificate.as_ref().is_some_and(|certificate| certificate.is_expired(now))
    }

    /// Of a handshake that is done. Without a protocol that we know there is none.
    pub(crate) fn read(
        tls: &CommonState,
        address: SocketAddr,
    ) -> Result<Option<Self>, CertificateError> {
        let leaf = tls.peer_certificates().and_then(<[_]>::first);
        let certificate = leaf.map(Certificate::read).transpose()?.map(Arc::new);
        let protocol = tls.alpn_protocol().and_then(Protocol::from_alpn);
        Ok(protocol.map(|protocol| Self { certificate, protocol, address }))
    }
}
