//! Hosts of the fleet, each under its id, with an index by name.

use std::sync::Arc;

use jiff::Timestamp;
use lazarette_core::id::HostId;
use lazarette_core::name::HostName;
use lazarette_node::certificate::KeyFingerprint;
use serde::{Deserialize, Serialize};

use super::{Batch, Collection, Record, Store, StoreError};

/// A Docker host that was enrolled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Host {
    /// In every certificate of its agent.
    pub id: HostId,
    /// What people call it; free again once the host is removed.
    pub name: HostName,
    /// Its agent's key: what makes it this host and no other (H28).
    pub key: KeyFingerprint,
    /// When its agent enrolled, by the controller's clock.
    pub enrolled: Timestamp,
    /// When the newest certificate of its agent ends.
    pub certificate_expires: Timestamp,
    /// When its agent was last connected; none when never.
    pub last_seen: Option<Timestamp>,
    /// Of its agent, when it was last connected.
    pub agent_version: Option<String>,
    /// Of its Docker Engine, when it was last connected.
    pub engine_version: Option<String>,
    /// When an operator removed it: it is only remembered then, for its snapshots and runs.
    pub removed: Option<Timestamp>,
    /// Since when it takes no new runs, because an operator said so.
    #[serde(default)]
    pub drained: Option<Timestamp>,
}

impl Host {
    /// A host that only snapshots remember: it can be invited under its name, and keeps this id.
    pub fn remembered(name: HostName) -> Self {
        Self {
            id: HostId::new(),
            name,
            key: KeyFingerprint::of_public_key(&[]),
            enrolled: Timestamp::UNIX_EPOCH,
            certificate_expires: Timestamp::UNIX_EPOCH,
            last_seen: None,
            agent_version: None,
            engine_version: None,
            removed: None,
            drained: None,
        }
    }

    /// Whether its agent was ever certified.
    pub fn is_enrolled(&self) -> bool {
        self.certificate_expires > Timestamp::UNIX_EPOCH
    }
}

/// Which host has a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Named {
    pub(super) host: HostId,
}

impl Record for Host {
    const VERSION: u8 = 1;
}

impl Record for Named {
    const VERSION: u8 = 1;
}

const HOSTS: Collection<HostId, Host> = Collection::new("host");
const NAMES: Collection<HostName, Named> = Collection::new("host-name");

/// The hosts in a store.
#[derive(Clone, Debug)]
pub struct Hosts(Arc<dyn Store>);

