//! Certificates: which are believed, at either end.

use std::sync::Arc;

use lazarette_core::{error::chain, id::FleetId, role::Role};
use lazarette_node::{
    credentials::Credentials,
    dial::DialError,
    identity::{Identity, Subject},
};
use rcgen::ExtendedKeyUsagePurpose;
use rustls::{ServerConfig, crypto::aws_lc_rs, version::TLS13};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::{
    count::{WHO, ask},
    fleet::{Controller, Fleet, Wish, agent, dialer, operator},
};

fn client(uris: Vec<String>) -> Wish {
    Wish { uris, usage: ExtendedKeyUsagePurpose::ClientAuth, days: 90 }
}

/// Dials with a certificate of the controller's own authority, as wished.
async fn dial_with(controller: &Controller, wish: Wish) -> Result<String, DialError> {
    // Our own code refuses to load what is no identity, so the certificate is slipped in behind it.
    let good = controller.fleet.credentials(operator(Role::Admin), 90);
    let (key, der) = controller.fleet.certify(wish);
    crate::strangers::call_with(controller, &good, &key, der).await
}

#[tokio::test]
async fn a_certificate_of_another_authority_is_refused_by_either_end() {
    let controller = Controller::start().await;
    let stranger = Fleet::new();

    let credentials = stranger.live(agent(), 90);
    let error = dialer(controller.address, &credentials).calls().await.unwrap_err();
    assert!(matches!(error, DialError::Untrusted { .. }), "{error}");
    assert!(chain(&error).contains("another fleet"), "{}", chain(&error));

    let (key, der) = stranger.certify(client(vec![stranger.uri(agent())]));
    let forged = Credentials::new(&key, vec![der], vec![controller.fleet.authority.clone()]);
    let credentials = stranger.live_with(forged.unwrap());
    let error = dialer(controller.address, &credentials).calls().await.unwrap_err();
    // We expect a controller of the fleet that our certificate names, so we notice it first.
    assert!(matches!(error, DialError::Untrusted { .. }), "{error}");

    let (key, der) = stranger.certify(client(vec![controller.fleet.uri(agent())]));
    let forged = Credentials::new(&key, vec![der], vec![controller.fleet.authority.clone()]);
    let credentials = stranger.live_with(forged.unwrap());
    let error = dialer(controller.address, &credentials).calls().await.unwrap_err();
    assert!(matches!(error, DialError::Refused { .. }), "{error}");
    assert!(controller.connections.peers().is_empty());
}

#[tokio::test]
async fn a_certificate_with_another_use_or_no_single_identity_is_refused() {
    let controller = Controller::start().await;
    let fleet = &controller.fleet;
    let (host, admin) = (fleet.uri(agent()), fleet.uri(operator(Role::Admin)));
    let elsewhere = Subject { fleet: FleetId::new(), identity: operator(Role::Admin) }.to_string();
    let server = ExtendedKeyUsagePurpose::ServerAuth;
    for wish in [
        client(vec![]),
        client(vec![host.clone(), admin.clone()]),
        client(vec!["https://example.org/admin".to_owned()]),
        client(vec![format!("{admin}/x")]),
        client(vec![elsewhere]),
        client(vec![fleet.uri(Identity::Controller)]),
        Wish { uris: vec![host], usage: server.clone(), days: 90 },
        Wish { uris: vec![admin.clone()], usage: server, days: 90 },
        Wish { uris: vec![admin.clone()], usage: ExtendedKeyUsagePurpose::ClientAuth, days: 0 },
    ] {
        let expired = wish.days == 0;
        if expired {
            fleet.clock.advance(std::time::Duration::from_mins(1));
        }
        let said = format!("{wish:?}");
        let error = dial_with(&controller, wish).await.unwrap_err();
        assert!(matches!(error, DialError::Refused { .. }), "{said}: {error}");
    }
    let good = dial_with(&controller, client(vec![admin])).await;
    assert_eq!(good.unwrap(), "operator/admin/ada");
}

/// Poses as a controller with some certificate.
async fn impostor(key: &str, chain: Vec<CertificateDer<'static>>) -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[&TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec(), b"lazarette-reverse".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    lazarette_node::tasks::Tasks::new().spawn(tracing::Span::none(), |_| async move {
        while let Ok((tcp, _)) = listener.accept().await {
            drop(acceptor.accept(tcp).await);
        }
    });
    address
}

