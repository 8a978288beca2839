//! Config: what an operator decided, read once and checked before anything else is done.
//!
//! Every mistake in the file is reported at once, each with its field, what was found there and
//! what may be. (serde stops at the first one, so the fields are taken from the table by hand.)

mod error;
mod fields;

use std::fs::File;
use std::io::{self, Read};
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use lazarette_node::address::Address;

pub use self::error::{ConfigError, Problem};
use self::fields::Fields;

/// Where the configuration is when nobody says otherwise.
pub const DEFAULT_PATH: &str = "/etc/lazarette/controller.toml";

/// The longest file that is read, in bytes.
const MAX_BYTES: u64 = 1024 * 1024;

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
    /// How long agents are told to wait at most before they dial again.
    pub reconnect: Duration,
    /// How long an agent may be silent before its runs count as out of contact.
    pub lost_contact: Duration,
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
        let bytes = read(path).map_err(|source| ConfigError::Read { path: path.into(), source })?;
        Self::parse(path, &bytes)
    }

    /// Checks the content of a file called `path`.
    ///
    /// # Errors
    ///
    /// It has mistakes: all of them.
    pub fn parse(path: &Path, bytes: &[u8]) -> Result<Self, ConfigError> {
        let wrong = |problems| ConfigError::Wrong { path: path.to_owned(), problems };
        let text = text(bytes).map_err(|problem| wrong(vec![problem]))?;
        let mut fields = Fields::read(text).map_err(|problem| wrong(vec![problem]))?;
        match (check(&mut fields), fields.problems()) {
            (Some(config), problems) if problems.is_empty() => Ok(config),
            (_, problems) => Err(wrong(problems)),
        }
    }
}

/// Takes every field; nothing when a mistake leaves no value for one.
fn check(fields: &mut Fields) -> Option<Config> {
    const ADDRESS: &str = "host:port as agents and `ctl` see it: \"vault.example.org:7443\"";
    let listen = fields.parsed("listen", "an IP address and a port: \"0.0.0.0:7443\"");
    let listen = listen.or(Some(SocketAddr::from(([0, 0, 0, 0], 7443))));
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
        keepalive: fields.duration("timers.keepalive", 10),
        reconnect: fields.duration("timers.reconnect", 30),
        lost_contact: fields.duration("timers.lost_contact", 60),
        run_lost_after: fields.duration("timers.run_lost_after", 600),
    };
    if timers.lost_contact <= timers.keepalive {
        fields.refuse("timers.lost_contact", "longer than timers.keepalive");
    }
    let log = fields.text("log").unwrap_or_else(|| "info".to_owned());
    fields.refuse_unknown();
    let (listen, address) = (listen?, address?);
    Some(Config { listen, address, state_dir, repositories_dir, limits, timers, log })
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let file = File::open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a file"));
    }
    if metadata.mode() & 0o022 != 0 {
        let rule = "others than its owner may write it; run `chmod go-w` on it";
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, rule));
    }
    let mut bytes = Vec::new();
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The text of a file, without a byte order mark.
fn text(bytes: &[u8]) -> Result<&str, Problem> {
    let problem = |rule: &str| Problem::of_file(rule);
    if bytes.len() > usize::try_from(MAX_BYTES).unwrap_or(usize::MAX) {
        return Err(problem("it is longer than 1 MiB"));
    }
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        return Err(problem("it is UTF-16; save it as UTF-8"));
    }
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    if bytes.contains(&0) {
        return Err(problem("it contains a NUL byte"));
    }
    std::str::from_utf8(bytes).map_err(|error| {
        let line = bytes.iter().take(error.valid_up_to()).filter(|byte| **byte == b'\n').count();
        problem(&format!("line {} is not UTF-8", line + 1))
    })
}

#[cfg(test)]
mod tests;
