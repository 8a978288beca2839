//! Dump: every database of a server, its roles, and what `pg_dump` leaves out, into a snapshot.

use std::time::Duration;

use futures::TryStreamExt as _;
use lazarette_core::{error::Reason, evidence::Evidence, units::ByteCount};

use super::{
    archive::{Archive, Contents},
    catalogue::{self, Database, Inside, Relation},
    facts::{self, Rows},
    failure,
    gate::{self, Body},
    quiet, quote,
    saved::{self, SavedDatabase, SavedServer, SavedTable},
    session::Session,
    way,
};
use crate::{
    driver::{Cx, DriverError},
    sink::Sink,
};

/// Tables of extensions whose rows come with the extension, so that they need not be saved.
const STATIC: [(&str, &str); 6] = [
    ("address_standardizer_data_us", "us_gaz"),
    ("address_standardizer_data_us", "us_lex"),
    ("address_standardizer_data_us", "us_rules"),
    ("postgis_tiger_geocoder", "pagc_gaz"),
    ("postgis_tiger_geocoder", "pagc_lex"),
    ("postgis_tiger_geocoder", "pagc_rules"),
];

/// A database that will be dumped, and what was inside when everything was quiet.
struct Looked {
    database: Database,
    inside: Inside,
}

/// Dumps everything, once nobody writes any more; waits at most `patience` for that.
pub(super) async fn dump(
    cx: &Cx<'_>,
    sink: &mut Sink,
    patience: Duration,
) -> Result<Evidence, DriverError> {
    let session = Session::open(cx).await?;
    refuse_standby(&session)?;
    quiet::end_left_overs(&session).await?;
    quiet::wait(cx, &session, patience).await?;

    let databases = catalogue::databases(&session).await?;
    refuse_closed(&databases)?;
    let roles = catalogue::roles(&session).await?;
    let mut looked = Vec::new();
    for database in databases {
        let inside = catalogue::inside(&session, &database.name).await?;
        looked.push(Looked { database, inside });
    }

    globals(cx, &session, sink).await?;
    let mut evidence = Evidence::default();
    facts::about_roles(&mut evidence, &roles);
    let mut saved = Vec::new();
    for (at, looked) in looked.iter().enumerate() {
        let mut dump = DatabaseDump { cx, session: &session, sink: &mut *sink, at, looked };
        saved.push(dump.all(&mut evidence).await?);
    }
    for Looked { database, inside } in &looked {
        let now = catalogue::inside(&session, &database.name).await?;
        quiet::unchanged(&database.name, inside, &now)?;
    }

    let document = SavedServer {
        format: saved::FORMAT,
        version: session.server.version.clone(),
        version_num: session.server.version_num,
        has_passwords: session.server.superuser,
        roles,
        databases: saved,
    };
    write_document(sink, &document).await?;
    Ok(evidence)
}

async fn write_document(sink: &mut Sink, document: &SavedServer) -> Result<(), DriverError> {
    let text = serde_json::to_string_pretty(document)
        .map_err(|error| DriverError::new(Reason::Internal, "describe the server", error))?;
    sink.put_text(saved::FILE, text).await?;
    Ok(())
}

/// A standby gives no consistent answer while it replays, and refuses what a dump needs.
pub(super) fn refuse_standby(session: &Session) -> Result<(), DriverError> {
    if !session.server.in_recovery {
        return Ok(());
    }
    Err(DriverError::new(
        Reason::StackUnsupported,
        "dump the server",
        "it is a standby, or still recovers: back up its primary, or wait until it has recovered",
    ))
}

/// One line about a database: its size, its extensions, and how it can be restored (H6).
pub(super) async fn described(
    session: &Session,
    database: &Database,
) -> Result<String, DriverError> {
    let name = quote::shown(&database.name);
    let size =
        database.bytes.map_or_else(|| "size unknown".to_owned(), |it| ByteCount(it).to_string());
    if !database.allows_connections {
        return Ok(format!("{name}: refuses connections, so it cannot be backed up"));
    }
    let inside = catalogue::inside(session, &database.name).await?;
    let way = way::way(&database.name, &inside.extensions, inside.subscriptions);
    let extensions = inside.extensions.iter().filter(|(name, _)| *name != "plpgsql");
    let extensions: Vec<_> =
        extensions.map(|(name, version)| format!("{name} {version}")).collect();
    let with =
        if extensions.is_empty() { String::new() } else { format!(", {}", extensions.join(", ")) };
    Ok(format!("{name}: {size}{with}, restored {way}"))
}

/// A database that nobody may enter cannot be dumped, and what is not dumped is not safe.
fn refuse_closed(databases: &[Database]) -> Result<(), DriverError> {
    let Some(closed) = databases.iter().find(|database| !database.allows_connections) else {
        return Ok(());
    };
    let name = quote::shown(&closed.name);
    Err(DriverError::new(
        Reason::EngineNotReady,
        format!("dump database `{name}`"),
        format!(
            "it refuses connections: allow them with `ALTER DATABASE {} ALLOW_CONNECTIONS true`, \
             or drop it if it is not needed",
            quote::identifier(&closed.name)
        ),
    ))
}

