//! Audit: `ctl audit`.

use lazarette_proto::controller::v1::{ListAuditEntriesRequest, VerifyAuditRequest};

use crate::{
    args::AuditVerb,
    connect::{Connection, refused},
    error::{CtlError, Exit},
    output::Output,
    view::audit::{ActView, ChainView},
};

/// What the controller gives at once, at most.
const PAGE: u32 = 1000;

pub(super) async fn run(
    verb: AuditVerb,
    connection: &Connection,
    output: &mut Output,
) -> Result<Exit, CtlError> {
    match verb {
        AuditVerb::List { refused, limit } => {
            output.show(&list(connection, refused, limit).await?)?;
        }
        AuditVerb::Verify => {
            let answer = connection.audit().verify_audit(VerifyAuditRequest {}).await;
            let chain = answer.map_err(refused("verify the audit log"))?.into_inner();
            output.show(&ChainView::from(chain))?;
        }
    }
    Ok(Exit::Done)
}

async fn list(
    connection: &Connection,
    refused_only: bool,
    limit: u32,
) -> Result<Vec<ActView>, CtlError> {
    let doing = "list the audit log";
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let (mut acts, mut page_token) = (Vec::new(), String::new());
    while acts.len() < limit {
        let missing = u32::try_from(limit - acts.len()).unwrap_or(u32::MAX);
        let request =
            ListAuditEntriesRequest { page_size: missing.min(PAGE), page_token, refused_only };
        let answer = connection.audit().list_audit_entries(request).await;
        let page = answer.map_err(refused(doing))?.into_inner();
        for entry in page.entries {
            acts.push(ActView::try_from(entry).map_err(CtlError::strange(doing))?);
        }
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    Ok(acts)
}
