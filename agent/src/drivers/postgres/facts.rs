//! Facts: what a server counted, under the keys by which a snapshot and a restore are compared.

use std::collections::BTreeMap;

use lazarette_core::evidence::{Evidence, Fact};

use super::{
    catalogue::{Database, Inside, Relation, Role, SequenceValue},
    quote, roles,
};

/// Rows by schema and name of their table.
pub(super) type Rows = BTreeMap<(String, String), u64>;

/// Adds what is said of a database beside its content (H5).
pub(super) fn about_database(evidence: &mut Evidence, database: &Database) {
    let of = format!("database {}", quote::shown(&database.name));
    let mut text = |about: &str, text: String| {
        evidence.insert(format!("{of}/{about}"), Fact::Text(text));
    };
    text("owner", database.owner.clone());
    text("encoding", database.encoding.clone());
    text("locale", locale(database));
    text("tablespace", database.tablespace.clone());
    text("connection limit", database.connection_limit.to_string());
    text("is template", database.is_template.to_string());
    if let Some(comment) = &database.comment {
        text("comment", comment.clone());
    }
    for grant in &database.grants {
        let to = grant.grantee.as_deref().map_or("PUBLIC".to_owned(), quote::shown);
        let option = if grant.grantable { "with grant option" } else { "plain" };
        text(&format!("grant {} to {to}", grant.privilege), option.to_owned());
    }
    for (name, value) in database.settings.iter().map(|setting| parts(setting)) {
        text(&format!("setting {name}"), value.to_owned());
    }
    for of_role in &database.role_settings {
        let role = quote::shown(&of_role.role);
        for (name, value) in of_role.settings.iter().map(|setting| parts(setting)) {
            text(&format!("role {role}/setting {name}"), value.to_owned());
        }
    }
}

fn locale(database: &Database) -> String {
    // Before 15 there was libc only, and nobody said so.
    let provider = database.provider.as_deref().unwrap_or("c");
    let rest = [&database.collate, &database.ctype, &database.locale, &database.icu_rules];
    let rest: Vec<_> = rest.into_iter().flatten().map(String::as_str).collect();
    format!("{provider} {}", rest.join(" "))
}

fn parts(setting: &str) -> (&str, &str) {
    setting.split_once('=').unwrap_or((setting, ""))
}

/// What the rows of a table are counted under.
pub(super) fn about_rows(database: &str, (schema, table): &(String, String)) -> String {
    let table = quote::shown_qualified(schema, table);
    format!("database {}/table {table}/rows", quote::shown(database))
}

/// Adds what is inside a database; `rows` are those of its tables, those of extensions too.
pub(super) fn inside_database(evidence: &mut Evidence, name: &str, inside: &Inside, rows: &Rows) {
    for (table, rows) in rows {
        evidence.insert(about_rows(name, table), Fact::Count(*rows));
    }
    let of = format!("database {}", quote::shown(name));
    let mut add = |about: String, fact: Fact| evidence.insert(format!("{of}/{about}"), fact);
    for (extension, version) in &inside.extensions {
        let about = format!("extension {}/version", quote::shown(extension));
        add(about, Fact::Text(version.clone()));
    }
    for sequence in &inside.sequences {
        let about =
            format!("sequence {}/value", quote::shown_qualified(&sequence.schema, &sequence.name));
        // One that counts down does not get greater; one that was never used has no value yet.
        let value = match sequence.last_value {
            Some(value) if sequence.increment < 0 => value.saturating_neg(),
            Some(value) => value,
            None => i64::MIN,
        };
        add(about, Fact::AtLeast(value));
    }
    add("large objects/count".to_owned(), Fact::Count(inside.large_objects));
    if let Some(digest) = inside.large_object_digest {
        add("large objects/sizes".to_owned(), Fact::Text(format!("{digest:x}")));
    }
    for (kind, count) in &inside.objects {
        add(format!("objects/{kind}"), Fact::Count(*count));
    }
    add("owners and rights of relations".to_owned(), Fact::Text(inside.rights.clone()));
}

/// Adds the exact values of sequences of extensions.
pub(super) fn member_sequences(evidence: &mut Evidence, name: &str, values: &[SequenceValue]) {
    for value in values {
        let sequence = quote::shown_qualified(&value.schema, &value.name);
        let about = format!("database {}/sequence {sequence}/was used", quote::shown(name));
        evidence.insert(about, Fact::Text(value.is_called.to_string()));
    }
}

