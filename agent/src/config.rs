//! Configuration: the few things an operator may set about an agent. Works without a file.

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use lazarette_node::settings::Fields;
pub use lazarette_node::settings::SettingsError as ConfigError;

use crate::{docker::Patience, held::Persistence};

/// No time is longer.
const YEAR: Duration = Duration::from_hours(366 * 24);

/// Where the configuration is looked for when nobody says otherwise.
pub const DEFAULT_PATH: &str = "/etc/lazarette/agent.toml";

/// What an operator may set, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Where holds, runs and the host's identity are kept.
    pub state_dir: PathBuf,
    /// Where the Docker Engine listens.
    pub docker_socket: PathBuf,
    /// The host's own limits; need not exist.
    pub policy_file: PathBuf,
    /// How long things may take.
    pub timers: Timers,
}

/// How long things may take; each as text: `"90s"`, `"10m"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timers {
    /// The longest that a backup holds a stack, whatever its plan says.
    pub hold_budget: Duration,
    /// How long a run waits for a controller that does not answer.
    pub controller_patience: Duration,
    /// How long a run waits for the Docker Engine to come back before it gives up a thaw.
    pub docker_patience: Duration,
    /// How long a restored stack has to become healthy.
    pub health: Duration,
    /// Without a health check: up for so long without a restart is healthy.
    pub healthy_after: Duration,
    /// How often holds are looked at.
    pub reaper: Duration,
    /// The longest pause between two attempts to reach the controller.
    pub reconnect: Duration,
    /// How long a quiet connection is left alone before the other end is pinged.
    pub keepalive: Duration,
    /// How long an ended run is remembered.
    pub remember_runs: Duration,
    /// How long a shutdown waits for stacks to run again.
    pub shutdown: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            state_dir: "/var/lib/lazarette-agent".into(),
            docker_socket: "/run/docker.sock".into(),
            policy_file: "/etc/lazarette/agent-policy.toml".into(),
            timers: Timers::default(),
        }
    }
}

impl Default for Timers {
    fn default() -> Self {
        Self {
            hold_budget: Duration::from_mins(10),
            controller_patience: Duration::from_mins(10),
            docker_patience: Duration::from_mins(10),
            health: Duration::from_mins(5),
            healthy_after: Duration::from_secs(10),
            reaper: Duration::from_secs(5),
            reconnect: Duration::from_secs(30),
            keepalive: Duration::from_secs(20),
            remember_runs: Duration::from_hours(30 * 24),
            shutdown: Duration::from_secs(30),
        }
    }
}

impl Timers {
    /// How health is waited for.
    pub const fn patience(&self) -> Patience {
        Patience {
            settle: self.healthy_after,
            give_up: self.health,
            every: Duration::from_millis(250),
        }
    }

    /// How hard a thaw is tried.
    pub fn persistence(&self) -> Persistence {
        Persistence { engine: self.docker_patience, ..Persistence::default() }
    }
}

impl Config {
    /// The file at `path`; or, when nobody named one, the default file if there is one, else the
    /// defaults.
    ///
    /// # Errors
    ///
    /// [`ConfigError`], with every mistake: a file that was named must be there.
    pub fn load(path: Option<&Path>) -> Result<Self, ConfigError> {
        let named = path.is_some();
        match Fields::load(path.unwrap_or(Path::new(DEFAULT_PATH)), check) {
            Err(ConfigError::Read { source, .. })
                if source.kind() == io::ErrorKind::NotFound && !named =>
            {
                Ok(Self::default())
            }
            loaded => loaded,
        }
    }
}

/// Takes every field; what is absent is as by default.
#[expect(clippy::unnecessary_wraps, reason = "what `Fields` asks for")]
fn check(fields: &mut Fields) -> Option<Config> {
    let default = Config::default();
    let it = default.timers;
    let state_dir = fields.directory("state_dir").unwrap_or(default.state_dir);
    let docker_socket = fields.path("docker_socket").unwrap_or(default.docker_socket);
    let policy_file = fields.path("policy_file").unwrap_or(default.policy_file);
    let mut time = |field, default| fields.duration(field, default, YEAR);
    let timers = Timers {
        hold_budget: time("timers.hold_budget", it.hold_budget),
        controller_patience: time("timers.controller_patience", it.controller_patience),
        docker_patience: time("timers.docker_patience", it.docker_patience),
        health: time("timers.health", it.health),
        healthy_after: time("timers.healthy_after", it.healthy_after),
        reaper: time("timers.reaper", it.reaper),
        reconnect: time("timers.reconnect", it.reconnect),
        keepalive: time("timers.keepalive", it.keepalive),
        remember_runs: time("timers.remember_runs", it.remember_runs),
        shutdown: time("timers.shutdown", it.shutdown),
    };
    Some(Config { state_dir, docker_socket, policy_file, timers })
}

#[cfg(test)]
mod tests {
    use lazarette_core::error::chain;

    use super::*;

    fn parse(text: &str) -> Result<Config, String> {
        let parsed = Fields::parse(Path::new("agent.toml"), text.as_bytes(), check);
        parsed.map_err(|error| chain(&error))
    }

    #[test]
    fn no_file_means_the_defaults_and_a_named_file_must_be_there() {
        assert_eq!(parse("").unwrap(), Config::default());
        let error = Config::load(Some(Path::new("/nowhere.toml"))).unwrap_err();
        assert!(error.to_string().contains("/nowhere.toml"));
    }

    #[test]
    fn durations_are_text_with_a_unit() {
        let config =
            parse("state_dir = \"/x\"\n[timers]\nhold_budget = \"90s\"\nhealth = \"1m 30s\"")
                .unwrap();
        assert_eq!(config.timers.hold_budget, Duration::from_secs(90));
        assert_eq!(config.timers.health, Duration::from_secs(90));
        assert_eq!(config.state_dir, Path::new("/x"));
    }

    #[test]
    fn an_error_names_the_file_the_key_and_the_way_out() {
        for (text, needles) in [
            ("[timers]\nhold_budget = 90", ["agent.toml", "timers.hold_budget"]),
            ("[timers]\nhold_budget = \"90\"", ["timers.hold_budget", "\"30s\""]),
            ("[timers]\nhold_budget = \"0s\"", ["timers.hold_budget", "0s"]),
            ("[timers]\nhealth = \"400d\"", ["timers.health", "366 days"]),
            ("[timers]\nhold_budgte = \"9s\"", ["timers.hold_budgte", "timers.hold_budget`?"]),
            ("controller = \"x\"", ["controller", "state_dir"]),
            ("docker_socket = \"docker.sock\"", ["docker_socket", "absolute"]),
            ("state_dir = ", ["agent.toml", "line 1"]),
        ] {
            let error = parse(text).unwrap_err();
            assert!(needles.iter().all(|it| error.contains(it)), "{text}: {error}");
        }
    }

    #[test]
    fn every_mistake_is_reported_at_once() {
        let text = "state_dir = 1\npolicy_file = \"..\"\nlgo = 1\n[timers]\nhealth = 3\nx = \"1s\"";
        assert_eq!(parse(text).unwrap_err().lines().count(), 1 + 5);
    }
}
