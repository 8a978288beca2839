//! Config: the one object that says which repository this is and how it is written.

use serde::{Deserialize, Serialize};

use crate::crypto::Cipher;
use crate::id::ObjectId;
use crate::storage::{ObjectName, Storage};
use crate::unpacked::UnpackedError;

/// The version of the format that is written: restic's second.
const VERSION: u32 = 2;

/// A polynomial with which restic may chunk what it writes itself. Ours is another chunker, whose
/// cut points follow from the master key.
const POLYNOMIAL: &str = "3da3358b4dc173";

/// What the config says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Config {
    /// The version of the format.
    pub version: u32,
    /// The id of the repository, by chance.
    pub id: ObjectId,
    /// Restic's polynomial.
    pub chunker_polynomial: String,
}

impl Config {
    /// The config of a new repository.
    pub(crate) fn generate() -> Result<Self, crate::crypto::CryptoError> {
        let mut id = [0; 32];
        crate::crypto::random(&mut id)?;
        let chunker_polynomial = POLYNOMIAL.to_owned();
        Ok(Self { version: VERSION, id: ObjectId::new(id), chunker_polynomial })
    }

    pub(crate) async fn create(
        &self,
        storage: &dyn Storage,
        cipher: &Cipher,
    ) -> Result<(), UnpackedError> {
        let format = |source| UnpackedError::Format { name: ObjectName::Config, source };
        let json = serde_json::to_vec(self).map_err(|error| format(error.into()))?;
        let sealed = cipher.seal(&json).map_err(|error| format(error.into()))?;
        storage.create(ObjectName::Config, sealed.into()).await?;
        Ok(())
    }

    pub(crate) async fn read(
        storage: &dyn Storage,
        cipher: &Cipher,
    ) -> Result<Self, UnpackedError> {
        let name = ObjectName::Config;
        let json = crate::unpacked::read(storage, cipher, name).await?;
        let format = |source| UnpackedError::Format { name, source };
        let config: Self = serde_json::from_slice(&json).map_err(|error| format(error.into()))?;
        match config.version {
            1 | VERSION => Ok(config),
            other => Err(format(format!("its version {other} is not 1 or 2").into())),
        }
    }
}
