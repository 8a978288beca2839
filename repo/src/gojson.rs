//! Go's JSON: the small ways in which it differs from serde's, so that equal trees are equal blobs.

use std::io::{self, Write};

use jiff::Timestamp;
use jiff::civil::date;
use jiff::tz::TimeZone;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::ser::{CharEscape, CompactFormatter, Formatter};

/// Appends the JSON of `value`, escaped as Go does it.
pub(crate) fn write(json: &mut Vec<u8>, value: &impl Serialize) -> Result<(), serde_json::Error> {
    let mut serializer = serde_json::Serializer::with_formatter(json, Escaping(CompactFormatter));
    value.serialize(&mut serializer)
}

/// A list that Go writes as `null` when there is none.
pub(crate) fn list<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// Go's zero time, which stands for a time that was left out.
pub(crate) fn zero_time() -> Timestamp {
    first_of_year(1)
}

/// `time` within the years that Go can write, as restic does it.
pub(crate) fn fit(time: Timestamp) -> Timestamp {
    time.clamp(first_of_year(0), Timestamp::MAX)
}

fn first_of_year(year: i16) -> Timestamp {
    let first = date(year, 1, 1).to_zoned(TimeZone::UTC);
    first.map_or(Timestamp::UNIX_EPOCH, |first| first.timestamp())
}

/// Writes `<`, `>`, `&`, U+2028 and U+2029 as escapes.
struct Escaping(CompactFormatter);

impl Formatter for Escaping {
    fn write_string_fragment<W>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()>
    where
        W: ?Sized + Write,
    {
        let is_special = |character| matches!(character, '<' | '>' | '&' | '\u{2028}' | '\u{2029}');
        let mut rest = fragment;
        while let Some(at) = rest.find(is_special) {
            let (plain, special) = rest.split_at(at);
            writer.write_all(plain.as_bytes())?;
            let mut characters = special.chars();
            if let Some(character) = characters.next() {
                write!(writer, "\\u{:04x}", u32::from(character))?;
            }
            rest = characters.as_str();
        }
        writer.write_all(rest.as_bytes())
    }

    fn write_char_escape<W>(&mut self, writer: &mut W, escape: CharEscape) -> io::Result<()>
    where
        W: ?Sized + Write,
    {
        self.0.write_char_escape(writer, escape)
    }
}
