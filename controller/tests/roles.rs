//! Roles: every method of every service, called over real TLS by everybody there is.
#![expect(clippy::unwrap_used, reason = "the helpers of tests, which no function marks as such")]

use std::{net::SocketAddr, sync::Arc, time::Duration};

use jiff::{SignedDuration, Timestamp};
use lazarette_controller::{access, app::App, config::Config, init, pki::Authority};
use lazarette_core::{
    error::Reason,
    id::{FleetId, HostId},
    role::Role,
};
use lazarette_node::{
    address::Address,
    authz::Caller,
    clock::{Clock, SystemClock},
    credentials::Credentials,
    dial::{DialOptions, Dialer},
    key_request::KeyRequest,
    live::LiveCredentials,
    status,
};
use lazarette_proto::controller::v1::{RemoveHostRequest, host_service_client::HostServiceClient};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Status, client::Grpc, transport::Channel};
use tonic_prost::ProstCodec;

/// A controller that runs in this process.
struct Running {
    _dir: tempfile::TempDir,
    address: Address,
    authority: Authority,
    clock: Arc<dyn Clock>,
    stop: CancellationToken,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Running {
    async fn up() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new().unwrap());
        let listen: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let claimed: Address = "127.0.0.1:7443".parse().unwrap();
        let made = init::init(dir.path(), &claimed, listen, &*clock).await.unwrap();
        let config = Config::load(&made.config).unwrap();
        let app = App::build(&config).await.unwrap();
        let address = Address::from(app.address());
        let stop = CancellationToken::new();
        let own = stop.clone();
        lazarette_node::tasks::Tasks::new().spawn(tracing::Span::none(), |_| async move {
            app.run(own).await;
        });
        let authority = Authority::load(dir.path()).unwrap();
        Self { _dir: dir, address, authority, clock, stop }
    }

    fn agent(&self, host: HostId, at: Timestamp) -> Credentials {
        agent_of(&self.authority, host, at)
    }

    fn operator(&self, role: Role, at: Timestamp) -> Credentials {
        self.authority.issue_operator("eve".parse().unwrap(), role, at).unwrap()
    }

    async fn dial(&self, credentials: Credentials) -> Result<Channel, String> {
        let live = LiveCredentials::new(credentials, Arc::clone(&self.clock)).unwrap();
        let dialer = Dialer::new(self.address.clone(), live, DialOptions::default());
        dialer.calls().await.map_err(|error| lazarette_core::error::chain(&error))
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }
}

fn agent_of(authority: &Authority, host: HostId, at: Timestamp) -> Credentials {
    let key = KeyRequest::generate().unwrap();
    let issued = authority.certify_agent(key.request_der(), host, at).unwrap();
    Credentials::new(key.key_pem(), vec![issued.der], vec![authority.certificate().clone()])
        .unwrap()
}

/// Calls `method` with an empty message.
async fn call(channel: &Channel, method: &'static str) -> Result<(), Status> {
    let mut grpc = Grpc::new(channel.clone());
    grpc.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
    let mut request = Request::new(());
    request.set_timeout(Duration::from_secs(10));
    let codec: ProstCodec<(), ()> = ProstCodec::default();
    grpc.unary(request, http::uri::PathAndQuery::from_static(method), codec).await.map(drop)
}

/// Whether the layer turned the call away, as opposed to the service behind it.
fn turned_away(answer: &Result<(), Status>) -> bool {
    let reason = answer.as_ref().err().and_then(status::reason);
    // The certificate service itself knows no host that never enrolled.
    let by_service = answer.as_ref().is_err_and(|it| it.message().contains("invite it anew"));
    !by_service
        && matches!(
            reason,
            Some(
                Reason::RoleDenied
                    | Reason::Unauthenticated
                    | Reason::CertificateExpired
                    | Reason::Revoked
            )
        )
}

