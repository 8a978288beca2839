//! Fleet: backups of many stacks on many hosts, some of which are not there.

use anyhow::{Context as _, Result, ensure};
use lazarette_tests::{Fleet, Host};
use serde_json::Value;

/// Container, volume: a stack that is backed up in a moment.
fn stack(host: &Host, name: &str, label: &str) -> Result<()> {
    let (volume, label) = (format!("{name}:/data"), format!("lazarette.label.tier={label}"));
    let words = ["create", "--name", name, "--label", &label, "-v", &volume];
    host.docker(&[&words[..], &["debian:bookworm-slim", "true"]].concat())?;
    let file = host.path(&format!("/var/lib/docker/volumes/{name}/_data/file"));
    std::fs::write(file, format!("{} on {}", name, host.name()))?;
    Ok(())
}

/// The stacks of a backup of many that succeeded, as `host/stack`, sorted.
fn done(shown: &Value) -> Result<Vec<String>> {
    let runs = shown.get("runs").and_then(Value::as_array).context("find the runs")?;
    let text = |run: &Value, name: &str| {
        run.get(name).and_then(Value::as_str).map(str::to_owned).unwrap_or_default()
    };
    let mut done = Vec::new();
    for run in runs.iter().filter(|run| text(run, "state") == "succeeded") {
        ensure!(text(run, "snapshot_id").len() == 64, "a success without a snapshot: {run}");
        done.push(format!("{}/{}", text(run, "host"), text(run, "stack")));
    }
    done.sort();
    Ok(done)
}

#[test]
fn a_wave_backs_up_what_is_there_and_says_what_is_not() -> Result<()> {
    let mut fleet = Fleet::up("wave")?;
    for name in ["wave1", "wave2", "wave3"] {
        fleet.join(Host::up(name)?)?;
    }
    for (host, name, tier) in [
        ("wave1", "blog", "silver"),
        ("wave1", "shop", "gold"),
        ("wave2", "shop", "gold"),
        ("wave3", "late", "gold"),
    ] {
        stack(fleet.host(host)?, name, tier)?;
    }

    let all = fleet.ctl(["--output", "json", "backup", "--all"])?.ok()?.json()?;
    assert_eq!(done(&all)?, ["wave1/blog", "wave1/shop", "wave2/shop", "wave3/late"]);

    for (words, expected) in [
        (vec!["*/shop"], vec!["wave1/shop", "wave2/shop"]),
        (vec!["blog", "wave2/s*"], vec!["wave1/blog", "wave2/shop"]),
        (vec!["--host", "wave1"], vec!["wave1/blog", "wave1/shop"]),
        (vec!["--label", "tier=gold", "--host", "wave2"], vec!["wave2/shop"]),
    ] {
        let shown = fleet.ctl(["--output", "json", "backup"].iter().chain(&words))?.ok()?.json()?;
        assert_eq!(done(&shown)?, expected, "{words:?}");
    }
    fleet.ctl(["backup", "shop", "blog"])?.fails(1, &["wave1/shop, wave2/shop"]).map(drop)?;
    fleet.ctl(["backup", "b*", "nosuch"])?.fails(1, &["nosuch", "wave1/blog"]).map(drop)?;
    fleet.ctl(["backup", "--all", "--component", "files"])?.fails(2, &["--component"]).map(drop)?;
    let planned = fleet.ctl(["backup", "--all", "--dry-run"])?.ok()?;
    ensure!(planned.stdout.contains("wave3/late"), "{planned}");

    // A host that is away, and a stack that cannot be backed up, hold up none of the others.
    fleet.expect_in_logs("");
    fleet.agent("wave3")?.kill()?;
    let shown = fleet.ctl(["backup", "--all"])?.fails(3, &["wave3"])?;
    ensure!(shown.stdout.contains("HOST_OFFLINE"), "{shown}");
    ensure!(shown.stdout.matches("succeeded").count() == 3, "{shown}");
    fleet.ctl(["backup", "--host", "wave3"])?.fails(1, &[]).map(drop)
}

#[test]
fn a_host_that_was_never_backed_up_and_is_away_is_not_taken_for_one_without_stacks() -> Result<()> {
    let mut fleet = Fleet::up("unseen")?;
    for name in ["unseen1", "unseen2"] {
        fleet.join(Host::up(name)?)?;
    }
    stack(fleet.host("unseen1")?, "blog", "gold")?;
    stack(fleet.host("unseen2")?, "shop", "gold")?;
    fleet.expect_in_logs("");
    fleet.agent("unseen2")?.kill()?;

    for words in [vec!["--all"], vec!["--label", "tier=gold"], vec!["b*"]] {
        let shown = fleet.ctl(["--output", "json", "backup"].iter().chain(&words))?;
        ensure!(shown.code == Some(3), "all was done, it says: {shown}");
        let shown = shown.json()?;
        assert_eq!(done(&shown)?, ["unseen1/blog"], "{words:?}");
        assert_eq!(shown.get("not_asked"), Some(&serde_json::json!(["unseen2"])), "{words:?}");
    }
    fleet.ctl(["backup", "--all", "--dry-run"])?.fails(3, &["unseen2"]).map(drop)?;
    fleet.ctl(["backup", "--host", "unseen1"])?.done()?;
    fleet.ctl(["backup", "unseen1/blog"])?.done()
}

#[test]
fn a_host_is_renamed_and_drained_and_keeps_what_is_its_own() -> Result<()> {
    let mut fleet = Fleet::up("drained")?;
    fleet.join(Host::up("old-name")?)?;
    stack(fleet.host("old-name")?, "blog", "gold")?;
    fleet.ctl(["backup", "blog"])?.done()?;

    fleet.ctl(["host", "rename", "old-name", "new-name"])?.done()?;
    fleet.ctl(["host", "show", "old-name"])?.fails(1, &["old-name"]).map(drop)?;
    let shown = fleet.ctl(["--output", "json", "host", "show", "new-name"])?.ok()?.json()?;
    ensure!(shown.get("clock_ahead_ms").is_some_and(Value::is_i64), "no clock: {shown}");
    fleet.ctl(["backup", "new-name/blog"])?.done()?;
    let snapshots = fleet.ctl(["--output", "json", "snapshot", "list", "new-name/blog"])?;
    assert_eq!(snapshots.ok()?.json()?.as_array().map(Vec::len), Some(2));

    fleet.ctl(["host", "drain", "new-name"])?.done()?;
    fleet.ctl(["backup", "blog"])?.fails(1, &["drained", "--undo"]).map(drop)?;
    fleet.ctl(["host", "drain", "new-name", "--undo"])?.done()?;
    fleet.ctl(["backup", "blog"])?.done()
}
