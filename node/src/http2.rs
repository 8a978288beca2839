//! HTTP/2: the settings of every connection, of either end.

use std::time::Duration;

use tonic::transport::{Endpoint, Server, Uri};

/// What may be under way in one stream: a pack of 16 MiB needs two round trips.
const STREAM_WINDOW_BYTES: u32 = 8 << 20;
/// What may be under way in all streams of a connection.
const CONNECTION_WINDOW_BYTES: u32 = 32 << 20;
/// Larger frames, fewer of them.
const FRAME_BYTES: u32 = 1 << 20;
/// More than any host has runs, few enough to be no burden.
const STREAMS: u32 = 256;
/// Our own requests need a few hundred.
const HEADER_BYTES: u32 = 16 << 10;
/// After this time a client is asked to connect anew, so that it uses its newest certificate.
const CONNECTION_AGE: Duration = Duration::from_hours(24);

/// The largest message that a service takes, unless it says otherwise: what tonic has by default.
pub const MESSAGE_LIMIT_BYTES: usize = 4 << 20;

/// How a dead connection is noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keepalive {
    /// How often the other end is asked for a sign of life.
    pub interval: Duration,
    /// How long it may take to give one.
    pub timeout: Duration,
}

impl Default for Keepalive {
    fn default() -> Self {
        Self { interval: Duration::from_secs(20), timeout: Duration::from_secs(10) }
    }
}

impl Keepalive {
    pub(crate) fn server(self) -> Server {
        Server::builder()
            .http2_keepalive_interval(Some(self.interval))
            .http2_keepalive_timeout(Some(self.timeout))
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .max_frame_size(FRAME_BYTES)
            .max_concurrent_streams(STREAMS)
            .http2_max_header_list_size(HEADER_BYTES)
    }

    pub(crate) fn server_with_age(self) -> Server {
        self.server().max_connection_age(CONNECTION_AGE)
    }

    /// `authority` is only a name for logs and the `:authority` header.
    pub(crate) fn endpoint(self, authority: &'static str) -> Endpoint {
        Endpoint::from(Uri::from_static(authority))
            .http2_keep_alive_interval(self.interval)
            .keep_alive_timeout(self.timeout)
            .keep_alive_while_idle(true)
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .max_frame_size(FRAME_BYTES)
            .http2_max_header_list_size(HEADER_BYTES)
    }
}
