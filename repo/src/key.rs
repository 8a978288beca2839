//! Key: restic's key files, each the master key sealed with a passphrase.
//!
//! A repository has two: the controller's and the recovery passphrase's.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::crypto::{Cipher, CryptoError, MasterKey};
use crate::id::ObjectId;
use crate::storage::{Kind, ObjectName, Storage, StorageError};

/// How hard it is to try a passphrase: scrypt's parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hardness {
    /// The logarithm of the cost N.
    pub log_n: u8,
    /// The block size r.
    pub r: u32,
    /// The parallelism p.
    pub p: u32,
}

impl Hardness {
    /// What restic itself uses at least: 32 MiB and about a tenth of a second.
    pub const DEFAULT: Self = Self { log_n: 15, r: 8, p: 1 };
    /// Next to nothing, for tests.
    pub const TEST: Self = Self { log_n: 4, r: 8, p: 1 };
}

/// Whose key file it is; written into it in the clear.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyOwner {
    /// For whom, as `controller` or `recovery`.
    pub username: String,
    /// The host that made it.
    pub hostname: String,
}

/// A key file as `list` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyInfo {
    /// Its id.
    pub id: ObjectId,
    /// Whose it is.
    pub owner: KeyOwner,
    /// When it was made.
    pub created: Timestamp,
}

