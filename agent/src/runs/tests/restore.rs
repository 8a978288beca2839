//! Whole restores, and what is left when the agent dies in the middle.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_puts_the_data_back_and_starts_the_stack() {
    let bench = Bench::new().await;
    let grant = bench.a_snapshot().await;
    "wrecked".clone_into(&mut bench.note.live.lock().unwrap());

    let state = bench.run(Bench::restore(), grant).await;

    let RunState::Succeeded { outcome: Outcome::Restored { facts_compared, .. }, .. } = state
    else {
        panic!("{state:?}");
    };
    assert_eq!(facts_compared, 1);
    assert_eq!(bench.note.live(), "as it was");
    assert_eq!(*bench.note.calls.lock().unwrap(), ["restore", "verify", "swap", "accept"]);
    assert!(bench.runs_again());
    assert_eq!(bench.holds().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_restore_is_held_with_its_old_data_and_can_be_rolled_back() {
    let bench = Bench::new().await;
    let grant = bench.a_snapshot().await;
    "wrecked".clone_into(&mut bench.note.live.lock().unwrap());
    bench.note.set(Mood::VerifyLies);
    let job = Bench::restore();
    let run = job.run;

    let state = bench.run(job, grant).await;

    assert_eq!(reason(&state), Some(Reason::EvidenceDiffers));
    assert!(matches!(state, RunState::Held { .. }));
    assert_eq!(bench.note.live(), "wrecked");
    assert!(!bench.runs_again());
    assert_eq!(bench.holds().await, 1);

    let (_, after) = bench.runs.log(run).unwrap().standing();
    bench.runs.roll_back(run).unwrap();
    let state = bench.ended(run, after).await;
    assert!(matches!(state, RunState::RolledBack { .. }), "{state:?}");
    assert!(bench.runs_again());
    assert_eq!((bench.note.live().as_str(), bench.holds().await), ("wrecked", 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_held_restore_goes_on_after_a_restart_of_the_agent() {
    let mut bench = Bench::new().await;
    let grant = bench.a_snapshot().await;
    "wrecked".clone_into(&mut bench.note.live.lock().unwrap());
    bench.note.set(Mood::SwapFails);
    let job = Bench::restore();
    let run = job.run;
    let state = bench.run(job, grant.clone()).await;
    assert!(matches!(state, RunState::Held { .. }), "{state:?}");

    bench.restarted();
    bench.runs.recover().await;
    assert!(matches!(bench.runs.log(run).unwrap().state(), RunState::Held { .. }));
    bench.note.set(Mood::Well);
    let (_, after) = bench.runs.log(run).unwrap().standing();
    bench.runs.resume(run, grant).unwrap();

    let state = bench.ended(run, after).await;
    assert!(matches!(state, RunState::Succeeded { .. }), "{state:?}");
    assert_eq!(bench.note.live(), "as it was");
    assert!(bench.runs_again());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_that_cannot_be_undone_says_so_and_stays_stopped() {
    let bench = Bench::new().await;
    let grant = bench.a_snapshot().await;
    bench.note.set(Mood::UndoFails);
    let mut job = Bench::restore();
    if let Plan::Restore(plan) = &mut job.plan {
        plan.components[0].evidence = count("never was");
    }

    let state = bench.run(job, grant).await;

    let RunState::Held { failure, .. } = &state else { panic!("{state:?}") };
    assert!(failure.message.contains("could not be put back"), "{failure}");
    assert!(!bench.runs_again());
}

#[tokio::test(flavor = "multi_thread")]
async fn f3_a_backup_in_the_middle_of_which_the_agent_died_is_let_go_and_failed() {
    let mut bench = Bench::new().await;
    let job = Bench::backup();
    let run = job.run;
    left_in_the_middle(&bench, &job, Phase::Saving, None).await;
    assert!(!bench.runs_again());

    bench.restarted();
    bench.runs.recover().await;

    let state = bench.ended(run, 0).await;
    assert_eq!(reason(&state), Some(Reason::AgentRestarted));
    assert!(bench.runs_again());
    assert_eq!(bench.holds().await, 0);
    bench.runs.start(job, bench.grant(None)).await.unwrap(); // the same run is not run again
    assert_eq!(reason(&bench.runs.log(run).unwrap().state()), Some(Reason::AgentRestarted));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_in_the_middle_of_which_the_agent_died_is_taken_back() {
    let mut bench = Bench::new().await;
    let job = Bench::restore();
    let run = job.run;
    left_in_the_middle(&bench, &job, Phase::Swapping, Some(Generation::Swapped)).await;
    *bench.note.previous.lock().unwrap() = Some("old".to_owned());

    bench.restarted();
    bench.runs.recover().await;

    let state = bench.ended(run, 0).await;
    assert_eq!(reason(&state), Some(Reason::AgentRestarted));
    assert_eq!(bench.note.live(), "old");
    assert!(bench.runs_again());
    assert_eq!(bench.holds().await, 0);
}

/// As a SIGKILL leaves it: held, and written down.
async fn left_in_the_middle(
    bench: &Bench,
    job: &Job,
    phase: Phase,
    generation: Option<Generation>,
) {
    let at = Timestamp::UNIX_EPOCH;
    let mut record = Record::new(job.clone());
    let mut file = bench.records.begin(job).unwrap();
    let mut lines = vec![
        Line::Event { sequence: 1, event: RunEvent::Started { at } },
        Line::Event { sequence: 2, event: RunEvent::Entered { at, phase } },
    ];
    lines.extend(
        generation.map(|generation| Line::Reached { component: component().name, generation }),
    );
    for line in lines {
        file.append(&line, true).unwrap();
        record.add(line).unwrap();
    }
    let until = match job.plan {
        Plan::Backup(_) => crate::held::Until::Budget(Duration::from_hours(1)),
        Plan::Restore(_) => crate::held::Until::Operator { why: "a restore".to_owned() },
    };
    let (stack, layers) = (job.plan.stack().clone(), job.plan.stop().to_vec());
    let wish = crate::held::Wish { run: job.run, stack, layers, until };
    let never = tokio_util::sync::CancellationToken::new();
    drop(bench.tools.holder.hold(wish, &never).await.unwrap());
}
