//! The first snapshot of one table to the null sink, beside `COPY ... TO STDOUT` by psql to /dev/null.

use super::sample;
use super::table::{Goal, Row};
use super::{create_rows, insert_rows, postgres, program, source};
use anyhow::{Context, Result, bail};
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};
use tidewire_testkit::{Daemon, Postgres, process};

/// Least part of psql's rate.
const RATE_MIN: f64 = 0.8;
/// The better of so many: one run of less than a second says little.
const ATTEMPTS: usize = 3;

/// Measures both.
pub(super) fn run(binary: &Path, rows: u64) -> Result<Vec<Row>> {
    let server = postgres()?;
    let client = server.client()?;
    create_rows(&client)?;
    eprintln!("snapshot: writing {rows} rows");
    client.execute(&insert_rows("1", &rows.to_string()))?;
    client.execute("VACUUM ANALYZE rows")?;
    let mut floor = Duration::MAX;
    let mut best: Option<sample::Sample> = None;
    for attempt in 1..=ATTEMPTS {
        eprintln!("snapshot: attempt {attempt} of {ATTEMPTS}");
        floor = floor.min(copy(&server)?);
        let config = source(&server, "initial", &format!("snapshot_{attempt}")) + "[sinks.null.null]\n";
        // Start and end of the snapshot are changes too.
        let taken = sample::work(&mut Daemon::new(binary, &config)?, "null", rows + 2)?;
        client.execute(&format!("SELECT pg_drop_replication_slot('snapshot_{attempt}')"))?;
        if best.is_none_or(|best| taken.wall < best.wall) {
            best = Some(taken);
        }
    }
    let taken = best.context("no attempt")?;
    let (rate, floor_rate) = (rows as f64 / taken.wall.as_secs_f64(), rows as f64 / floor.as_secs_f64());
    let work = format!("snapshot, {rows} rows");
    let met = Goal { text: format!("{RATE_MIN} of psql's rate"), is_met: rate >= RATE_MIN * floor_rate };
    Ok(vec![
        Row {
            work: work.clone(),
            contestant: "psql, COPY TO STDOUT".to_owned(),
            wall: Some(floor),
            rate: Some(floor_rate),
            ratio: Some(1.0),
            ..Row::default()
        },
        Row {
            work,
            contestant: "tidewire to null".to_owned(),
            wall: Some(taken.wall),
            rate: Some(rate),
            ratio: Some(taken.wall.as_secs_f64() / floor.as_secs_f64()),
            cpu_per_change: Some(taken.cpu.div_f64(rows as f64)),
            peak_kib: Some(taken.peak_kib),
            first: Some(taken.first),
            goals: vec![met, Goal::at_most("150 MiB", taken.peak_kib as f64 / 1024.0, 150.0)],
            latency: None,
        },
    ])
}

fn copy(server: &Postgres) -> Result<Duration> {
    let mut command = process::guarded(&program("psql")?);
    command.args(["-h", "127.0.0.1", "-U", "postgres", "-d", "postgres", "-p", &server.port().to_string()]);
    command.args(["-X", "-q", "-c", "COPY rows TO STDOUT"]).stdin(Stdio::null()).stdout(Stdio::null());
    let start = Instant::now();
    let status = process::spawn(command)?.wait().context("wait for psql")?;
    if !status.success() {
        bail!("psql ended with {status}");
    }
    Ok(start.elapsed())
}
