//! Check: everything in a repository looked at, and all damage found, with what it means.

mod data;
mod structure;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::crypto::{Cipher, MasterKey};
use crate::id::{BlobId, ObjectId, PackId};
use crate::index::Index;
use crate::snapshot::Snapshot;
use crate::storage::{ObjectName, Storage, StorageError};

/// How much is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CheckOptions {
    /// Whether every pack is read, hashed, and each blob in it opened and hashed.
    pub read_data: bool,
}

/// What is damaged or missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The object, by its path in the repository.
    pub object: ObjectName,
    /// The blob in it, when it is one.
    pub blob: Option<BlobId>,
    /// What is wrong.
    pub what: String,
    /// The snapshots that cannot be restored whole, oldest first.
    pub snapshots: Vec<ObjectId>,
}

/// What a check has found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CheckReport {
    /// Everything wrong, nothing left out.
    pub problems: Vec<Problem>,
    /// How many snapshots were looked at.
    pub snapshots: u64,
    /// How many packs.
    pub packs: u64,
    /// How many blobs.
    pub blobs: u64,
    /// How many bytes of packs were read.
    pub bytes_read: u64,
}

impl CheckReport {
    /// Whether nothing is wrong.
    pub fn is_sound(&self) -> bool {
        self.problems.is_empty()
    }
}

/// A check under way.
struct Check<'repository> {
    storage: &'repository dyn Storage,
    cipher: Cipher,
    index: Index,
    snapshots: BTreeMap<ObjectId, Snapshot>,
    damage: Damage,
    report: CheckReport,
}

/// What is damaged, before it is known whom that concerns.
#[derive(Default)]
struct Damage {
    blobs: BTreeMap<BlobId, Vec<(ObjectName, String)>>,
    packs: BTreeMap<PackId, Vec<String>>,
}

/// Looks at everything in `storage`, whose key is `key`. It needs no open repository, so a damaged
/// index does not keep it from looking at the rest.
///
/// # Errors
///
/// When the storage cannot be asked at all; damage is no error but in the report.
pub async fn check(
    storage: &Arc<dyn Storage>,
    key: &MasterKey,
    options: CheckOptions,
) -> Result<CheckReport, StorageError> {
    let mut check = Check {
        storage: &**storage,
        cipher: Cipher::new(key),
        index: Index::new(),
        snapshots: BTreeMap::new(),
        damage: Damage::default(),
        report: CheckReport::default(),
    };
    check.small_objects().await?;
    check.packs().await?;
    if options.read_data {
        check.data().await;
    }
    check.trees().await;
    Ok(check.report)
}

impl Check<'_> {
    /// Reports what concerns no blob.
    fn problem(&mut self, object: ObjectName, what: impl Into<String>) {
        let (what, blob, snapshots) = (what.into(), None, Vec::new());
        self.report.problems.push(Problem { object, blob, what, snapshots });
    }
}
