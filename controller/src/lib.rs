//! The Lazarette controller: catalog, runs, repositories, identities.

pub mod access;
pub mod app;
pub mod config;
pub mod context;
pub mod disks;
pub mod entry;
pub mod feed;
pub mod fleet;
pub mod grants;
pub mod init;
pub mod pki;
pub mod places;
pub mod rebuild;
pub mod rpc;
pub mod runs;
pub mod secrets;
pub mod store;
pub mod uploads;
pub mod vaults;
pub mod witness;