/// Saves roles and tablespaces as people know them.
async fn globals(cx: &Cx<'_>, session: &Session, sink: &mut Sink) -> Result<(), DriverError> {
    let doing = "dump the roles".to_owned();
    let mut arguments = vec!["--globals-only", "--no-password"];
    if !session.server.superuser {
        arguments.push("--no-role-passwords");
        let role = quote::shown(session.role());
        let note = format!("`{role}` is no superuser: the passwords of the roles are not saved");
        cx.notes.note(cx.component, note);
    }
    let tool = session.tool("pg_dumpall", &arguments, session.home());
    let (body, verdict) = gate::guard(session.stream(tool), gate::Script::default(), doing.clone());
    sink.put(saved::GLOBALS, counted(cx, body)).await?;
    verdict.take(&doing)
}

/// `body`, with its bytes told as progress.
fn counted<'a>(
    cx: &'a Cx<'_>,
    body: Body,
) -> impl futures::Stream<Item = Result<bytes::Bytes, DriverError>> + Send + use<'a> {
    let (notes, component) = (cx.notes, cx.component);
    body.inspect_ok(move |piece| {
        let bytes = u64::try_from(piece.len()).unwrap_or(u64::MAX);
        notes.progress(component, ByteCount(bytes));
    })
}

/// The dump of one database.
struct DatabaseDump<'a> {
    cx: &'a Cx<'a>,
    session: &'a Session,
    sink: &'a mut Sink,
    at: usize,
    looked: &'a Looked,
}

impl DatabaseDump<'_> {
    async fn all(&mut self, evidence: &mut Evidence) -> Result<SavedDatabase, DriverError> {
        let Looked { database, inside } = self.looked;
        let (file, contents) = self.archive().await?;
        let mut rows = contents.rows;
        let mut tables = Vec::new();
        let skipped = inside.tables.iter().filter(|table| table.is_skipped());
        for (number, table) in skipped.enumerate() {
            let extension = table.extension.as_deref().unwrap_or_default();
            if STATIC.contains(&(extension, &table.name)) {
                continue;
            }
            tables.push(self.table(number, table, &mut rows).await?);
        }
        let name = &database.name;
        let sequences = catalogue::member_sequences(self.session, name, &inside.sequences).await?;
        facts::about_database(evidence, database);
        facts::inside_database(evidence, name, inside, &rows);
        facts::member_sequences(evidence, name, &sequences);
        if inside.foreign_tables > 0 {
            let count = inside.foreign_tables;
            let name = quote::shown(name);
            let note = format!(
                "database `{name}`: the rows of {count} foreign tables are elsewhere and not saved"
            );
            self.cx.notes.note(self.cx.component, note);
        }
        Ok(SavedDatabase {
            facts: database.clone(),
            file,
            schemas: inside.schemas.clone(),
            extensions: inside.extensions.clone(),
            subscriptions: inside.subscriptions,
            tables,
            sequences,
        })
    }

    /// The archive of `pg_dump`, judged against the catalogue.
    async fn archive(&mut self) -> Result<(String, Contents), DriverError> {
        let Looked { database, inside } = self.looked;
        let doing = format!("dump database `{}`", quote::shown(&database.name));
        let file = format!("databases/{:03}-{}.dump", self.at, saved::slug(&database.name));
        let arguments = ["-Fc", "-Z0", "--no-password", "--lock-wait-timeout=60s"];
        let tool = self.session.tool("pg_dump", &arguments, &database.name);
        let (body, verdict) = gate::guard(self.session.stream(tool), Archive::new(), doing.clone());
        self.sink.put(&file, counted(self.cx, body)).await?;
        let contents = verdict.take(&doing)?;
        if let Some(what) = facts::missing_or_extra(&inside.tables, &contents.rows) {
            return Err(failure::odd(&doing, what));
        }
        let objects = contents.large_objects;
        let digest = inside.large_object_digest;
        if objects.count != inside.large_objects || digest.is_some_and(|it| it != objects.digest) {
            let what = format!(
                "the dump has {} large objects, the server {}, or they differ in size",
                objects.count, inside.large_objects
            );
            return Err(failure::odd(&doing, what));
        }
        Ok((file, contents))
    }

    /// The rows of an extension's table that `pg_dump` leaves out.
    async fn table(
        &mut self,
        number: usize,
        table: &Relation,
        rows: &mut Rows,
    ) -> Result<SavedTable, DriverError> {
        let database = &self.looked.database.name;
        let shown = quote::shown_qualified(&table.schema, &table.name);
        let doing = format!("dump table {shown} of database `{}`", quote::shown(database));
        let file = format!(
            "databases/{:03}-{}/{number:03}-{}.copy",
            self.at,
            saved::slug(database),
            saved::slug(&table.name)
        );
        let copy =
            format!("COPY {} TO STDOUT", columns(&table.schema, &table.name, &table.columns));
        let tool = self.session.psql(database, &["-c", &copy]);
        let (body, verdict) =
            gate::guard(self.session.stream(tool), gate::Rows::default(), doing.clone());
        self.sink.put(&file, counted(self.cx, body)).await?;
        rows.insert(table.key(), verdict.take(&doing)?);
        Ok(SavedTable {
            extension: table.extension.clone().unwrap_or_default(),
            schema: table.schema.clone(),
            name: table.name.clone(),
            columns: table.columns.clone(),
            file,
        })
    }
}

/// A table and its columns as `COPY` wants them.
pub(super) fn columns(schema: &str, name: &str, columns: &[String]) -> String {
    let table = quote::qualified(schema, name);
    let columns: Vec<_> = columns.iter().map(|column| quote::identifier(column)).collect();
    if columns.is_empty() { table } else { format!("{table} ({})", columns.join(", ")) }
}
