//! Credentials of operators are listed and revoked.

use std::{cmp::Reverse, collections::BTreeMap, sync::Arc};

use lazarette_core::{
    error::{Failure, Reason},
    name::OperatorName,
};
use lazarette_node::{
    certificate::{Certificate, Serial},
    clock::Clock,
    connections::Connections,
    identity::Identity,
    peer::PeerInfo,
};
use lazarette_proto::{
    controller::v1::{
        Credential as WireCredential, ListCredentialsRequest, ListCredentialsResponse,
        RevokeCredentialsRequest, RevokeCredentialsResponse,
        credential_service_server::CredentialService, revoke_credentials_request::Which,
    },
    convert::{ConvertError, Required as _, parse, to_wire_time},
};
use tonic::{Request, Response, Status};

use super::{act, malformed, record, refused};
use crate::{
    pki::issued,
    places::store_failed,
    store::{
        Batch, Store,
        credentials::{Credential, Credentials},
        revocations::{Revocation, Revocations},
    },
};

/// The longest reason that an operator may give, in characters.
const LONGEST_REASON: usize = 200;

/// Lists and revokes credentials of operators.
#[derive(Debug)]
pub struct CredentialsRpc {
    /// Where they are kept.
    pub store: Arc<dyn Store>,
    /// Which are refused.
    pub revocations: Arc<Revocations>,
    /// What is cut.
    pub connections: Connections,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
}

/// What is to be refused, checked.
enum Refuse {
    Serial(Serial),
    Operator(OperatorName),
}

impl Refuse {
    fn read(which: Which) -> Result<Self, ConvertError> {
        match which {
            Which::Serial(text) => parse("serial", &text).map(Self::Serial),
            Which::Operator(text) => parse("operator", &text).map(Self::Operator),
        }
    }

    /// Whether `certificate`, which is in use now, is among them.
    fn is_meant(&self, certificate: &Certificate) -> bool {
        match (self, &certificate.subject.identity) {
            (Self::Serial(serial), _) => certificate.serial == *serial,
            (Self::Operator(operator), Identity::Operator { name, .. }) => name == operator,
            (Self::Operator(_), Identity::Agent { .. } | Identity::Controller) => false,
        }
    }

    fn described(&self) -> String {
        match self {
            Self::Serial(serial) => format!("revoke credential {serial}"),
            Self::Operator(name) => format!("revoke all credentials of operator {name}"),
        }
    }
}

fn wire(
    serial: &Serial,
    credential: Option<&Credential>,
    revoked: Option<Revocation>,
) -> WireCredential {
    let time = |of: fn(&Credential) -> jiff::Timestamp| credential.map(|it| to_wire_time(of(it)));
    let (revoke_time, revoked_by, revoke_reason) = match revoked {
        Some(it) => (Some(to_wire_time(it.at)), it.by, it.why),
        None => (None, String::new(), String::new()),
    };
    WireCredential {
        serial: serial.to_string(),
        operator: credential.map(|it| it.operator.to_string()).unwrap_or_default(),
        role: credential.map(|it| it.role.clone()).unwrap_or_default(),
        issue_time: time(|it| it.issued),
        expire_time: time(|it| it.expires),
        last_seen_time: time(|it| it.last_seen),
        revoke_time,
        revoked_by,
        revoke_reason,
    }
}

/// A reason that can be kept and shown.
fn reason(text: &str) -> Result<String, ConvertError> {
    let field = "revoke_reason";
    if text.chars().count() > LONGEST_REASON {
        return Err(ConvertError::new(field, "is longer than 200 characters"));
    }
    if text.chars().any(char::is_control) {
        return Err(ConvertError::new(field, "has control characters in it"));
    }
    Ok(text.to_owned())
}

#[tonic::async_trait]
impl CredentialService for CredentialsRpc {
    async fn list_credentials(
        &self,
        _: Request<ListCredentialsRequest>,
    ) -> Result<Response<ListCredentialsResponse>, Status> {
        let known = Credentials::new(Arc::clone(&self.store)).list().await;
        let known: BTreeMap<_, _> =
            known.map_err(store_failed).map_err(refused)?.into_iter().collect();
        let of = |serial: &Serial, it: &Credential| {
            self.revocations.of_operator(serial, &it.operator, it.issued)
        };
        let mut credentials: Vec<_> =
            known.iter().map(|(serial, it)| wire(serial, Some(it), of(serial, it))).collect();
        // Those that were refused before anybody used them.
        let unused = self.revocations.certificates();
        let unused = unused.into_iter().filter(|(serial, _)| !known.contains_key(serial));
        credentials.extend(unused.map(|(serial, it)| wire(&serial, None, Some(it))));
        credentials.sort_by_key(|it| {
            let issued = it.issue_time.as_ref().map(|at| (at.seconds, at.nanos));
            (it.operator.clone(), Reverse(issued), it.serial.clone())
        });
        Ok(Response::new(ListCredentialsResponse { credentials }))
    }

    async fn revoke_credentials(
        &self,
        request: Request<RevokeCredentialsRequest>,
    ) -> Result<Response<RevokeCredentialsResponse>, Status> {
        let wanted = request.get_ref().clone();
        let refuse = wanted.which.required("which").and_then(Refuse::read).map_err(malformed)?;
        let why = reason(&wanted.revoke_reason).map_err(malformed)?;
        let own = PeerInfo::of(&request).and_then(|peer| peer.certificate.clone());
        if own.is_some_and(|own| refuse.is_meant(&own)) {
            let message = "that is the credential you are using: issue another one with \
                           `lazarette-controller admin issue`, and revoke this one with it";
            return Err(refused(Failure::new(Reason::InvalidInput, message)));
        }
        let mut act = act(&*self.clock, &request, refuse.described());
        if !why.is_empty() {
            act.what = format!("{}: {why}", act.what);
        }
        let revocation = Revocation { at: act.at, by: act.who.clone(), why };
        let mut batch = Batch::new();
        let added = match &refuse {
            Refuse::Serial(serial) => {
                self.revocations.revoke_certificate(&mut batch, serial, &revocation)
            }
            Refuse::Operator(name) => {
                self.revocations.revoke_operator(&mut batch, name, &revocation)
            }
        };
        added.map_err(store_failed).map_err(refused)?;
        // Refused from here on; an operator's certificates that were issued later are not meant.
        let cut = self.connections.cut_where(|peer| {
            peer.certificate.as_ref().is_some_and(|certificate| {
                refuse.is_meant(certificate) && issued(certificate) <= revocation.at
            })
        });
        record(&self.store, &act, &batch).await?;
        tracing::info!(what = act.what, cut, "credentials revoked");
        let cut_count = u32::try_from(cut).unwrap_or(u32::MAX);
        Ok(Response::new(RevokeCredentialsResponse { cut_count }))
    }
}
