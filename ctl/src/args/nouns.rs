//! Nouns: the verbs of each noun, and their arguments.

use std::{path::PathBuf, time::Duration};

use clap::Subcommand;
use lazarette_core::{
    id::RunId,
    name::{HostName, OperatorName, StackAddress},
};

use super::values::{RepositoryWord, SnapshotWord, valid_period};

/// Of `ctl host`.
#[derive(Debug, Subcommand)]
pub enum HostVerb {
    /// Lists hosts
    #[command(after_help = "Examples:\n  ctl host list\n  ctl --output json host list")]
    List,
    /// Shows one host
    #[command(after_help = "Example:\n  ctl host show web1")]
    Show {
        /// What it is called
        #[arg(value_name = "NAME")]
        host: HostName,
    },
    /// Calls a host otherwise: its stacks, snapshots and runs stay its own
    #[command(after_help = "Example:\n  ctl host rename web1 web-zurich-1")]
    Rename {
        /// What it is called
        #[arg(value_name = "NAME")]
        host: HostName,
        /// What it is to be called
        #[arg(value_name = "NEW_NAME")]
        new_name: HostName,
    },
    /// Lets a host take no new runs, before it is taken down
    #[command(after_help = "\
Examples:
  ctl host drain web1                   what is under way goes on; its runs are listed
  ctl host drain web1 --undo            it takes runs again")]
    Drain {
        /// What it is called
        #[arg(value_name = "NAME")]
        host: HostName,
        /// Lets it take runs again
        #[arg(long)]
        undo: bool,
    },
    /// Makes a one-time token with which a host can be enrolled
    #[command(after_help = "\
Examples:
  ctl host invite web1                  then, on web1: lazarette-agent enroll TOKEN
  ctl host invite web1 --valid 15m
  token=$(ctl host invite web1)         only the token goes to standard output

The token works once. Its key is made on the host and never leaves it.")]
    Invite {
        /// What the host is to be called
        #[arg(value_name = "NAME")]
        host: HostName,
        /// For how long the token can be used: `45m`, `1h`, `7d`
        #[arg(long, value_name = "PERIOD", value_parser = valid_period, default_value = "1h")]
        valid: Duration,
    },
    /// Removes a host: its agent is refused from now on; its snapshots stay
    #[command(after_help = "Examples:\n  ctl host remove web1\n  ctl host remove web1 --yes")]
    Remove {
        /// What it is called
        #[arg(value_name = "NAME")]
        host: HostName,
        /// Does not ask
        #[arg(long, short)]
        yes: bool,
    },
}

/// Of `ctl stack`.
#[derive(Debug, Subcommand)]
pub enum StackVerb {
    /// Lists stacks
    #[command(after_help = "Examples:\n  ctl stack list\n  ctl stack list --host web1")]
    List {
        /// Only those of this host
        #[arg(long, value_name = "HOST")]
        host: Option<HostName>,
    },
    /// Shows what of a stack is saved, what is not, and why
    #[command(after_help = "Examples:\n  ctl stack show shop\n  ctl stack show web1/shop")]
    Show {
        /// `HOST/STACK`, or `STACK` when that is enough to find it
        #[arg(value_name = "STACK")]
        stack: StackAddress,
    },
}

/// A run, and whether to wait for it.
#[derive(Debug, clap::Args)]
pub struct RunArgs {
    /// The run's id: `run-…`
    #[arg(value_name = "RUN")]
    pub run: RunId,
    /// Does not wait for the end
    #[arg(long)]
    pub detach: bool,
}

/// Of `ctl run`.
#[derive(Debug, Subcommand)]
pub enum RunVerb {
    /// Lists runs, newest first
    #[command(after_help = "\
Examples:
  ctl run list
  ctl run list --open                   what runs, waits or is held now
  ctl run list --stack shop --limit 1000")]
    List {
        /// Only those of this stack
        #[arg(long, value_name = "STACK")]
        stack: Option<StackAddress>,
        /// Only those that are not over
        #[arg(long)]
        open: bool,
        /// At most so many
        #[arg(long, value_name = "COUNT", default_value_t = 100)]
        limit: u32,
    },
    /// Shows a run with all that happened in it
    #[command(after_help = "Example:\n  ctl run show run-0193b2…")]
    Show {
        /// The run's id: `run-…`
        #[arg(value_name = "RUN")]
        run: RunId,
    },
    /// Follows a run to its end
    #[command(
        after_help = "Example:\n  ctl run watch run-0193b2…\n\nIts exit status is that of the run. Ctrl-C leaves the run alone."
    )]
    Watch {
        /// The run's id: `run-…`
        #[arg(value_name = "RUN")]
        run: RunId,
    },
    /// Asks a backup or restore to stop, and waits until it has
    #[command(
        after_help = "Examples:\n  ctl run cancel run-0193b2…\n  ctl run cancel run-0193b2… --detach"
    )]
    Cancel(RunArgs),
    /// Lets a held restore try again
    #[command(
        after_help = "Example:\n  ctl run resume run-0193b2…\n\nMend first what `ctl run show` names."
    )]
    Resume(RunArgs),
    /// Ends a held restore: the stack is started with its old data
    #[command(after_help = "Example:\n  ctl run rollback run-0193b2…")]
    Rollback(RunArgs),
}

