//! Crashes: whoever dies in the middle, the stack runs again and nothing half-done is seen.

use std::time::Duration;

use anyhow::{Context, Result};
use lazarette_tests::{Fleet, Shop, wait};
use serde_json::Value;

const PATIENCE: Duration = Duration::from_mins(2);

/// Starts a backup of the shop and returns when its applications are stopped; the run's id.
fn held_backup(fleet: &Fleet, host: &str) -> Result<String> {
    let started = fleet.ctl(["--output", "json", "backup", "shop", "--detach"])?.ok()?.json()?;
    let run = started.get("run_id").and_then(Value::as_str).context("find the run")?.to_owned();
    let shop = Shop::of(fleet.host(host)?);
    wait::for_truth("the application to be stopped", PATIENCE, || {
        Ok(!shop.is_running(&shop.app())?)
    })?;
    Ok(run)
}

fn state(fleet: &Fleet, run: &str) -> Result<String> {
    let shown = fleet.ctl(["--output", "json", "run", "show", run])?.ok()?.json()?;
    let state = shown.get("state").and_then(Value::as_str);
    Ok(state.with_context(|| format!("find the state of {shown}"))?.to_owned())
}

fn wait_for_end(fleet: &Fleet, run: &str) -> Result<String> {
    wait::until("the end of the run", PATIENCE, || {
        let state = state(fleet, run)?;
        Ok(["succeeded", "failed", "cancelled"].contains(&state.as_str()).then_some(state))
    })
}

fn wait_for_app(fleet: &Fleet, host: &str) -> Result<()> {
    let shop = Shop::of(fleet.host(host)?);
    wait::for_truth("the application to run again", PATIENCE, || shop.is_running(&shop.app()))
}

#[test]
fn an_agent_killed_while_the_stack_is_held_starts_it_again_and_the_run_has_failed() -> Result<()> {
    let mut fleet = Fleet::with_shop("agentdies")?;
    fleet.expect_in_logs("");
    let run = held_backup(&fleet, "agentdies")?;

    fleet.agent("agentdies")?.kill()?;
    fleet.agent("agentdies")?.start()?;

    wait_for_app(&fleet, "agentdies")?;
    assert_eq!(wait_for_end(&fleet, &run)?, "failed");
    let shown = fleet.ctl(["--output", "json", "run", "show", &run])?.ok()?.json()?;
    let reason = shown.pointer("/failure/reason").and_then(Value::as_str);
    assert_eq!(reason, Some("AGENT_RESTARTED"), "{shown}");
    let snapshots = fleet.ctl(["--output", "json", "snapshot", "list", "shop"])?.ok()?.json()?;
    assert_eq!(snapshots, serde_json::json!([]), "a failed run left a snapshot");
    fleet.ctl(["backup", "shop"])?.done()
}

#[test]
fn a_controller_killed_in_the_middle_goes_on_with_the_same_run() -> Result<()> {
    let mut fleet = Fleet::with_shop("masterdies")?;
    fleet.expect_in_logs("");
    let run = held_backup(&fleet, "masterdies")?;

    fleet.controller_mut().kill()?;
    fleet.controller_mut().start()?;

    assert_eq!(wait_for_end(&fleet, &run)?, "succeeded");
    wait_for_app(&fleet, "masterdies")?;
    fleet.ctl(["repo", "check", "shop", "--read-data"])?.done()
}

#[test]
fn a_run_that_is_cancelled_leaves_the_stack_running() -> Result<()> {
    let fleet = Fleet::with_shop("cancelled")?;
    fleet.expect_in_logs("");
    let run = held_backup(&fleet, "cancelled")?;

    fleet.ctl(["run", "cancel", &run])?.done()?;

    assert_eq!(wait_for_end(&fleet, &run)?, "cancelled");
    wait_for_app(&fleet, "cancelled")
}
