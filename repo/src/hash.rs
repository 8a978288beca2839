//! Hash: SHA-256, of a whole or as it goes by.

use sha2::{Digest, Sha256};

/// The SHA-256 of `content`.
pub fn sha256(content: &[u8]) -> [u8; 32] {
    Sha256::digest(content).into()
}

/// A SHA-256 in the making.
#[derive(Debug, Clone, Default)]
pub struct Hasher(Sha256);

impl Hasher {
    /// Takes in what follows.
    pub fn update(&mut self, content: &[u8]) {
        self.0.update(content);
    }

    /// The SHA-256 of all that was taken in, and begins anew.
    pub fn finish(&mut self) -> [u8; 32] {
        self.0.finalize_reset().into()
    }
}
