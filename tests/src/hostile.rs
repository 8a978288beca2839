//! Hostile: a host with a real key and a real certificate, whose agent does as it likes. Needs no Docker.
//!
//! It is enrolled as any other, serves on the connection that it dials, is given runs and their keys, and calls the
//! controller with whatever a test makes up. What it is made of is to be added to: [`Script`] says what it answers,
//! [`Forge`] what it sends.

mod forge;
mod script;

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use lazarette_core::id::HostId;
use lazarette_node::address::Address;
use lazarette_node::audit::LogAudit;
use lazarette_node::authz::{Authz, NothingRevoked};
use lazarette_node::clock::{Clock, SystemClock};
use lazarette_node::credentials::Credentials;
use lazarette_node::dial::{self, DialOptions, Dialer};
use lazarette_node::key_request::KeyRequest;
use lazarette_node::live::LiveCredentials;
use lazarette_node::tasks::Tasks;
use lazarette_node::token::Token;
use lazarette_proto::PROTOCOL_VERSION;
use lazarette_proto::agent::v1::agent_service_server::AgentServiceServer;
use lazarette_proto::enrollment::v1::EnrollRequest;
use lazarette_proto::enrollment::v1::enrollment_service_client::EnrollmentServiceClient;
use tokio::runtime::Runtime;
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::service::Routes;
use tonic::transport::Channel;

pub use forge::{Forge, Forged, pack_of, pack_that_lies, parts};
pub use script::{Granted, Script};

use crate::fleet::Fleet;
use crate::programs;

const GRACE: Duration = Duration::from_secs(1);

/// A host whose agent does as it likes. When it is dropped, its connections are.
#[derive(Debug)]
pub struct Hostile {
    name: String,
    host: HostId,
    dialer: Dialer,
    script: Script,
    tasks: Option<Tasks>,
    runtime: Runtime,
}

impl Hostile {
    /// Is invited as `name`, enrols and connects, as an agent would.
    ///
    /// # Errors
    ///
    /// When one of that fails.
    pub fn join(fleet: &Fleet, name: &str) -> Result<Self> {
        let invited = fleet.ctl(["--output", "json", "host", "invite", name])?.ok()?;
        let token: Token = programs::token_in(&invited)?.parse()?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .context("start a runtime")?;
        let (host, credentials) = runtime.block_on(enroll(&token))?;
        let live = LiveCredentials::new(credentials, clock()?)?;
        let dialer = Dialer::new(token.controller, live, DialOptions::default());
        let tasks = Some(Tasks::new());
        let hostile =
            Self { name: name.to_owned(), host, dialer, script: Script::new()?, tasks, runtime };
        hostile.serve()?;
        fleet.wait_connected(name)?;
        Ok(hostile)
    }

    /// What it is called.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// As whom the audit log knows it.
    pub fn identity(&self) -> String {
        format!("agent/{}", self.host)
    }

    /// What it answers the controller.
    pub fn script(&self) -> &Script {
        &self.script
    }

    /// The controller that it calls.
    pub fn controller(&self) -> &Address {
        self.dialer.address()
    }

    /// Dials once more and serves on that: the connection before is replaced.
    ///
    /// # Errors
    ///
    /// When the controller does not let it in.
    pub fn reconnect(&self) -> Result<()> {
        self.serve()
    }

    /// Opens one more connection for calls.
    ///
    /// # Errors
    ///
    /// When the controller does not let it in.
    pub fn channel(&self) -> Result<Channel> {
        Ok(self.runtime.block_on(self.dialer.calls())?)
    }

    /// Waits for what `future` gives.
    pub fn wait<F: Future>(&self, future: F) -> F::Output {
        self.runtime.block_on(future)
    }

