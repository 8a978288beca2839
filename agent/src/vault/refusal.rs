//! Refusals: what the controller did not do for a run, kept for the run's last words.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use lazarette_core::error::{Failure, Reason, ReasonedError, chain};
use lazarette_node::status;
use tonic::Status;

/// The controller did not do what a run needs.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// It said no; asking again is of no use.
    #[error("{doing}")]
    Refused {
        /// What it was asked.
        doing: &'static str,
        /// Its own words.
        #[source]
        failure: Failure,
    },
    /// It did not answer for too long.
    #[error("{doing}: the controller did not answer for {} s", after.as_secs())]
    Away {
        /// What it was asked.
        doing: &'static str,
        /// How long it was waited for.
        after: Duration,
        /// What the last try ended with.
        #[source]
        failure: Failure,
    },
    /// Its answer makes no sense.
    #[error("{doing}: read the controller's answer: {why}")]
    Nonsense {
        /// What it was asked.
        doing: &'static str,
        /// What is wrong with the answer.
        why: String,
    },
    /// The run was cancelled.
    #[error("{doing}: cancelled")]
    Cancelled {
        /// What it was asked.
        doing: &'static str,
    },
}

impl VaultError {
    pub(super) fn refused(doing: &'static str, refused: &Status) -> Self {
        Self::Refused { doing, failure: status::to_failure(refused, Reason::StorageUnavailable) }
    }

    pub(super) fn away(doing: &'static str, last: &Status, after: Duration) -> Self {
        let failure = status::to_failure(last, Reason::StorageUnavailable);
        Self::Away { doing, after, failure }
    }
}

impl ReasonedError for VaultError {
    fn reason(&self) -> Reason {
        match self {
            Self::Refused { failure, .. } | Self::Away { failure, .. } => failure.reason,
            Self::Nonsense { .. } => Reason::Internal,
            Self::Cancelled { .. } => Reason::Cancelled,
        }
    }
}

/// The first refusal of a run. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct FirstRefusal(Arc<OnceLock<Failure>>);

impl FirstRefusal {
    /// What it was, when there was one.
    pub fn failure(&self) -> Option<&Failure> {
        self.0.get()
    }

    pub(super) fn first(&self, error: VaultError) -> VaultError {
        self.0.get_or_init(|| Failure::new(error.reason(), chain(&error)));
        error
    }
}
