//! Tests of views: the table and the JSON of each, from fixed messages. JSON fields are never renamed.

use jiff::Timestamp;
use lazarette_core::{
    component::{Component, ComponentKind},
    error::{Failure, Reason},
    evidence::{Evidence, Fact},
    id::{HostId, RepositoryId, RunId, SnapshotId, StackId},
    manifest::SavedComponent,
    plan::{BackupPlan, RestorePlan},
    run::{Outcome, Phase, Run, RunEvent, RunState, Task, Totals},
    snapshot::Snapshot,
    stack::{ContainerSeen, ContainerState, Origin, Part, StackSeen, Uncovered},
    units::ByteCount,
};
use lazarette_proto::{controller::v1 as wire, convert::to_wire_time};

use lazarette_ctl::view::{
    host::{HostView, HostsView, InviteView},
    plan::{BackupPlanView, RestorePlanView},
    repository::{CatalogView, CheckView, RepositoryView},
    run::RunView,
    snapshot::{FileView, SnapshotView},
    stack::{StackView, StacksView},
};
use lazarette_ctl::{escape, output::View};

/// As it is printed, both ways.
pub(crate) fn shown<V: View>(view: &V) -> String {
    let json = serde_json::to_string_pretty(view).unwrap();
    format!("{}\n---\n{json}", escape::lines(&view.table()))
}

pub(crate) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_780_000_000 + seconds).unwrap()
}

fn snapshot_id() -> SnapshotId {
    SnapshotId::from_bytes([0x1f; 32])
}

fn run_id() -> RunId {
    RunId::from_bytes([7; 16])
}

fn database() -> Component {
    Component {
        name: "postgres/db".parse().unwrap(),
        kind: ComponentKind::Database {
            driver: "postgres".to_owned(),
            container: "shop-db-1".to_owned(),
            version: "17.2".to_owned(),
            notes: vec!["shop: restored beside".to_owned()],
        },
    }
}

fn volume() -> Component {
    let kind = ComponentKind::Volume {
        volume: "shop_data".to_owned(),
        mounted_by: vec!["shop-app-1".to_owned()],
    };
    Component { name: "volume/shop_data".parse().unwrap(), kind }
}

fn saved() -> Vec<SavedComponent> {
    let mut evidence = Evidence::default();
    evidence.insert("database shop/table public.customer/rows", Fact::Count(2000));
    evidence.insert("database shop/sequence public.s", Fact::AtLeast(7));
    evidence.insert("database shop/owner", Fact::Text("shop\u{1b}[2J".to_owned()));
    vec![
        SavedComponent {
            component: database(),
            path: "postgres/db".to_owned(),
            bytes: ByteCount(3 << 20),
            evidence,
        },
        SavedComponent {
            component: volume(),
            path: "volume/shop_data".to_owned(),
            bytes: ByteCount(500),
            evidence: Evidence::default(),
        },
    ]
}

fn uncovered() -> Vec<Uncovered> {
    let media = "/mnt/media".to_owned();
    let why = "it is outside the project".to_owned();
    vec![Uncovered { what: media, why, size: Some(ByteCount(1 << 30)) }]
}

fn run(state: RunState) -> Run {
    Run {
        id: run_id(),
        task: Task::Backup { components: vec![] },
        stack: StackId::from_bytes([1; 16]),
        stack_name: "shop".parse().unwrap(),
        host: HostId::from_bytes([2; 16]),
        host_name: "web1".parse().unwrap(),
        asked_by: "admin/admin".to_owned(),
        created: at(0),
        state,
        sequence: 9,
        agent_sequence: 8,
        cancel_asked: false,
    }
}

fn totals() -> Totals {
    Totals {
        read: ByteCount(10 << 20),
        new: ByteCount(2 << 20),
        stored: ByteCount(1 << 20),
        items: 42,
        downtime_ms: 2_300,
    }
}

#[test]
fn a_backup_that_is_done_says_what_it_took() {
    let outcome = Outcome::Saved { snapshot: snapshot_id(), totals: totals() };
    let done = run(RunState::Succeeded { at: at(5), outcome });
    insta::assert_snapshot!(shown(&RunView::new(done, Some(at(1))).with_incomplete(vec![])));
}

