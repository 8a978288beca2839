//! The binary `lazarette-controller`: see the library of this crate.

use std::{
    io::Write as _,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use lazarette_controller::{
    app::{App, Ended},
    config::{Config, DEFAULT_PATH},
    context, init,
    pki::Authority,
    store::EXIT_FAILED,
};
use lazarette_core::{name::OperatorName, role::Role};
use lazarette_node::{
    address::Address,
    clock::{Clock as _, SystemClock},
    telemetry,
};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Gives the memory of packs back when they are done with; the C library's keeps it.
#[global_allocator]
static MEMORY: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The Lazarette controller: schedules, catalog, repositories and identities of a fleet.
#[derive(Debug, Parser)]
#[command(name = "lazarette-controller", version, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Makes a new controller, its authority and the first admin, and prints the recovery
    /// passphrase once.
    #[command(
        after_help = "Example:\n  lazarette-controller init --dir /var/lib/lazarette-controller --address vault.example.org:7443"
    )]
    Init {
        /// Where its state will be; must not have a controller yet.
        #[arg(long, value_name = "DIRECTORY")]
        dir: PathBuf,
        /// Where agents and `ctl` will reach it.
        #[arg(long, value_name = "HOST:PORT")]
        address: Address,
        /// Where it will listen; every address of this machine when absent.
        #[arg(long, value_name = "IP:PORT")]
        listen: Option<SocketAddr>,
    },
    /// Runs the controller.
    Serve {
        /// Its configuration.
        #[arg(long, value_name = "FILE", default_value = DEFAULT_PATH)]
        config: PathBuf,
    },
    /// What only works on the controller's own machine.
    Admin {
        #[command(subcommand)]
        verb: AdminVerb,
    },
}

#[derive(Debug, Subcommand)]
enum AdminVerb {
    /// Issues a credential for `ctl`: the way back in when all have expired.
    #[command(
        after_help = "Example:\n  lazarette-controller admin issue --name eve --role restorer --out /root/eve"
    )]
    Issue {
        /// The controller's configuration.
        #[arg(long, value_name = "FILE", default_value = DEFAULT_PATH)]
        config: PathBuf,
        /// Who it is for.
        #[arg(long)]
        name: OperatorName,
        /// What they may do: admin, operator, restorer, viewer, ci.
        #[arg(long)]
        role: Role,
        /// The directory that gets NAME.toml (for `ctl --config`) and NAME.pem.
        #[arg(long, value_name = "DIRECTORY")]
        out: PathBuf,
    },
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = match arguments.verb {
        Verb::Init { dir, address, listen } => init_at(&dir, &address, listen).await,
        Verb::Serve { config } => serve(&config).await,
        Verb::Admin { verb: AdminVerb::Issue { config, name, role, out } } => {
            issue(&config, name, role, &out)
        }
    };
    match done {
        Ok(code) => code,
        Err(error) => {
            // Nothing to do when stderr is gone too.
            drop(writeln!(std::io::stderr(), "error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

async fn init_at(
    dir: &Path,
    address: &Address,
    listen: Option<SocketAddr>,
) -> anyhow::Result<ExitCode> {
    let dir = std::path::absolute(dir).context("find the directory")?;
    let everywhere = SocketAddr::from((Ipv4Addr::UNSPECIFIED, address.port()));
    let clock = SystemClock::new().context("read the clock")?;
    let made = init::init(&dir, address, listen.unwrap_or(everywhere), &clock).await?;
    writeln!(
        std::io::stdout(),
        "The controller is made. Its recovery passphrase, shown only now:\n\n    {}\n\n\
         Write it down and keep it away from this machine: with it, and the repositories, every\n\
         snapshot can be restored when this controller is lost. Without it, none can.\n\n\
         Start it:  lazarette-controller serve --config {}\n\
         Use it:    ctl --config {} host list",
        made.passphrase.as_str(),
        made.config.display(),
        made.contexts.display(),
    )?;
    Ok(ExitCode::SUCCESS)
}

async fn serve(path: &Path) -> anyhow::Result<ExitCode> {
    let config = Config::load(path)?;
    telemetry::start(&config.log)?;
    let cancel = CancellationToken::new();
    let (mut terminate, mut interrupt) =
        (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let app = App::build(&config).await?;
    let running = app.run(cancel.clone());
    tokio::pin!(running);
    let ended = tokio::select! {
        ended = &mut running => ended,
        _ = terminate.recv() => { cancel.cancel(); running.await }
        _ = interrupt.recv() => { cancel.cancel(); running.await }
    };
    Ok(match ended {
        Ended::Asked => ExitCode::SUCCESS,
        Ended::StoreFailed => ExitCode::from(EXIT_FAILED),
    })
}

fn issue(config: &Path, name: OperatorName, role: Role, out: &Path) -> anyhow::Result<ExitCode> {
    let config = Config::load(config)?;
    let authority = Authority::load(&config.state_dir)?;
    let now = SystemClock::new().context("read the clock")?.now();
    let label = name.to_string();
    let credentials = authority.issue_operator(name, role, now)?;
    let serial = &credentials.certificate().serial;
    std::fs::create_dir_all(out).with_context(|| format!("make `{}`", out.display()))?;
    let contexts = context::write(out, &label, &config.address, &credentials)?;
    writeln!(
        std::io::stdout(),
        "Use it:     ctl --config {} host list\nRevoke it:  ctl credential revoke {serial}",
        contexts.display()
    )?;
    Ok(ExitCode::SUCCESS)
}
