//! Plans: what a run will do, decided before it begins; a dry run prints one.

use serde::{Deserialize, Serialize};

use crate::{
    component::{Component, ComponentKind},
    error::{Reason, ReasonedError},
    id::SnapshotId,
    layer::layers,
    manifest::SavedComponent,
    name::{ComponentName, StackName},
    snapshot::Snapshot,
    stack::{ContainerSeen, ContainerState, Part, StackSeen, Uncovered},
};

/// What a backup will do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupPlan {
    /// Of which stack.
    pub stack: StackName,
    /// Containers to stop, by name, layer after layer; started again in reverse.
    pub stop: Vec<Vec<String>>,
    /// What is saved while they are stopped, in this order.
    pub components: Vec<Component>,
    /// What is not saved, and why.
    pub uncovered: Vec<Uncovered>,
    /// What an operator should know.
    pub warnings: Vec<String>,
    /// After how many seconds the agent starts everything again, whatever happens.
    pub hold_budget_seconds: u32,
}

/// What a restore will do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestorePlan {
    /// Of which stack.
    pub stack: StackName,
    /// To which snapshot.
    pub snapshot: SnapshotId,
    /// Containers to stop, by name, layer after layer; started again in reverse.
    pub stop: Vec<Vec<String>>,
    /// What is restored, in this order.
    pub components: Vec<SavedComponent>,
    /// What of the snapshot is left as it is, and why.
    pub left_out: Vec<Uncovered>,
    /// What an operator should know.
    pub warnings: Vec<String>,
}

/// No plan can be made.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// A component was asked for that is not there.
    #[error("there is no component `{name}`; there are: {}", known.join(", "))]
    Unknown {
        /// What was asked for.
        name: ComponentName,
        /// What there is.
        known: Vec<String>,
    },
    /// The stack must not be touched as it is.
    #[error("stack `{stack}` cannot be held as it is: {}", why.join("; "))]
    Refused {
        /// Which.
        stack: StackName,
        /// Each says what to do about it.
        why: Vec<String>,
    },
    /// A database is not there to be dumped or restored into.
    #[error("the database container `{container}` of `{component}` {what}; start it and try again")]
    DatabaseDown {
        /// Which component.
        component: ComponentName,
        /// Which container.
        container: String,
        /// "does not run", "does not exist".
        what: &'static str,
    },
    /// There is nothing to do.
    #[error("stack `{stack}` has nothing to save; `ctl stack show` says why")]
    Nothing {
        /// Which.
        stack: StackName,
    },
}

impl ReasonedError for PlanError {
    fn reason(&self) -> Reason {
        match self {
            Self::Unknown { .. } => Reason::ComponentUnknown,
            Self::Refused { .. } => Reason::StackUnsupported,
            Self::DatabaseDown { .. } => Reason::EngineNotReady,
            Self::Nothing { .. } => Reason::InvalidInput,
        }
    }
}

impl BackupPlan {
    /// The plan for `seen`, for the components of `only`, or for all when that is empty.
    ///
    /// # Errors
    ///
    /// [`PlanError`], before anything is stopped.
    pub fn of(
        seen: &StackSeen,
        only: &[ComponentName],
        hold_budget_seconds: u32,
    ) -> Result<Self, PlanError> {
        refuse(seen)?;
        let names = seen.components.iter().map(|it| &it.name);
        check_known(only, names)?;
        let (mut components, left): (Vec<_>, Vec<_>) = seen
            .components
            .iter()
            .cloned()
            .partition(|it| only.is_empty() || only.contains(&it.name));
        for component in &components {
            check_database(seen, component)?;
        }
        // Databases first: what is read from files meanwhile stands still anyway.
        components.sort_by_key(|it| (order(&it.kind), it.name.clone()));
        if components.iter().all(|it| matches!(it.kind, ComponentKind::Definition)) {
            return Err(PlanError::Nothing { stack: seen.name.clone() });
        }
        let mut uncovered = seen.uncovered.clone();
        uncovered.extend(left.into_iter().map(|it| Uncovered {
            what: it.name.to_string(),
            why: "it was not asked for".to_owned(),
            size: None,
        }));
        Ok(Self {
            stack: seen.name.clone(),
            stop: layers(&to_stop(seen)),
            components,
            uncovered,
            warnings: seen.warnings.clone(),
            hold_budget_seconds,
        })
    }
}

