//! Repositories are listed, checked and rebuilt from.

use std::{pin::Pin, sync::Arc};

use futures::{Stream, StreamExt as _};
use lazarette_core::{
    error::{Failure, Reason},
    id::RepositoryId,
    name::StackAddress,
};
use lazarette_node::clock::Clock;
use lazarette_proto::{
    controller::v1::{
        CheckRepositoryRequest, CheckRepositoryResponse, CheckSummary, Damage,
        GetRepositoryPasswordRequest, GetRepositoryPasswordResponse, ListRepositoriesRequest,
        ListRepositoriesResponse, RebuildCatalogRequest, RebuildCatalogResponse,
        Repository as WireRepository, check_repository_response::Item,
        repository_service_server::RepositoryService,
    },
    convert::parse,
};
use lazarette_repo::{
    check::{CheckOptions, CheckReport, check},
    storage::{Kind, Storage},
};
use tonic::{Request, Response, Status};

use super::{act, record, refused};
use crate::{
    places::{Places, store_failed},
    rebuild::Rebuild,
    store::{
        Batch, Store,
        catalog::Catalog,
        hosts::Hosts,
        repositories::{Repositories, Repository as Record},
        stacks::Stacks,
    },
    vaults::{VaultError, Vaults, of_storage},
};

/// Lists and checks repositories.
#[derive(Debug)]
pub struct RepositoriesRpc {
    /// Where they are kept.
    pub store: Arc<dyn Store>,
    /// Where they are.
    pub vaults: Arc<Vaults>,
    /// Which stack an address means.
    pub places: Places,
    /// Makes the catalog again.
    pub rebuild: Rebuild,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
}

impl RepositoriesRpc {
    /// The repository that `text` means: its id, or a stack's address.
    async fn find(&self, text: &str) -> Result<RepositoryId, Failure> {
        if text.starts_with("repository-") {
            return parse("repository", text).map_err(|error| Failure::of(&error));
        }
        let address: StackAddress =
            parse("repository", text).map_err(|error| Failure::of(&error))?;
        let place = self.places.find(&address, self.clock.now()).await?;
        let none = || Failure::of(&VaultError::None(place.address()));
        place.stack.repository.ok_or_else(none)
    }

    async fn wire(&self, record: Record) -> Result<WireRepository, Failure> {
        let stacks = Stacks::new(Arc::clone(&self.store));
        let stack = stacks.get(record.stack).await.map_err(store_failed)?;
        let mut name = record.stack.to_string();
        if let Some(stack) = stack {
            let hosts = Hosts::new(Arc::clone(&self.store));
            let host = hosts.get(stack.host).await.map_err(store_failed)?;
            let host = host.map_or_else(|| stack.host.to_string(), |it| it.name.to_string());
            name = format!("{host}/{}", stack.name);
        }
        let catalog = Catalog::new(Arc::clone(&self.store));
        let snapshots = catalog.list(Some(record.stack)).await.map_err(store_failed)?;
        let stored = match self.vaults.open(record.id).await {
            Ok(repository) => stored_bytes(&**repository.storage()).await?,
            Err(_shown_by_check) => 0,
        };
        Ok(WireRepository {
            repository_id: record.id.to_string(),
            stack: name,
            location: self.vaults.place(record.id).display().to_string(),
            snapshot_count: u64::try_from(snapshots.len()).unwrap_or(u64::MAX),
            stored_bytes: stored,
        })
    }
}

async fn stored_bytes(storage: &dyn Storage) -> Result<u64, Failure> {
    let packs = storage
        .list(Kind::Pack)
        .await
        .map_err(|error| Failure::new(of_storage(&error), lazarette_core::error::chain(&error)))?;
    Ok(packs.iter().map(|pack| pack.size).sum())
}

