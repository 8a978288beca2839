//! Tests of how a fleet itself is looked after: credentials, the audit log, the controller.

use lazarette_ctl::view::{
    audit::{ActView, ChainView},
    controller::ControllerView,
    credential::{CredentialView, RevokedView},
};
use lazarette_proto::{controller::v1 as wire, convert::to_wire_time};

use crate::views::{at, shown};

#[test]
fn the_audit_log_shows_what_was_done_and_what_was_refused() {
    let done = wire::AuditEntry {
        sequence: 1,
        act_time: Some(to_wire_time(at(0))),
        who: "admin/ada".to_owned(),
        certificate_serial: "4f1c".to_owned(),
        what: "remove host web1".to_owned(),
        ..Default::default()
    };
    let refused = wire::AuditEntry {
        sequence: 2,
        act_time: Some(to_wire_time(at(5))),
        who: "nobody".to_owned(),
        certificate_serial: String::new(),
        what: "Enroll from 10.0.0.7: take the token: it was used\u{1b}[2J".to_owned(),
        refused_reason: "TOKEN_REFUSED".to_owned(),
        previous_hash: "ab".repeat(32),
    };
    let views: Vec<_> = [refused, done].map(|it| ActView::try_from(it).unwrap()).into();
    insta::assert_snapshot!(shown(&views));

    let end_hash = "cd".repeat(32);
    let whole = wire::VerifyAuditResponse { entry_count: 2, end_hash };
    insta::assert_snapshot!("a_whole_audit_log", shown(&ChainView::from(whole)));
    let empty = wire::VerifyAuditResponse::default();
    insta::assert_snapshot!("an_empty_audit_log", shown(&ChainView::from(empty)));
}

#[test]
fn credentials_are_listed_with_their_end_and_their_revocation() {
    let good = wire::Credential {
        serial: "4f1c".to_owned(),
        operator: "ada".to_owned(),
        role: "admin".to_owned(),
        issue_time: Some(to_wire_time(at(0))),
        expire_time: Some(to_wire_time(at(7_776_000))),
        last_seen_time: Some(to_wire_time(at(60))),
        ..Default::default()
    };
    let revoked = wire::Credential {
        serial: "5a".to_owned(),
        operator: "eve".to_owned(),
        revoke_time: Some(to_wire_time(at(90))),
        revoked_by: "admin/ada".to_owned(),
        revoke_reason: "left us".to_owned(),
        ..good.clone()
    };
    let unused = wire::Credential {
        serial: "77".to_owned(),
        revoke_time: Some(to_wire_time(at(90))),
        revoked_by: "admin/ada".to_owned(),
        ..Default::default()
    };
    let views: Vec<_> =
        [unused, good, revoked].map(|it| CredentialView::try_from(it).unwrap()).into();
    insta::assert_snapshot!(shown(&views));

    let view = RevokedView { revoked: "credential 5a".to_owned(), cut_connection_count: 2 };
    insta::assert_snapshot!("a_revocation", shown(&view));
}

#[test]
fn the_controller_shows_its_disks_and_what_to_do() {
    let disk = wire::Disk {
        holds: "store".to_owned(),
        path: "/var/lib/lazarette-controller/store".to_owned(),
        free_bytes: 99 << 20,
        total_bytes: 2000 << 20,
        is_low: true,
    };
    let controller = wire::GetControllerResponse {
        version: "0.1.0".to_owned(),
        protocol_version: 1,
        fleet_id: "fleet-02020202020202020202020202020202".to_owned(),
        address: "vault.example.org:7443".to_owned(),
        start_time: Some(to_wire_time(at(0))),
        disks: vec![disk],
        warnings: vec!["the disk of the store has 99.0 MiB left of 2.0 GiB: make room".to_owned()],
    };
    insta::assert_snapshot!(shown(&ControllerView::try_from(controller).unwrap()));
}
