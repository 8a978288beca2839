//! Ways: how each database can be restored (H6), decided from what it is and what is inside.

use std::{collections::BTreeMap, fmt};

/// How one database can be restored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// Made whole beside the one that is there, then exchanged by name.
    Beside,
    /// What is there is renamed first, because it must have its name while it is restored.
    RenameFirst(&'static str),
    /// Only into a server that holds nothing yet.
    FreshServer(&'static str),
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Beside => f.write_str("beside"),
            Self::RenameFirst(why) => write!(f, "rename-first ({why})"),
            Self::FreshServer(why) => write!(f, "fresh-server ({why})"),
        }
    }
}

/// Extensions whose databases cannot be made twice in one server.
const FRESH: [(&str, &str); 3] = [
    ("timescaledb", "timescaledb keeps jobs and catalogues that a second copy would share"),
    ("citus", "citus keeps its shards on other servers"),
    ("documentdb", "documentdb keeps its catalogue in tables of its own and jobs in pg_cron"),
];

/// How `database` can be restored, with these extensions (version by name) and so many
/// subscriptions in it.
pub(super) fn way(
    database: &str,
    extensions: &BTreeMap<String, String>,
    subscriptions: u64,
) -> Way {
    let has = |name: &str| extensions.contains_key(name);
    if let Some((_, why)) = FRESH.iter().find(|(name, _)| has(name)) {
        return Way::FreshServer(why);
    }
    if subscriptions > 0 {
        return Way::FreshServer("it subscribes to another server, which a second copy would too");
    }
    if has("pg_cron") {
        return Way::RenameFirst("pg_cron can be created in the database of one name only");
    }
    if database == "postgres" {
        return Way::RenameFirst("it is the one that tools connect to");
    }
    Way::Beside
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(extension: &str) -> BTreeMap<String, String> {
        [(extension.to_owned(), "1.0".to_owned())].into()
    }

    #[test]
    fn most_are_beside_and_every_other_way_has_a_reason() {
        assert_eq!(way("shop", &with("vector"), 0), Way::Beside);
        let cron = way("shop", &with("pg_cron"), 0);
        assert!(cron.to_string().starts_with("rename-first (pg_cron"), "{cron}");
        let home = way("postgres", &BTreeMap::new(), 0);
        assert!(matches!(home, Way::RenameFirst(_)));
        let fresh = way("shop", &with("timescaledb"), 0);
        assert!(fresh.to_string().starts_with("fresh-server ("), "{fresh}");
        assert!(matches!(way("shop", &BTreeMap::new(), 1), Way::FreshServer(_)));
    }
}