impl RestorePlan {
    /// The plan that takes `seen` back to `snapshot`: the components of `only`, or all but the
    /// project's files when that is empty (H11: files are written only when asked for).
    ///
    /// # Errors
    ///
    /// [`PlanError`], before anything is stopped.
    pub fn of(
        seen: &StackSeen,
        snapshot: &Snapshot,
        only: &[ComponentName],
    ) -> Result<Self, PlanError> {
        refuse(seen)?;
        let names = snapshot.components.iter().map(|it| &it.component.name);
        check_known(only, names)?;
        let mut components = Vec::new();
        let mut left_out = Vec::new();
        for saved in &snapshot.components {
            if let Some(why) = left_as_it_is(&saved.component, only) {
                left_out.push(Uncovered {
                    what: saved.component.name.to_string(),
                    why: why.to_owned(),
                    size: Some(saved.bytes),
                });
                continue;
            }
            check_database(seen, &saved.component)?;
            components.push(saved.clone());
        }
        components.sort_by_key(|it| (order(&it.component.kind), it.component.name.clone()));
        let mut warnings = seen.warnings.clone();
        warnings.extend(snapshot.incomplete.iter().map(|it| format!("the snapshot: {it}")));
        Ok(Self {
            stack: seen.name.clone(),
            snapshot: snapshot.id,
            stop: layers(&to_stop(seen)),
            components,
            left_out,
            warnings,
        })
    }
}

/// Why a restore leaves `component` as it is, or nothing when it is to be restored.
fn left_as_it_is(component: &Component, only: &[ComponentName]) -> Option<&'static str> {
    let asked = only.contains(&component.name);
    match component.kind {
        ComponentKind::Definition => Some("the stack's containers are there"),
        ComponentKind::Files { .. } if !asked => {
            Some("files are written back only with `--component files`")
        }
        ComponentKind::Database { .. }
        | ComponentKind::Volume { .. }
        | ComponentKind::Bind { .. }
        | ComponentKind::Files { .. } => {
            (!only.is_empty() && !asked).then_some("it was not asked for")
        }
    }
}

/// What stands still during a run: everything that runs and is no database.
fn to_stop(seen: &StackSeen) -> Vec<&ContainerSeen> {
    let writes = |it: &&ContainerSeen| {
        it.part == Part::Application
            && matches!(it.state, ContainerState::Running | ContainerState::Restarting)
    };
    seen.containers.iter().filter(writes).collect()
}

const fn order(kind: &ComponentKind) -> u8 {
    match kind {
        ComponentKind::Database { .. } => 0,
        ComponentKind::Volume { .. } => 1,
        ComponentKind::Bind { .. } => 2,
        ComponentKind::Files { .. } => 3,
        ComponentKind::Definition => 4,
    }
}

fn refuse(seen: &StackSeen) -> Result<(), PlanError> {
    if seen.refusals.is_empty() {
        return Ok(());
    }
    Err(PlanError::Refused { stack: seen.name.clone(), why: seen.refusals.clone() })
}

fn check_known<'a>(
    only: &[ComponentName],
    known: impl Iterator<Item = &'a ComponentName> + Clone,
) -> Result<(), PlanError> {
    let unknown = only.iter().find(|name| !known.clone().any(|it| it == *name));
    unknown.map_or(Ok(()), |name| {
        Err(PlanError::Unknown {
            name: name.clone(),
            known: known.map(ToString::to_string).collect(),
        })
    })
}

