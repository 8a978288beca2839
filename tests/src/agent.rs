//! Agent: the one of a test host, running inside it, so that the host's engine, files and clock are all it sees.

use anyhow::{Context, Result};

use crate::host::Host;
use crate::log::Log;
use crate::outcome::Outcome;
use crate::places::workspace;
use crate::process::Process;
use crate::programs;

/// An agent: its host, and its process while it runs.
#[derive(Debug)]
pub struct Agent {
    process: Option<Process>,
    log: Log,
    // Last, so that the agent is gone before its host.
    host: Host,
}

impl Agent {
    /// An agent that is configured on `host`, not enrolled, not running.
    ///
    /// # Errors
    ///
    /// When its configuration cannot be written.
    pub fn on(host: Host) -> Result<Self> {
        let log = Log::new(&format!("the agent of {}", host.name()));
        let agent = Self { process: None, log, host };
        agent.configure(programs::AGENT_CONFIG_TEXT)?;
        let shipped = std::fs::read_to_string(workspace().join("deploy/agent-policy.toml"))?;
        agent.limit(&shipped)?;
        Ok(agent)
    }

    /// Writes its configuration file.
    ///
    /// # Errors
    ///
    /// When that fails.
    pub fn configure(&self, text: &str) -> Result<()> {
        self.write(programs::AGENT_CONFIG, text)
    }

    /// Writes the host's own policy file: what it allows, whatever its controller asks.
    ///
    /// # Errors
    ///
    /// When that fails.
    pub fn limit(&self, policy: &str) -> Result<()> {
        self.write(programs::AGENT_POLICY, policy)
    }

    fn write(&self, path: &str, text: &str) -> Result<()> {
        let write = "install -D -m 0600 /dev/stdin \"$1\"";
        let mut command = self.host.command("bash")?;
        command.args(["-c", write, "_", path]);
        Outcome::with_input(&mut command, text)?.done()
    }

    /// Enrols it with a token.
    ///
    /// # Errors
    ///
    /// When that cannot be tried. That it failed is in the outcome.
    pub fn enroll(&self, token: &str) -> Result<Outcome> {
        Outcome::of(&mut programs::enroll_agent(&self.host, token)?)
    }

    /// Starts it.
    ///
    /// # Errors
    ///
    /// When that fails.
    pub fn start(&mut self) -> Result<()> {
        self.process = Some(Process::start(programs::run_agent(&self.host)?, &self.log)?);
        Ok(())
    }

    /// Kills it with SIGKILL.
    ///
    /// # Errors
    ///
    /// When it does not run.
    pub fn kill(&mut self) -> Result<()> {
        self.process.take().context("the agent does not run")?.kill()
    }

    /// Ends it in order.
    ///
    /// # Errors
    ///
    /// When it does not run, or does not end well.
    pub fn stop(&mut self) -> Result<()> {
        self.process.take().context("the agent does not run")?.stop()
    }

    /// Cuts the power of its host, and of itself with it.
    ///
    /// # Errors
    ///
    /// When something survives.
    pub fn crash_host(&mut self) -> Result<()> {
        self.host.crash()?;
        self.process = None;
        Ok(())
    }

    /// Switches the host on, ends its holds as the boot unit does, and starts the agent.
    ///
    /// # Errors
    ///
    /// When one of that fails.
    pub fn boot_host(&mut self) -> Result<()> {
        self.host.start()?;
        Outcome::of(&mut programs::thaw_all(&self.host)?)?.done()?;
        self.start()
    }

    /// Its host.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// What it has logged.
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// Its process, while it runs.
    ///
    /// # Errors
    ///
    /// When it does not.
    pub fn process(&self) -> Result<&Process> {
        self.process.as_ref().context("the agent does not run")
    }
}
