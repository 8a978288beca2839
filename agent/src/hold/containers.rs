//! Containers: the little of Docker that holding a stack needs.

use std::{fmt, time::Duration};

use async_trait::async_trait;
use bollard::models::{ContainerInspectResponse, HealthStatusEnum};
use lazarette_core::stack::ContainerState;

use crate::docker::{Docker, DockerError, Patience, RestartPolicy, own_grace};

/// A container as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerNow {
    /// Docker's id.
    pub id: String,
    /// Without a slash.
    pub name: String,
    /// What it does.
    pub state: ContainerState,
    /// When it was last started, as Docker says it.
    pub started_at: String,
    /// When Docker starts it by itself.
    pub restart_policy: RestartPolicy,
    /// Whether stopping it deletes it (H13).
    pub is_removed_when_stopped: bool,
    /// How long it is given to stop.
    pub grace: Duration,
    /// Whether it has a health check.
    pub has_health_check: bool,
}

/// Hands on the containers of a host. Each call can be repeated.
#[async_trait]
pub trait Containers: fmt::Debug + Send + Sync + 'static {
    /// The container of that name or id; none when there is none.
    ///
    /// # Errors
    ///
    /// [`DockerError`] when the Engine cannot be asked.
    async fn look(&self, container: &str) -> Result<Option<ContainerNow>, DockerError>;

    /// Stops it and returns when it has stopped.
    ///
    /// # Errors
    ///
    /// [`DockerError`]; it may stop later.
    async fn stop(&self, container: &str, grace: Duration) -> Result<(), DockerError>;

    /// Starts it.
    ///
    /// # Errors
    ///
    /// [`DockerError`].
    async fn start(&self, container: &str) -> Result<(), DockerError>;

    /// Sets when Docker starts it by itself.
    ///
    /// # Errors
    ///
    /// [`DockerError`].
    async fn set_restart_policy(
        &self,
        container: &str,
        policy: &RestartPolicy,
    ) -> Result<(), DockerError>;

    /// Returns when it is healthy (H20).
    ///
    /// # Errors
    ///
    /// [`DockerError::Unhealthy`] when it is not going to be.
    async fn wait_healthy(&self, container: &str, patience: &Patience) -> Result<(), DockerError>;
}

#[async_trait]
impl Containers for Docker {
    async fn look(&self, container: &str) -> Result<Option<ContainerNow>, DockerError> {
        match self.container(container).await {
            Ok(seen) => Ok(Some(ContainerNow::of(seen))),
            Err(error) if error.is_gone() => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn stop(&self, container: &str, grace: Duration) -> Result<(), DockerError> {
        Self::stop(self, container, Some(grace)).await
    }

    async fn start(&self, container: &str) -> Result<(), DockerError> {
        Self::start(self, container).await
    }

    async fn set_restart_policy(
        &self,
        container: &str,
        policy: &RestartPolicy,
    ) -> Result<(), DockerError> {
        Self::set_restart_policy(self, container, policy).await
    }

    async fn wait_healthy(&self, container: &str, patience: &Patience) -> Result<(), DockerError> {
        Self::wait_healthy(self, container, patience).await
    }
}

impl ContainerNow {
    fn of(seen: ContainerInspectResponse) -> Self {
        let state = seen.state.unwrap_or_default();
        let host = seen.host_config.unwrap_or_default();
        let doing = if state.paused.unwrap_or(false) {
            ContainerState::Paused
        } else if state.restarting.unwrap_or(false) {
            ContainerState::Restarting
        } else if state.running.unwrap_or(false) {
            ContainerState::Running
        } else {
            ContainerState::Stopped
        };
        Self {
            id: seen.id.unwrap_or_default(),
            name: seen.name.unwrap_or_default().trim_start_matches('/').to_owned(),
            state: doing,
            started_at: state.started_at.unwrap_or_default(),
            restart_policy: RestartPolicy::of(host.restart_policy.as_ref()),
            is_removed_when_stopped: host.auto_remove.unwrap_or(false),
            grace: own_grace(seen.config.and_then(|it| it.stop_timeout)),
            has_health_check: state.health.is_some_and(|it| it.status.is_some_and(is_checked)),
        }
    }
}

fn is_checked(status: HealthStatusEnum) -> bool {
    !matches!(status, HealthStatusEnum::EMPTY | HealthStatusEnum::NONE)
}