#[tokio::test]
async fn nobody_but_the_controller_can_be_at_the_other_end() {
    let fleet = Fleet::new();
    let credentials = fleet.live(agent(), 90);
    let server = ExtendedKeyUsagePurpose::ServerAuth;
    let elsewhere = Subject { fleet: FleetId::new(), identity: Identity::Controller }.to_string();
    for (uris, usage, days) in [
        (vec![fleet.uri(agent())], ExtendedKeyUsagePurpose::ClientAuth, 90),
        (vec![fleet.uri(agent())], server.clone(), 90),
        (vec![fleet.uri(operator(Role::Admin))], server.clone(), 90),
        (vec![fleet.uri(Identity::Controller)], ExtendedKeyUsagePurpose::ClientAuth, 90),
        (vec![fleet.uri(Identity::Controller), fleet.uri(agent())], server.clone(), 90),
        (vec![elsewhere], server.clone(), 90),
        (vec![], server.clone(), 90),
    ] {
        let said = format!("{uris:?} {usage:?}");
        let (key, der) = fleet.certify(Wish { uris, usage, days });
        let address = impostor(&key, vec![der]).await;
        let error = dialer(address, &credentials).calls().await.unwrap_err();
        assert!(matches!(error, DialError::Untrusted { .. }), "{said}: {error}");
        let error = dialer(address, &credentials).reverse().await.unwrap_err();
        assert!(matches!(error, DialError::Untrusted { .. }), "{said}: {error}");
    }
}

#[tokio::test]
async fn a_controller_whose_certificate_has_expired_is_refused_with_a_hint_about_clocks() {
    let controller = Controller::start().await;
    let credentials = controller.fleet.live(agent(), 3 * 365);
    controller.fleet.clock.advance(std::time::Duration::from_hours(366 * 24));

    let error = controller.dialer(&credentials).calls().await.unwrap_err();

    assert!(matches!(error, DialError::Untrusted { .. }), "{error}");
    assert!(error.to_string().contains("the clock of this machine says 2027"), "{error}");
}

#[tokio::test]
async fn a_renewed_certificate_is_used_without_a_restart_and_without_cutting_a_stream() {
    let mut controller = Controller::start().await;
    let identity = agent();
    let credentials = controller.fleet.live(identity.clone(), 90);
    let link = controller.agent(&credentials).await;
    let mut items = crate::count::count(&link.channel(), 0).await.unwrap();
    assert_eq!(items.message().await.unwrap(), Some(1));
    let old = credentials.current().certificate().serial.clone();
    let replaced = credentials.replaced();

    credentials.replace(controller.fleet.credentials(identity, 365)).unwrap();
    let renewed = controller.fleet.credentials(Identity::Controller, 365);
    controller.credentials.replace(renewed.clone()).unwrap();

    crate::fleet::within(replaced).await;
    let second = controller.agent(&credentials).await;
    let renewed = credentials.current();
    let new = &renewed.certificate().serial;
    assert_ne!(&old, new);
    assert_eq!(second.peer().serial(), Some(new));
    assert_eq!(link.peer().serial(), Some(&old));
    assert_eq!(ask(&second.channel(), WHO).await.unwrap(), "controller");
    assert_eq!(ask(&link.channel(), WHO).await.unwrap(), "controller");
    assert!(!link.end().is_over());
    drop(items);
}

#[tokio::test]
async fn credentials_are_read_again_from_their_file() {
    let controller = Controller::start().await;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("agent.pem");
    let credentials = controller.fleet.credentials(agent(), 90);
    credentials.save(&path).unwrap();
    let live = lazarette_node::live::LiveCredentials::load(&path, controller.fleet.clock.clone());
    let live = live.unwrap();
    assert_eq!(live.current().certificate(), credentials.certificate());

    controller.fleet.credentials(agent(), 90).save(&path).unwrap();
    live.reload(&path).unwrap();
    assert_ne!(live.current().certificate(), credentials.certificate());

    std::fs::write(&path, "nonsense").unwrap();
    let before = live.current().certificate().clone();
    assert!(chain(&live.reload(&path).unwrap_err()).contains("agent.pem"));
    assert_eq!(live.current().certificate(), &before);
}

#[test]
fn credentials_that_others_can_read_are_refused_with_the_way_out() {
    use std::os::unix::fs::PermissionsExt as _;
    let fleet = Fleet::new();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("admin.pem");
    fleet.credentials(operator(Role::Admin), 90).save(&path).unwrap();
    for mode in [0o640, 0o604, 0o660] {
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        let error = Credentials::load(&path).unwrap_err().to_string();
        assert!(error.contains(&format!("chmod 600 {}", path.display())), "{error}");
    }
}

#[test]
fn a_key_that_is_not_the_certificates_is_refused() {
    let fleet = Fleet::new();
    let (key, _) = fleet.certify(client(vec![fleet.uri(agent())]));
    let (_, der) = fleet.certify(client(vec![fleet.uri(agent())]));
    let error = Credentials::new(&key, vec![der], vec![fleet.authority.clone()]).unwrap_err();
    assert!(chain(&error).starts_with("use the key with its certificate"), "{}", chain(&error));
}