fn items(report: CheckReport) -> Vec<CheckRepositoryResponse> {
    let summary = CheckSummary {
        snapshot_count: report.snapshots,
        pack_count: report.packs,
        read_bytes: report.bytes_read,
        damage_count: u64::try_from(report.problems.len()).unwrap_or(u64::MAX),
    };
    let damages = report.problems.into_iter().map(|problem| {
        Item::Damage(Damage {
            object: problem.object.to_string(),
            problem: problem.what,
            snapshot_ids: problem.snapshots.iter().map(ToString::to_string).collect(),
        })
    });
    let items = damages.chain([Item::Summary(summary)]);
    items.map(|item| CheckRepositoryResponse { item: Some(item) }).collect()
}

type Items = Pin<Box<dyn Stream<Item = Result<CheckRepositoryResponse, Status>> + Send>>;

#[tonic::async_trait]
impl RepositoryService for RepositoriesRpc {
    async fn list_repositories(
        &self,
        _: Request<ListRepositoriesRequest>,
    ) -> Result<Response<ListRepositoriesResponse>, Status> {
        let records = Repositories::new(Arc::clone(&self.store)).list().await;
        let mut repositories = Vec::new();
        for record in records.map_err(store_failed).map_err(refused)? {
            repositories.push(self.wire(record).await.map_err(refused)?);
        }
        repositories.sort_by(|one, other| one.stack.cmp(&other.stack));
        Ok(Response::new(ListRepositoriesResponse { repositories }))
    }

    type CheckRepositoryStream = Items;

    async fn check_repository(
        &self,
        request: Request<CheckRepositoryRequest>,
    ) -> Result<Response<Items>, Status> {
        let request = request.into_inner();
        let id = self.find(&request.repository).await.map_err(refused)?;
        let repository = self.vaults.open(id).await.map_err(|it| refused(Failure::of(&it)))?;
        let options = CheckOptions { read_data: request.read_data };
        let report = check(repository.storage(), repository.master_key(), options).await;
        let report = report.map_err(|error| {
            let message = lazarette_core::error::chain(&error);
            refused(Failure::new(of_storage(&error), message))
        })?;
        Ok(Response::new(futures::stream::iter(items(report).into_iter().map(Ok)).boxed()))
    }

    async fn get_repository_password(
        &self,
        request: Request<GetRepositoryPasswordRequest>,
    ) -> Result<Response<GetRepositoryPasswordResponse>, Status> {
        let id = self.find(&request.get_ref().repository).await.map_err(refused)?;
        // Written down first: nobody sees a password without a trace.
        let act = act(&*self.clock, &request, format!("show the password of {id}"));
        record(&self.store, &act, &Batch::new()).await?;
        Ok(Response::new(GetRepositoryPasswordResponse {
            password: self.vaults.secrets().password(id).to_string(),
            location: self.vaults.place(id).display().to_string(),
        }))
    }

    async fn rebuild_catalog(
        &self,
        request: Request<RebuildCatalogRequest>,
    ) -> Result<Response<RebuildCatalogResponse>, Status> {
        let act = act(&*self.clock, &request, "rebuild the catalog");
        record(&self.store, &act, &Batch::new()).await?;
        let passphrase = request.into_inner().recovery_passphrase;
        let rebuilt = self.rebuild.run(&passphrase).await.map_err(refused)?;
        if rebuilt.repositories == 0 && !rebuilt.problems.is_empty() {
            let message = rebuilt.problems.join("; ");
            return Err(refused(Failure::new(Reason::KeyWrong, message)));
        }
        Ok(Response::new(RebuildCatalogResponse {
            repository_count: rebuilt.repositories,
            snapshot_count: rebuilt.snapshots,
            stacks: rebuilt.stacks,
            problems: rebuilt.problems,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_ends_with_its_summary() {
        let report = CheckReport { packs: 3, ..CheckReport::default() };
        let items = items(report);
        assert_eq!(items.len(), 1);
        assert!(matches!(items[0].item, Some(Item::Summary(ref it)) if it.damage_count == 0));
    }
}
