//! Quiet: nobody but us works on a server, asked for before a dump and after it (H3).

use std::{collections::BTreeMap, time::Duration};

use lazarette_core::error::Reason;
use serde::Deserialize;
use tokio::time::{Instant, sleep};

use super::{
    catalogue::{Inside, Relation},
    quote,
    session::{APPLICATION, Session},
};
use crate::driver::{Cx, DriverError};

/// How often it is asked who is there.
const PERIOD: Duration = Duration::from_millis(500);

/// Somebody who can write.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(super) struct Writer {
    kind: String,
    database: Option<String>,
    role: Option<String>,
    application: Option<String>,
    address: Option<String>,
    since: Option<String>,
}

impl Writer {
    fn shown(&self) -> String {
        let mut text = self.kind.escape_debug().to_string();
        let mut add = |word: &str, value: &Option<String>| {
            if let Some(value) = value.as_deref().filter(|value| !value.is_empty()) {
                text = format!("{text} {word} `{}`", value.escape_debug());
            }
        };
        add("in", &self.database);
        add("as", &self.role);
        add("called", &self.application);
        add("from", &self.address);
        add("since", &self.since);
        text
    }
}

/// Clients, appliers of replication, and transactions that are prepared.
fn writers(session: &Session) -> String {
    format!(
        "SELECT json_build_object('kind', backend_type, 'database', datname, 'role', usename, \
           'application', application_name, 'address', client_addr::text, \
           'since', backend_start::text) \
         FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND application_name <> {ours} \
           AND (backend_type = 'client backend' \
             OR backend_type LIKE 'logical replication%worker') \
         UNION ALL \
         SELECT json_build_object('kind', 'prepared transaction', 'database', database, \
           'role', owner, 'application', gid, 'since', prepared::text) FROM pg_prepared_xacts",
        ours = quote::literal(session.application())
    )
}

/// Ends the sessions that earlier runs left, and those of this one that an agent which is gone
/// left (M7). A process is never signalled (H4).
pub(super) async fn end_left_overs(session: &Session) -> Result<u64, DriverError> {
    // Ids of runs sort by age, so nobody ends the sessions of a younger run.
    let query = format!(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
         WHERE pid <> pg_backend_pid() AND application_name LIKE {ours} \
           AND application_name <= {us} COLLATE \"C\"",
        ours = quote::literal(&format!("{APPLICATION}run-%")),
        us = quote::literal(session.application())
    );
    session.row(session.home(), query, "end the sessions that earlier runs left").await
}

/// Waits until nobody else can write, for at most `patience`.
pub(super) async fn wait(
    cx: &Cx<'_>,
    session: &Session,
    patience: Duration,
) -> Result<(), DriverError> {
    let doing = "wait until nobody writes to the server";
    let give_up = Instant::now() + patience;
    loop {
        let present: Vec<Writer> = session.rows(session.home(), &[writers(session)], doing).await?;
        if present.is_empty() {
            return Ok(());
        }
        if Instant::now() >= give_up {
            let shown: Vec<_> = present.iter().take(5).map(Writer::shown).collect();
            let more = present.len().saturating_sub(shown.len());
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            return Err(DriverError::new(
                Reason::WritersActive,
                doing,
                format!(
                    "still there after {} s: {}{more}; stop them, or make them a part of the \
                     stack so that they are stopped with it",
                    patience.as_secs_f32(),
                    shown.join(", ")
                ),
            ));
        }
        tokio::select! {
            () = cx.cancel.cancelled() => {
                return Err(DriverError::plain(Reason::Cancelled, doing));
            }
            () = sleep(PERIOD.min(patience)) => {}
        }
    }
}

/// Whether a database is as it was when it was looked at `before`: nothing was rewritten (H1) and
/// nothing was written.
pub(super) fn unchanged(
    database: &str,
    before: &Inside,
    after: &Inside,
) -> Result<(), DriverError> {
    let doing = format!("dump database `{}`", quote::shown(database));
    let by_oid = |inside: &Inside| -> BTreeMap<u64, Relation> {
        inside.tables.iter().map(|table| (table.oid, table.clone())).collect()
    };
    let (before, after) = (by_oid(before), by_oid(after));
    let shown = |table: &Relation| quote::shown_qualified(&table.schema, &table.name);
    let made = after.values().find(|table| !before.contains_key(&table.oid));
    if let Some(table) = made {
        let what = format!("table {} was made meanwhile; try again", shown(table));
        return Err(DriverError::new(Reason::DdlDuringDump, doing, what));
    }
    for (oid, table) in &before {
        let what = match after.get(oid) {
            None => "was dropped",
            Some(now) if now.filenode != table.filenode => "was truncated or rewritten",
            Some(now) if now.writes != table.writes => {
                let what = format!(
                    "table {} was written to meanwhile; find out by whom, and try again",
                    shown(table)
                );
                return Err(DriverError::new(Reason::WritersActive, doing, what));
            }
            Some(_) => continue,
        };
        let what = format!("table {} {what} meanwhile; try again", shown(table));
        return Err(DriverError::new(Reason::DdlDuringDump, doing, what));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use lazarette_core::error::{ReasonedError as _, chain};

    use super::*;

    fn inside(filenode: u64, writes: i64) -> Inside {
        let table = serde_json::json!({
            "schema": "public", "name": "orders", "oid": 1, "filenode": filenode,
            "columns": [], "writes": writes,
        });
        Inside { tables: vec![serde_json::from_value(table).unwrap()], ..Inside::default() }
    }

    #[test]
    fn h1_a_rewritten_table_fails_the_dump_and_is_named() {
        let error = unchanged("shop", &inside(1, 5), &inside(2, 5)).unwrap_err();
        assert_eq!(error.reason(), Reason::DdlDuringDump);
        assert!(chain(&error).contains("public.orders was truncated"), "{}", chain(&error));
    }

    #[test]
    fn h3_a_write_meanwhile_fails_the_dump_and_is_named() {
        let error = unchanged("shop", &inside(1, 5), &inside(1, 6)).unwrap_err();
        assert_eq!(error.reason(), Reason::WritersActive);
        assert!(unchanged("shop", &inside(1, 5), &inside(1, 5)).is_ok());
        assert!(unchanged("shop", &inside(1, 5), &Inside::default()).is_err());
        assert!(unchanged("shop", &Inside::default(), &inside(1, 5)).is_err());
    }
}
