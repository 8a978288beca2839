//! Certificate: what Lazarette reads in an X.509 certificate, and nothing more.

use std::{fmt, str::FromStr};

use jiff::Timestamp;
pub use rustls_pki_types::CertificateDer;
use rustls_pki_types::UnixTime;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use x509_parser::{
    certificate::X509Certificate,
    extensions::GeneralName,
    prelude::{FromDer as _, X509Error},
};

use crate::identity::{ParseSubjectError, Subject};

/// The serial number of a certificate, in lower-case hex.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Serial(String);

impl Serial {
    /// From the bytes of the number, big-endian; leading zeros do not count.
    pub fn from_bytes(bytes: &[u8]) -> Self {
        let first = bytes.iter().position(|&byte| byte != 0).unwrap_or(bytes.len());
        Self(hex::encode(bytes.get(first..).unwrap_or_default()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl From<Serial> for String {
    fn from(serial: Serial) -> Self {
        serial.0
    }
}

/// The text is not hex of the right length.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{}` is not {what}", text.escape_debug())]
pub struct ParseHexError {
    text: String,
    what: &'static str,
}

impl ParseHexError {
    fn new(text: &str, what: &'static str) -> Self {
        Self { text: text.chars().take(80).collect(), what }
    }
}

impl FromStr for Serial {
    type Err = ParseHexError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || ParseHexError::new(text, "a serial number: at most 40 hex digits");
        let bytes = hex::decode(text).ok().filter(|bytes| (1..=20).contains(&bytes.len()));
        Ok(Self::from_bytes(&bytes.ok_or_else(wrong)?))
    }
}

impl TryFrom<String> for Serial {
    type Error = ParseHexError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

/// The SHA-256 of a public key (its `SubjectPublicKeyInfo`), in lower-case hex.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct KeyFingerprint([u8; 32]);

impl KeyFingerprint {
    /// Of the DER of a `SubjectPublicKeyInfo`.
    pub fn of_public_key(subject_public_key_info: &[u8]) -> Self {
        Self(Sha256::digest(subject_public_key_info).into())
    }

    /// Of the key in a certificate.
    ///
    /// # Errors
    /// The certificate cannot be read.
    pub fn of_certificate(certificate: &CertificateDer<'_>) -> Result<Self, CertificateError> {
        Ok(Self::of_public_key(parse(certificate)?.public_key().raw))
    }
}

impl fmt::Display for KeyFingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&hex::encode(self.0))
    }
}

impl fmt::Debug for KeyFingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyFingerprint({self})")
    }
}

impl From<KeyFingerprint> for String {
    fn from(fingerprint: KeyFingerprint) -> Self {
        hex::encode(fingerprint.0)
    }
}

impl FromStr for KeyFingerprint {
    type Err = ParseHexError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || ParseHexError::new(text, "a fingerprint: 64 hex digits");
        let bytes = hex::decode(text).ok().and_then(|bytes| bytes.try_into().ok());
        bytes.map(Self).ok_or_else(wrong)
    }
}

impl TryFrom<String> for KeyFingerprint {
    type Error = ParseHexError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

/// A certificate is not one of Lazarette's.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// It cannot be read.
    #[error("read the certificate")]
    Unreadable(#[source] x509_parser::nom::Err<X509Error>),
    /// It has no URI in its names, or more than one.
    #[error("the certificate has {0} URI names instead of one")]
    Names(usize),
    /// Its URI is not an identity.
    #[error("read the certificate's identity")]
    Identity(#[source] ParseSubjectError),
    /// Its dates are not of this calendar.
    #[error("read the certificate's dates")]
    Dates(#[source] jiff::Error),
}

/// What a certificate says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// Fleet and identity, from the one URI.
    pub subject: Subject,
    /// The number that the controller gave it.
    pub serial: Serial,
    /// Of the key that it certifies.
    pub key: KeyFingerprint,
    /// When it begins.
    pub not_before: Timestamp,
    /// When it ends.
    pub not_after: Timestamp,
}

impl Certificate {
    /// Reads one; whether to trust it is for others to say.
    ///
    /// # Errors
    /// It cannot be read, or does not name exactly one identity.
    pub fn read(der: &CertificateDer<'_>) -> Result<Self, CertificateError> {
        let certificate = parse(der)?;
        let validity = certificate.validity();
        let date = |seconds| Timestamp::from_second(seconds).map_err(CertificateError::Dates);
        Ok(Self {
            subject: only_uri(&certificate)?.parse().map_err(CertificateError::Identity)?,
            serial: Serial::from_bytes(certificate.raw_serial()),
            key: KeyFingerprint::of_public_key(certificate.public_key().raw),
            not_before: date(validity.not_before.timestamp())?,
            not_after: date(validity.not_after.timestamp())?,
        })
    }

    /// Whether its time is over.
    pub fn is_expired(&self, now: Timestamp) -> bool {
        now > self.not_after
    }

    /// When it is time for the next one: at half of its life.
    pub fn renewal(&self) -> Timestamp {
        let half = self.not_after.duration_since(self.not_before) / 2;
        self.not_before.saturating_add(half).unwrap_or(self.not_after)
    }

    pub(crate) fn end(&self) -> UnixTime {
        let seconds = u64::try_from(self.not_after.as_second()).unwrap_or_default();
        UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds))
    }
}

/// Whether a certificate is an authority's: one that signs others.
///
/// # Errors
/// It cannot be read.
pub fn is_authority(der: &CertificateDer<'_>) -> Result<bool, CertificateError> {
    Ok(parse(der)?.is_ca())
}

fn parse<'a>(der: &'a CertificateDer<'_>) -> Result<X509Certificate<'a>, CertificateError> {
    let (_, certificate) = X509Certificate::from_der(der).map_err(CertificateError::Unreadable)?;
    Ok(certificate)
}

fn only_uri<'a>(certificate: &X509Certificate<'a>) -> Result<&'a str, CertificateError> {
    let names = certificate
        .subject_alternative_name()
        .map_err(|error| CertificateError::Unreadable(x509_parser::nom::Err::Failure(error)))?;
    let mut uris = names.iter().flat_map(|names| &names.value.general_names).filter_map(uri);
    match (uris.next(), uris.count()) {
        (Some(uri), 0) => Ok(uri),
        (first, more) => Err(CertificateError::Names(usize::from(first.is_some()) + more)),
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "only URIs matter, whatever else there is")]
fn uri<'a>(name: &GeneralName<'a>) -> Option<&'a str> {
    match name {
        GeneralName::URI(uri) => Some(uri),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_serial_and_a_fingerprint_round_trip_through_their_text() {
        let serial = Serial::from_bytes(&[0, 0, 0xAB, 1]);
        assert_eq!(serial.as_str(), "ab01");
        assert_eq!("00AB01".parse::<Serial>().unwrap(), serial);
        let key = KeyFingerprint::of_public_key(b"key");
        assert_eq!(key.to_string().parse::<KeyFingerprint>().unwrap(), key);
        assert!("xyz".parse::<Serial>().is_err());
        assert!("ab".parse::<KeyFingerprint>().is_err());
    }
}
