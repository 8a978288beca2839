//! Credential: `ctl credential`.

use lazarette_core::name::OperatorName;
use lazarette_node::certificate::Serial;
use lazarette_proto::controller::v1::{
    ListCredentialsRequest, RevokeCredentialsRequest, revoke_credentials_request::Which,
};

use crate::{
    args::CredentialVerb,
    ask,
    connect::{Connection, refused},
    error::{CtlError, Exit},
    output::Output,
    view::credential::{CredentialView, RevokedView},
};

pub(super) async fn run(
    verb: CredentialVerb,
    connection: &Connection,
    output: &mut Output,
) -> Result<Exit, CtlError> {
    match verb {
        CredentialVerb::List => {
            let doing = "list credentials";
            let answer = connection.credentials().list_credentials(ListCredentialsRequest {}).await;
            let credentials = answer.map_err(refused(doing))?.into_inner().credentials;
            let views: Result<Vec<CredentialView>, _> =
                credentials.into_iter().map(TryInto::try_into).collect();
            output.show(&views.map_err(CtlError::strange(doing))?)?;
        }
        CredentialVerb::Revoke { serial, operator, reason, yes } => {
            let (which, what) = meant(serial, operator)?;
            let question = format!("Revoke {what}, so that it is refused from now on for ever?");
            ask::confirm(output, yes, &question).await?;
            let request = RevokeCredentialsRequest { which: Some(which), revoke_reason: reason };
            let answer = connection.credentials().revoke_credentials(request).await;
            let cut = answer.map_err(refused(format!("revoke {what}")))?.into_inner().cut_count;
            output.show(&RevokedView { revoked: what, cut_connection_count: cut })?;
        }
    }
    Ok(Exit::Done)
}

/// Which credentials are meant, for the controller and for people.
fn meant(
    serial: Option<Serial>,
    operator: Option<OperatorName>,
) -> Result<(Which, String), CtlError> {
    match (serial, operator) {
        (Some(serial), None) => {
            Ok((Which::Serial(serial.to_string()), format!("credential {serial}")))
        }
        (None, Some(name)) => {
            let what = format!("every credential of {name} until now");
            Ok((Which::Operator(name.to_string()), what))
        }
        _ => Err(CtlError::Usage("say which: a serial number, or --operator NAME".to_owned())),
    }
}
