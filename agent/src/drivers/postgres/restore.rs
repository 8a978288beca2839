//! Restore: the databases of a snapshot, put beside those that are there.

use futures::TryStreamExt as _;
use lazarette_core::{error::Reason, units::ByteCount};

use super::{
    catalogue::{self, Database},
    dump,
    generation::{self, Mark},
    names, quiet, quote, roles,
    saved::{self, SavedDatabase, SavedServer},
    session::Session,
    settings,
    way::{self, Way},
};
use crate::{
    driver::{Cx, DriverError},
    source::Source,
};

/// Puts everything that is in `source` beside what is there.
pub(super) async fn restore(cx: &Cx<'_>, source: &mut Source) -> Result<(), DriverError> {
    let saved = document(source).await?;
    let session = Session::open(cx).await?;
    dump::refuse_standby(&session)?;
    refuse_unfit(&session, &saved).await?;
    quiet::end_left_overs(&session).await?;
    let present = catalogue::databases(&session).await?;
    let mut ways = Vec::new();
    for database in &saved.databases {
        let way = way::way(&database.facts.name, &database.extensions, database.subscriptions);
        if let Way::FreshServer(why) = way {
            let name = quote::shown(&database.facts.name);
            return Err(DriverError::new(
                Reason::StackUnsupported,
                format!("restore database `{name}`"),
                format!("{why}: restore it by hand into a server that holds nothing yet"),
            ));
        }
        ways.push((database, way));
    }
    note_others(cx, &saved, &present);
    merge_roles(cx, &session, &saved).await?;
    for (database, way) in ways {
        let restore = DatabaseRestore { cx, session: &session, database, present: &present };
        restore.all(&way, source).await?;
    }
    Ok(())
}

async fn document(source: &mut Source) -> Result<SavedServer, DriverError> {
    let doing = "read what of the server was saved";
    let text = source.text(saved::FILE).await?;
    let saved: SavedServer = serde_json::from_str(&text)
        .map_err(|error| DriverError::new(Reason::RepositoryDamaged, doing, error))?;
    if saved.format > saved::FORMAT {
        let what = format!(
            "it has format {}, this agent knows {}: use a newer agent",
            saved.format,
            saved::FORMAT
        );
        return Err(DriverError::new(Reason::VersionUnsupported, doing, what));
    }
    Ok(saved)
}

/// Asks for all that would fail only after hours.
async fn refuse_unfit(session: &Session, saved: &SavedServer) -> Result<(), DriverError> {
    let refuse = |reason, what: String| {
        Err(DriverError::new(reason, "restore the server's databases", what))
    };
    if !session.server.superuser {
        let role = quote::shown(session.role());
        let what = format!("`{role}` is no superuser: roles and databases cannot be made");
        return refuse(Reason::RestoreFailed, what);
    }
    if session.server.major() < saved.version_num / 10_000 {
        let what = format!(
            "the server is {}, older than the saved {}: use an image of the same or a newer \
             version",
            session.server.version, saved.version
        );
        return refuse(Reason::VersionUnsupported, what);
    }
    let available = catalogue::available_extensions(session).await?;
    let tablespaces = catalogue::tablespaces(session).await?;
    for database in &saved.databases {
        let name = quote::shown(&database.facts.name);
        let lacking = database.extensions.keys().find(|name| !available.contains(name));
        if let Some(extension) = lacking {
            let what = format!(
                "database `{name}` needs the extension `{}`, which the container's image lacks: \
                 use the image that the snapshot's definition names",
                quote::shown(extension)
            );
            return refuse(Reason::RestoreFailed, what);
        }
        if !tablespaces.contains(&database.facts.tablespace) {
            let what = format!(
                "database `{name}` needs the tablespace `{}`: create it first",
                quote::shown(&database.facts.tablespace)
            );
            return refuse(Reason::RestoreFailed, what);
        }
    }
    Ok(())
}

/// Databases that came since stay, and that is said.
fn note_others(cx: &Cx<'_>, saved: &SavedServer, present: &[Database]) {
    for database in present {
        let known = saved.databases.iter().any(|it| it.facts.name == database.name);
        if !known && database.marks.is_empty() {
            let name = quote::shown(&database.name);
            let note = format!("database `{name}` is not in the snapshot and stays as it is");
            cx.notes.note(cx.component, note);
        }
    }
}

async fn merge_roles(
    cx: &Cx<'_>,
    session: &Session,
    saved: &SavedServer,
) -> Result<(), DriverError> {
    let present = catalogue::roles(session).await?;
    let merge = roles::merge(&saved.roles, &present, session.role(), session.server.major());
    if !merge.sql.is_empty() {
        session.run(session.home(), merge.sql, "merge the roles").await?;
    }
    for note in merge.notes {
        cx.notes.note(cx.component, note);
    }
    if !saved.has_passwords {
        let note = "roles that were made have no password: the snapshot has none";
        cx.notes.note(cx.component, note.to_owned());
    }
    Ok(())
}

