//! Authz: who may call what. One table, one layer in front of every service.

use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll},
};

use futures::future::{BoxFuture, ready};
use jiff::Timestamp;
use lazarette_core::{error::Reason, role::Role};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};
use tower::{Layer, Service};

use crate::{
    audit::{Audit, Call},
    certificate::Certificate,
    clock::Clock,
    identity::Identity,
    peer::PeerInfo,
    status,
};

/// The domain in the `ErrorInfo` of every error of ours.
pub const ERROR_DOMAIN: &str = "lazarette";

/// Who calls, as the table knows them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Caller {
    /// Somebody without a certificate: enrolment only.
    Anonymous,
    /// An agent with a valid certificate.
    Agent,
    /// An agent whose certificate has expired.
    ExpiredAgent,
    /// An operator who may do everything.
    Admin,
    /// An operator who looks and starts backups.
    Operator,
    /// An operator who looks and restores.
    Restorer,
    /// An operator who looks.
    Viewer,
    /// A pipeline.
    Ci,
    /// The controller, calling an agent.
    Controller,
}

impl Caller {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Anonymous,
        Self::Agent,
        Self::ExpiredAgent,
        Self::Admin,
        Self::Operator,
        Self::Restorer,
        Self::Viewer,
        Self::Ci,
        Self::Controller,
    ];

    /// As what `peer` calls at `now`; nothing for a certificate that is of no use any more.
    pub fn of(peer: &PeerInfo, now: Timestamp) -> Option<Self> {
        match peer.identity() {
            None => Some(Self::Anonymous),
            Some(Identity::Agent { .. }) if peer.is_expired(now) => Some(Self::ExpiredAgent),
            Some(Identity::Agent { .. }) => Some(Self::Agent),
            // It was valid when the connection was made, and it is we who dialled.
            Some(Identity::Controller) => Some(Self::Controller),
            Some(Identity::Operator { .. }) if peer.is_expired(now) => None,
            Some(Identity::Operator { role, .. }) => Some(Self::of_role(*role)),
        }
    }

    const fn of_role(role: Role) -> Self {
        match role {
            Role::Admin => Self::Admin,
            Role::Operator => Self::Operator,
            Role::Restorer => Self::Restorer,
            Role::Viewer => Self::Viewer,
            Role::Ci => Self::Ci,
        }
    }
}

/// Who may call one method.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// The method's path: `/lazarette.agent.v1.AgentService/StartRun`.
    pub method: &'static str,
    /// Who may call it.
    pub callers: &'static [Caller],
}

/// Lets `callers` call `method`.
pub const fn allow(method: &'static str, callers: &'static [Caller]) -> Rule {
    Rule { method, callers }
}

/// Who may call what; a method that is not in it may be called by nobody.
#[derive(Clone, Copy, Debug)]
pub struct Table(&'static [Rule]);

impl Table {
    /// Of these rules, one for each method.
    pub const fn new(rules: &'static [Rule]) -> Self {
        Self(rules)
    }

    /// Its rules.
    pub const fn rules(self) -> &'static [Rule] {
        self.0
    }

    /// Whether `caller` may call `method`.
    pub fn allows(self, method: &str, caller: Caller) -> bool {
        let rule = self.0.iter().find(|rule| rule.method == method);
        rule.is_some_and(|rule| rule.callers.contains(&caller))
    }
}

/// Which certificates are of no use any more, though they look good. Asked on every call.
pub trait Revoked: fmt::Debug + Send + Sync + 'static {
    /// Whether its serial or its host was removed. Must not block.
    fn is_revoked(&self, certificate: &Certificate) -> bool;
}

/// Nothing is ever revoked: for agents, whose only caller is the controller that they dialled.
#[derive(Clone, Copy, Debug)]
pub struct NothingRevoked;

impl Revoked for NothingRevoked {
    fn is_revoked(&self, _: &Certificate) -> bool {
        false
    }
}

