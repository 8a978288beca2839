//! Fleet: who this controller is, and what was settled when it was made.

use std::sync::Arc;

use jiff::Timestamp;
use lazarette_core::id::FleetId;
use lazarette_node::certificate::KeyFingerprint;
use serde::{Deserialize, Serialize};

use super::{Batch, Collection, Record, Store, StoreError};

/// The identity of a controller and of all that it manages. Its keys are in files of their own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fleet {
    /// In every certificate.
    pub id: FleetId,
    /// When it was made.
    pub created: Timestamp,
    /// The key of its certificate authority: another one in the key files is another fleet's.
    pub authority: KeyFingerprint,
}

impl Record for Fleet {
    const VERSION: u8 = 1;
}

const FLEET: Collection<(), Fleet> = Collection::new("fleet");

/// Adds to `batch` that this is the fleet; a conflict when there is one.
///
/// # Errors
///
/// The record cannot be written.
pub fn found(batch: &mut Batch, fleet: &Fleet) -> Result<(), StoreError> {
    FLEET.insert(batch, &(), fleet)
}

/// The fleet of this store; none before `init`.
///
/// # Errors
///
/// The store cannot read it.
pub async fn read(store: &Arc<dyn Store>) -> Result<Option<Fleet>, StoreError> {
    Ok(FLEET.get(&**store, &()).await?.map(|found| found.value))
}
