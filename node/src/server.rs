//! Server: the controller's one port, on which agents and operators call and agents are called.

use std::{fmt, io, net::SocketAddr, sync::Arc, time::Duration};

use lazarette_core::error::chain;
use tokio::{
    net::TcpListener,
    sync::{Semaphore, mpsc},
};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tracing::Span;

use crate::{
    authz::Authz,
    connections::Connections,
    door::{Door, Queue},
    http2::Keepalive,
    live::LiveCredentials,
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
    /// Connections of one operator's certificate, or of one address without one.
    pub connections_per_peer: usize,
    /// Connections of one agent, which needs two, and a few while old ones are not known to be dead.
    pub connections_per_agent: usize,
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
            connections_per_agent: 16,
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
        let calls = serve(&tasks, &services, options.keepalive, Protocol::Calls);
        let enrollment = serve(&tasks, &services, options.keepalive, Protocol::Enroll);
        let door = Arc::new(Door::new(credentials, options, services, [calls, enrollment]));
        let sweeper = door.clone();
        tasks.spawn(Span::current(), |cancel| async move { sweeper.sweep(cancel).await });

        tokio::select! {
            () = cancel.cancelled() => {}
            () = accept(&listener, &door, &tasks) => {}
        }
        drop(listener);
        let mut ending = std::pin::pin!(tasks.shutdown(options.shutdown_grace + CUT_GRACE));
        if tokio::time::timeout(options.shutdown_grace, &mut ending).await.is_err() {
            door.cut_all();
            ending.await;
        }
        // Those on which agents are called are served by nobody here.
        door.cut_all();
    }
}

/// Serves the connections that are handed over, of one protocol.
fn serve(tasks: &Tasks, services: &Services, keepalive: Keepalive, protocol: Protocol) -> Queue {
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