/// Adds the roles.
pub(super) fn about_roles(evidence: &mut Evidence, roles: &[Role]) {
    let count = i64::try_from(roles.len()).unwrap_or(i64::MAX);
    // Roles are merged: those that came since stay.
    evidence.insert("roles", Fact::AtLeast(count));
    for role in roles {
        let of = format!("role {}", quote::shown(&role.name));
        evidence.insert(format!("{of}/attributes"), Fact::Text(roles::attributes(role)));
        for membership in &role.memberships {
            let admin = if membership.admin { "with admin option" } else { "plain" };
            let about = format!("{of}/member of {}", quote::shown(&membership.of));
            evidence.insert(about, Fact::Text(admin.to_owned()));
        }
        for (name, value) in role.settings.iter().map(|setting| parts(setting)) {
            evidence.insert(format!("{of}/setting {name}"), Fact::Text(value.to_owned()));
        }
    }
}

/// Of what was `found`, that which can be compared with what was `saved`: roles and their
/// memberships that came since stay and are no difference, and an extension may be newer now,
/// which is said. Returns what is to be said.
pub(super) fn comparable(saved: &Evidence, found: &mut Evidence) -> Vec<String> {
    found.0.retain(|about, _| !about.starts_with("role ") || saved.0.contains_key(about));
    let mut notes = Vec::new();
    for (about, fact) in &mut found.0 {
        let is_version = about.ends_with("/version") && about.contains("/extension ");
        let Some(was @ Fact::Text(before)) = saved.0.get(about) else { continue };
        let Fact::Text(now) = &*fact else { continue };
        if is_version && is_newer(now, before) {
            notes.push(format!("{about}: {now}, was {before}: the server has this version"));
            *fact = was.clone();
        }
    }
    notes
}

/// Whether the version `now` is newer than `before`, as far as both are numbers.
fn is_newer(now: &str, before: &str) -> bool {
    let numbers = |text: &str| -> Option<Vec<u64>> {
        text.split('.').map(|part| part.parse().ok()).collect()
    };
    match (numbers(now), numbers(before)) {
        (Some(now), Some(before)) => now > before,
        _ => false,
    }
}

/// Why what the archive holds is not what the catalogue lists, if it is not.
pub(super) fn missing_or_extra(tables: &[Relation], rows: &Rows) -> Option<String> {
    let dumped = tables.iter().filter(|table| !table.is_skipped()).map(Relation::key);
    let dumped: std::collections::BTreeSet<_> = dumped.collect();
    let shown = |key: &(String, String)| quote::shown_qualified(&key.0, &key.1);
    if let Some(key) = dumped.iter().find(|key| !rows.contains_key(*key)) {
        return Some(format!("the dump lacks the rows of table {}", shown(key)));
    }
    let extra = rows.keys().find(|key| !dumped.contains(*key));
    extra.map(|key| format!("the dump has rows of a table that was not there: {}", shown(key)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn evidence(facts: &[(&str, &str)]) -> Evidence {
        let facts = facts.iter();
        Evidence(facts.map(|(at, it)| ((*at).to_owned(), Fact::Text((*it).to_owned()))).collect())
    }

    #[test]
    fn roles_that_came_since_are_no_difference_but_lost_ones_are() {
        let saved = evidence(&[("role app/attributes", "LOGIN")]);
        let mut found =
            evidence(&[("role app/attributes", "LOGIN"), ("role new/attributes", "LOGIN")]);
        comparable(&saved, &mut found);
        assert_eq!(saved.differences(&found), []);

        let mut found = evidence(&[("role new/attributes", "LOGIN")]);
        comparable(&saved, &mut found);
        assert_eq!(saved.differences(&found).len(), 1);
    }

    #[test]
    fn a_newer_extension_is_said_and_an_older_one_is_a_difference() {
        let at = "database shop/extension vector/version";
        let saved = evidence(&[(at, "0.7.4")]);
        let mut newer = evidence(&[(at, "0.10.0")]);
        let mut older = evidence(&[(at, "0.6.0")]);

        let notes = comparable(&saved, &mut newer);
        comparable(&saved, &mut older);

        assert_eq!(notes.len(), 1);
        assert_eq!(saved.differences(&newer), []);
        assert_eq!(saved.differences(&older).len(), 1);
    }
}
