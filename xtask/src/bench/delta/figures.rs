//! The table that the benchmark of the Delta engine prints: a line for each table size and kind of key, and the goals
//! that it meets or misses. Measures nothing.

use super::KeyKind;
use crate::bench::table::{Goal, show_goals};

/// Scans of a churned table in multiples of a fresh one's.
const SCAN_MAX: f64 = 1.5;
const PEAK_MAX_MB: f64 = 400.0;
/// From the smallest table to one a hundred times as large.
const GROWTH_MAX: f64 = 2.0;

/// What was measured of one table. Times are seconds.
#[derive(Clone, Debug, Default)]
pub(super) struct Figures {
    pub(super) rows: u64,
    pub(super) key: KeyKind,
    pub(super) p50: f64,
    pub(super) p99: f64,
    /// delta-rs appends as many rows.
    pub(super) append: f64,
    /// delta-rs merges such a batch; the table may be too large for that.
    pub(super) merge: Option<f64>,
    /// Median in multiples of that of the smallest table with such a key.
    pub(super) growth: Option<f64>,
    /// Changes a second, house-keeping included.
    pub(super) rate: f64,
    /// Share of that time that is house-keeping.
    pub(super) maintaining: f64,
    /// Longest time of a commit and the house-keeping after it.
    pub(super) slowest: f64,
    /// Bytes of new files below the table's folder, in multiples of what appends of the rows write.
    pub(super) written: f64,
    /// The same of all that the process wrote.
    pub(super) written_in_all: f64,
    /// Bytes of the index on disk, if it has one.
    pub(super) index_bytes: Option<f64>,
    /// Most memory of the process that takes the changes, of one that goes on after it, and of one that makes the index anew.
    pub(super) peaks_mb: [f64; 3],
    /// From the opening to the first commit, without an index on disk, and with it.
    pub(super) rebuild: f64,
    pub(super) restart: f64,
    /// In DuckDB, Polars and delta-rs; `None` did not end.
    pub(super) scans: [Option<f64>; 3],
    /// Scans once compaction has come to its end.
    pub(super) scans_settled: [Option<f64>; 3],
    /// The removal of deleted rows by command.
    pub(super) purge: f64,
    /// Scans after it.
    pub(super) scans_purged: [Option<f64>; 3],
}

impl Figures {
    fn goals(&self) -> Vec<Goal> {
        let append_max = if self.rows > 10_000_000 { 5.0 } else { 2.5 };
        let mut goals = vec![Goal::at_most(&format!("append {append_max}x"), self.p50, append_max * self.append)];
        let merge_min = match self.rows {
            10_000_000.. => 150.0,
            1_000_000.. => 30.0,
            _ => 0.0,
        };
        if let Some(merge) = self.merge.filter(|_| merge_min > 0.0) {
            goals.push(Goal::at_most(&format!("MERGE / {merge_min}"), merge_min * self.p50, merge));
        }
        if let Some(growth) = self.growth {
            goals.push(Goal::at_most(&format!("growth {GROWTH_MAX}x"), growth, GROWTH_MAX));
        }
        goals.push(Goal::at_most(
            &format!("{PEAK_MAX_MB} MB"),
            self.peaks_mb.into_iter().fold(0.0, f64::max),
            PEAK_MAX_MB,
        ));
        let slowest = self.scans_settled.iter().map(|scan| scan.unwrap_or(f64::INFINITY)).fold(0.0, f64::max);
        goals.push(Goal::at_most(&format!("scans {SCAN_MAX}x"), slowest, SCAN_MAX));
        goals
    }

