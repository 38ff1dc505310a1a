//! A log file in memory into cells, without server and sink, beside the decoder of `mysql_common` on the same bytes.

use super::super::table::{Goal, Row};
use super::{Bench, create_items, insert_items};
use crate::build;
use anyhow::{Context, Result};
use serde_json::Value;
use std::process::Command;
use std::time::Duration;
use tidewire_testkit::process;

/// Rows a second that are worth having.
const RATE_MIN: f64 = 1e6;
/// Times the library's rate.
const TIMES_MIN: f64 = 5.0;

impl Bench<'_> {
    /// Inserts, in one transaction.
    pub(super) fn decode(&self) -> Result<Vec<Row>> {
        let example = build::example("tidewire-mysql", "decode_rate")?;
        let server = self.server()?;
        let client = server.client()?;
        create_items(&client)?;
        let rows = self.options.rows.min(1_000_000);
        eprintln!("decoding: writing {rows} rows");
        let numbers = format!(
            "SELECT 1 + a.n + 1000 * b.n AS g FROM aside.numbers a, aside.numbers b WHERE a.n + 1000 * b.n < {rows}"
        );
        client.execute(&insert_items(&numbers))?;
        client.execute("FLUSH BINARY LOGS")?;
        // MariaDB gives a large transaction a file of its own.
        let (file, _) = server.log_files()?.into_iter().max_by_key(|(_, size)| *size).context("a log file")?;
        let mut command = Command::new(example);
        command.arg(server.data().join(file)).args(self.version.is_mariadb().then_some("mariadb"));
        let output = process::output(&mut command)?;
        let text = String::from_utf8_lossy(&output.stdout);
        let figures: Value = serde_json::from_str(text.lines().next_back().unwrap_or_default())?;
        let each = |key: &str| figures.get(key).and_then(Value::as_f64).with_context(|| format!("no {key} in {text}"));
        let (ours, library) = (each("tidewire_s")?, each("library_s")?);
        let line = |contestant: &str, each: f64, goals| Row {
            work: format!("decoding {rows} rows in memory"),
            contestant: contestant.to_owned(),
            wall: Some(Duration::from_secs_f64(each * rows as f64)),
            rate: Some(1.0 / each),
            ratio: Some(each / library),
            goals,
            ..Row::default()
        };
        let goals = vec![
            Goal::at_most("1 M/s", RATE_MIN * ours, 1.0),
            Goal::at_most("a fifth of the library's time", ours * TIMES_MIN, library),
        ];
        Ok(vec![line("mysql_common", library, Vec::new()), line("tidewire", ours, goals)])
    }
}
