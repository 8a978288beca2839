//! Scripts: the SQL by which databases are put aside, exchanged, taken back and removed.
//!
//! Every script may be run again after it ended anywhere.

use lazarette_core::id::RunId;

use super::{Generation, Mark, PREVIOUS, RESTORED};
use crate::drivers::postgres::{catalogue::Database, names, quote, session::Server};

/// Marks the database `at`, which people call `name`.
pub(in crate::drivers::postgres) fn marked(at: &str, mark: Mark, name: &str, run: RunId) -> String {
    let setting = match mark {
        Mark::Restored => RESTORED,
        Mark::Previous => PREVIOUS,
        Mark::None => return String::new(),
    };
    let value = quote::literal(&format!("{run} {name}"));
    format!("ALTER DATABASE {} SET {setting} TO {value};\n", quote::identifier(at))
}

/// Takes the marks off the database `at`.
fn unmarked(at: &str) -> String {
    let at = quote::identifier(at);
    format!("ALTER DATABASE {at} RESET {RESTORED};\nALTER DATABASE {at} RESET {PREVIOUS};\n")
}

fn renamed(from: &str, to: &str) -> String {
    format!("ALTER DATABASE {} RENAME TO {};\n", quote::identifier(from), quote::identifier(to))
}

fn opened(at: &str) -> String {
    format!("ALTER DATABASE {} ALLOW_CONNECTIONS true;\n", quote::identifier(at))
}

/// Lets no new sessions in, ends those that are there, and waits until they are gone. What does
/// not go makes the next statement fail, which names it.
fn closed(at: &str) -> String {
    let name = quote::identifier(at);
    let at = quote::literal(at);
    format!(
        "ALTER DATABASE {name} ALLOW_CONNECTIONS false;\n\
         SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = {at};\n\
         DO $lz$ BEGIN FOR i IN 1..200 LOOP \
           PERFORM pg_stat_clear_snapshot(); \
           EXIT WHEN NOT EXISTS (SELECT FROM pg_stat_activity WHERE datname = {at}); \
           PERFORM pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = {at}; \
           PERFORM pg_sleep(0.05); \
         END LOOP; END $lz$;\n"
    )
}

/// Removes `database`, whoever is in it.
pub(in crate::drivers::postgres) fn removing(server: &Server, database: &Database) -> String {
    let name = quote::identifier(&database.name);
    let plain = if database.is_template {
        format!("ALTER DATABASE {name} IS_TEMPLATE false;\n")
    } else {
        String::new()
    };
    let force = if server.major() >= 13 { " WITH (FORCE)" } else { "" };
    let drop = format!("DROP DATABASE IF EXISTS {name}{force};\n");
    plain + &closed(&database.name) + &drop
}

fn find<'a>(databases: &'a [Database], name: &str) -> Option<&'a Database> {
    databases.iter().find(|database| database.name == name)
}

/// Puts the database `name` aside, so that another can be made in its place (H6). When one was
/// put aside before, what is in its place was made by the same run, and is removed.
pub(in crate::drivers::postgres) fn putting_aside(
    server: &Server,
    databases: &[Database],
    name: &str,
    run: RunId,
) -> String {
    let old = names::old(name, run);
    match find(databases, name) {
        None => String::new(),
        Some(database) if find(databases, &old).is_some() => removing(server, database),
        Some(_) => marked(name, Mark::Previous, name, run) + &closed(name) + &renamed(name, &old),
    }
}

/// Exchanges those that are beside, all of them or none.
pub(super) fn exchanging(waiting: &[Generation], run: RunId) -> String {
    let mut sql = String::new();
    let mut exchange = "BEGIN;\n".to_owned();
    for Generation { name, current, .. } in waiting {
        let beside = names::beside(name, run);
        if current.is_some() {
            sql.push_str(&marked(name, Mark::Previous, name, run));
            sql.push_str(&closed(name));
            exchange.push_str(&renamed(name, &names::old(name, run)));
        }
        sql.push_str(&closed(&beside));
        exchange.push_str(&renamed(&beside, name));
        exchange.push_str(&opened(name));
    }
    sql + &exchange + "COMMIT;\n"
}

/// Leads one database back.
pub(super) fn undoing(
    server: &Server,
    databases: &[Database],
    generation: &Generation,
    run: RunId,
) -> String {
    let name = &generation.name;
    let mut sql = String::new();
    let current = find(databases, name);
    if generation.old {
        if let Some(current) = current {
            sql.push_str(&removing(server, current));
        }
        sql.push_str(&renamed(&names::old(name, run), name));
    } else if let (Some(current), Some(Mark::Restored)) = (current, generation.current) {
        // There was none before.
        sql.push_str(&removing(server, current));
    }
    if generation.old || generation.current == Some(Mark::Previous) {
        sql.push_str(&opened(name));
        sql.push_str(&unmarked(name));
    }
    if let Some(beside) = find(databases, &names::beside(name, run)) {
        sql.push_str(&removing(server, beside));
    }
    sql
}

/// Removes what was put aside, and the marks.
pub(super) fn accepting(
    server: &Server,
    databases: &[Database],
    generation: &Generation,
    run: RunId,
) -> String {
    let mut sql = String::new();
    if let Some(old) = find(databases, &names::old(&generation.name, run)) {
        sql.push_str(&removing(server, old));
    }
    if generation.current == Some(Mark::Restored) {
        sql.push_str(&unmarked(&generation.name));
    }
    sql
}
