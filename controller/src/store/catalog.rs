//! Catalog: the index of snapshots, which can be made again from the repositories.
//!
//! The evidence of a big database does not fit a value of the store, so a snapshot's facts are
//! kept beside it, in pages.

use std::collections::BTreeMap;
use std::sync::Arc;

use lazarette_core::evidence::{Evidence, Fact};
use lazarette_core::id::{SnapshotId, StackId};
use lazarette_core::name::ComponentName;
use lazarette_core::snapshot::Snapshot;
use serde::{Deserialize, Serialize};

use super::{Batch, Collection, Found, Order, Part, Record, Store, StoreError};

/// When a page of facts is full, in bytes of their keys and texts: half of what a value may have.
const FACTS_PAGE_BYTES: usize = 32 * 1024;

impl Record for Snapshot {
    const VERSION: u8 = 1;
}

/// Some facts of one component.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Facts {
    component: ComponentName,
    facts: BTreeMap<String, Fact>,
}

impl Record for Facts {
    const VERSION: u8 = 1;
}

const SNAPSHOTS: Collection<SnapshotId, Snapshot> = Collection::new("snapshot");
const FACTS: Collection<(SnapshotId, u64), Facts> = Collection::new("snapshot-facts");

/// The snapshots in a store.
#[derive(Clone, Debug)]
pub struct Catalog(Arc<dyn Store>);

impl Catalog {
    /// Those in `store`.
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self(store)
    }

    /// Adds to `batch` that `snapshot` exists, with all its evidence; twice is as once.
    ///
    /// # Errors
    ///
    /// The record cannot be written.
    pub fn put(&self, batch: &mut Batch, snapshot: &Snapshot) -> Result<(), StoreError> {
        let mut head = snapshot.clone();
        for saved in &mut head.components {
            saved.evidence = Evidence::default();
        }
        SNAPSHOTS.put(batch, &head.id, &head)?;
        for (number, facts) in (0..).zip(pages(snapshot)) {
            FACTS.put(batch, &(snapshot.id, number), &facts)?;
        }
        Ok(())
    }

    /// The snapshot with this id, with all its evidence.
    ///
    /// # Errors
    ///
    /// The store cannot read it.
    pub async fn get(&self, id: SnapshotId) -> Result<Option<Snapshot>, StoreError> {
        let Some(Found { value: mut snapshot, .. }) = SNAPSHOTS.get(&*self.0, &id).await? else {
            return Ok(None);
        };
        for (_, page) in FACTS.all(&*self.0, id.as_bytes()).await? {
            let saved =
                snapshot.components.iter_mut().find(|saved| saved.component.name == page.component);
            if let Some(saved) = saved {
                saved.evidence.0.extend(page.facts);
            }
        }
        Ok(Some(snapshot))
    }

    /// Every snapshot whose id begins with `digits`, in hex, without its evidence.
    ///
    /// # Errors
    ///
    /// The store cannot read them.
    pub async fn begins_with(&self, digits: &str) -> Result<Vec<Snapshot>, StoreError> {
        let digits = digits.to_ascii_lowercase();
        let whole_bytes = digits.get(..digits.len() / 2 * 2).unwrap_or_default();
        let Ok(within) = hex::decode(whole_bytes) else { return Ok(Vec::new()) };
        let all = SNAPSHOTS.all(&*self.0, &within).await?;
        let fits = |snapshot: &Snapshot| snapshot.id.to_string().starts_with(&digits);
        Ok(all.into_iter().map(|(_, snapshot)| snapshot).filter(fits).collect())
    }

    /// Every snapshot, of `stack` if it is given, newest first, without its evidence.
    ///
    /// # Errors
    ///
    /// The store cannot read them.
    pub async fn list(&self, stack: Option<StackId>) -> Result<Vec<Snapshot>, StoreError> {
        let mut snapshots: Vec<Snapshot> = SNAPSHOTS
            .all(&*self.0, &[])
            .await?
            .into_iter()
            .map(|(_, snapshot)| snapshot)
            .filter(|snapshot| stack.is_none_or(|stack| snapshot.stack == stack))
            .collect();
        snapshots.sort_by_key(|snapshot| std::cmp::Reverse((snapshot.time, snapshot.id)));
        Ok(snapshots)
    }

    /// Forgets a snapshot, evidence and all; twice is as once. It stays in its repository.
    ///
    /// # Errors
    ///
    /// The store cannot do it.
    pub async fn forget(&self, id: SnapshotId) -> Result<(), StoreError> {
        let mut batch = Batch::new();
        batch.delete(SNAPSHOTS.key(&id));
        for (key, _) in FACTS.all(&*self.0, id.as_bytes()).await? {
            batch.delete(FACTS.key(&key));
        }
        self.0.commit(batch).await
    }

    /// Whether there is any snapshot.
    ///
    /// # Errors
    ///
    /// The store cannot read it.
    pub async fn is_empty(&self) -> Result<bool, StoreError> {
        let part = Part { within: &[], after: None, limit: 1, order: Order::Ascending };
        Ok(SNAPSHOTS.list(&*self.0, part).await?.records.is_empty())
    }
}

