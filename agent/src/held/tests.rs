//! Holding and letting go, on an Engine in memory.

use lazarette_node::clock::SettableClock;

use super::*;
use crate::{hold::model::Engine, reserve::Reserve};

struct Host {
    engine: Arc<Engine>,
    clock: Arc<SettableClock>,
    holder: Holder,
    cancel: CancellationToken,
    _dir: tempfile::TempDir,
}

fn host(names: &[&str]) -> Host {
    let engine = Arc::new(Engine::with(names));
    let clock = Arc::new(SettableClock::new(Timestamp::UNIX_EPOCH));
    let dir = tempfile::tempdir().unwrap();
    let reserve = Arc::new(Reserve::take(dir.path().join("reserve")));
    let journal = HoldJournal::new(dir.path().join("holds"), reserve).unwrap();
    let persistence = Persistence { pause: Duration::ZERO, ..Persistence::default() };
    let holder = Holder::new(engine.clone(), journal, clock.clone(), persistence);
    Host { engine, clock, holder, cancel: CancellationToken::new(), _dir: dir }
}

fn wish(layers: &[&[&str]]) -> Wish {
    Wish {
        run: RunId::new(),
        stack: "shop".parse().unwrap(),
        layers: layers.iter().map(|it| it.iter().map(ToString::to_string).collect()).collect(),
        until: Until::Budget(Duration::from_mins(1)),
    }
}

fn restore(layers: &[&[&str]]) -> Wish {
    Wish { until: Until::Operator { why: "a restore".to_owned() }, ..wish(layers) }
}

impl Host {
    async fn hold(&self, wish: Wish) -> Held {
        self.holder.hold(wish, &self.cancel).await.unwrap()
    }

    async fn left(&self) -> Vec<Journaled> {
        self.holder.find_all().await.unwrap().holds
    }
}

#[tokio::test]
async fn layers_stop_in_order_and_start_in_reverse() {
    let host = host(&["web", "api", "db"]);

    let held = host.hold(wish(&[&["web"], &["api"]])).await;
    host.holder.check_quiet(&held).await.unwrap();
    host.clock.advance(Duration::from_secs(7));
    let thawed = host.holder.thaw(held).await.unwrap();

    let calls = ["stop id-web", "stop id-api", "start id-api", "start id-web"];
    assert_eq!(host.engine.calls(), calls);
    assert_eq!(thawed.downtime, Duration::from_secs(7));
    assert!(host.left().await.is_empty());
}

#[tokio::test]
async fn h13_a_container_that_is_deleted_when_it_stops_is_refused_before_anything_stops() {
    let host = host(&["web", "job"]);
    host.engine.change("job", |it| it.is_removed_when_stopped = true);

    let refused = host.holder.hold(wish(&[&["web"], &["job"]]), &host.cancel).await.unwrap_err();

    assert_eq!(refused.reason(), Reason::StackUnsupported);
    assert!(host.engine.calls().is_empty() && host.left().await.is_empty());
}

#[tokio::test]
async fn when_one_does_not_stop_all_are_started_again() {
    let host = host(&["web", "api"]);
    host.engine.refuse_stop("api");

    let failed = host.holder.hold(wish(&[&["web"], &["api"]]), &host.cancel).await.unwrap_err();

    assert_eq!(failed.reason(), Reason::QuiesceFailed);
    assert_eq!(host.engine.state("web"), ContainerState::Running);
    assert!(host.left().await.is_empty());
}

#[tokio::test]
async fn a_cancelled_hold_is_thawed_although_it_is_cancelled() {
    let host = host(&["web"]);
    host.cancel.cancel();

    let cancelled = host.holder.hold(wish(&[&["web"]]), &host.cancel).await.unwrap_err();

    assert_eq!(cancelled.reason(), Reason::Cancelled);
    assert!(host.left().await.is_empty());
}

#[tokio::test]
async fn what_did_not_run_before_does_not_run_after_and_paused_stays_paused() {
    let host = host(&["web", "off", "frozen"]);
    host.engine.change("off", |it| it.state = ContainerState::Stopped);
    host.engine.change("frozen", |it| it.state = ContainerState::Paused);

    let held = host.hold(wish(&[&["web", "off", "frozen"]])).await;
    host.holder.thaw(held).await.unwrap();

    assert_eq!(host.engine.calls(), ["stop id-web", "start id-web"]);
    assert_eq!(host.engine.state("off"), ContainerState::Stopped);
    assert_eq!(host.engine.state("frozen"), ContainerState::Paused);
}

