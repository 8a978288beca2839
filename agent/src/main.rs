//! The binary: see the library of this crate.

use std::{path::PathBuf, process::ExitCode, sync::Arc};

use clap::{Parser, Subcommand};
use lazarette_agent::{app::App, config::Config, enroll, policy, status, thaw};
use lazarette_core::error::chain;
use lazarette_node::{
    clock::{Clock, SystemClock},
    telemetry,
    token::Token,
};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Gives the memory of packs back when they are done with; the C library's keeps it.
#[global_allocator]
static MEMORY: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Backs up and restores the Docker stacks of this host, as its controller asks.
///
/// A host is enrolled once:
///
///     ctl host invite shop1                  # on the controller: prints a token
///     lazarette-agent enroll TOKEN           # here
///     systemctl enable --now lazarette-agent
#[derive(Debug, Parser)]
#[command(name = "lazarette-agent", version, verbatim_doc_comment)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Enrols this host with the controller that printed TOKEN.
    Enroll {
        /// The whole line that `ctl host invite` printed.
        token: String,
        /// Where this host's state is kept.
        #[arg(long, value_name = "DIR")]
        state_dir: Option<PathBuf>,
    },
    /// Serves the controller until it is told to stop (SIGTERM).
    Run {
        /// The configuration; by default /etc/lazarette/agent.toml, if it is there.
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
        /// Where this host's state is kept.
        #[arg(long, value_name = "DIR")]
        state_dir: Option<PathBuf>,
    },
    /// Starts again whatever is held. Needs no configuration, certificate or controller.
    Thaw {
        /// Everything: there is no other way.
        #[arg(long, required = true)]
        all: bool,
        /// Where this host's state is kept.
        #[arg(long, value_name = "DIR")]
        state_dir: Option<PathBuf>,
        /// Where the Docker Engine listens.
        #[arg(long, value_name = "PATH")]
        docker_socket: Option<PathBuf>,
    },
    /// Tells what is held and which runs this host knows, from its files.
    Status {
        /// Where this host's state is kept.
        #[arg(long, value_name = "DIR")]
        state_dir: Option<PathBuf>,
    },
}

fn main() -> ExitCode {
    // Before anything else: a child has one thread, and gives up all that it does not need.
    if let Some(code) = lazarette_agent::volume::child::main() {
        return code;
    }
    let args = Args::parse();
    match run(args.command) {
        Ok(code) => code,
        Err(error) => {
            say(&format!("lazarette-agent: {}", chain(error.as_ref())));
            ExitCode::from(1)
        }
    }
}

fn run(command: Command) -> anyhow::Result<ExitCode> {
    telemetry::start("info")?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new()?);
    let defaults = Config::default();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    match command {
        Command::Enroll { token, state_dir } => {
            let token: Token = token.parse()?;
            let state_dir = state_dir.unwrap_or(defaults.state_dir);
            let enrolled = runtime.block_on(enroll::enroll(&token, &state_dir, &clock))?;
            if policy::install(&defaults.policy_file)? {
                say(&format!(
                    "this host's policy is new: `{}` allows backup and restore of project paths",
                    defaults.policy_file.display()
                ));
            }
            say(&format!(
                "enrolled as `{}` with the controller at {}",
                enrolled.host, enrolled.controller
            ));
            Ok(ExitCode::SUCCESS)
        }
        Command::Run { config, state_dir } => {
            let mut config = Config::load(config.as_deref())?;
            config.state_dir = state_dir.unwrap_or(config.state_dir);
            let app = runtime.block_on(async { App::build(config, clock) })?;
            runtime.block_on(async {
                let cancel = CancellationToken::new();
                let stop = cancel_at_a_signal(cancel.clone());
                tokio::join!(app.run(cancel), stop).1
            })?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Thaw { all: _, state_dir, docker_socket } => {
            let state_dir = state_dir.unwrap_or(defaults.state_dir);
            let socket = docker_socket.unwrap_or(defaults.docker_socket);
            let report = runtime.block_on(thaw::thaw_all(&state_dir, &socket, clock))?;
            for line in report.thawed.iter().chain(&report.kept).chain(&report.failed) {
                say(line);
            }
            if report == thaw::Report::default() {
                say("nothing is held");
            }
            Ok(if report.failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(1) })
        }
        Command::Status { state_dir } => {
            let state_dir = state_dir.unwrap_or(defaults.state_dir);
            for line in status::lines(&state_dir)? {
                say(&line);
            }
            Ok(ExitCode::SUCCESS)
        }
    }
}

async fn cancel_at_a_signal(cancel: CancellationToken) -> std::io::Result<()> {
    let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::select! {
        _ = term.recv() => {}
        _ = int.recv() => {}
    }
    cancel.cancel();
    Ok(())
}

#[expect(clippy::print_stdout, reason = "this is what the operator asked for")]
fn say(line: &str) {
    println!("{line}");
}
