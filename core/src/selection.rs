//! Selection: which stacks of a fleet are wished, by name, pattern, host and label.

use std::{collections::BTreeMap, fmt, str::FromStr};

use wildmatch::WildMatch;

use crate::{
    error::{Reason, ReasonedError},
    name::{HostName, MAX_LEN, ParseNameError, StackAddress, StackName},
};

/// Stacks by `HOST/STACK` or `STACK`, in which `*` stands for any characters and `?` for one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StackPattern {
    host: Option<String>,
    stack: String,
}

/// The text can match no stack.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParsePatternError {
    /// It is a plain name, and cannot be one.
    #[error(transparent)]
    Name(#[from] ParseNameError),
    /// Whatever `*` and `?` stand for, nothing is called so.
    #[error("`{text}` is not a pattern for stacks: {why}")]
    Pattern {
        /// What was given, escaped.
        text: String,
        /// What is wrong with it.
        why: &'static str,
    },
}

/// A label that a stack must have: `KEY=VALUE`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LabelWish {
    key: String,
    value: String,
}

/// The text is no label.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is KEY=VALUE, as in the label `lazarette.label.KEY=VALUE` of a container")]
pub struct ParseLabelError;

/// A stack that may be chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Where it is.
    pub host: HostName,
    /// What it is called.
    pub stack: StackName,
    /// Its labels; none when its host could not be asked.
    pub labels: BTreeMap<String, String>,
}

/// What is wished; a stack must fit each of the three. An empty list asks for nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// One of these.
    pub patterns: Vec<StackPattern>,
    /// On one of these hosts.
    pub hosts: Vec<HostName>,
    /// With all of these labels.
    pub labels: Vec<LabelWish>,
}

/// A wish that cannot be meant so.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SelectionError {
    /// No stack has such a name.
    #[error("no stack fits `{pattern}`{}", known(.candidates))]
    NoStack {
        /// The wish.
        pattern: StackPattern,
        /// Those that there are, within hosts and labels.
        candidates: Vec<String>,
    },
    /// A plain name that stacks of several hosts have (H27).
    #[error("`{pattern}` is more than one stack: {}; name one, or write `*/{pattern}` for all", .candidates.join(", "))]
    Ambiguous {
        /// The wish.
        pattern: StackPattern,
        /// Those that fit.
        candidates: Vec<String>,
    },
    /// Nothing is left.
    #[error("no stack fits; `ctl stack list` shows them")]
    Nothing,
}

impl ReasonedError for SelectionError {
    fn reason(&self) -> Reason {
        match self {
            Self::NoStack { .. } | Self::Nothing => Reason::StackUnknown,
            Self::Ambiguous { .. } => Reason::StackAmbiguous,
        }
    }
}

fn known(candidates: &[String]) -> String {
    if candidates.is_empty() {
        return "; `ctl stack list` shows those that there are".to_owned();
    }
    format!("; there are: {}", candidates.join(", "))
}

impl StackPattern {
    /// The address, when it has no `*` and no `?`.
    pub fn address(&self) -> Option<StackAddress> {
        self.to_string().parse().ok()
    }

    fn fits(&self, candidate: &Candidate) -> bool {
        self.fits_host(&candidate.host)
            && WildMatch::new(&self.stack).matches(candidate.stack.as_str())
    }

    fn fits_host(&self, host: &HostName) -> bool {
        self.host.as_ref().is_none_or(|it| WildMatch::new(it).matches(host.as_str()))
    }
}

impl fmt::Display for StackPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Some(host) => write!(f, "{host}/{}", self.stack),
            None => f.pad(&self.stack),
        }
    }
}