#[tokio::test]
async fn f17_a_container_started_by_somebody_else_spoils_the_cut() {
    let host = host(&["web"]);
    let held = host.hold(wish(&[&["web"]])).await;

    host.engine.start_by_hand("web");

    let spoilt = host.holder.check_quiet(&held).await.unwrap_err();
    assert_eq!(spoilt.reason(), Reason::ContainerRestarted);
    host.engine.change("web", |it| it.state = ContainerState::Stopped);
    let spoilt = host.holder.check_quiet(&held).await.unwrap_err();
    assert_eq!(spoilt.reason(), Reason::ContainerRestarted);
    host.holder.thaw(held).await.unwrap();
}

#[tokio::test]
async fn f16_a_container_that_was_removed_is_left_to_who_removed_it() {
    let host = host(&["web", "api"]);
    let held = host.hold(wish(&[&["web"], &["api"]])).await;
    host.engine.remove("web");

    let gone = host.holder.check_quiet(&held).await.unwrap_err();
    let thawed = host.holder.thaw(held).await.unwrap();

    assert_eq!(gone.reason(), Reason::ContainerGone);
    assert_eq!(thawed.gone, ["web"]);
    assert_eq!(host.engine.state("api"), ContainerState::Running);
}

#[tokio::test]
async fn f29_a_start_is_tried_five_times_and_then_left_to_the_reaper() {
    let host = host(&["web", "api"]);
    let held = host.hold(wish(&[&["web"], &["api"]])).await;
    host.engine.refuse_start("api", 5);

    let failed = host.holder.thaw(held).await.unwrap_err();

    assert!(failed.to_string().contains("docker start api"), "{failed}");
    assert_eq!(host.engine.state("web"), ContainerState::Running);
    let left = host.left().await.pop().unwrap();
    assert!(left.hold().end.is_over(&*host.clock));
    host.holder.thaw_left_over(left).await.unwrap();
    assert_eq!(host.engine.state("api"), ContainerState::Running);
    assert!(host.left().await.is_empty());
}

#[tokio::test]
async fn f12_an_engine_that_is_away_is_waited_for() {
    let host = host(&["web"]);
    let held = host.hold(wish(&[&["web"]])).await;
    host.engine.go_away_for(20);

    host.holder.thaw(held).await.unwrap();

    assert_eq!(host.engine.state("web"), ContainerState::Running);
}

#[tokio::test]
async fn h16_a_container_starts_when_its_last_hold_ends() {
    let host = host(&["web", "api"]);
    let first = host.hold(wish(&[&["web"]])).await;
    let second = host.hold(wish(&[&["api"]])).await;

    host.holder.thaw(first).await.unwrap();
    assert_eq!(host.engine.state("web"), ContainerState::Stopped);

    host.holder.thaw(second).await.unwrap();
    assert_eq!(host.engine.state("web"), ContainerState::Running);
    assert_eq!(host.engine.state("api"), ContainerState::Running);
}

#[tokio::test]
async fn h17_a_restore_keeps_the_engine_from_restarting_and_gives_the_policy_back() {
    let host = host(&["db"]);
    host.engine.add("web", RestartPolicy::Always);

    let held = host.hold(restore(&[&["web"]])).await;
    host.engine.kill_and_restart();
    assert_eq!(host.engine.state("web"), ContainerState::Stopped);
    host.holder.thaw(held).await.unwrap();

    assert_eq!(host.engine.state("web"), ContainerState::Running);
    assert_eq!(host.engine.policy("web"), RestartPolicy::Always);
}

#[tokio::test]
async fn f71_after_a_restart_of_the_engine_every_policy_ends_as_it_was() {
    let host = host(&["no"]);
    host.engine.add("always", RestartPolicy::Always);
    host.engine.add("unless", RestartPolicy::UnlessStopped);
    host.engine.add("failure", RestartPolicy::OnFailure { retries: 3 });
    let names = ["no", "always", "unless", "failure"];
    drop(host.hold(wish(&[&names])).await); // the agent dies

    host.engine.kill_and_restart();
    host.clock.reboot();
    for left in host.left().await {
        assert!(left.hold().end.is_over(&*host.clock));
        host.holder.thaw_left_over(left).await.unwrap();
    }

    for name in names {
        assert_eq!(host.engine.state(name), ContainerState::Running, "{name}");
    }
}

#[tokio::test]
async fn a_failed_restore_is_kept_until_an_operator_says_more() {
    let host = host(&["web"]);
    let wish = restore(&[&["web"]]);
    let run = wish.run;
    let held = host.hold(wish).await;

    host.holder.keep(held, "the evidence differs".to_owned()).await.unwrap();

    let held = host.holder.find(run).await.unwrap().unwrap();
    assert!(matches!(&held.hold().end, HoldEnd::Operator { why } if why.contains("evidence")));
    host.holder.thaw(held).await.unwrap();
    assert_eq!(host.engine.state("web"), ContainerState::Running);
}
