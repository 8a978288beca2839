//! App: the controller's parts, wired once, then run.

mod services;

use std::{
    net::SocketAddr,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use lazarette_core::error::Failure;
use lazarette_node::{
    authz::Authz,
    clock::{Clock, ClockError, SystemClock},
    connections::Connections,
    credentials::CredentialsError,
    http2::Keepalive,
    live::{LiveCredentials, LiveError},
    server::{OnReversed, Server, ServerError, ServerOptions, Services},
    tasks::Tasks,
};
use tokio_util::sync::CancellationToken;
use tracing::Span;

use crate::{
    access,
    config::Config,
    disks::Disks,
    feed::Feeds,
    fleet::Fleet,
    grants::Grants,
    init::STORE_DIR,
    pki::{AUTHORITY_FILE, Authority, PkiError},
    places::Places,
    runs::{Parts, RunOptions, Runs},
    secrets::{SECRET_FILES, Secrets, SecretsError},
    store::{
        DiskStore, OpenError, Options, Store, StoreError, StoreState, audit::Audit,
        catalog::Catalog, credentials::Credentials, fleet, hosts::Hosts, revocations::Revocations,
        runs::Runs as Records,
    },
    vaults::Vaults,
    witness::{self, Clerk},
};

/// The controller's own certificate and key.
const CREDENTIALS_FILE: &str = "controller.pem";
/// After how many seconds an agent starts a stack again, whatever happens.
const HOLD_BUDGET_SECONDS: u32 = 1800;
/// How often the certificate in use is looked at.
const RENEWAL_PERIOD: Duration = Duration::from_hours(6);
/// How long tasks may take to end.
const GRACE: Duration = Duration::from_secs(10);

/// The controller could not be built.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// There is none in the state directory.
    #[error(
        "start the controller in `{}`: there is none; make one with `lazarette-controller init`",
        .0.display()
    )]
    NotInitialised(PathBuf),
    /// The store cannot be opened.
    #[error("open the store")]
    Open(#[source] OpenError),
    /// The store cannot be read.
    #[error("read the store")]
    Store(#[from] StoreError),
    /// Authority and store are of different fleets.
    #[error(
        "start the controller: the authority in `{}` is not that of its store; put the files of \
         one controller back together",
        .0.display()
    )]
    Mixed(PathBuf),
    /// Files that hold keys can be read by others.
    #[error("start the controller: others than their owner can read its keys; run `chmod 600 {0}`")]
    Exposed(
        /// All of them, as a shell takes them.
        String,
    ),
    /// The authority cannot be used.
    #[error("load the fleet's authority")]
    Pki(#[source] PkiError),
    /// The secrets cannot be read.
    #[error("load the controller's secrets")]
    Secrets(#[source] SecretsError),
    /// The controller's own certificate cannot be used.
    #[error("use the controller's certificate")]
    Live(#[source] LiveError),
    /// The controller's own certificate cannot be kept.
    #[error("keep the controller's certificate")]
    Credentials(#[source] CredentialsError),
    /// The clock does not work.
    #[error("read the clock")]
    Clock(#[source] ClockError),
    /// The directory of the repositories cannot be used.
    #[error("use the directory of the repositories `{}`", path.display())]
    Repositories {
        /// Which.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// The port cannot be opened.
    #[error("open the controller's port")]
    Server(#[source] ServerError),
}

/// Why a controller ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Ended {
    /// It was asked to.
    Asked,
    /// Its store failed: it must be started anew.
    StoreFailed,
}

/// A controller, built and bound, not yet running.
#[derive(Debug)]
pub struct App {
    server: Server,
    runs: Runs,
    store: Arc<dyn Store>,
    tasks: Tasks,
    renewal: Renewal,
    clerk: Clerk,
    disks: Disks,
}

/// What keeps the controller's own certificate young.
#[derive(Debug)]
struct Renewal {
    authority: Arc<Authority>,
    live: LiveCredentials,
    clock: Arc<dyn Clock>,
    path: PathBuf,
    names: Vec<String>,
}

impl Renewal {
    /// Certifies the controller anew when more than half of its certificate's life is over.
    fn renew(&self) -> Result<(), AppError> {
        let now = self.clock.now();
        if now < self.live.current().certificate().renewal() {
            return Ok(());
        }
        let fresh = self.authority.issue_controller(&self.names, now).map_err(AppError::Pki)?;
        fresh.save(&self.path).map_err(AppError::Credentials)?;
        self.live.replace(fresh).map_err(AppError::Live)?;
        tracing::info!("the controller's certificate was renewed");
        Ok(())
    }

    async fn run(self, cancel: CancellationToken) {
        while cancel.run_until_cancelled(tokio::time::sleep(RENEWAL_PERIOD)).await.is_some() {
            if let Err(error) = self.renew() {
                let error = lazarette_core::error::chain(&error);
                tracing::error!(error, "the controller's certificate could not be renewed");
            }
        }
    }
}

/// The parts that services share.
struct Shared {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    authority: Arc<Authority>,
    vaults: Arc<Vaults>,
    fleet: Fleet,
    places: Places,
    grants: Grants,
    runs: Runs,
    revocations: Arc<Revocations>,
    connections: Connections,
    disks: Disks,
}

impl App {
    /// Opens what is there and binds the port; serves nothing yet.
    ///
    /// # Errors
    ///
    /// [`AppError`]: what is missing or wrong, and the way out.
    pub async fn build(config: &Config) -> Result<Self, AppError> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new().map_err(AppError::Clock)?);
        let (authority, store) = open(config).await?;
        let live = credentials(config, &authority, &clock)?;
        let tasks = Tasks::new();
        let shared = share(config, authority, store, clock, &tasks).await?;
        let keepalive = keepalive(config);
        let (fleet, own) = (shared.fleet.clone(), tasks.child());
        let on_reversed: OnReversed = Arc::new(move |stream| fleet.admit(&own, stream));
        let (witness, clerk) = witness::pair(
            Arc::clone(&shared.clock),
            Audit::new(Arc::clone(&shared.store)),
            Credentials::new(Arc::clone(&shared.store)),
        );
        let revocations = Arc::clone(&shared.revocations);
        let authz = Authz::new(access::TABLE, revocations, witness, Arc::clone(&shared.clock));
        let services = Services {
            calls: services::calls(config, &shared),
            enrollment: services::enrollment(&shared),
            authz,
            on_reversed,
            connections: shared.connections.clone(),
        };
        let options = ServerOptions { keepalive, ..ServerOptions::default() };
        let server = Server::bind(config.listen, live.clone(), services, options).await;
        let renewal = Renewal {
            authority: shared.authority,
            live,
            clock: shared.clock,
            path: config.state_dir.join(CREDENTIALS_FILE),
            names: vec![config.address.host().to_owned()],
        };
        let server = server.map_err(AppError::Server)?;
        let Shared { runs, store, disks, .. } = shared;
        Ok(Self { server, runs, store, tasks, renewal, clerk, disks })
    }

    /// Where it listens, with the port that was chosen when 0 was asked for.
    pub const fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// Serves until cancelled, or until the store has failed.
    pub async fn run(self, cancel: CancellationToken) -> Ended {
        let Self { server, runs, store, tasks, renewal, clerk, disks } = self;
        tasks.spawn(Span::current(), |cancel| renewal.run(cancel));
        tasks.spawn(Span::current(), |cancel| clerk.run(cancel));
        tasks.spawn(Span::current(), |cancel| disks.watch(cancel));
        match runs.recover().await {
            Ok(0) => {}
            Ok(count) => tracing::info!(count, "going on with runs that are not over"),
            Err(Failure { message, .. }) => tracing::error!("cannot go on with runs: {message}"),
        }
        tracing::info!(address = %server.address(), "the controller listens");
        let mut state = store.state();
        let stop = cancel.child_token();
        let failed = async {
            let failed = state.wait_for(|state| *state == StoreState::Failed).await.is_ok();
            stop.cancel();
            failed
        };
        let serve = async {
            server.run(stop.clone()).await;
        };
        tokio::pin!(serve);
        let ended = tokio::select! {
            () = &mut serve => Ended::Asked,
            true = failed => Ended::StoreFailed,
        };
        if ended == Ended::StoreFailed {
            // A store that has failed loses nothing by a quick end.
            tracing::error!("the store has failed; the controller ends, to be started anew");
            return ended;
        }
        tasks.shutdown(GRACE).await;
        ended
    }
}

async fn open(config: &Config) -> Result<(Arc<Authority>, Arc<dyn Store>), AppError> {
    let dir = &config.state_dir;
    if !dir.join(AUTHORITY_FILE).exists() {
        return Err(AppError::NotInitialised(dir.clone()));
    }
    let exposed: Vec<_> = exposed(dir).iter().map(|path| path.display().to_string()).collect();
    if !exposed.is_empty() {
        return Err(AppError::Exposed(exposed.join(" ")));
    }
    let authority = Authority::load(dir).map_err(AppError::Pki)?;
    let path = dir.join(STORE_DIR);
    let opened = tokio::task::spawn_blocking(move || DiskStore::open(&path, &Options::default()));
    let store = match opened.await {
        Ok(opened) => opened.map_err(AppError::Open)?,
        Err(_panicked) => return Err(AppError::NotInitialised(dir.clone())),
    };
    let store: Arc<dyn Store> = Arc::new(store);
    match fleet::read(&store).await? {
        Some(fleet) if fleet.id == authority.fleet() => Ok((Arc::new(authority), store)),
        Some(_other) => Err(AppError::Mixed(dir.clone())),
        None => Err(AppError::NotInitialised(dir.clone())),
    }
}

/// The files of keys in `dir` that others than their owner can read.
fn exposed(dir: &Path) -> Vec<PathBuf> {
    let keys = [AUTHORITY_FILE, CREDENTIALS_FILE].into_iter().chain(SECRET_FILES);
    let is_open = |path: &PathBuf| {
        std::fs::metadata(path).is_ok_and(|about| about.permissions().mode() & 0o077 != 0)
    };
    keys.map(|name| dir.join(name)).filter(is_open).collect()
}

fn credentials(
    config: &Config,
    authority: &Authority,
    clock: &Arc<dyn Clock>,
) -> Result<LiveCredentials, AppError> {
    let path = config.state_dir.join(CREDENTIALS_FILE);
    if path.exists() {
        let live = LiveCredentials::load(&path, Arc::clone(clock)).map_err(AppError::Live)?;
        if clock.now() < live.current().certificate().renewal() {
            return Ok(live);
        }
    }
    let names = [config.address.host().to_owned()];
    let fresh = authority.issue_controller(&names, clock.now()).map_err(AppError::Pki)?;
    fresh.save(&path).map_err(AppError::Credentials)?;
    LiveCredentials::new(fresh, Arc::clone(clock)).map_err(AppError::Live)
}

async fn share(
    config: &Config,
    authority: Arc<Authority>,
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    tasks: &Tasks,
) -> Result<Shared, AppError> {
    let secrets = Secrets::load(&config.state_dir).map_err(AppError::Secrets)?;
    let path = config.repositories_dir.clone();
    let vaults = Vaults::new(&path, authority.fleet(), secrets, &store, Arc::clone(&clock));
    let vaults = Arc::new(vaults.map_err(|source| AppError::Repositories { path, source })?);
    let fleet = Fleet::new(Hosts::new(Arc::clone(&store)), Arc::clone(&clock), keepalive(config));
    let places = Places::new(&store, fleet.clone());
    let grants = Grants::new();
    let store_dir = config.state_dir.join(STORE_DIR);
    let disks = Disks::new(Arc::clone(&store), store_dir, config.repositories_dir.clone());
    let runs = Runs::new(Parts {
        records: Records::new(Arc::clone(&store)),
        catalog: Catalog::new(Arc::clone(&store)),
        places: places.clone(),
        fleet: fleet.clone(),
        vaults: Arc::clone(&vaults),
        grants: grants.clone(),
        feeds: Feeds::new(),
        clock: Arc::clone(&clock),
        tasks: tasks.child(),
        audit: Audit::new(Arc::clone(&store)),
        disks: disks.clone(),
        options: run_options(config),
    });
    let revocations = Arc::new(Revocations::load(Arc::clone(&store)).await?);
    let connections = Connections::new();
    Ok(Shared {
        store,
        clock,
        authority,
        vaults,
        fleet,
        places,
        grants,
        runs,
        revocations,
        connections,
        disks,
    })
}

fn run_options(config: &Config) -> RunOptions {
    let count = |limit: std::num::NonZeroU32| usize::try_from(limit.get()).unwrap_or(usize::MAX);
    RunOptions {
        per_host: count(config.limits.runs_per_host),
        total: count(config.limits.runs_total),
        lost_after: config.timers.run_lost_after,
        hold_budget_seconds: HOLD_BUDGET_SECONDS,
    }
}

fn keepalive(config: &Config) -> Keepalive {
    Keepalive { interval: config.timers.keepalive, timeout: config.timers.keepalive }
}
