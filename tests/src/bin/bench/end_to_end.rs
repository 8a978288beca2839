//! End to end: `ctl`, a controller with its embedded repository, an agent on a Docker host, and a
//! volume; beside restic on the same directory.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use lazarette_tests::{Fleet, Host, Run};

use crate::data::{self, tree::Shape};
use crate::peer::{Restic, Restored};
use crate::rows::{Pair, Rows};
use crate::same_trees;

/// Host, stack, container: all are called so.
const NAME: &str = "bench";
/// What is in the volume.
const VOLUME: &str = "/var/lib/docker/volumes/data/_data";

/// What is measured.
#[derive(Clone, Copy, Debug)]
pub(crate) enum What {
    /// One file, as a dump is, of so many bytes.
    Dump(u64),
    /// Many small files and some large ones.
    Tree(Shape),
}

impl What {
    const fn word(self) -> &'static str {
        match self {
            Self::Dump(_) => "dump",
            Self::Tree(_) => "tree",
        }
    }

    /// Makes the first day's data in the existing directory `root`; its bytes. What a later day
    /// needs is left in `beside`.
    fn make(self, root: &Path, beside: &Path) -> anyhow::Result<u64> {
        match self {
            Self::Dump(size) => {
                let first = root.join("dump");
                data::dumps(size, &first, &beside.join("changed"))?;
                Ok(first.metadata()?.len())
            }
            Self::Tree(shape) => shape.make(root),
        }
    }

    fn change(self, root: &Path, beside: &Path) -> anyhow::Result<()> {
        match self {
            Self::Dump(_) => {
                // Written into the old file, as `pg_dump` into a file of the same name does.
                std::fs::copy(beside.join("changed"), root.join("dump"))?;
                std::fs::remove_file(beside.join("changed"))?;
                Ok(())
            }
            Self::Tree(shape) => shape.change(root, 1),
        }
    }
}

/// The memory of our programs over one measurement, in bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Memory {
    agent_busy: u64,
    agent_idle: u64,
    controller_busy: u64,
    controller_idle: u64,
}

impl Memory {
    /// Adds what was seen to the rows.
    pub(crate) fn tell(self, rows: &mut Rows) {
        rows.add_limit("memory/agent/busy", self.agent_busy, 256 << 20);
        rows.add_limit("memory/agent/idle", self.agent_idle, 30 << 20);
        rows.add_limit("memory/controller/busy", self.controller_busy, 128 << 20);
        rows.add_limit("memory/controller/idle", self.controller_idle, 64 << 20);
    }

    /// The larger of both.
    pub(crate) fn most(self, other: Self) -> Self {
        Self {
            agent_busy: self.agent_busy.max(other.agent_busy),
            agent_idle: self.agent_idle.max(other.agent_idle),
            controller_busy: self.controller_busy.max(other.controller_busy),
            controller_idle: self.controller_idle.max(other.controller_idle),
        }
    }
}

/// Measures a first backup, one a day later, and a restore over the wrecked volume, each run with a
/// fleet of its own; says what memory that took.
pub(crate) fn measure(
    restic: &Restic,
    scratch: &Path,
    (what, runs): (What, usize),
    rows: &mut Rows,
) -> anyhow::Result<Memory> {
    let (mut stored, mut changed, mut restored): (Pair, Pair, Pair) = Default::default();
    let mut memory = Memory::default();
    let mut bytes = 0;
    for _ in 0..runs {
        let mut fleet = Fleet::up(NAME)?;
        fleet.join(Host::up(NAME)?)?;
        let host = fleet.host(NAME)?;
        // Made, not started: what is measured is moving data, not how long a container takes.
        host.docker(&["create", "--name", NAME, "-v", "data:/data", IMAGE, "sleep", "infinity"])?;
        let (live, theirs) = (host.path(VOLUME), scratch.join("theirs"));
        bytes = what.make(&live, scratch)?;
        restic.init(&theirs)?;

        rustix::fs::sync();
        stored.1.push(restic.store_tree(&theirs, &live)?);
        rustix::fs::sync();
        let (seconds, seen) = watched(&mut fleet, |fleet| ctl(fleet, &["backup", NAME]))?;
        stored.0.push(seconds);
        memory = memory.most(seen);
        what.change(&live, scratch)?;
        rustix::fs::sync();
        changed.1.push(restic.store_tree(&theirs, &live)?);
        rustix::fs::sync();
        changed.0.push(ctl(&fleet, &["backup", NAME])?);

        let copy = scratch.join("restored");
        rustix::fs::sync();
        restored.1.push(restic.restore_tree(&theirs, &copy, Restored::ReadAgain)?);
        same_trees(&live, &copy)?;
        wreck(&live)?;
        rustix::fs::sync();
        let (seconds, seen) = watched(&mut fleet, |fleet| ctl(fleet, &["restore", NAME, "--yes"]))?;
        restored.0.push(seconds);
        memory = memory.most(seen);
        same_trees(&copy, &live)?;
        for path in [&theirs, &copy] {
            std::fs::remove_dir_all(path)?;
        }
        fleet.quiet()?;
    }
    for (name, pair) in [("first", &stored), ("changed", &changed), ("restore", &restored)] {
        rows.add(&format!("end-to-end/{}/{name}", what.word()), &restic.name, bytes, pair);
    }
    Ok(memory)
}

