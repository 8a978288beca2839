//! Peer: stock restic, with fsync and verification on, as it comes.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, ensure};

const PASSWORD: &str = "bench";

/// The program.
#[derive(Debug)]
pub(crate) struct Restic {
    program: PathBuf,
    /// Its name and version, as the rows have it.
    pub(crate) name: String,
}

impl Restic {
    /// The one that `tests/bench` has found.
    pub(crate) fn find() -> anyhow::Result<Self> {
        let program = std::env::var_os("LAZARETTE_RESTIC").context("run this by tests/bench")?;
        let version = Command::new(&program).arg("version").output()?.stdout;
        let name =
            String::from_utf8_lossy(&version).split(' ').take(2).collect::<Vec<_>>().join(" ");
        Ok(Self { program: program.into(), name })
    }

    fn command(&self, repository: &Path, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(["--no-cache", "--quiet", "--repo"]).arg(repository).args(arguments);
        command.env("RESTIC_PASSWORD", PASSWORD).env("HOME", repository);
        command
    }

    /// Makes a repository.
    pub(crate) fn init(&self, repository: &Path) -> anyhow::Result<()> {
        run(self.command(repository, &["init"]))?;
        Ok(())
    }

    /// Stores `source` as a stream; the seconds it took.
    pub(crate) fn store(&self, repository: &Path, source: &Path) -> anyhow::Result<f64> {
        let mut command =
            self.command(repository, &["backup", "--stdin", "--stdin-filename", "dump"]);
        command.stdin(std::fs::File::open(source)?);
        run(command)
    }

    /// Restores the newest stream to `target`; the seconds it took.
    pub(crate) fn restore(&self, repository: &Path, target: &Path) -> anyhow::Result<f64> {
        let mut command = self.command(repository, &["dump", "latest", "dump"]);
        command.stdout(std::fs::File::create(target)?);
        run(command)
    }
}

/// How a tree is restored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Restored {
    /// Each blob is hashed when it is read.
    Written,
    /// And every file is read again.
    ReadAgain,
}

impl Restic {
    /// Stores the directory `tree`; the seconds it took.
    pub(crate) fn store_tree(&self, repository: &Path, tree: &Path) -> anyhow::Result<f64> {
        let mut command = self.command(repository, &["backup", "."]);
        command.current_dir(tree);
        run(command)
    }

    /// Restores the newest snapshot's directory into `target`; the seconds it took.
    pub(crate) fn restore_tree(
        &self,
        repository: &Path,
        target: &Path,
        how: Restored,
    ) -> anyhow::Result<f64> {
        let mut command = self.command(repository, &["restore", "latest", "--target"]);
        command.arg(target);
        if how == Restored::ReadAgain {
            command.arg("--verify");
        }
        run(command)
    }
}

/// Runs a command, which must succeed; the seconds it took.
fn run(mut command: Command) -> anyhow::Result<f64> {
    let begin = Instant::now();
    let output = command.stderr(Stdio::piped()).spawn()?.wait_with_output()?;
    let seconds = begin.elapsed().as_secs_f64();
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?}: {said}");
    Ok(seconds)
}
