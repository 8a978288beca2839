//! Status: failures on their way over the wire, and back. The only place that makes a [`Status`].

use lazarette_core::error::{Failure, Kind, Reason, ReasonedError};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use crate::authz::ERROR_DOMAIN;

/// An error, for the wire.
pub fn of<E: ReasonedError + 'static>(error: &E) -> Status {
    of_failure(&Failure::of(error))
}

/// A failure, for the wire: its reason in an `ErrorInfo`, its kind as the code.
pub fn of_failure(failure: &Failure) -> Status {
    let code = match failure.reason.kind() {
        Kind::NotFound => Code::NotFound,
        Kind::Conflict => Code::FailedPrecondition,
        Kind::NotReady => Code::Unavailable,
        Kind::Invalid => Code::InvalidArgument,
        Kind::Denied => Code::PermissionDenied,
        Kind::Cancelled => Code::Cancelled,
        Kind::Exhausted => Code::ResourceExhausted,
        Kind::Damaged => Code::DataLoss,
        Kind::Internal => Code::Internal,
    };
    let details = ErrorDetails::with_error_info(failure.reason.as_str(), ERROR_DOMAIN, []);
    Status::with_error_details(code, failure.message.clone(), details)
}

/// The reason in a status that one of us made; nothing for those that the transport made.
pub fn reason(status: &Status) -> Option<Reason> {
    let info = status.get_details_error_info()?;
    (info.domain == ERROR_DOMAIN).then(|| info.reason.parse().ok()).flatten()
}

/// A status, as a failure: with its own reason, or with `otherwise` when it has none.
pub fn to_failure(status: &Status, otherwise: Reason) -> Failure {
    let reason = reason(status).unwrap_or(otherwise);
    match (status.message(), std::error::Error::source(status)) {
        ("", _) => Failure::new(reason, status.code().description()),
        (message, None) => Failure::new(reason, message),
        (message, Some(source)) => {
            Failure::new(reason, format!("{message}: {}", lazarette_core::error::chain(source)))
        }
    }
}

/// Why a call was refused; nothing when it was answered, or when it failed on its way. A message
/// that the transport itself could not take has no reason of ours: it is what no caller of ours
/// sends.
pub fn refusal(status: &Status) -> Option<Failure> {
    let otherwise = match status.code() {
        Code::Ok
        | Code::Cancelled
        | Code::Unknown
        | Code::DeadlineExceeded
        | Code::Aborted
        | Code::Unavailable => return reason(status).map(|it| to_failure(status, it)),
        Code::ResourceExhausted => Reason::LimitReached,
        Code::InvalidArgument
        | Code::NotFound
        | Code::AlreadyExists
        | Code::PermissionDenied
        | Code::FailedPrecondition
        | Code::OutOfRange
        | Code::Unimplemented
        | Code::Internal
        | Code::DataLoss
        | Code::Unauthenticated => Reason::InvalidInput,
    };
    Some(to_failure(status, otherwise))
}

/// Whether the same call may succeed once the other end is back: nothing was decided about it.
pub fn is_outage(status: &Status) -> bool {
    match reason(status) {
        Some(reason) => reason.kind() == Kind::NotReady,
        None => matches!(
            status.code(),
            Code::Unavailable | Code::Unknown | Code::Cancelled | Code::DeadlineExceeded
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_comes_back_as_it_went_out() {
        let failure = Failure::new(Reason::DiskFull, "write `/srv`: no space");
        let status = of_failure(&failure);
        assert_eq!(status.code(), Code::ResourceExhausted);
        assert_eq!(to_failure(&status, Reason::Internal), failure);
        assert!(!is_outage(&status));
    }

    #[test]
    fn what_the_transport_cannot_take_is_a_refusal_and_what_it_loses_is_none() {
        let of = |status: &Status| refusal(status).map(|it| it.reason);
        assert_eq!(of(&Status::out_of_range("too large")), Some(Reason::InvalidInput));
        assert_eq!(of(&Status::internal("not protobuf")), Some(Reason::InvalidInput));
        assert_eq!(of(&Status::cancelled("gone")), None);
        assert_eq!(of(&Status::ok("")), None);
        let busy = of_failure(&Failure::new(Reason::RepositoryLocked, "wait"));
        assert_eq!(of(&busy), Some(Reason::RepositoryLocked));
    }

    #[test]
    fn a_status_of_the_transport_is_an_outage_without_a_reason_of_ours() {
        let status = Status::unavailable("connection refused");
        assert_eq!(reason(&status), None);
        assert!(is_outage(&status));
        assert_eq!(to_failure(&status, Reason::HostOffline).reason, Reason::HostOffline);
    }
}