    /// Lets `future` go on by itself until what is returned, or this host, is dropped.
    pub fn begin<F>(&self, future: F) -> Begun
    where
        F: Future<Output: Send> + Send + 'static,
    {
        let stop = CancellationToken::new();
        let (stopped, _entered) = (stop.clone(), self.runtime.enter());
        if let Some(tasks) = &self.tasks {
            tasks.spawn(tracing::Span::none(), |cancel| async move {
                tokio::select! {
                    () = cancel.cancelled() => {}
                    () = stopped.cancelled() => {}
                    _ = future => {}
                }
            });
        }
        Begun(stop.drop_guard())
    }

    /// Starts a backup of its stack through `ctl`, and gives what the controller granted for it.
    ///
    /// # Errors
    ///
    /// When the controller does not accept it, or hands nothing over.
    pub fn granted_backup(&self, fleet: &Fleet) -> Result<Granted> {
        let stack = format!("{}/{}", self.name, Script::STACK);
        let started = fleet.ctl(["--output", "json", "backup", &stack, "--detach"])?.ok()?;
        self.script.granted(&crate::Run::in_outcome(&started)?.id()?)
    }

    /// Starts a restore of its stack to `snapshot`, and gives what the controller granted for it.
    ///
    /// # Errors
    ///
    /// As [`Hostile::granted_backup`].
    pub fn granted_restore(&self, fleet: &Fleet, snapshot: &str) -> Result<Granted> {
        let stack = format!("{}/{}", self.name, Script::STACK);
        let words =
            ["--output", "json", "restore", &stack, "--snapshot", snapshot, "--yes", "--detach"];
        let started = fleet.ctl(words)?.ok()?;
        self.script.granted(&crate::Run::in_outcome(&started)?.id()?)
    }

    /// Dials, and serves the script on that connection.
    fn serve(&self) -> Result<()> {
        let reversed = self.runtime.block_on(self.dialer.reverse())?;
        let routes = Routes::new(AgentServiceServer::new(self.script.clone()));
        let authz = Authz::new(
            lazarette_agent::rpc::TABLE,
            Arc::new(NothingRevoked),
            Arc::new(LogAudit),
            clock()?,
        );
        let Some(tasks) = &self.tasks else { bail!("it has ended") };
        let _entered = self.runtime.enter();
        tasks.spawn(tracing::Span::none(), |cancel| async move {
            drop(reversed.serve(routes, authz, GRACE, cancel).await);
        });
        Ok(())
    }
}

impl Drop for Hostile {
    fn drop(&mut self) {
        if let Some(tasks) = self.tasks.take() {
            self.runtime.block_on(tasks.shutdown(GRACE));
        }
    }
}

/// Something that goes on until this is dropped.
#[derive(Debug)]
#[must_use = "what has begun ends when this is dropped"]
pub struct Begun(#[expect(dead_code, reason = "only dropped")] DropGuard);

fn clock() -> Result<Arc<dyn Clock>> {
    Ok(Arc::new(SystemClock::new()?))
}

/// The request with which a token is used.
///
/// # Errors
///
/// When the token holds no secret.
pub fn enroll_request(token: &Token, key: &KeyRequest) -> Result<EnrollRequest> {
    Ok(EnrollRequest {
        token_id: token.id.to_string(),
        token_secret: URL_SAFE_NO_PAD.decode(token.secret.reveal().as_bytes())?,
        certificate_request: key.request_der().to_vec(),
        agent_version: "hostile".to_owned(),
        protocol_version: PROTOCOL_VERSION,
    })
}

async fn enroll(token: &Token) -> Result<(HostId, Credentials)> {
    let way = dial::enroll(token, &clock()?, DialOptions::default()).await?;
    let key = KeyRequest::generate()?;
    let request = enroll_request(token, &key)?;
    let answer = EnrollmentServiceClient::new(way.channel).enroll(request).await?.into_inner();
    let chain = answer.certificates.into_iter().map(Into::into).collect();
    let credentials = Credentials::new(key.key_pem(), chain, vec![way.authority])?;
    Ok((answer.host_id.parse()?, credentials))
}
