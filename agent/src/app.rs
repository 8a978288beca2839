//! The agent, built of its parts and run until it is told to stop.

use std::{path::PathBuf, sync::Arc, time::Duration};

use lazarette_core::error::chain;
use lazarette_node::{
    audit::LogAudit,
    authz::{Authz, NothingRevoked},
    backoff::Backoff,
    clock::Clock,
    dial::{DialOptions, Dialer},
    http2::Keepalive,
    live::{LiveCredentials, LiveError},
    tasks::Tasks,
};
use lazarette_proto::agent::v1::agent_service_server::AgentServiceServer;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;

use crate::{
    config::Config,
    docker::Docker,
    held::Holder,
    hold::journal::JournalError,
    host::Host,
    identity::{IdentityDir, IdentityError},
    policy::Policy,
    reaper, renew,
    reserve::Reserve,
    rpc::{Rpc, TABLE},
    runs::{
        Runs,
        record::{RecordError, Records},
        work::Tools,
    },
    thaw,
};

/// A start request carries a whole plan, with the evidence of every component.
const MESSAGE_BYTES: usize = 64 << 20;
/// Calls of the controller that are under way at a shutdown; runs have a grace of their own.
const CALLS_GRACE: Duration = Duration::from_secs(1);
/// The shortest time between two attempts to reach the controller, about.
const RECONNECT_BASE: Duration = Duration::from_millis(500);

/// The agent cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// This host is not enrolled, or what enrolment left is damaged.
    #[error("know who this host is")]
    Identity(#[source] IdentityError),
    /// The credentials cannot be used.
    #[error("use the credentials of this host")]
    Credentials(#[source] LiveError),
    /// The journal of holds cannot be used.
    #[error("open the journal of holds")]
    Journal(#[source] JournalError),
    /// The records of runs cannot be used.
    #[error("open the records of runs")]
    Records(#[source] RecordError),
}

/// An agent that is ready to run.
#[derive(Debug)]
pub struct App {
    config: Config,
    tasks: Tasks,
    tools: Tools,
    runs: Runs,
    rpc: Rpc,
    dialer: Dialer,
    live: LiveCredentials,
    credentials: PathBuf,
}

impl App {
    /// Makes everything; begins nothing.
    ///
    /// # Errors
    ///
    /// [`AppError`], each with the way out.
    pub fn build(config: Config, clock: Arc<dyn Clock>) -> Result<Self, AppError> {
        let identity = IdentityDir::of(&config.state_dir);
        let enrolled = identity.load().map_err(AppError::Identity)?;
        let credentials = identity.credentials();
        let live =
            LiveCredentials::load(&credentials, clock.clone()).map_err(AppError::Credentials)?;
        let interval = config.timers.keepalive;
        let keepalive = Keepalive { interval, ..Keepalive::default() };
        let options = DialOptions { keepalive, ..DialOptions::default() };
        let dialer = Dialer::new(enrolled.controller, live.clone(), options);

        let docker = Docker::at(&config.docker_socket);
        let policy = Arc::new(Policy::load(&config.policy_file));
        if let Err(error) = policy.usable() {
            tracing::warn!(error = %chain(&error), "every run will be refused");
        }
        let journal = thaw::journal(&config.state_dir).map_err(AppError::Journal)?;
        let persistence = config.timers.persistence();
        let holder = Holder::new(Arc::new(docker.clone()), journal, clock.clone(), persistence);
        let host = Host::new(docker.clone(), policy, holder.clone(), clock.clone());
        let tools = Tools {
            docker,
            holder,
            stacks: Arc::new(host.clone()),
            calls: dialer.calls_lazily(),
            clock,
            timers: config.timers,
        };
        let reserve = Arc::new(Reserve::take(config.state_dir.join("reserve")));
        let records = Records::new(config.state_dir.join("runs"), reserve);
        let tasks = Tasks::new();
        let runs = records
            .and_then(|records| Runs::load(records, tools.clone(), tasks.child()))
            .map_err(AppError::Records)?;
        let rpc = Rpc::new(host, runs.clone());
        Ok(Self { config, tasks, tools, runs, rpc, dialer, live, credentials })
    }

    /// Ends what former lives left, then serves the controller until cancelled. Stacks that are
    /// held for a run are started before this returns.
    pub async fn run(self, cancel: CancellationToken) {
        let Self { config, tasks, tools, runs, rpc, dialer, live, credentials } = self;
        runs.recover().await;
        let (calls, reaped) = (tools.calls.clone(), runs.clone());
        tasks.spawn(tracing::info_span!("reaper"), |stop| reaper::reap(reaped, tools, stop));
        tasks.spawn(tracing::info_span!("renewal"), |stop| {
            renew::renew_when_due(live.clone(), calls, credentials, stop)
        });
        let service = AgentServiceServer::new(rpc).max_decoding_message_size(MESSAGE_BYTES);
        let routes = Routes::new(service);
        let authz =
            Authz::new(TABLE, Arc::new(NothingRevoked), Arc::new(LogAudit), live.clock().clone());
        let longest = config.timers.reconnect;
        tasks.spawn(tracing::info_span!("connection"), |stop| {
            stay_connected(Connection { dialer, live, routes, authz, longest }, stop)
        });
        cancel.cancelled().await;
        tracing::info!("stopping: runs are cancelled, stacks are started");
        tasks.shutdown(config.timers.shutdown).await;
    }
}

/// What is needed to be reached by the controller.
struct Connection {
    dialer: Dialer,
    live: LiveCredentials,
    routes: Routes,
    authz: Authz,
    longest: Duration,
}

/// Dials the controller and serves it, again and again; a new certificate means a new connection.
async fn stay_connected(connection: Connection, cancel: CancellationToken) {
    let Connection { dialer, live, routes, authz, longest } = connection;
    let mut backoff = Backoff::new(RECONNECT_BASE, longest);
    let mut chance = fastrand::Rng::new();
    while !cancel.is_cancelled() {
        match dialer.reverse().await {
            Ok(reversed) => {
                backoff.reset();
                tracing::info!(controller = %dialer.address(), "connected");
                let this = cancel.child_token();
                let replaced = live.replaced();
                let serving =
                    reversed.serve(routes.clone(), authz.clone(), CALLS_GRACE, this.clone());
                let mut serving = std::pin::pin!(serving);
                let served = tokio::select! {
                    served = &mut serving => served,
                    () = replaced => {
                        this.cancel();
                        serving.await
                    }
                };
                match served {
                    Ok(end) => tracing::info!(why = end.why(), "disconnected"),
                    Err(error) => tracing::warn!(error = %chain(&error), "disconnected"),
                }
            }
            Err(error) => {
                let attempts = backoff.attempts();
                tracing::warn!(error = %chain(&error), attempts, "the controller is not reached");
            }
        }
        let pause = backoff.next_delay(&mut chance);
        tokio::select! {
            () = cancel.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
    }
}
