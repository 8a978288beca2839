//! Authorisation: who may call what, and for how long.

use std::time::Duration;

use lazarette_core::{error::Reason, role::Role};
use lazarette_node::{
    authz::{Caller, ERROR_DOMAIN},
    dial::{DialError, DialOptions, Dialer},
    identity::Identity,
    live::LiveCredentials,
    server::ServerOptions,
};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::{
    count::{ENROLL, RENEW, SECRET, UP, WHO, ask, count},
    fleet::{Controller, TABLE, agent, clock_behind, operator, quick, within},
};

const YEAR: Duration = Duration::from_hours(366 * 24);

fn reason(status: &Status) -> String {
    let info = status.get_details_error_info().expect("the refusal has no reason");
    assert_eq!(info.domain, ERROR_DOMAIN);
    info.reason
}

#[tokio::test]
async fn every_member_is_whom_its_certificate_says() {
    let controller = Controller::start().await;
    let operators = Role::ALL.map(operator);
    for identity in operators.into_iter().chain([agent()]) {
        let (_, channel) = controller.member(identity.clone()).await;
        assert_eq!(ask(&channel, WHO).await.unwrap(), identity.to_string());
    }
}

#[tokio::test]
async fn what_is_not_in_the_table_may_be_called_by_nobody() {
    let controller = Controller::start().await;
    let (_, channel) = controller.member(operator(Role::Admin)).await;
    for method in [SECRET, RENEW, ENROLL] {
        let refused = ask(&channel, method).await.unwrap_err();
        assert_eq!(refused.code(), Code::PermissionDenied, "{method}");
        assert_eq!(reason(&refused), Reason::RoleDenied.as_str());
    }
    for caller in Caller::ALL {
        assert!(!TABLE.allows(SECRET, caller));
    }
}

/// A member whose certificate has expired, and who does not know it.
fn expired(controller: &Controller, identity: Identity) -> Dialer {
    let credentials = controller.fleet.credentials(identity, 90);
    controller.fleet.clock.advance(YEAR);
    // The controller has a new certificate in the meantime.
    let renewed = controller.fleet.credentials(Identity::Controller, 3 * 365);
    controller.credentials.replace(renewed).unwrap();
    let credentials = LiveCredentials::new(credentials, clock_behind()).unwrap();
    Dialer::new(controller.address.into(), credentials, DialOptions::default())
}

#[tokio::test]
async fn an_expired_agent_may_renew_and_nothing_else() {
    let controller = Controller::start().await;
    let identity = agent();
    let dialer = expired(&controller, identity.clone());

    let channel = dialer.calls().await.unwrap();

    assert_eq!(ask(&channel, RENEW).await.unwrap(), identity.to_string());
    let refused = ask(&channel, WHO).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);
    assert_eq!(reason(&refused), Reason::CertificateExpired.as_str());
    let error = dialer.reverse().await.unwrap_err();
    assert!(matches!(error, DialError::Closed { .. }), "{error}");
}

#[tokio::test]
async fn an_expired_and_revoked_agent_may_not_even_renew() {
    let controller = Controller::start().await;
    let dialer = expired(&controller, agent());
    let channel = dialer.calls().await.unwrap();
    let peer = controller.connections.peers().remove(0);
    controller.revoked.revoke(peer.serial().unwrap());

    let refused = ask(&channel, RENEW).await.unwrap_err();

    assert_eq!(reason(&refused), Reason::Revoked.as_str());
}

#[tokio::test]
async fn an_expired_operator_is_refused_in_the_handshake() {
    let controller = Controller::start().await;
    let dialer = expired(&controller, operator(Role::Admin));

    let error = dialer.calls().await.unwrap_err();

    assert!(matches!(error, DialError::Refused { .. }), "{error}");
    assert!(error.to_string().contains("compare the clocks"), "{error}");
}

#[tokio::test]
async fn an_operator_who_knows_the_time_does_not_even_dial_with_an_expired_certificate() {
    let controller = Controller::start().await;
    let credentials = controller.fleet.live(operator(Role::Viewer), 90);
    controller.fleet.clock.advance(YEAR);

    let error = controller.dialer(&credentials).calls().await.unwrap_err();

    assert!(matches!(error, DialError::Expired { .. }), "{error}");
    assert!(error.to_string().contains("operator/viewer/ada"), "{error}");
}

