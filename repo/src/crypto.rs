//! Crypto: restic's sealing, AES-256-CTR with Poly1305-AES, under one master key.

use std::fmt;
use std::sync::Arc;

use aes256ctr_poly1305aes::aead::AeadInPlace;
use aes256ctr_poly1305aes::{Aes256CtrPoly1305Aes, Key, Nonce, Tag};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize as _, Zeroizing};

/// How many bytes stand before the content of something sealed.
pub const IV_SIZE: usize = 16;
/// How many bytes follow the content of something sealed.
pub const TAG_SIZE: usize = 16;
/// How much longer than its content something sealed is.
pub const OVERHEAD: usize = IV_SIZE + TAG_SIZE;

/// Why something was not sealed or opened.
#[derive(Debug, thiserror::Error)]
pub enum CryptoError {
    /// The bytes are not what this key has sealed.
    #[error("open something sealed: it was changed, or sealed with another key")]
    Forged,
    /// There are too few bytes for anything sealed.
    #[error("open something sealed of {size} bytes: it was cut off")]
    TooShort {
        /// How many there are.
        size: usize,
    },
    /// A key has a length that no key has.
    #[error("read a master key of {size} bytes: 64 are needed")]
    KeySize {
        /// How many there are.
        size: usize,
    },
    /// A key is no JSON of a master key.
    #[error("read a master key")]
    KeyFormat(#[source] serde_json::Error),
    /// The system gives no random bytes.
    #[error("ask the system for random bytes")]
    Random(#[source] getrandom::Error),
}

/// The key of a repository: whoever has it reads and forges everything in it.
///
/// It is wiped when dropped and never printed.
#[derive(Clone)]
pub struct MasterKey {
    /// 32 bytes for AES-256-CTR, 16 for the AES of the authenticator, 16 for its `r`.
    bytes: [u8; 64],
}

impl Drop for MasterKey {
    fn drop(&mut self) {
        self.bytes.zeroize();
    }
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MasterKey(…)")
    }
}

/// The master key as restic writes it into a key file.
#[derive(Serialize, Deserialize)]
struct KeyJson {
    mac: MacJson,
    encrypt: String,
}

#[derive(Serialize, Deserialize)]
struct MacJson {
    k: String,
    r: String,
}

impl Drop for KeyJson {
    fn drop(&mut self) {
        self.encrypt.zeroize();
        self.mac.k.zeroize();
        self.mac.r.zeroize();
    }
}

impl MasterKey {
    /// How many bytes a key has.
    pub const SIZE: usize = 64;

    /// A new random key.
    ///
    /// # Errors
    ///
    /// [`CryptoError::Random`] when the system gives no random bytes.
    pub fn generate() -> Result<Self, CryptoError> {
        let mut bytes = [0; 64];
        random(&mut bytes)?;
        mask(&mut bytes);
        Ok(Self { bytes })
    }

    /// The key with these bytes, as [`Self::to_bytes`] gave them.
    ///
    /// # Errors
    ///
    /// [`CryptoError::KeySize`] when they are not 64.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CryptoError> {
        match bytes.try_into() {
            Ok(bytes) => Ok(Self { bytes }),
            Err(_) => Err(CryptoError::KeySize { size: bytes.len() }),
        }
    }

    /// The bytes of the key, to hand it to another process. They are wiped when dropped.
    pub fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        Zeroizing::new(self.bytes.to_vec())
    }

    /// A 32-byte key for another purpose, from which this one cannot be told.
    pub(crate) fn derive(&self, purpose: &str) -> [u8; 32] {
        let mut hasher = crate::hash::Hasher::default();
        hasher.update(purpose.as_bytes());
        hasher.update(&[0]);
        hasher.update(&self.bytes);
        hasher.finish()
    }

    /// The JSON that restic keeps in key files.
    pub(crate) fn to_json(&self) -> Result<Zeroizing<Vec<u8>>, CryptoError> {
        let (encrypt, mac) = self.bytes.split_at(32);
        let (k, r) = mac.split_at(16);
        let mac = MacJson { k: BASE64.encode(k), r: BASE64.encode(r) };
        let json = KeyJson { mac, encrypt: BASE64.encode(encrypt) };
        serde_json::to_vec(&json).map(Zeroizing::new).map_err(CryptoError::KeyFormat)
    }

    /// The key that [`Self::to_json`], or restic, has written.
    pub(crate) fn from_json(json: &[u8]) -> Result<Self, CryptoError> {
        let json: KeyJson = serde_json::from_slice(json).map_err(CryptoError::KeyFormat)?;
        let mut bytes = Zeroizing::new(Vec::with_capacity(64));
        for part in [&json.encrypt, &json.mac.k, &json.mac.r] {
            let decoded = BASE64.decode(part).map(Zeroizing::new).unwrap_or_default();
            bytes.extend_from_slice(&decoded);
        }
        Self::from_bytes(&bytes)
    }
}

/// Clears the bits of `r` that Poly1305 does not use, as restic does.
fn mask(key: &mut [u8; 64]) {
    for (index, byte) in key.iter_mut().enumerate().skip(48) {
        match index - 48 {
            3 | 7 | 11 | 15 => *byte &= 0x0f,
            4 | 8 | 12 => *byte &= 0xfc,
            _ => {}
        }
    }
}

