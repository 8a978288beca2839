//! Enrolment: a key made on this host, a token shown once, a certificate for the years to come.

use std::{path::Path, sync::Arc};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use lazarette_core::{
    error::{Failure, Reason},
    id::HostId,
    name::HostName,
};
use lazarette_node::{
    clock::Clock,
    credentials::{Credentials, CredentialsError},
    dial::{self, DialError, DialOptions},
    identity::Identity,
    key_request::{KeyRequest, KeyRequestError},
    status,
    token::Token,
};
use lazarette_proto::{
    PROTOCOL_VERSION,
    enrollment::v1::{
        EnrollRequest, EnrollResponse, enrollment_service_client::EnrollmentServiceClient,
    },
};

use crate::{
    disk::blocking,
    identity::{Enrolled, IdentityDir, IdentityError},
};

/// This host could not be enrolled. The token may still be of use, unless the error says otherwise.
#[derive(Debug, thiserror::Error)]
pub enum EnrollError {
    /// It has been enrolled before.
    #[error(
        "this host is enrolled already (`{}` exists): stop the agent and remove that directory \
         to enrol it anew", .0.display()
    )]
    Already(std::path::PathBuf),
    /// No key could be made.
    #[error("make a key")]
    Key(#[source] KeyRequestError),
    /// The controller that the token names was not reached, or is another one.
    #[error("reach the controller that the token names")]
    Dial(#[source] Box<DialError>),
    /// The controller refused.
    #[error("be enrolled by the controller")]
    Refused(#[source] Failure),
    /// What the controller answered makes no sense.
    #[error("understand the controller's answer: {0}")]
    Answer(String),
    /// The certificate cannot be used.
    #[error("use the certificate that the controller signed")]
    Credentials(#[source] CredentialsError),
    /// It could not be written down.
    #[error("write down who this host is; ask for a new token when that is mended")]
    Identity(#[source] IdentityError),
}

/// Enrols this host with the controller that `token` names.
///
/// # Errors
///
/// [`EnrollError`].
pub async fn enroll(
    token: &Token,
    state_dir: &Path,
    clock: &Arc<dyn Clock>,
) -> Result<Enrolled, EnrollError> {
    let dir = IdentityDir::of(state_dir);
    if dir.is_enrolled() {
        return Err(EnrollError::Already(dir.credentials()));
    }
    dir.make().map_err(EnrollError::Identity)?; // before the token is burnt
    let key = KeyRequest::generate().map_err(EnrollError::Key)?;
    let options = DialOptions::default();
    let enrolling = dial::enroll(token, clock, options).await;
    let enrolling = enrolling.map_err(|error| EnrollError::Dial(Box::new(error)))?;
    let request = request(token, &key)?;
    let answer = EnrollmentServiceClient::new(enrolling.channel).enroll(request).await;
    let answer = answer
        .map_err(|refused| EnrollError::Refused(status::to_failure(&refused, Reason::HostOffline)))?
        .into_inner();
    if answer.authority != enrolling.authority.as_ref() {
        let why = "it names another authority than the token: do not trust it".to_owned();
        return Err(EnrollError::Answer(why));
    }
    let (host_id, host) = who(&answer)?;
    let chain = answer.certificates.into_iter().map(Into::into).collect();
    let credentials = Credentials::new(key.key_pem(), chain, vec![enrolling.authority])
        .map_err(EnrollError::Credentials)?;
    let identity = &credentials.certificate().subject.identity;
    if *identity != (Identity::Agent { host: host_id }) {
        let why = format!("the certificate is for `{identity}`, not for `agent/{host_id}`");
        return Err(EnrollError::Answer(why));
    }
    let enrolled = Enrolled { format: 1, controller: token.controller.clone(), host_id, host };
    let saved = enrolled.clone();
    blocking(move || dir.save(&saved, &credentials)).await.map_err(EnrollError::Identity)?;
    Ok(enrolled)
}

fn request(token: &Token, key: &KeyRequest) -> Result<EnrollRequest, EnrollError> {
    let secret = token.secret.reveal();
    let token_secret = URL_SAFE_NO_PAD
        .decode(secret.as_bytes())
        .map_err(|error| EnrollError::Answer(format!("the token's secret: {error}")))?;
    Ok(EnrollRequest {
        token_id: token.id.to_string(),
        token_secret,
        certificate_request: key.request_der().to_vec(),
        agent_version: env!("CARGO_PKG_VERSION").to_owned(),
        protocol_version: PROTOCOL_VERSION,
    })
}

fn who(answer: &EnrollResponse) -> Result<(HostId, HostName), EnrollError> {
    let id = answer.host_id.parse().map_err(|error| EnrollError::Answer(format!("{error}")))?;
    let name = answer.host.parse().map_err(|error| EnrollError::Answer(format!("{error}")))?;
    Ok((id, name))
}
