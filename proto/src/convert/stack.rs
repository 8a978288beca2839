//! Stacks and components, in and out.

use lazarette_core::{
    component::{Component, ComponentKind},
    evidence::{Evidence, Fact},
    manifest::SavedComponent,
    stack::{ContainerSeen, ContainerState, Origin, Part, StackSeen, Uncovered},
    units::ByteCount,
};

use super::{ConvertError, Required as _, all, parse};
use crate::common::v1 as wire;

impl From<Component> for wire::Component {
    fn from(it: Component) -> Self {
        use wire::component::Kind;
        let kind = match it.kind {
            ComponentKind::Database { driver, container, version, notes } => {
                Kind::Database(wire::DatabaseComponent { driver, container, version, notes })
            }
            ComponentKind::Volume { volume, mounted_by } => {
                Kind::Volume(wire::VolumeComponent { volume, mounted_by })
            }
            ComponentKind::Bind { path, mounted_by } => {
                Kind::Bind(wire::BindComponent { path, mounted_by })
            }
            ComponentKind::Files { root, paths } => {
                Kind::Files(wire::FilesComponent { root, paths })
            }
            ComponentKind::Definition => Kind::Definition(wire::DefinitionComponent {}),
        };
        Self { name: it.name.to_string(), kind: Some(kind) }
    }
}

impl TryFrom<wire::Component> for Component {
    type Error = ConvertError;

    fn try_from(it: wire::Component) -> Result<Self, Self::Error> {
        use wire::component::Kind;
        let kind = match it.kind.required("kind")? {
            Kind::Database(database) => ComponentKind::Database {
                driver: database.driver,
                container: database.container,
                version: database.version,
                notes: database.notes,
            },
            Kind::Volume(volume) => {
                ComponentKind::Volume { volume: volume.volume, mounted_by: volume.mounted_by }
            }
            Kind::Bind(bind) => {
                ComponentKind::Bind { path: bind.path, mounted_by: bind.mounted_by }
            }
            Kind::Files(files) => ComponentKind::Files { root: files.root, paths: files.paths },
            Kind::Definition(_) => ComponentKind::Definition,
        };
        Ok(Self { name: parse("name", &it.name)?, kind })
    }
}

impl From<StackSeen> for wire::StackSeen {
    fn from(it: StackSeen) -> Self {
        use wire::stack_seen::Origin as WireOrigin;
        let origin = match it.origin {
            Origin::Compose { working_dir, config_files } => {
                WireOrigin::Compose(wire::ComposeOrigin { working_dir, config_files })
            }
            Origin::Container => WireOrigin::Container(wire::ContainerOrigin {}),
        };
        Self {
            name: it.name.to_string(),
            origin: Some(origin),
            containers: it.containers.into_iter().map(Into::into).collect(),
            components: it.components.into_iter().map(Into::into).collect(),
            uncovered: it.uncovered.into_iter().map(Into::into).collect(),
            refusals: it.refusals,
            warnings: it.warnings,
            labels: it.labels.into_iter().collect(),
        }
    }
}

impl TryFrom<wire::StackSeen> for StackSeen {
    type Error = ConvertError;

    fn try_from(it: wire::StackSeen) -> Result<Self, Self::Error> {
        use wire::stack_seen::Origin as WireOrigin;
        let origin = match it.origin.required("origin")? {
            WireOrigin::Compose(compose) => Origin::Compose {
                working_dir: compose.working_dir,
                config_files: compose.config_files,
            },
            WireOrigin::Container(_) => Origin::Container,
        };
        Ok(Self {
            name: parse("name", &it.name)?,
            origin,
            containers: all("containers", it.containers)?,
            components: all("components", it.components)?,
            uncovered: it.uncovered.into_iter().map(Into::into).collect(),
            refusals: it.refusals,
            warnings: it.warnings,
            labels: it.labels.into_iter().collect(),
        })
    }
}

