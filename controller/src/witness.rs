//! Witness: hears of every call. What was refused goes into the audit log, and so does, to the
//! hour, which credentials of operators are in use.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use jiff::{SignedDuration, Timestamp};
use lazarette_core::error::{Failure, Kind, Reason, chain};
use lazarette_node::{
    audit::{Audit, Call, LogAudit},
    certificate::{Certificate, Serial},
    clock::Clock,
    identity::Identity,
    peer::PeerInfo,
    rate::{Rate, Rates, network},
};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::{
    pki,
    store::{
        Batch, StoreError,
        audit::{Act, Audit as Log},
        credentials::{Credential, Credentials},
    },
};

/// What waits to be written; more is only counted.
const WAITING: usize = 256;
/// Each caller's refusals that have an entry of their own; more are only counted, so that nobody
/// fills the log.
const REFUSALS: Rate = Rate { burst: 100, every: Duration::from_secs(10) };
/// After so long without a refusal, those without an entry are written down as a number.
const QUIET: Duration = Duration::from_mins(1);
/// The callers that are told apart at once.
const CALLERS: usize = 10_000;
/// The longest account of a refusal, in characters.
const ACCOUNT: usize = 300;
/// How often a credential that is in use is written down.
const SEEN_EVERY: SignedDuration = SignedDuration::from_hours(1);

/// Hears of every call, and passes on what matters.
#[derive(Debug)]
pub struct Witness {
    notes: mpsc::Sender<Note>,
    rates: Rates<Bearer>,
    unlisted: AtomicU64,
    seen: Mutex<HashMap<Serial, Timestamp>>,
    clock: Arc<dyn Clock>,
}

/// Who is told apart from whom.
#[derive(Debug, PartialEq, Eq, Hash)]
enum Bearer {
    Certificate(Serial),
    Network(IpAddr),
    Nobody,
}

/// What is to be written.
#[derive(Debug)]
enum Note {
    Refused(Act),
    Seen(Arc<Certificate>, Timestamp),
}

/// Writes what the witness has heard.
#[derive(Debug)]
pub struct Clerk {
    notes: mpsc::Receiver<Note>,
    witness: Arc<Witness>,
    log: Log,
    credentials: Credentials,
}

/// A witness, and the clerk who writes for it.
pub fn pair(clock: Arc<dyn Clock>, log: Log, credentials: Credentials) -> (Arc<Witness>, Clerk) {
    let (sender, notes) = mpsc::channel(WAITING);
    let rates = Rates::new(REFUSALS, CALLERS);
    let (unlisted, seen) = (AtomicU64::new(0), Mutex::default());
    let witness = Arc::new(Witness { notes: sender, rates, unlisted, seen, clock });
    let clerk = Clerk { notes, witness: Arc::clone(&witness), log, credentials };
    (witness, clerk)
}

impl Audit for Witness {
    fn hear(&self, call: Call<'_>) {
        LogAudit.hear(call);
        match (call.refused, call.peer) {
            (Some(failure), peer) if is_entered(peer, failure.reason) => {
                let rated = self.rates.take(bearer(peer), Instant::now()).is_ok();
                let act = || self.act(call.method, peer, failure);
                if !rated || self.notes.try_send(Note::Refused(act())).is_err() {
                    self.unlisted.fetch_add(1, Ordering::Relaxed);
                }
            }
            (None, Some(peer)) => self.see(peer),
            (Some(_) | None, _) => {}
        }
    }
}

impl Witness {
    fn act(&self, method: &str, peer: Option<&PeerInfo>, failure: &Failure) -> Act {
        let call = method.rsplit('/').next().unwrap_or_default();
        let from = match peer {
            Some(peer) if peer.certificate.is_none() => format!(" from {}", peer.address.ip()),
            Some(_) | None => String::new(),
        };
        let what = format!("{call}{from}: {}", failure.message);
        Act {
            at: self.clock.now(),
            who: who(peer),
            certificate: peer
                .and_then(PeerInfo::serial)
                .map(ToString::to_string)
                .unwrap_or_default(),
            what: what.chars().take(ACCOUNT).flat_map(char::escape_debug).collect(),
            refused: Some(failure.reason.to_string()),
        }
    }

    /// Notes that an operator's credential is in use, once an hour.
    fn see(&self, peer: &PeerInfo) {
        let Some(certificate) = &peer.certificate else { return };
        if !matches!(certificate.subject.identity, Identity::Operator { .. }) {
            return;
        }
        let now = self.clock.now();
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let is_new = |last: &Timestamp| now.duration_since(*last) >= SEEN_EVERY;
        if !seen.get(&certificate.serial).is_none_or(is_new) {
            return;
        }
        if seen.len() >= CALLERS {
            seen.retain(|_, last| now.duration_since(*last) < SEEN_EVERY);
        }
        if self.notes.try_send(Note::Seen(Arc::clone(certificate), now)).is_ok() {
            seen.insert(certificate.serial.clone(), now);
        }
    }
}

