//! Quote: any bytes as text, by the rules of Go's `strconv.Quote` but without the quotes around.

use std::fmt::Write as _;

/// `bytes` as text: what is not UTF-8 or cannot be seen is escaped.
pub(super) fn quote(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            push(&mut text, character);
        }
        for byte in chunk.invalid() {
            escape(&mut text, 'x', 2, u32::from(*byte));
        }
    }
    text
}

/// The bytes that `text` stands for; `None` when it is nothing that [`quote`] or Go writes.
pub(super) fn unquote(text: &str) -> Option<Vec<u8>> {
    if !text.contains('\\') {
        return Some(text.as_bytes().to_vec());
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        let (plain, escaped) = rest.split_at(at);
        bytes.extend_from_slice(plain.as_bytes());
        rest = unescape(&mut bytes, escaped.get(1..)?)?;
    }
    bytes.extend_from_slice(rest.as_bytes());
    Some(bytes)
}

fn push(text: &mut String, character: char) {
    match character {
        '"' => text.push_str("\\\""),
        '\\' => text.push_str("\\\\"),
        '\u{7}' => text.push_str("\\a"),
        '\u{8}' => text.push_str("\\b"),
        '\u{c}' => text.push_str("\\f"),
        '\n' => text.push_str("\\n"),
        '\r' => text.push_str("\\r"),
        '\t' => text.push_str("\\t"),
        '\u{b}' => text.push_str("\\v"),
        ' '..='~' => text.push(character),
        '\0'..='\u{7f}' => escape(text, 'x', 2, character.into()),
        _ if is_printable(character) => text.push(character),
        '\0'..='\u{ffff}' => escape(text, 'u', 4, character.into()),
        _ => escape(text, 'U', 8, character.into()),
    }
}

fn escape(text: &mut String, kind: char, digits: usize, value: u32) {
    let written = write!(text, "\\{kind}{value:0digits$x}");
    debug_assert!(written.is_ok(), "a string takes everything");
}

/// Whether Go would print it. Rust's own table is the same but for the version of Unicode; the `a`
/// is there because a combining mark is escaped at the beginning of a string only.
fn is_printable(character: char) -> bool {
    let mut text = String::from("a");
    text.push(character);
    text.escape_debug().eq(text.chars())
}

/// Takes one escape, whose backslash is gone, off `rest`.
fn unescape<'text>(bytes: &mut Vec<u8>, rest: &'text str) -> Option<&'text str> {
    let kind = rest.chars().next()?;
    let after = rest.get(kind.len_utf8()..)?;
    let simple = match kind {
        'a' => 7,
        'b' => 8,
        'f' => 12,
        'n' => b'\n',
        'r' => b'\r',
        't' => b'\t',
        'v' => 11,
        '\\' => b'\\',
        '"' => b'"',
        'x' => return number(after, 2, 16, |value| bytes.push(u8::try_from(value).unwrap_or(0))),
        'u' => return character(bytes, after, 4),
        'U' => return character(bytes, after, 8),
        '0'..='7' => {
            let mut fits = true;
            let after = number(rest, 3, 8, |value| match u8::try_from(value) {
                Ok(byte) => bytes.push(byte),
                Err(_) => fits = false,
            });
            return after.filter(|_| fits);
        }
        _ => return None,
    };
    bytes.push(simple);
    Some(after)
}

fn character<'text>(bytes: &mut Vec<u8>, rest: &'text str, digits: usize) -> Option<&'text str> {
    let mut character = None;
    let after = number(rest, digits, 16, |value| character = char::from_u32(value))?;
    bytes.extend_from_slice(character?.encode_utf8(&mut [0; 4]).as_bytes());
    Some(after)
}

fn number(rest: &str, digits: usize, radix: u32, take: impl FnOnce(u32)) -> Option<&str> {
    let (text, after) = rest.split_at_checked(digits)?;
    if !text.chars().all(|digit| digit.is_digit(radix)) {
        return None;
    }
    take(u32::from_str_radix(text, radix).ok()?);
    Some(after)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_are_quoted_as_go_does_it() {
        let cases: [(&[u8], &str); 9] = [
            (b"plain name.txt", "plain name.txt"),
            (b"a\"b\\c", "a\\\"b\\\\c"),
            (b"\x07\x08\x0c\n\r\t\x0b", "\\a\\b\\f\\n\\r\\t\\v"),
            (b"\x01\x7f", "\\x01\\x7f"),
            (b"\xff\xc3", "\\xff\\xc3"),
            ("äöü 日本".as_bytes(), "äöü 日本"),
            ("e\u{301}".as_bytes(), "e\u{301}"),
            ("\u{200b}\u{a0}".as_bytes(), "\\u200b\\u00a0"),
            ("\u{e0001}".as_bytes(), "\\U000e0001"),
        ];

        for (bytes, text) in cases {
            assert_eq!(quote(bytes), text);
            assert_eq!(unquote(text).unwrap(), bytes);
        }
    }

    #[test]
    fn text_that_is_no_quoted_name_is_refused() {
        for text in ["\\", "\\q", "\\x1", "\\xzz", "\\u12", "\\ud800", "\\777", "\\x+1"] {
            assert_eq!(unquote(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_survive(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            prop_assert_eq!(unquote(&quote(&bytes)).unwrap(), bytes);
        }

        #[test]
        fn any_text_survives(text in any::<String>()) {
            prop_assert_eq!(unquote(&quote(text.as_bytes())).unwrap(), text.as_bytes());
        }

        #[test]
        fn no_text_panics(text in "[\\\\xuU0-9a-f\"é]{0,12}") {
            drop(unquote(&text));
        }
    }
}
