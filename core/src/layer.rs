//! Layers: in which order the containers of a stack stop and start.

use std::collections::BTreeSet;

use crate::stack::ContainerSeen;

/// Container names in layers: a container needs only containers of later layers.
///
/// Stopped in this order, started in the reverse one; containers of one layer together (H15).
/// Needs that go round in a circle are broken: what is left makes the last layer.
pub fn layers(containers: &[&ContainerSeen]) -> Vec<Vec<String>> {
    let mut left: BTreeSet<&str> = containers.iter().map(|it| it.name.as_str()).collect();
    let mut layers = Vec::new();
    while !left.is_empty() {
        let needed: BTreeSet<&str> = containers
            .iter()
            .filter(|it| left.contains(it.name.as_str()))
            .flat_map(|it| it.needs.iter().map(String::as_str).filter(|need| *need != it.name))
            .collect();
        let free: BTreeSet<&str> = left.difference(&needed).copied().collect();
        let layer = if free.is_empty() { left.clone() } else { free };
        left = left.difference(&layer).copied().collect();
        layers.push(layer.into_iter().map(str::to_owned).collect());
    }
    layers
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stack::{ContainerState, Part};

    fn container(name: &str, needs: &[&str]) -> ContainerSeen {
        ContainerSeen {
            id: name.to_owned(),
            name: name.to_owned(),
            service: name.to_owned(),
            image: String::new(),
            state: ContainerState::Running,
            needs: needs.iter().map(|need| (*need).to_owned()).collect(),
            part: Part::Application,
            has_health_check: false,
            stop_timeout_seconds: 10,
        }
    }

    #[test]
    fn who_needs_others_stops_before_them() {
        let all = [container("db", &[]), container("web", &["api"]), container("api", &["db"])];

        let order = layers(&all.iter().collect::<Vec<_>>());

        assert_eq!(order, [["web"], ["api"], ["db"]]);
    }

    #[test]
    fn a_circle_ends_in_one_layer_and_strangers_are_ignored() {
        let all = [container("a", &["b", "x"]), container("b", &["a"]), container("c", &["a"])];

        let order = layers(&all.iter().collect::<Vec<_>>());

        assert_eq!(order, [vec!["c"], vec!["a", "b"]]);
    }
}
