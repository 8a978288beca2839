//! Key request: a key made here, and the request to certify it. The key never leaves this machine.

use rcgen::{CertificateParams, DistinguishedName, KeyPair};
use zeroize::Zeroizing;

/// A key could not be made.
#[derive(Debug, thiserror::Error)]
#[error("make a key")]
pub struct KeyRequestError(#[source] rcgen::Error);

/// A fresh key and its certificate signing request.
pub struct KeyRequest {
    key: Zeroizing<String>,
    request: Vec<u8>,
}

impl std::fmt::Debug for KeyRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("KeyRequest(…)")
    }
}

impl KeyRequest {
    /// Makes an ECDSA P-256 key and a request that names nobody: who it is for, the controller says.
    ///
    /// # Errors
    /// The machine has no randomness.
    pub fn generate() -> Result<Self, KeyRequestError> {
        let key = KeyPair::generate().map_err(KeyRequestError)?;
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        let request = params.serialize_request(&key).map_err(KeyRequestError)?;
        Ok(Self { key: Zeroizing::new(key.serialize_pem()), request: request.der().to_vec() })
    }

    /// The key, as PEM (PKCS#8).
    pub fn key_pem(&self) -> &str {
        &self.key
    }

    /// The request, as DER (PKCS#10).
    pub fn request_der(&self) -> &[u8] {
        &self.request
    }
}