#[test]
fn a_restore_that_is_done_says_what_was_compared() {
    let outcome =
        Outcome::Restored { snapshot: snapshot_id(), totals: totals(), facts_compared: 118 };
    let components = vec!["files".parse().unwrap()];
    let task = Task::Restore { snapshot: snapshot_id(), components };
    let done = Run { task, ..run(RunState::Succeeded { at: at(5), outcome }) };
    insta::assert_snapshot!(shown(&RunView::new(done, Some(at(1)))));
}

#[test]
fn a_held_run_says_why_with_all_that_happened() {
    let failure = Failure::new(Reason::EvidenceDiffers, "compare `postgres/db`: rows differ");
    let held = run(RunState::Held { since: at(9), failure: failure.clone() });
    let events = [
        RunEvent::Started { at: at(1) },
        RunEvent::Entered { at: at(2), phase: Phase::Restoring },
        RunEvent::Noted { at: at(3), component: None, text: "evil\u{1b}[31m\nline".to_owned() },
        RunEvent::Held { at: at(9), failure },
    ];
    insta::assert_snapshot!(shown(&RunView::new(held, Some(at(1))).with_events(&events)));
}

#[test]
fn runs_are_listed_with_what_they_do_now() {
    let running = run(RunState::Running { since: at(1), phase: Phase::Saving });
    let failure = Failure::new(Reason::DiskFull, "write: no space");
    let failed = run(RunState::Failed { at: at(2), failure });
    let views: Vec<_> = [running, failed].into_iter().map(|it| RunView::new(it, None)).collect();
    insta::assert_snapshot!(shown(&views));
}

#[test]
fn a_snapshot_shows_its_components_and_its_evidence() {
    let snapshot = Snapshot {
        id: snapshot_id(),
        repository: RepositoryId::from_bytes([3; 16]),
        stack: StackId::from_bytes([1; 16]),
        stack_name: "shop".parse().unwrap(),
        host: HostId::from_bytes([2; 16]),
        host_name: "web1".parse().unwrap(),
        run: run_id(),
        time: at(5),
        components: saved(),
        incomplete: vec!["`files` is missing".to_owned()],
        read_bytes: ByteCount(10 << 20),
        new_bytes: ByteCount(2 << 20),
        stored_bytes: ByteCount(1 << 20),
        downtime_ms: 2_300,
    };
    insta::assert_snapshot!(shown(&SnapshotView::from(snapshot.clone())));
    insta::assert_snapshot!("snapshots_are_listed", vec![SnapshotView::from(snapshot)].table());
}

#[test]
fn files_are_listed_as_ls_does_and_names_need_not_be_text() {
    let file = wire::ListSnapshotFilesResponse {
        path: b"volume/caf\xe9\n.txt".to_vec(),
        kind: "file".to_owned(),
        size_bytes: 5,
        mode: 0o4755,
        uid: 1234,
        gid: 5678,
        modify_time: Some(to_wire_time(at(0))),
    };
    insta::assert_snapshot!(shown(&FileView::try_from(file).unwrap()));
}

fn seen() -> StackSeen {
    let container = |name: &str, part, state| ContainerSeen {
        id: "ab".repeat(32),
        name: name.to_owned(),
        service: name.to_owned(),
        image: "shop:1".to_owned(),
        state,
        needs: vec![],
        part,
        has_health_check: true,
        stop_timeout_seconds: 10,
    };
    StackSeen {
        name: "shop".parse().unwrap(),
        origin: Origin::Compose {
            working_dir: Some("/srv/shop".to_owned()),
            config_files: vec!["/srv/shop/compose.yaml".to_owned()],
        },
        containers: vec![
            container("shop-app-1", Part::Application, ContainerState::Running),
            container("shop-db-1", Part::Database, ContainerState::Stopped),
        ],
        components: vec![database(), volume()],
        uncovered: uncovered(),
        refusals: vec!["`job` would be deleted when it is stopped".to_owned()],
        warnings: vec!["watchtower may restart containers".to_owned()],
        labels: [("tier".to_owned(), "gold".to_owned())].into(),
    }
}

