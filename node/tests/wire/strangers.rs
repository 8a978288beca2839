//! Strangers: whatever else may connect to the port, and whatever else the port may be.

use std::{sync::Arc, time::Duration};

use lazarette_core::role::Role;
use lazarette_node::{
    credentials::Credentials,
    dial::{DialError, DialOptions, Dialer},
    server::ServerOptions,
    tasks::Tasks,
};
use rustls::{
    ClientConfig, DigitallySignedStruct, Error, SignatureScheme, SupportedProtocolVersion,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::aws_lc_rs,
    version::{TLS12, TLS13},
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject as _};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::{
    count::{WHO, ask},
    fleet::{Controller, Fleet, agent, dialer, operator, quick, within},
};

/// Believes everybody.
#[derive(Debug)]
struct Gullible;

impl ServerCertVerifier for Gullible {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        aws_lc_rs::default_provider().signature_verification_algorithms.supported_schemes()
    }
}

/// What a stranger says in the handshake.
struct Stranger<'a> {
    version: &'static SupportedProtocolVersion,
    protocols: &'a [&'a str],
    certificate: Option<(&'a str, CertificateDer<'static>)>,
}

impl Stranger<'_> {
    fn config(&self) -> ClientConfig {
        let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(&[self.version])
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Gullible));
        let mut config = match &self.certificate {
            Some((key, der)) => {
                let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
                builder.with_client_auth_cert(vec![der.clone()], key).unwrap()
            }
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols =
            self.protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        config
    }

    /// Greets the controller and reads its first byte.
    async fn greet(&self, controller: &Controller) -> std::io::Result<TlsStream<TcpStream>> {
        Self::greet_with(&Arc::new(self.config()), controller).await
    }

    async fn greet_with(
        config: &Arc<ClientConfig>,
        controller: &Controller,
    ) -> std::io::Result<TlsStream<TcpStream>> {
        let tcp = TcpStream::connect(controller.address).await?;
        let name = ServerName::try_from("localhost").unwrap();
        let connector = TlsConnector::from(config.clone());
        let mut tls = within(connector.connect(name, tcp)).await?;
        match within(tls.read(&mut [0])).await? {
            0 => Err(std::io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(tls),
        }
    }
}

/// Calls with a certificate that our own code would not load.
pub(crate) async fn call_with(
    controller: &Controller,
    good: &Credentials,
    key: &str,
    der: CertificateDer<'static>,
) -> Result<String, DialError> {
    let stranger =
        Stranger { version: &TLS13, protocols: &["h2"], certificate: Some((key, der.clone())) };
    match stranger.greet(controller).await {
        Ok(_) => {
            let authorities = good.authorities().to_vec();
            let credentials = Credentials::new(key, vec![der], authorities).unwrap();
            let live = controller.fleet.live_with(credentials);
            let channel = controller.dialer(&live).calls().await?;
            Ok(ask(&channel, WHO).await.unwrap())
        }
        Err(source) => {
            let address = controller.address.into();
            Err(DialError::Refused { address, hint: "see the alert", source })
        }
    }
}

fn a_member(controller: &Controller) -> (String, CertificateDer<'static>) {
    controller.fleet.certify(crate::fleet::Wish {
        uris: vec![controller.fleet.uri(operator(Role::Admin))],
        usage: rcgen::ExtendedKeyUsagePurpose::ClientAuth,
        days: 90,
    })
}

#[tokio::test]
async fn nothing_older_than_tls_1_3_is_spoken() {
    let controller = Controller::start().await;
    let (key, der) = a_member(&controller);
    let mut stranger =
        Stranger { version: &TLS12, protocols: &["h2"], certificate: Some((&key, der)) };

    let error = stranger.greet(&controller).await.unwrap_err();
    assert!(error.to_string().contains("ProtocolVersion"), "{error}");

    stranger.version = &TLS13;
    assert!(stranger.greet(&controller).await.is_ok());
}

#[tokio::test]
async fn no_session_is_resumed_since_that_would_skip_the_check_of_the_certificate() {
    let controller = Controller::start().await;
    let (key, der) = a_member(&controller);
    let stranger = Stranger { version: &TLS13, protocols: &["h2"], certificate: Some((&key, der)) };
    let config = Arc::new(stranger.config());
    for _ in 0..2 {
        let tls = Stranger::greet_with(&config, &controller).await.unwrap();
        assert_eq!(tls.get_ref().1.handshake_kind(), Some(rustls::HandshakeKind::Full));
    }
}

#[tokio::test]
async fn without_a_certificate_nothing_but_enrolment_is_spoken() {
    let controller = Controller::start().await;
    for (protocols, welcome) in [
        (&["h2"][..], false),
        (&["lazarette-reverse"], false),
        (&["h2", "lazarette-reverse"], false),
        (&["http/1.1"], false),
        (&[], false),
        (&["lazarette-enroll"], true),
        (&["h2", "lazarette-enroll"], true),
    ] {
        let stranger = Stranger { version: &TLS13, protocols, certificate: None };
        let greeted = stranger.greet(&controller).await;
        assert_eq!(greeted.is_ok(), welcome, "{protocols:?}");
        if let Ok(tls) = greeted {
            assert_eq!(tls.get_ref().1.alpn_protocol(), Some(&b"lazarette-enroll"[..]));
        }
    }
}

