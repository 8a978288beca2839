//! Golden: every stored format of every version stays readable for ever.
//!
//! A file in `tests/golden/` is one record as it was written once, under the key
//! `golden/<name>`. To add the files of a new record or version, run the tests with
//! `LAZARETTE_GOLDEN=write`; a file that is there is never written again.

use std::fs;
use std::path::PathBuf;

use jiff::Timestamp;
use lazarette_core::component::{Component, ComponentKind};
use lazarette_core::error::{Failure, Reason};
use lazarette_core::evidence::{Evidence, Fact};
use lazarette_core::id::{FleetId, HostId, RepositoryId, RunId, SnapshotId, StackId};
use lazarette_core::manifest::SavedComponent;
use lazarette_core::run::{Outcome, Phase, Run, RunEvent, RunState, Task, Totals};
use lazarette_core::snapshot::Snapshot;
use lazarette_core::units::ByteCount;
use lazarette_node::certificate::KeyFingerprint;
use lazarette_node::token::TokenId;

use super::audit::{Act, AuditEntry, End};
use super::credentials::Credential;
use super::digest::Digest;
use super::engine::Head;
use super::fleet::Fleet;
use super::hosts::{Host, Named};
use super::record::{self, Record};
use super::repositories::Repository;
use super::revocations::Revocation;
use super::runs::Unfinished;
use super::stacks::{Addressed, Stack};
use super::tokens::Invitation;

/// Reads the record in `tests/golden/<name>-v<version>`, which must be `value`.
fn is_golden<V: Record + PartialEq + std::fmt::Debug>(name: &str, value: &V) {
    let key = format!("golden/{name}");
    let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let path = directory.join(format!("{name}-v{}", V::VERSION));
    if std::env::var("LAZARETTE_GOLDEN").is_ok_and(|asked| asked == "write") && !path.exists() {
        fs::write(&path, record::encode(key.as_bytes(), value).unwrap()).unwrap();
    }

    let bytes = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));

    assert_eq!(record::decode::<V>(key.as_bytes(), &bytes).unwrap(), *value, "{name}");
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_790_000_000 + second).unwrap()
}

const HOST: HostId = HostId::from_bytes([1; 16]);
const STACK: StackId = StackId::from_bytes([2; 16]);
const RUN: RunId = RunId::from_bytes([3; 16]);
const REPOSITORY: RepositoryId = RepositoryId::from_bytes([4; 16]);
const SNAPSHOT: SnapshotId = SnapshotId::from_bytes([5; 32]);

fn failure() -> Failure {
    Failure::new(Reason::DumpStalled, "dump `shop`: no byte came for 120 s")
}

fn totals() -> Totals {
    Totals { read: ByteCount(3), new: ByteCount(2), stored: ByteCount(1), items: 4, downtime_ms: 5 }
}

#[test]
fn hosts_stacks_repositories_and_the_fleet_are_read() {
    let key = KeyFingerprint::of_public_key(b"a key");
    let host = Host {
        id: HOST,
        name: "web".parse().unwrap(),
        key,
        enrolled: at(0),
        certificate_expires: at(1),
        last_seen: Some(at(2)),
        agent_version: Some("0.1.0".to_owned()),
        engine_version: Some("20.10.24".to_owned()),
        removed: None,
        drained: None,
    };
    let stack = Stack {
        id: STACK,
        host: HOST,
        name: "shop".parse().unwrap(),
        repository: Some(REPOSITORY),
        created: at(3),
        components: vec!["postgres/db".parse().unwrap(), "files".parse().unwrap()],
    };
    let repository =
        Repository { id: REPOSITORY, stack: STACK, format_id: "ab".repeat(32), created: at(4) };
    let fleet = Fleet { id: FleetId::from_bytes([6; 16]), created: at(5), authority: key };

    is_golden("host", &host);
    is_golden("stack", &stack);
    is_golden("repository", &repository);
    is_golden("fleet", &fleet);
}

#[test]
fn runs_in_every_state_are_read() {
    let states = [
        ("queued", RunState::Queued),
        ("running", RunState::Running { since: at(1), phase: Phase::Saving }),
        ("lost-contact", RunState::LostContact { since: at(1), phase: Phase::Saving, lost: at(2) }),
        ("held", RunState::Held { since: at(1), failure: failure() }),
        ("failed", RunState::Failed { at: at(1), failure: failure() }),
        ("cancelled", RunState::Cancelled { at: at(1) }),
        ("rolled-back", RunState::RolledBack { at: at(1), failure: failure() }),
        (
            "succeeded",
            RunState::Succeeded {
                at: at(1),
                outcome: Outcome::Saved { snapshot: SNAPSHOT, totals: totals() },
            },
        ),
    ];
    for (name, state) in states {
        let components = vec!["postgres/db".parse().unwrap()];
        let task = if matches!(state, RunState::Held { .. } | RunState::RolledBack { .. }) {
            Task::Restore { snapshot: SNAPSHOT, components }
        } else {
            Task::Backup { components }
        };
        let run = Run {
            id: RUN,
            task,
            stack: STACK,
            stack_name: "shop".parse().unwrap(),
            host: HOST,
            host_name: "web".parse().unwrap(),
            asked_by: "operator/ada".to_owned(),
            created: at(0),
            state,
            sequence: 7,
            agent_sequence: 6,
            cancel_asked: false,
        };
        is_golden(&format!("run-{name}"), &run);
    }
}

