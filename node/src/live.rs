//! Live credentials: those in use now; a renewed certificate takes their place without a restart.

use std::{path::Path, sync::Arc};

use rustls::{ClientConfig, ServerConfig};
use tokio::sync::watch;

use crate::{
    clock::Clock,
    credentials::{Credentials, CredentialsError},
    protocol::Protocol,
    tls::{self, TlsError},
};

/// Credentials could not be taken into use; those before stay.
#[derive(Debug, thiserror::Error)]
pub enum LiveError {
    /// They cannot be read.
    #[error("load the credentials")]
    Credentials(#[source] CredentialsError),
    /// TLS cannot be set up with them.
    #[error("take the credentials into use")]
    Tls(#[source] TlsError),
}

/// The credentials in use now. Clones are the same; new connections use the newest.
#[derive(Clone, Debug)]
pub struct LiveCredentials {
    sender: watch::Sender<Arc<InUse>>,
    clock: Arc<dyn Clock>,
}

/// Credentials with all that was made of them.
#[derive(Debug)]
pub(crate) struct InUse {
    credentials: Credentials,
    pub(crate) members: Arc<ServerConfig>,
    pub(crate) newcomers: Arc<ServerConfig>,
    reverse: Arc<ClientConfig>,
    calls: Arc<ClientConfig>,
}

impl InUse {
    fn new(credentials: Credentials, clock: &Arc<dyn Clock>) -> Result<Self, TlsError> {
        let client = |protocol| tls::member(&credentials, protocol, clock).map(Arc::new);
        Ok(Self {
            members: Arc::new(tls::members(&credentials, clock)?),
            newcomers: Arc::new(tls::newcomers(&credentials, clock)?),
            reverse: client(Protocol::Reverse)?,
            calls: client(Protocol::Calls)?,
            credentials,
        })
    }

    /// For dialling; enrolment is for those who have no credentials yet.
    pub(crate) fn client(&self, protocol: Protocol) -> &Arc<ClientConfig> {
        match protocol {
            Protocol::Reverse => &self.reverse,
            Protocol::Calls | Protocol::Enroll => &self.calls,
        }
    }
}

impl LiveCredentials {
    /// Takes `credentials` into use; certificates are judged by `clock`.
    ///
    /// # Errors
    /// TLS cannot be set up with them.
    pub fn new(credentials: Credentials, clock: Arc<dyn Clock>) -> Result<Self, LiveError> {
        let in_use = InUse::new(credentials, &clock).map_err(LiveError::Tls)?;
        Ok(Self { sender: watch::Sender::new(Arc::new(in_use)), clock })
    }

    /// Those of the file at `path`.
    ///
    /// # Errors
    /// They cannot be read, or TLS cannot be set up with them.
    pub fn load(path: &Path, clock: Arc<dyn Clock>) -> Result<Self, LiveError> {
        let credentials = Credentials::load(path).map_err(LiveError::Credentials)?;
        Self::new(credentials, clock)
    }

    /// Puts `credentials` in place of those in use. Connections that are open stay open.
    ///
    /// # Errors
    /// TLS cannot be set up with them; those in use stay.
    pub fn replace(&self, credentials: Credentials) -> Result<(), LiveError> {
        let in_use = InUse::new(credentials, &self.clock).map_err(LiveError::Tls)?;
        self.sender.send_replace(Arc::new(in_use));
        Ok(())
    }

    /// Reads the file at `path` again.
    ///
    /// # Errors
    /// They cannot be read or used; those in use stay.
    pub fn reload(&self, path: &Path) -> Result<(), LiveError> {
        self.replace(Credentials::load(path).map_err(LiveError::Credentials)?)
    }

    /// Those in use now.
    pub fn current(&self) -> Credentials {
        self.sender.borrow().credentials.clone()
    }

    /// The clock by which certificates are judged.
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    /// Ends when others have been taken into use, counted from the call.
    pub fn replaced(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut receiver = self.sender.subscribe();
        async move {
            // With every sender gone there is nothing to wait for either.
            drop(receiver.changed().await);
        }
    }

    pub(crate) fn in_use(&self) -> Arc<InUse> {
        self.sender.borrow().clone()
    }
}