#[test]
fn a_stack_shows_what_is_saved_what_is_not_and_why() {
    let stack = wire::Stack {
        stack_id: StackId::from_bytes([1; 16]).to_string(),
        host: "web1".to_owned(),
        name: "shop".to_owned(),
        seen: Some(seen().into()),
        last_snapshot_time: Some(to_wire_time(at(5))),
        snapshot_count: 3,
    };
    let gone = wire::Stack { seen: None, last_snapshot_time: None, ..stack.clone() };
    insta::assert_snapshot!(shown(&StackView::try_from(stack.clone()).unwrap()));
    let views = [stack, gone].map(|it| StackView::try_from(it).unwrap());
    insta::assert_snapshot!("stacks_are_listed", StacksView(views.into()).table());
}

#[test]
fn plans_say_what_stops_what_is_done_and_what_is_left() {
    let plan = BackupPlan {
        stack: "shop".parse().unwrap(),
        stop: vec![vec!["shop-web-1".to_owned()], vec!["shop-app-1".to_owned()]],
        components: vec![database(), volume()],
        uncovered: uncovered(),
        warnings: vec![],
        hold_budget_seconds: 600,
    };
    insta::assert_snapshot!(shown(&BackupPlanView::new("web1/shop".to_owned(), plan)));
    let plan = RestorePlan {
        stack: "shop".parse().unwrap(),
        snapshot: snapshot_id(),
        stop: vec![],
        components: saved(),
        left_out: uncovered(),
        warnings: vec!["the snapshot: `files` is missing".to_owned()],
    };
    let view = RestorePlanView::new("web1/shop".to_owned(), plan);
    insta::assert_snapshot!("a_restore_plan", shown(&view));
}

#[test]
fn hosts_are_listed_with_their_warnings_and_holds() {
    let host = wire::Host {
        host_id: HostId::from_bytes([2; 16]).to_string(),
        name: "web1".to_owned(),
        connected: true,
        last_seen_time: Some(to_wire_time(at(5))),
        agent_version: "0.1.0".to_owned(),
        engine_version: "20.10.24".to_owned(),
        certificate_expire_time: Some(to_wire_time(at(31_536_000))),
        warnings: vec!["its clock is 90 s behind".to_owned()],
        holds: vec!["shop is held by a failed restore".to_owned()],
        clock_ahead_ms: Some(-90_000),
        drain_time: Some(to_wire_time(at(6))),
    };
    let one = HostView::try_from(host.clone()).unwrap();
    insta::assert_snapshot!("a_host", one.table());
    let invited = wire::Host { name: "web2".to_owned(), ..Default::default() };
    let hosts = [host, invited].map(|it| HostView::try_from(it).unwrap()).into();
    let controller_warnings = vec!["the disk of the store has 99.0 MiB left".to_owned()];
    insta::assert_snapshot!(shown(&HostsView { hosts, controller_warnings }));
    let host = "web2".parse().unwrap();
    let invite = InviteView { host, token: "v1.abc".to_owned(), expire_time: at(3600) };
    insta::assert_snapshot!("an_invitation", shown(&invite));
}

#[test]
fn repositories_checks_and_the_catalog_are_shown() {
    let repository = wire::Repository {
        repository_id: RepositoryId::from_bytes([3; 16]).to_string(),
        stack: "web1/shop".to_owned(),
        location: "/srv/repositories/3".to_owned(),
        snapshot_count: 2,
        stored_bytes: 5 << 20,
    };
    insta::assert_snapshot!(shown(&vec![RepositoryView::from(repository)]));

    let mut check = CheckView::default();
    check.add(wire::Damage {
        object: "data/ab/abcd".to_owned(),
        problem: "its hash differs".to_owned(),
        snapshot_ids: vec![snapshot_id().to_string()],
    });
    check.end(wire::CheckSummary {
        snapshot_count: 2,
        pack_count: 7,
        read_bytes: 5 << 20,
        damage_count: 1,
    });
    insta::assert_snapshot!("a_check", shown(&check));

    let catalog = wire::RebuildCatalogResponse {
        repository_count: 1,
        snapshot_count: 2,
        stacks: vec!["web1/shop".to_owned()],
        problems: vec!["repository x: wrong passphrase".to_owned()],
    };
    insta::assert_snapshot!("a_catalog", shown(&CatalogView::from(catalog)));
}