impl From<ContainerSeen> for wire::ContainerSeen {
    fn from(it: ContainerSeen) -> Self {
        let state = match it.state {
            ContainerState::Running => wire::ContainerState::Running,
            ContainerState::Paused => wire::ContainerState::Paused,
            ContainerState::Restarting => wire::ContainerState::Restarting,
            ContainerState::Stopped => wire::ContainerState::Stopped,
        };
        let part = match it.part {
            Part::Database => wire::ContainerPart::Database,
            Part::Application => wire::ContainerPart::Application,
            Part::OneShot => wire::ContainerPart::OneShot,
        };
        Self {
            id: it.id,
            name: it.name,
            service: it.service,
            image: it.image,
            state: state.into(),
            needs: it.needs,
            part: part.into(),
            has_health_check: it.has_health_check,
            stop_timeout_seconds: it.stop_timeout_seconds,
        }
    }
}

impl TryFrom<wire::ContainerSeen> for ContainerSeen {
    type Error = ConvertError;

    fn try_from(it: wire::ContainerSeen) -> Result<Self, Self::Error> {
        let state = match it.state() {
            wire::ContainerState::Unspecified => {
                return Err(ConvertError::new("state", "is of no known kind"));
            }
            wire::ContainerState::Running => ContainerState::Running,
            wire::ContainerState::Paused => ContainerState::Paused,
            wire::ContainerState::Restarting => ContainerState::Restarting,
            wire::ContainerState::Stopped => ContainerState::Stopped,
        };
        let part = match it.part() {
            wire::ContainerPart::Unspecified => {
                return Err(ConvertError::new("part", "is of no known kind"));
            }
            wire::ContainerPart::Database => Part::Database,
            wire::ContainerPart::Application => Part::Application,
            wire::ContainerPart::OneShot => Part::OneShot,
        };
        Ok(Self {
            id: it.id,
            name: it.name,
            service: it.service,
            image: it.image,
            state,
            needs: it.needs,
            part,
            has_health_check: it.has_health_check,
            stop_timeout_seconds: it.stop_timeout_seconds,
        })
    }
}

impl From<Uncovered> for wire::Uncovered {
    fn from(it: Uncovered) -> Self {
        Self { what: it.what, why: it.why, size_bytes: it.size.map(|size| size.0) }
    }
}

impl From<wire::Uncovered> for Uncovered {
    fn from(it: wire::Uncovered) -> Self {
        Self { what: it.what, why: it.why, size: it.size_bytes.map(ByteCount) }
    }
}

impl From<SavedComponent> for wire::SavedComponent {
    fn from(it: SavedComponent) -> Self {
        Self {
            component: Some(it.component.into()),
            path: it.path,
            size_bytes: it.bytes.0,
            evidence: it.evidence.0.into_iter().map(|(about, fact)| (about, fact.into())).collect(),
        }
    }
}

impl TryFrom<wire::SavedComponent> for SavedComponent {
    type Error = ConvertError;

    fn try_from(it: wire::SavedComponent) -> Result<Self, Self::Error> {
        let component = it.component.required("component")?;
        let facts = it.evidence.into_iter().map(|(about, fact)| Ok((about, fact.try_into()?)));
        Ok(Self {
            component: component.try_into().map_err(|it: ConvertError| it.within("component"))?,
            path: it.path,
            bytes: ByteCount(it.size_bytes),
            evidence: Evidence(facts.collect::<Result<_, ConvertError>>()?),
        })
    }
}

impl From<Fact> for wire::Fact {
    fn from(it: Fact) -> Self {
        use wire::fact::Fact as Wire;
        let fact = match it {
            Fact::Text(text) => Wire::Text(text),
            Fact::Count(count) => Wire::Count(count),
            Fact::AtLeast(least) => Wire::AtLeast(least),
        };
        Self { fact: Some(fact) }
    }
}

impl TryFrom<wire::Fact> for Fact {
    type Error = ConvertError;

    fn try_from(it: wire::Fact) -> Result<Self, Self::Error> {
        use wire::fact::Fact as Wire;
        Ok(match it.fact.required("evidence")? {
            Wire::Text(text) => Self::Text(text),
            Wire::Count(count) => Self::Count(count),
            Wire::AtLeast(least) => Self::AtLeast(least),
        })
    }
}
