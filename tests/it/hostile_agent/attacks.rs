//! Attacks: calls that no agent of ours makes, each with the reasons for which it may be refused.

use anyhow::Result;
use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use lazarette_core::error::Reason;
use lazarette_core::id::{RunId, StackId};
use lazarette_core::manifest::{MANIFEST_PATH, Manifest};
use lazarette_proto::storage::v1::put_pack_request::Part;
use lazarette_proto::storage::v1::{CommitSnapshotRequest, KnownBlobsRequest, PackHead};
use lazarette_repo::id::{BlobId, PackId};
use lazarette_repo::pack::PackEntry;
use lazarette_tests::hostile::{Forge, Forged, Granted, pack_of, pack_that_lies, parts};
use tonic::client::Grpc;
use tonic::{Request, Status};
use tonic_prost::ProstCodec;

/// One call.
pub(super) struct Attack {
    /// What is tried.
    pub(super) name: String,
    /// Why it is refused: one of these.
    pub(super) expected: &'static [Reason],
    /// The call.
    pub(super) call: BoxFuture<'static, Result<(), Status>>,
}

const DENIED: &[Reason] = &[Reason::PolicyDenied];
const INVALID: &[Reason] = &[Reason::InvalidInput];
const REFUSED: &[Reason] = &[Reason::PackRefused];
const NO_MANIFEST: &[Reason] = &[Reason::DumpInvalid];

/// Attacks being gathered.
struct List<'a> {
    forge: &'a Forge,
    attacks: Vec<Attack>,
}

impl<'a> List<'a> {
    fn new(forge: &'a Forge) -> Self {
        Self { forge, attacks: Vec::new() }
    }

    fn add<F, T>(
        &mut self,
        name: impl Into<String>,
        expected: &'static [Reason],
        call: impl FnOnce(Forge) -> F,
    ) where
        F: Future<Output = Result<T, Status>> + Send + 'static,
        T: 'static,
    {
        let call = call(self.forge.clone()).map(|answer| answer.map(drop)).boxed();
        self.attacks.push(Attack { name: name.into(), expected, call });
    }

    /// A pack sent in these parts.
    fn put(&mut self, name: &str, expected: &'static [Reason], parts: Vec<Part>) {
        self.add(name, expected, |forge| async move { forge.put_parts(parts).await });
    }

    /// A commit that is asked for after the packs of `forged` were sent as they should be.
    fn commit(
        &mut self,
        name: &str,
        expected: &'static [Reason],
        forged: Forged,
        change: impl FnOnce(&mut CommitSnapshotRequest) + Send + 'static,
    ) {
        self.add(name, expected, |forge| async move {
            for pack in &forged.packs {
                forge.put(pack).await?;
                forge.report(pack).await?;
            }
            let mut request = forge.commit_of(&forged);
            change(&mut request);
            forge.commit(request).await
        });
    }
}

/// What can be tried within a backup of one's own: `over` is another of one's runs.
pub(super) async fn in_a_backup(
    forge: &Forge,
    others: &Granted,
    over: &Granted,
) -> Result<Vec<Attack>> {
    let mut list = List::new(forge);
    names(&mut list, over);
    queries(&mut list);
    packs(&mut list).await?;
    reports(&mut list, over).await?;
    commits(&mut list, others).await?;
    Ok(list.attacks)
}

/// Runs that are none, or over.
fn names(list: &mut List<'_>, over: &Granted) {
    let of = |forge: Forge, run_id: String| async move {
        let request = KnownBlobsRequest { run_id, blob_ids: Bytes::new() };
        forge.client().known_blobs(request).await
    };
    let unknown = RunId::new().to_string();
    list.add("a run that nobody made", &[Reason::RunUnknown], |forge| of(forge, unknown));
    let over = over.run.to_string();
    list.add("a run of its own that is over", DENIED, |forge| of(forge, over));
    for name in ["", "../../etc/passwd", "run-;reboot", "run-\0", "RUN-", &"x".repeat(300)] {
        list.add(format!("the run {name:?}"), INVALID, |forge| of(forge, name.to_owned()));
    }
}

