//! Reversed: the agent dials and serves, the controller calls.

use std::time::Duration;

use lazarette_core::role::Role;
use lazarette_node::{
    dial::{DialError, DialOptions, Dialer},
    http2::Keepalive,
    protocol::Protocol,
    server::ServerOptions,
};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
};
use tonic::Code;

use crate::{
    count::{WHO, ask, count},
    fleet::{Controller, GRACE, agent, never, operator, quick, within},
};

#[tokio::test]
async fn the_controller_calls_the_agent_over_the_connection_that_the_agent_dialled() {
    let mut controller = Controller::start().await;
    let identity = agent();
    let credentials = controller.fleet.live(identity.clone(), 365);

    let link = controller.agent(&credentials).await;

    assert_eq!(link.peer().identity(), Some(&identity));
    assert_eq!(link.peer().protocol, Protocol::Reverse);
    assert_eq!(ask(&link.channel(), WHO).await.unwrap(), "controller");
    let mut items = count(&link.channel(), 1000).await.unwrap();
    let mut last = 0;
    while let Some(item) = items.message().await.unwrap() {
        last += 1;
        assert_eq!(item, last);
    }
    assert_eq!(last, 1000);
}

#[tokio::test]
async fn calls_and_commands_of_one_agent_go_over_two_connections() {
    let mut controller = Controller::start().await;
    let identity = agent();
    let credentials = controller.fleet.live(identity.clone(), 365);
    let link = controller.agent(&credentials).await;

    let channel = controller.dialer(&credentials).calls().await.unwrap();

    assert_eq!(ask(&channel, WHO).await.unwrap(), identity.to_string());
    assert_eq!(ask(&link.channel(), WHO).await.unwrap(), "controller");
    assert_eq!(controller.connections.peers().len(), 2);
}

#[tokio::test]
async fn an_operator_cannot_offer_to_be_called() {
    let controller = Controller::start().await;
    let credentials = controller.fleet.live(operator(Role::Admin), 90);

    let error = controller.dialer(&credentials).reverse().await.unwrap_err();

    assert!(matches!(error, DialError::Closed { .. }), "{error}");
}

#[tokio::test]
async fn an_agent_that_is_told_to_stop_ends_the_connection_in_good_order() {
    let mut controller = Controller::start().await;
    let credentials = controller.fleet.live(agent(), 365);
    let dialer = controller.dialer(&credentials);
    let (reversed, link) = tokio::join!(dialer.reverse(), controller.next_link());
    let authz = controller.fleet.authz(controller.revoked.clone());
    let cancel = never();
    let serving = reversed.unwrap().serve(crate::count::calls(), authz, GRACE, cancel.clone());
    let calling = async {
        let answer = ask(&link.channel(), WHO).await;
        cancel.cancel();
        answer
    };

    let (served, answer) = within(async { tokio::join!(serving, calling) }).await;

    assert_eq!(answer.unwrap(), "controller");
    assert_eq!(served.unwrap().why(), None);
    within(link.end().over()).await;
    assert_eq!(ask(&link.channel(), WHO).await.unwrap_err().code(), Code::Unavailable);
}

#[tokio::test]
async fn a_stream_that_has_no_end_is_cut_when_the_agents_grace_is_over() {
    let mut controller = Controller::start().await;
    let credentials = controller.fleet.live(agent(), 365);
    let dialer = controller.dialer(&credentials);
    let (reversed, link) = tokio::join!(dialer.reverse(), controller.next_link());
    let authz = controller.fleet.authz(controller.revoked.clone());
    let cancel = never();
    let grace = Duration::from_millis(50);
    let serving = reversed.unwrap().serve(crate::count::calls(), authz, grace, cancel.clone());
    let calling = async {
        let mut items = count(&link.channel(), 0).await.unwrap();
        assert_eq!(items.message().await.unwrap(), Some(1));
        cancel.cancel();
        items.message().await
    };

    let (served, rest) = within(async { tokio::join!(serving, calling) }).await;

    assert!(served.is_ok());
    assert!(rest.is_err());
    within(link.end().over()).await;
}

/// A way to the controller that can go dead without a word, as when a cable is pulled.
async fn cable(
    controller: &Controller,
    cut: tokio_util::sync::CancellationToken,
) -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, to) = (listener.local_addr().unwrap(), controller.address);
    controller.tasks.spawn(tracing::Span::none(), |_| async move {
        let (mut near, _) = listener.accept().await.unwrap();
        let mut far = TcpStream::connect(to).await.unwrap();
        tokio::select! {
            _ = copy_bidirectional(&mut near, &mut far) => {}
            () = cut.cancelled() => std::future::pending().await,
        }
    });
    address
}

#[tokio::test]
async fn both_ends_notice_a_connection_that_died_without_a_word() {
    let keepalive =
        Keepalive { interval: Duration::from_millis(100), timeout: Duration::from_millis(100) };
    let mut controller = Controller::start_with(ServerOptions { keepalive, ..quick() }).await;
    let cut = never();
    let address = cable(&controller, cut.clone()).await;
    let credentials = controller.fleet.live(agent(), 365);
    let options = DialOptions { keepalive, ..DialOptions::default() };
    let dialer = Dialer::new(address.into(), credentials, options);
    let (reversed, link) = tokio::join!(dialer.reverse(), controller.next_link());
    let authz = controller.fleet.authz(controller.revoked.clone());
    let serving = reversed.unwrap().serve(crate::count::calls(), authz, GRACE, never());
    let calling = async {
        assert_eq!(ask(&link.channel(), WHO).await.unwrap(), "controller");
        cut.cancel();
        link.end().over().await;
    };

    let (served, ()) = within(async { tokio::join!(serving, calling) }).await;

    assert!(served.unwrap().is_over());
    assert!(ask(&link.channel(), WHO).await.is_err());
}
