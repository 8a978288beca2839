//! Issue: certificates for the controller, for operators and for agents.

use std::{net::IpAddr, time::Duration};

use jiff::Timestamp;
use lazarette_core::{id::HostId, name::OperatorName, role::Role};
use lazarette_node::{
    certificate::{Certificate, CertificateDer},
    credentials::Credentials,
    identity::{Identity, Subject},
};
use rcgen::{
    CertificateParams, CertificateSigningRequestParams, ExtendedKeyUsagePurpose, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PKCS_ED25519, PublicKeyData, SanType,
};

use super::{
    Authority, PkiError,
    authority::{SKEW, params, rcgen_failed},
};

/// An agent's certificate; it is renewed at half of it.
pub const AGENT_LIFE: Duration = Duration::from_hours(365 * 24);
/// An operator's certificate.
pub const OPERATOR_LIFE: Duration = Duration::from_hours(90 * 24);
/// The controller's certificate; made anew at a start after half of it.
pub const CONTROLLER_LIFE: Duration = Duration::from_hours(365 * 24);

/// A request with a P-256 key is some 300 bytes.
const REQUEST_LIMIT_BYTES: usize = 4096;

/// A certificate for a key that is not here.
#[derive(Clone, Debug)]
pub struct Issued {
    /// To be sent back.
    pub der: CertificateDer<'static>,
    /// What it says.
    pub certificate: Certificate,
}

/// When a certificate was issued, to the second: it begins a little earlier.
pub fn issued(certificate: &Certificate) -> Timestamp {
    certificate.not_before.saturating_add(SKEW).unwrap_or(Timestamp::MAX)
}

impl Authority {
    /// Credentials for the controller. `names` are where it can be reached, for tools that look at
    /// names; agents and `ctl` believe the identity only.
    ///
    /// # Errors
    /// A name cannot stand in a certificate.
    pub fn issue_controller(
        &self,
        names: &[String],
        now: Timestamp,
    ) -> Result<Credentials, PkiError> {
        let mut params = self.params(Identity::Controller, CONTROLLER_LIFE, now)?;
        let always = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
        for name in always.iter().chain(names) {
            params.subject_alt_names.push(alternative_name(name)?);
        }
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.with_new_key(&params)
    }

    /// Credentials for an operator.
    ///
    /// # Errors
    /// The certificate cannot be made.
    pub fn issue_operator(
        &self,
        name: OperatorName,
        role: Role,
        now: Timestamp,
    ) -> Result<Credentials, PkiError> {
        let params = self.params(Identity::Operator { name, role }, OPERATOR_LIFE, now)?;
        self.with_new_key(&params)
    }

    /// A certificate for the agent of `host`, first or renewed: of its request (DER), only the
    /// public key is used, once the request proves that its sender has the key.
    ///
    /// # Errors
    /// The request is damaged or not signed with its key, or the key is of another kind.
    pub fn certify_agent(
        &self,
        request: &[u8],
        host: HostId,
        now: Timestamp,
    ) -> Result<Issued, PkiError> {
        let key = requested_key(request)?;
        let params = self.params(Identity::Agent { host }, AGENT_LIFE, now)?;
        let made = params
            .signed_by(&key, self.issuer())
            .map_err(rcgen_failed("sign the agent's certificate"))?;
        let der = made.der().clone();
        let certificate = Certificate::read(&der).map_err(PkiError::ReadBack)?;
        Ok(Issued { der, certificate })
    }

    fn params(
        &self,
        identity: Identity,
        life: Duration,
        now: Timestamp,
    ) -> Result<CertificateParams, PkiError> {
        let mut params = params(now, life)?;
        let uri = Subject { fleet: self.fleet(), identity }.to_string();
        let uri = uri.try_into().map_err(rcgen_failed("name the bearer of the certificate"))?;
        params.subject_alt_names = vec![SanType::URI(uri)];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        Ok(params)
    }

    fn with_new_key(&self, params: &CertificateParams) -> Result<Credentials, PkiError> {
        let key = KeyPair::generate().map_err(rcgen_failed("make a key"))?;
        let made =
            params.signed_by(&key, self.issuer()).map_err(rcgen_failed("sign a certificate"))?;
        let key = zeroize::Zeroizing::new(key.serialize_pem());
        Credentials::new(&key, vec![made.der().clone()], vec![self.certificate().clone()])
            .map_err(PkiError::Credentials)
    }
}

