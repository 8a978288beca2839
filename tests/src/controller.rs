//! Controller: one that runs on this machine, its state in a directory of its own, reached by the test hosts.

use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::log::Log;
use crate::process::Process;
use crate::programs::{self, Made};
use crate::site::Site;
use crate::wait;

const UP: Duration = Duration::from_secs(30);

/// A controller: its state, and its process while it runs.
#[derive(Debug)]
pub struct Controller {
    dir: PathBuf,
    address: SocketAddr,
    made: Made,
    log: Log,
    process: Option<Process>,
}

impl Controller {
    /// Makes a controller's state and starts it.
    ///
    /// # Errors
    ///
    /// When it does not come up.
    pub fn up(name: &str) -> Result<Self> {
        let mut made = Self::init(name)?;
        made.start()?;
        Ok(made)
    }

    /// Makes a controller's state and leaves it at that.
    ///
    /// # Errors
    ///
    /// When it cannot be made.
    pub fn init(name: &str) -> Result<Self> {
        let site = Site::of_this_process()?;
        let dir = site.directory(name)?.join("controller");
        let address = SocketAddr::from((site.address(), site.port()));
        let made = programs::init_controller(&dir, address)?;
        let log = Log::new(&format!("the controller of {name}"));
        Ok(Self { dir, address, made, log, process: None })
    }

    /// Starts it and waits until it takes connections.
    ///
    /// # Errors
    ///
    /// When it does not come up.
    pub fn start(&mut self) -> Result<()> {
        let mut process = Process::start(programs::serve_controller(&self.dir)?, &self.log)?;
        wait::for_truth("the controller's port", UP, || {
            anyhow::ensure!(process.is_alive()?, "the controller ended: {}", self.log.text());
            Ok(TcpStream::connect_timeout(&self.address, Duration::from_secs(1)).is_ok())
        })?;
        self.process = Some(process);
        Ok(())
    }

    /// Throws all of its state away but the repositories, and starts a new one in its place.
    ///
    /// # Errors
    ///
    /// When the new one does not come up.
    pub fn replace(&mut self) -> Result<()> {
        if self.process.is_some() {
            self.kill()?;
        }
        let kept = self.dir.with_file_name("kept");
        let repositories = self.dir.join("repositories");
        std::fs::rename(&repositories, &kept).context("keep the repositories")?;
        std::fs::remove_dir_all(&self.dir).context("lose the controller")?;
        self.made = programs::init_controller(&self.dir, self.address)?;
        if repositories.exists() {
            std::fs::remove_dir(&repositories).context("make room for the repositories")?;
        }
        std::fs::rename(&kept, &repositories).context("bring the repositories back")?;
        self.start()
    }

    /// Kills it with SIGKILL.
    ///
    /// # Errors
    ///
    /// When it does not run.
    pub fn kill(&mut self) -> Result<()> {
        self.process.take().context("the controller does not run")?.kill()
    }

    /// Ends it in order.
    ///
    /// # Errors
    ///
    /// When it does not run, or does not end well.
    pub fn stop(&mut self) -> Result<()> {
        self.process.take().context("the controller does not run")?.stop()
    }

    /// Its state directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The recovery passphrase that `init` printed.
    pub fn passphrase(&self) -> &str {
        &self.made.passphrase
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
        self.process.as_ref().context("the controller does not run")
    }

    /// The command `ctl`, as its first admin.
    ///
    /// # Errors
    ///
    /// When it was not built.
    pub fn ctl(&self) -> Result<Command> {
        programs::ctl(&programs::admin_contexts(&self.dir))
    }
}
