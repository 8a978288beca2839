//! Audit: who did what, each entry bound to the one before by its hash.

use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{Batch, Collection, Found, Order, Part, Record, Store, StoreError};

/// Something that somebody did, or was refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Act {
    /// By the controller's clock.
    pub at: Timestamp,
    /// The identity in the certificate, or `nobody`.
    pub who: String,
    /// The serial of the certificate, in hex; empty without one.
    pub certificate: String,
    /// The verb and what it was done to: `remove host web`.
    pub what: String,
    /// The reason of a refusal or failure; none when it was done.
    pub refused: Option<String>,
}

/// An act in the chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditEntry {
    /// 1 for the first, then without gaps.
    pub sequence: u64,
    /// The hash of the entry before, in hex; 64 zeros for the first.
    pub previous: String,
    /// What was done.
    pub act: Act,
}

/// Where the chain ends. Kept apart, so that entries cut off its end are missed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// Of the last entry.
    pub sequence: u64,
    /// The hash of the last entry, in hex.
    pub hash: String,
}

impl Record for AuditEntry {
    const VERSION: u8 = 1;
}

impl Record for End {
    const VERSION: u8 = 1;
}

const ENTRIES: Collection<u64, AuditEntry> = Collection::new("audit");
const END: Collection<(), End> = Collection::new("audit-end");

/// Why the audit log cannot be believed.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// The store cannot read it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// An entry is missing, added or changed.
    #[error("check the audit log: its chain is broken at entry {sequence}")]
    Broken {
        /// The first entry that does not fit.
        sequence: u64,
    },
}

/// The audit log in a store.
#[derive(Clone, Debug)]
pub struct Audit(Arc<dyn Store>);

