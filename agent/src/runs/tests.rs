//! Whole runs: an Engine, a controller and a driver in memory; real records, holds and repository.

mod restore;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use futures::StreamExt as _;
use jiff::Timestamp;
use lazarette_core::{
    component::{Component, ComponentKind},
    error::{Failure, Reason},
    evidence::{Evidence, Fact},
    id::{RunId, SnapshotId, StackId},
    manifest::SavedComponent,
    name::StackName,
    plan::{BackupPlan, RestorePlan},
    run::{Outcome, Phase, RunEvent, RunState},
    stack::{ContainerSeen, ContainerState, Origin, Part, StackSeen},
    units::ByteCount,
};
use lazarette_node::{clock::SettableClock, tasks::Tasks};
use lazarette_repo::{crypto::MasterKey, id::BlobId};
use tokio::sync::Notify;

use super::{
    Runs, RunsError,
    record::{Generation, Job, Line, Plan, Record, Records},
    work::{Grant, Stacks, Tools},
};
use crate::{
    config::Timers,
    docker::Docker,
    driver::{Cx, Driver, DriverError, Inspection},
    held::{Holder, Persistence},
    hold::{journal::HoldJournal, model::Engine},
    reserve::Reserve,
    sink::Sink,
    source::Source,
    vault::tests::MemoryController,
};

/// A component that is a string.
#[derive(Debug)]
struct Note {
    live: Mutex<String>,
    beside: Mutex<Option<String>>,
    previous: Mutex<Option<String>>,
    mood: Mutex<Mood>,
    reached: Notify,
    calls: Mutex<Vec<&'static str>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mood {
    Well,
    DumpFails,
    DumpHangs,
    VerifyLies,
    SwapFails,
    UndoFails,
}

impl Note {
    fn new(text: &str) -> &'static Self {
        Box::leak(Box::new(Self {
            live: Mutex::new(text.to_owned()),
            beside: Mutex::default(),
            previous: Mutex::default(),
            mood: Mutex::new(Mood::Well),
            reached: Notify::new(),
            calls: Mutex::default(),
        }))
    }

    fn set(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
    }

    fn mood(&self) -> Mood {
        *self.mood.lock().unwrap()
    }

    fn live(&self) -> String {
        self.live.lock().unwrap().clone()
    }

    fn call(&self, name: &'static str) {
        self.calls.lock().unwrap().push(name);
    }
}

fn count(text: &str) -> Evidence {
    let mut evidence = Evidence::default();
    evidence.insert("text", Fact::Text(text.to_owned()));
    evidence
}

fn broken(what: &str) -> DriverError {
    DriverError::plain(Reason::DumpFailed, what)
}

#[async_trait]
impl Driver for Note {
    fn word(&self) -> &'static str {
        "volume"
    }

    async fn inspect(&self, _cx: &Cx<'_>) -> Result<Inspection, DriverError> {
        Ok(Inspection::default())
    }

    async fn dump(&self, cx: &Cx<'_>, sink: &mut Sink) -> Result<Evidence, DriverError> {
        self.reached.notify_one();
        match self.mood() {
            Mood::DumpFails => return Err(broken("read the note")),
            Mood::DumpHangs => cx.cancel.cancelled().await,
            Mood::Well | Mood::VerifyLies | Mood::SwapFails | Mood::UndoFails => {}
        }
        let text = self.live();
        sink.put_text("note.txt", text.clone()).await?;
        Ok(count(&text))
    }

    async fn restore(&self, _cx: &Cx<'_>, source: &mut Source) -> Result<(), DriverError> {
        self.call("restore");
        let text = source.text("note.txt").await?;
        *self.beside.lock().unwrap() = Some(text);
        Ok(())
    }

    async fn verify(&self, _cx: &Cx<'_>, _saved: &Evidence) -> Result<Evidence, DriverError> {
        self.call("verify");
        if self.mood() == Mood::VerifyLies {
            return Ok(count("something else"));
        }
        Ok(count(self.beside.lock().unwrap().as_ref().unwrap()))
    }

    async fn swap(&self, _cx: &Cx<'_>) -> Result<(), DriverError> {
        self.call("swap");
        if self.mood() == Mood::SwapFails {
            return Err(broken("swap the note"));
        }
        let new = self.beside.lock().unwrap().take().unwrap();
        let old = std::mem::replace(&mut *self.live.lock().unwrap(), new);
        *self.previous.lock().unwrap() = Some(old);
        Ok(())
    }

    async fn undo(&self, _cx: &Cx<'_>) -> Result<(), DriverError> {
        self.call("undo");
        if self.mood() == Mood::UndoFails {
            return Err(broken("undo the note"));
        }
        self.beside.lock().unwrap().take();
        if let Some(old) = self.previous.lock().unwrap().take() {
            *self.live.lock().unwrap() = old;
        }
        Ok(())
    }

    async fn accept(&self, _cx: &Cx<'_>) -> Result<(), DriverError> {
        self.call("accept");
        self.previous.lock().unwrap().take();
        Ok(())
    }
}

