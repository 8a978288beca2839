//! Protocol: what is spoken on a connection, settled by ALPN before anything else.

use std::fmt;

/// What is spoken on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// The agent serves, the controller calls: commands.
    Reverse,
    /// The controller serves: what agents and operators ask.
    Calls,
    /// The controller serves, to somebody without a certificate: enrolment.
    Enroll,
}

impl Protocol {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Reverse, Self::Calls, Self::Enroll];

    /// The name in the handshake.
    pub const fn alpn(self) -> &'static str {
        match self {
            Self::Reverse => "lazarette-reverse",
            Self::Calls => "h2",
            Self::Enroll => "lazarette-enroll",
        }
    }

    /// The protocol with this name.
    pub fn from_alpn(name: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|protocol| protocol.alpn().as_bytes() == name)
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.alpn())
    }
}
