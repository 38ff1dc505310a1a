//! The first snapshot of one table to the null sink, beside the whole table as the server's client reads it.

use super::super::sample;
use super::super::table::{Goal, Row};
use super::{Bench, create_items, insert_items};
use anyhow::{Context, Result, bail};
use std::process::Stdio;
use std::time::{Duration, Instant};
use tidewire_testkit::{Daemon, Mysql, process};

/// The better of so many: one run of less than a second says little.
const ATTEMPTS: usize = 3;

impl Bench<'_> {
    pub(super) fn snapshot(&self) -> Result<Vec<Row>> {
        let rows = self.options.rows.next_multiple_of(1_000);
        let server = self.server()?;
        let client = server.client()?;
        create_items(&client)?;
        eprintln!("snapshot: writing {rows} rows");
        for t in 0..rows / 1_000 {
            client.execute(&insert_items(&format!("SELECT {} + n AS g FROM aside.numbers", t * 1_000 + 1)))?;
        }
        client.execute("ANALYZE TABLE items")?;
        let mut floor = Duration::MAX;
        let mut best: Option<sample::Sample> = None;
        for attempt in 1..=ATTEMPTS {
            eprintln!("snapshot: attempt {attempt} of {ATTEMPTS}");
            floor = floor.min(self.select(&server)?);
            let config = self.source(&server, "initial", attempt) + "[sinks.null.null]\n";
            let taken = sample::work(&mut Daemon::new(self.binary, &config)?, "null", rows)?;
            if best.is_none_or(|best| taken.wall < best.wall) {
                best = Some(taken);
            }
        }
        let taken = best.context("no attempt")?;
        let work = format!("snapshot, {rows} rows");
        let line = |contestant: &str, wall: Duration| Row {
            work: work.clone(),
            contestant: contestant.to_owned(),
            wall: Some(wall),
            rate: Some(rows as f64 / wall.as_secs_f64()),
            ratio: Some(wall.as_secs_f64() / floor.as_secs_f64()),
            ..Row::default()
        };
        Ok(vec![
            line("the server's client, SELECT *", floor),
            Row {
                cpu_per_change: Some(taken.cpu.div_f64(rows as f64)),
                peak_kib: Some(taken.peak_kib),
                first: Some(taken.first),
                goals: vec![Goal::at_most("150 MiB", taken.peak_kib as f64 / 1024.0, 150.0)],
                ..line("tidewire to null", taken.wall)
            },
        ])
    }

    fn select(&self, server: &Mysql) -> Result<Duration> {
        let mut command = server.distribution().client.guarded();
        command.args(["--no-defaults", "--host=127.0.0.1", "--user=root", &format!("--port={}", server.port())]);
        command.args([if self.version.is_mariadb() { "--skip-ssl" } else { "--ssl-mode=DISABLED" }]);
        command.args(["--quick", "--batch", "--skip-column-names", "-e", "SELECT * FROM work.items"]);
        command.stdin(Stdio::null()).stdout(Stdio::null());
        let start = Instant::now();
        let status = process::spawn(command)?.wait().context("wait for the server's client")?;
        if !status.success() {
            bail!("the server's client ended with {status}");
        }
        Ok(start.elapsed())
    }
}