#[derive(Debug)]
struct Shop(&'static Note);

#[async_trait]
impl Stacks for Shop {
    async fn look(&self, stack: &StackName) -> Result<StackSeen, Failure> {
        let web = ContainerSeen {
            id: "id-web".to_owned(),
            name: "web".to_owned(),
            service: "web".to_owned(),
            image: String::new(),
            state: ContainerState::Running,
            needs: vec![],
            part: Part::Application,
            has_health_check: false,
            stop_timeout_seconds: 0,
        };
        Ok(StackSeen {
            name: stack.clone(),
            origin: Origin::Container,
            containers: vec![web],
            components: vec![component()],
            uncovered: vec![],
            refusals: vec![],
            warnings: vec![],
            labels: [].into(),
        })
    }

    fn allow(&self, _plan: &Plan, _seen: &StackSeen) -> Result<(), Failure> {
        Ok(())
    }

    fn driver(&self, _kind: &ComponentKind) -> Option<&'static dyn Driver> {
        Some(self.0)
    }
}

fn component() -> Component {
    let kind = ComponentKind::Volume {
        volume: "shop_note".to_owned(),
        mounted_by: vec!["web".to_owned()],
    };
    Component { name: "volume/note".parse().unwrap(), kind }
}

struct Bench {
    engine: Arc<Engine>,
    note: &'static Note,
    controller: MemoryController,
    key: MasterKey,
    tools: Tools,
    records: Records,
    runs: Runs,
    _dir: tempfile::TempDir,
}

impl Bench {
    async fn new() -> Self {
        let engine = Arc::new(Engine::with(&["web"]));
        let note = Note::new("as it was");
        let controller = MemoryController::start().await;
        let dir = tempfile::tempdir().unwrap();
        let reserve = Arc::new(Reserve::take(dir.path().join("reserve")));
        let journal = HoldJournal::new(dir.path().join("holds"), reserve.clone()).unwrap();
        let clock = Arc::new(SettableClock::new(Timestamp::UNIX_EPOCH));
        let persistence = Persistence { pause: Duration::ZERO, ..Persistence::default() };
        let holder = Holder::new(engine.clone(), journal, clock.clone(), persistence);
        let tools = Tools {
            docker: Docker::at("/nowhere/docker.sock"),
            holder,
            stacks: Arc::new(Shop(note)),
            calls: controller.channel(),
            clock,
            timers: Timers::default(),
        };
        let records = Records::new(dir.path().join("runs"), reserve).unwrap();
        let runs = Runs::load(records.clone(), tools.clone(), Tasks::new()).unwrap();
        let key = MasterKey::generate().unwrap();
        Self { engine, note, controller, key, tools, records, runs, _dir: dir }
    }

    /// Another life of the same agent.
    fn restarted(&mut self) {
        let tasks = Tasks::new();
        self.runs = Runs::load(self.records.clone(), self.tools.clone(), tasks).unwrap();
    }

    fn grant(&self, tree: Option<BlobId>) -> Grant {
        Grant { key: self.key.clone(), tree, level: 1 }
    }

    fn backup() -> Job {
        Job {
            run: RunId::new(),
            stack: StackId::new(),
            host: "host1".parse().unwrap(),
            plan: Plan::Backup(BackupPlan {
                stack: "shop".parse().unwrap(),
                stop: vec![vec!["web".to_owned()]],
                components: vec![component()],
                uncovered: vec![],
                warnings: vec![],
                hold_budget_seconds: 60,
            }),
        }
    }

    fn restore() -> Job {
        let saved = SavedComponent {
            component: component(),
            path: "volume/note".to_owned(),
            bytes: ByteCount(9),
            evidence: count("as it was"),
        };
        let plan = RestorePlan {
            stack: "shop".parse().unwrap(),
            snapshot: SnapshotId::from_bytes([1; 32]),
            stop: vec![vec!["web".to_owned()]],
            components: vec![saved],
            left_out: vec![],
            warnings: vec![],
        };
        Job { plan: Plan::Restore(plan), ..Self::backup() }
    }

    /// Runs to its end, or to where it is held.
    async fn run(&self, job: Job, grant: Grant) -> RunState {
        let run = job.run;
        self.runs.start(job, grant).await.unwrap();
        self.ended(run, 0).await
    }

    async fn ended(&self, run: RunId, after: u64) -> RunState {
        let log = self.runs.log(run).unwrap();
        let mut items = Box::pin(log.follow(after));
        while let Some(item) = items.next().await {
            if matches!(item, super::log::Item::Event(_, RunEvent::Held { .. })) {
                break;
            }
        }
        while self.runs.is_driven(run) {
            tokio::task::yield_now().await;
        }
        log.state()
    }

    async fn a_snapshot(&self) -> Grant {
        let state = self.run(Self::backup(), self.grant(None)).await;
        assert!(matches!(state, RunState::Succeeded { .. }), "{state:?}");
        self.grant(self.controller.shelf.snapshots().last().copied())
    }

    async fn holds(&self) -> usize {
        self.tools.holder.find_all().await.unwrap().holds.len()
    }

    fn runs_again(&self) -> bool {
        self.engine.state("web") == ContainerState::Running
    }
}