/// Questions that are not within a backup, or too many at once.
fn queries(list: &mut List<'_>) {
    list.add("locate within a backup", DENIED, |it| async move { it.locate(vec![0; 32]).await });
    let pack = PackId::of(b"any");
    list.add("read within a backup", DENIED, |it| async move { it.read(pack, 0, 1).await });
    list.add("an id that is cut", INVALID, |it| async move { it.known(vec![0; 33]).await });
    list.add("4097 ids", INVALID, |it| async move { it.known(vec![0; 4097 * 32]).await });
    list.add("two million ids", INVALID, |it| async move { it.known(vec![0; 64 << 20]).await });
    list.add("a message too big", INVALID, |it| async move { it.known(vec![0; 81 << 20]).await });
}

/// Packs that are not what they say.
async fn packs(list: &mut List<'_>) -> Result<()> {
    let run = list.forge.run();
    let made = list.forge.tree_of(&[("a", b"pack")]).await?;
    let Some(pack) = made.packs.first().cloned() else { return Ok(()) };
    let whole = parts(&run, &pack);
    let head = |size_bytes: u64| {
        let pack_id = Bytes::copy_from_slice(pack.id.as_bytes());
        Part::Head(PackHead { run_id: run.clone(), pack_id, size_bytes })
    };
    let chunk = |bytes: &'static [u8]| Part::Chunk(Bytes::from_static(bytes));
    list.put("a pack without a head", INVALID, whole.iter().skip(1).cloned().collect());
    list.put("nothing at all", INVALID, Vec::new());
    list.put("two heads", INVALID, vec![head(4), head(4)]);
    list.put("a pack longer than it says", INVALID, vec![head(3), chunk(b"four")]);
    list.put("a pack that ends early", INVALID, vec![head(5), chunk(b"four")]);
    list.put("a pack of 129 MiB", INVALID, vec![head(129 << 20)]);
    list.put("a pack of 2^64 bytes", INVALID, vec![head(u64::MAX)]);
    list.put("another content under that name", REFUSED, vec![head(4), chunk(b"four")]);
    let short = PackHead { run_id: run, pack_id: Bytes::from_static(&[7; 31]), size_bytes: 0 };
    list.put("a name of 31 bytes", INVALID, vec![Part::Head(short)]);
    Ok(())
}

type Lie = fn(&mut Vec<PackEntry>);

/// Changes the first entry of a report.
fn first(entries: &mut [PackEntry], change: fn(&mut PackEntry)) {
    entries.first_mut().into_iter().for_each(change);
}

/// Reports that lie (H23). What is reported was stored, where the attack is not that it was not.
async fn reports(list: &mut List<'_>, over: &Granted) -> Result<()> {
    let made = list.forge.tree_of(&[("b", b"one"), ("c", b"two"), ("d", b"three")]).await?;
    let data = made.packs.iter().find(|pack| pack.entries.len() > 2).cloned();
    let Some(pack) = data else { anyhow::bail!("the packs are other than expected: {made:?}") };
    let never = pack_of(&b"never stored"[..]);
    list.add("a pack that is not there", REFUSED, |it| async move { it.report(&never).await });
    let garbage = pack_of(vec![0xA5; 4096]);
    list.add("garbage as a pack", REFUSED, |it| async move {
        it.put(&garbage).await?;
        it.report(&garbage).await
    });
    // Its last four bytes say that all of it is a header.
    let header = [vec![0; 20 << 20], (20_u32 << 20).to_le_bytes().to_vec()].concat();
    let header = pack_of(header);
    list.add("a pack that is one huge header", REFUSED, |it| async move {
        it.put(&header).await?;
        it.report(&header).await
    });
    let lies: [(&str, Lie); 6] = [
        ("another blob than it holds", |it| first(it, |one| one.id = BlobId::of(b"another"))),
        ("its blobs in another order", |it| it.reverse()),
        ("fewer blobs", |it| it.truncate(1)),
        ("none", Vec::clear),
        ("a blob of 4 GiB", |it| first(it, |one| one.length = u32::MAX)),
        ("a blob that unpacks to 4 GiB", |it| first(it, |one| one.uncompressed = Some(u32::MAX))),
    ];
    for (name, lie) in lies {
        let (pack, mut entries) = (pack.clone(), pack.entries.clone());
        lie(&mut entries);
        list.add(format!("a report of {name}"), REFUSED, |it| async move {
            it.put(&pack).await?;
            it.report_as(pack.id, &entries).await
        });
    }
    // A true header, of a pack that is to take the place of what an older snapshot needs.
    let of_over = Forge::new(over.clone(), list.forge.channel());
    let older = of_over.backup(&of_over.manifest()?, b"what mallory saves").await?;
    let known = older.packs.iter().flat_map(|pack| &pack.entries).map(|entry| entry.id).next();
    let known = known.unwrap_or_else(|| BlobId::of(b""));
    let poison = pack_that_lies(&over.key, known, b"poison")?;
    list.add("a blob that the repository has", REFUSED, |it| async move {
        it.put(&poison).await?;
        it.report(&poison).await
    });
    Ok(())
}