impl Hosts {
    /// Those in `store`.
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self(store)
    }

    /// Adds to `batch` that `host` is one; a conflict when its name or id is taken. Enrolment
    /// commits it together with the token that is used up.
    ///
    /// # Errors
    ///
    /// The record cannot be written.
    pub fn add(&self, batch: &mut Batch, host: &Host) -> Result<(), StoreError> {
        HOSTS.insert(batch, &host.id, host)?;
        NAMES.insert(batch, &host.name, &Named { host: host.id })
    }

    /// The host with this id, also if it was removed.
    ///
    /// # Errors
    ///
    /// The store cannot read it.
    pub async fn get(&self, id: HostId) -> Result<Option<Host>, StoreError> {
        Ok(HOSTS.get(&*self.0, &id).await?.map(|found| found.value))
    }

    /// The host that has this name now.
    ///
    /// # Errors
    ///
    /// The store cannot read it.
    pub async fn by_name(&self, name: &HostName) -> Result<Option<Host>, StoreError> {
        match NAMES.get(&*self.0, name).await? {
            Some(named) => self.get(named.value.host).await,
            None => Ok(None),
        }
    }

    /// Every host that was not removed, by name.
    ///
    /// # Errors
    ///
    /// The store cannot read them.
    pub async fn list(&self) -> Result<Vec<Host>, StoreError> {
        let all = HOSTS.all(&*self.0, &[]).await?;
        let mut hosts: Vec<Host> =
            all.into_iter().map(|(_, host)| host).filter(|host| host.removed.is_none()).collect();
        hosts.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(hosts)
    }

    /// Changes what is known of a host, but not its id and name; gives it as it is then. Nothing
    /// when there is no such host.
    ///
    /// # Errors
    ///
    /// The store cannot do it.
    pub async fn update(
        &self,
        id: HostId,
        change: impl Fn(&mut Host),
    ) -> Result<Option<Host>, StoreError> {
        loop {
            let Some(seen) = HOSTS.get(&*self.0, &id).await? else { return Ok(None) };
            let mut host = seen.value.clone();
            change(&mut host);
            (host.id, host.name) = (seen.value.id, seen.value.name.clone());
            let mut batch = Batch::new();
            HOSTS.replace(&mut batch, &id, &seen, &host)?;
            match self.0.commit(batch).await {
                Ok(()) => return Ok(Some(host)),
                Err(error) if error.is_conflict() => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Calls a host otherwise: its old name is free. Gives it as it is then; nothing when there is no
    /// such host.
    ///
    /// # Errors
    ///
    /// A conflict when another host has that name.
    pub async fn rename(&self, id: HostId, name: &HostName) -> Result<Option<Host>, StoreError> {
        let Some(seen) = HOSTS.get(&*self.0, &id).await? else { return Ok(None) };
        if seen.value.name == *name {
            return Ok(Some(seen.value));
        }
        let host = Host { name: name.clone(), ..seen.value.clone() };
        let mut batch = Batch::new();
        HOSTS.replace(&mut batch, &id, &seen, &host)?;
        if let Some(named) = NAMES.get(&*self.0, &seen.value.name).await? {
            NAMES.remove(&mut batch, &seen.value.name, &named);
        }
        NAMES.insert(&mut batch, name, &Named { host: id })?;
        self.0.commit(batch).await?;
        Ok(Some(host))
    }

    /// Removes a host for good and frees its name; twice is as once. Its agent is refused only
    /// when [`super::revocations::Revocations`] says so too: `also` is committed with the removal.
    ///
    /// # Errors
    ///
    /// The store cannot do it.
    pub async fn remove(
        &self,
        id: HostId,
        now: Timestamp,
        also: &Batch,
    ) -> Result<Option<Host>, StoreError> {
        loop {
            let Some(seen) = HOSTS.get(&*self.0, &id).await? else { return Ok(None) };
            if seen.value.removed.is_some() {
                return Ok(Some(seen.value));
            }
            let host = Host { removed: Some(now), ..seen.value.clone() };
            let mut batch = also.clone();
            HOSTS.replace(&mut batch, &id, &seen, &host)?;
            if let Some(named) = NAMES.get(&*self.0, &host.name).await? {
                NAMES.remove(&mut batch, &host.name, &named);
            }
            match self.0.commit(batch).await {
                Ok(()) => return Ok(Some(host)),
                Err(error) if error.is_conflict() => {}
                Err(error) => return Err(error),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::MemoryStore;
    use super::*;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    fn host(name: &str) -> Host {
        Host {
            id: HostId::new(),
            name: name.parse().unwrap(),
            key: KeyFingerprint::of_public_key(b"key"),
            enrolled: NOW,
            certificate_expires: NOW,
            last_seen: None,
            agent_version: None,
            engine_version: None,
            removed: None,
            drained: None,
        }
    }

    #[tokio::test]
    async fn a_name_belongs_to_one_host_until_that_is_removed() {
        let store = Arc::new(MemoryStore::new());
        let hosts = Hosts::new(store.clone());
        let (first, second) = (host("web"), host("web"));
        let add = |host: &Host| {
            let mut batch = Batch::new();
            hosts.add(&mut batch, host).unwrap();
            batch
        };

        store.commit(add(&first)).await.unwrap();
        let taken = store.commit(add(&second)).await;
        hosts.remove(first.id, NOW, &Batch::new()).await.unwrap().unwrap();
        hosts.remove(first.id, NOW, &Batch::new()).await.unwrap().unwrap();
        store.commit(add(&second)).await.unwrap();

        assert!(taken.unwrap_err().is_conflict());
        assert_eq!(hosts.list().await.unwrap(), std::slice::from_ref(&second));
        assert_eq!(hosts.by_name(&second.name).await.unwrap(), Some(second));
        assert_eq!(hosts.get(first.id).await.unwrap().unwrap().removed, Some(NOW));
    }

    #[tokio::test]
    async fn a_renamed_host_is_found_by_its_new_name_only_and_takes_nobody_elses() {
        let store = Arc::new(MemoryStore::new());
        let hosts = Hosts::new(store.clone());
        let (web, db) = (host("web"), host("db"));
        let mut batch = Batch::new();
        hosts.add(&mut batch, &web).unwrap();
        hosts.add(&mut batch, &db).unwrap();
        store.commit(batch).await.unwrap();
        let new = "shop".parse().unwrap();

        let renamed = hosts.rename(web.id, &new).await.unwrap().unwrap();
        let taken = hosts.rename(web.id, &db.name).await;

        assert_eq!(renamed, Host { name: new.clone(), ..web.clone() });
        assert_eq!(hosts.by_name(&new).await.unwrap(), Some(renamed));
        assert_eq!(hosts.by_name(&web.name).await.unwrap(), None);
        assert!(taken.unwrap_err().is_conflict());
    }

    #[tokio::test]
    async fn an_update_never_changes_who_a_host_is() {
        let store = Arc::new(MemoryStore::new());
        let hosts = Hosts::new(store.clone());
        let web = host("web");
        let mut batch = Batch::new();
        hosts.add(&mut batch, &web).unwrap();
        store.commit(batch).await.unwrap();

        let updated = hosts
            .update(web.id, |host| {
                host.name = "db".parse().unwrap();
                host.last_seen = Some(NOW);
            })
            .await;

        let expected = Host { last_seen: Some(NOW), ..web };
        assert_eq!(updated.unwrap(), Some(expected));
        assert_eq!(hosts.update(HostId::new(), |_| {}).await.unwrap(), None);
    }
}