fn check_database(seen: &StackSeen, component: &Component) -> Result<(), PlanError> {
    let ComponentKind::Database { container, .. } = &component.kind else { return Ok(()) };
    let what = match seen.container(container).map(|it| it.state) {
        Some(ContainerState::Running) => return Ok(()),
        Some(ContainerState::Paused) => "is paused",
        Some(ContainerState::Restarting | ContainerState::Stopped) => "does not run",
        None => "does not exist",
    };
    Err(PlanError::DatabaseDown {
        component: component.name.clone(),
        container: container.clone(),
        what,
    })
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::{
        evidence::Evidence,
        id::{HostId, RepositoryId, RunId, StackId},
        stack::Origin,
        units::ByteCount,
    };

    fn container(name: &str, part: Part, state: ContainerState, needs: &[&str]) -> ContainerSeen {
        ContainerSeen {
            id: name.to_owned(),
            name: name.to_owned(),
            service: name.to_owned(),
            image: String::new(),
            state,
            needs: needs.iter().map(|need| (*need).to_owned()).collect(),
            part,
            has_health_check: false,
            stop_timeout_seconds: 10,
        }
    }

    fn component(name: &str, kind: ComponentKind) -> Component {
        Component { name: name.parse().unwrap(), kind }
    }

    fn shop() -> StackSeen {
        let running = ContainerState::Running;
        let database = ComponentKind::Database {
            driver: "postgres".to_owned(),
            container: "db".to_owned(),
            version: String::new(),
            notes: vec![],
        };
        let files = ComponentKind::Files { root: "/srv/shop".to_owned(), paths: vec![] };
        StackSeen {
            name: "shop".parse().unwrap(),
            origin: Origin::Container,
            containers: vec![
                container("db", Part::Database, running, &[]),
                container("app", Part::Application, running, &["db"]),
                container("migrate", Part::OneShot, ContainerState::Stopped, &["db"]),
                container("old", Part::Application, ContainerState::Stopped, &[]),
            ],
            components: vec![
                component("definition", ComponentKind::Definition),
                component("files", files),
                component("postgres/db", database),
            ],
            uncovered: vec![],
            refusals: vec![],
            warnings: vec![],
            labels: [].into(),
        }
    }

    fn snapshot(of: &StackSeen) -> Snapshot {
        let saved = |component: &Component| SavedComponent {
            component: component.clone(),
            path: component.name.to_string(),
            bytes: ByteCount(1),
            evidence: Evidence::default(),
        };
        Snapshot {
            id: SnapshotId::from_bytes([1; 32]),
            repository: RepositoryId::new(),
            stack: StackId::new(),
            stack_name: of.name.clone(),
            host: HostId::new(),
            host_name: "host1".parse().unwrap(),
            run: RunId::new(),
            time: Timestamp::UNIX_EPOCH,
            components: of.components.iter().map(saved).collect(),
            incomplete: vec![],
            read_bytes: ByteCount(0),
            new_bytes: ByteCount(0),
            stored_bytes: ByteCount(0),
            downtime_ms: 0,
        }
    }

    #[test]
    fn a_backup_stops_running_applications_only_and_saves_databases_first() {
        let plan = BackupPlan::of(&shop(), &[], 60).unwrap();

        assert_eq!(plan.stop, [["app"]]);
        let names: Vec<_> = plan.components.iter().map(|it| it.name.as_str()).collect();
        assert_eq!(names, ["postgres/db", "files", "definition"]);
    }

    #[test]
    fn a_database_that_does_not_run_refuses_the_plan_before_anything_is_stopped() {
        let mut seen = shop();
        seen.containers[0].state = ContainerState::Stopped;

        let error = BackupPlan::of(&seen, &[], 60).unwrap_err();

        assert_eq!(error.reason(), Reason::EngineNotReady);
        assert!(error.to_string().contains("`db`"), "{error}");
    }

    #[test]
    fn an_unknown_component_is_named_with_those_there_are() {
        let error = BackupPlan::of(&shop(), &["volume/x".parse().unwrap()], 60).unwrap_err();
        assert!(error.to_string().contains("postgres/db"), "{error}");
    }

    #[test]
    fn a_restore_writes_files_only_when_asked_and_never_the_definition() {
        let seen = shop();
        let plan = RestorePlan::of(&seen, &snapshot(&seen), &[]).unwrap();
        let names: Vec<_> = plan.components.iter().map(|it| it.component.name.as_str()).collect();
        assert_eq!(names, ["postgres/db"]);
        assert_eq!(plan.left_out.len(), 2);

        let plan = RestorePlan::of(&seen, &snapshot(&seen), &["files".parse().unwrap()]).unwrap();
        let names: Vec<_> = plan.components.iter().map(|it| it.component.name.as_str()).collect();
        assert_eq!(names, ["files"]);
    }
}
