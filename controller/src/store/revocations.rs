//! Revocations: hosts and certificates that are refused, though they look good.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, PoisonError, RwLock};

use jiff::Timestamp;
use lazarette_core::id::HostId;
use lazarette_core::name::OperatorName;
use lazarette_node::authz::Revoked;
use lazarette_node::certificate::{Certificate, Serial};
use lazarette_node::identity::Identity;
use serde::{Deserialize, Serialize};

use super::{Batch, Collection, Record, Store, StoreError};
use crate::pki::issued;

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
const OPERATORS: Collection<OperatorName, Revocation> = Collection::new("revoked-operator");

/// The revocations in a store, and in memory: they are asked for on every call.
#[derive(Debug)]
pub struct Revocations {
    store: Arc<dyn Store>,
    known: RwLock<Known>,
}

#[derive(Debug, Default)]
struct Known {
    hosts: HashSet<HostId>,
    serials: HashMap<Serial, Revocation>,
    /// Whose certificates are refused that were issued before.
    operators: HashMap<OperatorName, Revocation>,
}

impl Known {
    fn of_operator(
        &self,
        serial: &Serial,
        operator: &OperatorName,
        issued: Timestamp,
    ) -> Option<&Revocation> {
        let by_name = self.operators.get(operator).filter(|it| issued <= it.at);
        self.serials.get(serial).or(by_name)
    }
}

impl Revocations {
    /// Reads those in `store`.
    ///
    /// # Errors
    ///
    /// The store cannot read them: nobody may be let in then.
    pub async fn load(store: Arc<dyn Store>) -> Result<Self, StoreError> {
        let hosts = HOSTS.all(&*store, &[]).await?.into_iter().map(|(host, _)| host).collect();
        let serials = SERIALS.all(&*store, &[]).await?.into_iter().collect();
        let operators = OPERATORS.all(&*store, &[]).await?.into_iter().collect();
        Ok(Self { store, known: RwLock::new(Known { hosts, serials, operators }) })
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

    /// Refuses one certificate in this process from now on, and adds to `batch` that it stays so;
    /// twice is as once. Open connections are the caller's to cut.
    ///
    /// # Errors
    ///
    /// The record cannot be written. The certificate is refused by this process all the same.
    pub fn revoke_certificate(
        &self,
        batch: &mut Batch,
        serial: &Serial,
        revocation: &Revocation,
    ) -> Result<(), StoreError> {
        self.known(|known| known.serials.insert(serial.clone(), revocation.clone()));
        SERIALS.put(batch, serial, revocation)
    }

    /// Refuses every certificate that an operator was issued until now; as for one.
    ///
    /// # Errors
    ///
    /// As for one.
    pub fn revoke_operator(
        &self,
        batch: &mut Batch,
        operator: &OperatorName,
        revocation: &Revocation,
    ) -> Result<(), StoreError> {
        self.known(|known| known.operators.insert(operator.clone(), revocation.clone()));
        OPERATORS.put(batch, operator, revocation)
    }

    /// Why a certificate of an operator is refused; nothing when it is not.
    pub fn of_operator(
        &self,
        serial: &Serial,
        operator: &OperatorName,
        issued: Timestamp,
    ) -> Option<Revocation> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known.of_operator(serial, operator, issued).cloned()
    }

    /// Every certificate that was refused by its serial number.
    pub fn certificates(&self) -> Vec<(Serial, Revocation)> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known.serials.iter().map(|(serial, it)| (serial.clone(), it.clone())).collect()
    }

    fn known<T>(&self, change: impl FnOnce(&mut Known) -> T) -> T {
        change(&mut self.known.write().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Revoked for Revocations {
    fn is_revoked(&self, certificate: &Certificate) -> bool {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let serial = &certificate.serial;
        match &certificate.subject.identity {
            Identity::Agent { host } => {
                known.hosts.contains(host) || known.serials.contains_key(serial)
            }
            Identity::Operator { name, .. } => {
                known.of_operator(serial, name, issued(certificate)).is_some()
            }
            Identity::Controller => known.serials.contains_key(serial),
        }
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
        let mut batch = Batch::new();
        revocations.revoke_certificate(&mut batch, &serial, &revocation).unwrap();
        store.commit(batch).await.unwrap();

        for revocations in [revocations, Revocations::load(store).await.unwrap()] {
            assert!(revocations.is_revoked(&certificate(host, 1)));
            assert!(revocations.is_revoked(&certificate(other, 2)));
            assert!(!revocations.is_revoked(&certificate(other, 3)));
        }
    }

    #[tokio::test]
    async fn of_a_revoked_operator_what_was_issued_before_is_refused_and_what_comes_later_is_good()
    {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
        let revocations = Revocations::load(store.clone()).await.unwrap();
        let at = |second| Timestamp::from_second(second).unwrap();
        let name: OperatorName = "eve".parse().unwrap();
        let issued_at = |second: i64, name: &OperatorName| {
            let identity =
                Identity::Operator { name: name.clone(), role: lazarette_core::role::Role::Admin };
            let subject = Subject { fleet: FleetId::new(), identity };
            // Certificates begin five minutes before they are issued.
            Certificate { subject, not_before: at(second - 300), ..certificate(HostId::new(), 9) }
        };
        let revocation = Revocation { at: at(5000), by: "admin/ada".into(), why: String::new() };

        let mut batch = Batch::new();
        revocations.revoke_operator(&mut batch, &name, &revocation).unwrap();
        store.commit(batch).await.unwrap();

        for revocations in [revocations, Revocations::load(store).await.unwrap()] {
            assert!(revocations.is_revoked(&issued_at(4000, &name)));
            assert!(revocations.is_revoked(&issued_at(5000, &name)));
            assert!(!revocations.is_revoked(&issued_at(5001, &name)));
            assert!(!revocations.is_revoked(&issued_at(4000, &"ada".parse().unwrap())));
        }
    }
}
