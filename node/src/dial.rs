//! Dial: how agents and operators reach their controller.

use std::{
    io,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::BytesMut;
use hyper_util::rt::TokioIo;
use lazarette_core::id::FleetId;
use rustls::ClientConfig;
use rustls_pki_types::{CertificateDer, IpAddr, ServerName};
use tokio::{io::AsyncReadExt as _, net::TcpStream};
use tokio_rustls::{TlsConnector, TlsStream};
use tokio_util::sync::CancellationToken;
use tonic::{service::Routes, transport::Channel};

pub use self::error::DialError;
use crate::{
    address::Address,
    authz::Authz,
    certificate::KeyFingerprint,
    clock::Clock,
    http2::Keepalive,
    identity::Identity,
    live::LiveCredentials,
    peer::PeerInfo,
    protocol::Protocol,
    stream::{End, PeerStream},
    tls,
    token::Token,
};

mod error;

/// Enough for the settings with which every HTTP/2 server begins.
const FIRST_BYTES: usize = 4096;

/// How to dial.
#[derive(Clone, Copy, Debug)]
pub struct DialOptions {
    /// From the name to the first byte of the controller.
    pub connect_timeout: Duration,
    /// How a dead connection is noticed.
    pub keepalive: Keepalive,
}

impl Default for DialOptions {
    fn default() -> Self {
        Self { connect_timeout: Duration::from_secs(10), keepalive: Keepalive::default() }
    }
}

/// Dials one controller with the credentials in use.
#[derive(Clone, Debug)]
pub struct Dialer {
    address: Address,
    credentials: LiveCredentials,
    options: DialOptions,
}

impl Dialer {
    /// Dials nothing yet.
    pub const fn new(address: Address, credentials: LiveCredentials, options: DialOptions) -> Self {
        Self { address, credentials, options }
    }

    /// The controller's address.
    pub const fn address(&self) -> &Address {
        &self.address
    }

    /// A connection on which the agent serves and the controller calls.
    ///
    /// # Errors
    /// See [`DialError`].
    pub async fn reverse(&self) -> Result<Reversed, DialError> {
        let cut = CancellationToken::new();
        let stream = self.dial(Protocol::Reverse, cut.clone()).await?;
        Ok(Reversed { stream, cut, keepalive: self.options.keepalive })
    }

    /// A channel for calls. It dials now, so that what is wrong is known; and again when it has to.
    ///
    /// # Errors
    /// See [`DialError`].
    pub async fn calls(&self) -> Result<Channel, DialError> {
        let first = self.dial(Protocol::Calls, CancellationToken::new()).await?;
        Ok(self.channel(Some(first)))
    }

    /// The same, but dials when it is first used; the error is then in the status.
    pub fn calls_lazily(&self) -> Channel {
        self.channel(None)
    }

    fn channel(&self, first: Option<PeerStream>) -> Channel {
        let first = Arc::new(Mutex::new(first));
        let dialer = self.clone();
        let connector = tower::service_fn(move |_| {
            let (first, dialer) = (first.clone(), dialer.clone());
            async move {
                let ready = first.lock().unwrap_or_else(PoisonError::into_inner).take();
                let stream = match ready.filter(|stream| !stream.end().is_over()) {
                    Some(stream) => stream,
                    None => dialer.dial(Protocol::Calls, CancellationToken::new()).await?,
                };
                Ok::<_, DialError>(TokioIo::new(stream))
            }
        });
        let endpoint = self.options.keepalive.endpoint("http://controller");
        endpoint.connect_with_connector_lazy(connector)
    }

    async fn dial(
        &self,
        protocol: Protocol,
        cut: CancellationToken,
    ) -> Result<PeerStream, DialError> {
        let in_use = self.credentials.in_use();
        self.refuse_expired(protocol)?;
        let config = in_use.client(protocol).clone();
        let way =
            Way { address: &self.address, options: self.options, clock: self.credentials.clock() };
        way.dial(config, cut).await
    }

    /// Saves a round trip whose answer we know: only an agent's expired certificate is of use.
    fn refuse_expired(&self, protocol: Protocol) -> Result<(), DialError> {
        let credentials = self.credentials.current();
        let certificate = credentials.certificate();
        let renewable = protocol == Protocol::Calls
            && matches!(certificate.subject.identity, Identity::Agent { .. });
        if certificate.is_expired(self.credentials.clock().now()) && !renewable {
            let (identity, since) = (certificate.subject.identity.clone(), certificate.not_after);
            return Err(DialError::Expired { identity, since });
        }
        Ok(())
    }
}

/// A connection that an agent dialled to be called on it.
#[derive(Debug)]
pub struct Reversed {
    stream: PeerStream,
    cut: CancellationToken,
    keepalive: Keepalive,
}

/// Serving on a reversed connection failed before it began.
#[derive(Debug, thiserror::Error)]
#[error("serve on the connection to the controller")]
pub struct ServeError(#[source] tonic::transport::Error);

impl Reversed {
    /// The controller.
    pub const fn peer(&self) -> &PeerInfo {
        self.stream.peer()
    }

    /// Serves `routes` behind `authz` until the connection ends or `cancel` asks to end it; calls
    /// under way then have `grace` to end. Tells how it ended.
    ///
    /// # Cancel safety
    /// Dropped, it cuts the connection.
    ///
    /// # Errors
    /// HTTP/2 could not be set up.
    pub async fn serve(
        self,
        routes: Routes,
        authz: Authz,
        grace: Duration,
        cancel: CancellationToken,
    ) -> Result<End, ServeError> {
        // Also when this future is dropped: nothing is served that nobody waits for.
        let _cut_at_the_end = self.cut.drop_guard();
        let end = self.stream.end();
        let once = tokio_stream::once(Ok::<_, io::Error>(self.stream));
        let incoming = tokio_stream::StreamExt::chain(once, tokio_stream::pending());
        let stop = {
            let (end, cancel) = (end.clone(), cancel.clone());
            async move {
                tokio::select! { () = cancel.cancelled() => {} () = end.over() => {} }
            }
        };
        let router = self.keepalive.server().layer(authz).add_routes(routes);
        let serving = Box::pin(router.serve_with_incoming_shutdown(incoming, stop));
        let too_late = async {
            cancel.cancelled().await;
            tokio::time::sleep(grace).await;
        };
        tokio::select! {
            served = serving => served.map_err(ServeError)?,
            () = too_late => {}
        }
        Ok(end)
    }
}

/// A connection for enrolment, to the controller that a token names.
#[derive(Debug)]
pub struct Enrolling {
    /// For the client of the enrolment service.
    pub channel: Channel,
    /// The fleet, from the controller's certificate.
    pub fleet: FleetId,
    /// The authority that the token names: the one to trust from now on.
    pub authority: CertificateDer<'static>,
}

/// Dials the controller that `token` names, and no other.
///
/// # Errors
/// See [`DialError`].
pub async fn enroll(
    token: &Token,
    clock: &Arc<dyn Clock>,
    options: DialOptions,
) -> Result<Enrolling, DialError> {
    let way = Way { address: &token.controller, options, clock };
    let config = tls::newcomer(token.authority, clock)
        .map_err(|source| DialError::Setup { address: token.controller.clone(), source })?;
    let stream = way.dial(Arc::new(config), CancellationToken::new()).await?;
    let nobody = || DialError::NotAController { address: token.controller.clone() };
    let certificate = stream.peer().certificate.clone().ok_or_else(nobody)?;
    let authority = stream.sent_authority(token.authority).ok_or_else(nobody)?;
    let once = Mutex::new(Some(TokioIo::new(stream)));
    let address = token.controller.clone();
    let connector = tower::service_fn(move |_| {
        let stream = once.lock().ok().and_then(|mut once| once.take());
        std::future::ready(stream.ok_or_else(|| DialError::Closed { address: address.clone() }))
    });
    let channel =
        options.keepalive.endpoint("http://controller").connect_with_connector_lazy(connector);
    Ok(Enrolling { channel, fleet: certificate.subject.fleet, authority })
}

/// One way to one controller.
struct Way<'a> {
    address: &'a Address,
    options: DialOptions,
    clock: &'a Arc<dyn Clock>,
}

impl Way<'_> {
    /// Dials, greets, and waits for the first byte: only then has the controller accepted us.
    async fn dial(
        &self,
        config: Arc<ClientConfig>,
        cut: CancellationToken,
    ) -> Result<PeerStream, DialError> {
        let limit = self.options.connect_timeout;
        let mut doing = "reach it";
        let dialled = tokio::time::timeout(limit, self.connect(config, cut, &mut doing)).await;
        let late = |_elapsed| DialError::Slow { address: self.address.clone(), doing, limit };
        dialled.map_err(late)?
    }

    async fn connect(
        &self,
        config: Arc<ClientConfig>,
        cut: CancellationToken,
        doing: &mut &'static str,
    ) -> Result<PeerStream, DialError> {
        let unreachable = |source| DialError::Unreachable { address: self.address.clone(), source };
        let target = (self.address.host(), self.address.port());
        let tcp = TcpStream::connect(target).await.map_err(unreachable)?;
        tcp.set_nodelay(true).map_err(unreachable)?;
        let from = tcp.peer_addr().map_err(unreachable)?;
        *doing = "greet it in TLS";
        // The name plays no part in whom we believe; an IP address is not even sent.
        let name = ServerName::IpAddress(IpAddr::from(from.ip()));
        let failed = |error| self.explain(error);
        let mut tls = TlsConnector::from(config).connect(name, tcp).await.map_err(failed)?;
        *doing = "be let in by it";
        let mut first = BytesMut::with_capacity(FIRST_BYTES);
        if tls.read_buf(&mut first).await.map_err(failed)? == 0 {
            return Err(DialError::Closed { address: self.address.clone() });
        }
        let nobody = || DialError::NotAController { address: self.address.clone() };
        let peer = PeerInfo::read(tls.get_ref().1, from).ok().flatten().ok_or_else(nobody)?;
        Ok(PeerStream::new(TlsStream::from(tls), peer, cut, None).with_first(first.freeze()))
    }

    fn explain(&self, error: io::Error) -> DialError {
        error::explain(error, self.address, self.clock.now())
    }
}

impl PeerStream {
    /// The certificate, among those that the peer sent, that has the key of `authority`.
    fn sent_authority(&self, authority: KeyFingerprint) -> Option<CertificateDer<'static>> {
        let is_it = |der: &&CertificateDer<'_>| {
            KeyFingerprint::of_certificate(der).is_ok_and(|key| key == authority)
        };
        let sent = self.tls_state().peer_certificates()?;
        Some(sent.iter().find(is_it)?.clone().into_owned())
    }
}