/// The restore of one database.
struct DatabaseRestore<'a> {
    cx: &'a Cx<'a>,
    session: &'a Session,
    database: &'a SavedDatabase,
    /// What was there when the restore began.
    present: &'a [Database],
}

impl DatabaseRestore<'_> {
    async fn all(&self, way: &Way, source: &mut Source) -> Result<(), DriverError> {
        let (name, run) = (&self.database.facts.name, self.cx.run);
        let server = &self.session.server;
        let (at, from, before) = match way {
            Way::RenameFirst(_) => {
                let before = generation::putting_aside(server, self.present, name, run);
                (name.clone(), generation::other_than(self.session, name), before)
            }
            Way::Beside | Way::FreshServer(_) => {
                let at = names::beside(name, run);
                let left = self.present.iter().find(|database| database.name == at);
                let before = left.map(|left| generation::removing(server, left));
                (at, self.session.home().to_owned(), before.unwrap_or_default())
            }
        };
        self.make(&at, &from, before).await?;
        self.fill(&at, source).await?;
        for table in &self.database.tables {
            self.fill_table(&at, table, source).await?;
        }
        self.finish(&at, &from).await
    }

    fn doing(&self, verb: &str) -> String {
        format!("{verb} database `{}`", quote::shown(&self.database.facts.name))
    }

    /// Makes the database, with nothing in it that the saved one had not, after `before`.
    async fn make(&self, at: &str, from: &str, before: String) -> Result<(), DriverError> {
        let facts = &self.database.facts;
        let doing = self.doing("make");
        let mut sql = before + &settings::create(at, facts);
        sql.push_str(&generation::marked(at, Mark::Restored, &facts.name, self.cx.run));
        // A template can be copied by anybody: it becomes one when it is whole.
        let facts = Database { is_template: false, ..facts.clone() };
        sql.push_str(&settings::replay(at, &facts));
        self.session.run(from, sql, &doing).await?;
        let mut surplus = String::new();
        if !self.database.schemas.iter().any(|schema| schema == "public") {
            surplus.push_str("DROP SCHEMA public;\n");
        }
        if !self.database.extensions.contains_key("plpgsql") {
            surplus.push_str("DROP EXTENSION plpgsql;\n");
        }
        if surplus.is_empty() { Ok(()) } else { self.session.run(at, surplus, &doing).await }
    }

    /// Fills it from the archive.
    async fn fill(&self, at: &str, source: &mut Source) -> Result<(), DriverError> {
        let arguments = ["--exit-on-error", "--no-password"];
        let tool = self.session.tool("pg_restore", &arguments, at);
        let body = self.counted(source.open(&self.database.file).await?);
        self.session.feed(tool, body, &self.doing("fill")).await
    }

    /// Fills an extension's table with what `pg_dump` left out.
    async fn fill_table(
        &self,
        at: &str,
        table: &saved::SavedTable,
        source: &mut Source,
    ) -> Result<(), DriverError> {
        let shown = quote::shown_qualified(&table.schema, &table.name);
        let doing = format!("{}, table {shown}", self.doing("fill"));
        let into = dump::columns(&table.schema, &table.name, &table.columns);
        // No foreign key and no trigger has a say in what was so before.
        let free = "SET session_replication_role TO replica";
        let empty = format!("DELETE FROM ONLY {}", quote::qualified(&table.schema, &table.name));
        let copy = format!("COPY {into} FROM STDIN");
        let arguments = ["-c", free, "-c", &empty, "-c", &copy];
        let tool = self.session.psql(at, &arguments);
        let body = self.counted(source.open(&table.file).await?);
        self.session.feed(tool, body, &doing).await
    }

    /// Sets the extensions' sequences and gathers statistics.
    async fn finish(&self, at: &str, from: &str) -> Result<(), DriverError> {
        let set = self.database.sequences.iter().map(|sequence| {
            let name = quote::literal(&quote::qualified(&sequence.schema, &sequence.name));
            let (value, called) = (sequence.last_value, sequence.is_called);
            format!("SELECT pg_catalog.setval({name}, {value}, {called});\n")
        });
        let mut sql: String = set.collect();
        sql.push_str("ANALYZE;\n");
        self.session.run(at, sql, &self.doing("finish")).await?;
        if self.database.facts.is_template {
            let sql = format!("ALTER DATABASE {} IS_TEMPLATE true;", quote::identifier(at));
            self.session.run(from, sql, &self.doing("finish")).await?;
        }
        Ok(())
    }

    fn counted(
        &self,
        body: impl futures::Stream<Item = Result<bytes::Bytes, DriverError>> + Send,
    ) -> impl futures::Stream<Item = Result<bytes::Bytes, DriverError>> + Send {
        let (notes, component) = (self.cx.notes, self.cx.component);
        body.inspect_ok(move |piece| {
            let bytes = u64::try_from(piece.len()).unwrap_or(u64::MAX);
            notes.progress(component, ByteCount(bytes));
        })
    }
}
