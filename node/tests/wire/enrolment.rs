//! Enrolment: with a token and no certificate.

use std::sync::Arc;

use lazarette_core::error::Reason;
use lazarette_node::{
    clock::Clock,
    dial::{self, DialError, DialOptions},
    token::{Token, TokenId, TokenSecret},
};
use tonic::Code;
use tonic_types::StatusExt as _;

use crate::{
    count::{ENROLL, RENEW, WHO, ask},
    fleet::{Controller, Fleet},
};

fn token(controller: &Controller, fleet: &Fleet) -> Token {
    Token {
        id: TokenId::from_bytes([1; 8]),
        secret: TokenSecret::from_bytes([2; 32]),
        authority: fleet.pin(),
        controller: controller.address.into(),
    }
}

#[tokio::test]
async fn a_token_leads_to_its_controller_and_to_the_authority_to_trust() {
    let controller = Controller::start().await;
    let clock: Arc<dyn Clock> = controller.fleet.clock.clone();
    let token = token(&controller, &controller.fleet);

    let enrolling = dial::enroll(&token, &clock, DialOptions::default()).await.unwrap();

    assert_eq!(enrolling.authority, controller.fleet.authority);
    assert_eq!(enrolling.fleet, controller.fleet.id);
    assert_eq!(ask(&enrolling.channel, ENROLL).await.unwrap(), "nobody");
}

#[tokio::test]
async fn nothing_else_can_be_called_with_a_token() {
    let controller = Controller::start().await;
    let clock: Arc<dyn Clock> = controller.fleet.clock.clone();
    let token = token(&controller, &controller.fleet);
    let enrolling = dial::enroll(&token, &clock, DialOptions::default()).await.unwrap();
    for method in [WHO, RENEW] {
        let refused = ask(&enrolling.channel, method).await.unwrap_err();
        assert_eq!(refused.code(), Code::Unauthenticated);
        let info = refused.get_details_error_info().unwrap();
        assert_eq!(info.reason, Reason::Unauthenticated.as_str());
    }
}

#[tokio::test]
async fn a_token_of_another_controller_leads_nowhere() {
    let controller = Controller::start().await;
    let clock: Arc<dyn Clock> = controller.fleet.clock.clone();
    let token = token(&controller, &Fleet::new());

    let error = dial::enroll(&token, &clock, DialOptions::default()).await.unwrap_err();

    assert!(matches!(error, DialError::Untrusted { .. }), "{error}");
    assert!(controller.connections.peers().is_empty());
}
