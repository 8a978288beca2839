//! Fleet: the agents that are connected now, and how to call them.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use lazarette_core::{
    error::{Failure, Reason},
    id::HostId,
    name::StackName,
    stack::StackSeen,
};
use lazarette_node::{
    clock::Clock, http2::Keepalive, reverse::Link, status, stream::PeerStream, tasks::Tasks,
};
use lazarette_proto::{
    PROTOCOL_VERSION,
    agent::v1::{
        GetHostRequest, GetHostResponse, GetStackRequest, ListStacksRequest,
        agent_service_client::AgentServiceClient,
    },
    convert::{ConvertError, from_wire_time},
};
use tokio::sync::watch;
use tonic::{Request, transport::Channel};

use crate::store::{StoreError, hosts::Hosts};

/// How long an agent may take to answer a question about its host.
const QUESTION_TIMEOUT: Duration = Duration::from_mins(1);
/// Answers of an agent may hold many containers.
const ANSWER_BYTES: usize = 64 << 20;
/// A clock that is further off is shown as a warning.
const SKEW_ALARM: Duration = Duration::from_mins(1);

/// The client with which an agent is called.
pub type AgentClient = AgentServiceClient<Channel>;

/// An agent that is connected.
#[derive(Clone, Debug)]
pub struct Agent {
    link: Link,
    /// What it said of its host when it connected.
    pub host: GetHostResponse,
    /// What an operator should know about it.
    pub warnings: Vec<String>,
    /// How far its clock was ahead of ours when it connected.
    pub clock_ahead: Option<SignedDuration>,
    generation: u64,
}

impl Agent {
    /// For its calls.
    pub fn client(&self) -> AgentClient {
        AgentServiceClient::new(self.link.channel()).max_decoding_message_size(ANSWER_BYTES)
    }
}

/// The agents that are connected now. Clones are the same.
#[derive(Clone, Debug)]
pub struct Fleet(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    hosts: Hosts,
    clock: Arc<dyn Clock>,
    keepalive: Keepalive,
    agents: Mutex<HashMap<HostId, Agent>>,
    /// The boot ids of a host, newest last: two that take turns are two machines (H28).
    boots: Mutex<HashMap<HostId, Vec<String>>>,
    changed: watch::Sender<u64>,
}

impl Fleet {
    /// Nobody is connected yet.
    pub fn new(hosts: Hosts, clock: Arc<dyn Clock>, keepalive: Keepalive) -> Self {
        Self(Arc::new(Inner {
            hosts,
            clock,
            keepalive,
            agents: Mutex::default(),
            boots: Mutex::default(),
            changed: watch::Sender::new(0),
        }))
    }

    /// The agent of `host`, when it is connected.
    pub fn agent(&self, host: HostId) -> Option<Agent> {
        self.agents().get(&host).cloned()
    }

    /// The agent of `host`.
    ///
    /// # Errors
    ///
    /// `HOST_OFFLINE` when it is not connected.
    pub fn connected(&self, host: HostId, name: &impl std::fmt::Display) -> Result<Agent, Failure> {
        self.agent(host).ok_or_else(|| {
            let message = format!(
                "host `{name}` is not connected; look at `systemctl status lazarette-agent` there"
            );
            Failure::new(Reason::HostOffline, message)
        })
    }

    /// Waits until the agent of `host` is connected, at most for `patience`.
    pub async fn wait_for(&self, host: HostId, patience: Duration) -> Option<Agent> {
        let mut changed = self.0.changed.subscribe();
        let connected = async {
            loop {
                if let Some(agent) = self.agent(host) {
                    return Some(agent);
                }
                if changed.changed().await.is_err() {
                    return None;
                }
            }
        };
        tokio::time::timeout(patience, connected).await.unwrap_or_default()
    }

    /// Takes a connection that an agent dialled. Returns at once; `tasks` owns what follows.
    pub fn admit(&self, tasks: &Tasks, stream: PeerStream) {
        let fleet = self.clone();
        let address = stream.peer().address;
        let span = tracing::info_span!("agent", %address);
        tasks.spawn(span, |cancel| async move {
            tokio::select! {
                () = cancel.cancelled() => {}
                () = fleet.serve(stream) => {}
            }
        });
    }

    async fn serve(&self, stream: PeerStream) {
        let Some(host) = stream.peer().host() else { return };
        let link = match Link::open(stream, self.0.keepalive).await {
            Ok(link) => link,
            Err(error) => {
                tracing::info!(%host, error = %lazarette_core::error::chain(&error), "agent gone");
                return;
            }
        };
        let said = match self.greet(host, &link).await {
            Ok(said) => said,
            Err(failure) => {
                tracing::warn!(%host, reason = %failure.reason, "{}", failure.message);
                return;
            }
        };
        let generation = self.enter(host, &link, said);
        let end = link.end();
        end.over().await;
        let why = end.why().unwrap_or("it ended").to_owned();
        self.leave(host, generation).await;
        tracing::info!(%host, why, "agent disconnected");
    }

