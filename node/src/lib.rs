//! Identity, mTLS, channels, tasks and telemetry.

pub mod address;
pub mod authz;
pub mod backoff;
pub mod certificate;
pub mod clock;
pub mod connections;
pub mod credentials;
pub mod dial;
mod door;
pub mod durable;
mod handshake;
pub mod http2;
pub mod identity;
pub mod key_request;
pub mod live;
pub mod peer;
pub mod protocol;
pub mod reverse;
pub mod server;
pub mod status;
pub mod stream;
pub mod tasks;
pub mod telemetry;
pub mod tls;
pub mod token;
pub mod verify;
