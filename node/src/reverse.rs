//! Reverse: calling an agent over the connection that it dialled.

use std::{io, sync::Mutex, time::Duration};

use hyper_util::rt::TokioIo;
use tonic::transport::Channel;

use crate::{
    http2::Keepalive,
    peer::PeerInfo,
    stream::{End, PeerStream},
};

/// HTTP/2 could not be begun on a reversed connection.
#[derive(Debug, thiserror::Error)]
#[error("begin to call the agent at {address}")]
pub struct ReverseError {
    address: std::net::SocketAddr,
    #[source]
    source: tonic::transport::Error,
}

/// An agent that can be called, as long as its connection lasts. Clones are the same connection.
#[derive(Clone, Debug)]
pub struct Link {
    peer: PeerInfo,
    channel: Channel,
    end: End,
}

impl Link {
    /// Begins to call over `stream`. Call it at once: the agent waits for the first byte.
    ///
    /// # Errors
    /// The connection ended already.
    pub async fn open(stream: PeerStream, keepalive: Keepalive) -> Result<Self, ReverseError> {
        let (peer, end) = (stream.peer().clone(), stream.end());
        let once = Mutex::new(Some(TokioIo::new(stream)));
        let connector = tower::service_fn(move |_| {
            let stream = once.lock().ok().and_then(|mut once| once.take());
            // There is no second connection: the agent dials again, and that is another link.
            let used = || io::Error::new(io::ErrorKind::NotConnected, "the agent is gone");
            std::future::ready(stream.ok_or_else(used))
        });
        let address = peer.address;
        let channel = keepalive
            .endpoint("http://agent")
            .connect_timeout(Duration::from_secs(10))
            .connect_with_connector(connector)
            .await
            .map_err(|source| ReverseError { address, source })?;
        Ok(Self { peer, channel, end })
    }

    /// The agent.
    pub const fn peer(&self) -> &PeerInfo {
        &self.peer
    }

    /// For the clients of its services. Does not reconnect.
    pub fn channel(&self) -> Channel {
        self.channel.clone()
    }

    /// Tells when and why the connection ended.
    pub fn end(&self) -> End {
        self.end.clone()
    }
}
