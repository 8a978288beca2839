//! Conversions: the only place that sees wire types and domain types together.
//!
//! Out is `From` and cannot fail; in is `TryFrom` and is the only check of what came over the wire.

mod event;
mod plan;
#[cfg(test)]
mod round_trip;
mod run;
mod snapshot;
mod stack;

use std::{fmt, str::FromStr};

use jiff::Timestamp;
use lazarette_core::error::{Reason, ReasonedError};

/// A message that cannot be: the field, and what is wrong with it.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("field `{field}` {what}")]
pub struct ConvertError {
    /// From the outermost message: `run.state.failed.failure`.
    field: String,
    /// As a clause.
    what: String,
}

impl ConvertError {
    /// `field` is wrong as `what` says.
    pub fn new(field: &str, what: impl fmt::Display) -> Self {
        Self { field: field.to_owned(), what: what.to_string() }
    }

    /// The same, one message further out.
    #[must_use]
    pub fn within(mut self, field: &str) -> Self {
        self.field = format!("{field}.{}", self.field);
        self
    }
}

impl ReasonedError for ConvertError {
    fn reason(&self) -> Reason {
        Reason::InvalidInput
    }
}

/// A field of a message that must be there.
pub trait Required<T> {
    /// The field, or an error that names it.
    ///
    /// # Errors
    ///
    /// [`ConvertError`] when it is absent.
    fn required(self, field: &str) -> Result<T, ConvertError>;
}

impl<T> Required<T> for Option<T> {
    fn required(self, field: &str) -> Result<T, ConvertError> {
        self.ok_or_else(|| ConvertError::new(field, "is missing"))
    }
}

/// Parses a text field: an id, a name, a reason.
///
/// # Errors
///
/// [`ConvertError`] when the text is none.
pub fn parse<T: FromStr<Err: ToString>>(field: &str, text: &str) -> Result<T, ConvertError> {
    text.parse().map_err(|error: T::Err| {
        ConvertError::new(field, format!("is refused: {}", error.to_string()))
    })
}

/// Parses every text of a repeated field.
///
/// # Errors
///
/// [`ConvertError`] when one of them is none.
pub fn parse_all<T: FromStr<Err: ToString>>(
    field: &str,
    texts: &[String],
) -> Result<Vec<T>, ConvertError> {
    texts.iter().map(|text| parse(field, text)).collect()
}

/// Converts every item of a repeated field.
fn all<W, D: TryFrom<W, Error = ConvertError>>(
    field: &str,
    items: Vec<W>,
) -> Result<Vec<D>, ConvertError> {
    items.into_iter().map(|item| D::try_from(item).map_err(|it| it.within(field))).collect()
}

/// A moment, for the wire.
pub fn to_wire_time(at: Timestamp) -> prost_types::Timestamp {
    prost_types::Timestamp { seconds: at.as_second(), nanos: at.subsec_nanosecond() }
}

/// A moment, from the wire.
///
/// # Errors
///
/// [`ConvertError`] when it is absent or outside the calendar.
pub fn from_wire_time(
    field: &str,
    at: Option<prost_types::Timestamp>,
) -> Result<Timestamp, ConvertError> {
    let at = at.required(field)?;
    Timestamp::new(at.seconds, at.nanos).map_err(|error| ConvertError::new(field, error))
}

/// The 32 bytes of a hash.
///
/// # Errors
///
/// [`ConvertError`] when there are more or fewer.
pub fn hash(field: &str, bytes: &[u8]) -> Result<[u8; 32], ConvertError> {
    bytes.try_into().map_err(|_length| {
        ConvertError::new(field, format!("has {} bytes instead of 32", bytes.len()))
    })
}

/// Hashes that follow one another without anything in between.
///
/// # Errors
///
/// [`ConvertError`] when the last one is cut, or there are more than `most`.
pub fn hashes(field: &str, bytes: &[u8], most: usize) -> Result<Vec<[u8; 32]>, ConvertError> {
    let (whole, rest) = bytes.as_chunks::<32>();
    if !rest.is_empty() {
        return Err(ConvertError::new(field, "is not a multiple of 32 bytes"));
    }
    if whole.len() > most {
        return Err(ConvertError::new(field, format!("has more than {most} ids")));
    }
    Ok(whole.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_field_is_named_from_the_outermost_message() {
        let error =
            parse::<lazarette_core::id::RunId>("run_id", "x").unwrap_err().within("request");
        assert!(error.to_string().starts_with("field `request.run_id` is refused: `x`"), "{error}");
    }

    #[test]
    fn cut_hashes_and_too_many_are_refused() {
        assert!(hashes("ids", &[0; 33], 10).is_err());
        assert!(hashes("ids", &[0; 64], 1).is_err());
        assert_eq!(hashes("ids", &[0; 64], 2).unwrap().len(), 2);
    }
}
