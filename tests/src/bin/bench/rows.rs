//! Rows: what was measured, as a table and as JSON.

use serde_json::json;

/// One comparison: both in the same unit.
#[derive(Debug)]
struct Row {
    name: String,
    ours: f64,
    peer: String,
    theirs: f64,
    /// Above one when ours is better.
    ratio: f64,
    unit: &'static str,
}

/// The seconds of some runs, ours and theirs.
pub(crate) type Pair = (Vec<f64>, Vec<f64>);

/// All comparisons of a run.
#[derive(Debug, Default)]
pub(crate) struct Rows(Vec<Row>);

impl Rows {
    /// Adds a comparison by the medians of both sides, and says so at once.
    pub(crate) fn add(&mut self, name: &str, peer: &str, bytes: u64, pair: &Pair) {
        let (ours, theirs) = pair;
        let mebibytes = precise(bytes) / f64::from(1 << 20);
        eprintln!("{name}: ours {ours:.2?} s, {peer} {theirs:.2?} s");
        let (ours, theirs) = (mebibytes / median(ours), mebibytes / median(theirs));
        let (name, peer, ratio) = (name.to_owned(), peer.to_owned(), ours / theirs);
        self.0.push(Row { name, ours, peer, theirs, ratio, unit: "MiB/s" });
    }

    /// Adds a use of memory beside what it may be at most; the ratio is above one when it is less.
    pub(crate) fn add_limit(&mut self, name: &str, used: u64, limit: u64) {
        let mebibytes = |bytes| precise(bytes) / f64::from(1 << 20);
        let (ours, theirs) = (mebibytes(used), mebibytes(limit));
        eprintln!("{name}: {ours:.1} MiB of {theirs:.0} MiB");
        let (peer, ratio) = ("the limit".to_owned(), theirs / ours);
        self.0.push(Row { name: name.to_owned(), ours, peer, theirs, ratio, unit: "MiB" });
    }

    /// The table for people.
    pub(crate) fn table(&self) -> String {
        let mut table = String::new();
        let header = format!(
            "{:<28} {:>9} {:>9} {:>6}  {:<6} peer\n",
            "", "ours", "theirs", "ratio", "unit"
        );
        table.push_str(&header);
        for Row { name, ours, peer, theirs, ratio, unit } in &self.0 {
            let line =
                format!("{name:<28} {ours:>9.1} {theirs:>9.1} {ratio:>6.2}  {unit:<6} {peer}");
            table.push_str(&line);
            table.push('\n');
        }
        table
    }

    /// The same for programs; a ratio above one means that ours is better.
    pub(crate) fn json(&self) -> anyhow::Result<String> {
        let rows = self.0.iter().map(|row| {
            json!({
                "name": row.name,
                "ours": row.ours,
                "peer": row.peer,
                "theirs": row.theirs,
                "ratio": row.ratio,
                "unit": row.unit,
            })
        });
        let rows: Vec<_> = rows.collect();
        Ok(serde_json::to_string_pretty(&json!({ "rows": rows }))? + "\n")
    }
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

#[expect(
    clippy::as_conversions,
    clippy::cast_precision_loss,
    reason = "sizes far below 2^53 are exact"
)]
fn precise(bytes: u64) -> f64 {
    bytes as f64
}
