//! Init: a new controller, from nothing to one that can be started.

use std::{
    net::SocketAddr,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use lazarette_core::{id::FleetId, name::OperatorName, role::Role};
use lazarette_node::{address::Address, clock::Clock, durable};
use zeroize::Zeroizing;

use crate::{
    context::{self, ContextError},
    pki::{Authority, PkiError},
    secrets::{self, Secrets, SecretsError},
    store::{Batch, DiskStore, OpenError, Options, Store, StoreError, fleet},
};

/// The configuration that is written.
pub const CONFIG_FILE: &str = "controller.toml";
/// Where the store lies in the state directory.
pub const STORE_DIR: &str = "store";

/// A controller could not be made.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// There is one.
    #[error("make a controller in `{}`: there is one already; choose another directory", .0.display())]
    Exists(PathBuf),
    /// The directory cannot be made or written.
    #[error("make the directory `{}`", path.display())]
    Directory {
        /// Which.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// The authority cannot be made.
    #[error("make the fleet's authority")]
    Pki(#[source] PkiError),
    /// The secrets cannot be made.
    #[error("make the controller's secrets")]
    Secrets(#[source] SecretsError),
    /// The store cannot be made.
    #[error("make the store")]
    Store(#[source] OpenError),
    /// The store cannot be written.
    #[error("write the fleet into the store")]
    Fleet(#[source] StoreError),
    /// The first operator's context cannot be written.
    #[error("write the first operator's context")]
    Context(#[source] ContextError),
    /// The configuration cannot be written.
    #[error("write the configuration")]
    Config(#[source] durable::DurableError),
    /// The first operator has no name.
    #[error("name the first operator")]
    Name(#[source] lazarette_core::name::ParseNameError),
}

/// A controller that was made.
#[derive(Debug)]
pub struct Made {
    /// To be started with it.
    pub config: PathBuf,
    /// For `ctl --config`.
    pub contexts: PathBuf,
    /// Opens every repository; shown once, and kept nowhere.
    pub passphrase: Zeroizing<String>,
}

/// Makes a controller in `directory`, which has none yet. The configuration is written last:
/// without it there is no controller, and the same call may be made again.
///
/// # Errors
///
/// [`InitError`]
pub async fn init(
    directory: &Path,
    address: &Address,
    listen: SocketAddr,
    clock: &dyn Clock,
) -> Result<Made, InitError> {
    let config = directory.join(CONFIG_FILE);
    if config.exists() {
        return Err(InitError::Exists(directory.to_owned()));
    }
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(directory);
    made.map_err(|source| InitError::Directory { path: directory.to_owned(), source })?;
    let now = clock.now();
    let passphrase = secrets::new_recovery_passphrase().map_err(InitError::Secrets)?;
    let authority = authority(directory, now)?;
    Secrets::create(directory, &passphrase).await.map_err(InitError::Secrets)?;
    found(directory, &authority, now).await?;
    let name: OperatorName = "admin".parse().map_err(InitError::Name)?;
    let admin = authority.issue_operator(name, Role::Admin, now).map_err(InitError::Pki)?;
    let contexts =
        context::write(directory, "admin", address, &admin).map_err(InitError::Context)?;
    let text = configuration(directory, address, listen);
    durable::write(&config, text.as_bytes(), 0o600).map_err(InitError::Config)?;
    Ok(Made { config, contexts, passphrase })
}

/// A fresh authority, or the one that an earlier try left.
fn authority(directory: &Path, now: jiff::Timestamp) -> Result<Authority, InitError> {
    if directory.join(crate::pki::AUTHORITY_FILE).exists() {
        return Authority::load(directory).map_err(InitError::Pki);
    }
    Authority::create(directory, FleetId::new(), now).map_err(InitError::Pki)
}

async fn found(
    directory: &Path,
    authority: &Authority,
    now: jiff::Timestamp,
) -> Result<(), InitError> {
    let path = directory.join(STORE_DIR);
    let store = DiskStore::open(&path, &Options::default()).map_err(InitError::Store)?;
    let store: Arc<dyn Store> = Arc::new(store);
    if fleet::read(&store).await.map_err(InitError::Fleet)?.is_some() {
        return Ok(());
    }
    let mut batch = Batch::new();
    let record =
        fleet::Fleet { id: authority.fleet(), created: now, authority: authority.fingerprint() };
    fleet::found(&mut batch, &record).map_err(InitError::Fleet)?;
    store.commit(batch).await.map_err(InitError::Fleet)
}

fn configuration(directory: &Path, address: &Address, listen: SocketAddr) -> String {
    // A TOML string of its own escapes whatever a path may contain.
    let quoted = |text: String| toml::Value::String(text).to_string();
    format!(
        "# Made by `lazarette-controller init`. Every other key: deploy/controller.toml\n\
         listen = {}\naddress = {}\nstate_dir = {}\n",
        quoted(listen.to_string()),
        quoted(address.to_string()),
        quoted(directory.display().to_string()),
    )
}
