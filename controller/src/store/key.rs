//! Key: how an id becomes bytes that sort as the ids do.

use uuid::Uuid;

/// An id in a key. Every encoding must be of fixed length, or stand last in a tuple, so that no
/// encoding is the beginning of another one's.
pub trait Key: Sized {
    /// Appends the bytes; they sort as the ids do.
    fn write(&self, key: &mut Vec<u8>);

    /// The id whose bytes these are, all of them.
    fn read(bytes: &[u8]) -> Option<Self>;
}

impl Key for u64 {
    fn write(&self, key: &mut Vec<u8>) {
        key.extend_from_slice(&self.to_be_bytes());
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self::from_be_bytes)
    }
}

impl Key for Uuid {
    fn write(&self, key: &mut Vec<u8>) {
        key.extend_from_slice(self.as_bytes());
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        Self::from_slice(bytes).ok()
    }
}

impl Key for String {
    fn write(&self, key: &mut Vec<u8>) {
        key.extend_from_slice(self.as_bytes());
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        Self::from_utf8(bytes.to_vec()).ok()
    }
}

/// The only record of its collection.
impl Key for () {
    fn write(&self, _key: &mut Vec<u8>) {}

    fn read(bytes: &[u8]) -> Option<Self> {
        bytes.is_empty().then_some(())
    }
}