/// Why a key was not added, found or opened.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// No key file opens with the passphrase.
    #[error("open the repository: the passphrase is wrong, none of its {keys} keys opens with it")]
    WrongPassphrase {
        /// How many key files there are.
        keys: usize,
    },
    /// The repository has no key file.
    #[error("open the repository: it has no key files")]
    NoKeys,
    /// Removing the key would lock everybody out.
    #[error("remove key {id}: it is the only one; add another first")]
    Last {
        /// The key.
        id: ObjectId,
    },
    /// A key file is damaged or of another kind.
    #[error("read key {id}: {reason}")]
    Format {
        /// The key.
        id: ObjectId,
        /// What is wrong.
        reason: String,
    },
    /// The key cannot be sealed.
    #[error("seal a key")]
    Crypto(#[source] CryptoError),
    /// The storage failed.
    #[error("reach the keys of the repository")]
    Storage(#[from] StorageError),
}

#[derive(Serialize, Deserialize)]
struct KeyJson {
    created: Timestamp,
    username: String,
    hostname: String,
    kdf: String,
    #[serde(rename = "N")]
    n: u64,
    r: u32,
    p: u32,
    salt: String,
    data: String,
}

/// A passphrase that went through scrypt: makes key files that the passphrase opens, for whoever
/// must not keep the passphrase itself.
#[derive(Debug, Clone)]
pub struct Derived {
    salt: Vec<u8>,
    hardness: Hardness,
    user_key: MasterKey,
}

#[derive(Serialize, Deserialize)]
struct DerivedJson {
    salt: String,
    log_n: u8,
    r: u32,
    p: u32,
    user_key: String,
}

impl Derived {
    /// Of `passphrase`, with a fresh salt.
    ///
    /// # Errors
    ///
    /// [`KeyError::Crypto`] when the machine has no randomness.
    pub async fn new(passphrase: &SecretString, hardness: Hardness) -> Result<Self, KeyError> {
        let mut salt = vec![0; 64];
        crate::crypto::random(&mut salt).map_err(KeyError::Crypto)?;
        let user_key = derive(passphrase, salt.clone(), hardness).await.map_err(malformed_new)?;
        Ok(Self { salt, hardness, user_key })
    }

    /// As text, to be kept as secret as the passphrase.
    ///
    /// # Errors
    ///
    /// Never in practice.
    pub fn to_json(&self) -> Result<Zeroizing<String>, KeyError> {
        let Hardness { log_n, r, p } = self.hardness;
        let user_key = BASE64.encode(self.user_key.to_bytes());
        let json = DerivedJson { salt: BASE64.encode(&self.salt), log_n, r, p, user_key };
        let text = serde_json::to_string(&json).map_err(|it| malformed_new(it.to_string()))?;
        Ok(Zeroizing::new(text))
    }

    /// From the text.
    ///
    /// # Errors
    ///
    /// [`KeyError::Format`] when it is no such text.
    pub fn from_json(text: &str) -> Result<Self, KeyError> {
        let json: DerivedJson =
            serde_json::from_str(text).map_err(|it| malformed_new(it.to_string()))?;
        let decode = |text: &str| BASE64.decode(text).map_err(|it| malformed_new(it.to_string()));
        let user_key = Zeroizing::new(decode(&json.user_key)?);
        let hardness = Hardness { log_n: json.log_n, r: json.r, p: json.p };
        Ok(Self {
            salt: decode(&json.salt)?,
            hardness,
            user_key: MasterKey::from_bytes(&user_key).map_err(KeyError::Crypto)?,
        })
    }
}

/// Adds a key file that opens `master` with `passphrase`, and returns its id.
///
/// # Errors
///
/// [`KeyError::Crypto`] and [`KeyError::Storage`].
pub async fn add(
    storage: &dyn Storage,
    master: &MasterKey,
    passphrase: &SecretString,
    owner: &KeyOwner,
    made: (Timestamp, Hardness),
) -> Result<ObjectId, KeyError> {
    let (created, hardness) = made;
    let derived = Derived::new(passphrase, hardness).await?;
    add_derived(storage, master, &derived, owner, created).await
}

/// Adds a key file that opens `master` with the passphrase of `derived`, and returns its id.
///
/// # Errors
///
/// [`KeyError::Crypto`] and [`KeyError::Storage`].
pub async fn add_derived(
    storage: &dyn Storage,
    master: &MasterKey,
    derived: &Derived,
    owner: &KeyOwner,
    created: Timestamp,
) -> Result<ObjectId, KeyError> {
    let Derived { salt, hardness, user_key } = derived;
    let plain = master.to_json().map_err(KeyError::Crypto)?;
    let sealed = Cipher::new(user_key).seal(&plain).map_err(KeyError::Crypto)?;
    let json = KeyJson {
        created,
        username: owner.username.clone(),
        hostname: owner.hostname.clone(),
        kdf: "scrypt".to_owned(),
        n: 1 << hardness.log_n,
        r: hardness.r,
        p: hardness.p,
        salt: BASE64.encode(salt),
        data: BASE64.encode(sealed),
    };
    let json = serde_json::to_vec(&json).map_err(|error| malformed_new(error.to_string()))?;
    let id = ObjectId::of(&json);
    storage.create(ObjectName::Key(id), json.into()).await?;
    Ok(id)
}

/// The master key that `passphrase` opens, and the key file that it was in.
///
/// # Errors
///
/// [`KeyError::WrongPassphrase`] when every key file is sound but none opens.
pub async fn open(
    storage: &dyn Storage,
    passphrase: &SecretString,
) -> Result<(ObjectId, MasterKey), KeyError> {
    let listed = storage.list(Kind::Key).await?;
    if listed.is_empty() {
        return Err(KeyError::NoKeys);
    }
    let mut damaged = None;
    for object in &listed {
        match open_one(storage, object.id, passphrase).await {
            Ok(Some(master)) => return Ok((object.id, master)),
            Ok(None) => {}
            Err(error @ KeyError::Format { .. }) => damaged = Some(error), // another may open
            Err(error) => return Err(error),
        }
    }
    Err(damaged.unwrap_or(KeyError::WrongPassphrase { keys: listed.len() }))
}

/// The key files, ordered by id.
///
/// # Errors
///
/// [`KeyError::Format`] and [`KeyError::Storage`].
pub async fn list(storage: &dyn Storage) -> Result<Vec<KeyInfo>, KeyError> {
    let mut keys = Vec::new();
    for object in storage.list(Kind::Key).await? {
        let json = read(storage, object.id).await?;
        let owner = KeyOwner { username: json.username, hostname: json.hostname };
        keys.push(KeyInfo { id: object.id, owner, created: json.created });
    }
    Ok(keys)
}

/// Removes the key file `id`; its passphrase opens nothing any more. The last one stays.
///
/// # Errors
///
/// [`KeyError::Last`] when there is no other.
pub async fn remove(storage: &dyn Storage, id: ObjectId) -> Result<(), KeyError> {
    let listed = storage.list(Kind::Key).await?;
    if listed.iter().all(|object| object.id == id) {
        return Err(KeyError::Last { id });
    }
    Ok(storage.delete(ObjectName::Key(id)).await?)
}

async fn open_one(
    storage: &dyn Storage,
    id: ObjectId,
    passphrase: &SecretString,
) -> Result<Option<MasterKey>, KeyError> {
    let json = read(storage, id).await?;
    let format = |reason: String| KeyError::Format { id, reason };
    let decode = |text: &str| BASE64.decode(text).map_err(|error| format(error.to_string()));
    if json.kdf != "scrypt" {
        return Err(format(format!("`{}` is no way to derive a key that we know", json.kdf)));
    }
    let log_n = u8::try_from(json.n.checked_ilog2().unwrap_or(0)).unwrap_or(u8::MAX);
    let hardness = Hardness { log_n, r: json.r, p: json.p };
    let user_key = derive(passphrase, decode(&json.salt)?, hardness).await.map_err(format)?;
    match Cipher::new(&user_key).open(&decode(&json.data)?).map(Zeroizing::new) {
        Ok(plain) => Ok(Some(MasterKey::from_json(&plain).map_err(KeyError::Crypto)?)),
        Err(_) => Ok(None),
    }
}

async fn read(storage: &dyn Storage, id: ObjectId) -> Result<KeyJson, KeyError> {
    let content = storage.read(ObjectName::Key(id)).await?;
    let format = |reason: String| KeyError::Format { id, reason };
    if ObjectId::of(&content) != id {
        return Err(format("its content has another SHA-256: it is damaged".to_owned()));
    }
    serde_json::from_slice(&content).map_err(|error| format(error.to_string()))
}

/// Runs scrypt where blocking is allowed.
async fn derive(
    passphrase: &SecretString,
    salt: Vec<u8>,
    hardness: Hardness,
) -> Result<MasterKey, String> {
    let passphrase = passphrase.clone();
    let derived = tokio::task::spawn_blocking(move || {
        // A hostile key file must not make us take gigabytes: 1 GiB at most.
        let memory = 128u64.saturating_mul(u64::from(hardness.r)) << hardness.log_n.min(40);
        if memory > 1 << 30 || hardness.p > 16 {
            return Err("its parameters of scrypt ask for too much memory".to_owned());
        }
        let params = scrypt::Params::new(hardness.log_n, hardness.r, hardness.p, 64)
            .map_err(|error| error.to_string())?;
        let mut key = Zeroizing::new([0; MasterKey::SIZE]);
        scrypt::scrypt(passphrase.expose_secret().as_bytes(), &salt, &params, key.as_mut())
            .map_err(|error| error.to_string())?;
        MasterKey::from_bytes(key.as_ref()).map_err(|error| error.to_string())
    });
    derived.await.map_err(|error| error.to_string())?
}

fn malformed_new(reason: String) -> KeyError {
    KeyError::Format { id: ObjectId::new([0; 32]), reason }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::memory::MemoryStorage;

    fn owner(username: &str) -> KeyOwner {
        KeyOwner { username: username.to_owned(), hostname: "host".to_owned() }
    }

    async fn added(storage: &MemoryStorage, master: &MasterKey, passphrase: &str) -> ObjectId {
        let made = (Timestamp::UNIX_EPOCH, Hardness::TEST);
        add(storage, master, &passphrase.into(), &owner(passphrase), made).await.unwrap()
    }

    #[tokio::test]
    async fn either_passphrase_opens_and_another_does_not() {
        let (storage, master) = (MemoryStorage::new(), MasterKey::generate().unwrap());
        let controller = added(&storage, &master, "controller").await;
        let recovery = added(&storage, &master, "recovery").await;

        for (passphrase, id) in [("controller", controller), ("recovery", recovery)] {
            let (opened, key) = open(&storage, &passphrase.into()).await.unwrap();
            assert_eq!(opened, id);
            assert_eq!(key.to_bytes(), master.to_bytes());
        }
        let wrong = open(&storage, &"guess".into()).await;
        assert!(matches!(wrong, Err(KeyError::WrongPassphrase { keys: 2 })), "{wrong:?}");
    }

    #[tokio::test]
    async fn a_removed_key_opens_nothing_and_the_last_stays() {
        let (storage, master) = (MemoryStorage::new(), MasterKey::generate().unwrap());
        let one = added(&storage, &master, "one").await;
        let two = added(&storage, &master, "two").await;

        remove(&storage, one).await.unwrap();

        assert!(open(&storage, &"one".into()).await.is_err());
        assert_eq!(list(&storage).await.unwrap()[0].owner, owner("two"));
        assert!(matches!(remove(&storage, two).await, Err(KeyError::Last { .. })));
    }

    #[tokio::test]
    async fn a_damaged_key_file_does_not_hide_another() {
        let (storage, master) = (MemoryStorage::new(), MasterKey::generate().unwrap());
        added(&storage, &master, "good").await;
        let bad = added(&storage, &master, "bad").await;
        storage.overwrite(ObjectName::Key(bad), &b"{}"[..]);

        assert!(open(&storage, &"good".into()).await.is_ok());
        assert!(matches!(open(&storage, &"bad".into()).await, Err(KeyError::Format { .. })));
    }

    #[tokio::test]
    async fn a_derived_passphrase_makes_keys_that_the_passphrase_opens() {
        let (storage, master) = (MemoryStorage::new(), MasterKey::generate().unwrap());
        let derived = Derived::new(&"recovery".into(), Hardness::TEST).await.unwrap();
        let kept = Derived::from_json(&derived.to_json().unwrap()).unwrap();

        let who = owner("recovery");
        add_derived(&storage, &master, &kept, &who, Timestamp::UNIX_EPOCH).await.unwrap();

        let (_, key) = open(&storage, &"recovery".into()).await.unwrap();
        assert_eq!(key.to_bytes(), master.to_bytes());
        assert!(!derived.to_json().unwrap().contains("recovery"));
    }
}
