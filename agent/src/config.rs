//! Configuration: the few things an operator may set about an agent. Works without a file.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use jiff::SignedDuration;
use serde::{Deserialize, Deserializer, de::Error as _};

use crate::{docker::Patience, held::Persistence};

/// Where the configuration is looked for when nobody says otherwise.
pub const DEFAULT_PATH: &str = "/etc/lazarette/agent.toml";

/// What an operator may set, checked.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Timers {
    /// The longest that a backup holds a stack, whatever its plan says.
    #[serde(deserialize_with = "duration")]
    pub hold_budget: Duration,
    /// How long a run waits for a controller that does not answer.
    #[serde(deserialize_with = "duration")]
    pub controller_patience: Duration,
    /// How long a run waits for the Docker Engine to come back before it gives up a thaw.
    #[serde(deserialize_with = "duration")]
    pub docker_patience: Duration,
    /// How long a restored stack has to become healthy.
    #[serde(deserialize_with = "duration")]
    pub health: Duration,
    /// Without a health check: up for so long without a restart is healthy.
    #[serde(deserialize_with = "duration")]
    pub healthy_after: Duration,
    /// How often holds are looked at.
    #[serde(deserialize_with = "duration")]
    pub reaper: Duration,
    /// The longest pause between two attempts to reach the controller.
    #[serde(deserialize_with = "duration")]
    pub reconnect: Duration,
    /// How long a quiet connection is left alone before the other end is pinged.
    #[serde(deserialize_with = "duration")]
    pub keepalive: Duration,
    /// How long an ended run is remembered.
    #[serde(deserialize_with = "duration")]
    pub remember_runs: Duration,
    /// How long a shutdown waits for stacks to run again.
    #[serde(deserialize_with = "duration")]
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

/// The configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("read the configuration `{}`", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file is not TOML.
    #[error("read the configuration `{}` as TOML", path.display())]
    Syntax {
        /// Which.
        path: PathBuf,
        /// Where and why.
        #[source]
        source: Box<toml::de::Error>,
    },
    /// A key cannot be, or has a value that cannot be.
    #[error("use `{field}` of the configuration `{}`", path.display())]
    Field {
        /// Which file.
        path: PathBuf,
        /// Which key.
        field: String,
        /// Why.
        #[source]
        source: Box<toml::de::Error>,
    },
}

impl Config {
    /// The file at `path`; or, when nobody named one, the default file if there is one, else the
    /// defaults.
    ///
    /// # Errors
    ///
    /// [`ConfigError`]: a file that was named must be there.
    pub fn load(path: Option<&Path>) -> Result<Self, ConfigError> {
        let named = path.is_some();
        let path = path.unwrap_or(Path::new(DEFAULT_PATH));
        match fs::read_to_string(path) {
            Ok(text) => Self::parse(path, &text),
            Err(error) if error.kind() == io::ErrorKind::NotFound && !named => Ok(Self::default()),
            Err(source) => Err(ConfigError::Read { path: path.to_owned(), source }),
        }
    }

    fn parse(path: &Path, text: &str) -> Result<Self, ConfigError> {
        let document = toml::Deserializer::parse(text).map_err(|source| ConfigError::Syntax {
            path: path.to_owned(),
            source: Box::new(source),
        })?;
        serde_path_to_error::deserialize(document).map_err(|error| {
            let field = error.path().to_string();
            let source = Box::new(error.into_inner());
            ConfigError::Field { path: path.to_owned(), field, source }
        })
    }
}

/// More than nothing and at most a year.
fn duration<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(from)?;
    let refused =
        || D::Error::custom(format!("`{text}` is not a duration like \"90s\" or \"10m\""));
    let parsed: SignedDuration = text.parse().map_err(|_why| refused())?;
    let duration = Duration::try_from(parsed).map_err(|_why| refused())?;
    let year = Duration::from_hours(366 * 24);
    if duration.is_zero() || duration > year { Err(refused()) } else { Ok(duration) }
}

#[cfg(test)]
mod tests {
    use lazarette_core::error::chain;

    use super::*;

    fn parse(text: &str) -> Result<Config, String> {
        Config::parse(Path::new("agent.toml"), text).map_err(|error| chain(&error))
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
            ("[timers]\nhold_budget = \"90\"", ["timers.hold_budget", "\"90s\""]),
            ("[timers]\nhold_budget = \"0s\"", ["timers.hold_budget", "0s"]),
            ("[timers]\nhold_budgte = \"9s\"", ["hold_budgte", "hold_budget"]),
            ("controller = \"x\"", ["controller", "state_dir"]),
            ("state_dir = ", ["agent.toml", "TOML"]),
        ] {
            let error = parse(text).unwrap_err();
            assert!(needles.iter().all(|it| error.contains(it)), "{text}: {error}");
        }
    }
}
