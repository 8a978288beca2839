//! Credentials of operators, each under its serial number, once it was used.

use std::sync::Arc;

use jiff::Timestamp;
use lazarette_core::name::OperatorName;
use lazarette_core::role::Role;
use lazarette_node::certificate::Serial;
use serde::{Deserialize, Serialize};

use super::{Collection, Record, Store, StoreError};

/// A certificate with which an operator has called.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credential {
    /// Whose it is.
    pub operator: OperatorName,
    /// What they may do with it, as certificates have it.
    pub role: String,
    /// When it was issued.
    pub issued: Timestamp,
    /// When it ends.
    pub expires: Timestamp,
    /// When it was used first.
    pub first_seen: Timestamp,
    /// When it was used last, to the hour or so.
    pub last_seen: Timestamp,
}

impl Record for Credential {
    const VERSION: u8 = 1;
}

const CREDENTIALS: Collection<Serial, Credential> = Collection::new("credential");

impl Credential {
    /// One that is used for the first time.
    pub fn seen(operator: OperatorName, role: Role, life: (Timestamp, Timestamp)) -> Self {
        let (issued, expires) = life;
        let role = role.to_string();
        Self { operator, role, issued, expires, first_seen: issued, last_seen: issued }
    }
}

/// The credentials in a store.
#[derive(Clone, Debug)]
pub struct Credentials(Arc<dyn Store>);

impl Credentials {
    /// Those in `store`.
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self(store)
    }

    /// Keeps that a credential was used; the first time is kept.
    ///
    /// # Errors
    ///
    /// The store cannot do it.
    pub async fn saw(
        &self,
        serial: &Serial,
        credential: &Credential,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let updated = CREDENTIALS.update(&*self.0, serial, |known| {
            let first_seen = known.map_or(now, |known| known.first_seen);
            Ok::<_, StoreError>(Credential { first_seen, last_seen: now, ..credential.clone() })
        });
        updated.await.map(drop)
    }

    /// Every one that was ever used, by serial number.
    ///
    /// # Errors
    ///
    /// The store cannot read them.
    pub async fn list(&self) -> Result<Vec<(Serial, Credential)>, StoreError> {
        CREDENTIALS.all(&*self.0, &[]).await
    }
}

#[cfg(test)]
mod tests {
    use super::super::MemoryStore;
    use super::*;

    #[tokio::test]
    async fn a_credential_is_kept_with_its_first_and_its_last_use() {
        let credentials = Credentials::new(Arc::new(MemoryStore::new()));
        let at = |second| Timestamp::from_second(second).unwrap();
        let serial = Serial::from_bytes(&[7]);
        let eve = Credential::seen("eve".parse().unwrap(), Role::Restorer, (at(0), at(1000)));

        credentials.saw(&serial, &eve, at(10)).await.unwrap();
        credentials.saw(&serial, &eve, at(20)).await.unwrap();

        let listed = credentials.list().await.unwrap();
        assert_eq!(listed, [(serial, Credential { first_seen: at(10), last_seen: at(20), ..eve })]);
    }
}
