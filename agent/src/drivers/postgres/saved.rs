//! Saved: the document in a snapshot that says what of a server is in it, and where.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::catalogue::{Database, Role, SequenceValue};

/// What the document is called in the component's directory.
pub(super) const FILE: &str = "server.json";

/// The roles and tablespaces as `pg_dumpall` writes them: for people, the document has all of it.
pub(super) const GLOBALS: &str = "globals.sql";

/// The newest format that this version writes.
pub(super) const FORMAT: u32 = 1;

/// What of a server is in a snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SavedServer {
    /// Of this document; [`FORMAT`].
    pub(super) format: u32,
    pub(super) version: String,
    pub(super) version_num: u32,
    /// Whether the roles are here with what verifies their passwords.
    pub(super) has_passwords: bool,
    pub(super) roles: Vec<Role>,
    pub(super) databases: Vec<SavedDatabase>,
}

/// One database in a snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SavedDatabase {
    /// What is said of it beside its content.
    pub(super) facts: Database,
    /// The archive of `pg_dump`.
    pub(super) file: String,
    /// Schemas that were there: a new database has `public` whether the saved one had it or not.
    pub(super) schemas: Vec<String>,
    /// Version by name: a new database has `plpgsql` whether the saved one had it or not.
    pub(super) extensions: BTreeMap<String, String>,
    /// How many subscriptions it has.
    pub(super) subscriptions: u64,
    /// Tables of extensions that `pg_dump` leaves out.
    pub(super) tables: Vec<SavedTable>,
    /// Sequences of extensions that `pg_dump` leaves out.
    pub(super) sequences: Vec<SequenceValue>,
}

/// The rows of an extension's table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SavedTable {
    pub(super) extension: String,
    pub(super) schema: String,
    pub(super) name: String,
    /// As `COPY` wrote them, in its order.
    pub(super) columns: Vec<String>,
    pub(super) file: String,
}

/// The part of a file's name that people read: what is plain of `name`.
pub(super) fn slug(name: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '_' { c } else { '-' };
    name.chars().take(40).map(plain).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As version 1 wrote it, to be read for ever.
    const GOLDEN: &str = include_str!("saved/server-1.json");

    #[test]
    fn the_first_format_is_still_read() {
        let saved: SavedServer = serde_json::from_str(GOLDEN).unwrap();
        assert_eq!(saved.format, 1);
        assert_eq!(saved.databases.len(), 1);
        let again: SavedServer =
            serde_json::from_str(&serde_json::to_string(&saved).unwrap()).unwrap();
        assert_eq!(again, saved);
    }

    #[test]
    fn a_slug_is_a_plain_part_of_a_path() {
        assert_eq!(slug("../we\"ird\n/x"), "---we-ird--x");
    }
}
