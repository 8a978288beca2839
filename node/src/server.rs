//! Server: the controller's one port, on which agents and operators call and agents are called.

use std::{
    convert::Infallible,
    fmt, io,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use lazarette_core::error::chain;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, mpsc},
};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tracing::Span;

use crate::{
    authz::Authz,
    connections::Connections,
    handshake::{self, Addresses},
    http2::Keepalive,
    live::LiveCredentials,
    peer::PeerInfo,
    protocol::Protocol,
    stream::PeerStream,
    tasks::Tasks,
};

/// Connections that are known but not yet served; more wait in the kernel.
const HANDED_OVER: usize = 16;
/// Handshakes under way at once, of all addresses.
const HANDSHAKES: usize = 256;
/// After an accept that failed (no file descriptors left, say).
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);
/// Between being asked to end and having ended, for connections that were cut.
const CUT_GRACE: Duration = Duration::from_secs(1);

/// Limits of a server.
#[derive(Clone, Copy, Debug)]
pub struct ServerOptions {
    /// How long a handshake may take.
    pub handshake_timeout: Duration,
    /// Handshakes under way at once from one address.
    pub handshakes_per_address: usize,
    /// Connections of one certificate.
    pub connections_per_peer: usize,
    /// How often open connections are compared with what was revoked.
    pub sweep_period: Duration,
    /// How long calls under way may take to end at a shutdown.
    pub shutdown_grace: Duration,
    /// How dead connections are noticed.
    pub keepalive: Keepalive,
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self {
            handshake_timeout: Duration::from_secs(10),
            handshakes_per_address: 64,
            connections_per_peer: 64,
            sweep_period: Duration::from_secs(30),
            shutdown_grace: Duration::from_secs(5),
            keepalive: Keepalive::default(),
        }
    }
}

/// Takes an agent's reversed connection: must not block, and should open its channel before
/// anything else, since the agent waits for the first byte.
pub type OnReversed = Arc<dyn Fn(PeerStream) + Send + Sync>;

/// What is served.
#[derive(Clone)]
pub struct Services {
    /// For agents and operators.
    pub calls: Routes,
    /// For somebody without a certificate.
    pub enrollment: Routes,
    /// In front of both.
    pub authz: Authz,
    /// Takes the connections on which agents are called.
    pub on_reversed: OnReversed,
    /// Where open connections are listed.
    pub connections: Connections,
}

impl fmt::Debug for Services {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Services").field("authz", &self.authz).finish_non_exhaustive()
    }
}

/// The port could not be opened.
#[derive(Debug, thiserror::Error)]
#[error("listen on {address}")]
pub struct ServerError {
    address: SocketAddr,
    #[source]
    source: io::Error,
}

/// A bound port and what will be served on it.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    credentials: LiveCredentials,
    services: Services,
    options: ServerOptions,
}

impl Server {
    /// Opens the port; nothing is served until [`Self::run`].
    ///
    /// # Errors
    /// The port cannot be opened.
    pub async fn bind(
        address: SocketAddr,
        credentials: LiveCredentials,
        services: Services,
        options: ServerOptions,
    ) -> Result<Self, ServerError> {
        let failed = |source| ServerError { address, source };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Self { listener, address, credentials, services, options })
    }

    /// Where it listens, with the port that was chosen when 0 was asked for.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until cancelled; then ends calls under way, in good order as long as the grace lasts.
    pub async fn run(self, cancel: CancellationToken) {
        let Self { listener, credentials, services, options, .. } = self;
        let tasks = Tasks::new();
        let door = Arc::new(Door {
            addresses: Addresses::default(),
            calls: serve(&tasks, &services, options.keepalive, Protocol::Calls),
            enrollment: serve(&tasks, &services, options.keepalive, Protocol::Enroll),
            credentials,
            options,
            services,
        });
        let sweeper = door.clone();
        tasks.spawn(Span::current(), |cancel| async move { sweeper.sweep(cancel).await });

        tokio::select! {
            () = cancel.cancelled() => {}
            () = accept(&listener, &door, &tasks) => {}
        }
        drop(listener);
        let cut_late = async {
            tokio::time::sleep(options.shutdown_grace).await;
            door.services.connections.cut_where(|_| true);
        };
        tokio::select! {
            ((), never) = async { tokio::join!(cut_late, std::future::pending::<Infallible>()) } => match never {},
            () = tasks.shutdown(options.shutdown_grace + CUT_GRACE) => {}
        }
        door.services.connections.cut_where(|_| true);
    }
}

/// Serves the connections that are handed over, of one protocol.
fn serve(
    tasks: &Tasks,
    services: &Services,
    keepalive: Keepalive,
    protocol: Protocol,
) -> mpsc::Sender<Result<PeerStream, Infallible>> {
    let (sender, receiver) = mpsc::channel(HANDED_OVER);
    let routes = match protocol {
        Protocol::Enroll => services.enrollment.clone(),
        Protocol::Calls | Protocol::Reverse => services.calls.clone(),
    };
    let router = keepalive.server_with_age().layer(services.authz.clone()).add_routes(routes);
    tasks.spawn(Span::current(), |cancel| async move {
        let incoming = ReceiverStream::new(receiver);
        let stop = cancel.cancelled_owned();
        let served = Box::pin(router.serve_with_incoming_shutdown(incoming, stop)).await;
        if let Err(error) = served {
            tracing::error!(error = chain(&error), %protocol, "serving ended");
        }
    });
    sender
}

async fn accept(listener: &TcpListener, door: &Arc<Door>, tasks: &Tasks) {
    let places = Arc::new(Semaphore::new(HANDSHAKES));
    loop {
        let Ok(place) = places.clone().acquire_owned().await else { return };
        match listener.accept().await {
            Ok((tcp, address)) => {
                let door = door.clone();
                tasks.spawn(Span::current(), |cancel| async move {
                    tokio::select! {
                        () = cancel.cancelled() => {}
                        () = door.enter(tcp, address) => {}
                    }
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Where connections come in and are told apart.
struct Door {
    credentials: LiveCredentials,
    options: ServerOptions,
    services: Services,
    addresses: Addresses,
    calls: mpsc::Sender<Result<PeerStream, Infallible>>,
    enrollment: mpsc::Sender<Result<PeerStream, Infallible>>,
}

impl Door {
    async fn enter(&self, tcp: TcpStream, address: SocketAddr) {
        let ip = address.ip();
        let Some(under_way) =
            self.addresses.begin(ip, self.options.handshakes_per_address, Instant::now())
        else {
            return self.turned_away(address, "too many handshakes at once");
        };
        let limit = self.options.handshake_timeout;
        let greeted = handshake::accept(tcp, address, &self.credentials, limit).await;
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
    fn admit(
        &self,
        peer: &PeerInfo,
    ) -> Result<(crate::connections::Lease, CancellationToken), String> {
        // Listed first, asked second: a revocation in between finds it in the list.
        let limit = self.options.connections_per_peer;
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
    async fn sweep(&self, cancel: CancellationToken) {
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