/// Of `ctl snapshot`.
#[derive(Debug, Subcommand)]
pub enum SnapshotVerb {
    /// Lists snapshots, newest first
    #[command(after_help = "Examples:\n  ctl snapshot list\n  ctl snapshot list shop")]
    List {
        /// Only those of this stack
        #[arg(value_name = "STACK")]
        stack: Option<StackAddress>,
    },
    /// Shows what a snapshot holds, and what was counted when it was made
    #[command(after_help = "\
Examples:
  ctl snapshot show 1f3a
  ctl --output json snapshot show 1f3a  with every fact of its evidence")]
    Show {
        /// Its id or the beginning of it
        #[arg(value_name = "SNAPSHOT")]
        snapshot: SnapshotWord,
    },
    /// Lists the files in a snapshot
    #[command(
        after_help = "Examples:\n  ctl snapshot files 1f3a\n  ctl snapshot files 1f3a volume/shop_data"
    )]
    Files {
        /// Its id or the beginning of it
        #[arg(value_name = "SNAPSHOT")]
        snapshot: SnapshotWord,
        /// Only what is below this path
        #[arg(value_name = "PATH", default_value = "")]
        path: String,
    },
}

/// Of `ctl repo`.
#[derive(Debug, Subcommand)]
pub enum RepoVerb {
    /// Lists repositories
    #[command(after_help = "Example:\n  ctl repo list")]
    List,
    /// Shows one repository
    #[command(after_help = "Examples:\n  ctl repo show shop\n  ctl repo show repository-0193b2…")]
    Show {
        /// `repository-…`, or the stack that it belongs to
        #[arg(value_name = "REPOSITORY")]
        repository: RepositoryWord,
    },
    /// Reads a repository and says what is damaged
    #[command(after_help = "\
Examples:
  ctl repo check shop                   its structure
  ctl repo check shop --read-data       every byte; takes as long as reading all of it")]
    Check {
        /// `repository-…`, or the stack that it belongs to
        #[arg(value_name = "REPOSITORY")]
        repository: RepositoryWord,
        /// Also reads, decrypts and hashes all data
        #[arg(long)]
        read_data: bool,
    },
    /// Prints the password with which plain restic opens a repository
    #[command(after_help = "\
Examples:
  export RESTIC_PASSWORD=$(ctl repo password shop)
  restic --repo DIRECTORY snapshots     `ctl repo show shop` has the directory

Whoever has the password can read everything in the repository. Every call is audited.")]
    Password {
        /// `repository-…`, or the stack that it belongs to
        #[arg(value_name = "REPOSITORY")]
        repository: RepositoryWord,
    },
}

/// Of `ctl catalog`.
#[derive(Debug, Subcommand)]
pub enum CatalogVerb {
    /// Makes the catalog again from the repositories in the controller's directory
    #[command(after_help = "\
Examples:
  ctl catalog rebuild                   asks for the recovery passphrase
  ctl catalog rebuild --passphrase-file passphrase.txt
  pass lazarette | ctl catalog rebuild --passphrase-file -

A fresh controller opens the repositories of a lost one with the recovery passphrase that the lost
one's `lazarette-controller init` printed. It is never taken from the command line.")]
    Rebuild {
        /// Holds the recovery passphrase; `-` for standard input
        #[arg(long, value_name = "FILE")]
        passphrase_file: Option<PathBuf>,
    },
}

/// Of `ctl context`.
#[derive(Debug, Subcommand)]
pub enum ContextVerb {
    /// Lists contexts
    #[command(after_help = "Example:\n  ctl context list")]
    List,
    /// Makes a context the current one
    #[command(after_help = "Example:\n  ctl context use admin")]
    Use {
        /// Which
        #[arg(value_name = "NAME")]
        name: OperatorName,
    },
    /// Takes over the context in a file that the controller wrote, with its credentials
    #[command(after_help = "\
Examples:
  ctl context import /var/lib/lazarette-controller/admin.toml
  ctl context import admin.toml --name home")]
    Import {
        /// The file that `lazarette-controller init` or `lazarette-controller admin issue` wrote
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// What to call it here
        #[arg(long, value_name = "NAME")]
        name: Option<OperatorName>,
    },
}