impl Clerk {
    /// Writes until cancelled; then what is left.
    pub async fn run(mut self, cancel: CancellationToken) {
        loop {
            let note = tokio::time::timeout(QUIET, self.notes.recv());
            match cancel.run_until_cancelled(note).await {
                Some(Ok(Some(note))) => self.write(note).await,
                Some(Err(_quiet)) => self.count().await,
                Some(Ok(None)) | None => break,
            }
        }
        self.notes.close();
        while let Some(note) = self.notes.recv().await {
            self.write(note).await;
        }
        self.count().await;
    }

    /// Writes down how many refusals have no entry, if any.
    async fn count(&self) {
        let unlisted = self.witness.unlisted.swap(0, Ordering::Relaxed);
        if unlisted == 0 {
            return;
        }
        let act = Act {
            at: self.witness.clock.now(),
            who: "controller".to_owned(),
            certificate: String::new(),
            what: format!("{unlisted} more calls were refused that have no entry"),
            refused: Some(Reason::LimitReached.to_string()),
        };
        written(self.log.record(&act, &Batch::new()).await.map(drop));
    }

    async fn write(&self, note: Note) {
        let (certificate, at) = match note {
            Note::Refused(act) => {
                self.count().await;
                return written(self.log.record(&act, &Batch::new()).await.map(drop));
            }
            Note::Seen(certificate, at) => (certificate, at),
        };
        if let Identity::Operator { name, role } = &certificate.subject.identity {
            let life = (pki::issued(&certificate), certificate.not_after);
            let credential = Credential::seen(name.clone(), *role, life);
            written(self.credentials.saw(&certificate.serial, &credential, at).await);
        }
    }
}

fn written(outcome: Result<(), StoreError>) {
    if let Err(error) = outcome {
        tracing::error!(error = chain(&error), "what was heard cannot be written down");
    }
}

/// The identity of a caller, for records: `admin/eve`, `agent/host-…`.
pub fn who(peer: Option<&PeerInfo>) -> String {
    match peer.and_then(PeerInfo::identity) {
        Some(Identity::Operator { name, role }) => format!("{role}/{name}"),
        Some(identity) => identity.to_string(),
        None => "nobody".to_owned(),
    }
}

fn bearer(peer: Option<&PeerInfo>) -> Bearer {
    match (peer.and_then(PeerInfo::serial), peer) {
        (Some(serial), _) => Bearer::Certificate(serial.clone()),
        (None, Some(peer)) => Bearer::Network(network(peer.address.ip())),
        (None, None) => Bearer::Nobody,
    }
}

/// Whether a refusal has an entry: what somebody may not do, and what no agent of ours asks for.
/// That an operator mistypes a name is none of it, nor is a disk that is full.
fn is_entered(peer: Option<&PeerInfo>, reason: Reason) -> bool {
    let is_operator = peer
        .and_then(PeerInfo::identity)
        .is_some_and(|identity| matches!(identity, Identity::Operator { .. }));
    match reason.kind() {
        Kind::Denied => true,
        Kind::Invalid | Kind::NotFound | Kind::Conflict => !is_operator,
        Kind::Damaged => matches!(reason, Reason::PackRefused | Reason::DumpInvalid),
        Kind::Exhausted => {
            // Somebody without a certificate who tries too often is not given a page for it.
            reason == Reason::LimitReached && peer.is_some_and(|peer| peer.host().is_some())
        }
        Kind::NotReady | Kind::Cancelled | Kind::Internal => false,
    }
}

#[cfg(test)]
mod tests {
    use lazarette_core::{id::FleetId, id::HostId, role::Role};
    use lazarette_node::{
        certificate::KeyFingerprint, clock::SettableClock, identity::Subject, protocol::Protocol,
    };

    use super::*;
    use crate::store::{MemoryStore, Store};

    fn peer(identity: impl Into<Option<Identity>>) -> PeerInfo {
        let identity = identity.into();
        let of = |identity: Identity| Certificate {
            serial: Serial::from_bytes(&[identity.to_string().len().to_be_bytes()[7]]),
            subject: Subject { fleet: FleetId::new(), identity },
            key: KeyFingerprint::of_public_key(b"key"),
            not_before: Timestamp::UNIX_EPOCH,
            not_after: Timestamp::MAX,
        };
        let certificate = identity.map(|identity| Arc::new(of(identity)));
        let address = "10.0.0.7:1".parse().unwrap();
        PeerInfo { certificate, protocol: Protocol::Calls, address }
    }

