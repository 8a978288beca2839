//! Connections: those that are open, so that a removed host or credential loses them at once.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use lazarette_core::id::HostId;
use tokio_util::sync::CancellationToken;

use crate::{certificate::Serial, peer::PeerInfo};

/// The open connections of a server. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Connections(Arc<Mutex<Open>>);

#[derive(Debug, Default)]
struct Open {
    next: u64,
    connections: HashMap<u64, Connection>,
}

#[derive(Debug)]
struct Connection {
    peer: PeerInfo,
    cut: CancellationToken,
}

/// One peer has as many connections as it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the peer has {0} connections already")]
pub struct TooMany(usize);

/// Keeps a connection in the list until it is dropped.
#[derive(Debug)]
pub(crate) struct Lease {
    open: Connections,
    number: u64,
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.open.lock().connections.remove(&self.number);
    }
}

/// What counts as one peer: a certificate, or else an address.
#[derive(PartialEq, Eq)]
enum Bearer<'a> {
    Certificate(&'a Serial),
    Address(IpAddr),
}

fn bearer(peer: &PeerInfo) -> Bearer<'_> {
    peer.serial().map_or_else(|| Bearer::Address(peer.address.ip()), Bearer::Certificate)
}

impl Connections {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Cuts every connection of a host, in the middle of whatever it does. How many there were.
    pub fn cut_host(&self, host: HostId) -> usize {
        self.cut_where(|peer| peer.host() == Some(host))
    }

    /// Cuts every connection made with a certificate. How many there were.
    pub fn cut_serial(&self, serial: &Serial) -> usize {
        self.cut_where(|peer| peer.serial() == Some(serial))
    }

    /// Cuts every connection whose peer is `unwanted`. How many there were.
    pub fn cut_where(&self, unwanted: impl Fn(&PeerInfo) -> bool) -> usize {
        let open = self.lock();
        let cut = open.connections.values().filter(|connection| unwanted(&connection.peer));
        cut.map(|connection| connection.cut.cancel()).count()
    }

    /// The peers of all that are open.
    pub fn peers(&self) -> Vec<PeerInfo> {
        self.lock().connections.values().map(|connection| connection.peer.clone()).collect()
    }

    /// Enters a connection, which is in the list until the lease is dropped.
    pub(crate) fn admit(
        &self,
        peer: &PeerInfo,
        limit: usize,
    ) -> Result<(Lease, CancellationToken), TooMany> {
        let mut open = self.lock();
        let same = open.connections.values().filter(|other| bearer(&other.peer) == bearer(peer));
        let count = same.count();
        if count >= limit {
            return Err(TooMany(count));
        }
        let (number, cut) = (open.next, CancellationToken::new());
        open.next = open.next.wrapping_add(1);
        let connection = Connection { peer: peer.clone(), cut: cut.clone() };
        open.connections.insert(number, connection);
        drop(open);
        Ok((Lease { open: self.clone(), number }, cut))
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Protocol;

    fn anonymous(address: &str) -> PeerInfo {
        let address = address.parse().unwrap();
        PeerInfo { certificate: None, protocol: Protocol::Enroll, address }
    }

    #[test]
    fn a_connection_is_listed_until_its_lease_is_dropped() {
        let connections = Connections::new();
        let (lease, cut) = connections.admit(&anonymous("10.0.0.1:1"), 1).unwrap();
        assert_eq!(connections.peers().len(), 1);

        assert_eq!(connections.cut_where(|peer| peer.address.port() == 1), 1);
        assert!(cut.is_cancelled());

        drop(lease);
        assert!(connections.peers().is_empty());
    }

    #[test]
    fn one_peer_has_only_so_many_and_others_are_not_counted_with_it() {
        let connections = Connections::new();
        let first = connections.admit(&anonymous("10.0.0.1:1"), 1).unwrap();
        assert_eq!(connections.admit(&anonymous("10.0.0.1:2"), 1).err(), Some(TooMany(1)));
        assert!(connections.admit(&anonymous("10.0.0.2:1"), 1).is_ok());
        drop(first);
        assert!(connections.admit(&anonymous("10.0.0.1:2"), 1).is_ok());
    }
}
