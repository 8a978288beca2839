//! Wire: agents, operators and strangers at a controller's port, over real TLS.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "these are tests")]

#[path = "wire/count.rs"]
mod count;
#[path = "wire/fleet.rs"]
mod fleet;

#[path = "wire/authorisation.rs"]
mod authorisation;
#[path = "wire/certificates.rs"]
mod certificates;
#[path = "wire/enrolment.rs"]
mod enrolment;
#[path = "wire/lifecycle.rs"]
mod lifecycle;
#[path = "wire/reversed.rs"]
mod reversed;
#[path = "wire/strangers.rs"]
mod strangers;
