//! Lifecycle: a controller that stops and comes back, and how much goes through a connection.

use std::time::{Duration, Instant};

use lazarette_core::role::Role;
use lazarette_node::dial::DialError;
use tonic::Code;

use crate::{
    count::{WHO, ask, count, send},
    fleet::{Controller, GRACE, agent, operator, within},
};

#[tokio::test]
async fn a_channel_finds_its_controller_again_after_a_restart() {
    let mut controller = Controller::start().await;
    let (_, channel) = controller.member(operator(Role::Viewer)).await;
    assert!(ask(&channel, WHO).await.is_ok());

    controller.restart().await;

    assert_eq!(ask(&channel, WHO).await.unwrap(), "operator/viewer/ada");
}

#[tokio::test]
async fn while_the_controller_is_away_the_status_says_what_is_wrong() {
    let controller = Controller::start().await;
    let credentials = controller.fleet.live(agent(), 90);
    let channel = controller.dialer(&credentials).calls_lazily();
    assert!(ask(&channel, WHO).await.is_ok());
    controller.tasks.clone().shutdown(GRACE).await;

    let status = loop {
        // The first may still have been on its way when the connection ended.
        let status = ask(&channel, WHO).await.unwrap_err();
        if DialError::of(&status).is_some() {
            break status;
        }
    };

    assert_eq!(status.code(), Code::Unavailable);
    let cause = DialError::of(&status).unwrap();
    assert!(matches!(cause, DialError::Unreachable { .. }), "{cause}");
}

#[tokio::test]
async fn a_shutdown_ends_though_a_stream_has_no_end() {
    let mut controller = Controller::start().await;
    let (_, channel) = controller.member(agent()).await;
    let credentials = controller.fleet.live(agent(), 90);
    let link = controller.agent(&credentials).await;
    let mut items = count(&channel, 0).await.unwrap();
    let mut commands = count(&link.channel(), 0).await.unwrap();
    assert_eq!(items.message().await.unwrap(), Some(1));
    assert_eq!(commands.message().await.unwrap(), Some(1));

    within(std::mem::take(&mut controller.tasks).shutdown(GRACE)).await;

    assert!(within(items.message()).await.is_err());
    within(link.end().over()).await;
    assert!(controller.connections.peers().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement: run with --ignored --nocapture"]
async fn how_much_goes_through_one_connection() {
    const MESSAGE_BYTES: usize = 1 << 20;
    let controller = Controller::start().await;
    let (_, channel) = controller.member(agent()).await;
    let messages = futures::stream::iter((0..1024).map(|_| vec![7; MESSAGE_BYTES]));

    let start = Instant::now();
    let bytes = send(&channel, messages).await.unwrap();
    let took: Duration = start.elapsed();

    assert_eq!(bytes, 1 << 30);
    lazarette_node::telemetry::start("info").unwrap();
    tracing::info!(?took, "1 GiB went through");
}
