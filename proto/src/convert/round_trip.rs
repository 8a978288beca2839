//! Round trips: what goes out comes in again as it was, for every kind of everything.

use jiff::Timestamp;
use lazarette_core::{
    component::{Component, ComponentKind},
    error::{Failure, Reason},
    evidence::{Evidence, Fact},
    id::{HostId, RepositoryId, RunId, SnapshotId, StackId},
    manifest::SavedComponent,
    plan::{BackupPlan, RestorePlan},
    run::{Outcome, Phase, Progress, Run, RunEvent, RunState, Task, Totals},
    snapshot::Snapshot,
    stack::{ContainerSeen, ContainerState, Origin, Part, StackSeen, Uncovered},
    units::ByteCount,
};

use super::ConvertError;
use crate::common::v1 as wire;

const AT: Timestamp = Timestamp::UNIX_EPOCH;

fn returns<D, W>(it: &D)
where
    D: Clone + PartialEq + std::fmt::Debug + TryFrom<W, Error = ConvertError>,
    W: From<D>,
{
    assert_eq!(D::try_from(W::from(it.clone())).as_ref(), Ok(it));
}

fn texts(items: &[&str]) -> Vec<String> {
    items.iter().map(|it| (*it).to_owned()).collect()
}

fn components() -> Vec<Component> {
    let kinds = [
        ComponentKind::Database {
            driver: "postgres".to_owned(),
            container: "shop-db-1".to_owned(),
            version: "17.1".to_owned(),
            notes: texts(&["shop: beside"]),
        },
        ComponentKind::Volume { volume: "shop_data".to_owned(), mounted_by: texts(&["app"]) },
        ComponentKind::Bind { path: "/srv/shop/media".to_owned(), mounted_by: texts(&["app"]) },
        ComponentKind::Files { root: "/srv/shop".to_owned(), paths: texts(&[".env"]) },
        ComponentKind::Definition,
    ];
    let named = |kind: ComponentKind| Component {
        name: format!("{}/x", kind.word()).parse().unwrap(),
        kind,
    };
    kinds.into_iter().map(named).collect()
}

fn saved() -> Vec<SavedComponent> {
    let evidence = Evidence(
        [
            ("a".to_owned(), Fact::Text("x".to_owned())),
            ("b".to_owned(), Fact::Count(u64::MAX)),
            ("c".to_owned(), Fact::AtLeast(-1)),
        ]
        .into(),
    );
    let saved = |component: Component| SavedComponent {
        path: component.name.to_string(),
        component,
        bytes: ByteCount(7),
        evidence: evidence.clone(),
    };
    components().into_iter().map(saved).collect()
}

fn uncovered() -> Vec<Uncovered> {
    vec![Uncovered { what: "x".to_owned(), why: "y".to_owned(), size: Some(ByteCount(1)) }]
}

fn failure() -> Failure {
    Failure::new(Reason::DiskFull, "no space at `/srv`")
}

fn outcomes() -> [Outcome; 2] {
    let snapshot = SnapshotId::from_bytes([3; 32]);
    let totals = Totals {
        read: ByteCount(5),
        new: ByteCount(4),
        stored: ByteCount(3),
        items: 2,
        downtime_ms: 1,
    };
    [Outcome::Saved { snapshot, totals }, Outcome::Restored { snapshot, totals, facts_compared: 9 }]
}

#[test]
fn stacks_of_every_kind() {
    let container = |state, part| ContainerSeen {
        id: "ab".to_owned(),
        name: "shop-app-1".to_owned(),
        service: "app".to_owned(),
        image: "app:1".to_owned(),
        state,
        needs: texts(&["shop-db-1"]),
        part,
        has_health_check: true,
        stop_timeout_seconds: 30,
    };
    let origins = [
        Origin::Container,
        Origin::Compose { working_dir: Some("/srv".to_owned()), config_files: texts(&["a"]) },
        Origin::Compose { working_dir: None, config_files: vec![] },
    ];
    for origin in origins {
        returns::<StackSeen, wire::StackSeen>(&StackSeen {
            name: "shop".parse().unwrap(),
            origin,
            containers: vec![
                container(ContainerState::Running, Part::Database),
                container(ContainerState::Paused, Part::Application),
                container(ContainerState::Restarting, Part::OneShot),
                container(ContainerState::Stopped, Part::OneShot),
            ],
            components: components(),
            uncovered: uncovered(),
            refusals: texts(&["r"]),
            warnings: texts(&["w"]),
            labels: [("tier".to_owned(), "gold".to_owned())].into(),
        });
    }
}