/// The facts of all components, in pieces that fit a value.
pub(super) fn pages(snapshot: &Snapshot) -> Vec<Facts> {
    let mut pages = Vec::new();
    for saved in &snapshot.components {
        let component = &saved.component.name;
        let (mut facts, mut bytes) = (BTreeMap::new(), 0);
        for (about, fact) in &saved.evidence.0 {
            bytes += about.len() + fact_bytes(fact);
            facts.insert(about.clone(), fact.clone());
            if bytes > FACTS_PAGE_BYTES {
                let facts = std::mem::take(&mut facts);
                pages.push(Facts { component: component.clone(), facts });
                bytes = 0;
            }
        }
        if !facts.is_empty() {
            pages.push(Facts { component: component.clone(), facts });
        }
    }
    pages
}

/// About what a fact takes in JSON.
fn fact_bytes(fact: &Fact) -> usize {
    const AROUND: usize = 40;
    match fact {
        Fact::Text(text) => text.len() + AROUND,
        Fact::Count(_) | Fact::AtLeast(_) => AROUND,
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use lazarette_core::component::{Component, ComponentKind};
    use lazarette_core::id::{HostId, RepositoryId, RunId};
    use lazarette_core::manifest::SavedComponent;
    use lazarette_core::units::ByteCount;

    use super::super::MemoryStore;
    use super::*;

    fn snapshot(id: u8, tables: u64) -> Snapshot {
        let facts = (0..tables)
            .map(|n| (format!("database shop/table public.orders_{n:05}/rows"), Fact::Count(n)));
        let component =
            Component { name: "definition".parse().unwrap(), kind: ComponentKind::Definition };
        Snapshot {
            id: SnapshotId::from_bytes([id; 32]),
            repository: RepositoryId::new(),
            stack: StackId::new(),
            stack_name: "shop".parse().unwrap(),
            host: HostId::new(),
            host_name: "web".parse().unwrap(),
            run: RunId::new(),
            time: Timestamp::from_second(i64::from(id)).unwrap(),
            components: vec![SavedComponent {
                component,
                path: "definition".to_owned(),
                bytes: ByteCount(7),
                evidence: Evidence(facts.collect()),
            }],
            incomplete: Vec::new(),
            read_bytes: ByteCount(1),
            new_bytes: ByteCount(1),
            stored_bytes: ByteCount(1),
            downtime_ms: 0,
        }
    }

    async fn catalog(snapshots: &[&Snapshot]) -> Catalog {
        let store = Arc::new(MemoryStore::new());
        let catalog = Catalog::new(store.clone());
        for snapshot in snapshots {
            let mut batch = Batch::new();
            catalog.put(&mut batch, snapshot).unwrap();
            store.commit(batch).await.unwrap();
        }
        catalog
    }

    #[tokio::test]
    async fn the_evidence_of_five_thousand_tables_comes_back() {
        let big = snapshot(1, 5000);
        let catalog = catalog(&[&big]).await;

        let found = catalog.get(big.id).await.unwrap();

        assert_eq!(found, Some(big));
    }

    #[tokio::test]
    async fn a_snapshot_is_found_by_the_beginning_of_its_id() {
        let (one, other) = (snapshot(0xab, 1), snapshot(0xac, 1));
        let catalog = catalog(&[&one, &other]).await;

        let count = async |digits| catalog.begins_with(digits).await.unwrap().len();

        assert_eq!(count("a").await, 2);
        assert_eq!(count("ABA").await, 1);
        assert_eq!(count("abab").await, 1);
        assert_eq!(count("b").await, 0);
        assert_eq!(count("zz").await, 0);
        assert_eq!(count("é").await, 0);
    }

    #[tokio::test]
    async fn the_newest_comes_first_and_what_is_forgotten_is_gone() {
        let (old, new) = (snapshot(1, 3), snapshot(2, 3));
        let catalog = catalog(&[&old, &new]).await;

        let listed = catalog.list(None).await.unwrap();
        catalog.forget(new.id).await.unwrap();
        catalog.forget(new.id).await.unwrap();

        assert_eq!(listed.iter().map(|one| one.id).collect::<Vec<_>>(), [new.id, old.id]);
        assert_eq!(catalog.get(new.id).await.unwrap(), None);
        assert_eq!(catalog.list(Some(old.stack)).await.unwrap().len(), 1);
        assert_eq!(catalog.list(Some(new.stack)).await.unwrap(), []);
        assert!(!catalog.is_empty().await.unwrap());
    }
}
