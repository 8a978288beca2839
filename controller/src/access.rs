//! Access: the one table of who may call what.

use lazarette_node::authz::{
    Caller::{Admin, Agent, Anonymous, Ci, ExpiredAgent, Operator, Restorer, Viewer},
    Rule, Table, allow,
};

const EVERYONE: &[lazarette_node::authz::Caller] = &[Admin, Operator, Restorer, Viewer, Ci];

/// Who may call what on the controller. A method that is not here may be called by nobody.
pub const TABLE: Table = Table::new(RULES);

const RULES: &[Rule] = &[
    // A host makes itself known; a token is asked for instead of a certificate.
    allow("/lazarette.enrollment.v1.EnrollmentService/Enroll", &[Anonymous]),
    allow("/lazarette.controller.v1.CertificateService/RenewCertificate", &[Agent, ExpiredAgent]),
    // What an agent does with a repository, within a run that was granted to it.
    allow("/lazarette.storage.v1.StorageService/KnownBlobs", &[Agent]),
    allow("/lazarette.storage.v1.StorageService/PutPack", &[Agent]),
    allow("/lazarette.storage.v1.StorageService/ReportPack", &[Agent]),
    allow("/lazarette.storage.v1.StorageService/CommitSnapshot", &[Agent]),
    allow("/lazarette.storage.v1.StorageService/LocateBlobs", &[Agent]),
    allow("/lazarette.storage.v1.StorageService/ReadPack", &[Agent]),
    // Looking.
    allow("/lazarette.controller.v1.HostService/ListHosts", EVERYONE),
    allow("/lazarette.controller.v1.StackService/ListStacks", EVERYONE),
    allow("/lazarette.controller.v1.StackService/GetStack", EVERYONE),
    allow("/lazarette.controller.v1.SnapshotService/ListSnapshots", EVERYONE),
    allow("/lazarette.controller.v1.SnapshotService/GetSnapshot", EVERYONE),
    allow("/lazarette.controller.v1.SnapshotService/ListSnapshotFiles", EVERYONE),
    allow("/lazarette.controller.v1.RunService/GetRun", EVERYONE),
    allow("/lazarette.controller.v1.RunService/ListRuns", EVERYONE),
    allow("/lazarette.controller.v1.RunService/WatchRun", EVERYONE),
    allow("/lazarette.controller.v1.RunService/PlanRun", EVERYONE),
    allow("/lazarette.controller.v1.RepositoryService/ListRepositories", EVERYONE),
    allow("/lazarette.controller.v1.ControllerService/GetController", EVERYONE),
    // Backups.
    allow("/lazarette.controller.v1.RunService/StartBackup", &[Admin, Operator, Restorer, Ci]),
    allow("/lazarette.controller.v1.RunService/CancelRun", &[Admin, Operator, Restorer, Ci]),
    allow(
        "/lazarette.controller.v1.RepositoryService/CheckRepository",
        &[Admin, Operator, Restorer],
    ),
    // Restores.
    allow("/lazarette.controller.v1.RunService/StartRestore", &[Admin, Restorer]),
    allow("/lazarette.controller.v1.RunService/ResumeRun", &[Admin, Restorer]),
    allow("/lazarette.controller.v1.RunService/RollBackRun", &[Admin, Restorer]),
    // Who did what: for those who do everything, and those who only look.
    allow("/lazarette.controller.v1.AuditService/ListAuditEntries", &[Admin, Viewer]),
    allow("/lazarette.controller.v1.AuditService/VerifyAudit", &[Admin, Viewer]),
    // The fleet and its keys.
    allow("/lazarette.controller.v1.CredentialService/ListCredentials", &[Admin]),
    allow("/lazarette.controller.v1.CredentialService/RevokeCredentials", &[Admin]),
    allow("/lazarette.controller.v1.HostService/InviteHost", &[Admin]),
    allow("/lazarette.controller.v1.HostService/RemoveHost", &[Admin]),
    allow("/lazarette.controller.v1.HostService/RenameHost", &[Admin]),
    allow("/lazarette.controller.v1.HostService/DrainHost", &[Admin, Operator]),
    allow("/lazarette.controller.v1.RepositoryService/GetRepositoryPassword", &[Admin]),
    allow("/lazarette.controller.v1.RepositoryService/RebuildCatalog", &[Admin]),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use lazarette_node::authz::Caller;
    use prost::Message as _;
    use prost_types::FileDescriptorSet;

    use super::*;

    /// Who may call `method`, in the order of [`Caller::ALL`].
    fn callers(method: &str) -> Vec<Caller> {
        Caller::ALL.into_iter().filter(|caller| TABLE.allows(method, *caller)).collect()
    }

    #[test]
    fn operators_touch_no_storage_and_agents_nothing_else() {
        for rule in TABLE.rules() {
            let storage = rule.method.starts_with("/lazarette.storage.");
            let certificate = rule.method.contains("CertificateService");
            let by_agent = callers(rule.method).contains(&Agent);
            assert_eq!(by_agent, storage || certificate, "{}", rule.method);
        }
    }

    #[test]
    fn an_expired_agent_renews_and_nobody_without_a_certificate_does_more_than_enroll() {
        for caller in [ExpiredAgent, Anonymous] {
            let may = TABLE.rules().iter().filter(|rule| rule.callers.contains(&caller));
            assert_eq!(may.count(), 1, "{caller:?}");
        }
    }

    #[test]
    fn a_viewer_changes_nothing_and_a_pipeline_restores_nothing() {
        for verb in [
            "Start", "Cancel", "Resume", "Roll", "Invite", "Remove", "Rebuild", "Revoke", "Drain",
            "Rename",
        ] {
            let changing = TABLE.rules().iter().filter(|rule| rule.method.contains(verb));
            for rule in changing {
                assert!(!rule.callers.contains(&Viewer), "{}", rule.method);
            }
        }
        assert!(!TABLE.allows("/lazarette.controller.v1.RunService/StartRestore", Ci));
        assert!(!TABLE.allows("/lazarette.controller.v1.RunService/StartRestore", Operator));
    }

    #[test]
    fn every_method_that_the_controller_serves_has_a_rule_and_no_rule_is_left_over() {
        let descriptors = FileDescriptorSet::decode(lazarette_proto::DESCRIPTORS).unwrap();
        let served: BTreeSet<String> = descriptors
            .file
            .iter()
            .filter(|file| file.package() != "lazarette.agent.v1")
            .flat_map(|file| file.service.iter().map(move |service| (file.package(), service)))
            .flat_map(|(package, service)| {
                let name = service.name();
                service.method.iter().map(move |it| format!("/{package}.{name}/{}", it.name()))
            })
            .collect();
        let ruled: BTreeSet<String> =
            TABLE.rules().iter().map(|rule| rule.method.to_owned()).collect();
        assert_eq!(served, ruled);
    }

    #[test]
    fn every_method_stands_once_and_an_unknown_one_is_refused() {
        for rule in TABLE.rules() {
            let same = TABLE.rules().iter().filter(|it| it.method == rule.method);
            assert_eq!(same.count(), 1, "{}", rule.method);
        }
        assert!(Caller::ALL.into_iter().all(|it| !TABLE.allows("/x.Y/Z", it)));
    }
}
