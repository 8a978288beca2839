//! A Docker host for these tests, from `tests/hosts/hosts.sh`, gone when the tests are.
#![expect(clippy::unwrap_used, reason = "a test without its host has failed")]

use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Mutex, OnceLock},
};

use lazarette_agent::docker::Docker;

/// A Docker host of its own.
#[derive(Debug)]
pub(crate) struct Host {
    run: String,
    name: &'static str,
    pub(crate) socket: PathBuf,
}

/// Ends the run of hosts when this process ends.
static KEEPER: OnceLock<Mutex<Child>> = OnceLock::new();

/// The number of the run of hosts; none where there can be no hosts, which is said.
fn run() -> Option<&'static str> {
    static RUN: OnceLock<Option<String>> = OnceLock::new();
    let run = RUN.get_or_init(|| {
        if !rustix::process::geteuid().is_root() || !Path::new("/usr/sbin/dockerd").exists() {
            skipped("these tests need root and dockerd");
            return None;
        }
        let run = output(Command::new(hosts_sh()).arg("open"));
        let keeper = Command::new(hosts_sh())
            .args([&run, "keeper"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        KEEPER.set(Mutex::new(keeper)).unwrap();
        Some(run)
    });
    run.as_deref()
}

#[expect(clippy::print_stderr, reason = "a test that did not run must not look like one that did")]
fn skipped(why: &str) {
    eprintln!("SKIPPED: {why}");
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

fn hosts_sh() -> PathBuf {
    root().join("tests/hosts/hosts.sh")
}

fn output(command: &mut Command) -> String {
    let output = command.stderr(Stdio::inherit()).output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", output.status);
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

impl Host {
    /// The host that tests share, made by whoever comes first.
    pub(crate) fn shared() -> Option<&'static Self> {
        static SHARED: OnceLock<Option<Host>> = OnceLock::new();
        SHARED.get_or_init(|| Self::new("exec")).as_ref()
    }

    /// A host for a test that breaks it.
    pub(crate) fn new(name: &'static str) -> Option<Self> {
        let run = run()?.to_owned();
        let images = output(&mut Command::new(root().join("tests/images/build.sh")));
        output(Command::new(hosts_sh()).args([&run, "up", name, &images]));
        let home = output(Command::new(hosts_sh()).args([&run, "dir", name]));
        Some(Self { run, name, socket: Path::new(&home).join("docker.sock") })
    }

    /// `hosts.sh RUN VERB NAME`.
    pub(crate) fn tell(&self, verb: &str) {
        output(Command::new(hosts_sh()).args([&self.run, verb, self.name]));
    }

    /// The Docker command line on this host.
    pub(crate) fn docker(&self, arguments: &[&str]) -> String {
        let socket = format!("unix://{}", self.socket.display());
        output(Command::new("docker").env("DOCKER_HOST", socket).args(arguments))
    }

    /// What is tested.
    pub(crate) fn engine(&self) -> Docker {
        Docker::at(&self.socket)
    }

    /// A container that does nothing until it is stopped.
    pub(crate) fn idle(&self, name: &str, options: &[&str]) {
        let run = ["run", "-d", "--init", "--name", name, "-t=false"];
        let image = ["debian:bookworm-slim", "sleep", "infinity"];
        self.docker(&[&run[..], options, &image[..]].concat());
    }
}
