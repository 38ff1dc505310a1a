//! What a run found, as text for people and as JSON.

use super::site::Sinks;
use super::source::Kind;
use super::taken::Taken;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

/// One round: a site from its start to its last check.
#[derive(Clone, Debug, Default)]
pub struct Round {
    /// Gives the same load and faults again, with the same kind and sinks.
    pub seed: u64,
    /// The source.
    pub kind: Kind,
    /// The sinks.
    pub sinks: Sinks,
    /// Version of the source, and how it logs.
    pub setup: String,
    /// From start to end.
    pub took: Duration,
    /// What was done to it, and how often.
    pub faults: BTreeMap<&'static str, u64>,
    /// SIGKILLs of the daemon, and ends at a named place.
    pub daemon_kills: u64,
    /// SIGKILLs of the database and the broker.
    pub server_kills: u64,
    /// Times that the daemon ended by itself, for a supervisor to start it again.
    pub own_ends: u64,
    /// Transactions that the source committed.
    pub transactions: u64,
    /// Changes of rows that it committed.
    pub changes: u64,
    /// Records read from topics.
    pub records: u64,
    /// Rows of tables compared.
    pub rows: u64,
    /// Versions of a table whose sum was right.
    pub versions: u64,
    /// Times that what was acknowledged was compared with what the sinks held.
    pub compared: u64,
    /// Most memory of the daemon, in KiB.
    pub peak_kib: u64,
    /// Longest time without progress while nothing failed.
    pub longest_stall: Duration,
    /// How long it took until all had arrived once nothing failed any more.
    pub caught_up: Duration,
    /// What was taken away in the end, once all of the above had been found right.
    pub taken: Option<Taken>,
    /// What was wrong.
    pub fault: Option<String>,
}

impl Round {
    /// `postgres to kafka and delta`.
    pub fn pair(&self) -> String {
        let sinks = match self.sinks {
            Sinks { events: true, lake: true } => "kafka and delta",
            Sinks { events: true, lake: false } => "kafka",
            Sinks { events: false, lake: true } => "delta",
            Sinks { events: false, lake: false } => "nothing",
        };
        format!("{} to {sinks}", self.kind.name())
    }

    /// As one object.
    pub fn json(&self) -> Value {
        json!({
            "seed": self.seed, "source": self.kind.name(), "kafka": self.sinks.events, "delta": self.sinks.lake,
            "setup": self.setup, "seconds": self.took.as_secs(), "faults": self.faults,
            "daemon_kills": self.daemon_kills, "server_kills": self.server_kills, "own_ends": self.own_ends,
            "transactions": self.transactions, "changes": self.changes, "records": self.records, "rows": self.rows,
            "versions": self.versions, "acknowledgements": self.compared, "peak_mib": self.peak_kib / 1024,
            "longest_stall_ms": self.longest_stall.as_millis() as u64, "caught_up_ms": self.caught_up.as_millis() as u64,
            "taken": self.taken.as_ref().map(|taken| json!({"what": taken.what, "halt": taken.code, "remedy": taken.remedy})),
            "fault": self.fault,
        })
    }
}

/// The head of the table of rounds.
pub const HEAD: &str = "| seed | pair | server | s | daemon kills | server kills | other faults | transactions | changes | records | rows | \
     acknowledgements | peak MiB | caught up s | verdict |\n| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | \
     --- | --- | --- |";

impl Round {
    /// A line of that table.
    pub fn line(&self) -> String {
        let all: u64 = self.faults.values().sum();
        format!(
            "| {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {:.1} | {} |",
            self.seed,
            self.pair(),
            self.setup,
            self.took.as_secs(),
            self.daemon_kills,
            self.server_kills,
            all.saturating_sub(self.daemon_kills + self.server_kills),
            self.transactions,
            self.changes,
            self.records,
            self.rows,
            self.compared,
            self.peak_kib / 1024,
            self.caught_up.as_secs_f64(),
            self.fault.as_ref().map_or("passed", |_| "FAILED")
        )
    }
}

/// The whole run as Markdown: its sums by pair of source and sink, its faults, its rounds.
pub fn markdown(rounds: &[Round]) -> String {
    let sum = |rounds: &[&Round], of: fn(&Round) -> u64| rounds.iter().map(|round| of(round)).sum::<u64>();
    let mut text = "| source | sink | rounds | daemon kills | server kills | changes | failed |\n| --- | --- | --- | --- | --- | --- | --- |\n".to_owned();
    for kind in Kind::ALL {
        for (sink, has) in [("Kafka", (|r| r.sinks.events) as fn(&Round) -> bool), ("Delta", |r| r.sinks.lake)] {
            let of: Vec<&Round> = rounds.iter().filter(|round| round.kind == kind && has(round)).collect();
            let failed = of.iter().filter(|round| round.fault.is_some()).count();
            text.push_str(&format!(
                "| {} | {sink} | {} | {} | {} | {} | {failed} |\n",
                kind.name(),
                of.len(),
                sum(&of, |round| round.daemon_kills),
                sum(&of, |round| round.server_kills),
                sum(&of, |round| round.changes)
            ));
        }
    }
    let all: Vec<&Round> = rounds.iter().collect();
    text.push_str(&format!(
        "\n{} rounds, {} SIGKILLs of the daemon, {} of databases and brokers, {} changes committed, {} records and {} rows compared.\n",
        rounds.len(),
        sum(&all, |round| round.daemon_kills),
        sum(&all, |round| round.server_kills),
        sum(&all, |round| round.changes),
        sum(&all, |round| round.records),
        sum(&all, |round| round.rows)
    ));
    let mut faults: BTreeMap<&str, u64> = BTreeMap::new();
    for (name, times) in rounds.iter().flat_map(|round| &round.faults) {
        *faults.entry(name).or_default() += times;
    }
    text.push_str("\n| fault | times |\n| --- | --- |\n");
    for (name, times) in faults {
        text.push_str(&format!("| {name} | {times} |\n"));
    }
    let mut halts: BTreeMap<(&str, &str, &str), u64> = BTreeMap::new();
    for taken in rounds.iter().filter_map(|round| round.taken.as_ref()) {
        *halts.entry((taken.what, &taken.code, taken.remedy)).or_default() += 1;
    }
    text.push_str("\n| taken away in the end | halted with | resolved by | times |\n| --- | --- | --- | --- |\n");
    for ((what, code, remedy), times) in halts {
        text.push_str(&format!("| {what} | `{code}` | {remedy} | {times} |\n"));
    }
    text.push_str(&format!("\n{HEAD}\n"));
    for round in rounds {
        text.push_str(&round.line());
        text.push('\n');
    }
    for round in rounds {
        if let Some(fault) = &round.fault {
            text.push_str(&format!("\nSeed {}, {}: {fault}\n", round.seed, round.pair()));
        }
    }
    text
}
