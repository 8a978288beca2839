//! Acting: containers stopped, started, paused and kept from starting by themselves.

use std::time::Duration;

use bollard::{
    models::{ContainerUpdateBody, RestartPolicy as WireRestartPolicy, RestartPolicyNameEnum},
    query_parameters::StopContainerOptionsBuilder,
};
use serde::{Deserialize, Serialize};

use super::{Docker, DockerError, Doing, Noun, look::path_part};

/// What the Engine gives a container to stop when nobody said otherwise.
pub(crate) const DEFAULT_GRACE: Duration = Duration::from_secs(10);

/// Stop times longer than this are cut: `-1` means for ever.
const LONGEST_GRACE: Duration = Duration::from_hours(1);

/// When the Engine starts a container by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "name")]
pub enum RestartPolicy {
    /// Never.
    No,
    /// Whenever it ends, and at boot.
    Always,
    /// Whenever it ends, and at boot unless it was stopped before.
    UnlessStopped,
    /// When it ends with an error.
    OnFailure {
        /// At most so often; zero: without end.
        retries: u32,
    },
}

impl RestartPolicy {
    /// As the Engine's inspect document says it; what is not understood is `No`.
    pub fn of(policy: Option<&WireRestartPolicy>) -> Self {
        let name = policy.and_then(|it| it.name);
        match name {
            Some(RestartPolicyNameEnum::ALWAYS) => Self::Always,
            Some(RestartPolicyNameEnum::UNLESS_STOPPED) => Self::UnlessStopped,
            Some(RestartPolicyNameEnum::ON_FAILURE) => {
                let retries = policy.and_then(|it| it.maximum_retry_count).unwrap_or(0);
                Self::OnFailure { retries: u32::try_from(retries).unwrap_or(0) }
            }
            Some(RestartPolicyNameEnum::NO | RestartPolicyNameEnum::EMPTY) | None => Self::No,
        }
    }

    fn to_wire(&self) -> WireRestartPolicy {
        let (name, retries) = match self {
            Self::No => (RestartPolicyNameEnum::NO, None),
            Self::Always => (RestartPolicyNameEnum::ALWAYS, None),
            Self::UnlessStopped => (RestartPolicyNameEnum::UNLESS_STOPPED, None),
            Self::OnFailure { retries } => {
                (RestartPolicyNameEnum::ON_FAILURE, Some(i64::from(*retries)))
            }
        };
        WireRestartPolicy { name: Some(name), maximum_retry_count: retries }
    }
}

impl Docker {
    /// Stops a container; one that does not run is left as it is. `grace` is its time before it is
    /// killed; none means the container's own.
    ///
    /// # Errors
    ///
    /// [`DockerError`]; after [`DockerError::Timeout`] it is not known whether it stopped.
    pub async fn stop(&self, container: &str, grace: Option<Duration>) -> Result<(), DockerError> {
        let doing = Doing::new("stop", Noun::Container, container);
        let name = path_part(&doing, container)?;
        let grace = match grace {
            Some(grace) => grace,
            None => own_grace(self.container(name).await?.config.and_then(|it| it.stop_timeout)),
        };
        let seconds = i32::try_from(grace.as_secs()).unwrap_or(i32::MAX);
        let options = StopContainerOptionsBuilder::default().t(seconds).build();
        let deadline = grace + self.inner.deadlines.stop_extra;
        self.call_within(deadline, &doing, |docker| async move {
            docker.stop_container(name, Some(options)).await
        })
        .await
    }

    /// Starts a container; one that runs is left as it is.
    ///
    /// # Errors
    ///
    /// [`DockerError`].
    pub async fn start(&self, container: &str) -> Result<(), DockerError> {
        let doing = Doing::new("start", Noun::Container, container);
        let name = path_part(&doing, container)?;
        self.call(&doing, |docker| async move { docker.start_container(name, None).await }).await
    }

    /// Freezes all processes of a container; a paused one is left as it is.
    ///
    /// # Errors
    ///
    /// [`DockerError`].
    pub async fn pause(&self, container: &str) -> Result<(), DockerError> {
        let doing = Doing::new("pause", Noun::Container, container);
        let name = path_part(&doing, container)?;
        let done =
            self.call(&doing, |docker| async move { docker.pause_container(name).await }).await;
        self.unless_already(done, container, true).await
    }

    /// Lets the processes of a paused container go on; one that is not paused is left as it is.
    ///
    /// # Errors
    ///
    /// [`DockerError`].
    pub async fn unpause(&self, container: &str) -> Result<(), DockerError> {
        let doing = Doing::new("unpause", Noun::Container, container);
        let name = path_part(&doing, container)?;
        let done =
            self.call(&doing, |docker| async move { docker.unpause_container(name).await }).await;
        self.unless_already(done, container, false).await
    }

    /// Sets when the Engine starts a container by itself.
    ///
    /// # Errors
    ///
    /// [`DockerError`].
    pub async fn set_restart_policy(
        &self,
        container: &str,
        policy: &RestartPolicy,
    ) -> Result<(), DockerError> {
        let doing = Doing::new("set the restart policy of", Noun::Container, container);
        let name = path_part(&doing, container)?;
        let body = ContainerUpdateBody {
            restart_policy: Some(policy.to_wire()),
            ..ContainerUpdateBody::default()
        };
        self.call(&doing, |docker| async move { docker.update_container(name, body).await }).await
    }

    /// The Engine refuses to pause what is paused; versions differ in how. The state decides.
    async fn unless_already(
        &self,
        done: Result<(), DockerError>,
        container: &str,
        paused: bool,
    ) -> Result<(), DockerError> {
        let Err(error @ DockerError::Refused { .. }) = done else { return done };
        let state = self.container(container).await?.state;
        let is_paused = state.and_then(|it| it.paused).unwrap_or(false);
        if is_paused == paused { Ok(()) } else { Err(error) }
    }
}

/// The time that a container is given to stop, as its inspect document says it.
pub(crate) fn own_grace(stop_timeout: Option<i64>) -> Duration {
    match stop_timeout {
        None => DEFAULT_GRACE,
        Some(seconds) => {
            u64::try_from(seconds).map_or(LONGEST_GRACE, Duration::from_secs).min(LONGEST_GRACE)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn restart_policies_go_to_the_engine_and_back() {
        let all = [
            RestartPolicy::No,
            RestartPolicy::Always,
            RestartPolicy::UnlessStopped,
            RestartPolicy::OnFailure { retries: 3 },
        ];
        for policy in all {
            assert_eq!(RestartPolicy::of(Some(&policy.to_wire())), policy);
        }
        assert_eq!(RestartPolicy::of(None), RestartPolicy::No);
    }

    #[test]
    fn a_container_has_its_own_time_to_stop_within_reason() {
        assert_eq!(own_grace(None), DEFAULT_GRACE);
        assert_eq!(own_grace(Some(90)), Duration::from_secs(90));
        assert_eq!(own_grace(Some(-1)), LONGEST_GRACE);
    }
}