/// The image of the container that mounts the volume.
const IMAGE: &str = "debian:bookworm-slim";

/// Runs `ctl` to a success of the whole run; the seconds it took.
fn ctl(fleet: &Fleet, words: &[&str]) -> anyhow::Result<f64> {
    let outcome = fleet.ctl(["--output", "json"].iter().chain(words))?.ok()?;
    let run = Run::in_outcome(&outcome)?;
    ensure!(run.state()? == "succeeded", "the run did not succeed: {outcome}");
    Ok(outcome.took.as_secs_f64())
}

/// Everything in the volume goes.
fn wreck(live: &Path) -> anyhow::Result<()> {
    for entry in std::fs::read_dir(live)? {
        let path: PathBuf = entry?.path();
        if path.is_dir() {
            std::fs::remove_dir_all(path)?;
        } else {
            std::fs::remove_file(path)?;
        }
    }
    Ok(())
}

/// How often memory is looked at: packs live for longer than this.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Does `work` and looks at the memory of both programs meanwhile, and after it.
fn watched(
    fleet: &mut Fleet,
    work: impl FnOnce(&Fleet) -> anyhow::Result<f64>,
) -> anyhow::Result<(f64, Memory)> {
    let agent = fleet.agent(NAME)?.process()?.pid();
    let controller = fleet.controller().process()?.pid();
    let is_over = AtomicBool::new(false);
    let mut memory = Memory::default();
    let worked = std::thread::scope(|scope| {
        let looking = scope.spawn(|| {
            let mut most = (0, 0);
            while !is_over.load(Ordering::Relaxed) {
                most.0 = most.0.max(with_children(agent));
                most.1 = most.1.max(with_children(controller));
                std::thread::sleep(LOOK_EVERY);
            }
            most
        });
        let worked = work(fleet);
        is_over.store(true, Ordering::Relaxed);
        if let Ok((agent, controller)) = looking.join() {
            (memory.agent_busy, memory.controller_busy) = (agent, controller);
        }
        worked
    });
    let seconds = worked?;
    memory.agent_idle = with_children(agent);
    memory.controller_idle = with_children(controller);
    let Memory { agent_busy, agent_idle, controller_busy, controller_idle } = memory;
    let seen = [agent_busy, agent_idle, controller_busy, controller_idle];
    ensure!(!seen.contains(&0), "a program's memory was not seen: {memory:?}");
    Ok((seconds, memory))
}

/// The resident memory of a process and its children; of a page that several share, each has a part.
fn with_children(pid: i32) -> u64 {
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
    let children = children.unwrap_or_default();
    let children = children.split_whitespace().filter_map(|it| it.parse().ok());
    // Who ended meanwhile has none.
    std::iter::once(pid).chain(children).map(|pid| resident(pid).unwrap_or(0)).sum()
}

fn resident(pid: i32) -> anyhow::Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("Pss:"));
    let kibibytes = line.and_then(|rest| rest.split_whitespace().next()).context("find Pss")?;
    Ok(kibibytes.parse::<u64>()? * 1024)
}
