//! Run: what `ctl` says about a backup or a restore.

use anyhow::{Context, Result};
use serde_json::Value;

use crate::fleet::Fleet;
use crate::outcome::Outcome;

/// A run as `ctl --output json` shows it.
#[derive(Clone, Debug)]
pub struct Run(Value);

impl Run {
    /// The run in what `ctl` printed.
    ///
    /// # Errors
    ///
    /// When there is none.
    pub fn in_outcome(outcome: &Outcome) -> Result<Self> {
        let json = outcome.json()?;
        let run = Self(json);
        run.id().with_context(|| format!("find a run in: {outcome}"))?;
        Ok(run)
    }

    /// Its id.
    ///
    /// # Errors
    ///
    /// When it has none.
    pub fn id(&self) -> Result<String> {
        self.text("run_id")
    }

    /// The word for its state: `succeeded`, `failed`, `held` …
    ///
    /// # Errors
    ///
    /// When it has none.
    pub fn state(&self) -> Result<String> {
        self.text("state")
    }

    /// The snapshot that it made or brought back.
    ///
    /// # Errors
    ///
    /// When it has none.
    pub fn snapshot(&self) -> Result<String> {
        self.text("snapshot_id")
    }

    /// A number of its totals: `read_bytes`, `new_bytes`, `reused_bytes`, `stored_bytes`, `downtime_ms` …
    ///
    /// # Errors
    ///
    /// When it has no such.
    pub fn total(&self, name: &str) -> Result<u64> {
        let found = self.0.pointer(&format!("/totals/{name}")).and_then(Value::as_u64);
        found.with_context(|| format!("find totals.{name} in {}", self.0))
    }

    /// All of it.
    pub fn json(&self) -> &Value {
        &self.0
    }

    fn text(&self, name: &str) -> Result<String> {
        let found = self.0.get(name).and_then(Value::as_str);
        Ok(found.with_context(|| format!("find {name} in {}", self.0))?.to_owned())
    }
}

impl Fleet {
    /// Backs a stack up and waits for the end.
    ///
    /// # Errors
    ///
    /// When the run does not succeed whole.
    pub fn backup(&self, stack: &str) -> Result<Run> {
        Run::in_outcome(&self.ctl(["--output", "json", "backup", stack])?.ok()?)
    }

    /// Restores a stack to a snapshot and waits for the end.
    ///
    /// # Errors
    ///
    /// When the run does not succeed.
    pub fn restore(&self, stack: &str, snapshot: &str) -> Result<Run> {
        let words = ["--output", "json", "restore", stack, "--snapshot", snapshot, "--yes"];
        Run::in_outcome(&self.ctl(words)?.ok()?)
    }

    /// What the controller says about a run now.
    ///
    /// # Errors
    ///
    /// When it does not know it.
    pub fn run(&self, id: &str) -> Result<Run> {
        Run::in_outcome(&self.ctl(["--output", "json", "run", "show", id])?.ok()?)
    }

    /// Runs plain restic on the repository of a stack.
    ///
    /// # Errors
    ///
    /// When `ctl` does not give its place and password, or restic cannot be started.
    pub fn restic(&self, stack: &str, words: &[&str]) -> Result<Outcome> {
        let said = self.ctl(["--output", "json", "repo", "password", stack])?.ok()?.json()?;
        let field = |name: &str| -> Result<String> {
            let text = said.get(name).and_then(Value::as_str);
            Ok(text.with_context(|| format!("find {name} in {said}"))?.to_owned())
        };
        let mut restic = std::process::Command::new("restic");
        restic.args(["--no-cache", "--repo", &field("location")?]).args(words);
        Outcome::of(restic.env("RESTIC_PASSWORD", field("password")?))
    }
}
