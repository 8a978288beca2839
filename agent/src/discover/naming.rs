//! Naming: names of stacks and components made from whatever Docker allows.

use std::collections::BTreeSet;

use lazarette_core::name::{ComponentName, MAX_LEN, StackName};
use sha2::{Digest as _, Sha256};

/// Names that are given already.
#[derive(Debug, Default)]
pub(super) struct Names {
    taken: BTreeSet<String>,
}

impl Names {
    /// A name for a stack, as like `text` as it can be.
    pub(super) fn stack(&mut self, text: &str) -> Option<StackName> {
        self.free(text, |it| it.parse().ok())
    }

    /// A name `kind/text`, as like `text` as it can be.
    pub(super) fn component(&mut self, kind: &str, text: &str) -> Option<ComponentName> {
        self.free(text, |it| format!("{kind}/{it}").parse().ok())
    }

    fn free<T: ToString>(&mut self, text: &str, parse: impl Fn(&str) -> Option<T>) -> Option<T> {
        let plain = plain(text);
        let numbered = (2..1000).map(|number| short(&format!("{plain}-{number}")));
        let candidates = std::iter::once(plain.clone()).chain(numbered);
        let name = candidates
            .filter_map(|it| parse(&it))
            .find(|it| !self.taken.contains(&it.to_string()))?;
        self.taken.insert(name.to_string());
        Some(name)
    }
}

/// Only what a name may have; a long one ends in a hash of all of it.
fn plain(text: &str) -> String {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let plain: String = text.chars().map(|c| if fits(c) { c } else { '-' }).collect();
    let mut plain = plain.trim_start_matches(|c: char| !c.is_ascii_alphanumeric()).to_owned();
    while plain.contains("..") {
        plain = plain.replace("..", ".");
    }
    short(if plain.is_empty() { "unnamed" } else { &plain })
}

fn short(text: &str) -> String {
    if text.len() <= MAX_LEN {
        return text.to_owned();
    }
    let hash = hex::encode(Sha256::digest(text.as_bytes()));
    let begin: String = text.chars().take(MAX_LEN - 9).collect();
    format!("{begin}-{}", hash.get(..8).unwrap_or_default())
}

/// Whether `path` is absolute and goes nowhere but down.
pub(super) fn is_plain_path(path: &str) -> bool {
    let plain_part = |part: &str| !matches!(part, "." | "..") && !part.contains('\0');
    path.starts_with('/') && path.split('/').all(plain_part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_docker_allows_becomes_a_name_and_none_is_given_twice() {
        let mut names = Names::default();
        let mut name = |text: &str| names.component("bind", text).unwrap().to_string();

        assert_eq!(name("data/uploads"), "bind/data-uploads");
        assert_eq!(name("data-uploads"), "bind/data-uploads-2");
        assert_eq!(name("../../etc"), "bind/etc");
        assert_eq!(name(""), "bind/unnamed");
        assert_eq!(name(&"x".repeat(300)).len(), "bind/".len() + MAX_LEN);
        assert_ne!(name(&"x".repeat(301)), name(&"x".repeat(302)));
    }

    #[test]
    fn only_absolute_paths_that_go_down_are_plain() {
        assert!(is_plain_path("/srv/shop") && is_plain_path("/"));
        assert!(!is_plain_path("srv") && !is_plain_path("/srv/../etc") && !is_plain_path(""));
    }
}
