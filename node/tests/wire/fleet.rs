//! Fleet: an authority, a controller at a port, and members of every kind.

use std::{
    collections::HashSet,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex},
    time::Duration,
};

use jiff::Timestamp;
use lazarette_core::{
    id::{FleetId, HostId},
    role::Role,
};
use lazarette_node::{
    address::Address,
    audit::LogAudit,
    authz::{Authz, Caller, Revoked, Rule, Table, allow},
    certificate::{Certificate, CertificateDer, KeyFingerprint, Serial},
    clock::{Clock, SettableClock},
    connections::Connections,
    credentials::Credentials,
    dial::{DialOptions, Dialer, Reversed},
    identity::{Identity, Subject},
    live::LiveCredentials,
    reverse::Link,
    server::{Server, ServerOptions, Services},
    stream::PeerStream,
    tasks::Tasks,
};
use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, SanType,
};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;

use crate::count;

pub(crate) const GRACE: Duration = Duration::from_secs(5);
/// No test waits longer for anything.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

const EVERYBODY: &[Caller] = &[
    Caller::Agent,
    Caller::Admin,
    Caller::Operator,
    Caller::Restorer,
    Caller::Viewer,
    Caller::Ci,
    Caller::Controller,
];
const RULES: &[Rule] = &[
    allow(count::WHO, EVERYBODY),
    allow(count::UP, EVERYBODY),
    allow(count::SINK, &[Caller::Agent]),
    allow(count::RENEW, &[Caller::Agent, Caller::ExpiredAgent]),
    allow(count::ENROLL, &[Caller::Anonymous]),
];
pub(crate) const TABLE: Table = Table::new(RULES);

/// Certificates that were revoked by a test.
#[derive(Debug, Default)]
pub(crate) struct DenyList(Mutex<HashSet<Serial>>);

impl DenyList {
    pub(crate) fn revoke(&self, serial: &Serial) {
        self.0.lock().unwrap().insert(serial.clone());
    }
}

impl Revoked for DenyList {
    fn is_revoked(&self, certificate: &Certificate) -> bool {
        self.0.lock().unwrap().contains(&certificate.serial)
    }
}

/// What a certificate shall say that ours would not.
#[derive(Clone, Debug)]
pub(crate) struct Wish {
    pub(crate) uris: Vec<String>,
    pub(crate) usage: ExtendedKeyUsagePurpose,
    pub(crate) days: i64,
}

/// A fleet's authority and its clock.
pub(crate) struct Fleet {
    pub(crate) id: FleetId,
    pub(crate) clock: Arc<SettableClock>,
    pub(crate) authority: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

pub(crate) fn start_of_time() -> Timestamp {
    "2026-03-01T12:00:00Z".parse().unwrap()
}

fn day(days: i64) -> impl FnOnce(&mut CertificateParams) {
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    let begin = Duration::from_secs(u64::try_from(start_of_time().as_second()).unwrap());
    let life = Duration::from_hours(24 * u64::try_from(days).unwrap());
    move |params| {
        params.not_before = epoch + begin - Duration::from_hours(24);
        params.not_after = epoch + begin + life;
    }
}

impl Fleet {
    pub(crate) fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        day(3650)(&mut params);
        let authority = params.self_signed(&key).unwrap().der().clone();
        let clock = Arc::new(SettableClock::new(start_of_time()));
        Self { id: FleetId::new(), clock, authority, issuer: Issuer::new(params, key) }
    }

    pub(crate) fn pin(&self) -> KeyFingerprint {
        KeyFingerprint::of_certificate(&self.authority).unwrap()
    }

    pub(crate) fn uri(&self, identity: Identity) -> String {
        Subject { fleet: self.id, identity }.to_string()
    }

    /// A key in PEM and a certificate as wished, whether it makes sense or not.
    pub(crate) fn certify(&self, wish: Wish) -> (String, CertificateDer<'static>) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        let names = wish.uris.into_iter().map(|uri| SanType::URI(uri.try_into().unwrap()));
        params.subject_alt_names = names.collect();
        params.extended_key_usages = vec![wish.usage];
        day(wish.days)(&mut params);
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        (key.serialize_pem(), certificate.der().clone())
    }

    pub(crate) fn credentials(&self, identity: Identity, days: i64) -> Credentials {
        let usage = match identity {
            Identity::Controller => ExtendedKeyUsagePurpose::ServerAuth,
            Identity::Agent { .. } | Identity::Operator { .. } => {
                ExtendedKeyUsagePurpose::ClientAuth
            }
        };
        let (key, der) = self.certify(Wish { uris: vec![self.uri(identity)], usage, days });
        Credentials::new(&key, vec![der], vec![self.authority.clone()]).unwrap()
    }

