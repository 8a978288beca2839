//! Tokens with which hosts may enrol, each good for one host, once, for a time.

use std::sync::Arc;

use jiff::Timestamp;
use lazarette_core::error::{Reason, ReasonedError};
use lazarette_core::name::HostName;
use lazarette_node::token::{TokenId, TokenSecret};
use serde::{Deserialize, Serialize};

use super::{Batch, Collection, Record, Store, StoreError};

/// An invitation that was given out as a token. The secret itself is not kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invitation {
    /// Which token it is.
    pub token: TokenId,
    /// The SHA-256 of the token's secret, in hex.
    pub secret_digest: String,
    /// What the host will be called.
    pub host: HostName,
    /// Who invited it, as its identity.
    pub invited_by: String,
    /// When it was made.
    pub created: Timestamp,
    /// From when on it is of no use.
    pub expires: Timestamp,
    /// When it was used.
    pub used: Option<Timestamp>,
}

impl Record for Invitation {
    const VERSION: u8 = 1;
}

const INVITATIONS: Collection<TokenId, Invitation> = Collection::new("token");

/// Why a token is not taken.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The store cannot read it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// It was never given out by this controller, or its secret is another.
    #[error(
        "take the token: this controller did not give it out; ask for one with `ctl host invite`"
    )]
    Unknown,
    /// It was used.
    #[error("take the token: it was used on {used}; ask for another with `ctl host invite`")]
    Used {
        /// When.
        used: Timestamp,
    },
    /// Its time is over.
    #[error("take the token: it ended on {expired}; ask for another with `ctl host invite`")]
    Expired {
        /// When.
        expired: Timestamp,
    },
}

impl ReasonedError for TokenError {
    fn reason(&self) -> Reason {
        match self {
            Self::Store(error) => error.reason(),
            Self::Unknown | Self::Used { .. } | Self::Expired { .. } => Reason::TokenRefused,
        }
    }
}

/// The invitations in a store.
#[derive(Clone, Debug)]
pub struct Tokens(Arc<dyn Store>);

impl Tokens {
    /// Those in `store`.
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self(store)
    }

    /// Adds to `batch` that the token was given out.
    ///
    /// # Errors
    ///
    /// The record cannot be written.
    pub fn add(&self, batch: &mut Batch, invitation: &Invitation) -> Result<(), StoreError> {
        INVITATIONS.insert(batch, &invitation.token, invitation)
    }

    /// Adds to `batch` that the token is used, and gives what it was good for. The batch is a
    /// conflict when somebody else uses it first; only once it is committed may anything be signed.
    ///
    /// # Errors
    ///
    /// The token is not one to be taken at `now`.
    pub async fn burn(
        &self,
        batch: &mut Batch,
        token: &TokenId,
        secret: &TokenSecret,
        now: Timestamp,
    ) -> Result<Invitation, TokenError> {
        let seen = INVITATIONS.get(&*self.0, token).await?.ok_or(TokenError::Unknown)?;
        let invitation = &seen.value;
        if invitation.secret_digest != hex::encode(secret.digest()) {
            return Err(TokenError::Unknown);
        }
        if let Some(used) = invitation.used {
            return Err(TokenError::Used { used });
        }
        if now >= invitation.expires {
            return Err(TokenError::Expired { expired: invitation.expires });
        }
        let burnt = Invitation { used: Some(now), ..invitation.clone() };
        INVITATIONS.replace(batch, token, &seen, &burnt)?;
        Ok(burnt)
    }

    /// Adds to `batch` that tokens which ended before `then` are forgotten, used or not.
    ///
    /// # Errors
    ///
    /// The store cannot read them.
    pub async fn sweep(&self, batch: &mut Batch, then: Timestamp) -> Result<(), StoreError> {
        for (token, invitation) in INVITATIONS.all(&*self.0, &[]).await? {
            if invitation.expires < then {
                batch.delete(INVITATIONS.key(&token));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::MemoryStore;
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn secret() -> TokenSecret {
        TokenSecret::from_bytes([7; 32])
    }

    async fn invited() -> (Arc<MemoryStore>, Tokens, TokenId) {
        let store = Arc::new(MemoryStore::new());
        let tokens = Tokens::new(store.clone());
        let token = TokenId::from_bytes([1; 8]);
        let invitation = Invitation {
            token: token.clone(),
            secret_digest: hex::encode(secret().digest()),
            host: "web".parse().unwrap(),
            invited_by: "operator/admin/ada".to_owned(),
            created: at(0),
            expires: at(100),
            used: None,
        };
        let mut batch = Batch::new();
        tokens.add(&mut batch, &invitation).unwrap();
        store.commit(batch).await.unwrap();
        (store, tokens, token)
    }

    #[tokio::test]
    async fn a_token_that_is_forged_late_or_used_is_not_taken() {
        let (store, tokens, token) = invited().await;
        let (forged, other) = (TokenSecret::from_bytes([8; 32]), TokenId::from_bytes([2; 8]));
        let mut batch = Batch::new();

        let wrong_secret = tokens.burn(&mut batch, &token, &forged, at(1)).await;
        let wrong_id = tokens.burn(&mut batch, &other, &secret(), at(1)).await;
        let late = tokens.burn(&mut batch, &token, &secret(), at(100)).await;
        assert!(batch.is_empty());
        tokens.burn(&mut batch, &token, &secret(), at(99)).await.unwrap();
        store.commit(batch).await.unwrap();
        let again = tokens.burn(&mut Batch::new(), &token, &secret(), at(99)).await;

        assert!(matches!(wrong_secret, Err(TokenError::Unknown)));
        assert!(matches!(wrong_id, Err(TokenError::Unknown)));
        assert!(matches!(late, Err(TokenError::Expired { .. })));
        assert!(matches!(again, Err(TokenError::Used { used }) if used == at(99)));
    }

    #[tokio::test]
    async fn of_two_who_burn_a_token_at_once_one_gets_it() {
        let (store, tokens, token) = invited().await;
        let (mut one, mut other) = (Batch::new(), Batch::new());
        tokens.burn(&mut one, &token, &secret(), at(1)).await.unwrap();
        tokens.burn(&mut other, &token, &secret(), at(2)).await.unwrap();

        let outcomes = (store.commit(one).await, store.commit(other).await);

        assert!(outcomes.0.is_ok() && outcomes.1.unwrap_err().is_conflict());
    }

    #[tokio::test]
    async fn old_tokens_are_swept() {
        let (store, tokens, token) = invited().await;
        let mut batch = Batch::new();
        tokens.sweep(&mut batch, at(100)).await.unwrap();
        assert!(batch.is_empty());

        tokens.sweep(&mut batch, at(101)).await.unwrap();
        store.commit(batch).await.unwrap();

        let gone = tokens.burn(&mut Batch::new(), &token, &secret(), at(1)).await;
        assert!(matches!(gone, Err(TokenError::Unknown)));
    }
}
