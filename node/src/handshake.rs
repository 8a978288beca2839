//! Handshake: from an accepted TCP connection to a peer that we know.

use std::{
    collections::HashMap,
    io,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use rustls::server::Acceptor;
use tokio::net::TcpStream;
use tokio_rustls::{LazyConfigAcceptor, server::TlsStream};

use crate::{
    certificate::CertificateError,
    live::LiveCredentials,
    peer::PeerInfo,
    protocol::Protocol,
    rate::{Rate, Rates, TooOften, network},
};

/// A connection did not get as far as saying who it is.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HandshakeError {
    #[error("set TCP_NODELAY")]
    Socket(#[source] io::Error),
    #[error("greet the client in TLS")]
    Tls(#[source] io::Error),
    #[error("finish the handshake in time")]
    Slow(#[source] tokio::time::error::Elapsed),
    #[error("settle what to speak: the client named no protocol of ours")]
    Protocol,
    #[error("read the client's certificate")]
    Certificate(#[source] CertificateError),
    #[error("let somebody enrol from there again")]
    Often(#[source] TooOften),
}

/// Greets a client, at most for `limit`.
pub(crate) async fn accept(
    tcp: TcpStream,
    address: SocketAddr,
    credentials: &LiveCredentials,
    (limit, addresses): (Duration, &Addresses),
) -> Result<(TlsStream<TcpStream>, PeerInfo), HandshakeError> {
    tcp.set_nodelay(true).map_err(HandshakeError::Socket)?;
    let may_enroll = || addresses.may_enroll(address.ip(), Instant::now());
    let greeted = tokio::time::timeout(limit, greet(tcp, credentials, may_enroll)).await;
    let tls = greeted.map_err(HandshakeError::Slow)??;
    let peer = PeerInfo::read(tls.get_ref().1, address).map_err(HandshakeError::Certificate)?;
    Ok((tls, peer.ok_or(HandshakeError::Protocol)?))
}

/// Enrolment has a configuration of its own, so that nothing else works without a certificate. One
/// too many is turned away before anything is computed for it.
async fn greet(
    tcp: TcpStream,
    credentials: &LiveCredentials,
    may_enroll: impl Fn() -> Result<(), TooOften>,
) -> Result<TlsStream<TcpStream>, HandshakeError> {
    let hello = LazyConfigAcceptor::new(Acceptor::default(), tcp).await;
    let hello = hello.map_err(HandshakeError::Tls)?;
    let in_use = credentials.in_use();
    let is_enrolment = |name| Protocol::from_alpn(name) == Some(Protocol::Enroll);
    let enrolls = hello.client_hello().alpn().is_some_and(|mut names| names.any(is_enrolment));
    let config = if enrolls {
        may_enroll().map_err(HandshakeError::Often)?;
        &in_use.newcomers
    } else {
        &in_use.members
    };
    hello.into_stream(config.clone()).await.map_err(HandshakeError::Tls)
}

/// Counts by address: handshakes under way, and what was said about an address.
#[derive(Clone, Debug)]
pub(crate) struct Addresses {
    known: Arc<Mutex<HashMap<IpAddr, Known>>>,
    enrolments: Arc<Rates<IpAddr>>,
}

impl Default for Addresses {
    fn default() -> Self {
        let enrolments = Arc::new(Rates::new(ENROLMENTS, REMEMBERED));
        Self { known: Arc::default(), enrolments }
    }
}

#[derive(Debug, Default)]
struct Known {
    under_way: usize,
    last_said: Option<Instant>,
}

/// So many addresses are remembered; those of which nothing is known any more make place.
const REMEMBERED: usize = 10_000;
/// Handshakes for enrolment of one address: nobody needs a certificate for them.
const ENROLMENTS: Rate = Rate { burst: 20, every: Duration::from_secs(1) };
/// An address is spoken of once in this time.
const QUIET: Duration = Duration::from_mins(1);

/// A handshake under way, until dropped.
#[derive(Debug)]
pub(crate) struct UnderWay {
    addresses: Addresses,
    address: IpAddr,
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        if let Some(known) = self.addresses.lock().get_mut(&self.address) {
            known.under_way = known.under_way.saturating_sub(1);
        }
    }
}

impl Addresses {
    /// Begins a handshake, unless `limit` of the same address are under way.
    pub(crate) fn begin(&self, address: IpAddr, limit: usize, now: Instant) -> Option<UnderWay> {
        let mut addresses = self.lock();
        if addresses.len() >= REMEMBERED {
            let recent = |said: Instant| now.saturating_duration_since(said) < QUIET;
            addresses.retain(|_, known| known.under_way > 0 || known.last_said.is_some_and(recent));
        }
        let known = addresses.entry(address).or_default();
        if known.under_way >= limit {
            return None;
        }
        known.under_way += 1;
        Some(UnderWay { addresses: self.clone(), address })
    }

    /// Whether something may be said about an address: once a minute.
    pub(crate) fn may_say(&self, address: IpAddr, now: Instant) -> bool {
        let mut addresses = self.lock();
        let known = addresses.entry(address).or_default();
        let recent = |said: Instant| now.saturating_duration_since(said) < QUIET;
        let said = known.last_said.is_some_and(recent);
        if !said {
            known.last_said = Some(now);
        }
        !said
    }

    /// Whether one more may come from an address to be enrolled.
    fn may_enroll(&self, address: IpAddr, now: Instant) -> Result<(), TooOften> {
        self.enrolments.take(network(address), now)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<IpAddr, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_spoken_of_once_a_minute() {
        let (addresses, noisy) = (Addresses::default(), IpAddr::from([10, 0, 0, 1]));
        let now = Instant::now();
        assert!(addresses.may_say(noisy, now));
        assert!(!addresses.may_say(noisy, now));
        assert!(addresses.may_say(IpAddr::from([10, 0, 0, 2]), now));
        assert!(addresses.may_say(noisy, now + QUIET));
    }

    #[test]
    fn an_address_has_only_so_many_handshakes_under_way() {
        let (addresses, one) = (Addresses::default(), IpAddr::from([10, 0, 0, 1]));
        let now = Instant::now();
        let first = addresses.begin(one, 1, now).unwrap();
        assert!(addresses.begin(one, 1, now).is_none());
        drop(first);
        assert!(addresses.begin(one, 1, now).is_some());
    }

    #[test]
    fn addresses_of_which_nothing_is_known_any_more_are_forgotten() {
        let (addresses, now) = (Addresses::default(), Instant::now());
        for number in 0..REMEMBERED {
            let address = IpAddr::from(u32::try_from(number).unwrap().to_be_bytes());
            drop(addresses.begin(address, 1, now));
        }
        drop(addresses.begin(IpAddr::from([10, 0, 0, 1]), 1, now));
        assert_eq!(addresses.lock().len(), 1);
    }
}