/// Snapshots of what is not there, or is somebody else's.
async fn commits(list: &mut List<'_>, others: &Granted) -> Result<()> {
    let own = list.forge.manifest()?;
    let lies: [(&str, Manifest); 4] = [
        ("another's stack", Manifest { stack: others.stack, ..own.clone() }),
        ("a stack that nobody has", Manifest { stack: StackId::new(), ..own.clone() }),
        ("another's run", Manifest { run: others.run, ..own.clone() }),
        ("another's host", Manifest { host_name: others.host.clone(), ..own.clone() }),
    ];
    for (name, manifest) in lies {
        let forged = list.forge.backup(&manifest, name.as_bytes()).await?;
        list.commit(&format!("a snapshot of {name}"), REFUSED, forged, |_| {});
    }
    let newer = list.forge.backup(&Manifest { format: 99, ..own.clone() }, b"newer").await?;
    list.commit("a manifest of a newer format", NO_MANIFEST, newer, |_| {});
    let none = list.forge.tree_of(&[("loot", b"and no manifest")]).await?;
    list.commit("a snapshot without a manifest", NO_MANIFEST, none, |_| {});
    let text = list.forge.tree_of(&[(MANIFEST_PATH, b"{\"format\":1")]).await?;
    list.commit("a manifest that is none", NO_MANIFEST, text, |_| {});

    let good = list.forge.backup(&own, b"good").await?;
    let nowhere = Bytes::copy_from_slice(BlobId::of(b"nowhere").as_bytes());
    let missing = nowhere.clone();
    list.commit("a tree that is not there", REFUSED, good.clone(), |it| it.tree = missing);
    let file = good.packs.iter().flat_map(|pack| &pack.entries).next().map(|entry| entry.id);
    let file = Bytes::copy_from_slice(file.unwrap_or_else(|| BlobId::of(b"")).as_bytes());
    let is_no_tree = &[Reason::DumpInvalid, Reason::PackRefused];
    list.commit("a file as the tree", is_no_tree, good.clone(), |it| it.tree = file);
    list.commit("packs that are not there", REFUSED, good.clone(), |it| it.pack_ids = nowhere);
    list.commit("half a name", INVALID, good.clone(), |it| it.pack_ids = vec![0; 31].into());
    let many = vec![0; ((2 << 20) + 1) * 32];
    list.commit("two million packs", INVALID, good.clone(), |it| it.pack_ids = many.into());
    list.commit("no totals", INVALID, good.clone(), |it| it.totals = None);
    list.commit("a tree of 31 bytes", INVALID, good, |it| it.tree = vec![0; 31].into());
    Ok(())
}

/// What can be tried with the run of another host, whose id is known.
pub(super) fn on_others(forge: &Forge, others: &Granted, backup: &Forged) -> Vec<Attack> {
    let stolen = Granted { run: others.run, ..forge.granted().clone() };
    let stolen = Forge::new(stolen, forge.channel());
    let mut list = List::new(&stolen);
    let packs = backup.packs.clone();
    list.add("another's known blobs", DENIED, |it| async move { it.known(vec![0; 32]).await });
    list.add("another's blobs located", DENIED, |it| async move { it.locate(vec![0; 32]).await });
    for pack in packs {
        let (put, report, id) = (pack.clone(), pack.clone(), pack.id);
        list.add("a pack for another", DENIED, |it| async move { it.put(&put).await });
        list.add("a report for another", DENIED, |it| async move { it.report(&report).await });
        list.add("another's pack", DENIED, |it| async move { it.read(id, 0, 1).await });
    }
    let request = stolen.commit_of(backup);
    list.add("another's commit", DENIED, |it| async move { it.commit(request).await });
    list.attacks
}

