//! Generations: which databases a run has put beside others, and which it has put aside.
//!
//! Nothing is remembered outside the server. A database that a run makes is marked with a setting
//! `lazarette.restored`, one that it puts aside with `lazarette.previous`; both hold the run and
//! the name that the database has among people. So any call can be repeated, and undone, by an
//! agent that knows nothing but the run. What is to be done is written as a script by pure
//! functions, one for all databases, and fed to `psql`.

mod script;

use std::collections::BTreeMap;

use lazarette_core::{error::Reason, id::RunId};

pub(super) use self::script::{marked, putting_aside, removing};
use super::{
    catalogue::{self, Database},
    names,
    session::Session,
};
use crate::driver::DriverError;

/// Setting on a database that a run made.
const RESTORED: &str = "lazarette.restored";

/// Setting on a database that a run puts aside.
const PREVIOUS: &str = "lazarette.previous";

/// What there is of one database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Generation {
    /// What people call it.
    pub(super) name: String,
    /// Made by the run, under a name of its own.
    pub(super) beside: bool,
    /// Put aside by the run, under a name of its own.
    pub(super) old: bool,
    /// What has the name that people use.
    pub(super) current: Option<Mark>,
}

/// What a database is marked as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mark {
    /// Not by this run.
    None,
    /// Made by this run.
    Restored,
    /// To be put aside by this run.
    Previous,
}

impl Generation {
    /// Where the restored database is now, if it is anywhere.
    pub(super) fn restored(&self, run: RunId) -> Option<String> {
        if self.beside {
            return Some(names::beside(&self.name, run));
        }
        (self.current == Some(Mark::Restored)).then(|| self.name.clone())
    }
}

/// What `run` marked `database` as, and the name it has among people.
fn mark(database: &Database, run: RunId) -> Option<(Mark, String)> {
    let value = |setting: &str| {
        let marked = database.marks.iter();
        let mut marked = marked.filter_map(|mark| mark.strip_prefix(setting)?.strip_prefix('='));
        let (of, name) = marked.next()?.split_once(' ')?;
        (of == run.to_string()).then(|| name.to_owned())
    };
    let restored = value(RESTORED).map(|name| (Mark::Restored, name));
    restored.or_else(|| value(PREVIOUS).map(|name| (Mark::Previous, name)))
}

/// What `run` has made and put aside, of every database it has touched, by name.
pub(super) fn generations(databases: &[Database], run: RunId) -> Vec<Generation> {
    let mut names: Vec<_> = databases.iter().filter_map(|it| mark(it, run)).collect();
    names.sort_by(|one, other| one.1.cmp(&other.1));
    names.dedup_by(|one, other| one.1 == other.1);
    let find = |name: &str| databases.iter().find(|database| database.name == name);
    let of = |(_, name): (Mark, String)| Generation {
        beside: find(&names::beside(&name, run)).is_some(),
        old: find(&names::old(&name, run)).is_some(),
        current: find(&name).map(|it| mark(it, run).map_or(Mark::None, |(mark, _)| mark)),
        name,
    };
    names.into_iter().map(of).collect()
}

/// The databases that `run` made and could not even mark.
fn unmarked(databases: &[Database], run: RunId) -> impl Iterator<Item = &Database> {
    let suffix = names::beside("", run);
    databases.iter().filter(move |it| it.name.ends_with(&suffix) && mark(it, run).is_none())
}

/// A database to be connected to while `name` is worked on.
pub(super) fn other_than(session: &Session, name: &str) -> String {
    let home = session.home();
    if home != name {
        home.to_owned()
    } else if name == "postgres" {
        "template1".to_owned()
    } else {
        "postgres".to_owned()
    }
}

/// Exchanges every database that is beside for the one that has its name, all of them or none.
pub(super) async fn exchange(session: &Session, run: RunId) -> Result<(), DriverError> {
    let doing = "exchange the databases";
    let databases = catalogue::databases(session).await?;
    let waiting: Vec<_> =
        generations(&databases, run).into_iter().filter(|generation| generation.beside).collect();
    if waiting.is_empty() {
        return Ok(());
    }
    // A database cannot be renamed from within.
    let is_touched = |database: &Database| {
        let it = &database.name;
        waiting.iter().any(|waits| waits.name == *it || names::beside(&waits.name, run) == *it)
    };
    let free = |database: &&Database| database.allows_connections && !is_touched(database);
    let find = |name: &str| databases.iter().filter(free).find(|it| it.name == name);
    let from = find("postgres").or_else(|| find("template1"));
    let Some(from) = from.or_else(|| databases.iter().find(free)) else {
        let what = "there is no other database to do it from: create one called `postgres`";
        return Err(DriverError::new(Reason::RestoreFailed, doing, what));
    };
    session.run(&from.name, script::exchanging(&waiting, run), doing).await
}

/// Leads everything back to before the run, wherever it stands.
pub(super) async fn undo(session: &Session, run: RunId) -> Result<(), DriverError> {
    let databases = catalogue::databases(session).await?;
    let mut scripts: BTreeMap<String, String> = BTreeMap::new();
    for generation in generations(&databases, run) {
        let sql = script::undoing(&session.server, &databases, &generation, run);
        scripts.entry(other_than(session, &generation.name)).or_default().push_str(&sql);
    }
    for database in unmarked(&databases, run) {
        let sql = removing(&session.server, database);
        scripts.entry(session.home().to_owned()).or_default().push_str(&sql);
    }
    for (from, sql) in scripts {
        session.run(&from, sql, "take the databases back").await?;
    }
    Ok(())
}

/// Removes what the run put aside, and its marks.
pub(super) async fn accept(session: &Session, run: RunId) -> Result<(), DriverError> {
    let databases = catalogue::databases(session).await?;
    let mut scripts: BTreeMap<String, String> = BTreeMap::new();
    for generation in generations(&databases, run) {
        let sql = script::accepting(&session.server, &databases, &generation, run);
        scripts.entry(other_than(session, &generation.name)).or_default().push_str(&sql);
    }
    for (from, sql) in scripts {
        session.run(&from, sql, "remove the databases that were replaced").await?;
    }
    Ok(())
}
