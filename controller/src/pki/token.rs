//! Token: a fresh one, to invite one host.

use lazarette_node::{
    address::Address,
    token::{Token, TokenId, TokenSecret},
};

use super::{Authority, PkiError};

/// A token for the controller at `controller`. Keep its id and the digest of its secret only.
///
/// # Errors
/// The machine has no randomness.
pub fn new_token(authority: &Authority, controller: Address) -> Result<Token, PkiError> {
    let (mut id, mut secret) = ([0; 8], [0; 32]);
    getrandom::fill(&mut id).map_err(PkiError::Chance)?;
    getrandom::fill(&mut secret).map_err(PkiError::Chance)?;
    Ok(Token {
        id: TokenId::from_bytes(id),
        secret: TokenSecret::from_bytes(secret),
        authority: authority.fingerprint(),
        controller,
    })
}
