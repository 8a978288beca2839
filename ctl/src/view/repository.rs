//! Repositories and the catalog, as they are shown.

use lazarette_core::units::ByteCount;
use lazarette_proto::controller::v1 as wire;
use serde::Serialize;

use crate::{
    output::View,
    table::{self, Table},
};

/// A repository.
#[derive(Debug, Serialize)]
pub struct RepositoryView {
    /// `repository-…`.
    pub repository_id: String,
    /// As `host/name`.
    pub stack: String,
    location: String,
    snapshot_count: u64,
    stored_bytes: u64,
}

impl From<wire::Repository> for RepositoryView {
    fn from(it: wire::Repository) -> Self {
        Self {
            repository_id: it.repository_id,
            stack: it.stack,
            location: it.location,
            snapshot_count: it.snapshot_count,
            stored_bytes: it.stored_bytes,
        }
    }
}

impl View for Vec<RepositoryView> {
    fn table(&self) -> String {
        let mut table = Table::new(&["STACK", "SNAPSHOTS", "STORED", "REPOSITORY", "LOCATION"]);
        for it in self {
            let stored = ByteCount(it.stored_bytes);
            table.row([&it.stack, &it.snapshot_count, &stored, &it.repository_id, &it.location]);
        }
        table.lines(0)
    }
}

impl View for RepositoryView {
    fn table(&self) -> String {
        let mut table = Table::bare();
        table.row([&"repository", &self.repository_id]);
        table.row([&"stack", &self.stack]);
        table.row([&"location", &self.location]);
        table.row([&"snapshots", &self.snapshot_count]);
        table.row([&"stored", &ByteCount(self.stored_bytes)]);
        table.lines(0)
    }
}

/// The password of a repository.
#[derive(Debug, Serialize)]
pub struct PasswordView {
    /// For restic.
    pub password: String,
    /// For `restic --repo`.
    pub location: String,
}

impl View for PasswordView {
    fn table(&self) -> String {
        format!("{}\n", self.password)
    }
}

/// One thing that is damaged.
#[derive(Debug, Serialize)]
pub struct DamageView {
    object: String,
    problem: String,
    snapshot_ids: Vec<String>,
}

/// What a check came to.
#[derive(Debug, Default, Serialize)]
pub struct CheckView {
    /// What is damaged.
    pub damages: Vec<DamageView>,
    /// How many things are damaged; may be more than are listed.
    pub damage_count: u64,
    snapshot_count: u64,
    pack_count: u64,
    read_bytes: u64,
}

impl CheckView {
    /// Adds something damaged.
    pub fn add(&mut self, it: wire::Damage) {
        let wire::Damage { object, problem, snapshot_ids } = it;
        self.damages.push(DamageView { object, problem, snapshot_ids });
    }

    /// It is over.
    pub const fn end(&mut self, it: wire::CheckSummary) {
        self.damage_count = it.damage_count;
        self.snapshot_count = it.snapshot_count;
        self.pack_count = it.pack_count;
        self.read_bytes = it.read_bytes;
    }
}

impl View for CheckView {
    fn table(&self) -> String {
        let mut text = String::new();
        for it in &self.damages {
            let short = |id: &String| id.chars().take(8).collect::<String>();
            let snapshots: Vec<_> = it.snapshot_ids.iter().map(short).collect();
            let needed = match snapshots.as_slice() {
                [] => "no snapshot needs it".to_owned(),
                some => format!("needed by {}", some.join(", ")),
            };
            let line = format!("{}: {} ({needed})", it.object, it.problem);
            text.push_str(&crate::escape::line(&line));
            text.push('\n');
        }
        let found = match self.damage_count {
            0 => "no damage found".to_owned(),
            count => format!("{count} damaged"),
        };
        let (snapshots, packs) = (self.snapshot_count, self.pack_count);
        let read = ByteCount(self.read_bytes);
        text + &format!("{found}: {snapshots} snapshots, {packs} packs, {read} read\n")
    }
}

/// What a rebuilt catalog holds.
#[derive(Debug, Serialize)]
pub struct CatalogView {
    repository_count: u64,
    snapshot_count: u64,
    stacks: Vec<String>,
    /// What could not be read.
    pub problems: Vec<String>,
}

impl From<wire::RebuildCatalogResponse> for CatalogView {
    fn from(it: wire::RebuildCatalogResponse) -> Self {
        Self {
            repository_count: it.repository_count,
            snapshot_count: it.snapshot_count,
            stacks: it.stacks,
            problems: it.problems,
        }
    }
}

impl View for CatalogView {
    fn table(&self) -> String {
        let (repositories, snapshots) = (self.repository_count, self.snapshot_count);
        let mut text = format!("{repositories} repositories, {snapshots} snapshots\n");
        table::section(&mut text, "STACKS", &self.stacks);
        table::section(&mut text, "PROBLEMS", &self.problems);
        text
    }
}