    fn eve() -> Identity {
        Identity::Operator { name: "eve".parse().unwrap(), role: Role::Viewer }
    }

    fn agent() -> Identity {
        Identity::Agent { host: HostId::new() }
    }

    /// What is in the log, oldest first, and which credentials are known, after these calls.
    async fn written(
        calls: &[(&PeerInfo, &str, Option<Reason>)],
    ) -> (Vec<Act>, Vec<(Serial, Credential)>) {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
        let clock = Arc::new(SettableClock::new(Timestamp::UNIX_EPOCH));
        let log = Log::new(Arc::clone(&store));
        let credentials = Credentials::new(Arc::clone(&store));
        let (witness, clerk) = pair(clock, log.clone(), credentials.clone());
        for (peer, method, reason) in calls {
            let failure = reason.map(|reason| Failure::new(reason, "no\u{1b}[2J"));
            witness.hear(Call { method, peer: Some(peer), refused: failure.as_ref() });
        }
        let over = CancellationToken::new();
        over.cancel();
        clerk.run(over).await;
        let mut acts: Vec<_> =
            log.list(None, 1000).await.unwrap().into_iter().map(|it| it.act).collect();
        acts.reverse();
        (acts, credentials.list().await.unwrap())
    }

    #[tokio::test]
    async fn each_refusal_has_one_entry_that_no_terminal_obeys() {
        let (viewer, agent, nobody) = (peer(eve()), peer(agent()), peer(None));
        let (acts, _) = written(&[
            (&viewer, "/x.RunService/StartBackup", Some(Reason::RoleDenied)),
            (&agent, "/x.StorageService/ReportPack", Some(Reason::PackRefused)),
            (&agent, "/x.StorageService/ReportPack", Some(Reason::PackRefused)),
            (&nobody, "/x.EnrollmentService/Enroll", Some(Reason::TokenRefused)),
        ])
        .await;

        assert_eq!(acts.len(), 4);
        assert_eq!((acts[0].who.as_str(), acts[0].certificate.as_str()), ("viewer/eve", "13"));
        assert_eq!(acts[0].what, "StartBackup: no\\u{1b}[2J");
        assert_eq!(acts[1].refused.as_deref(), Some("PACK_REFUSED"));
        assert_eq!(acts[3].what, "Enroll from 10.0.0.7: no\\u{1b}[2J");
    }

    #[tokio::test]
    async fn mistakes_of_operators_and_outages_have_none() {
        let (viewer, agent, nobody) = (peer(eve()), peer(agent()), peer(None));
        let (acts, _) = written(&[
            (&viewer, "/x/GetStack", Some(Reason::StackUnknown)),
            (&viewer, "/x/GetStack", Some(Reason::InvalidInput)),
            (&agent, "/x/PutPack", Some(Reason::DiskFull)),
            (&agent, "/x/PutPack", Some(Reason::StorageUnavailable)),
            (&agent, "/x/ReadPack", Some(Reason::RepositoryDamaged)),
            (&nobody, "/x/Enroll", Some(Reason::LimitReached)),
            (&agent, "/x/PutPack", None),
        ])
        .await;
        assert_eq!(acts, []);
    }

    #[tokio::test]
    async fn a_flood_is_counted_and_does_not_fill_the_log() {
        let agent = peer(agent());
        let flood = vec![(&agent, "/x/KnownBlobs", Some(Reason::PolicyDenied)); 5000];
        let other = peer(eve());
        let refused = [(&other, "/x/StartRestore", Some(Reason::RoleDenied))];

        let (acts, _) = written(&[&flood[..], &refused].concat()).await;

        assert!(acts.len() <= 102, "{}", acts.len());
        let counted = acts.iter().find(|act| act.what.contains("more calls")).unwrap();
        assert_eq!(counted.what, "4900 more calls were refused that have no entry");
        assert!(acts.iter().any(|act| act.who == "viewer/eve"), "others are still entered");
    }

    #[tokio::test]
    async fn a_credential_in_use_is_kept_once_an_hour() {
        let (operator, agent) = (peer(eve()), peer(agent()));
        let calls = [(&operator, "/x/ListHosts", None); 3];

        let (_, credentials) =
            written(&[&calls[..], &[(&agent, "/x/PutPack", None)]].concat()).await;

        assert_eq!(credentials.len(), 1);
        assert_eq!((credentials[0].0.as_str(), credentials[0].1.role.as_str()), ("13", "viewer"));
        assert_eq!(credentials[0].1.issued.as_second(), 300);
    }
}
