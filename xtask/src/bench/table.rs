//! The table that a run prints, as Markdown, so that it can be kept as it is. Knows no server and measures nothing.

use std::time::Duration;

/// One line. What was not measured stays out.
#[derive(Clone, Debug, Default)]
pub(super) struct Row {
    /// What was done.
    pub(super) work: String,
    /// By whom, or where to.
    pub(super) contestant: String,
    /// From the start of the process to the last change durable in the sink.
    pub(super) wall: Option<Duration>,
    /// Changes a second over that time.
    pub(super) rate: Option<f64>,
    /// Wall time in multiples of the floor's.
    pub(super) ratio: Option<f64>,
    /// CPU of all threads for one change.
    pub(super) cpu_per_change: Option<Duration>,
    /// Largest resident memory, in KiB.
    pub(super) peak_kib: Option<u64>,
    /// From the start of the process to the first change durable in the sink.
    pub(super) first: Option<Duration>,
    /// Median and 99th percentile of latency.
    pub(super) latency: Option<(Duration, Duration)>,
    /// What this line is measured against.
    pub(super) goals: Vec<Goal>,
}

/// A figure with its limit.
#[derive(Clone, Debug)]
pub(super) struct Goal {
    /// What it is about, with the limit.
    pub(super) text: String,
    /// Whether it holds.
    pub(super) is_met: bool,
}

impl Goal {
    /// `value` must be at most `limit`; `shown` is the limit as people read it.
    pub(super) fn at_most(shown: &str, value: f64, limit: f64) -> Goal {
        Goal { text: shown.to_owned(), is_met: value <= limit }
    }
}

const HEAD: &str = "| work | by | wall s | changes/s | x floor | CPU us/change | peak MiB | first ms | p50 ms | p99 ms | goals |\n\
                    | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n";

/// All lines.
pub(super) fn show(rows: &[Row]) -> String {
    rows.iter().fold(HEAD.to_owned(), |text, row| text + &line(row))
}

fn line(row: &Row) -> String {
    let shown = |value: Option<f64>, digits: usize| value.map_or_else(String::new, |v| format!("{v:.digits$}"));
    let seconds = |value: Option<Duration>| value.map(|v| v.as_secs_f64());
    let millis = |value: Option<Duration>| value.map(|v| v.as_secs_f64() * 1e3);
    let cells = [
        row.work.clone(),
        row.contestant.clone(),
        shown(seconds(row.wall), 2),
        shown(row.rate, 0),
        shown(row.ratio, 2),
        shown(row.cpu_per_change.map(|v| v.as_secs_f64() * 1e6), 2),
        shown(row.peak_kib.map(|v| v as f64 / 1024.0), 0),
        shown(millis(row.first), 0),
        shown(millis(row.latency.map(|l| l.0)), 1),
        shown(millis(row.latency.map(|l| l.1)), 1),
        show_goals(&row.goals),
    ];
    format!("| {} |\n", cells.join(" | "))
}

/// Those that are missed stand out.
pub(super) fn show_goals(goals: &[Goal]) -> String {
    goals.iter().map(goal).collect::<Vec<_>>().join(", ")
}

fn goal(goal: &Goal) -> String {
    if goal.is_met { goal.text.clone() } else { format!("**missed: {}**", goal.text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_measured_stays_empty_and_a_missed_goal_is_shown() {
        let row = Row {
            work: "drain".to_owned(),
            contestant: "null".to_owned(),
            wall: Some(Duration::from_millis(1500)),
            goals: vec![Goal::at_most("1.1x", 1.2, 1.1), Goal::at_most("150 MiB", 20.0, 150.0)],
            ..Row::default()
        };
        assert_eq!(line(&row), "| drain | null | 1.50 |  |  |  |  |  |  |  | **missed: 1.1x**, 150 MiB |\n");
        assert!(show(&[row]).starts_with(HEAD));
    }
}
