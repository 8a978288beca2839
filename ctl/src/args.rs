//! Args: the words that `ctl` understands, checked as far as that needs no controller.

mod fleet;
mod nouns;
mod values;

use std::path::PathBuf;

use clap::{ArgAction, Parser, Subcommand, ValueEnum};
use lazarette_core::{
    name::{ComponentName, HostName, OperatorName, StackAddress},
    selection::{LabelWish, StackPattern},
};

pub use self::{
    fleet::{AuditVerb, ControllerVerb, CredentialVerb},
    nouns::{
        CatalogVerb, ContextVerb, HostVerb, RepoVerb, RunArgs, RunVerb, SnapshotVerb, StackVerb,
    },
    values::{RepositoryWord, RestorePoint, SnapshotWord},
};

/// Back up stacks of Docker hosts, and bring them back.
#[derive(Debug, Parser)]
#[command(
    name = "ctl",
    version,
    about = "Back up stacks of Docker hosts, and bring them back",
    after_help = EXAMPLES,
    disable_help_subcommand = true,
    max_term_width = 100
)]
pub struct Args {
    /// For every command.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

const EXAMPLES: &str = "\
Examples:
  ctl context import /var/lib/lazarette-controller/admin.toml
                                        talk to this controller from now on
  ctl stack list                        which stacks there are, and how old their snapshots
  ctl stack show shop                   what of a stack is saved, what is not, and why
  ctl backup shop                       make a snapshot
  ctl restore shop --dry-run            what bringing back the newest one would do
  ctl restore shop --snapshot 1f3a      bring one back

`ctl COMMAND --help` has examples for each command.

Exit status: 0 done, 1 failed, 2 wrong usage, 3 done in part, 130 stopped following with Ctrl-C.
Files:       ~/.config/lazarette/contexts.toml, or the one that LAZARETTE_CONFIG names";

/// What every command takes.
#[derive(Debug, clap::Args)]
pub struct Global {
    /// The contexts file [default: ~/.config/lazarette/contexts.toml]
    #[arg(long, value_name = "FILE", global = true)]
    pub config: Option<PathBuf>,
    /// The context to use, instead of the current one
    #[arg(long, value_name = "NAME", global = true)]
    pub context: Option<OperatorName>,
    /// How data is printed; json is stable and meant for programs
    #[arg(long, short, value_name = "FORMAT", value_enum, default_value_t, global = true)]
    pub output: Format,
}

/// How data is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Table,
    /// For programs.
    Json,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Makes a snapshot of a stack, or of many
    #[command(after_help = "\
Examples:
  ctl backup shop                       all of it; follows the run to its end
  ctl backup host1/shop                 when more than one host has a stack called shop
  ctl backup shop --dry-run             what would be stopped, saved and left out
  ctl backup shop --component postgres/db
  ctl backup shop --detach              only starts it: prints the run's id
  ctl backup --all                      every stack of every host, a run each
  ctl backup --host web1 --host web2    every stack of these hosts
  ctl backup shop 'blog-*' 'db?/ledger' several, by name and by pattern
  ctl backup --label tier=gold          those with a container labelled lazarette.label.tier=gold

Of many, each is a run of its own: one that fails or a host that is away holds up none of the
others. The controller's limits say how many are under way at once.

Applications are stopped while their data is read, and started again whatever happens.
A snapshot from which something is missing ends with status 3; so does a backup of many stacks when
only some of them succeeded.")]
    Backup(BackupArgs),
    /// Brings a stack back to a snapshot
    #[command(after_help = "\
Examples:
  ctl restore shop --dry-run            what would be done, to the newest snapshot
  ctl restore shop                      shows the plan and asks
  ctl restore shop --snapshot 1f3a --yes
  ctl restore shop --component postgres/db --component volume/shop_data
  ctl restore shop --component files    the project's files are written back only when asked for

Everything is restored beside what is there, compared with what was counted when it was saved, and
only then put in its place. When that fails the stack stays stopped with its old data: `ctl run
resume RUN` tries again, `ctl run rollback RUN` starts it as it was.")]
    Restore(RestoreArgs),
    /// Docker hosts
    #[command(subcommand)]
    Host(HostVerb),
    /// Stacks, as they are now
    #[command(subcommand)]
    Stack(StackVerb),
    /// Backups and restores, running and past
    #[command(subcommand)]
    Run(RunVerb),
    /// Snapshots
    #[command(subcommand)]
    Snapshot(SnapshotVerb),
    /// Repositories, where snapshots are kept
    #[command(subcommand)]
    Repo(RepoVerb),
    /// The controller's index of all snapshots
    #[command(subcommand)]
    Catalog(CatalogVerb),
    /// Credentials of operators
    #[command(subcommand)]
    Credential(CredentialVerb),
    /// Who did what, and who was refused what
    #[command(subcommand)]
    Audit(AuditVerb),
    /// The controller itself
    #[command(subcommand)]
    Controller(ControllerVerb),
    /// Controllers to talk to
    #[command(subcommand)]
    Context(ContextVerb),
    /// The version of ctl
    #[command(after_help = "Example:\n  ctl --output json version")]
    Version,
}

/// Of `ctl backup`.
#[derive(Debug, clap::Args)]
pub struct BackupArgs {
    /// `HOST/STACK`, or `STACK` when that is enough to find it; `*` and `?` stand for characters
    #[arg(value_name = "STACK", required_unless_present_any = ["all", "hosts", "labels"])]
    pub stacks: Vec<StackPattern>,
    /// Every stack of every host
    #[arg(long, conflicts_with_all = ["stacks", "hosts", "labels"])]
    pub all: bool,
    /// Only stacks of this host; may be given more than once
    #[arg(long = "host", value_name = "HOST", action = ArgAction::Append)]
    pub hosts: Vec<HostName>,
    /// Only stacks with this label; may be given more than once
    #[arg(long = "label", short, value_name = "KEY=VALUE", action = ArgAction::Append)]
    pub labels: Vec<LabelWish>,
    /// Only this component, of one stack; may be given more than once
    #[arg(long = "component", short, value_name = "COMPONENT", action = ArgAction::Append)]
    pub components: Vec<ComponentName>,
    /// Only says what would be done
    #[arg(long, conflicts_with = "detach")]
    pub dry_run: bool,
    /// Does not wait for the end
    #[arg(long)]
    pub detach: bool,
}

/// Of `ctl restore`.
#[derive(Debug, clap::Args)]
pub struct RestoreArgs {
    /// `HOST/STACK`, or `STACK` when that is enough to find it
    #[arg(value_name = "STACK")]
    pub stack: StackAddress,
    /// The beginning of a snapshot's id, or `latest`
    #[arg(long, short, value_name = "SNAPSHOT", default_value = "latest")]
    pub snapshot: RestorePoint,
    /// Only this component; may be given more than once
    #[arg(long = "component", short, value_name = "COMPONENT", action = ArgAction::Append)]
    pub components: Vec<ComponentName>,
    /// Only says what would be done
    #[arg(long, conflicts_with_all = ["detach", "yes"])]
    pub dry_run: bool,
    /// Does not ask
    #[arg(long, short)]
    pub yes: bool,
    /// Does not wait for the end
    #[arg(long)]
    pub detach: bool,
}
