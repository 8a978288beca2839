//! Door: where connections come in, are told apart, and are let in or turned away.

use std::{convert::Infallible, net::SocketAddr, time::Instant};

use lazarette_core::error::chain;
use tokio::{net::TcpStream, sync::mpsc};
use tokio_util::sync::CancellationToken;

use crate::{
    connections::Lease,
    handshake::{self, Addresses},
    live::LiveCredentials,
    peer::PeerInfo,
    protocol::Protocol,
    server::{ServerOptions, Services},
    stream::PeerStream,
};

/// Connections that are known but not yet served.
pub(crate) type Queue = mpsc::Sender<Result<PeerStream, Infallible>>;

/// Where connections come in and are told apart.
pub(crate) struct Door {
    credentials: LiveCredentials,
    options: ServerOptions,
    services: Services,
    addresses: Addresses,
    calls: Queue,
    enrollment: Queue,
}

impl Door {
    /// Hands connections over to be served, one queue each for calls and enrolment.
    pub(crate) fn new(
        credentials: LiveCredentials,
        options: ServerOptions,
        services: Services,
        [calls, enrollment]: [Queue; 2],
    ) -> Self {
        let addresses = Addresses::default();
        Self { credentials, options, services, addresses, calls, enrollment }
    }

    /// Ends every connection, in the middle of whatever it does.
    pub(crate) fn cut_all(&self) {
        self.services.connections.cut_where(|_| true);
    }

    pub(crate) async fn enter(&self, tcp: TcpStream, address: SocketAddr) {
        let ip = address.ip();
        let Some(under_way) =
            self.addresses.begin(ip, self.options.handshakes_per_address, Instant::now())
        else {
            return self.turned_away(address, "too many handshakes at once");
        };
        let limits = (self.options.handshake_timeout, &self.addresses);
        let greeted = handshake::accept(tcp, address, &self.credentials, limits).await;
        drop(under_way);
        match greeted {
            Ok((tls, peer)) => match self.admit(&peer) {
                Ok((lease, cut)) => {
                    self.hand_over(PeerStream::new(tls.into(), peer, cut, Some(lease))).await;
                }
                Err(why) => self.turned_away(address, &why),
            },
            Err(error) => self.turned_away(address, &chain(&error)),
        }
    }

    /// Whether the peer may be here; what it may call is decided call by call.
    fn admit(&self, peer: &PeerInfo) -> Result<(Lease, CancellationToken), String> {
        // Listed first, asked second: a revocation in between finds it in the list.
        let limit = match peer.host() {
            Some(_) => self.options.connections_per_agent,
            None => self.options.connections_per_peer,
        };
        let admitted =
            self.services.connections.admit(peer, limit).map_err(|error| chain(&error))?;
        let authz = &self.services.authz;
        let reversed = peer.protocol == Protocol::Reverse;
        match peer.identity() {
            Some(identity) if reversed && peer.host().is_none() => {
                Err(format!("`{identity}` is no agent and cannot be called"))
            }
            Some(identity) if reversed && authz.is_revoked(peer) => {
                Err(format!("`{identity}` was removed"))
            }
            Some(identity) if reversed && peer.is_expired(authz.now()) => {
                Err(format!("the certificate of `{identity}` has expired"))
            }
            None if peer.protocol != Protocol::Enroll => Err("no certificate".to_owned()),
            _ => Ok(admitted),
        }
    }

    async fn hand_over(&self, stream: PeerStream) {
        let to = match stream.peer().protocol {
            Protocol::Reverse => return (self.services.on_reversed)(stream),
            Protocol::Calls => &self.calls,
            Protocol::Enroll => &self.enrollment,
        };
        // Fails only while shutting down; then the stream is closed, which is right.
        drop(to.send(Ok(stream)).await);
    }

    fn turned_away(&self, address: SocketAddr, why: &str) {
        if self.addresses.may_say(address.ip(), Instant::now()) {
            tracing::info!(%address, why, "connection turned away");
        } else {
            tracing::debug!(%address, why, "connection turned away");
        }
    }

    /// Cuts what should not be there any more, in case whoever revoked it did not.
    pub(crate) async fn sweep(&self, cancel: CancellationToken) {
        let authz = &self.services.authz;
        while cancel
            .run_until_cancelled(tokio::time::sleep(self.options.sweep_period))
            .await
            .is_some()
        {
            let now = authz.now();
            let cut = self.services.connections.cut_where(|peer| {
                let reversed = peer.protocol == Protocol::Reverse;
                authz.is_revoked(peer) || (reversed && peer.is_expired(now))
            });
            if cut > 0 {
                tracing::info!(cut, "cut connections that were revoked or have expired");
            }
        }
    }
}
