//! PKI: the fleet's own authority, what it certifies, and the tokens that invite hosts.

mod authority;
mod issue;
mod token;

pub use self::{
    authority::{AUTHORITY_FILE, Authority, PkiError},
    issue::{AGENT_LIFE, CONTROLLER_LIFE, Issued, OPERATOR_LIFE, issued},
    token::new_token,
};
