//! Site: the network of test hosts that this process owns, and the keeper that takes it down when the process ends.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use anyhow::{Context, Result};

use crate::outcome::Outcome;
use crate::places::workspace;

/// One network of hosts. There is one in a process, made when it is first asked for.
#[derive(Debug)]
pub struct Site {
    number: u8,
    dir: PathBuf,
    next_port: AtomicU16,
    /// Holds the pipe whose end tells the keeper that this process is gone. Never waited for.
    _keeper: Child,
}

impl Site {
    /// This process's site.
    ///
    /// # Errors
    ///
    /// When it cannot be made: without root, for one.
    pub fn of_this_process() -> Result<&'static Self> {
        static SITE: OnceLock<Site> = OnceLock::new();
        static MAKING: Mutex<()> = Mutex::new(());

        let _one_at_a_time = MAKING.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(site) = SITE.get() {
            return Ok(site);
        }
        let site = Self::open()?;
        Ok(SITE.get_or_init(|| site))
    }

    fn open() -> Result<Self> {
        let mut open = Command::new(script());
        open.arg("open").env("LAZARETTE_OWNER", std::process::id().to_string());
        let said = Outcome::of(&mut open)?.ok().context("open a site for test hosts")?;
        let number: u8 = said.stdout.trim().parse().context("read the number of the site")?;

        let keeper = Command::new("setsid")
            .arg(script())
            .args([&number.to_string(), "keeper"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("start the keeper of the test hosts")?;
        let said = Outcome::of(Command::new(script()).args([&number.to_string(), "home"]))?.ok()?;
        let dir = PathBuf::from(said.stdout.trim());
        Ok(Self { number, dir, next_port: AtomicU16::new(7000), _keeper: keeper })
    }

    /// The machine's own address on the network of the hosts: controllers listen there.
    pub fn address(&self) -> Ipv4Addr {
        Ipv4Addr::new(10, 77, self.number, 254)
    }

    /// A port of [`Site::address`] that nothing else in this site has been given.
    pub fn port(&self) -> u16 {
        self.next_port.fetch_add(1, Ordering::Relaxed)
    }

    /// A new directory that goes with the site, for the data of `name`.
    ///
    /// # Errors
    ///
    /// When it cannot be made.
    pub fn directory(&self, name: &str) -> Result<PathBuf> {
        let at = self.dir.join(".data").join(format!("{name}-{}", self.port()));
        std::fs::create_dir_all(&at).with_context(|| format!("make {}", at.display()))?;
        Ok(at)
    }

    /// Where everything of the site lies.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Runs `hosts.sh` for this site.
    pub(crate) fn hosts_sh(&self, arguments: &[&str]) -> Result<Outcome> {
        Outcome::of(Command::new(script()).arg(self.number.to_string()).args(arguments))
    }
}

fn script() -> PathBuf {
    workspace().join("tests/hosts/hosts.sh")
}
