//! The main job: a real stack is backed up, wrecked and brought back; and so with another controller.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use lazarette_tests::{Fleet, Outcome, Shop, workspace};
use serde_json::Value;

/// Backs the shop up and gives the run as JSON.
fn backup(fleet: &Fleet) -> Result<Value> {
    fleet.ctl(["--output", "json", "backup", "shop"])?.ok()?.json()
}

fn snapshot_of(run: &Value) -> Result<String> {
    let id = run.get("snapshot_id").and_then(Value::as_str);
    Ok(id.with_context(|| format!("find the snapshot of {run}"))?.to_owned())
}

fn total(run: &Value, name: &str) -> Result<u64> {
    let total = run.get("totals").and_then(|totals| totals.get(name)).and_then(Value::as_u64);
    total.with_context(|| format!("find `{name}` of {run}"))
}

/// Stock restic reads every byte of the shop's repository and finds nothing wrong.
fn restic_agrees(fleet: &Fleet) -> Result<()> {
    let opened = fleet.ctl(["--output", "json", "repo", "password", "shop"])?.ok()?.json()?;
    let field = |name: &str| {
        let text = opened.get(name).and_then(Value::as_str).map(str::to_owned);
        text.with_context(|| format!("find `{name}` of {opened}"))
    };
    let restic = Command::new(workspace().join("tests/tools/restic.sh")).output()?;
    let restic = String::from_utf8(restic.stdout)?.trim().to_owned();
    ensure!(!restic.is_empty(), "tests/tools/restic.sh gave no restic");
    let mut check = Command::new(restic);
    check.args(["--no-cache", "check", "--read-data", "--repo", &field("location")?]);
    check.env("RESTIC_PASSWORD", field("password")?);
    Outcome::of(&mut check)?.done()
}

#[test]
fn a_stack_is_backed_up_wrecked_and_brought_back_also_by_a_fresh_controller() -> Result<()> {
    let mut fleet = Fleet::with_shop("job")?;
    let before = Shop::of(fleet.host("job")?).fingerprint()?;

    let first = backup(&fleet)?;
    let snapshot = snapshot_of(&first)?;
    Shop::of(fleet.host("job")?).mark("later")?;
    let second = backup(&fleet)?;
    ensure!(total(&second, "reused_bytes")? > 0, "the second backup reused nothing: {second}");

    Shop::of(fleet.host("job")?).wreck()?;
    let restore = ["--output", "json", "restore", "shop", "--yes", "--snapshot", &snapshot];
    let restored = fleet.ctl(restore)?.ok()?.json()?;
    let compared = restored.get("compared_fact_count").and_then(Value::as_u64);
    ensure!(compared.unwrap_or_default() > 50, "hardly anything was compared: {restored}");
    let shop = Shop::of(fleet.host("job")?);
    before.same_as(&shop.fingerprint()?)?;
    assert_eq!(shop.marks()?, Vec::<String>::new());
    restic_agrees(&fleet)?;

    let passphrase = fleet.lose_controller()?;
    fleet.rebuild_catalog(&passphrase)?;
    fleet.enroll_again("job")?;
    Shop::of(fleet.host("job")?).wreck()?;
    fleet.ctl(["restore", "shop", "--yes", "--snapshot", &snapshot])?.done()?;
    before.same_as(&Shop::of(fleet.host("job")?).fingerprint()?)?;
    restic_agrees(&fleet)?;
    fleet.quiet()
}
