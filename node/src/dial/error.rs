//! Dial error: what is wrong on the way to a controller, and what to do about it.

use std::{error::Error as _, io, time::Duration};

use jiff::Timestamp;
use rustls::{AlertDescription, CertificateError as TlsCertificateError, Error as RustlsError};

use crate::{address::Address, identity::Identity, tls::TlsError};

/// What is wrong on the way to a controller.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// No connection at all: a wrong name or port, a firewall, a controller that is down.
    #[error("connect to the controller at {address}")]
    Unreachable {
        /// Whom we dialled.
        address: Address,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It took too long.
    #[error("connect to the controller at {address}: could not {doing} within {limit:?}")]
    Slow {
        /// Whom we dialled.
        address: Address,
        /// How far we got.
        doing: &'static str,
        /// How long we waited.
        limit: Duration,
    },
    /// Something listens there that is no controller of Lazarette.
    #[error("connect to {address}: what listens there is not a controller of Lazarette")]
    NotAController {
        /// Whom we dialled.
        address: Address,
    },
    /// It proves to be somebody else than our controller.
    #[error("believe that {address} is our controller: {hint}")]
    Untrusted {
        /// Whom we dialled.
        address: Address,
        /// What to do.
        hint: String,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// It does not want us.
    #[error("be let in by the controller at {address}: {hint}")]
    Refused {
        /// Whom we dialled.
        address: Address,
        /// What to do.
        hint: &'static str,
        /// What it said.
        #[source]
        source: io::Error,
    },
    /// It closed the connection without a word.
    #[error(
        "be let in by the controller at {address}: it closed the connection; was this host or credential removed?"
    )]
    Closed {
        /// Whom we dialled.
        address: Address,
    },
    /// Our own certificate is too old to try.
    #[error("use the certificate of `{identity}`: it ended on {since}; ask for a new one")]
    Expired {
        /// Whose.
        identity: Identity,
        /// Since when.
        since: Timestamp,
    },
    /// TLS could not be set up.
    #[error("prepare to connect to {address}")]
    Setup {
        /// Whom we wanted to dial.
        address: Address,
        /// Why.
        #[source]
        source: TlsError,
    },
}

impl DialError {
    /// Whether it may go away by itself.
    pub const fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Slow { .. } | Self::Closed { .. } => true,
            Self::NotAController { .. }
            | Self::Untrusted { .. }
            | Self::Refused { .. }
            | Self::Expired { .. }
            | Self::Setup { .. } => false,
        }
    }

    /// The one inside the status of a call whose channel could not connect.
    pub fn of(status: &tonic::Status) -> Option<&Self> {
        let mut causes = std::iter::successors(status.source(), |&error| error.source());
        causes.find_map(|error| error.downcast_ref())
    }
}

/// Makes sense of what went wrong in TLS.
pub(super) fn explain(error: io::Error, address: &Address, now: Timestamp) -> DialError {
    let address = address.clone();
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<RustlsError>());
    match tls {
        Some(RustlsError::InvalidCertificate(why)) => {
            let hint = untrusted_hint(why, now);
            DialError::Untrusted { address, hint, source: error }
        }
        Some(RustlsError::AlertReceived(alert)) => match refused_hint(*alert) {
            Some(hint) => DialError::Refused { address, hint, source: error },
            None => DialError::NotAController { address },
        },
        Some(_) => DialError::NotAController { address },
        None if error.kind() == io::ErrorKind::UnexpectedEof => DialError::Closed { address },
        None => DialError::Unreachable { address, source: error },
    }
}

fn untrusted_hint(why: &TlsCertificateError, now: Timestamp) -> String {
    let dated = matches!(
        why,
        TlsCertificateError::Expired
            | TlsCertificateError::ExpiredContext { .. }
            | TlsCertificateError::NotValidYet
            | TlsCertificateError::NotValidYetContext { .. }
    );
    if dated {
        format!("its certificate is not of this time; the clock of this machine says {now}")
    } else {
        "is that the controller of another fleet, or was it made anew?".to_owned()
    }
}

/// What a refusal in the handshake means; nothing when no controller of ours would say so.
#[expect(clippy::wildcard_enum_match_arm, reason = "other alerts have nothing to do with us")]
const fn refused_hint(alert: AlertDescription) -> Option<&'static str> {
    match alert {
        AlertDescription::CertificateExpired => {
            Some("it says that our certificate has expired; compare the clocks")
        }
        AlertDescription::UnknownCA
        | AlertDescription::DecryptError
        | AlertDescription::BadCertificate
        | AlertDescription::CertificateUnknown
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::CertificateRequired
        | AlertDescription::AccessDenied => {
            Some("it does not accept our certificate; is it of another fleet?")
        }
        AlertDescription::InternalError => Some("it has a problem of its own; see its log"),
        _ => None,
    }
}