fn reason(state: &RunState) -> Option<Reason> {
    if let RunState::Failed { failure, .. } | RunState::Held { failure, .. } = state {
        return Some(failure.reason);
    }
    None
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_stops_reads_starts_and_only_then_makes_the_snapshot() {
    let bench = Bench::new().await;
    let job = Bench::backup();
    let run = job.run;

    let state = bench.run(job, bench.grant(None)).await;

    let RunState::Succeeded { outcome: Outcome::Saved { totals, .. }, .. } = state else {
        panic!("{state:?}");
    };
    assert!(totals.stored > ByteCount(0) && totals.items >= 1);
    assert_eq!(bench.controller.shelf.snapshots().len(), 1);
    assert_eq!(bench.engine.calls(), ["stop id-web", "start id-web"]);
    assert_eq!(bench.holds().await, 0);
    let phases: Vec<Phase> =
        bench
            .runs
            .log(run)
            .unwrap()
            .record()
            .events
            .iter()
            .filter_map(|event| {
                if let RunEvent::Entered { phase, .. } = event { Some(*phase) } else { None }
            })
            .collect();
    let names: Vec<String> = phases.iter().map(ToString::to_string).collect();
    assert_eq!(names, ["preparing", "quiescing", "saving", "thawing", "committing"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_fails_is_no_snapshot_and_the_stack_runs() {
    let bench = Bench::new().await;
    bench.note.set(Mood::DumpFails);

    let state = bench.run(Bench::backup(), bench.grant(None)).await;

    assert_eq!(reason(&state), Some(Reason::DumpFailed));
    assert!(bench.controller.shelf.snapshots().is_empty());
    assert!(bench.runs_again());
    assert_eq!(bench.holds().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn f75_a_cancelled_backup_lets_the_stack_go_and_makes_no_snapshot() {
    let bench = Bench::new().await;
    bench.note.set(Mood::DumpHangs);
    let job = Bench::backup();
    let run = job.run;
    bench.runs.start(job, bench.grant(None)).await.unwrap();
    bench.note.reached.notified().await;

    bench.runs.cancel(run).unwrap();

    let state = bench.ended(run, 0).await;
    assert!(matches!(state, RunState::Cancelled { .. }), "{state:?}");
    assert!(bench.runs_again() && bench.controller.shelf.snapshots().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn h21_a_hold_that_exceeds_its_budget_ends_and_nothing_is_committed() {
    let bench = Bench::new().await;
    bench.note.set(Mood::DumpHangs);
    let mut job = Bench::backup();
    if let Plan::Backup(plan) = &mut job.plan {
        plan.hold_budget_seconds = 1;
    }

    let state = bench.run(job, bench.grant(None)).await;

    assert_eq!(reason(&state), Some(Reason::HoldExpired));
    assert!(bench.runs_again() && bench.controller.shelf.snapshots().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn f17_a_container_started_meanwhile_is_no_snapshot() {
    let bench = Bench::new().await;
    bench.note.set(Mood::DumpHangs);
    let job = Bench::backup();
    let run = job.run;
    bench.runs.start(job, bench.grant(None)).await.unwrap();
    bench.note.reached.notified().await;
    bench.engine.start_by_hand("web");
    bench.note.set(Mood::Well);
    bench.runs.cancel(run).unwrap();
    bench.ended(run, 0).await;

    assert!(bench.runs_again() && bench.controller.shelf.snapshots().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_controller_away_in_the_middle_is_waited_for_while_the_stack_runs() {
    let bench = Bench::new().await;
    bench.controller.shelf.go_away_for(3);

    let state = bench.run(Bench::backup(), bench.grant(None)).await;

    assert!(matches!(state, RunState::Succeeded { .. }), "{state:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_of_the_controller_is_the_reason_of_the_run() {
    let bench = Bench::new().await;
    bench.controller.shelf.refuse(Reason::DiskFull);

    let state = bench.run(Bench::backup(), bench.grant(None)).await;

    assert_eq!(reason(&state), Some(Reason::DiskFull), "{state:?}");
    assert!(bench.runs_again());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_start_twice_is_one_run_and_a_busy_stack_names_the_other() {
    let bench = Bench::new().await;
    bench.note.set(Mood::DumpHangs);
    let job = Bench::backup();
    bench.runs.start(job.clone(), bench.grant(None)).await.unwrap();
    bench.runs.start(job.clone(), bench.grant(None)).await.unwrap();

    let other_plan = Job { run: job.run, ..Bench::restore() };
    let exists = bench.runs.start(other_plan, bench.grant(None)).await.unwrap_err();
    assert!(matches!(exists, RunsError::Exists(run) if run == job.run));
    let busy = bench.runs.start(Bench::backup(), bench.grant(None)).await.unwrap_err();
    assert!(matches!(busy, RunsError::Busy { other, .. } if other == job.run));

    bench.runs.cancel(job.run).unwrap();
    bench.ended(job.run, 0).await;
    assert!(matches!(
        bench.runs.resume(job.run, bench.grant(None)),
        Err(RunsError::NotHeld { .. })
    ));
}