    fn line(&self) -> String {
        let optional = |value: Option<f64>, digits: usize| value.map_or("-".to_owned(), |v| format!("{v:.digits$}"));
        let cells = [
            self.rows.to_string(),
            self.key.name().to_owned(),
            format!("{:.1}", self.p50 * 1e3),
            format!("{:.1}", self.p99 * 1e3),
            optional(self.growth, 2),
            format!("{:.1}", self.append * 1e3),
            format!("{:.2}", self.p50 / self.append),
            optional(self.merge.map(|merge| merge * 1e3), 0),
            optional(self.merge.map(|merge| merge / self.p50), 0),
            format!("{:.0}", self.rate),
            format!("{:.0}", self.maintaining * 100.0),
            format!("{:.0}", self.slowest * 1e3),
            format!("{:.2}", self.written),
            format!("{:.2}", self.written_in_all),
            optional(self.index_bytes.map(|bytes| bytes / self.rows as f64), 1),
            self.peaks_mb.map(|peak| format!("{peak:.0}")).join(" / "),
            format!("{:.2}", self.rebuild),
            format!("{:.2}", self.restart),
            self.scans.map(|scan| optional(scan, 2)).join(" / "),
            self.scans_settled.map(|scan| optional(scan, 2)).join(" / "),
            format!("{:.1}", self.purge),
            self.scans_purged.map(|scan| optional(scan, 2)).join(" / "),
            show_goals(&self.goals()),
        ];
        format!("| {} |\n", cells.join(" | "))
    }
}

/// All lines, below a head.
pub(super) fn show(figures: &[Figures]) -> String {
    let head = [
        "rows",
        "key",
        "p50 ms",
        "p99 ms",
        "growth",
        "append ms",
        "x append",
        "MERGE ms",
        "MERGE / p50",
        "changes/s",
        "upkeep %",
        "slowest ms",
        "x written",
        "x written in all",
        "index B/key",
        "peak MB (changes / restart / rebuild)",
        "rebuild s",
        "restart s",
        "x scan (DuckDB / Polars / delta-rs)",
        "x scan, settled",
        "purge s",
        "x scan, purged",
        "goals",
    ];
    let rule = head.map(|_| "---").join(" | ");
    let head = format!("| {} |\n| {rule} |\n", head.join(" | "));
    figures.iter().fold(head, |text, figures| text + &figures.line())
}

/// The value below which this share of the list lies.
pub(super) fn quantile(list: &[f64], share: f64) -> Option<f64> {
    let mut sorted = list.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (sorted.len() as f64 * share).ceil() as usize;
    sorted.get(rank.max(1) - 1).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn met() -> Figures {
        Figures {
            rows: 10_000_000,
            p50: 0.02,
            append: 0.01,
            merge: Some(4.0),
            growth: Some(1.2),
            peaks_mb: [399.0, 100.0, 200.0],
            scans: [Some(9.0); 3],
            scans_settled: [Some(1.0), Some(1.5), Some(1.2)],
            ..Figures::default()
        }
    }

    #[test]
    fn what_misses_its_goal_is_shown() {
        let cases: [(Figures, &[&str]); 7] = [
            (met(), &[]),
            (Figures { p50: 0.026, ..met() }, &["append 2.5x"]),
            (Figures { p50: 0.026, rows: 100_000_000, merge: None, ..met() }, &[]),
            (Figures { merge: Some(2.9), ..met() }, &["MERGE / 150"]),
            (Figures { merge: Some(0.7), rows: 1_000_000, growth: None, ..met() }, &[]),
            (Figures { growth: Some(2.1), peaks_mb: [399.0, 100.0, 401.0], ..met() }, &["growth 2x", "400 MB"]),
            (Figures { scans_settled: [Some(1.0), None, Some(1.0)], ..met() }, &["scans 1.5x"]),
        ];
        for (figures, expect) in cases {
            let goals = figures.goals();
            let missed: Vec<&str> = goals.iter().filter(|goal| !goal.is_met).map(|goal| goal.text.as_str()).collect();
            assert_eq!(missed, expect, "{figures:?}");
        }
    }

    #[test]
    fn every_line_has_as_many_cells_as_the_head() {
        let text = show(&[met(), Figures { merge: None, scans: [None; 3], ..met() }]);
        let counts: Vec<usize> = text.lines().map(|line| line.matches('|').count()).collect();
        assert_eq!(counts, [24; 4], "{text}");
    }

    #[test]
    fn quantiles() {
        let list: Vec<f64> = (1..=200).rev().map(f64::from).collect();
        for (share, expect) in [(0.0, 1.0), (0.5, 100.0), (0.99, 198.0), (1.0, 200.0)] {
            assert_eq!(quantile(&list, share), Some(expect));
        }
        assert_eq!(quantile(&[], 0.5), None);
    }
}
