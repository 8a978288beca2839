//! Shop: the stack that tests back up, wreck and restore; see `tests/stacks/shop`.

use std::collections::BTreeSet;
use std::fmt;

use anyhow::{Context, Result, ensure};

use crate::host::Host;
use crate::outcome::Outcome;
use crate::places::workspace;

/// The stack on its host. Making this value does nothing to it.
#[derive(Clone, Debug)]
pub struct Shop<'a> {
    host: &'a Host,
    name: String,
    settings: Vec<(&'static str, String)>,
}

/// The number that the application wrote last, in each of its four places.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counters {
    /// In the database `shop`, written first.
    pub shop: u64,
    /// In the database `ledger`.
    pub ledger: u64,
    /// In the named volume.
    pub volume: u64,
    /// In the project's directory, written last.
    pub bind: u64,
}

/// Every fact of a stack that a restore must bring back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fingerprint(BTreeSet<String>);

impl<'a> Shop<'a> {
    /// The stack `shop` of `host`, which is there or will be made by [`Shop::up`].
    pub fn of(host: &'a Host) -> Self {
        Self { host, name: "shop".to_owned(), settings: Vec::new() }
    }

    /// Another name than `shop`.
    #[must_use]
    pub fn named(mut self, name: &str) -> Self {
        name.clone_into(&mut self.name);
        self.settings.push(("SHOP_NAME", name.to_owned()));
        self
    }

    /// Another PostgreSQL than `pgvector/pgvector:pg17`: `postgres:14`, `postgres:15`, `postgres:17`, `postgres:18`.
    #[must_use]
    pub fn on_postgres(mut self, image: &str) -> Self {
        self.settings.push(("SHOP_DB_IMAGE", image.to_owned()));
        self
    }

    /// So many customers instead of 2000.
    #[must_use]
    pub fn with_rows(mut self, rows: u32) -> Self {
        self.settings.push(("SHOP_ROWS", rows.to_string()));
        self
    }

    /// Creates it, seeds it and waits until it is healthy.
    ///
    /// # Errors
    ///
    /// When it does not become so.
    pub fn up(&self) -> Result<()> {
        self.tell(&["up"]).map(drop)
    }

    /// Starts one that a host had from its template, and waits until it is healthy.
    ///
    /// # Errors
    ///
    /// When it does not become so.
    pub fn wake(&self) -> Result<()> {
        self.tell(&["wake"]).map(drop)
    }

    /// Stops the application in order: it ends its round first.
    ///
    /// # Errors
    ///
    /// When that fails.
    pub fn quiet(&self) -> Result<()> {
        self.tell(&["quiet"]).map(drop)
    }

    /// Starts the application and waits until it is healthy.
    ///
    /// # Errors
    ///
    /// When it does not become so.
    pub fn busy(&self) -> Result<()> {
        self.tell(&["busy"]).map(drop)
    }

    /// What the application wrote last. Equal in all places only while it is stopped.
    ///
    /// # Errors
    ///
    /// When a place cannot be read.
    pub fn counters(&self) -> Result<Counters> {
        let said = self.tell(&["counters"])?;
        let number = |key: &str| -> Result<u64> {
            let word = said.split_whitespace().find_map(|word| word.strip_prefix(key));
            word.with_context(|| format!("find {key} in `{said}`"))?
                .parse()
                .context("read a counter")
        };
        Ok(Counters {
            shop: number("shop=")?,
            ledger: number("ledger=")?,
            volume: number("volume=")?,
            bind: number("bind=")?,
        })
    }

    /// Every fact that a restore must bring back. What the application keeps writing is not among them.
    ///
    /// # Errors
    ///
    /// When one cannot be read.
    pub fn fingerprint(&self) -> Result<Fingerprint> {
        let said = self.tell(&["fingerprint"])?;
        let facts: BTreeSet<_> = said.lines().map(str::to_owned).collect();
        ensure!(facts.len() > 20, "a fingerprint of {} facts only:\n{said}", facts.len());
        Ok(Fingerprint(facts))
    }

    /// Adds a row that no earlier snapshot has.
    ///
    /// # Errors
    ///
    /// When the database does not take it.
    pub fn mark(&self, text: &str) -> Result<()> {
        self.tell(&["marker", text]).map(drop)
    }

    /// The rows that [`Shop::mark`] added, oldest first.
    ///
    /// # Errors
    ///
    /// When the database does not answer.
    pub fn marks(&self) -> Result<Vec<String>> {
        Ok(self.tell(&["markers"])?.lines().map(str::to_owned).collect())
    }

    /// Drops tables, deletes and damages files.
    ///
    /// # Errors
    ///
    /// When that fails.
    pub fn wreck(&self) -> Result<()> {
        self.tell(&["wreck"]).map(drop)
    }

    /// Runs SQL in `database` and gives its rows, columns parted by `|`.
    ///
    /// # Errors
    ///
    /// When the database refuses it.
    pub fn sql(&self, database: &str, sql: &str) -> Result<String> {
        let words = [
            "exec",
            &self.db(),
            "psql",
            "-XAtq",
            "-U",
            "shop",
            "-v",
            "ON_ERROR_STOP=1",
            "-d",
            database,
        ];
        self.host.docker(&[&words[..], &["-c", sql]].concat())
    }

    /// Whether the application has said a line with `part` in it.
    ///
    /// # Errors
    ///
    /// When it has no log.
    pub fn said(&self, part: &str) -> Result<bool> {
        Ok(self.host.docker(&["logs", &self.app()])?.contains(part))
    }

    /// The name of the database's container.
    pub fn db(&self) -> String {
        format!("{}-db-1", self.name)
    }

    /// The name of the application's container.
    pub fn app(&self) -> String {
        format!("{}-app-1", self.name)
    }

    /// Whether a container of it runs and, if it has a health check, is healthy.
    ///
    /// # Errors
    ///
    /// When there is no such container.
    pub fn is_running(&self, container: &str) -> Result<bool> {
        let state = "{{.State.Status}} {{with .State.Health}}{{.Status}}{{end}}";
        let said = self.host.docker(&["inspect", "-f", state, container])?;
        Ok(matches!(said.trim(), "running" | "running healthy"))
    }

    fn tell(&self, words: &[&str]) -> Result<String> {
        let mut command = self.host.command(workspace().join("tests/stacks/shop/shop.sh"))?;
        command.args(words).envs(self.settings.iter().map(|(key, value)| (key, value)));
        Ok(Outcome::of(&mut command)?.ok()?.stdout)
    }
}

impl Counters {
    /// Whether all four are the same: one cut through all places.
    pub fn are_equal(self) -> bool {
        [self.ledger, self.volume, self.bind].iter().all(|other| *other == self.shop)
    }
}

impl Fingerprint {
    /// Nothing when `other` has the same facts.
    ///
    /// # Errors
    ///
    /// When it has not, with what is gone and what is new.
    pub fn same_as(&self, other: &Self) -> Result<()> {
        let gone = self.0.difference(&other.0).map(|fact| format!("- {fact}"));
        let new = other.0.difference(&self.0).map(|fact| format!("+ {fact}"));
        let different: Vec<_> = gone.chain(new).collect();
        ensure!(different.is_empty(), "the stack is not what it was:\n{}", different.join("\n"));
        Ok(())
    }

    /// The facts that begin with `kind`, for tests that look at one kind only.
    #[must_use]
    pub fn only(&self, kind: &str) -> Self {
        Self(self.0.iter().filter(|fact| fact.starts_with(kind)).cloned().collect())
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|fact| writeln!(f, "{fact}"))
    }
}
