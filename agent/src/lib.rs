//! The Lazarette agent: carries out runs on one Docker host.

pub mod config;
pub mod discover;
pub mod disk;
pub mod docker;
pub mod enroll;
pub mod faults;
pub mod held;
pub mod hold;
pub mod identity;
pub mod policy;
pub mod renew;
pub mod reserve;
pub mod sealed;
pub mod thaw;
pub mod vault;