/// The layer in front of every service.
#[derive(Clone, Debug)]
pub struct Authz {
    table: Table,
    revoked: Arc<dyn Revoked>,
    audit: Arc<dyn Audit>,
    clock: Arc<dyn Clock>,
}

impl Authz {
    /// Lets through what `table` allows and `revoked` does not forbid; tells `audit`.
    pub fn new(
        table: Table,
        revoked: Arc<dyn Revoked>,
        audit: Arc<dyn Audit>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self { table, revoked, audit, clock }
    }

    /// Whether the certificate of `peer` was revoked.
    pub fn is_revoked(&self, peer: &PeerInfo) -> bool {
        peer.certificate.as_ref().is_some_and(|certificate| self.revoked.is_revoked(certificate))
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    fn decide(&self, peer: Option<&PeerInfo>, method: &str) -> Result<(), Reason> {
        let peer = peer.ok_or(Reason::Unauthenticated)?;
        if self.is_revoked(peer) {
            return Err(Reason::Revoked);
        }
        let caller = Caller::of(peer, self.now()).ok_or(Reason::CertificateExpired)?;
        match (self.table.allows(method, caller), caller) {
            (true, _) => Ok(()),
            (false, Caller::Anonymous) => Err(Reason::Unauthenticated),
            (false, Caller::ExpiredAgent) => Err(Reason::CertificateExpired),
            (false, _) => Err(Reason::RoleDenied),
        }
    }

    /// Tells the audit what became of a call.
    fn tell<R>(&self, peer: Option<&PeerInfo>, method: &str, answer: &http::Response<R>) {
        let refused = Status::from_header_map(answer.headers());
        let refused = refused.as_ref().and_then(status::refusal);
        self.audit.hear(Call { method, peer, refused: refused.as_ref() });
    }
}

fn refusal(reason: Reason, peer: Option<&PeerInfo>, method: &str) -> Status {
    let who =
        peer.and_then(PeerInfo::identity).map_or_else(|| "nobody".into(), Identity::to_string);
    let call = method.rsplit('/').next().unwrap_or_default();
    let (code, message) = if reason == Reason::Unauthenticated {
        (Code::Unauthenticated, format!("call `{call}`: a certificate of this fleet is needed"))
    } else if reason == Reason::CertificateExpired {
        (Code::Unauthenticated, format!("call `{call}`: the certificate of `{who}` has expired"))
    } else if reason == Reason::Revoked {
        (Code::Unauthenticated, format!("call `{call}`: the certificate of `{who}` was revoked"))
    } else {
        (Code::PermissionDenied, format!("`{who}` may not call `{call}`"))
    };
    let details = ErrorDetails::with_error_info(reason.as_str(), ERROR_DOMAIN, []);
    Status::with_error_details(code, message, details)
}

impl<S> Layer<S> for Authz {
    type Service = Guarded<S>;

    fn layer(&self, inner: S) -> Guarded<S> {
        Guarded { inner, authz: self.clone() }
    }
}

/// A service behind the layer.
#[derive(Clone, Debug)]
pub struct Guarded<S> {
    inner: S,
    authz: Authz,
}

impl<S, B, R> Service<http::Request<B>> for Guarded<S>
where
    S: Service<http::Request<B>, Response = http::Response<R>>,
    S::Future: Send + 'static,
    S::Error: Send + 'static,
    R: Default + Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<S::Response, S::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        let peer = request.extensions().get::<PeerInfo>().cloned();
        let method = request.uri().path().to_owned();
        let authz = self.authz.clone();
        if let Err(reason) = authz.decide(peer.as_ref(), &method) {
            let answer = refusal(reason, peer.as_ref(), &method).into_http();
            authz.tell(peer.as_ref(), &method, &answer);
            return Box::pin(ready(Ok(answer)));
        }
        let answering = self.inner.call(request);
        Box::pin(async move {
            let answer = answering.await?;
            authz.tell(peer.as_ref(), &method, &answer);
            Ok(answer)
        })
    }
}