#[test]
fn events_of_every_kind_are_read() {
    let restored = Outcome::Restored { snapshot: SNAPSHOT, totals: totals(), facts_compared: 9 };
    let component = Some("postgres/db".parse().unwrap());
    let events = [
        ("started", RunEvent::Started { at: at(0) }),
        ("entered", RunEvent::Entered { at: at(0), phase: Phase::Quiescing }),
        ("noted", RunEvent::Noted { at: at(0), component, text: "a note".to_owned() }),
        ("contact-lost", RunEvent::ContactLost { at: at(0) }),
        ("contact-regained", RunEvent::ContactRegained { at: at(0) }),
        ("held", RunEvent::Held { at: at(0), failure: failure() }),
        ("resumed", RunEvent::Resumed { at: at(0) }),
        ("succeeded", RunEvent::Succeeded { at: at(0), outcome: restored }),
        ("failed", RunEvent::Failed { at: at(0), failure: failure() }),
        ("cancelled", RunEvent::Cancelled { at: at(0) }),
        ("rolled-back", RunEvent::RolledBack { at: at(0) }),
    ];
    for (name, event) in events {
        is_golden(&format!("event-{name}"), &event);
    }
}

#[test]
fn snapshots_and_their_facts_are_read() {
    let facts = [
        ("database shop/table public.orders/rows".to_owned(), Fact::Count(42)),
        ("database shop/sequence public.orders_id_seq".to_owned(), Fact::AtLeast(-1)),
        ("server version".to_owned(), Fact::Text("17.2".to_owned())),
    ];
    let kind = ComponentKind::Database {
        driver: "postgres".to_owned(),
        container: "shop-db-1".to_owned(),
        version: "17.2".to_owned(),
        notes: vec!["shop: beside".to_owned()],
    };
    let name = "postgres/db".parse().unwrap();
    let snapshot = Snapshot {
        id: SNAPSHOT,
        repository: REPOSITORY,
        stack: STACK,
        stack_name: "shop".parse().unwrap(),
        host: HOST,
        host_name: "web".parse().unwrap(),
        run: RUN,
        time: at(0),
        components: vec![SavedComponent {
            component: Component { name, kind },
            path: "postgres/db".to_owned(),
            bytes: ByteCount(7),
            evidence: Evidence(facts.into_iter().collect()),
        }],
        incomplete: vec!["volume/uploads is gone".to_owned()],
        read_bytes: ByteCount(3),
        new_bytes: ByteCount(2),
        stored_bytes: ByteCount(1),
        downtime_ms: 12,
    };

    for (number, facts) in (0..).zip(super::catalog::pages(&snapshot)) {
        assert_eq!(number, 0);
        is_golden("snapshot-facts", &facts);
    }
    is_golden("snapshot", &snapshot);
}

#[test]
fn tokens_revocations_and_audit_entries_are_read() {
    let invitation = Invitation {
        token: TokenId::from_bytes([7; 8]),
        secret_digest: "cd".repeat(32),
        host: "web".parse().unwrap(),
        invited_by: "operator/admin/ada".to_owned(),
        created: at(0),
        expires: at(3600),
        used: Some(at(60)),
    };
    let revocation = Revocation {
        at: at(0),
        by: "operator/admin/ada".to_owned(),
        why: "the host was removed".to_owned(),
    };
    let act = Act {
        at: at(0),
        who: "operator/admin/ada".to_owned(),
        certificate: "0a1b".to_owned(),
        what: "remove host web".to_owned(),
        refused: Some("ROLE_DENIED".to_owned()),
    };

    let credential = Credential {
        operator: "ada".parse().unwrap(),
        role: "restorer".to_owned(),
        issued: at(0),
        expires: at(1),
        first_seen: at(2),
        last_seen: at(3),
    };

    is_golden("token", &invitation);
    is_golden("credential", &credential);
    is_golden("revocation", &revocation);
    is_golden("audit", &AuditEntry { sequence: 2, previous: "ef".repeat(32), act });
}

#[test]
fn what_the_store_keeps_for_itself_is_read() {
    let mut digest = Digest::default();
    digest.add(b"key", b"value");
    let store = uuid::Uuid::from_bytes([9; 16]);

    is_golden("head", &Head { store, sequence: 7, digest });
    is_golden("host-name", &Named { host: HOST });
    is_golden("stack-address", &Addressed { stack: STACK });
    is_golden("run-unfinished", &Unfinished {});
    is_golden("audit-end", &End { sequence: 2, hash: "ef".repeat(32) });
}

#[test]
fn every_golden_file_is_read_by_a_test() {
    let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden");

    let files = fs::read_dir(directory).unwrap().count();

    assert_eq!(files, 4 + 8 + 11 + 2 + 4 + 5);
}
