//! Verify: counts what a restore put beside, in the words of the dump.

use lazarette_core::evidence::Evidence;

use super::{
    catalogue::{self, Database, Relation},
    facts, generation,
    session::Session,
};
use crate::driver::{Cx, DriverError};

/// Counts what the run restored, wherever it is now.
pub(super) async fn verify(cx: &Cx<'_>, saved: &Evidence) -> Result<Evidence, DriverError> {
    let session = Session::open(cx).await?;
    let databases = catalogue::databases(&session).await?;
    let mut found = Evidence::default();
    facts::about_roles(&mut found, &catalogue::roles(&session).await?);
    for generation in generation::generations(&databases, cx.run) {
        let name = &generation.name;
        let Some(at) = generation.restored(cx.run) else { continue };
        let Some(database) = databases.iter().find(|it| it.name == at) else { continue };
        facts::about_database(&mut found, &Database { name: name.clone(), ..database.clone() });
        let inside = catalogue::inside(&session, &at).await?;
        let was_counted = |table: &&Relation| {
            !table.is_skipped() || saved.0.contains_key(&facts::about_rows(name, &table.key()))
        };
        let tables: Vec<_> = inside.tables.iter().filter(was_counted).cloned().collect();
        let rows = catalogue::row_counts(&session, &at, &tables).await?;
        facts::inside_database(&mut found, name, &inside, &rows);
        let sequences = catalogue::member_sequences(&session, &at, &inside.sequences).await?;
        facts::member_sequences(&mut found, name, &sequences);
    }
    for note in facts::comparable(saved, &mut found) {
        cx.notes.note(cx.component, note);
    }
    Ok(found)
}
