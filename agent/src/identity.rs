//! Identity: what enrolment left on this host: its credentials, and whom they are for.

use std::{
    fs, io,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
};

use lazarette_core::{id::HostId, name::HostName};
use lazarette_node::{
    address::Address,
    credentials::{Credentials, CredentialsError},
    durable::{self, DurableError},
};
use serde::{Deserialize, Serialize};

/// Who the controller is, and what it calls us.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Enrolled {
    /// Of this document; 1.
    pub format: u32,
    /// Where the controller listens.
    pub controller: Address,
    /// This host.
    pub host_id: HostId,
    /// What the controller called it at enrolment.
    pub host: HostName,
}

/// The identity of this host cannot be read or kept.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// This host has never been enrolled.
    #[error(
        "this host is not enrolled (there is no `{}`): on the controller, `ctl host invite NAME` \
         prints a token; here, run `lazarette-agent enroll TOKEN`", path.display()
    )]
    NotEnrolled {
        /// The file that is missing.
        path: PathBuf,
    },
    /// A file cannot be read.
    #[error("read `{}`", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file is not what enrolment wrote.
    #[error("understand `{}`", path.display())]
    Decode {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// The credentials cannot be used or kept.
    #[error("use the credentials of this host")]
    Credentials(#[source] CredentialsError),
    /// A file cannot be written.
    #[error("keep the identity of this host")]
    Write(#[source] DurableError),
}

/// Where the identity of a host is.
#[derive(Clone, Debug)]
pub struct IdentityDir(PathBuf);

impl IdentityDir {
    /// In a state directory.
    pub fn of(state_dir: &Path) -> Self {
        Self(state_dir.join("identity"))
    }

    /// The key, the certificate and the authority, in one file.
    pub fn credentials(&self) -> PathBuf {
        self.0.join("credentials.pem")
    }

    fn enrolled(&self) -> PathBuf {
        self.0.join("controller.json")
    }

    /// Whether this host has been enrolled: its credentials are written last.
    pub fn is_enrolled(&self) -> bool {
        self.credentials().exists()
    }

    /// Who the controller is.
    ///
    /// # Errors
    ///
    /// [`IdentityError`].
    pub fn load(&self) -> Result<Enrolled, IdentityError> {
        if !self.is_enrolled() {
            return Err(IdentityError::NotEnrolled { path: self.credentials() });
        }
        let path = self.enrolled();
        let text =
            fs::read(&path).map_err(|source| IdentityError::Read { path: path.clone(), source })?;
        serde_json::from_slice(&text).map_err(|source| IdentityError::Decode { path, source })
    }

    /// Writes everything down, the credentials last: only then is the host enrolled.
    ///
    /// # Errors
    ///
    /// [`IdentityError`]; the host is then not enrolled.
    pub fn save(
        &self,
        enrolled: &Enrolled,
        credentials: &Credentials,
    ) -> Result<(), IdentityError> {
        self.make()?;
        let path = self.enrolled();
        let text = serde_json::to_vec_pretty(enrolled)
            .map_err(|source| IdentityError::Decode { path: path.clone(), source })?;
        durable::write(&path, &text, 0o600).map_err(IdentityError::Write)?;
        credentials.save(&self.credentials()).map_err(IdentityError::Credentials)
    }

    /// Makes the directory, for root only.
    ///
    /// # Errors
    ///
    /// [`IdentityError::Read`].
    pub fn make(&self) -> Result<(), IdentityError> {
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.0);
        made.map_err(|source| IdentityError::Read { path: self.0.clone(), source })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_that_is_not_enrolled_is_told_how_to_be() {
        let dir = tempfile::tempdir().unwrap();
        let error = IdentityDir::of(dir.path()).load().unwrap_err();
        assert!(error.to_string().contains("ctl host invite"), "{error}");
    }

    #[test]
    fn what_enrolment_wrote_is_read_back() {
        let text = r#"{"format":1,"controller":"10.1.2.3:7443",
            "host_id":"host-0190a0b0c0d07000800000000000abcd","host":"host1"}"#;
        let enrolled: Enrolled = serde_json::from_str(text).unwrap();
        assert_eq!(enrolled.controller.to_string(), "10.1.2.3:7443");
    }
}
