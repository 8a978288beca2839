//! Places: a plan comes from the controller, and may only name what this host itself has found.
//!
//! Whoever has taken over a controller could else have root read or write any path (T2, H12).

use std::path::{Component as PathComponent, Path};

use lazarette_core::{
    component::{Component, ComponentKind},
    error::{Reason, ReasonedError},
    name::ComponentName,
    stack::StackSeen,
};

/// A plan's component is not where this host has it.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "component `{component}` of the plan is at {planned}, and {found} on this host: plan again"
)]
pub struct ElsewhereError {
    component: ComponentName,
    planned: String,
    found: String,
}

impl ReasonedError for ElsewhereError {
    fn reason(&self) -> Reason {
        Reason::PolicyDenied
    }
}

/// Whether each of `planned` is a component that `seen` has, at the same place.
///
/// # Errors
///
/// [`ElsewhereError`] about the first that is not.
pub fn check<'a>(
    planned: impl IntoIterator<Item = &'a Component>,
    seen: &StackSeen,
) -> Result<(), ElsewhereError> {
    for component in planned {
        let found = seen.component(&component.name);
        let same = found.is_some_and(|found| is_same_place(&component.kind, &found.kind));
        if !same {
            let found = found.map(|it| format!("at {}", place(&it.kind)));
            return Err(ElsewhereError {
                component: component.name.clone(),
                planned: place(&component.kind),
                found: found.unwrap_or_else(|| "is no part of the stack".to_owned()),
            });
        }
    }
    Ok(())
}

fn is_same_place(planned: &ComponentKind, found: &ComponentKind) -> bool {
    use ComponentKind::{Bind, Database, Definition, Files, Volume};
    match (planned, found) {
        (
            Database { driver, container, .. },
            Database { driver: found_driver, container: found, .. },
        ) => driver == found_driver && container == found,
        (Volume { volume, .. }, Volume { volume: found, .. }) => volume == found,
        (Bind { path, .. }, Bind { path: found, .. }) => path == found,
        // A snapshot may have files that are gone by now: they stay below the same root.
        (Files { root, paths }, Files { root: found, .. }) => {
            root == found && paths.iter().all(|path| is_below(path))
        }
        (Definition, Definition) => true,
        (Database { .. } | Volume { .. } | Bind { .. } | Files { .. } | Definition, _) => false,
    }
}

/// Whether a path that is relative to a root stays below it.
fn is_below(path: &str) -> bool {
    let down = |part| matches!(part, PathComponent::Normal(_));
    !path.is_empty() && !path.contains('\0') && Path::new(path).components().all(down)
}

fn place(kind: &ComponentKind) -> String {
    match kind {
        ComponentKind::Database { container, .. } => {
            format!("container `{}`", container.escape_debug())
        }
        ComponentKind::Volume { volume, .. } => format!("volume `{}`", volume.escape_debug()),
        ComponentKind::Bind { path, .. } => format!("`{}`", path.escape_debug()),
        ComponentKind::Files { root, paths } => {
            let odd = paths.iter().find(|path| !is_below(path));
            let odd = odd.map(|it| format!(" with `{}`", it.escape_debug())).unwrap_or_default();
            format!("`{}`{odd}", root.escape_debug())
        }
        ComponentKind::Definition => "the Engine".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use lazarette_core::stack::Origin;

    use super::*;

    fn component(name: &str, kind: ComponentKind) -> Component {
        Component { name: name.parse().unwrap(), kind }
    }

    fn bind(path: &str) -> ComponentKind {
        ComponentKind::Bind { path: path.to_owned(), mounted_by: vec![] }
    }

    fn files(root: &str, paths: &[&str]) -> ComponentKind {
        let paths = paths.iter().map(|it| (*it).to_owned()).collect();
        ComponentKind::Files { root: root.to_owned(), paths }
    }

    fn volume(volume: &str) -> ComponentKind {
        ComponentKind::Volume { volume: volume.to_owned(), mounted_by: vec![] }
    }

    fn seen() -> StackSeen {
        StackSeen {
            name: "shop".parse().unwrap(),
            origin: Origin::Container,
            containers: vec![],
            components: vec![
                component("bind/media", bind("/srv/shop/media")),
                component("files", files("/srv/shop", &[".env"])),
                component("volume/data", volume("shop_data")),
                component("definition", ComponentKind::Definition),
            ],
            uncovered: vec![],
            refusals: vec![],
            warnings: vec![],
            labels: [].into(),
        }
    }

    fn refusal(name: &str, kind: ComponentKind) -> String {
        check([&component(name, kind)], &seen()).unwrap_err().to_string()
    }

    #[test]
    fn what_this_host_found_may_be_planned_and_deleted_files_be_restored() {
        let seen = seen();
        check(&seen.components, &seen).unwrap();
        check([&component("files", files("/srv/shop", &[".env", "conf/old"]))], &seen).unwrap();
    }

    #[test]
    fn t2_a_plan_cannot_lead_to_any_other_path_volume_or_container() {
        assert!(refusal("bind/media", bind("/etc")).contains("`/etc`"));
        assert!(refusal("bind/other", bind("/srv/shop/media")).contains("no part of the stack"));
        assert!(refusal("volume/data", volume("wiki_data")).contains("wiki_data"));
        assert!(refusal("volume/data", bind("/srv/shop/media")).contains("shop_data"));
        assert!(refusal("files", files("/", &[".env"])).contains("`/`"));
        for path in ["../../etc/shadow", "/etc/shadow", "a/../b", "", "a\0b"] {
            assert!(refusal("files", files("/srv/shop", &[path])).contains("with `"), "{path}");
        }
    }
}
