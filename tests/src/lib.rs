//! Harness: real Docker hosts, real stacks and our three programs, for tests to drive and to break.
//!
//! A test begins with a [`Fleet`] (a controller, and hosts with agents) or a bare [`Host`], puts a [`Shop`] on it,
//! does something through [`Fleet::ctl`] and compares fingerprints. Everything goes when its value is dropped; what
//! a killed test leaves behind goes as well, because a keeper waits for the end of the test's process.
//! How our programs are called is in [`programs`] and nowhere else.

mod agent;
mod controller;
mod fleet;
mod host;
pub mod hostile;
mod log;
mod outcome;
mod places;
mod process;
pub mod programs;
mod run;
mod shop;
mod site;
pub mod wait;

pub use agent::Agent;
pub use controller::Controller;
pub use fleet::Fleet;
pub use host::Host;
pub use log::Log;
pub use outcome::Outcome;
pub use places::{images, program, workspace};
pub use process::Process;
pub use run::Run;
pub use shop::{Counters, Fingerprint, Shop};
pub use site::Site;