    pub(crate) fn live(&self, identity: Identity, days: i64) -> LiveCredentials {
        self.live_with(self.credentials(identity, days))
    }

    pub(crate) fn live_with(&self, credentials: Credentials) -> LiveCredentials {
        LiveCredentials::new(credentials, self.clock.clone()).unwrap()
    }

    pub(crate) fn authz(&self, revoked: Arc<dyn Revoked>) -> Authz {
        Authz::new(TABLE, revoked, Arc::new(LogAudit), self.clock.clone())
    }
}

pub(crate) fn agent() -> Identity {
    Identity::Agent { host: HostId::new() }
}

pub(crate) fn operator(role: Role) -> Identity {
    Identity::Operator { name: "ada".parse().unwrap(), role }
}

/// A clock that is behind: its owner believes in certificates that have expired.
pub(crate) fn clock_behind() -> Arc<dyn Clock> {
    Arc::new(SettableClock::new(start_of_time()))
}

/// A controller that runs.
pub(crate) struct Controller {
    pub(crate) fleet: Fleet,
    pub(crate) address: SocketAddr,
    pub(crate) credentials: LiveCredentials,
    pub(crate) connections: Connections,
    pub(crate) revoked: Arc<DenyList>,
    pub(crate) links: mpsc::UnboundedReceiver<PeerStream>,
    pub(crate) tasks: Tasks,
    sender: mpsc::UnboundedSender<PeerStream>,
    options: ServerOptions,
}

pub(crate) fn quick() -> ServerOptions {
    ServerOptions { shutdown_grace: Duration::from_millis(100), ..ServerOptions::default() }
}

impl Controller {
    pub(crate) async fn start() -> Self {
        Self::start_with(quick()).await
    }

    pub(crate) async fn start_with(options: ServerOptions) -> Self {
        let fleet = Fleet::new();
        let (sender, links) = mpsc::unbounded_channel();
        let credentials = fleet.live(Identity::Controller, 365);
        let mut controller = Self {
            fleet,
            address: (Ipv4Addr::LOCALHOST, 0).into(),
            credentials,
            connections: Connections::new(),
            revoked: Arc::default(),
            links,
            tasks: Tasks::new(),
            sender,
            options,
        };
        controller.serve().await;
        controller
    }

    async fn serve(&mut self) {
        let sender = self.sender.clone();
        let services = Services {
            calls: count::calls(),
            enrollment: count::enrollment(),
            authz: self.fleet.authz(self.revoked.clone()),
            on_reversed: Arc::new(move |stream| sender.send(stream).unwrap()),
            connections: self.connections.clone(),
        };
        let (credentials, options) = (self.credentials.clone(), self.options);
        let server = Server::bind(self.address, credentials, services, options).await.unwrap();
        self.address = server.address();
        self.tasks.spawn(tracing::Span::none(), |cancel| server.run(cancel));
    }

    /// Stops, and serves again at the same port.
    pub(crate) async fn restart(&mut self) {
        std::mem::take(&mut self.tasks).shutdown(GRACE).await;
        self.serve().await;
    }

    pub(crate) fn dialer(&self, credentials: &LiveCredentials) -> Dialer {
        dialer(self.address, credentials)
    }

    /// A member of the fleet who has called.
    pub(crate) async fn member(&self, identity: Identity) -> (LiveCredentials, Channel) {
        let credentials = self.fleet.live(identity, 90);
        let channel = self.dialer(&credentials).calls().await.unwrap();
        (credentials, channel)
    }

    /// The controller's end of the next reversed connection.
    pub(crate) async fn next_link(&mut self) -> Link {
        let stream = within(self.links.recv()).await.unwrap();
        Link::open(stream, self.options.keepalive).await.unwrap()
    }

    /// An agent that serves on the connection it dialled, and the link to it.
    pub(crate) async fn agent(&mut self, credentials: &LiveCredentials) -> Link {
        let dialer = self.dialer(credentials);
        let (reversed, link) = tokio::join!(dialer.reverse(), self.next_link());
        self.serve_agent(reversed.unwrap());
        link
    }

    pub(crate) fn serve_agent(&self, reversed: Reversed) {
        let authz = self.fleet.authz(Arc::<DenyList>::default());
        self.tasks.spawn(tracing::Span::none(), |cancel| async move {
            drop(reversed.serve(count::calls(), authz, GRACE, cancel).await);
        });
    }
}

pub(crate) fn dialer(address: SocketAddr, credentials: &LiveCredentials) -> Dialer {
    Dialer::new(Address::from(address), credentials.clone(), DialOptions::default())
}

/// What `future` gives, if it gives it in time.
pub(crate) async fn within<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(PATIENCE, future).await.expect("this takes too long")
}

/// Only cancelled by dropping.
pub(crate) fn never() -> CancellationToken {
    CancellationToken::new()
}
