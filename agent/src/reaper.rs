//! Reaper: ends holds that are over, whoever was to end them.

use std::collections::BTreeSet;

use lazarette_core::error::chain;
use tokio_util::sync::CancellationToken;

use crate::{
    held::Holder,
    hold::{HoldEnd, journal::Journaled},
    runs::{Runs, work::Tools},
};

/// Looks at the journal again and again, until cancelled.
pub async fn reap(runs: Runs, tools: Tools, cancel: CancellationToken) {
    let mut known = BTreeSet::new();
    loop {
        reap_once(&runs, &tools, &mut known).await;
        tokio::select! {
            () = cancel.cancelled() => return,
            () = tokio::time::sleep(tools.timers.reaper) => {}
        }
    }
}

async fn reap_once(runs: &Runs, tools: &Tools, failing: &mut BTreeSet<String>) {
    let found = match tools.holder.find_all().await {
        Ok(found) => found,
        Err(error) => {
            tracing::error!(error = %chain(&error), "look for holds that are over");
            return;
        }
    };
    for left in found.holds {
        let hold = left.hold();
        let is_orphan = matches!(hold.end, HoldEnd::Deadline { .. }) && !runs.is_driven(hold.run);
        if !is_orphan && !hold.end.is_over(&*tools.clock) {
            continue;
        }
        let id = hold.id.to_string();
        match let_go(&tools.holder, left).await {
            Ok(()) => {
                failing.remove(&id);
            }
            // Said once: the reaper comes every few seconds.
            Err(why) if failing.insert(id.clone()) => {
                tracing::error!(hold = id, why, "a hold that is over cannot be ended");
            }
            Err(why) => tracing::debug!(hold = id, why, "a hold that is over cannot be ended"),
        }
    }
}

async fn let_go(holder: &Holder, left: Journaled) -> Result<(), String> {
    let stack = left.hold().stack.clone();
    let thawed = holder.thaw_left_over(left).await.map_err(|error| chain(&error))?;
    let names: Vec<&str> = thawed.started.iter().map(|(_id, name)| name.as_str()).collect();
    tracing::warn!(%stack, started = names.join(" "), "a hold was over: the stack runs again");
    Ok(())
}