impl FromStr for StackPattern {
    type Err = ParsePatternError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if !text.contains(['*', '?']) {
            text.parse::<StackAddress>()?;
        }
        let (host, stack) = match text.split_once('/') {
            Some((host, stack)) => (Some(host), stack),
            None => (None, text),
        };
        let parts = host.into_iter().chain([stack]);
        if let Some(why) = parts.into_iter().find_map(objection) {
            let text = text.chars().take(80).flat_map(char::escape_debug).collect();
            return Err(ParsePatternError::Pattern { text, why });
        }
        Ok(Self { host: host.map(str::to_owned), stack: stack.to_owned() })
    }
}

/// Why nothing can be called so, whatever `*` and `?` stand for.
fn objection(part: &str) -> Option<&'static str> {
    let allowed =
        |it: char| it.is_ascii_alphanumeric() || matches!(it, '.' | '_' | '-' | '*' | '?');
    match part.chars().next() {
        None => Some("it is empty"),
        Some(_) if part.len() > MAX_LEN => Some("it is longer than 63 characters"),
        Some('.' | '_' | '-') => Some("a name begins with a letter or a digit"),
        Some(_) if part.contains("..") => Some("it contains `..`"),
        Some(_) if !part.chars().all(allowed) => {
            Some("only letters, digits, `.`, `_`, `-`, `*` and `?` are allowed")
        }
        Some(_) => None,
    }
}

impl FromStr for LabelWish {
    type Err = ParseLabelError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (key, value) = text.split_once('=').ok_or(ParseLabelError)?;
        let plain = |it: &str| !it.is_empty() && !it.chars().any(char::is_control);
        if !plain(key) || !plain(value) {
            return Err(ParseLabelError);
        }
        Ok(Self { key: key.to_owned(), value: value.to_owned() })
    }
}

impl Selection {
    /// Which of `candidates` are wished, by their place there, each once, in their order.
    ///
    /// # Errors
    ///
    /// A pattern that nothing fits, a plain name that several hosts have, or nothing at all: a wish
    /// that is done in part without anybody noticing would be a backup that lies.
    pub fn choose(&self, candidates: &[Candidate]) -> Result<Vec<usize>, SelectionError> {
        let within: Vec<(usize, &Candidate)> =
            candidates.iter().enumerate().filter(|(_, it)| self.is_within(it)).collect();
        let mut chosen: Vec<usize> = Vec::new();
        if self.patterns.is_empty() {
            chosen.extend(within.iter().map(|(place, _)| *place));
        }
        for pattern in &self.patterns {
            let fitting: Vec<_> = within.iter().filter(|(_, it)| pattern.fits(it)).collect();
            let is_plain = pattern.address().is_some();
            match fitting.len() {
                0 => {
                    let candidates = addresses(within.iter().map(|(_, it)| *it));
                    return Err(SelectionError::NoStack { pattern: pattern.clone(), candidates });
                }
                2.. if is_plain => {
                    let candidates = addresses(fitting.iter().map(|(_, it)| *it));
                    return Err(SelectionError::Ambiguous { pattern: pattern.clone(), candidates });
                }
                _ => chosen.extend(fitting.iter().map(|(place, _)| *place)),
            }
        }
        chosen.sort_unstable();
        chosen.dedup();
        if chosen.is_empty() { Err(SelectionError::Nothing) } else { Ok(chosen) }
    }

    /// Whether stacks of `host` may be meant that nobody has named: if it cannot be asked, what was
    /// wished is not all done.
    pub fn reaches(&self, host: &HostName) -> bool {
        let is_named = self.hosts.is_empty() || self.hosts.contains(host);
        let is_open = |it: &StackPattern| it.address().is_none() && it.fits_host(host);
        is_named && (self.patterns.is_empty() || self.patterns.iter().any(is_open))
    }

    fn is_within(&self, candidate: &Candidate) -> bool {
        let has = |it: &LabelWish| candidate.labels.get(&it.key) == Some(&it.value);
        (self.hosts.is_empty() || self.hosts.contains(&candidate.host))
            && self.labels.iter().all(has)
    }
}

