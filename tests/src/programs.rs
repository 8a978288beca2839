//! Programs: how our three binaries are called. The one place of the harness that knows their command lines.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::host::Host;
use crate::outcome::Outcome;
use crate::places::program;

/// The variable that says what is logged.
const LOG: &str = "LAZARETTE_LOG";

/// What `lazarette-controller init` made, besides its files.
#[derive(Clone, Debug)]
pub struct Made {
    /// Opens every repository without the controller; printed this once.
    pub passphrase: String,
    /// All that was printed.
    pub printed: String,
}

/// Makes a controller's state in `dir`, which will listen on `address`.
///
/// # Errors
///
/// When it cannot be made.
pub fn init_controller(dir: &Path, address: SocketAddr) -> Result<Made> {
    let said = Outcome::of(
        Command::new(program("lazarette-controller")?).arg("init").arg("--dir").arg(dir).args([
            "--address",
            &address.to_string(),
            "--listen",
            &address.to_string(),
        ]),
    )?
    .ok()?;
    let config = dir.join("controller.toml");
    let written = std::fs::read_to_string(&config).context("read the configuration it wrote")?;
    if !written.contains("[timers]") {
        std::fs::write(&config, written + CONTROLLER_CONFIG_MORE)?;
    }
    Ok(Made { passphrase: passphrase_in(&said.stdout)?, printed: said.stdout })
}

/// The command that serves what [`init_controller`] made.
///
/// # Errors
///
/// When the program was not built.
pub fn serve_controller(dir: &Path) -> Result<Command> {
    let mut command = Command::new(program("lazarette-controller")?);
    command.arg("serve").arg("--config").arg(dir.join("controller.toml")).env(LOG, "info");
    Ok(command)
}

/// Where [`init_controller`] left the contexts of the first admin.
pub fn admin_contexts(dir: &Path) -> std::path::PathBuf {
    dir.join("admin.toml")
}

/// The command `ctl` with those contexts.
///
/// # Errors
///
/// When the program was not built.
pub fn ctl(contexts: &Path) -> Result<Command> {
    let mut command = Command::new(program("ctl")?);
    command.arg("--config").arg(contexts);
    Ok(command)
}

/// The token in what `ctl --output json host invite` printed.
///
/// # Errors
///
/// When there is none.
pub fn token_in(invited: &Outcome) -> Result<String> {
    let json = invited.json()?;
    let token = json.get("token").and_then(Value::as_str);
    Ok(token.with_context(|| format!("find the token in: {invited}"))?.to_owned())
}

/// The command that enrols the agent of `host`.
///
/// # Errors
///
/// When the host does not run or the program was not built.
pub fn enroll_agent(host: &Host, token: &str) -> Result<Command> {
    let mut command = host.command(program("lazarette-agent")?)?;
    command.args(["enroll", token]);
    Ok(command)
}

/// The command that runs the agent of `host`.
///
/// # Errors
///
/// As [`enroll_agent`].
pub fn run_agent(host: &Host) -> Result<Command> {
    let mut command = host.command(program("lazarette-agent")?)?;
    command.args(["run", "--config", AGENT_CONFIG]).env(LOG, "info");
    Ok(command)
}

/// The command that ends all holds of `host`, as at boot.
///
/// # Errors
///
/// As [`enroll_agent`].
pub fn thaw_all(host: &Host) -> Result<Command> {
    let mut command = host.command(program("lazarette-agent")?)?;
    command.args(["thaw", "--all"]);
    Ok(command)
}

/// The agent's configuration on its host.
pub const AGENT_CONFIG: &str = "/etc/lazarette/agent.toml";
/// The agent's state on its host, where it is by default.
pub const AGENT_STATE: &str = "/var/lib/lazarette-agent";
/// The host's own limits, where they are by default.
pub const AGENT_POLICY: &str = "/etc/lazarette/agent-policy.toml";

/// The configuration of an agent under test: the defaults, but it waits for less long.
pub const AGENT_CONFIG_TEXT: &str = r#"
[timers]
reconnect = "1s"
keepalive = "2s"
reaper = "1s"
healthy_after = "2s"
"#;

/// What a controller's configuration says in addition to what `init` wrote.
const CONTROLLER_CONFIG_MORE: &str = r#"
[timers]
keepalive = "2s"
"#;

fn passphrase_in(printed: &str) -> Result<String> {
    let mut lines = printed.lines().skip_while(|line| !line.to_lowercase().contains("passphrase"));
    let first = lines.next().unwrap_or_default();
    let said = first.split_once(": ").map(|(_, said)| said.trim()).filter(|said| !said.is_empty());
    let below = lines.map(str::trim).find(|line| !line.is_empty());
    let passphrase = said.or(below).context("find the recovery passphrase that `init` printed")?;
    Ok(passphrase.to_owned())
}
