//! Connect: the controller of a context, ready to be called.

use std::sync::Arc;

use lazarette_core::error::Reason;
use lazarette_node::{
    clock::{Clock, SystemClock},
    dial::{DialError, DialOptions, Dialer},
    live::LiveCredentials,
    status,
};
use lazarette_proto::controller::v1::{
    audit_service_client::AuditServiceClient, controller_service_client::ControllerServiceClient,
    credential_service_client::CredentialServiceClient, host_service_client::HostServiceClient,
    repository_service_client::RepositoryServiceClient, run_service_client::RunServiceClient,
    snapshot_service_client::SnapshotServiceClient, stack_service_client::StackServiceClient,
};
use tonic::{Status, transport::Channel};

use crate::{contexts::Context, error::CtlError};

/// Large enough for every answer that is not a stream: snapshots with all their evidence.
const LARGEST_ANSWER: usize = 256 << 20;

/// A controller that has let us in.
#[derive(Clone, Debug)]
pub struct Connection {
    channel: Channel,
}

impl Connection {
    /// Dials the controller of `context`.
    ///
    /// # Errors
    /// The credentials cannot be used; [`CtlError::Dial`] when the controller cannot be reached.
    pub async fn open(context: &Context) -> Result<Self, CtlError> {
        let clock = SystemClock::new().map_err(|source| CtlError::Input {
            what: "the clock".to_owned(),
            source: std::io::Error::other(source),
        })?;
        let clock: Arc<dyn Clock> = Arc::new(clock);
        let credentials = LiveCredentials::load(&context.credentials_file, clock)
            .map_err(|error| CtlError::Credentials(Box::new(error)))?;
        let address = context.controller.clone();
        let dialer = Dialer::new(address, credentials, DialOptions::default());
        let channel = dialer.calls().await.map_err(|error| CtlError::Dial(Box::new(error)))?;
        Ok(Self { channel })
    }

    /// Hosts.
    pub fn hosts(&self) -> HostServiceClient<Channel> {
        HostServiceClient::new(self.channel.clone()).max_decoding_message_size(LARGEST_ANSWER)
    }

    /// Stacks.
    pub fn stacks(&self) -> StackServiceClient<Channel> {
        StackServiceClient::new(self.channel.clone()).max_decoding_message_size(LARGEST_ANSWER)
    }

    /// Snapshots.
    pub fn snapshots(&self) -> SnapshotServiceClient<Channel> {
        SnapshotServiceClient::new(self.channel.clone()).max_decoding_message_size(LARGEST_ANSWER)
    }

    /// Runs.
    pub fn runs(&self) -> RunServiceClient<Channel> {
        RunServiceClient::new(self.channel.clone()).max_decoding_message_size(LARGEST_ANSWER)
    }

    /// The audit log.
    pub fn audit(&self) -> AuditServiceClient<Channel> {
        AuditServiceClient::new(self.channel.clone()).max_decoding_message_size(LARGEST_ANSWER)
    }

    /// Credentials of operators.
    pub fn credentials(&self) -> CredentialServiceClient<Channel> {
        CredentialServiceClient::new(self.channel.clone()).max_decoding_message_size(LARGEST_ANSWER)
    }

    /// The controller itself.
    pub fn controller(&self) -> ControllerServiceClient<Channel> {
        ControllerServiceClient::new(self.channel.clone())
    }

    /// Repositories.
    pub fn repositories(&self) -> RepositoryServiceClient<Channel> {
        RepositoryServiceClient::new(self.channel.clone()).max_decoding_message_size(LARGEST_ANSWER)
    }
}

/// What a refused call comes to.
pub fn refused(doing: impl Into<String>) -> impl FnOnce(Status) -> CtlError {
    let doing = doing.into();
    move |status| {
        let otherwise = match DialError::of(&status) {
            Some(_) => Reason::ControllerUnreachable,
            None if status::is_outage(&status) => Reason::ControllerUnreachable,
            None => Reason::Internal,
        };
        CtlError::Refused { doing, failure: status::to_failure(&status, otherwise) }
    }
}

/// Whether the controller may be back in a moment, so that the same call may then succeed.
pub fn is_gone_for_now(status: &Status) -> bool {
    match DialError::of(status) {
        Some(error) => error.is_transient(),
        // With a reason, the controller itself has answered.
        None => status::reason(status).is_none() && status::is_outage(status),
    }
}
