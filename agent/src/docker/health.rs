//! Health: waiting until a container that was started works (H20).

use std::time::Duration;

use bollard::models::{ContainerInspectResponse, HealthStatusEnum};
use tokio::time::Instant;

use super::{Docker, DockerError, RestartPolicy, plain};

/// How long to wait for a container to work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// Without a health check: up for so long without a restart is healthy.
    pub settle: Duration,
    /// After so long it is not going to be.
    pub give_up: Duration,
    /// Between two looks.
    pub every: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            settle: Duration::from_secs(10),
            give_up: Duration::from_mins(5),
            every: Duration::from_millis(250),
        }
    }
}

impl Docker {
    /// Waits until a container is healthy: by its health check, or by running undisturbed.
    ///
    /// An Engine that does not answer is waited for as well.
    ///
    /// # Errors
    ///
    /// [`DockerError::Unhealthy`] when it ended for good or time is up; [`DockerError::Gone`].
    pub async fn wait_healthy(
        &self,
        container: &str,
        patience: &Patience,
    ) -> Result<(), DockerError> {
        let give_up = Instant::now() + patience.give_up;
        let mut watch = Watch::default();
        loop {
            let verdict = match self.container(container).await {
                Ok(seen) => watch.judge(&Look::of(&seen), patience.settle, Instant::now()),
                Err(error) if error.is_unreachable() => Verdict::NotYet(error.to_string()),
                Err(error) => return Err(error),
            };
            let why = match verdict {
                Verdict::Healthy => return Ok(()),
                Verdict::NotYet(why) if Instant::now() < give_up => {
                    tracing::trace!(container, why, "not healthy yet");
                    tokio::time::sleep(patience.every).await;
                    continue;
                }
                Verdict::NotYet(why) => {
                    format!("{why}, after {} s", patience.give_up.as_secs_f32())
                }
                Verdict::Never(why) => why,
            };
            return Err(DockerError::Unhealthy { container: container.to_owned(), why });
        }
    }
}

/// What matters of one look at a container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Look {
    running: bool,
    comes_back: bool,
    paused: bool,
    exit_code: i64,
    /// The check's verdict and its last words; none without a check.
    health: Option<(HealthStatusEnum, String)>,
    started_at: String,
    restarts: i64,
}

impl Look {
    fn of(seen: &ContainerInspectResponse) -> Self {
        let state = seen.state.clone().unwrap_or_default();
        let policy = seen.host_config.as_ref().and_then(|it| it.restart_policy.as_ref());
        let restarting = state.restarting.unwrap_or(false);
        let health = state.health.and_then(|health| {
            let status = health
                .status
                .filter(|it| !matches!(it, HealthStatusEnum::EMPTY | HealthStatusEnum::NONE))?;
            let words = health.log.unwrap_or_default().pop().and_then(|it| it.output);
            Some((status, plain(&words.unwrap_or_default(), 300)))
        });
        Self {
            running: state.running.unwrap_or(false) && !restarting,
            comes_back: restarting || RestartPolicy::of(policy) != RestartPolicy::No,
            paused: state.paused.unwrap_or(false),
            exit_code: state.exit_code.unwrap_or(0),
            health,
            started_at: state.started_at.unwrap_or_default(),
            restarts: seen.restart_count.unwrap_or(0),
        }
    }
}

/// What a look means.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Healthy,
    NotYet(String),
    Never(String),
}

/// Since when a container has run undisturbed.
#[derive(Debug, Default)]
struct Watch {
    undisturbed: Option<(String, i64, Instant)>,
}

impl Watch {
    fn judge(&mut self, look: &Look, settle: Duration, now: Instant) -> Verdict {
        if !look.running {
            self.undisturbed = None;
            let why = format!("it ended with exit code {}", look.exit_code);
            return if look.comes_back { Verdict::NotYet(why) } else { Verdict::Never(why) };
        }
        if look.paused {
            self.undisturbed = None;
            return Verdict::NotYet("it is paused".to_owned());
        }
        match &look.health {
            Some((HealthStatusEnum::HEALTHY, _)) => return Verdict::Healthy,
            Some((HealthStatusEnum::UNHEALTHY, words)) => {
                return Verdict::NotYet(format!("its health check fails: {words}"));
            }
            Some(_) => return Verdict::NotYet("its health check has not answered yet".to_owned()),
            None => {}
        }
        let since = match &self.undisturbed {
            Some((started, restarts, since))
                if *started == look.started_at && *restarts == look.restarts =>
            {
                *since
            }
            _ => {
                self.undisturbed = Some((look.started_at.clone(), look.restarts, now));
                now
            }
        };
        if now.duration_since(since) >= settle {
            return Verdict::Healthy;
        }
        Verdict::NotYet(format!("it has not run {} s without a restart", settle.as_secs_f32()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTLE: Duration = Duration::from_secs(10);

    fn running(started_at: &str) -> Look {
        Look { running: true, started_at: started_at.to_owned(), ..Look::default() }
    }

    #[test]
    fn without_a_health_check_healthy_is_ten_seconds_without_a_restart() {
        let begin = Instant::now();
        let mut watch = Watch::default();
        let mut judge =
            |look: &Look, after: u64| watch.judge(look, SETTLE, begin + Duration::from_secs(after));

        assert!(matches!(judge(&running("a"), 0), Verdict::NotYet(_)));
        assert!(matches!(judge(&running("a"), 9), Verdict::NotYet(_)));
        assert!(matches!(judge(&running("b"), 11), Verdict::NotYet(_)));
        assert_eq!(judge(&running("b"), 21), Verdict::Healthy);
    }

    #[test]
    fn a_health_check_decides_where_there_is_one() {
        let mut watch = Watch::default();
        let mut look = running("a");
        look.health = Some((HealthStatusEnum::UNHEALTHY, "no route".to_owned()));
        let verdict = watch.judge(&look, Duration::ZERO, Instant::now());
        assert_eq!(verdict, Verdict::NotYet("its health check fails: no route".to_owned()));

        look.health = Some((HealthStatusEnum::HEALTHY, String::new()));
        assert_eq!(watch.judge(&look, SETTLE, Instant::now()), Verdict::Healthy);
    }

    #[test]
    fn what_ended_and_does_not_come_back_is_not_waited_for() {
        let ended = Look { exit_code: 3, ..Look::default() };
        let verdict = Watch::default().judge(&ended, SETTLE, Instant::now());
        assert_eq!(verdict, Verdict::Never("it ended with exit code 3".to_owned()));

        let comes_back = Look { comes_back: true, ..ended };
        let verdict = Watch::default().judge(&comes_back, SETTLE, Instant::now());
        assert!(matches!(verdict, Verdict::NotYet(_)));
    }
}
