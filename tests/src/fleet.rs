//! Fleet: a controller and the agents of test hosts, enrolled and connected, with `ctl` to drive them.

use std::ffi::OsStr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::agent::Agent;
use crate::controller::Controller;
use crate::host::Host;
use crate::log::Log;
use crate::outcome::Outcome;
use crate::{programs, wait};

const CONNECTED: Duration = Duration::from_secs(30);

/// A controller with agents. When it is dropped, everything is taken down, and the test fails if one of our programs
/// logged a warning or an error that the test did not expect.
#[derive(Debug)]
pub struct Fleet {
    agents: Vec<Agent>,
    controller: Controller,
    judged: bool,
}

impl Fleet {
    /// A controller without hosts. `name` is for directories and logs.
    ///
    /// # Errors
    ///
    /// When it does not come up.
    pub fn up(name: &str) -> Result<Self> {
        Ok(Self { agents: Vec::new(), controller: Controller::up(name)?, judged: false })
    }

    /// A controller and one connected host that has the stack `shop`, awake. The host has the fleet's name.
    ///
    /// # Errors
    ///
    /// When one of it does not come up.
    pub fn with_shop(name: &str) -> Result<Self> {
        let mut fleet = Self::up(name)?;
        let host = Host::with_shop(name)?;
        crate::Shop::of(&host).wake()?;
        fleet.join(host)?;
        Ok(fleet)
    }

    /// Invites `host`, enrols and starts its agent, and waits until it is connected.
    ///
    /// # Errors
    ///
    /// When one of these fails.
    pub fn join(&mut self, host: Host) -> Result<&mut Agent> {
        let mut agent = Agent::on(host)?;
        let name = agent.host().name().to_owned();
        let invited = self.ctl(["--output", "json", "host", "invite", &name])?.ok()?;
        agent.enroll(&programs::token_in(&invited)?)?.done()?;
        agent.start()?;
        self.agents.push(agent);
        self.wait_connected(&name)?;
        self.agents.last_mut().context("find the agent that joined")
    }

    /// Throws the controller away, all but its repositories, and puts a new one at the same address. Gives the recovery
    /// passphrase of the one that was lost.
    ///
    /// # Errors
    ///
    /// When the new one does not come up.
    pub fn lose_controller(&mut self) -> Result<String> {
        let passphrase = self.controller.passphrase().to_owned();
        self.expect_in_logs(" WARN ");
        self.controller.replace()?;
        Ok(passphrase)
    }

    /// Makes the catalog again from the repositories, with the passphrase of the controller that was lost.
    ///
    /// # Errors
    ///
    /// When that fails.
    pub fn rebuild_catalog(&self, passphrase: &str) -> Result<()> {
        let mut ctl = self.controller.ctl()?;
        ctl.args(["catalog", "rebuild", "--passphrase-file", "-"]);
        Outcome::with_input(&mut ctl, passphrase)?.done()
    }

    /// Enrols the host called `name` once more, as with a new controller.
    ///
    /// # Errors
    ///
    /// When that fails.
    pub fn enroll_again(&mut self, name: &str) -> Result<()> {
        let invited = self.ctl(["--output", "json", "host", "invite", name])?.ok()?;
        let token = programs::token_in(&invited)?;
        let agent = self.agent(name)?;
        agent.stop()?;
        agent.host().sh(&format!("rm -rf {}/identity", programs::AGENT_STATE))?;
        agent.enroll(&token)?.done()?;
        agent.start()?;
        self.wait_connected(name)
    }

    /// Waits until the controller says that the agent of `name` is connected.
    ///
    /// # Errors
    ///
    /// When it does not within half a minute.
    pub fn wait_connected(&self, name: &str) -> Result<()> {
        wait::for_truth(&format!("the agent of {name}"), CONNECTED, || {
            let hosts = self.ctl(["--output", "json", "host", "list"])?.ok()?.json()?;
            let rows = hosts.as_array().or_else(|| hosts.get("hosts")?.as_array());
            let row = rows
                .context("list hosts")?
                .iter()
                .find(|row| row.get("name") == Some(&name.into()));
            Ok(row.and_then(|row| row.get("connected")).and_then(Value::as_bool).unwrap_or(false))
        })
    }

    /// Runs `ctl` as the first admin.
    ///
    /// # Errors
    ///
    /// When it cannot be started. That it failed is in the outcome.
    pub fn ctl<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Result<Outcome> {
        Outcome::of(self.controller.ctl()?.args(arguments))
    }

    /// The controller.
    pub fn controller(&self) -> &Controller {
        &self.controller
    }

    /// The controller, to be killed and started.
    pub fn controller_mut(&mut self) -> &mut Controller {
        &mut self.controller
    }

    /// The agent of the host called `name`.
    ///
    /// # Errors
    ///
    /// When none joined.
    pub fn agent(&mut self, name: &str) -> Result<&mut Agent> {
        let found = self.agents.iter_mut().find(|agent| agent.host().name() == name);
        found.with_context(|| format!("no host {name} joined"))
    }

    /// The host called `name`.
    ///
    /// # Errors
    ///
    /// When none joined.
    pub fn host(&self, name: &str) -> Result<&Host> {
        let found = self.agents.iter().find(|agent| agent.host().name() == name);
        Ok(found.with_context(|| format!("no host {name} joined"))?.host())
    }

    /// In every log, warnings and errors that have `part` in them are expected.
    pub fn expect_in_logs(&self, part: &str) {
        self.logs().for_each(|log| log.expect(part));
    }

    /// Says what our programs logged that nobody expected.
    ///
    /// # Errors
    ///
    /// When there is any.
    pub fn quiet(&mut self) -> Result<()> {
        self.judged = true;
        let loud: Vec<_> = self.logs().flat_map(Log::unexpected).collect();
        ensure!(loud.is_empty(), "our programs logged what nobody expected:\n{}", loud.join("\n"));
        Ok(())
    }

    fn logs(&self) -> impl Iterator<Item = &Log> {
        std::iter::once(self.controller.log()).chain(self.agents.iter().map(Agent::log))
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        self.logs().for_each(Log::show);
        if !self.judged && !std::thread::panicking() {
            let judged = self.quiet();
            assert!(judged.is_ok(), "{judged:?}");
        }
    }
}
