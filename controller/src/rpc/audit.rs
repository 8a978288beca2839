//! The audit log is listed and verified.

use std::sync::Arc;

use lazarette_core::error::{Failure, Reason, chain};
use lazarette_proto::{
    controller::v1::{
        AuditEntry as WireEntry, ListAuditEntriesRequest, ListAuditEntriesResponse,
        VerifyAuditRequest, VerifyAuditResponse, audit_service_server::AuditService,
    },
    convert::{parse, to_wire_time},
};
use tonic::{Request, Response, Status};

use super::{malformed, refused};
use crate::{
    places::store_failed,
    store::{
        Store,
        audit::{Act, Audit, AuditEntry, AuditError},
    },
};

/// Entries that are listed when nothing else is said.
const PAGE: usize = 100;
/// The most that are listed, or read from the store, at once.
const PAGE_MAX: usize = 1000;

/// Lists and verifies the audit log.
#[derive(Debug)]
pub struct AuditRpc {
    /// Where it is kept.
    pub store: Arc<dyn Store>,
}

fn wire(entry: AuditEntry) -> WireEntry {
    let AuditEntry { sequence, previous, act } = entry;
    let Act { at, who, certificate, what, refused } = act;
    WireEntry {
        sequence,
        act_time: Some(to_wire_time(at)),
        who,
        certificate_serial: certificate,
        what,
        refused_reason: refused.unwrap_or_default(),
        previous_hash: previous,
    }
}

fn broken(error: &AuditError) -> Failure {
    match error {
        AuditError::Store(error) => Failure::of(error),
        AuditError::Broken { .. } => {
            let message = format!(
                "{}; whoever can write the controller's files changed it: treat the controller as \
                 broken into",
                chain(error)
            );
            Failure::new(Reason::AuditBroken, message)
        }
    }
}

#[tonic::async_trait]
impl AuditService for AuditRpc {
    async fn list_audit_entries(
        &self,
        request: Request<ListAuditEntriesRequest>,
    ) -> Result<Response<ListAuditEntriesResponse>, Status> {
        let request = request.into_inner();
        let size = usize::try_from(request.page_size).unwrap_or(usize::MAX);
        let size = if size == 0 { PAGE } else { size.min(PAGE_MAX) };
        let mut before: Option<u64> = match request.page_token.as_str() {
            "" => None,
            token => Some(parse("page_token", token).map_err(malformed)?),
        };
        let audit = Audit::new(Arc::clone(&self.store));
        let mut entries = Vec::new();
        loop {
            let page = audit.list(before, PAGE_MAX).await.map_err(store_failed).map_err(refused)?;
            let is_last = page.len() < PAGE_MAX;
            before = page.last().map(|entry| entry.sequence);
            let wanted = |it: &AuditEntry| !request.refused_only || it.act.refused.is_some();
            entries.extend(page.into_iter().filter(wanted));
            if entries.len() > size || is_last {
                break;
            }
        }
        let is_more = entries.len() > size;
        entries.truncate(size);
        let token = entries.last().filter(|_| is_more).map(|entry| entry.sequence.to_string());
        Ok(Response::new(ListAuditEntriesResponse {
            entries: entries.into_iter().map(wire).collect(),
            next_page_token: token.unwrap_or_default(),
        }))
    }

    async fn verify_audit(
        &self,
        _: Request<VerifyAuditRequest>,
    ) -> Result<Response<VerifyAuditResponse>, Status> {
        let end = Audit::new(Arc::clone(&self.store)).verify().await;
        let end = end.map_err(|error| refused(broken(&error)))?;
        let (entry_count, end_hash) = end.map_or((0, String::new()), |it| (it.sequence, it.hash));
        Ok(Response::new(VerifyAuditResponse { entry_count, end_hash }))
    }
}
