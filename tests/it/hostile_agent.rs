//! A hostile agent (T1): with its real key and certificate it tries whatever it can think of. Each call is refused
//! with a reason, each refusal has one entry in the audit log, and nobody else is disturbed.

mod attacks;

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lazarette_core::run::{Outcome, RunEvent, Totals};
use lazarette_node::status;
use lazarette_tests::hostile::{Forge, Granted, Hostile};
use lazarette_tests::{Fleet, Log, wait};
use serde_json::Value;

use self::attacks::Attack;

const PATIENCE: Duration = Duration::from_secs(30);

/// Makes a whole backup as an agent of ours would, and ends the run with it; its snapshot.
fn honest_backup(fleet: &Fleet, host: &Hostile, content: &[u8]) -> Result<(Granted, String)> {
    let forge = Forge::new(host.granted_backup(fleet)?, host.channel()?);
    let snapshot = host.wait(async {
        let backup = forge.backup(&forge.manifest()?, content).await?;
        anyhow::Ok(forge.send(&backup).await?)
    })?;
    end(fleet, host, forge.granted(), &snapshot)?;
    Ok((forge.granted().clone(), snapshot))
}

/// Says that a backup has made `snapshot`, and waits until the run is over; its state.
fn end(fleet: &Fleet, host: &Hostile, granted: &Granted, snapshot: &str) -> Result<String> {
    let outcome = Outcome::Saved { snapshot: snapshot.parse()?, totals: Totals::default() };
    let at = jiff::Timestamp::UNIX_EPOCH;
    host.script().say(granted.run, RunEvent::Succeeded { at, outcome })?;
    wait::until("the end of the run", PATIENCE, || {
        let state = fleet.run(&granted.run.to_string())?.state()?;
        Ok(["succeeded", "failed"].contains(&state.as_str()).then_some(state))
    })
}

/// Tries every attack and says which were not refused as they should be.
fn try_all(host: &Hostile, attacks: Vec<Attack>) -> Vec<String> {
    let mut wrong = Vec::new();
    for Attack { name, expected, call } in attacks {
        let Err(status) = host.wait(call) else {
            wrong.push(format!("{name}: was let through"));
            continue;
        };
        let reason = status::refusal(&status).map(|failure| failure.reason);
        if !reason.is_some_and(|reason| expected.contains(&reason)) {
            wrong.push(format!("{name}: {reason:?} instead of {expected:?}: {status}"));
        }
    }
    wrong
}

/// The refusals of `who` in the audit log, oldest first, once there are `count` of them.
fn refusals(fleet: &Fleet, who: &str, count: usize) -> Result<Vec<Value>> {
    wait::until("the entries of the audit log", PATIENCE, || {
        let words = ["--output", "json", "audit", "list", "--refused", "--limit", "5000"];
        let listed = fleet.ctl(words)?.ok()?.json()?;
        let all = listed.as_array().context("list the audit log")?;
        let own = |entry: &&Value| entry.get("who").and_then(Value::as_str) == Some(who);
        let mut own: Vec<Value> = all.iter().filter(own).cloned().collect();
        own.reverse();
        ensure!(own.len() <= count, "{} entries for {count} refusals: {own:#?}", own.len());
        Ok((own.len() == count).then_some(own))
    })
}

fn snapshots(fleet: &Fleet, host: &str) -> Result<Vec<Value>> {
    let stack = format!("{host}/loot");
    let listed = fleet.ctl(["--output", "json", "snapshot", "list", &stack])?.ok()?.json()?;
    Ok(listed.as_array().context("list snapshots")?.clone())
}