/// At most twenty of them, as people write them.
fn addresses<'a>(candidates: impl Iterator<Item = &'a Candidate>) -> Vec<String> {
    candidates.take(20).map(|it| format!("{}/{}", it.host, it.stack)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fleet() -> Vec<Candidate> {
        let one = |host: &str, stack: &str, tier: &str| Candidate {
            host: host.parse().unwrap(),
            stack: stack.parse().unwrap(),
            labels: [("tier".to_owned(), tier.to_owned())].into(),
        };
        vec![
            one("web1", "blog", "silver"),
            one("web1", "shop", "gold"),
            one("web2", "shop", "silver"),
            one("web2", "shop-test", "bronze"),
        ]
    }

    fn choose(patterns: &[&str], hosts: &[&str], labels: &[&str]) -> Result<Vec<usize>, String> {
        let selection = Selection {
            patterns: patterns.iter().map(|it| it.parse().unwrap()).collect(),
            hosts: hosts.iter().map(|it| it.parse().unwrap()).collect(),
            labels: labels.iter().map(|it| it.parse().unwrap()).collect(),
        };
        selection.choose(&fleet()).map_err(|error| error.to_string())
    }

    #[test]
    fn stacks_are_chosen_by_name_pattern_host_and_label_each_once() {
        assert_eq!(choose(&[], &[], &[]), Ok(vec![0, 1, 2, 3]));
        assert_eq!(choose(&["blog"], &[], &[]), Ok(vec![0]));
        assert_eq!(choose(&["web2/shop", "blog", "b*"], &[], &[]), Ok(vec![0, 2]));
        assert_eq!(choose(&["shop*"], &[], &[]), Ok(vec![1, 2, 3]));
        assert_eq!(choose(&["*/shop"], &[], &[]), Ok(vec![1, 2]));
        assert_eq!(choose(&["web?/sho?"], &["web2"], &[]), Ok(vec![2]));
        assert_eq!(choose(&[], &["web1"], &["tier=gold"]), Ok(vec![1]));
    }

    #[test]
    fn what_cannot_be_meant_is_refused_with_what_there_is() {
        let refused = choose(&["shop"], &[], &[]).unwrap_err();
        assert!(refused.contains("web1/shop, web2/shop"), "{refused}");
        let refused = choose(&["blog", "nosuch"], &[], &[]).unwrap_err();
        assert!(refused.contains("nosuch") && refused.contains("web1/blog"), "{refused}");
        assert!(choose(&[], &[], &["tier=none"]).unwrap_err().contains("ctl stack list"));
        assert!(choose(&[], &["web9"], &[]).is_err());
    }

    #[test]
    fn a_host_is_reached_by_what_may_mean_stacks_that_nobody_named() {
        let reaches = |patterns: &[&str], hosts: &[&str]| {
            let selection = Selection {
                patterns: patterns.iter().map(|it| it.parse().unwrap()).collect(),
                hosts: hosts.iter().map(|it| it.parse().unwrap()).collect(),
                labels: vec!["tier=gold".parse().unwrap()],
            };
            selection.reaches(&"web3".parse().unwrap())
        };
        assert!(reaches(&[], &[]) && reaches(&[], &["web3"]) && !reaches(&[], &["web1"]));
        assert!(reaches(&["sho*"], &[]) && reaches(&["web?/shop"], &[]));
        assert!(!reaches(&["shop"], &[]) && !reaches(&["db*/shop"], &[]));
    }

    #[test]
    fn a_pattern_is_no_path_option_or_command() {
        let long = "*".repeat(64);
        for text in ["", "/", "a/", "/a", "../x", "a;b", "$(id)", "a b", "-rf", "a/b/c", &long] {
            assert!(text.parse::<StackPattern>().is_err(), "{text:?}");
        }
        assert!("shop".parse::<StackPattern>().unwrap().address().is_some());
        assert!("sho*".parse::<StackPattern>().unwrap().address().is_none());
        for text in ["", "a", "=b", "a=", "a=\n"] {
            assert!(text.parse::<LabelWish>().is_err(), "{text:?}");
        }
    }
}