/// Fills `bytes` with random ones.
pub(crate) fn random(bytes: &mut [u8]) -> Result<(), CryptoError> {
    getrandom::fill(bytes).map_err(CryptoError::Random)
}

/// Seals and opens with one key; cheap to clone.
#[derive(Clone)]
pub struct Cipher {
    aead: Arc<Aes256CtrPoly1305Aes>,
}

impl fmt::Debug for Cipher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Cipher(…)")
    }
}

impl Cipher {
    /// The cipher of `key`.
    pub fn new(key: &MasterKey) -> Self {
        Self { aead: Arc::new(Aes256CtrPoly1305Aes::new(Key::from_slice(&key.bytes))) }
    }

    /// Seals `buffer` in place: its first [`IV_SIZE`] and last [`TAG_SIZE`] bytes are room for what
    /// sealing adds, the content stands between them.
    ///
    /// # Errors
    ///
    /// [`CryptoError::Random`] when the system gives no random bytes, [`CryptoError::TooShort`]
    /// when there is no room.
    pub fn seal_in_place(&self, buffer: &mut [u8]) -> Result<(), CryptoError> {
        let size = buffer.len();
        let short = || CryptoError::TooShort { size };
        let (iv, rest) = buffer.split_at_mut_checked(IV_SIZE).ok_or_else(short)?;
        let end = rest.len().checked_sub(TAG_SIZE).ok_or_else(short)?;
        let (content, tag) = rest.split_at_mut(end);
        random(iv)?;
        match self.aead.encrypt_in_place_detached(Nonce::from_slice(iv), &[], content) {
            Ok(made) => {
                tag.copy_from_slice(&made);
                Ok(())
            }
            Err(_) => Err(short()),
        }
    }

    /// Opens `buffer` in place and returns the content within it.
    ///
    /// # Errors
    ///
    /// [`CryptoError::Forged`] when a bit is not as it was sealed; [`CryptoError::TooShort`].
    pub fn open_in_place<'buffer>(
        &self,
        buffer: &'buffer mut [u8],
    ) -> Result<&'buffer [u8], CryptoError> {
        let size = buffer.len();
        let short = || CryptoError::TooShort { size };
        let (iv, rest) = buffer.split_at_mut_checked(IV_SIZE).ok_or_else(short)?;
        let end = rest.len().checked_sub(TAG_SIZE).ok_or_else(short)?;
        let (content, tag) = rest.split_at_mut(end);
        let (nonce, tag) = (Nonce::from_slice(iv), Tag::from_slice(tag));
        match self.aead.decrypt_in_place_detached(nonce, &[], content, tag) {
            Ok(()) => Ok(content),
            Err(_) => Err(CryptoError::Forged),
        }
    }

    /// `content`, sealed.
    ///
    /// # Errors
    ///
    /// [`CryptoError::Random`] when the system gives no random bytes.
    pub fn seal(&self, content: &[u8]) -> Result<Vec<u8>, CryptoError> {
        let mut sealed = Vec::with_capacity(content.len() + OVERHEAD);
        sealed.extend_from_slice(&[0; IV_SIZE]);
        sealed.extend_from_slice(content);
        sealed.extend_from_slice(&[0; TAG_SIZE]);
        self.seal_in_place(&mut sealed)?;
        Ok(sealed)
    }

    /// The content of `sealed`.
    ///
    /// # Errors
    ///
    /// As [`Self::open_in_place`].
    pub fn open(&self, sealed: &[u8]) -> Result<Vec<u8>, CryptoError> {
        let mut buffer = sealed.to_vec();
        self.open_in_place(&mut buffer).map(<[u8]>::to_vec)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_key_is_never_printed() {
        let key = MasterKey::generate().unwrap();

        assert_eq!(format!("{key:?} {:?}", Cipher::new(&key)), "MasterKey(…) Cipher(…)");
    }

    #[test]
    fn a_key_survives_its_json_and_its_bytes() {
        let key = MasterKey::generate().unwrap();

        let from_json = MasterKey::from_json(&key.to_json().unwrap()).unwrap();
        let from_bytes = MasterKey::from_bytes(&key.to_bytes()).unwrap();

        assert_eq!(from_json.bytes, key.bytes);
        assert_eq!(from_bytes.bytes, key.bytes);
    }

    proptest! {
        #[test]
        fn what_is_sealed_opens_and_any_changed_bit_is_seen(
            content in proptest::collection::vec(any::<u8>(), 0..300),
            position in any::<prop::sample::Index>(),
            bit in 0..8,
        ) {
            let cipher = Cipher::new(&MasterKey::generate().unwrap());

            let mut sealed = cipher.seal(&content).unwrap();
            prop_assert_eq!(cipher.open(&sealed).unwrap(), content);

            let position = position.index(sealed.len());
            sealed[position] ^= 1u8 << bit;
            prop_assert!(matches!(cipher.open(&sealed), Err(CryptoError::Forged)));
        }
    }

    #[test]
    fn what_is_cut_off_is_no_panic() {
        let cipher = Cipher::new(&MasterKey::generate().unwrap());
        let sealed = cipher.seal(b"content").unwrap();

        for size in 0..sealed.len() {
            assert!(cipher.open(&sealed[..size]).is_err());
        }
    }
}
