//! Config: what an operator decided, read once and checked before anything else is done.
//!
//! Every mistake in the file is reported at once, each with its field, what was found there and
//! what may be.

use std::{
    net::SocketAddr,
    num::NonZeroU32,
    path::{Path, PathBuf},
    time::Duration,
};

pub use lazarette_node::settings::SettingsError as ConfigError;
use lazarette_node::{
    address::Address,
    settings::{Fields, LONGEST},
};

/// Where the configuration is when nobody says otherwise.
pub const DEFAULT_PATH: &str = "/etc/lazarette/controller.toml";

/// The configuration of a controller, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Where agents and `ctl` connect to.
    pub listen: SocketAddr,
    /// The same place as agents and `ctl` see it; in every token and certificate.
    pub address: Address,
    /// The store, the keys and all else that must survive.
    pub state_dir: PathBuf,
    /// The embedded repositories.
    pub repositories_dir: PathBuf,
    /// How much is done at once.
    pub limits: Limits,
    /// How long things take.
    pub timers: Timers,
    /// Which log lines are written, as `RUST_LOG` has it.
    pub log: String,
}

/// How much is done at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Runs on one host.
    pub runs_per_host: NonZeroU32,
    /// Runs on all hosts together.
    pub runs_total: NonZeroU32,
}

/// How long things take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timers {
    /// How often a quiet connection is asked whether it lives.
    pub keepalive: Duration,
    /// How long a run may be out of contact before it is given up.
    pub run_lost_after: Duration,
}

impl Config {
    /// Reads and checks the file at `path`.
    ///
    /// # Errors
    ///
    /// It cannot be read, others than its owner may write it, or it has mistakes: all of them.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        Fields::load(path, check)
    }

    /// Checks the content of a file called `path`.
    ///
    /// # Errors
    ///
    /// It has mistakes: all of them.
    pub fn parse(path: &Path, bytes: &[u8]) -> Result<Self, ConfigError> {
        Fields::parse(path, bytes, check)
    }
}

/// Takes every field; nothing when a mistake leaves no value for one.
fn check(fields: &mut Fields) -> Option<Config> {
    const ADDRESS: &str = "host:port as agents and `ctl` see it: \"vault.example.org:7443\"";
    let listen = fields.parsed("listen", "an IP address and a port: \"0.0.0.0:7443\"");
    let listen = listen.unwrap_or(SocketAddr::from(([0, 0, 0, 0], 7443)));
    let address = fields.parsed("address", ADDRESS);
    fields.require("address", ADDRESS);
    let state_dir = fields.directory("state_dir");
    let state_dir = state_dir.unwrap_or_else(|| PathBuf::from("/var/lib/lazarette-controller"));
    let repositories_dir = fields.directory("repositories_dir");
    let repositories_dir = repositories_dir.unwrap_or_else(|| state_dir.join("repositories"));
    let limits = Limits {
        runs_per_host: fields.count("limits.runs_per_host", 1, 100),
        runs_total: fields.count("limits.runs_total", 4, 10_000),
    };
    let timers = Timers {
        keepalive: fields.duration("timers.keepalive", Duration::from_secs(10), LONGEST),
        run_lost_after: fields.duration("timers.run_lost_after", Duration::from_mins(10), LONGEST),
    };
    if timers.run_lost_after <= timers.keepalive {
        fields.refuse("timers.run_lost_after", "longer than timers.keepalive");
    }
    let log = fields.text("log").unwrap_or_else(|| "info".to_owned());
    let address = address?;
    Some(Config { listen, address, state_dir, repositories_dir, limits, timers, log })
}

#[cfg(test)]
mod tests;