#[test]
fn t1_a_hostile_agent_gets_nothing_of_others_and_every_refusal_is_written_down() -> Result<()> {
    let fleet = Fleet::up("hostile")?;
    let (alice, mallory) = (Hostile::join(&fleet, "alice")?, Hostile::join(&fleet, "mallory")?);
    let (_, alices) = honest_backup(&fleet, &alice, b"what alice saves")?;
    let alices_run = alice.granted_backup(&fleet)?;
    let victim = Forge::new(alices_run.clone(), alice.channel()?);
    let alices_backup = alice.wait(async {
        let backup = victim.backup(&victim.manifest()?, b"what alice saves next").await?;
        // On its way in while mallory does his worst.
        for pack in &backup.packs {
            victim.put(pack).await?;
        }
        anyhow::Ok(backup)
    })?;
    let (over, mallorys) = honest_backup(&fleet, &mallory, b"what mallory saves")?;

    let own = Forge::new(mallory.granted_backup(&fleet)?, mallory.channel()?);
    let mut tried = mallory.wait(attacks::in_a_backup(&own, &alices_run, &over))?;
    tried.extend(attacks::on_others(&own, &alices_run, &alices_backup));
    tried.extend(attacks::as_an_operator(&own, "alice", &alices_run));
    let mut count = tried.len();
    ensure!(count >= 30, "only {count} calls");
    let mut wrong = try_all(&mallory, tried);

    // A run that it did not make: the event is a lie, the run fails, the snapshot is not his.
    assert_eq!(end(&fleet, &mallory, own.granted(), &alices)?, "failed");
    count += 1;

    let restore = Forge::new(mallory.granted_restore(&fleet, &mallorys)?, mallory.channel()?);
    let tried = attacks::in_a_restore(&restore, &alices_backup);
    count += tried.len();
    wrong.extend(try_all(&mallory, tried));

    assert!(wrong.is_empty(), "{wrong:#?}");
    let entries = refusals(&fleet, &mallory.identity(), count)?;
    let mut by_reason: BTreeMap<&str, u32> = BTreeMap::new();
    for entry in &entries {
        let reason = entry.get("refused_reason").and_then(Value::as_str);
        *by_reason.entry(reason.context("find the reason")?).or_default() += 1;
    }
    for reason in ["POLICY_DENIED", "PACK_REFUSED", "INVALID_INPUT", "ROLE_DENIED", "RUN_UNKNOWN"] {
        assert!(by_reason.contains_key(reason), "no {reason} in {by_reason:?}");
    }
    fleet.ctl(["audit", "verify"])?.done()?;

    // Alice goes on as if nothing had been.
    let next = alice.wait(async { victim.send(&alices_backup).await })?;
    assert_eq!(end(&fleet, &alice, &alices_run, &next)?, "succeeded");
    for (host, count) in [("alice", 2), ("mallory", 1)] {
        let listed = snapshots(&fleet, host)?;
        assert_eq!(listed.len(), count, "{listed:#?}");
        fleet.ctl(["repo", "check", &format!("{host}/loot"), "--read-data"])?.done()?;
    }
    refusals(&fleet, &alice.identity(), 0)?;
    Ok(())
}

#[test]
fn t1_times_and_texts_of_a_host_are_not_believed() -> Result<()> {
    let fleet = Fleet::up("texts")?;
    let mallory = Hostile::join(&fleet, "mallory")?;
    mallory.script().change(|host, stack| {
        host.agent_version = format!("\u{1b}[2J{}", "9".repeat(10_000));
        stack.warnings = vec!["\u{1b}]0;pwned\u{7}".to_owned()];
    });
    mallory.reconnect()?;
    let (_, snapshot) = honest_backup(&fleet, &mallory, b"in 1970, says the host")?;

    let shown = fleet.ctl(["--output", "json", "snapshot", "show", &snapshot])?.ok()?.json()?;
    let time = shown.get("commit_time").and_then(Value::as_str).context("find the time")?;
    let time: jiff::Timestamp = time.parse()?;
    ensure!(time > "2020-01-01T00:00:00Z".parse()?, "the host's clock was believed: {time}");
    let connected = || Ok(fleet.ctl(["host", "list"])?.ok()?.stdout.contains("999"));
    wait::for_truth("the host to be listed", PATIENCE, connected)?;
    for words in [&["host", "list"][..], &["stack", "show", "mallory/loot"], &["stack", "list"]] {
        let said = fleet.ctl(words)?.ok()?;
        ensure!(!said.stdout.contains('\u{1b}') && !said.stdout.contains('\u{7}'), "{said}");
        ensure!(said.stdout.len() < 3000, "a host fills the screen: {said}");
    }
    Ok(())
}

#[test]
fn t1_a_host_that_floods_the_controller_disturbs_nobody() -> Result<()> {
    let fleet = Fleet::up("flood")?;
    let (alice, mallory) = (Hostile::join(&fleet, "alice")?, Hostile::join(&fleet, "mallory")?);
    let forge = Forge::new(mallory.granted_backup(&fleet)?, mallory.channel()?);

    // More connections than one agent has.
    let mut held = Vec::new();
    while let Ok(channel) = mallory.channel() {
        held.push(channel);
        ensure!(held.len() < 64, "nobody counts the connections of one host");
    }
    // More packs on their way in than there is room for one host, none of which ever ends.
    let endless: Vec<_> = (0..200)
        .map(|_| {
            let forge = forge.clone();
            mallory.begin(async move { forge.put_and_stall(100 << 20).await })
        })
        .collect();
    // More refusals than the audit log has entries for.
    let refused = mallory.wait(async {
        let mut refused = 0;
        for _ in 0..1000 {
            refused += usize::from(forge.known(vec![0; 33]).await.is_err());
        }
        refused
    });

    assert_eq!(refused, 1000);
    let (_, snapshot) = honest_backup(&fleet, &alice, b"undisturbed")?;
    fleet.ctl(["snapshot", "show", &snapshot])?.done()?;
    let memory = fleet.controller().process()?.memory()?.1;
    ensure!(memory < 600 << 20, "the controller needed {} MiB", memory >> 20);
    let words = ["--output", "json", "audit", "list", "--refused", "--limit", "5000"];
    let listed = fleet.ctl(words)?.ok()?.json()?;
    let entries = listed.as_array().map(Vec::len).unwrap_or_default();
    ensure!((100..150).contains(&entries), "{entries} entries for 1000 refusals");
    drop((held, endless));
    quiet_but_for_the_end(fleet.controller().log());
    Ok(())
}

/// The run of the flood is left open: its end is no surprise.
fn quiet_but_for_the_end(log: &Log) {
    log.expect("left a lock behind");
}