    /// Asks the agent what it is, and keeps what it says.
    async fn greet(&self, host: HostId, link: &Link) -> Result<GetHostResponse, Failure> {
        let mut client = AgentServiceClient::new(link.channel());
        let mut request = Request::new(GetHostRequest {});
        request.set_timeout(QUESTION_TIMEOUT);
        let said = client.get_host(request).await;
        let said = said.map_err(|it| status::to_failure(&it, Reason::HostOffline))?.into_inner();
        if said.protocol_version != PROTOCOL_VERSION {
            let message = format!(
                "host {host}: its agent {} speaks protocol {}, this controller {PROTOCOL_VERSION}; \
                 install the agent of this controller's version there",
                said.agent_version.escape_debug(),
                said.protocol_version
            );
            return Err(Failure::new(Reason::VersionUnsupported, message));
        }
        let now = self.0.clock.now();
        self.remember(host, now, &said).await.map_err(|error| Failure::of(&error))?;
        Ok(said)
    }

    async fn remember(
        &self,
        host: HostId,
        now: Timestamp,
        said: &GetHostResponse,
    ) -> Result<(), StoreError> {
        let short = |text: &str| text.chars().take(80).collect::<String>();
        let updated = self.0.hosts.update(host, |it| {
            it.last_seen = Some(now);
            it.agent_version = Some(short(&said.agent_version));
            it.engine_version = Some(short(&said.engine_version));
        });
        updated.await.map(drop)
    }

    /// Puts the agent in the place of an older connection of the same key (H28).
    fn enter(&self, host: HostId, link: &Link, said: GetHostResponse) -> u64 {
        let mut warnings = Vec::new();
        if self.is_alternating(host, &said.boot_id) {
            warnings.push(
                "two machines take turns with this host's key: it was cloned; remove the host \
                 and enrol both anew"
                    .to_owned(),
            );
            tracing::warn!(%host, "two machines take turns with the key of one host");
        }
        let clock_ahead = self.clock_ahead(&said);
        if let Some(ahead) = clock_ahead.filter(|ahead| ahead.unsigned_abs() > SKEW_ALARM) {
            warnings.push(format!("its clock is {} seconds off", ahead.unsigned_abs().as_secs()));
        }
        let mut agents = self.agents();
        let generation = agents.get(&host).map_or(1, |agent| agent.generation + 1);
        let agent = Agent { link: link.clone(), host: said, warnings, clock_ahead, generation };
        agents.insert(host, agent);
        drop(agents);
        self.0.changed.send_modify(|count| *count += 1);
        tracing::info!(%host, "agent connected");
        generation
    }

    fn clock_ahead(&self, said: &GetHostResponse) -> Option<SignedDuration> {
        let theirs = from_wire_time("host_time", said.host_time).ok()?;
        Some(theirs.duration_since(self.0.clock.now()))
    }

    async fn leave(&self, host: HostId, generation: u64) {
        self.forget(host, generation);
        self.0.changed.send_modify(|count| *count += 1);
        let now = self.0.clock.now();
        if let Err(error) = self.0.hosts.update(host, |it| it.last_seen = Some(now)).await {
            tracing::warn!(%host, error = %lazarette_core::error::chain(&error), "forgot last seen");
        }
    }

    /// Unless a newer connection is in its place.
    fn forget(&self, host: HostId, generation: u64) {
        let mut agents = self.agents();
        if agents.get(&host).is_some_and(|agent| agent.generation == generation) {
            agents.remove(&host);
        }
    }

    /// Whether a boot id comes back after another one was seen.
    fn is_alternating(&self, host: HostId, boot: &str) -> bool {
        let mut boots = self.0.boots.lock().unwrap_or_else(PoisonError::into_inner);
        let seen = boots.entry(host).or_default();
        if seen.last().is_some_and(|last| last == boot) {
            return false;
        }
        let again = seen.iter().any(|it| it == boot);
        seen.push(boot.chars().take(64).collect());
        if seen.len() > 8 {
            seen.remove(0);
        }
        again
    }

    fn agents(&self) -> MutexGuard<'_, HashMap<HostId, Agent>> {
        self.0.agents.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Agent {
    /// The stacks of its host, as they are now.
    ///
    /// # Errors
    ///
    /// What the agent said, or that it did not answer.
    pub async fn stacks(&self) -> Result<Vec<StackSeen>, Failure> {
        let mut request = Request::new(ListStacksRequest {});
        request.set_timeout(QUESTION_TIMEOUT);
        let answer = self.client().list_stacks(request).await;
        let answer = answer.map_err(|it| status::to_failure(&it, Reason::HostOffline))?;
        let stacks = answer.into_inner().stacks.into_iter().map(TryInto::try_into);
        stacks.collect::<Result<_, ConvertError>>().map_err(|error| Failure::of(&error))
    }

    /// One stack of its host, as it is now.
    ///
    /// # Errors
    ///
    /// `STACK_UNKNOWN` when it has none of that name; or that the agent did not answer.
    pub async fn stack(&self, name: &StackName) -> Result<StackSeen, Failure> {
        let mut request = Request::new(GetStackRequest { stack: name.to_string() });
        request.set_timeout(QUESTION_TIMEOUT);
        let answer = self.client().get_stack(request).await;
        let answer = answer.map_err(|it| status::to_failure(&it, Reason::HostOffline))?;
        let stack = answer.into_inner().stack.ok_or_else(|| {
            Failure::new(Reason::Internal, format!("the agent said nothing of stack `{name}`"))
        })?;
        stack.try_into().map_err(|error: ConvertError| Failure::of(&error))
    }
}
