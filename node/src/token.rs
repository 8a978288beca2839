//! Token: what a host shows once to be enrolled, and what tells it the true controller.

use std::{fmt, str::FromStr};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::{address::Address, certificate::KeyFingerprint};

const VERSION: &str = "v1";

/// Which token it is; no secret.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TokenId(String);

impl TokenId {
    /// From random bytes.
    pub fn from_bytes(bytes: [u8; 8]) -> Self {
        Self(hex::encode(bytes))
    }

    /// The text: 16 hex digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl From<TokenId> for String {
    fn from(id: TokenId) -> Self {
        id.0
    }
}

impl FromStr for TokenId {
    type Err = ParseTokenError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bytes = hex::decode(text).ok().and_then(|bytes| bytes.try_into().ok());
        bytes.map(Self::from_bytes).ok_or(ParseTokenError("its id"))
    }
}

impl TryFrom<String> for TokenId {
    type Error = ParseTokenError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

/// The secret of a token. Shown in no log.
#[derive(Clone)]
pub struct TokenSecret(Zeroizing<[u8; 32]>);

impl TokenSecret {
    /// From random bytes.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// Its SHA-256: the only thing of it that is stored.
    pub fn digest(&self) -> [u8; 32] {
        Sha256::digest(self.0.as_slice()).into()
    }

    /// As it is written in a token and sent to the controller.
    pub fn reveal(&self) -> Zeroizing<String> {
        Zeroizing::new(URL_SAFE_NO_PAD.encode(self.0.as_slice()))
    }
}

impl fmt::Debug for TokenSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenSecret(…)")
    }
}

impl FromStr for TokenSecret {
    type Err = ParseTokenError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bytes = Zeroizing::new(URL_SAFE_NO_PAD.decode(text).unwrap_or_default());
        let bytes = bytes.as_slice().try_into().ok();
        bytes.map(Self::from_bytes).ok_or(ParseTokenError("its secret"))
    }
}

/// `v1.<id>.<secret>.<fingerprint of the authority's key>.<address of the controller>`.
#[derive(Clone, Debug)]
pub struct Token {
    /// Which token it is.
    pub id: TokenId,
    /// What proves that the bearer was invited.
    pub secret: TokenSecret,
    /// The key of the authority that the controller's certificate must come from.
    pub authority: KeyFingerprint,
    /// Where the controller listens.
    pub controller: Address,
}

impl Token {
    /// The whole token, secret included: for the one who asked for it.
    pub fn reveal(&self) -> Zeroizing<String> {
        let Self { id, secret, authority, controller } = self;
        let secret = secret.reveal();
        Zeroizing::new(format!("{VERSION}.{id}.{}.{authority}.{controller}", secret.as_str()))
    }
}

/// The text is not a token. Does not repeat the text, which may hold a secret.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "that is not a token: {0} cannot be read; copy the whole line that `ctl host invite` printed"
)]
pub struct ParseTokenError(&'static str);

impl FromStr for Token {
    type Err = ParseTokenError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut parts = text.trim().splitn(5, '.');
        let mut next = |what| parts.next().ok_or(ParseTokenError(what));
        if next("its version")? != VERSION {
            return Err(ParseTokenError("its version"));
        }
        Ok(Self {
            id: next("its id")?.parse()?,
            secret: next("its secret")?.parse()?,
            authority: next("its fingerprint")?
                .parse()
                .map_err(|_not_hex| ParseTokenError("its fingerprint"))?,
            controller: next("its address")?
                .parse()
                .map_err(|_no_address| ParseTokenError("its address"))?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(controller: &str) -> Token {
        Token {
            id: TokenId::from_bytes([1; 8]),
            secret: TokenSecret::from_bytes([0xFB; 32]),
            authority: KeyFingerprint::of_public_key(b"authority"),
            controller: controller.parse().unwrap(),
        }
    }

    #[test]
    fn a_token_round_trips_through_its_text() {
        for controller in ["10.1.2.3:7443", "[fe80::1]:7443", "vault.example.org:7443"] {
            let text = token(controller).reveal();
            let read: Token = format!(" {}\n", text.as_str()).parse().unwrap();
            assert_eq!(read.reveal(), text);
            assert_eq!(read.secret.digest(), token(controller).secret.digest());
        }
    }

    #[test]
    fn a_broken_token_is_refused_with_the_part_that_is_wrong_and_without_the_secret() {
        let whole = token("10.1.2.3:7443").reveal();
        for (broken, part) in [
            (String::new(), "version"),
            (whole.replacen("v1", "v2", 1), "version"),
            (whole.replacen("0101", "01", 1), "id"),
            (whole.replacen("-_v7", "", 1), "secret"),
            (whole.replacen("7443", "", 1), "address"),
            (whole.chars().take(100).collect(), "fingerprint"),
        ] {
            let error = broken.parse::<Token>().unwrap_err().to_string();
            assert!(error.contains(part), "{broken}: {error}");
            assert!(!error.contains("-_v7"), "{error}");
        }
    }

    #[test]
    fn a_secret_is_not_in_what_debug_prints() {
        let token = token("10.1.2.3:7443");
        assert!(!format!("{token:?}").contains(token.secret.reveal().as_str()));
    }
}
