//! Harness: that hosts, faults and stacks are what the other tests take them for.

use anyhow::{Result, ensure};
use lazarette_tests::{Host, Shop};

#[test]
fn hosts_are_machines_of_their_own_that_reach_each_other() -> Result<()> {
    let (one, two) = (Host::up("apart-one")?, Host::up("apart-two")?);
    one.sh("echo mine >/etc/only-here; echo mine >/srv/only-here; docker volume create only-here")?;

    assert_eq!(one.sh("hostname")?.trim(), "apart-one");
    assert_eq!(two.sh("ls /etc/only-here /srv/only-here 2>/dev/null || true")?, "");
    assert_eq!(two.docker(&["volume", "ls", "-q"])?, "");
    assert!(!std::path::Path::new("/etc/only-here").exists());
    assert_eq!(std::fs::read_to_string(one.path("/srv/only-here"))?, "mine\n");

    two.docker(&[
        "run",
        "-d",
        "--name",
        "db",
        "-p",
        "5432:5432",
        "-e",
        "POSTGRES_PASSWORD=x",
        "postgres:15",
    ])?;
    let knock = format!(
        "for i in {{1..300}}; do (: </dev/tcp/{}/5432) 2>/dev/null && exit 0; sleep 0.1; done; exit 1",
        two.address()
    );
    one.sh(&knock)?;
    Ok(())
}

#[test]
fn a_power_cut_leaves_the_disk_and_ends_the_rest() -> Result<()> {
    let host = Host::up("power-cut")?;
    host.docker(&[
        "run",
        "-d",
        "--name",
        "sleeper",
        "--restart",
        "always",
        "debian:bookworm-slim",
        "sleep",
        "infinity",
    ])?;
    host.sh("echo kept >/var/lib/kept; mkdir -p /run/lost")?;

    host.crash()?;
    ensure!(host.sh("true").is_err(), "a crashed host runs commands");
    host.start()?;

    assert_eq!(host.sh("cat /var/lib/kept")?, "kept\n");
    assert_eq!(host.sh("ls -d /run/lost 2>/dev/null || true")?, "");
    assert_eq!(host.docker(&["inspect", "-f", "{{.State.Status}}", "sleeper"])?, "running");
    Ok(())
}

#[test]
fn a_shop_sleeps_in_its_template_and_writes_the_same_number_everywhere() -> Result<()> {
    let host = Host::with_shop("counters")?;
    let shop = Shop::of(&host);
    shop.wake()?;
    let before = shop.fingerprint()?;

    shop.quiet()?;
    let first = shop.counters()?;
    shop.busy()?;
    shop.quiet()?;
    let second = shop.counters()?;

    ensure!(first.are_equal() && second.are_equal(), "not one cut: {first:?}, {second:?}");
    ensure!(second.shop > first.shop, "the application did not write: {first:?}, {second:?}");
    before.same_as(&shop.fingerprint()?)
}

#[test]
fn a_wrecked_shop_has_another_fingerprint() -> Result<()> {
    let host = Host::with_shop("wrecked")?;
    let shop = Shop::of(&host);
    shop.wake()?;
    let before = shop.fingerprint()?;

    shop.mark("after the backup")?;
    assert_eq!(shop.marks()?, ["after the backup"]);
    shop.wreck()?;

    let after = shop.fingerprint()?;
    for kind in ["table", "schema", "large-object", "setting", "volume", "bind"] {
        ensure!(before.only(kind) != after.only(kind), "the wreck left every `{kind}` as it was");
    }
    Ok(())
}

#[test]
fn a_shop_runs_on_every_major_of_postgres() -> Result<()> {
    let host = Host::up("majors")?;
    for major in ["14", "15", "18"] {
        let name = format!("shop{major}");
        let shop =
            Shop::of(&host).named(&name).on_postgres(&format!("postgres:{major}")).with_rows(50);
        shop.up()?;
        ensure!(
            shop.sql("shop", "SHOW server_version_num")?.starts_with(major),
            "not PostgreSQL {major}"
        );
        shop.quiet()?;
        ensure!(shop.counters()?.are_equal(), "not one cut on PostgreSQL {major}");
        let before = shop.fingerprint()?;
        shop.wreck()?;
        ensure!(before != shop.fingerprint()?, "a wreck that shows nowhere");
    }
    Ok(())
}
