//! Docker errors: what the Engine did not do, and whether it can be reached at all.

use std::{fmt, path::PathBuf, time::Duration};

use lazarette_core::error::{Reason, ReasonedError};

/// A kind of thing that the Engine keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Noun {
    /// A container.
    Container,
    /// A volume.
    Volume,
    /// A network.
    Network,
    /// An image.
    Image,
    /// A command in a container.
    Exec,
    /// The Engine itself.
    Engine,
}

impl fmt::Display for Noun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Container => "container",
            Self::Volume => "volume",
            Self::Network => "network",
            Self::Image => "image",
            Self::Exec => "exec",
            Self::Engine => "engine",
        })
    }
}

/// What was asked of the Engine: verb, noun and name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Doing {
    verb: &'static str,
    /// The kind of thing.
    pub noun: Noun,
    /// Its name or id; empty for all of them.
    pub name: String,
}

impl Doing {
    pub(crate) fn new(verb: &'static str, noun: Noun, name: &str) -> Self {
        Self { verb, noun, name: plain(name, 200) }
    }
}

impl fmt::Display for Doing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.noun, self.name.as_str()) {
            (Noun::Engine, _) => write!(f, "{} docker", self.verb),
            (noun, "") => write!(f, "{} {noun}s", self.verb),
            (noun, name) => write!(f, "{} {noun} `{name}`", self.verb),
        }
    }
}

/// The Engine did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum DockerError {
    /// Nobody answers on its socket.
    #[error("docker is not reachable at {}", socket.display())]
    Unreachable {
        /// Where it was looked for.
        socket: PathBuf,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// It was reached, and did not answer in time.
    #[error("{doing}: docker did not answer within {} s", after.as_secs_f32())]
    Timeout {
        /// What was asked.
        doing: Doing,
        /// How long it had.
        after: Duration,
    },
    /// The thing is not there, or not any more.
    #[error("{doing}: there is no such {}", doing.noun)]
    Gone {
        /// What was asked.
        doing: Doing,
    },
    /// The Engine said no.
    #[error("{doing}: docker refused with {status}: {message}")]
    Refused {
        /// What was asked.
        doing: Doing,
        /// The HTTP status.
        status: u16,
        /// Its own words, printable.
        message: String,
    },
    /// The Engine's answer could not be read.
    #[error("{doing}: read docker's answer")]
    Answer {
        /// What was asked.
        doing: Doing,
        /// Why not.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A container did not become healthy in time.
    #[error("container `{container}` is not healthy: {why}")]
    Unhealthy {
        /// Its name.
        container: String,
        /// What it was doing last.
        why: String,
    },
}

impl DockerError {
    /// Whether the thing asked about does not exist.
    pub const fn is_gone(&self) -> bool {
        matches!(self, Self::Gone { .. })
    }

    /// Whether the Engine did not answer at all: nothing is known about what was asked.
    pub const fn is_unreachable(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Timeout { .. })
    }

    /// Whether the thing is in a state in which that cannot be done: not running, paused.
    pub const fn is_conflict(&self) -> bool {
        matches!(self, Self::Refused { status: 409, .. })
    }
}

impl ReasonedError for DockerError {
    fn reason(&self) -> Reason {
        match self {
            Self::Gone { doing } if doing.noun == Noun::Container => Reason::ContainerGone,
            Self::Unhealthy { .. } => Reason::Unhealthy,
            Self::Unreachable { .. }
            | Self::Timeout { .. }
            | Self::Gone { .. }
            | Self::Refused { .. }
            | Self::Answer { .. } => Reason::DockerUnavailable,
        }
    }
}

/// At most `limit` characters of what others wrote, with everything a terminal could obey escaped.
pub(crate) fn plain(text: &str, limit: usize) -> String {
    text.trim().chars().take(limit).flat_map(escaped).collect()
}

/// Line breaks, quotes and everything printable stay; control characters become visible.
pub(crate) fn escaped(c: char) -> impl Iterator<Item = char> {
    let stays = matches!(c, '\n' | '"' | '\'' | '\\');
    let kept = stays.then_some(c).into_iter();
    let shown = (!stays).then(|| c.escape_debug()).into_iter().flatten();
    kept.chain(shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_name_the_thing_and_escape_what_others_wrote() {
        let doing = Doing::new("stop", Noun::Container, "a\u{1b}[2Jb");
        let error = DockerError::Gone { doing };
        assert_eq!(error.to_string(), "stop container `a\\u{1b}[2Jb`: there is no such container");
        assert_eq!(error.reason(), Reason::ContainerGone);
    }

    #[test]
    fn a_socket_without_an_engine_is_named() {
        let error = DockerError::Unreachable {
            socket: "/run/docker.sock".into(),
            source: Box::new(std::io::Error::from(std::io::ErrorKind::NotFound)),
        };
        assert_eq!(error.to_string(), "docker is not reachable at /run/docker.sock");
    }
}
