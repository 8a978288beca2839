//! Evidence: what an engine or a file tree itself counted at the cut, to be compared after a restore.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

/// One thing that was counted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fact {
    /// Must be the same after a restore: a hash, an owner, a version.
    Text(String),
    /// Must be the same after a restore: rows, files, bytes.
    Count(u64),
    /// Must not be less after a restore: a sequence, which runs on beside transactions (H7).
    AtLeast(i64),
}

impl fmt::Display for Fact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => write!(f, "{}", text.escape_debug()),
            Self::Count(count) => write!(f, "{count}"),
            Self::AtLeast(least) => write!(f, "at least {least}"),
        }
    }
}

/// Facts about one component by what they are about: `database shop/table public.orders/rows`.
///
/// The keys are the driver's; nobody else reads meaning into them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Evidence(pub BTreeMap<String, Fact>);

/// One fact that is not what it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// What the fact is about.
    pub about: String,
    /// At the cut; none when it is new.
    pub saved: Option<Fact>,
    /// Now; none when it is missing.
    pub found: Option<Fact>,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let about = self.about.escape_debug();
        match (&self.saved, &self.found) {
            (Some(saved), Some(found)) => write!(f, "{about}: saved {saved}, found {found}"),
            (Some(saved), None) => write!(f, "{about}: saved {saved}, now missing"),
            (None, Some(found)) => write!(f, "{about}: was not saved, found {found}"),
            (None, None) => write!(f, "{about}: unknown"),
        }
    }
}

impl Evidence {
    /// Adds a fact; a second one about the same thing replaces the first.
    pub fn insert(&mut self, about: impl Into<String>, fact: Fact) {
        self.0.insert(about.into(), fact);
    }

    /// What in `found` is not as in this evidence, in the order of the keys. Empty means equal.
    pub fn differences(&self, found: &Self) -> Vec<Difference> {
        let lost_or_changed = self.0.iter().filter_map(|(about, saved)| {
            let now = found.0.get(about);
            let holds = now.is_some_and(|now| saved.holds_in(now));
            (!holds).then(|| Difference {
                about: about.clone(),
                saved: Some(saved.clone()),
                found: now.cloned(),
            })
        });
        let new = found.0.iter().filter(|(about, _)| !self.0.contains_key(*about));
        let new = new.map(|(about, found)| Difference {
            about: about.clone(),
            saved: None,
            found: Some(found.clone()),
        });
        lost_or_changed.chain(new).collect()
    }
}

impl Fact {
    /// Whether what was saved still holds in what was found.
    fn holds_in(&self, found: &Self) -> bool {
        match (self, found) {
            (Self::AtLeast(saved), Self::AtLeast(found)) => found >= saved,
            (saved, found) => saved == found,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn evidence(facts: &[(&str, Fact)]) -> Evidence {
        Evidence(facts.iter().map(|(about, fact)| ((*about).to_owned(), fact.clone())).collect())
    }

    #[test]
    fn what_is_equal_has_no_differences_and_sequences_may_run_on() {
        let saved = evidence(&[("rows", Fact::Count(3)), ("sequence", Fact::AtLeast(7))]);
        let found = evidence(&[("rows", Fact::Count(3)), ("sequence", Fact::AtLeast(9))]);

        assert_eq!(saved.differences(&found), []);
        assert_eq!(found.differences(&saved).len(), 1);
    }

    #[test]
    fn missing_changed_and_new_facts_are_all_named() {
        let saved = evidence(&[("a", Fact::Count(1)), ("b", Fact::Text("x".into()))]);
        let found = evidence(&[("b", Fact::Text("y".into())), ("c", Fact::Count(0))]);

        let told: Vec<_> = saved.differences(&found).iter().map(ToString::to_string).collect();

        assert_eq!(
            told,
            ["a: saved 1, now missing", "b: saved x, found y", "c: was not saved, found 0"]
        );
    }
}
