//! Revocations: hosts and certificates that are refused, though they look good.

use std::collections::HashSet;
use std::sync::{Arc, PoisonError, RwLock};

use jiff::Timestamp;
use lazarette_core::id::HostId;
use lazarette_node::authz::Revoked;
use lazarette_node::certificate::{Certificate, Serial};
use lazarette_node::identity::Identity;
use serde::{Deserialize, Serialize};

use super::{Batch, Collection, Record, Store, StoreError};

/// Who refused it, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revocation {
    /// By the controller's clock.
    pub at: Timestamp,
    /// The identity that asked for it.
    pub by: String,
    /// For people.
    pub why: String,
}

impl Record for Revocation {
    const VERSION: u8 = 1;
}

const HOSTS: Collection<HostId, Revocation> = Collection::new("revoked-host");
const SERIALS: Collection<Serial, Revocation> = Collection::new("revoked-serial");

/// The revocations in a store, and in memory: they are asked for on every call.
#[derive(Debug)]
pub struct Revocations {
    store: Arc<dyn Store>,
    known: RwLock<Known>,
}

#[derive(Debug, Default)]
struct Known {
    hosts: HashSet<HostId>,
    serials: HashSet<Serial>,
}

impl Revocations {
    /// Reads those in `store`.
    ///
    /// # Errors
    ///
    /// The store cannot read them: nobody may be let in then.
    pub async fn load(store: Arc<dyn Store>) -> Result<Self, StoreError> {
        let hosts = HOSTS.all(&*store, &[]).await?.into_iter().map(|(host, _)| host).collect();
        let serials = SERIALS.all(&*store, &[]).await?.into_iter().map(|(one, _)| one).collect();
        Ok(Self { store, known: RwLock::new(Known { hosts, serials }) })
    }

    /// Refuses every certificate of a host from now on, and commits `also` with it; twice is as
    /// once. Open connections are the caller's to cut.
    ///
    /// # Errors
    ///
    /// The store cannot do it. The host is refused by this process all the same.
    pub async fn revoke_host(
        &self,
        host: HostId,
        revocation: &Revocation,
        also: &Batch,
    ) -> Result<(), StoreError> {
        self.known(|known| known.hosts.insert(host));
        let mut batch = also.clone();
        HOSTS.put(&mut batch, &host, revocation)?;
        self.store.commit(batch).await
    }

    /// Refuses one certificate from now on; twice is as once.
    ///
    /// # Errors
    ///
    /// The store cannot do it. The certificate is refused by this process all the same.
    pub async fn revoke_certificate(
        &self,
        serial: &Serial,
        revocation: &Revocation,
    ) -> Result<(), StoreError> {
        self.known(|known| known.serials.insert(serial.clone()));
        let mut batch = Batch::new();
        SERIALS.put(&mut batch, serial, revocation)?;
        self.store.commit(batch).await
    }

    fn known<T>(&self, change: impl FnOnce(&mut Known) -> T) -> T {
        change(&mut self.known.write().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Revoked for Revocations {
    fn is_revoked(&self, certificate: &Certificate) -> bool {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let is_host = match &certificate.subject.identity {
            Identity::Agent { host } => known.hosts.contains(host),
            Identity::Controller | Identity::Operator { .. } => false,
        };
        is_host || known.serials.contains(&certificate.serial)
    }
}

#[cfg(test)]
mod tests {
    use lazarette_core::id::FleetId;
    use lazarette_node::certificate::KeyFingerprint;
    use lazarette_node::identity::Subject;

    use super::super::MemoryStore;
    use super::*;

    fn certificate(host: HostId, serial: u8) -> Certificate {
        let subject = Subject { fleet: FleetId::new(), identity: Identity::Agent { host } };
        Certificate {
            subject,
            serial: Serial::from_bytes(&[serial]),
            key: KeyFingerprint::of_public_key(b"key"),
            not_before: Timestamp::UNIX_EPOCH,
            not_after: Timestamp::MAX,
        }
    }

    #[tokio::test]
    async fn a_revoked_host_or_certificate_is_refused_at_once_and_after_a_restart() {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
        let revocations = Revocations::load(store.clone()).await.unwrap();
        let (host, other) = (HostId::new(), HostId::new());
        let revocation = Revocation {
            at: Timestamp::UNIX_EPOCH,
            by: "operator/admin/ada".to_owned(),
            why: "stolen".to_owned(),
        };

        revocations.revoke_host(host, &revocation, &Batch::new()).await.unwrap();
        let serial = certificate(other, 2).serial;
        revocations.revoke_certificate(&serial, &revocation).await.unwrap();

        for revocations in [revocations, Revocations::load(store).await.unwrap()] {
            assert!(revocations.is_revoked(&certificate(host, 1)));
            assert!(revocations.is_revoked(&certificate(other, 2)));
            assert!(!revocations.is_revoked(&certificate(other, 3)));
        }
    }
}
