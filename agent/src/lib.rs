//! The Lazarette agent: carries out runs on one Docker host.

pub mod app;
pub mod config;
pub mod discover;
pub mod disk;
pub mod docker;
pub mod driver;
pub mod drivers;
pub mod enroll;
pub mod faults;
pub mod held;
pub mod hold;
pub mod host;
pub mod identity;
pub mod policy;
pub mod reaper;
pub mod renew;
pub mod reserve;
pub mod rpc;
pub mod runs;
pub mod sealed;
pub mod sink;
pub mod source;
pub mod status;
pub mod thaw;
pub mod vault;
pub mod volume;
