//! Refusals: bad input is answered with the field and the way out, and nothing has changed.

use anyhow::Result;
use lazarette_tests::{Fleet, Shop};

#[test]
fn what_does_not_exist_or_cannot_be_a_name_is_named_with_the_way_out() -> Result<()> {
    let fleet = Fleet::with_shop("refused")?;
    let unknown = "0123456789abcdef";
    fleet.ctl(["backup", "nosuch"])?.fails(1, &["nosuch", "ctl stack list"])?;
    fleet.ctl(["backup", "elsewhere/shop"])?.fails(1, &["elsewhere", "ctl host list"])?;
    fleet.ctl(["backup", "shop", "--component", "volume/nosuch"])?.fails(1, &["volume/nosuch"])?;
    fleet.ctl(["restore", "shop", "--yes"])?.fails(1, &["no snapshot", "ctl backup"])?;
    fleet
        .ctl(["restore", "shop", "--yes", "--snapshot", unknown])?
        .fails(1, &["no snapshot", "ctl snapshot list"])?;
    fleet.ctl(["host", "remove", "nosuch", "--yes"])?.fails(1, &["nosuch"])?;
    fleet.ctl(["repo", "check", "shop"])?.fails(1, &["no snapshot yet"])?;
    for name in ["shop;reboot", "..", "$(id)", "a b", &"x".repeat(300)] {
        fleet.ctl(["backup", name])?.fails(2, &["stack"])?;
    }
    Shop::of(fleet.host("refused")?).counters()?;
    Ok(())
}

#[test]
fn a_database_that_is_down_is_refused_before_anything_is_stopped() -> Result<()> {
    let fleet = Fleet::with_shop("nodb")?;
    let host = fleet.host("nodb")?;
    let shop = Shop::of(host);
    host.docker(&["stop", &shop.db()])?;

    fleet.ctl(["backup", "shop"])?.fails(1, &["shop-db-1", "does not run"])?;

    assert!(shop.is_running(&shop.app())?, "the application was stopped for nothing");
    Ok(())
}

#[test]
fn a_removed_host_is_out_at_once_and_its_token_is_of_no_use() -> Result<()> {
    let mut fleet = Fleet::with_shop("removed")?;
    fleet.expect_in_logs("");
    fleet.ctl(["host", "remove", "removed", "--yes"])?.done()?;
    fleet.ctl(["backup", "shop"])?.fails(1, &["shop"])?;
    fleet.agent("removed")?.log().wait_for("removed")?;
    Ok(())
}