#[test]
fn plans() {
    returns::<BackupPlan, wire::BackupPlan>(&BackupPlan {
        stack: "shop".parse().unwrap(),
        stop: vec![texts(&["web"]), texts(&["api", "worker"])],
        components: components(),
        uncovered: uncovered(),
        warnings: texts(&["w"]),
        hold_budget_seconds: 60,
    });
    returns::<RestorePlan, wire::RestorePlan>(&RestorePlan {
        stack: "shop".parse().unwrap(),
        snapshot: SnapshotId::from_bytes([1; 32]),
        stop: vec![texts(&["web"])],
        components: saved(),
        left_out: uncovered(),
        warnings: texts(&["w"]),
    });
}

#[test]
fn events_of_every_kind() {
    let phases = [
        Phase::Preparing,
        Phase::Quiescing,
        Phase::Saving,
        Phase::Restoring,
        Phase::Verifying,
        Phase::Swapping,
        Phase::RollingBack,
        Phase::Thawing,
        Phase::Committing,
    ];
    let entered = phases.map(|phase| RunEvent::Entered { at: AT, phase });
    let component = Some("postgres/db".parse().unwrap());
    let others = [
        RunEvent::Started { at: AT },
        RunEvent::Noted { at: AT, component, text: "t".to_owned() },
        RunEvent::Noted { at: AT, component: None, text: String::new() },
        RunEvent::ContactLost { at: AT },
        RunEvent::ContactRegained { at: AT },
        RunEvent::Held { at: AT, failure: failure() },
        RunEvent::Resumed { at: AT },
        RunEvent::Failed { at: AT, failure: failure() },
        RunEvent::Cancelled { at: AT },
        RunEvent::RolledBack { at: AT },
    ];
    let succeeded = outcomes().map(|outcome| RunEvent::Succeeded { at: AT, outcome });
    for event in entered.into_iter().chain(others).chain(succeeded) {
        returns::<RunEvent, wire::RunEvent>(&event);
    }
    returns::<Progress, wire::Progress>(&Progress {
        component: None,
        done: ByteCount(1),
        total: Some(ByteCount(2)),
    });
}

#[test]
fn runs_in_every_state() {
    let [saved, restored] = outcomes();
    let states = [
        RunState::Queued,
        RunState::Running { since: AT, phase: Phase::Saving },
        RunState::LostContact { since: AT, phase: Phase::Thawing, lost: AT },
        RunState::Held { since: AT, failure: failure() },
        RunState::Succeeded { at: AT, outcome: saved },
        RunState::Succeeded { at: AT, outcome: restored },
        RunState::Failed { at: AT, failure: failure() },
        RunState::Cancelled { at: AT },
        RunState::RolledBack { at: AT, failure: failure() },
    ];
    let components = vec!["files".parse().unwrap()];
    let snapshot = SnapshotId::from_bytes([1; 32]);
    for state in states {
        for task in [
            Task::Backup { components: components.clone() },
            Task::Restore { snapshot, components: components.clone() },
        ] {
            returns::<Run, wire::Run>(&Run {
                id: RunId::new(),
                task,
                stack: StackId::new(),
                stack_name: "shop".parse().unwrap(),
                host: HostId::new(),
                host_name: "host1".parse().unwrap(),
                asked_by: "admin/eve".to_owned(),
                created: AT,
                state: state.clone(),
                sequence: 4,
                agent_sequence: 2,
                cancel_asked: true,
            });
        }
    }
}

#[test]
fn snapshots() {
    returns::<Snapshot, wire::Snapshot>(&Snapshot {
        id: SnapshotId::from_bytes([1; 32]),
        repository: RepositoryId::new(),
        stack: StackId::new(),
        stack_name: "shop".parse().unwrap(),
        host: HostId::new(),
        host_name: "host1".parse().unwrap(),
        run: RunId::new(),
        time: AT,
        components: saved(),
        incomplete: texts(&["`postgres/db` is missing"]),
        read_bytes: ByteCount(3),
        new_bytes: ByteCount(2),
        stored_bytes: ByteCount(1),
        downtime_ms: 4,
    });
}

#[test]
fn what_is_missing_or_of_no_known_kind_is_refused() {
    assert!(Component::try_from(wire::Component { name: "x".to_owned(), kind: None }).is_err());
    assert!(RunState::try_from(wire::RunState { state: None }).is_err());
    let entered = wire::run_event::Event::Entered(wire::Entered { phase: 99 });
    let event = wire::RunEvent { event_time: Some(super::to_wire_time(AT)), event: Some(entered) };
    assert!(RunEvent::try_from(event).unwrap_err().to_string().contains("event.phase"));
}
