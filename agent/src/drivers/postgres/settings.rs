//! Settings: what is said of a database beside its content, as the SQL that says it again (H5).

use super::{
    catalogue::{Database, Grant},
    quote,
};

/// Settings whose values are lists of quoted names, which must be written as lists again.
const LISTS: [&str; 6] = [
    "local_preload_libraries",
    "search_path",
    "session_preload_libraries",
    "shared_preload_libraries",
    "temp_tablespaces",
    "unix_socket_directories",
];

/// `SET name TO value` of a `name=value` as a catalogue keeps it.
pub(super) fn set(setting: &str) -> String {
    let (name, value) = setting.split_once('=').unwrap_or((setting, ""));
    let value = if LISTS.contains(&name) {
        let parts: Vec<_> = list(value).iter().map(|part| quote::literal(part)).collect();
        if parts.is_empty() { "''".to_owned() } else { parts.join(", ") }
    } else {
        quote::literal(value)
    };
    // The name may have two parts: `app.tenant`.
    let name: Vec<_> = name.split('.').map(quote::identifier).collect();
    format!("SET {} TO {value}", name.join("."))
}

/// The names in a list such as `"$user", public`.
fn list(text: &str) -> Vec<String> {
    let mut parts = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let part;
        (part, rest) = if let Some(quoted) = rest.strip_prefix('"') {
            unquoted(quoted)
        } else {
            let (bare, rest) = rest.split_at(rest.find(',').unwrap_or(rest.len()));
            (bare.trim_end().to_owned(), rest)
        };
        parts.push(part);
        rest = rest.trim_start();
        rest = rest.strip_prefix(',').unwrap_or(rest).trim_start();
    }
    parts
}

/// What stands before the closing quote, and what follows it. A doubled quote stands for one.
fn unquoted(text: &str) -> (String, &str) {
    let mut part = String::new();
    let mut rest = text;
    loop {
        let Some((before, after)) = rest.split_once('"') else {
            part.push_str(rest);
            return (part, "");
        };
        part.push_str(before);
        match after.strip_prefix('"') {
            Some(more) => {
                part.push('"');
                rest = more;
            }
            None => return (part, after),
        }
    }
}

/// Makes `name`, empty, as the database `saved` was.
pub(super) fn create(name: &str, saved: &Database) -> String {
    let mut words = vec![format!(
        "CREATE DATABASE {} WITH TEMPLATE template0 OWNER {} ENCODING {} TABLESPACE {}",
        quote::identifier(name),
        quote::identifier(&saved.owner),
        quote::literal(&saved.encoding),
        quote::identifier(&saved.tablespace)
    )];
    let mut option = |word: &str, value: Option<&str>| {
        words.extend(value.map(|value| format!("{word} {}", quote::literal(value))));
    };
    option("LC_COLLATE", saved.collate.as_deref());
    option("LC_CTYPE", saved.ctype.as_deref());
    let (provider, locale) = match saved.provider.as_deref() {
        Some("i") => (Some("icu"), "ICU_LOCALE"),
        Some("b") => (Some("builtin"), "BUILTIN_LOCALE"),
        Some("c") => (Some("libc"), ""),
        // Before 15 there was no other.
        _ => (None, ""),
    };
    option("LOCALE_PROVIDER", provider);
    if !locale.is_empty() {
        option(locale, saved.locale.as_deref());
        option("ICU_RULES", saved.icu_rules.as_deref());
    }
    words.join(" ") + ";\n"
}

