//! Sealed lines: JSON that carries its own checksum, so that damage is found and never believed.
//!
//! A file begins with a title that names what it holds and its format; each line after it is
//! sealed: 16 hex digits of the SHA-256 of the text, a space, the text.

use serde::{Serialize, de::DeserializeOwned};
use sha2::{Digest as _, Sha256};

const DIGITS: usize = 16;

/// A line or a title is not what it should be.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// The file holds something else.
    #[error("it does not begin with `lazarette {0} format …`")]
    Title(&'static str),
    /// A newer version wrote it.
    #[error("it has format {found}, this version reads up to {newest}; use the newer agent")]
    Newer {
        /// Of the file.
        found: u32,
        /// That we know.
        newest: u32,
    },
    /// The checksum is not that of the text.
    #[error("its checksum is wrong")]
    Checksum,
    /// The text is whole but does not say what we expect.
    #[error("read its JSON")]
    Json(#[source] serde_json::Error),
}

/// The first line of a file that holds a `what`.
pub fn title(what: &str, format: u32) -> String {
    format!("lazarette {what} format {format}\n")
}

/// The format that `line` promises, at most `newest`.
///
/// # Errors
///
/// [`SealError::Title`] and [`SealError::Newer`].
pub fn read_title(line: &str, what: &'static str, newest: u32) -> Result<u32, SealError> {
    let number = line.strip_prefix("lazarette ").and_then(|rest| rest.strip_prefix(what));
    let number = number.and_then(|rest| rest.strip_prefix(" format "));
    let found: u32 = number.and_then(|it| it.parse().ok()).ok_or(SealError::Title(what))?;
    if found > newest {
        return Err(SealError::Newer { found, newest });
    }
    Ok(found)
}

/// `value` as a sealed line, with its line break.
///
/// # Errors
///
/// [`SealError::Json`] for a value that JSON cannot say.
pub fn seal<T: Serialize>(value: &T) -> Result<String, SealError> {
    let text = serde_json::to_string(value).map_err(SealError::Json)?;
    Ok(format!("{} {text}\n", checksum(&text)))
}

/// What a sealed `line` says.
///
/// # Errors
///
/// [`SealError::Checksum`] and [`SealError::Json`].
pub fn open<T: DeserializeOwned>(line: &str) -> Result<T, SealError> {
    let (found, text) = line.split_once(' ').ok_or(SealError::Checksum)?;
    if found != checksum(text) {
        return Err(SealError::Checksum);
    }
    serde_json::from_str(text).map_err(SealError::Json)
}

fn checksum(text: &str) -> String {
    hex::encode(Sha256::digest(text)).chars().take(DIGITS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read_back_and_any_changed_byte_is_found() {
        let line = seal(&vec!["a\nb", "c"]).unwrap();
        assert_eq!(open::<Vec<String>>(line.trim_end()).unwrap(), ["a\nb", "c"]);

        for at in 0..line.len() - 1 {
            let mut bytes = line.trim_end().as_bytes().to_vec();
            bytes[at] ^= 1;
            let Ok(damaged) = String::from_utf8(bytes) else { continue };
            assert!(open::<Vec<String>>(&damaged).is_err(), "{damaged}");
        }
    }

    #[test]
    fn a_file_of_another_kind_or_a_newer_format_is_refused() {
        let line = title("hold", 2);
        assert_eq!(read_title(line.trim_end(), "hold", 2).unwrap(), 2);
        assert!(matches!(read_title(line.trim_end(), "hold", 1), Err(SealError::Newer { .. })));
        assert!(matches!(read_title(line.trim_end(), "run", 9), Err(SealError::Title("run"))));
    }
}
