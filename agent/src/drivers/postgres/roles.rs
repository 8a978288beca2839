//! Roles: how those of a snapshot and those that are there become one set, without a loss.

use std::collections::BTreeMap;

use super::{
    catalogue::{Membership, Role},
    quote, settings,
};

/// What brings the roles of a snapshot back, and what an operator should read about it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Merge {
    pub(super) sql: String,
    pub(super) notes: Vec<String>,
}

/// Merges `saved` into `present`, on a server of this `major`, where we are `ours`.
///
/// Roles that are missing are made; those that are there get the attributes, settings and
/// memberships that they had, and keep their passwords. Nothing is dropped or taken away, and our
/// own attributes stay.
pub(super) fn merge(saved: &[Role], present: &[Role], ours: &str, major: u32) -> Merge {
    let present: BTreeMap<_, _> = present.iter().map(|role| (role.name.as_str(), role)).collect();
    let mut lines = Vec::new();
    let mut notes = Vec::new();
    for role in saved {
        let name = quote::identifier(&role.name);
        match present.get(role.name.as_str()) {
            None => {
                lines.push(format!("CREATE ROLE {name} WITH {};", attributes(role)));
                if let Some(password) = &role.password {
                    lines.push(format!("ALTER ROLE {name} PASSWORD {};", quote::literal(password)));
                }
            }
            Some(now) => {
                let shown = quote::shown(&role.name);
                if attributes(now) != attributes(role) && role.name != ours {
                    lines.push(format!("ALTER ROLE {name} WITH {};", attributes(role)));
                    let (was, is) = (attributes(now), attributes(role));
                    notes.push(format!("role `{shown}` was {was} and is {is} again"));
                }
                if role.password.is_some() && now.password != role.password {
                    notes.push(format!(
                        "role `{shown}` keeps its present password, which is not that of the \
                         snapshot"
                    ));
                }
            }
        }
        let now = present.get(role.name.as_str());
        for setting in &role.settings {
            if !now.is_some_and(|now| now.settings.contains(setting)) {
                lines.push(format!("ALTER ROLE {name} {};", settings::set(setting)));
            }
        }
        if role.comment.is_some()
            && now.and_then(|now| now.comment.as_ref()) != role.comment.as_ref()
        {
            let comment = quote::literal(role.comment.as_deref().unwrap_or_default());
            lines.push(format!("COMMENT ON ROLE {name} IS {comment};"));
        }
    }
    for role in saved {
        let now = present.get(role.name.as_str());
        for membership in &role.memberships {
            if !now.is_some_and(|now| now.memberships.contains(membership)) {
                lines.push(granted(&role.name, membership, major));
            }
        }
    }
    if lines.is_empty() {
        return Merge { sql: String::new(), notes };
    }
    Merge { sql: format!("BEGIN;\n{}\nCOMMIT;\n", lines.join("\n")), notes }
}

/// The attributes of a role as SQL has them; never its password.
pub(super) fn attributes(role: &Role) -> String {
    let flags = [
        (role.superuser, "SUPERUSER", "NOSUPERUSER"),
        (role.inherit, "INHERIT", "NOINHERIT"),
        (role.creates_roles, "CREATEROLE", "NOCREATEROLE"),
        (role.create_database, "CREATEDB", "NOCREATEDB"),
        (role.login, "LOGIN", "NOLOGIN"),
        (role.replication, "REPLICATION", "NOREPLICATION"),
        (role.bypass_row_security, "BYPASSRLS", "NOBYPASSRLS"),
    ];
    let mut words: Vec<_> =
        flags.iter().map(|(is, yes, no)| if *is { *yes } else { *no }.to_owned()).collect();
    words.push(format!("CONNECTION LIMIT {}", role.connection_limit));
    let until = role.valid_until.as_deref().unwrap_or("infinity");
    words.push(format!("VALID UNTIL {}", quote::literal(until)));
    words.join(" ")
}

fn granted(member: &str, membership: &Membership, major: u32) -> String {
    let of = quote::identifier(&membership.of);
    let to = quote::identifier(member);
    let options = match (membership.inherit, membership.set) {
        (Some(inherit), Some(set)) if major >= 16 => {
            format!(" WITH ADMIN {}, INHERIT {inherit}, SET {set}", membership.admin)
        }
        _ if membership.admin => " WITH ADMIN OPTION".to_owned(),
        _ => String::new(),
    };
    format!("GRANT {of} TO {to}{options};")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn role(name: &str) -> Role {
        Role {
            name: name.to_owned(),
            superuser: false,
            inherit: true,
            creates_roles: false,
            create_database: false,
            login: true,
            replication: false,
            bypass_row_security: false,
            connection_limit: -1,
            valid_until: None,
            comment: None,
            settings: Vec::new(),
            password: Some("SCRAM-SHA-256$secret".to_owned()),
            memberships: Vec::new(),
        }
    }

    #[test]
    fn equal_roles_are_left_alone() {
        let roles = [role("app"), role("we\"ird")];
        assert_eq!(merge(&roles, &roles, "postgres", 17), Merge::default());
    }

    #[test]
    fn a_missing_role_is_made_with_its_password_and_memberships() {
        let membership = Membership {
            of: "pg_monitor".into(),
            admin: true,
            inherit: Some(true),
            set: Some(false),
        };
        let saved = Role {
            settings: vec!["work_mem=8MB".into()],
            memberships: vec![membership],
            ..role("we\"ird")
        };

        let sql = merge(std::slice::from_ref(&saved), &[], "postgres", 17).sql;
        let older = merge(&[saved], &[], "postgres", 15).sql;

        assert!(sql.contains("CREATE ROLE \"we\"\"ird\" WITH NOSUPERUSER"), "{sql}");
        assert!(sql.contains("PASSWORD 'SCRAM-SHA-256$secret'"), "{sql}");
        assert!(sql.contains("WITH ADMIN true, INHERIT true, SET false"), "{sql}");
        assert!(older.contains("TO \"we\"\"ird\" WITH ADMIN OPTION;"), "{older}");
    }

    #[test]
    fn a_present_role_keeps_its_password_and_that_is_said() {
        let saved = Role { create_database: true, ..role("app") };
        let present = Role { password: Some("SCRAM-SHA-256$newer".to_owned()), ..role("app") };

        let merge = merge(&[saved], &[present], "postgres", 17);

        assert!(merge.sql.contains("ALTER ROLE \"app\" WITH NOSUPERUSER INHERIT"), "{}", merge.sql);
        assert!(!merge.sql.contains("PASSWORD"), "{}", merge.sql);
        assert!(merge.notes.iter().any(|note| note.contains("keeps its present password")));
        assert!(!merge.notes.iter().any(|note| note.contains("SCRAM")), "{:?}", merge.notes);
    }

    #[test]
    fn our_own_attributes_are_never_taken_away() {
        let present = Role { superuser: true, ..role("shopper") };
        assert_eq!(merge(&[role("shopper")], &[present], "shopper", 17).sql, "");
    }
}
