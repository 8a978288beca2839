//! Hints: what can be done about each reason for which something does not work.

use lazarette_core::error::Reason;

/// What to do; nothing where the message itself says it. `RUN` stands for the run's id.
pub const fn of(reason: Reason) -> Option<&'static str> {
    Some(match reason {
        Reason::HostUnknown => "`ctl host list` lists the hosts",
        Reason::StackUnknown => "`ctl stack list` lists the stacks",
        Reason::StackAmbiguous => "say which one as `HOST/STACK`",
        Reason::ComponentUnknown => "`ctl stack show` and `ctl snapshot show` list the components",
        Reason::SnapshotUnknown => "`ctl snapshot list` lists the snapshots",
        Reason::SnapshotAmbiguous => "give more digits of the snapshot's id",
        Reason::RunUnknown => "`ctl run list` lists the runs",
        Reason::RunState => "`ctl run show RUN` says where it stands",
        Reason::StackBusy => "`ctl run list --open` shows the run that has it",
        Reason::RepositoryUnknown => "`ctl repo list` lists the repositories",
        Reason::KeyWrong => "use the recovery passphrase that `lazarette-controller init` printed",
        Reason::RepositoryLocked => "try again when the other program is done",
        Reason::HostOffline => {
            "look at its agent: `systemctl status lazarette-agent` on the host; `ctl host list` says when it was seen last"
        }
        Reason::HostDrained => "`ctl host drain HOST --undo` lets it take runs again",
        Reason::ControllerUnreachable => {
            "is `lazarette-controller serve` running, and is the address in the context right? `ctl context list`"
        }
        Reason::AgentLost => {
            "`ctl host list` says whether the host is back; then start the run again"
        }
        Reason::AgentRestarted => "the stack runs as before; start the run again",
        Reason::VersionUnsupported => "bring agent, controller and ctl to the same version",
        Reason::RoleDenied => {
            "use a context with another role: `ctl context list`, `lazarette-controller admin issue`"
        }
        Reason::Unauthenticated => {
            "is this the context of that controller? `ctl context list`; a new credential: `lazarette-controller admin issue` on the controller's machine"
        }
        Reason::CertificateExpired => {
            "compare the clocks; a new credential: `lazarette-controller admin issue` on the controller's machine"
        }
        Reason::Revoked => {
            "a new credential: `lazarette-controller admin issue` on the controller's machine"
        }
        Reason::PolicyDenied => "the host's own policy file says what is allowed",
        Reason::TokenRefused => "make a new token: `ctl host invite`",
        Reason::NameTaken => "choose another name, or remove the other first",
        Reason::StackUnsupported => "`ctl stack show` says what is in the way",
        Reason::DockerUnavailable => "look at the host's Docker Engine: `systemctl status docker`",
        Reason::ContainerGone | Reason::ContainerRestarted => {
            "something else handles these containers; try again when it is done"
        }
        Reason::EngineNotReady => "look at the database's container: `docker logs`",
        Reason::DumpFailed | Reason::DumpUnknown | Reason::DumpInvalid | Reason::DumpStalled => {
            "no snapshot was made; `ctl run show RUN` has the notes, `docker logs` those of the database"
        }
        Reason::DdlDuringDump => "tables changed meanwhile; try again when migrations are over",
        Reason::WritersActive => "stop the writers that are named, or bring them into the stack",
        Reason::QuiesceFailed => "look at the containers that are named: `docker logs`",
        Reason::HoldExpired => "the stack runs again; the host was too slow or the data too large",
        Reason::ThawFailed | Reason::Unhealthy => {
            "look at the containers that are named: `docker ps`, `docker logs`"
        }
        Reason::EvidenceDiffers | Reason::RestoreFailed => {
            "if the run is held: `ctl run resume RUN` tries again, `ctl run rollback RUN` brings the old data back"
        }
        Reason::RepositoryDamaged => {
            "`ctl repo check --read-data` says which snapshots are affected"
        }
        Reason::StorageUnavailable => "look at the disk that holds the repositories",
        Reason::DiskFull => "make room where the message says, then try again",
        Reason::LimitReached => "try again later",
        Reason::StoreFailed | Reason::AuditBroken | Reason::PackRefused | Reason::Internal => {
            "the logs of the controller and the agent say more"
        }
        Reason::RunExists | Reason::InvalidInput | Reason::Cancelled => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hints_are_one_line_and_end_without_a_full_stop() {
        for reason in Reason::ALL {
            let Some(hint) = of(*reason) else { continue };
            assert!(!hint.contains('\n') && !hint.ends_with('.'), "{reason}: {hint}");
        }
    }
}
