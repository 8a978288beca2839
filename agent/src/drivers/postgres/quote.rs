//! Quoting: names and texts as they must be written in SQL and in connection strings.

/// `name` as an SQL identifier, always in double quotes.
pub(super) fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// `schema.name`, both quoted.
pub(super) fn qualified(schema: &str, name: &str) -> String {
    format!("{}.{}", identifier(schema), identifier(name))
}

/// `text` as an SQL literal that means the same whatever `standard_conforming_strings` says.
pub(super) fn literal(text: &str) -> String {
    let quoted = text.replace('\'', "''");
    if quoted.contains('\\') {
        format!("E'{}'", quoted.replace('\\', "\\\\"))
    } else {
        format!("'{quoted}'")
    }
}

/// `key='value'` pairs, so that a value which looks like an option or a URL is still a value.
pub(super) fn connection(pairs: &[(&str, &str)]) -> String {
    let written = pairs.iter().map(|(key, value)| {
        let value = value.replace('\\', "\\\\").replace('\'', "\\'");
        format!("{key}='{value}'")
    });
    written.collect::<Vec<_>>().join(" ")
}

/// `name` for people: bare when it is plain, in double quotes otherwise. Two different names
/// never look alike.
pub(super) fn shown(name: &str) -> String {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    let bare = name.chars().all(plain) && name.starts_with(|c: char| !c.is_ascii_digit());
    if bare { name.to_owned() } else { identifier(name) }
}

/// `schema.name` for people.
pub(super) fn shown_qualified(schema: &str, name: &str) -> String {
    format!("{}.{}", shown(schema), shown(name))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HOSTILE: [&str; 8] =
        ["we\"ird", "a'b", "x;drop table t", "new\nline", "-d", "Ünï", "back\\slash", "a=b host=c"];

    #[test]
    fn hostile_names_stay_one_identifier() {
        let quoted: Vec<_> = HOSTILE.iter().map(|name| identifier(name)).collect();
        assert_eq!(quoted[0], "\"we\"\"ird\"");
        assert_eq!(quoted[4], "\"-d\"");
        assert_eq!(qualified("a.b", "c"), "\"a.b\".\"c\"");
    }

    #[test]
    fn literals_double_quotes_and_escape_backslashes() {
        assert_eq!(literal("a'b"), "'a''b'");
        assert_eq!(literal("a\\'b"), "E'a\\\\''b'");
    }

    #[test]
    fn a_connection_string_keeps_what_looks_like_an_option() {
        let text = connection(&[("dbname", "a'b host=evil"), ("user", "x\\")]);
        assert_eq!(text, "dbname='a\\'b host=evil' user='x\\\\'");
    }

    #[test]
    fn names_are_shown_bare_only_when_nothing_could_be_mistaken() {
        assert_eq!(shown_qualified("public", "orders"), "public.orders");
        assert_eq!(shown("Orders"), "\"Orders\"");
        assert_eq!(shown(""), "\"\"");
        assert_eq!(shown("a.b"), "\"a.b\"");
    }

    /// Reads a quoted text back as PostgreSQL's lexer would.
    fn unquoted(text: &str, quote: char) -> Option<String> {
        let inner = text.strip_prefix(quote)?.strip_suffix(quote)?;
        let mut out = String::new();
        let mut chars = inner.chars().peekable();
        while let Some(c) = chars.next() {
            if c == quote && chars.next() != Some(quote) {
                return None;
            }
            out.push(c);
        }
        Some(out)
    }

    proptest! {
        #[test]
        fn any_name_reads_back_as_itself(name in ".*") {
            prop_assert_eq!(unquoted(&identifier(&name), '"'), Some(name.clone()));
        }

        #[test]
        fn any_text_reads_back_as_itself(text in "[^\\\\]*") {
            prop_assert_eq!(unquoted(&literal(&text), '\''), Some(text.clone()));
        }

        #[test]
        fn shown_names_differ_when_names_differ(a in ".{0,6}", b in ".{0,6}") {
            prop_assume!(a != b);
            prop_assert_ne!(shown(&a), shown(&b));
        }
    }
}
