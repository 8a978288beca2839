//! Repositories that this controller writes, each under its id.

use std::sync::Arc;

use jiff::Timestamp;
use lazarette_core::id::{RepositoryId, StackId};
use serde::{Deserialize, Serialize};

use super::{Batch, Collection, Record, Store, StoreError};

/// A repository of one stack's snapshots. What opens it is not here: secrets have their own files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Repository {
    /// Also the name of its directory.
    pub id: RepositoryId,
    /// Whose snapshots are in it.
    pub stack: StackId,
    /// Its own id, in its `config` object: 64 hex digits. Another one there is another repository.
    pub format_id: String,
    /// When it was made, or found by a rebuild.
    pub created: Timestamp,
}

impl Record for Repository {
    const VERSION: u8 = 1;
}

const REPOSITORIES: Collection<RepositoryId, Repository> = Collection::new("repository");

/// The repositories in a store.
#[derive(Clone, Debug)]
pub struct Repositories(Arc<dyn Store>);

impl Repositories {
    /// Those in `store`.
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self(store)
    }

    /// Adds to `batch` that `repository` is one; a conflict when its id is taken.
    ///
    /// # Errors
    ///
    /// The record cannot be written.
    pub fn add(&self, batch: &mut Batch, repository: &Repository) -> Result<(), StoreError> {
        REPOSITORIES.insert(batch, &repository.id, repository)
    }

    /// The repository with this id.
    ///
    /// # Errors
    ///
    /// The store cannot read it.
    pub async fn get(&self, id: RepositoryId) -> Result<Option<Repository>, StoreError> {
        Ok(REPOSITORIES.get(&*self.0, &id).await?.map(|found| found.value))
    }

    /// Every repository, oldest first.
    ///
    /// # Errors
    ///
    /// The store cannot read them.
    pub async fn list(&self) -> Result<Vec<Repository>, StoreError> {
        let all = REPOSITORIES.all(&*self.0, &[]).await?;
        Ok(all.into_iter().map(|(_, repository)| repository).collect())
    }
}
