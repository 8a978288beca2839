//! Refusals: bad input is answered with the field and the way out, and nothing has changed.

use anyhow::Result;
use lazarette_tests::{Fleet, Shop};

/// `ctl` ends with `code` and says every one of `parts`.
fn refuses(fleet: &Fleet, words: &[&str], code: i32, parts: &[&str]) -> Result<()> {
    fleet.ctl(words)?.fails(code, parts).map(drop)
}

#[test]
fn what_does_not_exist_or_cannot_be_a_name_is_named_with_the_way_out() -> Result<()> {
    let fleet = Fleet::with_shop("refused")?;
    let unknown = "0123456789abcdef";
    refuses(&fleet, &["backup", "nosuch"], 1, &["nosuch", "ctl stack list"])?;
    refuses(&fleet, &["backup", "elsewhere/shop"], 1, &["elsewhere", "ctl host list"])?;
    refuses(&fleet, &["backup", "shop", "--component", "volume/nosuch"], 1, &["volume/nosuch"])?;
    refuses(&fleet, &["restore", "shop", "--yes"], 1, &["no snapshot", "ctl backup"])?;
    refuses(
        &fleet,
        &["restore", "shop", "--yes", "--snapshot", unknown],
        1,
        &["no snapshot", "ctl snapshot list"],
    )?;
    refuses(&fleet, &["host", "remove", "nosuch", "--yes"], 1, &["nosuch"])?;
    refuses(&fleet, &["repo", "check", "shop"], 1, &["no snapshot yet"])?;
    for name in ["shop;reboot", "..", "$(id)", "a b", &"x".repeat(300)] {
        refuses(&fleet, &["backup", name], 2, &["stack"])?;
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

    refuses(&fleet, &["backup", "shop"], 1, &["shop-db-1", "does not run"])?;

    let runs = fleet.ctl(["--output", "json", "run", "list"])?.ok()?.json()?;
    assert_eq!(runs, serde_json::json!([]), "a run was made that could only fail");
    Ok(())
}

#[test]
fn a_removed_host_is_out_at_once() -> Result<()> {
    let fleet = Fleet::with_shop("removed")?;
    fleet.expect_in_logs("");

    fleet.ctl(["host", "remove", "removed", "--yes"])?.done()?;

    refuses(&fleet, &["backup", "shop"], 1, &["shop"])?;
    refuses(&fleet, &["backup", "removed/shop"], 1, &["removed", "ctl host list"])
}
