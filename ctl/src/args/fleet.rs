//! Fleet: the verbs with which a fleet itself is looked after: its controller, credentials, audit log.

use clap::Subcommand;
use lazarette_core::name::OperatorName;
use lazarette_node::certificate::Serial;

/// Of `ctl credential`.
#[derive(Debug, Subcommand)]
pub enum CredentialVerb {
    /// Lists the credentials that were used, and those that were revoked
    #[command(after_help = "\
Examples:
  ctl credential list
  ctl --output json credential list

A credential is listed from its first use on. New ones are made on the controller's machine:
`lazarette-controller admin issue`.")]
    List,
    /// Refuses credentials from now on; connections that are open with them are cut
    #[command(after_help = "\
Examples:
  ctl credential revoke 4f1c…           one, by its serial number
  ctl credential revoke --operator eve --reason \"left us\"
                                        all that were issued to her until now
  ctl credential revoke 4f1c… --yes

It cannot be undone: issue a new one with `lazarette-controller admin issue`.")]
    Revoke {
        /// The serial number, as `ctl credential list` and `admin issue` print it
        #[arg(value_name = "SERIAL", required_unless_present = "operator")]
        serial: Option<Serial>,
        /// Every credential that was issued to this operator until now
        #[arg(long, value_name = "NAME", conflicts_with = "serial")]
        operator: Option<OperatorName>,
        /// Why, for those who read the audit log
        #[arg(long, value_name = "TEXT", default_value = "")]
        reason: String,
        /// Does not ask
        #[arg(long, short)]
        yes: bool,
    },
}

/// Of `ctl audit`.
#[derive(Debug, Subcommand)]
pub enum AuditVerb {
    /// Lists what was done and what was refused, newest first
    #[command(after_help = "\
Examples:
  ctl audit list
  ctl audit list --refused              only what was refused
  ctl audit list --limit 1000")]
    List {
        /// Only what was refused
        #[arg(long)]
        refused: bool,
        /// At most so many
        #[arg(long, value_name = "COUNT", default_value_t = 100)]
        limit: u32,
    },
    /// Reads the whole log and says whether an entry is missing, added or changed
    #[command(after_help = "\
Examples:
  ctl audit verify
  ctl --output json audit verify        keep its `end_hash` elsewhere: a log that was replaced has
                                        another one behind the same number of entries")]
    Verify,
}

/// Of `ctl controller`.
#[derive(Debug, Subcommand)]
pub enum ControllerVerb {
    /// Shows its version, how full its disks are, and what an operator should do something about
    #[command(after_help = "Example:\n  ctl controller show")]
    Show,
}
