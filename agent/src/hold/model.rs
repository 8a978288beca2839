//! A Docker Engine in memory that follows the measured restart matrix, to hold stacks of.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard},
    time::Duration,
};

use async_trait::async_trait;
use lazarette_core::stack::ContainerState;

use super::containers::{ContainerNow, Containers};
use crate::docker::{DockerError, Doing, Noun, Patience, RestartPolicy};

#[derive(Debug, Default)]
pub(crate) struct Engine(Mutex<Inside>);

#[derive(Debug, Default)]
struct Inside {
    containers: BTreeMap<String, ContainerNow>,
    /// Stopped by the API: `unless-stopped` stays down after a restart of the Engine.
    stopped_by_hand: Vec<String>,
    calls: Vec<String>,
    starts: u64,
    refuses_start_of: BTreeMap<String, u32>,
    refuses_stop_of: Vec<String>,
    away_for: u32,
}

impl Engine {
    pub(crate) fn with(names: &[&str]) -> Self {
        let engine = Self::default();
        for name in names {
            engine.add(name, RestartPolicy::No);
        }
        engine
    }

    pub(crate) fn add(&self, name: &str, restart_policy: RestartPolicy) {
        let now = ContainerNow {
            id: format!("id-{name}"),
            name: name.to_owned(),
            state: ContainerState::Running,
            started_at: "start-0".to_owned(),
            restart_policy,
            is_removed_when_stopped: false,
            grace: Duration::ZERO,
            has_health_check: false,
        };
        self.lock().containers.insert(now.id.clone(), now);
    }

    pub(crate) fn change(&self, name: &str, change: impl FnOnce(&mut ContainerNow)) {
        change(self.lock().containers.get_mut(&format!("id-{name}")).unwrap());
    }

    pub(crate) fn remove(&self, name: &str) {
        self.lock().containers.remove(&format!("id-{name}"));
    }

    /// Started by somebody else than the agent.
    pub(crate) fn start_by_hand(&self, name: &str) {
        self.lock().start(&format!("id-{name}"));
    }

    pub(crate) fn refuse_start(&self, name: &str, times: u32) {
        self.lock().refuses_start_of.insert(format!("id-{name}"), times);
    }

    pub(crate) fn refuse_stop(&self, name: &str) {
        self.lock().refuses_stop_of.push(format!("id-{name}"));
    }

    /// The next calls find nobody at the socket.
    pub(crate) fn go_away_for(&self, calls: u32) {
        self.lock().away_for = calls;
    }

    /// The Engine is killed, and comes back.
    pub(crate) fn kill_and_restart(&self) {
        let mut inside = self.lock();
        let ids: Vec<String> = inside.containers.keys().cloned().collect();
        for id in ids {
            let now = inside.containers.get_mut(&id).unwrap();
            now.state = ContainerState::Stopped;
            if matches!(now.restart_policy, RestartPolicy::Always | RestartPolicy::OnFailure { .. })
            {
                inside.start(&id);
            }
        }
    }

    pub(crate) fn state(&self, name: &str) -> ContainerState {
        self.lock().containers[&format!("id-{name}")].state
    }

    pub(crate) fn policy(&self, name: &str) -> RestartPolicy {
        self.lock().containers[&format!("id-{name}")].restart_policy.clone()
    }

    /// Every stop and start that was asked for, in order.
    pub(crate) fn calls(&self) -> Vec<String> {
        self.lock().calls.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Inside> {
        self.0.lock().unwrap()
    }

    fn answer(&self) -> Result<MutexGuard<'_, Inside>, DockerError> {
        let mut inside = self.lock();
        if inside.away_for > 0 {
            inside.away_for -= 1;
            let source = Box::new(std::io::Error::from(std::io::ErrorKind::NotFound));
            return Err(DockerError::Unreachable { socket: "/run/docker.sock".into(), source });
        }
        Ok(inside)
    }
}

impl Inside {
    fn start(&mut self, id: &str) {
        self.starts += 1;
        let started_at = format!("start-{}", self.starts);
        if let Some(now) = self.containers.get_mut(id) {
            now.state = ContainerState::Running;
            now.started_at = started_at;
        }
        self.stopped_by_hand.retain(|it| it != id);
    }
}

fn refused(verb: &'static str, id: &str) -> DockerError {
    let doing = Doing::new(verb, Noun::Container, id);
    DockerError::Refused { doing, status: 500, message: "port is already allocated".to_owned() }
}

#[async_trait]
impl Containers for Engine {
    async fn look(&self, container: &str) -> Result<Option<ContainerNow>, DockerError> {
        let inside = self.answer()?;
        let mut all = inside.containers.values();
        Ok(all.find(|it| it.id == container || it.name == container).cloned())
    }

    async fn stop(&self, container: &str, _grace: Duration) -> Result<(), DockerError> {
        let mut inside = self.answer()?;
        inside.calls.push(format!("stop {container}"));
        if inside.refuses_stop_of.iter().any(|it| it == container) {
            return Err(refused("stop", container));
        }
        inside.stopped_by_hand.push(container.to_owned());
        if let Some(now) = inside.containers.get_mut(container) {
            now.state = ContainerState::Stopped;
        }
        Ok(())
    }

    async fn start(&self, container: &str) -> Result<(), DockerError> {
        let mut inside = self.answer()?;
        inside.calls.push(format!("start {container}"));
        if let Some(times) = inside.refuses_start_of.get_mut(container).filter(|it| **it > 0) {
            *times -= 1;
            return Err(refused("start", container));
        }
        inside.start(container);
        Ok(())
    }

    async fn set_restart_policy(
        &self,
        container: &str,
        policy: &RestartPolicy,
    ) -> Result<(), DockerError> {
        let mut inside = self.answer()?;
        if let Some(now) = inside.containers.get_mut(container) {
            now.restart_policy = policy.clone();
        }
        Ok(())
    }

    async fn wait_healthy(&self, container: &str, _patience: &Patience) -> Result<(), DockerError> {
        let inside = self.answer()?;
        match inside.containers.get(container) {
            Some(now) if now.state == ContainerState::Running => Ok(()),
            _ => Err(DockerError::Unhealthy {
                container: container.to_owned(),
                why: "it does not run".to_owned(),
            }),
        }
    }
}
