//! Secrets: what opens the repositories, kept in files that only the controller reads.

use std::path::{Path, PathBuf};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use lazarette_core::id::RepositoryId;
use lazarette_node::durable;
use lazarette_repo::key::{Derived, Hardness, KeyError};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

/// The controller's own secret, from which the password of every repository follows.
const CONTROLLER_FILE: &str = "repositories.secret";
/// The recovery passphrase after scrypt: it makes key files, but is not the passphrase.
const RECOVERY_FILE: &str = "recovery.json";
/// The files in the controller's directory that hold secrets.
pub const SECRET_FILES: [&str; 2] = [CONTROLLER_FILE, RECOVERY_FILE];
/// Readable by nobody else.
const MODE: u32 = 0o600;

/// Secrets could not be made or read.
#[derive(Debug, thiserror::Error)]
pub enum SecretsError {
    /// A file cannot be read.
    #[error("read `{}`", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// A file cannot be written.
    #[error("keep the secrets of the repositories")]
    Write(#[source] durable::DurableError),
    /// The recovery passphrase cannot be worked with.
    #[error("prepare the recovery passphrase")]
    Recovery(#[source] KeyError),
    /// The machine has no randomness.
    #[error("make a secret")]
    Chance(#[source] getrandom::Error),
}

/// What opens the repositories.
#[derive(Debug)]
pub struct Secrets {
    controller: Zeroizing<Vec<u8>>,
    recovery: Derived,
}

/// A passphrase for people to write down: 26 characters in groups, 130 bits.
///
/// # Errors
///
/// The machine has no randomness.
pub fn new_recovery_passphrase() -> Result<Zeroizing<String>, SecretsError> {
    // Without characters that are mistaken for one another (Crockford's base 32).
    const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
    let mut bytes = Zeroizing::new([0_u8; 26]);
    getrandom::fill(bytes.as_mut()).map_err(SecretsError::Chance)?;
    let mut text = Zeroizing::new(String::with_capacity(32));
    for (place, byte) in bytes.iter().enumerate() {
        if place > 0 && place % 5 == 0 {
            text.push('-');
        }
        let letter = ALPHABET.get(usize::from(byte & 31)).copied().unwrap_or(b'0');
        text.push(char::from(letter));
    }
    Ok(text)
}

impl Secrets {
    /// Makes the secrets of a new controller in `directory`.
    ///
    /// # Errors
    ///
    /// They cannot be made or written.
    pub async fn create(directory: &Path, recovery: &str) -> Result<Self, SecretsError> {
        let mut controller = Zeroizing::new(vec![0; 32]);
        getrandom::fill(&mut controller).map_err(SecretsError::Chance)?;
        let derived = Derived::new(&recovery.to_owned().into(), Hardness::DEFAULT)
            .await
            .map_err(SecretsError::Recovery)?;
        let text = derived.to_json().map_err(SecretsError::Recovery)?;
        let hex = Zeroizing::new(hex::encode(controller.as_slice()));
        durable::write(&directory.join(CONTROLLER_FILE), hex.as_bytes(), MODE)
            .map_err(SecretsError::Write)?;
        durable::write(&directory.join(RECOVERY_FILE), text.as_bytes(), MODE)
            .map_err(SecretsError::Write)?;
        Ok(Self { controller, recovery: derived })
    }

    /// Reads them from `directory`.
    ///
    /// # Errors
    ///
    /// They cannot be read.
    pub fn load(directory: &Path) -> Result<Self, SecretsError> {
        let path = directory.join(CONTROLLER_FILE);
        let hex = read(&path)?;
        let controller = hex::decode(hex.trim()).map_err(|source| SecretsError::Read {
            path,
            source: std::io::Error::new(std::io::ErrorKind::InvalidData, source),
        })?;
        let recovery = read(&directory.join(RECOVERY_FILE))?;
        let recovery = Derived::from_json(&recovery).map_err(SecretsError::Recovery)?;
        Ok(Self { controller: Zeroizing::new(controller), recovery })
    }

    /// The password with which this controller, or plain restic, opens a repository.
    pub fn password(&self, repository: RepositoryId) -> Zeroizing<String> {
        // Both inputs have a fixed length, so that nothing can be appended to them.
        let mut hasher = Sha256::new();
        hasher.update(b"lazarette repository password v1");
        hasher.update(self.controller.as_slice());
        hasher.update(repository.as_bytes());
        Zeroizing::new(URL_SAFE_NO_PAD.encode(hasher.finalize()))
    }

    /// What adds the recovery passphrase to a repository.
    pub const fn recovery(&self) -> &Derived {
        &self.recovery
    }
}

fn read(path: &Path) -> Result<Zeroizing<String>, SecretsError> {
    let text = std::fs::read_to_string(path);
    text.map(Zeroizing::new).map_err(|source| SecretsError::Read { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn secrets_come_back_and_every_repository_has_its_own_password() {
        let dir = tempfile::tempdir().unwrap();
        let made = Secrets::create(dir.path(), "recovery").await.unwrap();
        let loaded = Secrets::load(dir.path()).unwrap();
        let (one, other) = (RepositoryId::new(), RepositoryId::new());

        assert_eq!(made.password(one), loaded.password(one));
        assert_ne!(made.password(one), made.password(other));
        let kept = std::fs::read_to_string(dir.path().join(RECOVERY_FILE)).unwrap();
        assert!(!kept.contains("recovery\""), "the passphrase itself is not kept");
    }

    #[test]
    fn a_passphrase_can_be_written_down() {
        let text = new_recovery_passphrase().unwrap();
        assert_eq!(text.len(), 26 + 5);
        assert!(!text.contains(['i', 'l', 'o', 'u']), "{}", text.as_str());
    }
}