#[tokio::test]
async fn a_certificate_that_expires_while_connected_is_of_no_use_from_then_on() {
    let controller = Controller::start().await;
    let (_, operator) = controller.member(operator(Role::Admin)).await;
    let (_, agent) = controller.member(agent()).await;
    assert!(ask(&operator, WHO).await.is_ok() && ask(&agent, WHO).await.is_ok());

    controller.fleet.clock.advance(YEAR);

    for channel in [&operator, &agent] {
        let refused = ask(channel, WHO).await.unwrap_err();
        assert_eq!(reason(&refused), Reason::CertificateExpired.as_str());
    }
    assert!(ask(&agent, RENEW).await.is_ok());
}

#[tokio::test]
async fn a_revoked_agent_loses_its_open_streams_at_once() {
    let mut controller = Controller::start().await;
    let identity = agent();
    let credentials = controller.fleet.live(identity.clone(), 365);
    let link = controller.agent(&credentials).await;
    let channel = controller.dialer(&credentials).calls().await.unwrap();
    let (_, bystander) = controller.member(agent()).await;
    let mut items = count(&channel, 0).await.unwrap();
    let mut commands = count(&link.channel(), 0).await.unwrap();
    let mut others = count(&bystander, 0).await.unwrap();
    for stream in [&mut items, &mut commands, &mut others] {
        assert_eq!(stream.message().await.unwrap(), Some(1));
    }

    let serial = credentials.current().certificate().serial.clone();
    controller.revoked.revoke(&serial);
    let Identity::Agent { host } = identity else { unreachable!() };
    assert_eq!(controller.connections.cut_host(host), 2);

    assert!(within(items.message()).await.is_err());
    assert!(within(commands.message()).await.is_err());
    within(link.end().over()).await;
    assert!(ask(&bystander, WHO).await.is_ok());
    drop(others);

    let refused = ask(&channel, WHO).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);
    assert_eq!(reason(&refused), Reason::Revoked.as_str());
    let error = controller.dialer(&credentials).reverse().await.unwrap_err();
    assert!(matches!(error, DialError::Closed { .. }), "{error}");
}

#[tokio::test]
async fn a_revocation_that_cut_nothing_is_made_good_by_the_sweep() {
    let options = ServerOptions { sweep_period: Duration::from_millis(20), ..quick() };
    let controller = Controller::start_with(options).await;
    let (credentials, channel) = controller.member(operator(Role::Operator)).await;
    let mut items = count(&channel, 0).await.unwrap();
    assert_eq!(items.message().await.unwrap(), Some(1));

    controller.revoked.revoke(&credentials.current().certificate().serial);

    assert!(within(items.message()).await.is_err());
}

#[tokio::test]
async fn the_sweep_cuts_a_reversed_connection_whose_certificate_has_expired() {
    let options = ServerOptions { sweep_period: Duration::from_millis(20), ..quick() };
    let mut controller = Controller::start_with(options).await;
    let credentials = controller.fleet.live(agent(), 365);
    let link = controller.agent(&credentials).await;

    controller.fleet.clock.advance(YEAR);

    within(link.end().over()).await;
}

#[tokio::test]
async fn one_certificate_has_only_so_many_connections() {
    let options = ServerOptions { connections_per_agent: 2, ..quick() };
    let controller = Controller::start_with(options).await;
    let credentials = controller.fleet.live(agent(), 365);
    let dialer = controller.dialer(&credentials);
    let _held = (dialer.calls().await.unwrap(), dialer.calls().await.unwrap());

    let error = dialer.calls().await.unwrap_err();

    assert!(matches!(error, DialError::Closed { .. }), "{error}");
    let (_, other) = controller.member(agent()).await;
    assert!(ask(&other, WHO).await.is_ok());
}

#[test]
fn the_table_of_these_tests_has_every_method_once() {
    let mut methods: Vec<_> = TABLE.rules().iter().map(|rule| rule.method).collect();
    methods.sort_unstable();
    methods.dedup();
    assert_eq!(methods.len(), TABLE.rules().len());
    assert!(TABLE.allows(UP, Caller::Ci) && !TABLE.allows(RENEW, Caller::Controller));
}
