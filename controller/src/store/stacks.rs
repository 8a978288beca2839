//! Stacks that the controller has met, each under its stable id, with an index by address (H27).

use std::sync::Arc;

use jiff::Timestamp;
use lazarette_core::id::{HostId, RepositoryId, StackId};
use lazarette_core::name::{ComponentName, StackName};
use serde::{Deserialize, Serialize};

use super::{Batch, Collection, Record, Store, StoreError};

/// A stack that was backed up, or is about to be, for the first time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stack {
    /// Stays when the stack moves or is renamed.
    pub id: StackId,
    /// Where it is.
    pub host: HostId,
    /// What it is called there.
    pub name: StackName,
    /// Where its snapshots go; none before the first.
    pub repository: Option<RepositoryId>,
    /// When the controller met it.
    pub created: Timestamp,
    /// What its newest snapshot holds: fewer in the next one is an alarm (H32).
    pub components: Vec<ComponentName>,
}

/// Which stack is at an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Addressed {
    pub(super) stack: StackId,
}

impl Record for Stack {
    const VERSION: u8 = 1;
}

impl Record for Addressed {
    const VERSION: u8 = 1;
}

const STACKS: Collection<StackId, Stack> = Collection::new("stack");
const ADDRESSES: Collection<(HostId, StackName), Addressed> = Collection::new("stack-address");

/// The stacks in a store.
#[derive(Clone, Debug)]
pub struct Stacks(Arc<dyn Store>);

impl Stacks {
    /// Those in `store`.
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self(store)
    }

    /// Adds to `batch` that `stack` is one; a conflict when its id or address is taken.
    ///
    /// # Errors
    ///
    /// The record cannot be written.
    pub fn add(&self, batch: &mut Batch, stack: &Stack) -> Result<(), StoreError> {
        STACKS.insert(batch, &stack.id, stack)?;
        let address = (stack.host, stack.name.clone());
        ADDRESSES.insert(batch, &address, &Addressed { stack: stack.id })
    }

    /// The stack at this address; `draft` becomes it when there is none. Two that ask at once
    /// get the same one.
    ///
    /// # Errors
    ///
    /// The store cannot do it.
    pub async fn find_or_add(&self, draft: &Stack) -> Result<Stack, StoreError> {
        loop {
            if let Some(stack) = self.at(draft.host, &draft.name).await? {
                return Ok(stack);
            }
            let mut batch = Batch::new();
            self.add(&mut batch, draft)?;
            match self.0.commit(batch).await {
                Ok(()) => return Ok(draft.clone()),
                Err(error) if error.is_conflict() => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// The stack with this id.
    ///
    /// # Errors
    ///
    /// The store cannot read it.
    pub async fn get(&self, id: StackId) -> Result<Option<Stack>, StoreError> {
        Ok(STACKS.get(&*self.0, &id).await?.map(|found| found.value))
    }

    /// The stack that is called so on that host.
    ///
    /// # Errors
    ///
    /// The store cannot read it.
    pub async fn at(&self, host: HostId, name: &StackName) -> Result<Option<Stack>, StoreError> {
        match ADDRESSES.get(&*self.0, &(host, name.clone())).await? {
            Some(addressed) => self.get(addressed.value.stack).await,
            None => Ok(None),
        }
    }

    /// Every stack, oldest first.
    ///
    /// # Errors
    ///
    /// The store cannot read them.
    pub async fn list(&self) -> Result<Vec<Stack>, StoreError> {
        let all = STACKS.all(&*self.0, &[]).await?;
        Ok(all.into_iter().map(|(_, stack)| stack).collect())
    }

    /// Puts a stack on another host, under the name that it has; twice is as once. A conflict when
    /// that host has one of the name.
    ///
    /// # Errors
    ///
    /// The store cannot do it.
    pub async fn move_to(&self, id: StackId, host: HostId) -> Result<Option<Stack>, StoreError> {
        let Some(seen) = STACKS.get(&*self.0, &id).await? else { return Ok(None) };
        if seen.value.host == host {
            return Ok(Some(seen.value));
        }
        let moved = Stack { host, ..seen.value.clone() };
        let mut batch = Batch::new();
        STACKS.replace(&mut batch, &id, &seen, &moved)?;
        let old = (seen.value.host, seen.value.name.clone());
        if let Some(addressed) = ADDRESSES.get(&*self.0, &old).await? {
            ADDRESSES.remove(&mut batch, &old, &addressed);
        }
        ADDRESSES.insert(&mut batch, &(host, moved.name.clone()), &Addressed { stack: id })?;
        self.0.commit(batch).await?;
        Ok(Some(moved))
    }

    /// Changes where a stack's snapshots go and what they hold; gives it as it is then. Nothing
    /// when there is no such stack. Its id and address stay.
    ///
    /// # Errors
    ///
    /// The store cannot do it.
    pub async fn update(
        &self,
        id: StackId,
        change: impl Fn(&mut Stack),
    ) -> Result<Option<Stack>, StoreError> {
        loop {
            let Some(seen) = STACKS.get(&*self.0, &id).await? else { return Ok(None) };
            let before = &seen.value;
            let mut stack = before.clone();
            change(&mut stack);
            (stack.id, stack.host, stack.name) = (before.id, before.host, before.name.clone());
            let mut batch = Batch::new();
            STACKS.replace(&mut batch, &id, &seen, &stack)?;
            match self.0.commit(batch).await {
                Ok(()) => return Ok(Some(stack)),
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

    #[tokio::test]
    async fn a_stack_that_two_meet_at_once_is_one() {
        let stacks = Stacks::new(Arc::new(MemoryStore::new()));
        let host = HostId::new();
        let draft = || Stack {
            id: StackId::new(),
            host,
            name: "shop".parse().unwrap(),
            repository: None,
            created: Timestamp::UNIX_EPOCH,
            components: Vec::new(),
        };

        let (one, other) = (draft(), draft());
        let met = tokio::join!(stacks.find_or_add(&one), stacks.find_or_add(&other));
        let repository = Some(RepositoryId::new());
        let first = met.0.unwrap();
        stacks.update(first.id, |stack| stack.repository = repository).await.unwrap().unwrap();

        assert_eq!(first, met.1.unwrap());
        assert_eq!(stacks.list().await.unwrap(), [Stack { repository, ..first }]);
    }

    #[tokio::test]
    async fn a_stack_that_moves_keeps_its_id_and_has_one_address() {
        let stacks = Stacks::new(Arc::new(MemoryStore::new()));
        let (old, new) = (HostId::new(), HostId::new());
        let stack = Stack {
            id: StackId::new(),
            host: old,
            name: "shop".parse().unwrap(),
            repository: None,
            created: Timestamp::UNIX_EPOCH,
            components: Vec::new(),
        };
        stacks.find_or_add(&stack).await.unwrap();

        stacks.move_to(stack.id, new).await.unwrap();
        stacks.move_to(stack.id, new).await.unwrap();

        assert_eq!(stacks.at(old, &stack.name).await.unwrap(), None);
        assert_eq!(stacks.at(new, &stack.name).await.unwrap(), Some(Stack { host: new, ..stack }));
    }
}
