//! Record: a value with a version and a checksum, readable by people.
//!
//! Stored as `version u8 | crc32 u32 big endian | JSON`. The checksum covers key, version and
//! JSON: a value that comes up under another key is refused as well.

use serde::Serialize;
use serde::de::DeserializeOwned;

/// The length of what stands before the JSON.
const HEADER_BYTES: usize = 5;

/// What can be stored. A change of the JSON's shape that older JSON does not fit is a new
/// version, which must read all older ones; each version has a golden file.
pub trait Record: Serialize + DeserializeOwned + Send + Sync + 'static {
    /// The version that is written.
    const VERSION: u8;

    /// Reads the JSON of `version`, which is at most [`Self::VERSION`].
    ///
    /// # Errors
    ///
    /// The JSON is not a record of that version.
    fn from_json(version: u8, json: &[u8]) -> Result<Self, serde_json::Error> {
        let _ = version;
        serde_json::from_slice(json)
    }
}

/// Why stored bytes are not a record.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The key is not one of its collection.
    #[error("the key is not an id of its collection")]
    Key,
    /// Fewer bytes than a header has.
    #[error("the value is shorter than its header: {bytes} bytes")]
    Short {
        /// How many there are.
        bytes: usize,
    },
    /// The bytes are not those that were written, or not under this key.
    #[error("the value does not have the checksum that was written with it")]
    Checksum,
    /// Written by a newer controller.
    #[error("the value has version {found}, and this controller knows {known}: it is newer")]
    Newer {
        /// The version of the value.
        found: u8,
        /// The newest version this controller reads.
        known: u8,
    },
    /// Not the JSON of this kind of record.
    #[error("read the value's JSON")]
    Json(#[source] serde_json::Error),
}

/// The bytes of `value` under `key`.
///
/// # Errors
///
/// [`RecordError::Json`] when the value cannot be written as JSON.
pub(super) fn encode<V: Record>(key: &[u8], value: &V) -> Result<Vec<u8>, RecordError> {
    let mut bytes = vec![0; HEADER_BYTES];
    serde_json::to_writer(&mut bytes, value).map_err(RecordError::Json)?;
    let json = bytes.get(HEADER_BYTES..).unwrap_or_default();
    let checksum = checksum(key, V::VERSION, json).to_be_bytes();
    let header = [V::VERSION, checksum[0], checksum[1], checksum[2], checksum[3]];
    bytes.splice(..HEADER_BYTES, header);
    Ok(bytes)
}

/// The record in `bytes`, found under `key`.
///
/// # Errors
///
/// What is wrong with the bytes.
pub(super) fn decode<V: Record>(key: &[u8], bytes: &[u8]) -> Result<V, RecordError> {
    let Some(([version, written @ ..], json)) = bytes.split_first_chunk::<HEADER_BYTES>() else {
        return Err(RecordError::Short { bytes: bytes.len() });
    };
    if checksum(key, *version, json).to_be_bytes() != *written {
        return Err(RecordError::Checksum);
    }
    if *version > V::VERSION {
        return Err(RecordError::Newer { found: *version, known: V::VERSION });
    }
    V::from_json(*version, json).map_err(RecordError::Json)
}

fn checksum(key: &[u8], version: u8, json: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(key);
    hasher.update(&[version]);
    hasher.update(json);
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Note {
        text: String,
    }

    impl Record for Note {
        const VERSION: u8 = 2;
    }

    proptest! {
        #[test]
        fn a_record_comes_back_as_it_was_and_never_with_one_bit_flipped(
            text in ".{0,100}", flip in any::<prop::sample::Index>(),
        ) {
            let note = Note { text };
            let mut bytes = encode(b"note/1", &note).unwrap();
            prop_assert_eq!(&decode::<Note>(b"note/1", &bytes).unwrap(), &note);

            let bit = flip.index(bytes.len() * 8);
            bytes[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(decode::<Note>(b"note/1", &bytes).is_err());
        }
    }

    #[test]
    fn a_record_under_another_key_or_of_a_newer_version_is_refused() {
        let bytes = encode(b"note/1", &Note { text: "a".to_owned() }).unwrap();
        let mut newer = bytes.clone();
        newer[0] = 3;
        let fixed = checksum(b"note/1", 3, &newer[HEADER_BYTES..]).to_be_bytes();
        newer[1..HEADER_BYTES].copy_from_slice(&fixed);

        let moved = decode::<Note>(b"note/2", &bytes);
        let newer = decode::<Note>(b"note/1", &newer);

        assert!(matches!(moved, Err(RecordError::Checksum)));
        assert!(matches!(newer, Err(RecordError::Newer { found: 3, known: 2 })));
        assert!(matches!(decode::<Note>(b"note/1", b"\x01\0"), Err(RecordError::Short { .. })));
    }
}