#[tokio::test]
async fn a_member_that_names_no_protocol_is_turned_away() {
    let controller = Controller::start().await;
    let certificate = a_member(&controller);
    let certificate = Some((certificate.0.as_str(), certificate.1));
    let stranger = Stranger { version: &TLS13, protocols: &[], certificate };
    assert!(stranger.greet(&controller).await.is_err());
    assert!(controller.connections.peers().is_empty());
}

#[tokio::test]
async fn whoever_speaks_something_else_is_closed_and_the_port_works_on() {
    let controller = Controller::start().await;
    let noise: Vec<u8> = (0..=255).cycle().take(70_000).collect();
    for said in
        [b"GET / HTTP/1.1\r\n\r\n".as_slice(), b"SSH-2.0-x\r\n", b"\0", b"PRI * HTTP/2.0", &noise]
    {
        let mut tcp = TcpStream::connect(controller.address).await.unwrap();
        // It may be closed before everything is said.
        drop(tcp.write_all(said).await);
        drop(tcp.shutdown().await);
        let mut rest = Vec::new();
        drop(within(tcp.read_to_end(&mut rest)).await);
        assert!(rest.len() < 64, "{rest:?}");
    }
    assert!(ask(&controller.member(agent()).await.1, WHO).await.is_ok());
}

#[tokio::test]
async fn a_handshake_that_never_ends_is_closed_and_holds_nobody_up() {
    let options = ServerOptions {
        handshake_timeout: Duration::from_millis(300),
        handshakes_per_address: 3,
        ..quick()
    };
    let controller = Controller::start_with(options).await;
    let mut silent = TcpStream::connect(controller.address).await.unwrap();
    let mut half = TcpStream::connect(controller.address).await.unwrap();
    half.write_all(&[0x16, 3, 1, 1, 0, 1, 0]).await.unwrap();

    assert!(ask(&controller.member(agent()).await.1, WHO).await.is_ok());

    for stranger in [&mut silent, &mut half] {
        drop(within(stranger.read(&mut [0; 64])).await);
    }
}

#[tokio::test]
async fn one_address_has_only_so_many_handshakes_at_once() {
    let options = ServerOptions { handshakes_per_address: 1, ..quick() };
    let controller = Controller::start_with(options).await;
    let _first = TcpStream::connect(controller.address).await.unwrap();

    let mut second = TcpStream::connect(controller.address).await.unwrap();

    assert_eq!(within(second.read(&mut [0])).await.unwrap_or(0), 0);
}

#[tokio::test]
async fn t9_somebody_who_would_enrol_again_and_again_is_turned_away_and_members_are_not() {
    let controller = Controller::start().await;
    let protocols = &["lazarette-enroll"][..];
    let stranger = Stranger { version: &TLS13, protocols, certificate: None };

    let mut welcome = 0;
    while stranger.greet(&controller).await.is_ok() {
        welcome += 1;
        assert!(welcome < 200, "nobody turns it away");
    }

    assert!(welcome >= 20, "only {welcome} were let in");
    assert!(ask(&controller.member(agent()).await.1, WHO).await.is_ok());
}

/// Something that listens, answers with `answer` and then keeps quiet.
async fn something_else(answer: &'static [u8], closes: bool) -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    Tasks::new().spawn(tracing::Span::none(), move |_| async move {
        while let Ok((mut tcp, _)) = listener.accept().await {
            drop(tcp.write_all(answer).await);
            let mut read = [0; 4096];
            drop(tcp.read(&mut read).await);
            if !closes {
                std::future::pending::<()>().await;
            }
        }
    });
    address
}

#[tokio::test]
async fn a_port_that_is_no_controllers_is_named_so() {
    let fleet = Fleet::new();
    let credentials = fleet.live(agent(), 90);
    for answer in [b"HTTP/1.1 400 Bad Request\r\n\r\n".as_slice(), b"SSH-2.0-OpenSSH_9.2\r\n"] {
        let address = something_else(answer, true).await;
        let error = dialer(address, &credentials).calls().await.unwrap_err();
        assert!(matches!(error, DialError::NotAController { .. }), "{error:?}");
        assert!(error.to_string().contains(&address.to_string()), "{error}");
    }
    let address = something_else(b"", true).await;
    let error = dialer(address, &credentials).calls().await.unwrap_err();
    assert!(matches!(error, DialError::Closed { .. }), "{error:?}");
}

#[tokio::test]
async fn nobody_listening_and_nobody_answering_are_told_apart() {
    let fleet = Fleet::new();
    let credentials = fleet.live(agent(), 90);
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let error = dialer(closed, &credentials).reverse().await.unwrap_err();
    assert!(matches!(error, DialError::Unreachable { .. }) && error.is_transient(), "{error}");

    let silent = something_else(b"", false).await;
    let connect_timeout = Duration::from_millis(200);
    let options = DialOptions { connect_timeout, ..DialOptions::default() };
    let error = Dialer::new(silent.into(), credentials.clone(), options).calls().await.unwrap_err();
    assert!(error.to_string().contains("could not greet it in TLS within 200ms"), "{error}");

    let nowhere = "no-such-host.invalid:7443".parse().unwrap();
    let error = Dialer::new(nowhere, credentials, options).calls().await.unwrap_err();
    assert!(error.to_string().contains("no-such-host.invalid:7443"), "{error}");
}