#[tokio::test(flavor = "multi_thread")]
async fn every_method_lets_in_whom_its_rule_names_and_nobody_else() {
    let controller = Running::up().await;
    let now = controller.now();
    let year = SignedDuration::from_hours(2 * 365 * 24);
    let host = HostId::new();
    let callers = [
        (Caller::Admin, controller.operator(Role::Admin, now)),
        (Caller::Operator, controller.operator(Role::Operator, now)),
        (Caller::Restorer, controller.operator(Role::Restorer, now)),
        (Caller::Viewer, controller.operator(Role::Viewer, now)),
        (Caller::Ci, controller.operator(Role::Ci, now)),
        (Caller::Agent, controller.agent(host, now)),
        (Caller::ExpiredAgent, controller.agent(host, now - year)),
    ];
    for (caller, credentials) in callers {
        let channel = controller.dial(credentials).await.unwrap();
        for rule in access::TABLE.rules() {
            let enrolment = rule.method.contains("EnrollmentService");
            let answer = call(&channel, rule.method).await;
            let may = access::TABLE.allows(rule.method, caller) && !enrolment;
            // What is not served on this protocol is refused as unknown, or by the layer.
            if enrolment {
                assert!(answer.is_err(), "{caller:?} {}", rule.method);
            } else {
                assert_eq!(!turned_away(&answer), may, "{caller:?} {} {answer:?}", rule.method);
            }
        }
        let unknown = call(&channel, "/lazarette.controller.v1.HostService/DropEverything").await;
        assert!(turned_away(&unknown), "{caller:?} {unknown:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_and_an_expired_operator_do_not_even_connect() {
    let controller = Running::up().await;
    let now = controller.now();
    let elsewhere = tempfile::tempdir().unwrap();
    let foreign = Authority::create(elsewhere.path(), FleetId::new(), now).unwrap();
    let half = SignedDuration::from_hours(200 * 24);

    let stranger = agent_of(&foreign, HostId::new(), now);
    let expired = controller.operator(Role::Admin, now - half);

    assert!(controller.dial(stranger).await.is_err());
    assert!(controller.dial(expired).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_host_is_refused_at_once_on_the_connection_it_has() {
    let controller = Running::up().await;
    let now = controller.now();
    let admin = controller.dial(controller.operator(Role::Admin, now)).await.unwrap();
    let host = enrolled(&controller, &admin, "host1").await;
    let agent = controller.dial(controller.agent(host, now)).await.unwrap();
    let method = "/lazarette.storage.v1.StorageService/KnownBlobs";
    assert!(!turned_away(&call(&agent, method).await), "before it is removed");

    let request = RemoveHostRequest { host: "host1".to_owned() };
    HostServiceClient::new(admin).remove_host(request).await.unwrap();

    let answer = call(&agent, method).await.unwrap_err();
    let reason = status::reason(&answer);
    assert!(reason.is_none_or(|it| it == Reason::Revoked), "cut, or refused: {answer:?}");
}

/// Enrols a host as its agent would.
async fn enrolled(controller: &Running, admin: &Channel, name: &str) -> HostId {
    use lazarette_proto::{
        PROTOCOL_VERSION,
        controller::v1::InviteHostRequest,
        enrollment::v1::{EnrollRequest, enrollment_service_client::EnrollmentServiceClient},
    };
    let request = InviteHostRequest { host: name.to_owned(), valid_period: None };
    let invited = HostServiceClient::new(admin.clone()).invite_host(request).await.unwrap();
    let mut token: lazarette_node::token::Token = invited.into_inner().token.parse().unwrap();
    token.controller = controller.address.clone();
    let way = lazarette_node::dial::enroll(&token, &controller.clock, DialOptions::default());
    let way = way.await.unwrap();
    let key = KeyRequest::generate().unwrap();
    let secret = {
        use base64::Engine as _;
        let text = token.secret.reveal();
        base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(text.as_str()).unwrap()
    };
    let request = EnrollRequest {
        token_id: token.id.to_string(),
        token_secret: secret,
        certificate_request: key.request_der().to_vec(),
        agent_version: "test".to_owned(),
        protocol_version: PROTOCOL_VERSION,
    };
    let mut enrollment = EnrollmentServiceClient::new(way.channel);
    let answer = enrollment.enroll(request.clone()).await.unwrap().into_inner();
    let again = enrollment.enroll(request).await.unwrap_err();
    assert_eq!(status::reason(&again), Some(Reason::TokenRefused), "a token works once");
    answer.host_id.parse().unwrap()
}