fn alternative_name(name: &str) -> Result<SanType, PkiError> {
    match name.parse::<IpAddr>() {
        Ok(address) => Ok(SanType::IpAddress(address)),
        Err(_no_address) => {
            let name = name.try_into().map_err(rcgen_failed("put a name into the certificate"))?;
            Ok(SanType::DnsName(name))
        }
    }
}

fn requested_key(request: &[u8]) -> Result<impl PublicKeyData, PkiError> {
    if request.len() > REQUEST_LIMIT_BYTES {
        return Err(PkiError::Key("the request is too long"));
    }
    let request = CertificateSigningRequestParams::from_der(&request.into())
        .map_err(rcgen_failed("read the request for a certificate"))?;
    let key = request.public_key;
    // The algorithm is that of the signature; the length tells the curve of the key.
    let p256 = key.algorithm() == &PKCS_ECDSA_P256_SHA256 && key.der_bytes().len() == 65;
    let ed25519 = key.algorithm() == &PKCS_ED25519 && key.der_bytes().len() == 32;
    if p256 || ed25519 { Ok(key) } else { Err(PkiError::Key("it must be ECDSA P-256 or Ed25519")) }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt as _;

    use lazarette_core::{error::chain, id::FleetId};
    use lazarette_node::{key_request::KeyRequest, token::Token};

    use super::super::{AUTHORITY_FILE, new_token};
    use super::*;

    fn now() -> Timestamp {
        "2026-03-01T12:00:00Z".parse().unwrap()
    }

    fn authority() -> (tempfile::TempDir, Authority) {
        let directory = tempfile::tempdir().unwrap();
        let authority = Authority::create(directory.path(), FleetId::new(), now()).unwrap();
        (directory, authority)
    }

    #[test]
    fn an_authority_is_the_same_after_it_is_loaded_again() {
        let (directory, made) = authority();

        let loaded = Authority::load(directory.path()).unwrap();

        assert_eq!(loaded.fleet(), made.fleet());
        assert_eq!(loaded.fingerprint(), made.fingerprint());
        let credentials = loaded.issue_controller(&[], now()).unwrap();
        assert_eq!(credentials.authority_fingerprint().unwrap(), made.fingerprint());
        let mode = fs::metadata(directory.path().join(AUTHORITY_FILE)).unwrap().permissions();
        assert_eq!(mode.mode() & 0o777, 0o600);
    }

    #[test]
    fn a_second_authority_never_takes_the_place_of_the_first() {
        let (directory, made) = authority();
        assert!(Authority::create(directory.path(), FleetId::new(), now()).is_err());
        assert_eq!(Authority::load(directory.path()).unwrap().fingerprint(), made.fingerprint());
    }

    #[test]
    fn an_authority_that_others_can_read_is_refused_with_the_way_out() {
        let (directory, _) = authority();
        let path = directory.path().join(AUTHORITY_FILE);
        fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();

        let error = chain(&Authority::load(directory.path()).unwrap_err());

        assert!(error.contains(&format!("chmod 600 {}", path.display())), "{error}");
    }

    #[test]
    fn a_damaged_authority_is_refused() {
        let (directory, _) = authority();
        let (_other_directory, other) = authority();
        let path = directory.path().join(AUTHORITY_FILE);
        let text = fs::read_to_string(&path).unwrap();
        let (key, _) = text.split_once("-----BEGIN CERTIFICATE").unwrap();
        for damaged in ["", key, &text.replacen("MIG", "MIH", 1), &text.replacen("MII", "MIG", 1)] {
            fs::write(&path, damaged).unwrap();
            assert!(Authority::load(directory.path()).is_err());
        }
        let foreign = pem_of(other.certificate());
        fs::write(&path, format!("{key}{foreign}")).unwrap();
        assert!(Authority::load(directory.path()).is_err());
    }

    fn pem_of(der: &[u8]) -> String {
        use base64::{Engine as _, engine::general_purpose::STANDARD};
        format!(
            "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n",
            STANDARD.encode(der)
        )
    }

    #[test]
    fn certificates_say_who_their_bearer_is_and_how_long() {
        let (_directory, authority) = authority();
        let operator = Identity::Operator { name: "ada".parse().unwrap(), role: Role::Restorer };
        let issued = authority.issue_operator("ada".parse().unwrap(), Role::Restorer, now());
        let issued = issued.unwrap();

        let certificate = issued.certificate();
        assert_eq!(certificate.subject, Subject { fleet: authority.fleet(), identity: operator });
        assert!(!certificate.is_expired(now() + OPERATOR_LIFE));
        assert!(certificate.is_expired(now() + OPERATOR_LIFE + Duration::from_secs(1)));
        assert!(certificate.not_before < now() && certificate.renewal() < certificate.not_after);
        assert_eq!(super::issued(certificate), now());

        let again = Credentials::from_pem(&issued.to_pem()).unwrap();
        assert_eq!(again.certificate(), certificate);
        let other = authority.issue_controller(&["vault.example.org".to_owned()], now()).unwrap();
        assert_eq!(other.certificate().subject.identity, Identity::Controller);
        assert_ne!(other.certificate().serial, certificate.serial);
    }

    #[test]
    fn of_a_request_only_the_public_key_is_used() {
        let (_directory, authority) = authority();
        let host = HostId::new();
        let key = KeyPair::generate().unwrap();
        let mut greedy = CertificateParams::new(["controller.example".to_owned()]).unwrap();
        let uri = Subject { fleet: authority.fleet(), identity: Identity::Controller }.to_string();
        greedy.subject_alt_names.push(SanType::URI(uri.try_into().unwrap()));
        greedy.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let request = greedy.serialize_request(&key).unwrap();

        let issued = authority.certify_agent(request.der(), host, now()).unwrap();

        assert_eq!(issued.certificate.subject.identity, Identity::Agent { host });
        assert!(!issued.der.windows(18).any(|bytes| bytes == b"controller.example"));
        let pem = key.serialize_pem();
        let authorities = vec![authority.certificate().clone()];
        assert!(Credentials::new(&pem, vec![issued.der], authorities).is_ok());
    }

    /// The name of the signature's algorithm, in DER.
    const ECDSA_WITH_SHA256: [u8; 8] = [0x2A, 0x86, 0x48, 0xCE, 0x3D, 4, 3, 2];

    #[test]
    fn a_request_that_is_not_signed_with_its_key_is_refused() {
        let (_directory, authority) = authority();
        let request = KeyRequest::generate().unwrap();
        let certify = |der: &[u8]| authority.certify_agent(der, HostId::new(), now());
        assert!(certify(request.request_der()).is_ok());
        let whole = request.request_der();
        let oid = whole.windows(8).position(|bytes| bytes == ECDSA_WITH_SHA256).unwrap();
        // Two bytes are not signed, and the parser passes over them: the tag of this word, and how
        // many of the last bits of the signature do not count, where those are 0.
        let passed_over = [oid - 2, oid + ECDSA_WITH_SHA256.len() + 2];
        for position in (0..whole.len()).filter(|position| !passed_over.contains(position)) {
            let mut forged = whole.to_vec();
            forged[position] ^= 1;
            assert!(certify(&forged).is_err(), "byte {position}");
        }
        assert!(certify(&[]).is_err());
        assert!(certify(&vec![0x30; REQUEST_LIMIT_BYTES + 1]).is_err());
    }

    #[test]
    fn a_request_with_a_key_of_another_curve_is_refused() {
        let (_directory, authority) = authority();
        let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
        let request = CertificateParams::default().serialize_request(&key).unwrap();
        assert!(authority.certify_agent(request.der(), HostId::new(), now()).is_err());
    }

    #[test]
    fn a_token_names_the_authority_and_no_two_are_alike() {
        let (_directory, authority) = authority();
        let token = || new_token(&authority, "10.0.0.1:7443".parse().unwrap()).unwrap();
        let (one, two) = (token(), token());
        assert_ne!(one.secret.digest(), two.secret.digest());
        assert_ne!(one.id, two.id);
        let read: Token = one.reveal().parse().unwrap();
        assert_eq!(read.authority, authority.fingerprint());
    }
}
