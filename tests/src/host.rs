//! Host: a Docker host of its own on this machine, with an engine on the default paths.

use std::ffi::OsStr;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::outcome::Outcome;
use crate::places::{images, shop_template};
use crate::site::Site;

/// A Docker host. It goes, with all its data, when it is dropped.
#[derive(Debug)]
pub struct Host {
    name: String,
    home: PathBuf,
    address: Ipv4Addr,
    site: &'static Site,
}

impl Host {
    /// A new host with the images of the tests and nothing else. `name`, unique in the process, is its host name.
    ///
    /// # Errors
    ///
    /// When it does not come up.
    pub fn up(name: &str) -> Result<Self> {
        Self::from_template(name, &images()?)
    }

    /// A new host that has the stack `shop`, asleep: see [`crate::Shop::wake`].
    ///
    /// # Errors
    ///
    /// When it does not come up.
    pub fn with_shop(name: &str) -> Result<Self> {
        Self::from_template(name, &shop_template()?)
    }

    fn from_template(name: &str, template: &Path) -> Result<Self> {
        let site = Site::of_this_process()?;
        let template = template.to_str().context("name the template")?;
        site.hosts_sh(&["up", name, template])?.done()?;
        let home = site.dir().join(name);
        let address = site.hosts_sh(&["address", name])?.ok()?;
        let address = address.stdout.trim().parse().context("read the address of the host")?;
        Ok(Self { name: name.to_owned(), home, address, site })
    }

    /// Its host name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its address on the network of the hosts.
    pub fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// Its Docker Engine's socket, as this process reaches it.
    pub fn socket(&self) -> PathBuf {
        self.home.join("docker.sock")
    }

    /// Where this process finds the host's own `inside`, a path under `/srv`, `/etc`, `/var/lib` or its Docker data.
    /// Writing there is safe for `/srv` and Docker's data; the others only while the host does not run.
    pub fn path(&self, inside: &str) -> PathBuf {
        const OWN: [(&str, &str); 5] = [
            ("/var/lib/docker", "docker"),
            ("/etc/docker", "etc-docker"),
            ("/srv", "srv"),
            ("/etc", "etc"),
            ("/var/lib", "lib"),
        ];
        let inside = Path::new(inside);
        OWN.iter()
            .find_map(|(at, own)| Some(self.home.join(own).join(inside.strip_prefix(at).ok()?)))
            .unwrap_or_else(|| inside.to_owned())
    }

    /// A command that runs `program` on this host.
    ///
    /// # Errors
    ///
    /// When the host does not run.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Result<Command> {
        let noted = std::fs::read_to_string(self.home.join("init.pid")).unwrap_or_default();
        let pid = noted.split_whitespace().next().map(str::to_owned);
        let pid = pid.with_context(|| format!("host {} does not run", self.name))?;
        let mut command = Command::new("nsenter");
        command.args(["-t", &pid, "-m", "-n", "-u", "-i", "-p", "-r", "-w/", "--"]).arg(program);
        Ok(command)
    }

    /// Runs a program with its arguments on this host, to its end.
    ///
    /// # Errors
    ///
    /// When it cannot be started. That it failed is in the outcome.
    pub fn run<S: AsRef<OsStr>>(&self, words: impl IntoIterator<Item = S>) -> Result<Outcome> {
        let mut words = words.into_iter();
        let program = words.next().context("name a program")?;
        Outcome::of(self.command(program)?.args(words))
    }

    /// Runs a piece of bash on this host; it fails at its first command that fails.
    ///
    /// # Errors
    ///
    /// When it does not succeed.
    pub fn sh(&self, script: &str) -> Result<String> {
        Ok(self.run(["bash", "-euo", "pipefail", "-c", script])?.ok()?.stdout)
    }

    /// Runs `docker` on this host and gives what it printed.
    ///
    /// # Errors
    ///
    /// When it does not succeed.
    pub fn docker(&self, arguments: &[&str]) -> Result<String> {
        let printed = Outcome::of(self.command("docker")?.args(arguments))?.ok()?.stdout;
        Ok(printed.trim_end().to_owned())
    }

    /// Cuts its power: everything on it is killed at once.
    ///
    /// # Errors
    ///
    /// When something of it survives.
    pub fn crash(&self) -> Result<()> {
        self.tell("crash")
    }

    /// Shuts it down in order: containers get their stop signals.
    ///
    /// # Errors
    ///
    /// When it does not end.
    pub fn stop(&self) -> Result<()> {
        self.tell("stop")
    }

    /// Switches it on again after [`Host::crash`] or [`Host::stop`].
    ///
    /// # Errors
    ///
    /// When it does not come up.
    pub fn start(&self) -> Result<()> {
        self.tell("start")
    }

    /// Stops its Docker Engine in order.
    ///
    /// # Errors
    ///
    /// When it does not end.
    pub fn stop_engine(&self) -> Result<()> {
        self.tell("engine-stop")
    }

    /// Kills its Docker Engine; what it ran is left to the next one.
    ///
    /// # Errors
    ///
    /// When it does not end.
    pub fn kill_engine(&self) -> Result<()> {
        self.tell("engine-kill")
    }

    /// Starts its Docker Engine again.
    ///
    /// # Errors
    ///
    /// When it does not come up.
    pub fn start_engine(&self) -> Result<()> {
        self.tell("engine-start")
    }

    /// Pulls its network cable: packets vanish, connections are not told.
    ///
    /// # Errors
    ///
    /// When that fails.
    pub fn cut_network(&self) -> Result<()> {
        self.sh("ip link set eth0 down").map(drop)
    }

    /// Plugs the cable in again.
    ///
    /// # Errors
    ///
    /// When that fails.
    pub fn mend_network(&self) -> Result<()> {
        self.sh("ip link set eth0 up").map(drop)
    }

    /// Mounts an empty file system of `mebibytes` at `inside`, for a full disk. It goes when the host ends.
    ///
    /// # Errors
    ///
    /// When that fails.
    pub fn mount_small(&self, inside: &str, mebibytes: u32) -> Result<()> {
        self.run(["mkdir", "-p", inside])?.done()?;
        let size = format!("size={mebibytes}m");
        self.run(["mount", "-t", "tmpfs", "-o", &size, "tmpfs", inside])?.done()
    }

    fn tell(&self, verb: &str) -> Result<()> {
        self.site.hosts_sh(&[verb, &self.name])?.done()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // What cannot be taken down now is taken down by the keeper.
        drop(self.tell("down"));
    }
}