/// What can be tried within a restore of one's own.
pub(super) fn in_a_restore(forge: &Forge, others: &Forged) -> Vec<Attack> {
    let mut list = List::new(forge);
    let pack = pack_of(&b"written in a restore"[..]);
    list.add("a pack in a restore", DENIED, |it| async move { it.put(&pack).await });
    list.add("blobs known in a restore", DENIED, |it| async move { it.known(vec![0; 32]).await });
    let request = forge.commit_of(others);
    list.add("a commit in a restore", DENIED, |it| async move { it.commit(request).await });
    for pack in &others.packs {
        let id = pack.id;
        list.add(
            "a pack of another's repository",
            DENIED,
            |it| async move { it.read(id, 0, 8).await },
        );
    }
    let any = PackId::of(b"any");
    list.add("a gibibyte at once", INVALID, |it| async move { it.read(any, 0, 1 << 30).await });
    list.add("behind the end of numbers", INVALID, |it| async move {
        it.read(any, u64::MAX, 1 << 20).await
    });
    list.add("4097 places", INVALID, |it| async move { it.locate(vec![0; 4097 * 32]).await });
    list.attacks
}

/// What only operators may do, and what nobody may.
pub(super) fn as_an_operator(forge: &Forge, victim: &str, others: &Granted) -> Vec<Attack> {
    use lazarette_proto::controller::v1 as wire;

    let (host, run_id) = (victim.to_owned(), others.run.to_string());
    let address = format!("{victim}/loot");
    let mut list = List::new(forge);
    let remove = wire::RemoveHostRequest { host: host.clone() };
    list.operator("HostService/RemoveHost", remove);
    list.operator("HostService/InviteHost", wire::InviteHostRequest { host, valid_period: None });
    list.operator("HostService/ListHosts", wire::ListHostsRequest {});
    let cancel = wire::CancelRunRequest { run_id: run_id.clone() };
    list.operator("RunService/CancelRun", cancel);
    let start = wire::StartBackupRequest { run_id, address: address.clone(), task: None };
    list.operator("RunService/StartBackup", start);
    list.operator("RunService/StartRestore", wire::StartRestoreRequest::default());
    list.operator("SnapshotService/ListSnapshots", wire::ListSnapshotsRequest::default());
    let password = wire::GetRepositoryPasswordRequest { repository: address };
    list.operator("RepositoryService/GetRepositoryPassword", password);
    list.operator("RepositoryService/RebuildCatalog", wire::RebuildCatalogRequest::default());
    let revoke = wire::RevokeCredentialsRequest::default();
    list.operator("CredentialService/RevokeCredentials", revoke);
    list.operator("AuditService/ListAuditEntries", wire::ListAuditEntriesRequest::default());
    list.operator("HostService/DropEverything", ());
    let garbage = wire::RenewCertificateRequest { certificate_request: vec![0x30; 100] };
    list.call("CertificateService/RenewCertificate", INVALID, garbage);
    let long = wire::RenewCertificateRequest { certificate_request: vec![0x30; 1 << 20] };
    list.call("CertificateService/RenewCertificate", INVALID, long);
    list.attacks
}

impl List<'_> {
    fn operator(&mut self, method: &str, message: impl prost::Message + 'static) {
        self.call(method, &[Reason::RoleDenied], message);
    }

    fn call(
        &mut self,
        method: &str,
        expected: &'static [Reason],
        message: impl prost::Message + 'static,
    ) {
        let path = format!("/lazarette.controller.v1.{method}");
        self.add(method, expected, |forge| async move {
            let path = path.parse().map_err(|_no_path| Status::unknown("no path"))?;
            let mut grpc = Grpc::new(forge.channel());
            grpc.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
            let codec = ProstCodec::<_, ()>::default();
            grpc.unary(Request::new(message), path, codec).await.map(drop)
        });
    }
}
