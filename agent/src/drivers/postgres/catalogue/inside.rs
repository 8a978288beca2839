//! What is inside one database: extensions, tables, sequences, large objects, and how much of it.

mod queries;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    driver::DriverError,
    drivers::postgres::{quote, session::Session},
};

/// A table that holds rows.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(in crate::drivers::postgres) struct Relation {
    pub(in crate::drivers::postgres) schema: String,
    pub(in crate::drivers::postgres) name: String,
    pub(in crate::drivers::postgres) oid: u64,
    /// The file that holds its rows; another one after it was truncated or rewritten (H1).
    pub(in crate::drivers::postgres) filenode: Option<u64>,
    /// The extension that it belongs to.
    pub(in crate::drivers::postgres) extension: Option<String>,
    /// Whether its extension asked that its rows be dumped, and which: `WHERE …`, or all.
    pub(in crate::drivers::postgres) dumped_where: Option<String>,
    /// What `COPY` writes of it, in its order.
    pub(in crate::drivers::postgres) columns: Vec<String>,
    /// Rows ever inserted, changed and deleted, as the server's statistics have it.
    pub(in crate::drivers::postgres) writes: i64,
}

impl Relation {
    /// Whether `pg_dump` leaves its rows out, as the extension's own business.
    pub(in crate::drivers::postgres) fn is_skipped(&self) -> bool {
        self.extension.is_some() && self.dumped_where.is_none()
    }

    /// As the archive and the evidence know it.
    pub(in crate::drivers::postgres) fn key(&self) -> (String, String) {
        (self.schema.clone(), self.name.clone())
    }
}

/// A sequence.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(in crate::drivers::postgres) struct Sequence {
    pub(in crate::drivers::postgres) schema: String,
    pub(in crate::drivers::postgres) name: String,
    pub(in crate::drivers::postgres) increment: i64,
    /// None when it was never used.
    pub(in crate::drivers::postgres) last_value: Option<i64>,
    /// Whether it belongs to an extension that did not ask for it to be dumped.
    pub(in crate::drivers::postgres) skipped: bool,
}

/// What is inside a database.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::drivers::postgres) struct Inside {
    /// Version by name.
    pub(in crate::drivers::postgres) extensions: BTreeMap<String, String>,
    pub(in crate::drivers::postgres) tables: Vec<Relation>,
    pub(in crate::drivers::postgres) sequences: Vec<Sequence>,
    pub(in crate::drivers::postgres) large_objects: u64,
    /// Sum of hashes of ids and sizes, as [`super::super::archive::LargeObjects`] has it; none
    /// where only superusers may look.
    pub(in crate::drivers::postgres) large_object_digest: Option<u128>,
    /// How many of each other kind of object there are, and one hash over owners and rights.
    pub(in crate::drivers::postgres) objects: BTreeMap<String, u64>,
    pub(in crate::drivers::postgres) rights: String,
    /// Schemas that the users made, or `public`.
    pub(in crate::drivers::postgres) schemas: Vec<String>,
    /// Foreign tables, whose rows are elsewhere.
    pub(in crate::drivers::postgres) foreign_tables: u64,
    pub(in crate::drivers::postgres) subscriptions: u64,
}

/// One answer of the server.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Row {
    Extension { name: String, version: String },
    Table(Relation),
    Sequence(Sequence),
    LargeObjects { count: u64, digest: Option<String> },
    Objects { kind: String, count: u64 },
    Rights(Option<String>),
    Schema(String),
    ForeignTables(u64),
    Subscriptions(u64),
}

/// Looks inside `database`.
pub(in crate::drivers::postgres) async fn inside(
    session: &Session,
    database: &str,
) -> Result<Inside, DriverError> {
    let doing = format!("look into database `{}`", quote::shown(database));
    let rows: Vec<Row> =
        session.rows(database, &queries::all(session.server.superuser), &doing).await?;
    let mut inside = Inside::default();
    for row in rows {
        match row {
            Row::Extension { name, version } => drop(inside.extensions.insert(name, version)),
            Row::Table(table) => inside.tables.push(table),
            Row::Sequence(sequence) => inside.sequences.push(sequence),
            Row::LargeObjects { count, digest } => {
                inside.large_objects = count;
                inside.large_object_digest = digest.and_then(|digest| digest.parse().ok());
            }
            Row::Objects { kind, count } => drop(inside.objects.insert(kind, count)),
            Row::Rights(rights) => inside.rights = rights.unwrap_or_default(),
            Row::Schema(name) => inside.schemas.push(name),
            Row::ForeignTables(count) => inside.foreign_tables = count,
            Row::Subscriptions(count) => inside.subscriptions = count,
        }
    }
    Ok(inside)
}

/// How many names a call may hold: an argument list has an end.
const BATCH: usize = 500;

/// The value of a sequence that `pg_dump` leaves out.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub(in crate::drivers::postgres) struct SequenceValue {
    pub(in crate::drivers::postgres) schema: String,
    pub(in crate::drivers::postgres) name: String,
    pub(in crate::drivers::postgres) last_value: i64,
    pub(in crate::drivers::postgres) is_called: bool,
}

/// The values of those `sequences` that `pg_dump` leaves out.
pub(in crate::drivers::postgres) async fn member_sequences(
    session: &Session,
    database: &str,
    sequences: &[Sequence],
) -> Result<Vec<SequenceValue>, DriverError> {
    let skipped: Vec<_> = sequences.iter().filter(|sequence| sequence.skipped).collect();
    let doing = format!("read the extensions' sequences of database `{}`", quote::shown(database));
    let mut values = Vec::new();
    for batch in skipped.chunks(BATCH) {
        let queries = batch.iter().map(|sequence| {
            format!(
                "SELECT json_build_object('schema', {}, 'name', {}, 'last_value', last_value, \
                 'is_called', is_called) FROM {}",
                quote::literal(&sequence.schema),
                quote::literal(&sequence.name),
                quote::qualified(&sequence.schema, &sequence.name)
            )
        });
        values.extend(session.rows(database, &queries.collect::<Vec<_>>(), &doing).await?);
    }
    Ok(values)
}

/// Counts the rows of `tables` one by one, of an extension's table those that it wants dumped.
pub(in crate::drivers::postgres) async fn row_counts(
    session: &Session,
    database: &str,
    tables: &[Relation],
) -> Result<BTreeMap<(String, String), u64>, DriverError> {
    #[derive(Deserialize)]
    struct Rows(usize, u64);

    let doing = format!("count the rows of database `{}`", quote::shown(database));
    let mut counts = BTreeMap::new();
    for batch in tables.chunks(BATCH) {
        let queries = batch.iter().enumerate().map(|(at, table)| {
            let name = quote::qualified(&table.schema, &table.name);
            let condition = table.dumped_where.as_deref().unwrap_or_default();
            format!("SELECT json_build_array({at}, count(*)) FROM ONLY {name} {condition}")
        });
        let queries: Vec<_> = queries.collect();
        let rows: Vec<Rows> = session.rows(database, &queries, &doing).await?;
        for Rows(at, count) in rows {
            if let Some(table) = batch.get(at) {
                counts.insert(table.key(), count);
            }
        }
    }
    Ok(counts)
}
