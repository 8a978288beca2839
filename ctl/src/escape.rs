//! Escape: text from elsewhere, made harmless for a terminal.

use std::borrow::Cow;

/// Whether a terminal might obey `c` instead of showing it.
fn is_harmful(c: char) -> bool {
    // Marks that change the direction of what follows can make a line read as another one.
    c.is_control()
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// `text` on one line, with everything that a terminal might obey escaped.
pub fn line(text: &str) -> Cow<'_, str> {
    escaped(text, is_harmful)
}

/// The same, but line breaks stay.
pub fn lines(text: &str) -> Cow<'_, str> {
    escaped(text, |c| c != '\n' && is_harmful(c))
}

fn escaped(text: &str, is_bad: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.contains(&is_bad) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        if is_bad(c) { safe.extend(c.escape_default()) } else { safe.push(c) }
    }
    Cow::Owned(safe)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_obeys_is_escaped_and_letters_of_any_language_stay() {
        assert_eq!(line("a\u{1b}[2Jb\nc\u{202e}d"), "a\\u{1b}[2Jb\\nc\\u{202e}d");
        assert_eq!(lines("a\nb\r"), "a\nb\\r");
        assert_eq!(line("Zürich – 東京"), "Zürich – 東京");
    }
}
