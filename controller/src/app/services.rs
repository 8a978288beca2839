//! Services: everything that is served, each made of the parts that it needs.

use std::sync::Arc;

use lazarette_proto::{
    controller::v1::{
        audit_service_server::AuditServiceServer,
        certificate_service_server::CertificateServiceServer,
        controller_service_server::ControllerServiceServer,
        credential_service_server::CredentialServiceServer, host_service_server::HostServiceServer,
        repository_service_server::RepositoryServiceServer, run_service_server::RunServiceServer,
        snapshot_service_server::SnapshotServiceServer, stack_service_server::StackServiceServer,
    },
    enrollment::v1::enrollment_service_server::EnrollmentServiceServer,
    storage::v1::storage_service_server::StorageServiceServer,
};
use tonic::service::Routes;

use super::Shared;
use crate::{
    config::Config,
    rebuild::Rebuild,
    rpc::{
        audit::AuditRpc,
        certificate::Certificates,
        controller::ControllerRpc,
        credential::CredentialsRpc,
        enrollment::{Enrollment, Limits},
        host::HostsRpc,
        repository::RepositoriesRpc,
        run::RunsRpc,
        snapshot::SnapshotsRpc,
        stack::StacksRpc,
        storage::StorageRpc,
    },
    store::{catalog::Catalog, hosts::Hosts},
    uploads::Uploads,
};

/// The largest message of a service that carries packs in chunks of 1 MiB.
const STORAGE_MESSAGE_BYTES: usize = 80 << 20;

/// What is called without a certificate.
pub(super) fn enrollment(shared: &Shared) -> Routes {
    Routes::new(EnrollmentServiceServer::new(Enrollment {
        authority: Arc::clone(&shared.authority),
        store: Arc::clone(&shared.store),
        clock: Arc::clone(&shared.clock),
        limits: Limits::default(),
    }))
}

/// Everything that is called with a certificate.
pub(super) fn calls(config: &Config, shared: &Shared) -> Routes {
    let (store, clock) = (|| Arc::clone(&shared.store), || Arc::clone(&shared.clock));
    let catalog = || Catalog::new(store());
    let hosts = HostsRpc {
        store: store(),
        authority: Arc::clone(&shared.authority),
        address: config.address.clone(),
        fleet: shared.fleet.clone(),
        runs: shared.runs.clone(),
        revocations: Arc::clone(&shared.revocations),
        connections: shared.connections.clone(),
        disks: shared.disks.clone(),
        clock: clock(),
    };
    let credentials = CredentialsRpc {
        store: store(),
        revocations: Arc::clone(&shared.revocations),
        connections: shared.connections.clone(),
        clock: clock(),
    };
    let controller = ControllerRpc {
        fleet: shared.authority.fleet(),
        address: config.address.clone(),
        started: shared.clock.now(),
        disks: shared.disks.clone(),
    };
    let certificates = Certificates {
        authority: Arc::clone(&shared.authority),
        hosts: Hosts::new(store()),
        clock: clock(),
    };
    let stacks = StacksRpc {
        store: store(),
        fleet: shared.fleet.clone(),
        places: shared.places.clone(),
        clock: clock(),
    };
    let snapshots = SnapshotsRpc {
        catalog: catalog(),
        vaults: Arc::clone(&shared.vaults),
        places: shared.places.clone(),
        clock: clock(),
    };
    let repositories = RepositoriesRpc {
        store: store(),
        vaults: Arc::clone(&shared.vaults),
        places: shared.places.clone(),
        rebuild: Rebuild { store: store(), vaults: Arc::clone(&shared.vaults), clock: clock() },
        clock: clock(),
    };
    Routes::new(HostServiceServer::new(hosts))
        .add_service(CertificateServiceServer::new(certificates))
        .add_service(CredentialServiceServer::new(credentials))
        .add_service(AuditServiceServer::new(AuditRpc { store: store() }))
        .add_service(ControllerServiceServer::new(controller))
        .add_service(StackServiceServer::new(stacks))
        .add_service(SnapshotServiceServer::new(snapshots))
        .add_service(RunServiceServer::new(RunsRpc {
            runs: shared.runs.clone(),
            catalog: catalog(),
        }))
        .add_service(RepositoryServiceServer::new(repositories))
        .add_service(storage(shared))
}

/// What agents do with repositories.
fn storage(shared: &Shared) -> StorageServiceServer<StorageRpc> {
    let storage = StorageRpc {
        grants: shared.grants.clone(),
        runs: shared.runs.clone(),
        catalog: Catalog::new(Arc::clone(&shared.store)),
        store: Arc::clone(&shared.store),
        clock: Arc::clone(&shared.clock),
        uploads: Uploads::new(),
    };
    StorageServiceServer::new(storage).max_decoding_message_size(STORAGE_MESSAGE_BYTES)
}