impl Audit {
    /// That in `store`.
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self(store)
    }

    /// Adds an act to the end of the chain, together with what `also` changes: an act and its
    /// effect are there both or not at all.
    ///
    /// # Errors
    ///
    /// A conflict only when `also` has one.
    pub async fn record(&self, act: &Act, also: &Batch) -> Result<AuditEntry, StoreError> {
        loop {
            let end = END.get(&*self.0, &()).await?;
            let entry = following(end.as_ref().map(|found| &found.value), act);
            let next = End { sequence: entry.sequence, hash: hash(&entry) };
            let mut batch = also.clone();
            match &end {
                Some(seen) => END.replace(&mut batch, &(), seen, &next)?,
                None => END.insert(&mut batch, &(), &next)?,
            }
            ENTRIES.insert(&mut batch, &entry.sequence, &entry)?;
            match self.0.commit(batch).await {
                Ok(()) => return Ok(entry),
                Err(error) if error.is_conflict() && self.has_moved(end.as_ref()).await? => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// At most `limit` entries, newest first, those before `sequence` if it is given.
    ///
    /// # Errors
    ///
    /// The store cannot read them.
    pub async fn list(
        &self,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Vec<AuditEntry>, StoreError> {
        let part =
            Part { after: before.as_ref(), limit, order: Order::Descending, ..Part::first() };
        let listing = ENTRIES.list(&*self.0, part).await?;
        Ok(listing.records.into_iter().map(|(_, found)| found.value).collect())
    }

    /// Reads the whole chain, and gives its end; none when nothing was ever recorded.
    ///
    /// # Errors
    ///
    /// [`AuditError::Broken`] at the first entry that is missing, added or changed.
    pub async fn verify(&self) -> Result<Option<End>, AuditError> {
        // Read first: what is recorded meanwhile is behind it.
        let kept = END.get(&*self.0, &()).await?.map(|found| found.value);
        let mut end: Option<End> = None;
        while end.as_ref().map(|end| end.sequence) != kept.as_ref().map(|kept| kept.sequence) {
            let after = end.as_ref().map(|end| end.sequence);
            let part = Part { after: after.as_ref(), ..Part::first() };
            let page = ENTRIES.list(&*self.0, part).await?.records;
            let expected = after.map_or(1, |after| after + 1);
            if page.is_empty() {
                return Err(AuditError::Broken { sequence: expected });
            }
            for (sequence, Found { value: entry, .. }) in page {
                if entry != following(end.as_ref(), &entry.act) || entry.sequence != sequence {
                    let sequence = end.as_ref().map_or(1, |end| end.sequence + 1);
                    return Err(AuditError::Broken { sequence });
                }
                end = Some(End { sequence, hash: hash(&entry) });
                if kept.as_ref().is_some_and(|kept| kept.sequence == sequence) {
                    break;
                }
            }
        }
        if kept != end {
            return Err(AuditError::Broken { sequence: end.map_or(1, |end| end.sequence) });
        }
        let next = end.as_ref().map_or(1, |end| end.sequence + 1);
        let is_more = ENTRIES.get(&*self.0, &next).await?.is_some();
        // An entry and the end that it makes are written together.
        if is_more && END.get(&*self.0, &()).await?.map(|found| found.value) == kept {
            return Err(AuditError::Broken { sequence: next });
        }
        Ok(end)
    }

    async fn has_moved(&self, end: Option<&Found<End>>) -> Result<bool, StoreError> {
        Ok(END.get(&*self.0, &()).await?.as_ref() != end)
    }
}

/// The entry of `act` behind `end`.
fn following(end: Option<&End>, act: &Act) -> AuditEntry {
    let (sequence, previous) =
        end.map_or((1, "0".repeat(64)), |end| (end.sequence + 1, end.hash.clone()));
    AuditEntry { sequence, previous, act: act.clone() }
}

/// The SHA-256 of an entry: each field with its length before it.
fn hash(entry: &AuditEntry) -> String {
    let AuditEntry { sequence, previous, act } = entry;
    let Act { at, who, certificate, what, refused } = act;
    let fields = [
        sequence.to_string(),
        previous.clone(),
        at.to_string(),
        who.clone(),
        certificate.clone(),
        what.clone(),
        refused.as_ref().map_or_else(String::new, |reason| format!("refused {reason}")),
    ];
    let mut hasher = Sha256::new();
    for field in fields {
        hasher.update(u64::try_from(field.len()).unwrap_or(u64::MAX).to_be_bytes());
        hasher.update(field);
    }
    hex::encode(hasher.finalize())
}

#[cfg(test)]
mod tests {
    use super::super::MemoryStore;
    use super::*;

    fn act(what: &str) -> Act {
        Act {
            at: Timestamp::UNIX_EPOCH,
            who: "operator/admin/ada".to_owned(),
            certificate: "0a".to_owned(),
            what: what.to_owned(),
            refused: None,
        }
    }

    async fn log() -> (Arc<MemoryStore>, Audit) {
        let store = Arc::new(MemoryStore::new());
        let audit = Audit::new(store.clone());
        for n in 0..3 {
            audit.record(&act(&format!("remove host {n}")), &Batch::new()).await.unwrap();
        }
        (store, audit)
    }

    #[tokio::test]
    async fn many_acts_at_once_make_one_chain_without_gaps() {
        let audit = Audit::new(Arc::new(MemoryStore::new()));
        let acts = (0..50).map(|n| act(&format!("invite host {n}"))).collect::<Vec<_>>();
        let nothing = Batch::new();

        futures::future::join_all(acts.iter().map(|act| audit.record(act, &nothing))).await;

        assert_eq!(audit.verify().await.unwrap().unwrap().sequence, 50);
        assert_eq!(audit.list(None, 2).await.unwrap()[1].sequence, 49);
    }

    #[tokio::test]
    async fn an_entry_that_is_changed_missing_or_cut_off_breaks_the_chain() {
        let (changed, changed_log) = log().await;
        let mut entry = changed_log.list(Some(3), 1).await.unwrap().remove(0);
        entry.act.who = "operator/admin/eve".to_owned();
        let mut batch = Batch::new();
        ENTRIES.put(&mut batch, &2, &entry).unwrap();
        changed.commit(batch).await.unwrap();
        let (cut, cut_log) = log().await;
        let mut batch = Batch::new();
        batch.delete(ENTRIES.key(&3));
        cut.commit(batch).await.unwrap();
        let (holed, holed_log) = log().await;
        let mut batch = Batch::new();
        batch.delete(ENTRIES.key(&1));
        holed.commit(batch).await.unwrap();

        let (longer, longer_log) = log().await;
        let end = longer_log.verify().await.unwrap();
        let mut batch = Batch::new();
        ENTRIES.put(&mut batch, &4, &following(end.as_ref(), &act("never done"))).unwrap();
        longer.commit(batch).await.unwrap();

        let mut broken = Vec::new();
        for log in [changed_log, cut_log, holed_log, longer_log] {
            let AuditError::Broken { sequence } = log.verify().await.unwrap_err() else {
                unreachable!("the store itself works")
            };
            broken.push(sequence);
        }

        // What is changed shows in the hash that the next entry has of it.
        assert_eq!(broken, [3, 3, 1, 4]);
    }

    #[tokio::test]
    async fn a_long_chain_is_read_page_by_page_and_an_empty_one_has_no_end() {
        let audit = Audit::new(Arc::new(MemoryStore::new()));
        assert_eq!(audit.verify().await.unwrap(), None);
        for n in 0..2 * super::super::MAX_PAGE_ENTRIES {
            audit.record(&act(&format!("invite host {n}")), &Batch::new()).await.unwrap();
        }
        let last = audit.list(None, 1).await.unwrap().remove(0);

        let end = audit.verify().await.unwrap().unwrap();

        assert_eq!(end, End { sequence: 2000, hash: hash(&last) });
    }

    #[tokio::test]
    async fn an_act_whose_effect_conflicts_is_not_recorded() {
        let (store, audit) = log().await;
        let mut taken = Batch::new();
        taken.insert("lease", "ada");
        store.commit(taken.clone()).await.unwrap();

        let outcome = audit.record(&act("take lease"), &taken).await;

        assert!(outcome.unwrap_err().is_conflict());
        assert_eq!(audit.verify().await.unwrap().unwrap().sequence, 3);
    }
}
