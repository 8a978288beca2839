//! A process that is killed while it writes.

use std::time::Duration;

use super::workload::{self, Process, Steps};

const KILLS: usize = 20;

#[test]
fn everything_that_was_acknowledged_survives_kills() -> anyhow::Result<()> {
    let directory = tempfile::tempdir()?;
    let runtime = workload::runtime()?;
    let mut chance = fastrand::Rng::with_seed(9);
    let mut before = Steps::default();

    for _ in 0..KILLS {
        let process = Process::start(directory.path())?;
        // Not a wait for anything: the kill comes when it comes.
        std::thread::sleep(Duration::from_micros(chance.u64(0..200_000)));
        let acknowledged = process.kill()?;
        let store = super::open(directory.path())?;
        let at_least = std::array::from_fn(|writer| acknowledged[writer].max(before[writer]));
        before = runtime.block_on(workload::verify(&store, at_least))?;
    }

    assert!(before.iter().all(|steps| *steps > 0), "a writer never wrote: {before:?}");
    Ok(())
}

#[test]
fn a_second_process_is_told_that_another_controller_runs() -> anyhow::Result<()> {
    let directory = tempfile::tempdir()?;
    let _first = super::open(directory.path())?;

    let second = super::open(directory.path()).map(drop);

    let message = second.expect_err("two opened one store").to_string();
    assert!(message.contains("another controller runs on this directory"), "{message}");
    Ok(())
}