/// Says of the database `name` what was said of `saved`. Doing it twice is doing it once.
pub(super) fn replay(name: &str, saved: &Database) -> String {
    let name = quote::identifier(name);
    let mut lines = vec![
        format!("ALTER DATABASE {name} OWNER TO {};", quote::identifier(&saved.owner)),
        format!("ALTER DATABASE {name} CONNECTION LIMIT {};", saved.connection_limit),
        format!("ALTER DATABASE {name} IS_TEMPLATE {};", saved.is_template),
    ];
    // A fresh database has the usual rights without saying them; said, they would be others.
    if !has_usual_rights(saved) {
        let owner = quote::identifier(&saved.owner);
        lines.push(format!("REVOKE ALL ON DATABASE {name} FROM PUBLIC;"));
        lines.push(format!("REVOKE ALL ON DATABASE {name} FROM {owner};"));
        lines.extend(saved.grants.iter().map(|grant| granted(&name, grant)));
    }
    let comment = saved.comment.as_deref().map_or("NULL".to_owned(), quote::literal);
    lines.push(format!("COMMENT ON DATABASE {name} IS {comment};"));
    for setting in &saved.settings {
        lines.push(format!("ALTER DATABASE {name} {};", set(setting)));
    }
    for of_role in &saved.role_settings {
        let role = quote::identifier(&of_role.role);
        for setting in &of_role.settings {
            lines.push(format!("ALTER ROLE {role} IN DATABASE {name} {};", set(setting)));
        }
    }
    lines.join("\n") + "\n"
}

/// Whether the rights are those of a database on which nobody granted or revoked anything.
fn has_usual_rights(saved: &Database) -> bool {
    let owner = Some(saved.owner.as_str());
    let usual = [
        (owner, "CREATE"),
        (owner, "TEMPORARY"),
        (owner, "CONNECT"),
        (None, "TEMPORARY"),
        (None, "CONNECT"),
    ];
    let is_usual = |grant: &Grant| {
        !grant.grantable && usual.contains(&(grant.grantee.as_deref(), grant.privilege.as_str()))
    };
    saved.grants.len() == usual.len() && saved.grants.iter().all(is_usual)
}

fn granted(name: &str, grant: &Grant) -> String {
    let to = grant.grantee.as_deref().map_or("PUBLIC".to_owned(), quote::identifier);
    let option = if grant.grantable { " WITH GRANT OPTION" } else { "" };
    // The privilege is one of the server's own words.
    let word: String = grant.privilege.chars().filter(char::is_ascii_uppercase).collect();
    format!("GRANT {word} ON DATABASE {name} TO {to}{option};")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_names_is_written_as_a_list() {
        assert_eq!(
            set("search_path=\"$user\", public, \"a\"\"b, c\""),
            "SET \"search_path\" TO '$user', 'public', 'a\"b, c'"
        );
        assert_eq!(set("search_path=\"\""), "SET \"search_path\" TO ''");
        assert_eq!(set("search_path="), "SET \"search_path\" TO ''");
    }

    #[test]
    fn any_other_value_is_one_literal() {
        assert_eq!(set("app.tenant=a, 'b'"), "SET \"app\".\"tenant\" TO 'a, ''b'''");
        assert_eq!(set("work_mem=8MB"), "SET \"work_mem\" TO '8MB'");
    }

    #[test]
    fn a_database_is_made_again_with_its_locale() {
        let saved: Database = serde_json::from_str(
            r#"{"name":"shop","owner":"we\"ird","encoding":"UTF8","collate":"C","ctype":"C",
            "provider":"i","locale":"de","tablespace":"pg_default","connection_limit":5,
            "allows_connections":true,"is_template":false,"comment":"it's",
            "grants":[{"grantee":null,"privilege":"CONNECT","grantable":false}],
            "settings":["work_mem=8MB"],"role_settings":[{"role":"app","settings":["a.b=c"]}]}"#,
        )
        .unwrap();

        let made = create("shop__lz", &saved);
        let said = replay("shop__lz", &saved);

        assert!(made.contains("OWNER \"we\"\"ird\"") && made.contains("ICU_LOCALE 'de'"), "{made}");
        for line in [
            "GRANT CONNECT ON DATABASE \"shop__lz\" TO PUBLIC;",
            "COMMENT ON DATABASE \"shop__lz\" IS 'it''s';",
            "ALTER DATABASE \"shop__lz\" CONNECTION LIMIT 5;",
            "ALTER ROLE \"app\" IN DATABASE \"shop__lz\" SET \"a\".\"b\" TO 'c';",
        ] {
            assert!(said.lines().any(|it| it == line), "{line} in {said}");
        }
    }
}
