//! Rebuild: the catalog, made again from the repositories that lie in the controller's directory.

use std::{path::PathBuf, sync::Arc};

use lazarette_core::{
    error::{Failure, Reason},
    id::RepositoryId,
    name::HostName,
    snapshot::Snapshot,
};
use lazarette_node::clock::Clock;
use lazarette_repo::repository::Repository;

use crate::{
    entry,
    places::store_failed,
    store::{
        Batch, Store,
        catalog::Catalog,
        hosts::{Host, Hosts},
        repositories::{Repositories, Repository as Record},
        stacks::{Stack, Stacks},
    },
    vaults::{Vaults, reason_of},
};

/// What a rebuild found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rebuilt {
    /// Repositories that were opened.
    pub repositories: u64,
    /// Snapshots that were found.
    pub snapshots: u64,
    /// Stacks known by them, as `host/name`.
    pub stacks: Vec<String>,
    /// What could not be read, one line each.
    pub problems: Vec<String>,
}

/// Makes the catalog again. Doing it twice is doing it once; what is known already stays.
#[derive(Clone, Debug)]
pub struct Rebuild {
    /// Where it is kept.
    pub store: Arc<dyn Store>,
    /// Where the repositories are.
    pub vaults: Arc<Vaults>,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
}

impl Rebuild {
    /// Reads every repository in the controller's directory. `passphrase` opens those that this
    /// controller cannot open by itself; they get its own password too.
    ///
    /// # Errors
    ///
    /// The directory or the store cannot be used; what is wrong with one repository is a problem
    /// in the result.
    pub async fn run(&self, passphrase: &str) -> Result<Rebuilt, Failure> {
        let mut rebuilt = Rebuilt::default();
        for (id, place) in self.found()? {
            match self.repository(id, place, passphrase).await {
                Ok((stack, snapshots, problems)) => {
                    rebuilt.repositories += 1;
                    rebuilt.snapshots += snapshots;
                    rebuilt.stacks.extend(stack);
                    rebuilt.problems.extend(problems);
                }
                Err(failure) => rebuilt.problems.push(format!("{id}: {}", failure.message)),
            }
        }
        rebuilt.stacks.sort();
        Ok(rebuilt)
    }

    fn found(&self) -> Result<Vec<(RepositoryId, PathBuf)>, Failure> {
        let directory = self.vaults.directory();
        let unreadable = |error: std::io::Error| {
            let message = format!("list `{}`: {error}", directory.display());
            Failure::new(Reason::StorageUnavailable, message)
        };
        let mut found = Vec::new();
        for entry in std::fs::read_dir(directory).map_err(unreadable)? {
            let entry = entry.map_err(unreadable)?;
            let id = entry.file_name().to_str().and_then(|name| name.parse().ok());
            found.extend(id.map(|id| (id, entry.path())));
        }
        found.sort();
        Ok(found)
    }

    async fn open(
        &self,
        id: RepositoryId,
        place: &std::path::Path,
        passphrase: &str,
    ) -> Result<Arc<Repository>, Failure> {
        let own = self.vaults.secrets().password(id);
        let refusal = match self.vaults.open_at(place, own.as_str()).await {
            Ok(repository) => return Ok(repository),
            Err(error) => Failure::of(&error),
        };
        if refusal.reason != Reason::KeyWrong || passphrase.is_empty() {
            return Err(refusal);
        }
        let opened = self.vaults.open_at(place, passphrase.trim()).await;
        let repository = opened.map_err(|error| Failure::of(&error))?;
        let adopted = self.vaults.adopt(id, &repository).await;
        adopted.map(|()| repository).map_err(|error| Failure::of(&error))
    }

    async fn repository(
        &self,
        id: RepositoryId,
        place: PathBuf,
        passphrase: &str,
    ) -> Result<(Option<String>, u64, Vec<String>), Failure> {
        let repository = self.open(id, &place, passphrase).await?;
        let snapshots = repository.snapshots().await.map_err(|error| {
            Failure::new(reason_of(&error), lazarette_core::error::chain(&error))
        })?;
        let (mut count, mut problems, mut address) = (0, Vec::new(), None);
        for snapshot in &snapshots {
            let manifest = match entry::manifest(&repository, snapshot.snapshot.tree).await {
                Ok(manifest) => manifest,
                Err(error) => {
                    let why = lazarette_core::error::chain(&error);
                    problems.push(format!("snapshot {}: {why}", snapshot.id.short()));
                    continue;
                }
            };
            let host = self.host(&manifest.host_name).await?;
            let known = Catalog::new(Arc::clone(&self.store));
            let found = entry::entry((id, host.id), snapshot, manifest, &[]);
            address = Some(format!("{}/{}", found.host_name, found.stack_name));
            self.stack(&found).await?;
            let mut batch = Batch::new();
            known.put(&mut batch, &found).map_err(store_failed)?;
            self.store.commit(batch).await.map_err(store_failed)?;
            self.record(&repository, &found).await?;
            count += 1;
        }
        Ok((address, count, problems))
    }

    /// The host of that name; remembered until it is invited and enrolled again.
    async fn host(&self, name: &HostName) -> Result<Host, Failure> {
        let hosts = Hosts::new(Arc::clone(&self.store));
        if let Some(host) = hosts.by_name(name).await.map_err(store_failed)? {
            return Ok(host);
        }
        let host = Host::remembered(name.clone());
        let mut batch = Batch::new();
        hosts.add(&mut batch, &host).map_err(store_failed)?;
        self.store.commit(batch).await.map_err(store_failed)?;
        Ok(host)
    }

    async fn stack(&self, of: &Snapshot) -> Result<(), Failure> {
        let stacks = Stacks::new(Arc::clone(&self.store));
        if stacks.get(of.stack).await.map_err(store_failed)?.is_none() {
            let stack = Stack {
                id: of.stack,
                host: of.host,
                name: of.stack_name.clone(),
                repository: Some(of.repository),
                created: of.time,
                components: Vec::new(),
            };
            let mut batch = Batch::new();
            stacks.add(&mut batch, &stack).map_err(store_failed)?;
            let added = self.store.commit(batch).await;
            added.map_err(|error| address_taken(error, of))?;
        }
        let names: Vec<_> = of.components.iter().map(|it| it.component.name.clone()).collect();
        let updated = stacks.update(of.stack, |it| it.components.clone_from(&names));
        updated.await.map(drop).map_err(store_failed)
    }

    async fn record(&self, repository: &Repository, of: &Snapshot) -> Result<(), Failure> {
        let records = Repositories::new(Arc::clone(&self.store));
        if records.get(of.repository).await.map_err(store_failed)?.is_some() {
            return Ok(());
        }
        let record = Record {
            id: of.repository,
            stack: of.stack,
            format_id: repository.id().to_string(),
            created: self.clock.now(),
        };
        let mut batch = Batch::new();
        records.add(&mut batch, &record).map_err(store_failed)?;
        self.store.commit(batch).await.map_err(store_failed)
    }
}

fn address_taken(error: crate::store::StoreError, of: &Snapshot) -> Failure {
    if !error.is_conflict() {
        return store_failed(error);
    }
    let message = format!(
        "another stack is called `{}/{}` already; rename or remove it, then rebuild again",
        of.host_name, of.stack_name
    );
    Failure::new(Reason::NameTaken, message)
}
