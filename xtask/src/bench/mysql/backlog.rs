//! A backlog, written before anybody reads it. Every daemon has run before and shipped some rows: what is measured is a
//! restart.

use super::super::backlog::{CPU_MAX, Contestant, Entrant, FIRST_MAX, PEAK_MAX_MIB, TRANSACTION, seconds};
use super::super::sample::{self, Sample};
use super::super::table::{Goal, Row};
use super::{Bench, create_items, insert_items};
use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use std::process::Stdio;
use std::time::{Duration, Instant};
use tidewire_testkit::mysql::{Client, Dump};
use tidewire_testkit::{Mysql, process};

type Write = dyn Fn(&Client) -> Result<()>;

/// Rows that a daemon ships before the backlog is written.
const PRIMING: u64 = 2_000;

/// What is written, by a session in the tests' database.
struct Work {
    title: String,
    changes: u64,
    write: Box<Write>,
    has_first: bool,
}

impl Bench<'_> {
    /// Inserts in transactions of 1,000, then updates of every fifth row, too.
    pub(super) fn drain(&self) -> Result<Vec<Row>> {
        let rows = self.options.rows.next_multiple_of(5 * TRANSACTION);
        let changes = rows + rows / 5;
        let write = move |client: &Client| {
            for t in 0..rows / TRANSACTION {
                let numbers = format!("SELECT {} + n AS g FROM aside.numbers", t * TRANSACTION + 1);
                client.execute(&insert_items(&numbers))?;
            }
            let step = 5 * TRANSACTION;
            for t in 0..rows / step {
                let (first, last) = (t * step + 1, (t + 1) * step);
                client.execute(&format!(
                    "UPDATE items SET state = 'shipped', total = total + 1 WHERE id BETWEEN {first} AND {last} AND MOD(id, 5) = 0"
                ))?;
            }
            Ok(())
        };
        self.backlog(&Work {
            title: format!("backlog, {changes} changes"),
            changes,
            write: Box::new(write),
            has_first: true,
        })
    }

    /// One transaction that inserts twice as many rows, as it is and compressed.
    pub(super) fn large(&self) -> Result<Vec<Row>> {
        // As many as the numbers give.
        let rows = (2 * self.options.rows).min(10_000_000);
        let numbers = format!(
            "SELECT 1 + a.n + 1000 * (b.n + 1000 * c.d) AS g FROM aside.numbers a, aside.numbers b, aside.digits c
             WHERE a.n + 1000 * (b.n + 1000 * c.d) < {rows}"
        );
        let mut measured = Vec::new();
        for compressed in [false, true] {
            let set = match (compressed, self.version.is_mariadb()) {
                (false, _) => "DO 0",
                (true, false) => "SET SESSION binlog_transaction_compression = ON",
                (true, true) => "SET GLOBAL log_bin_compress = ON",
            };
            let statements = format!("{set}; {}", insert_items(&numbers));
            let word = if compressed { ", compressed" } else { "" };
            measured.extend(self.backlog(&Work {
                title: format!("one transaction, {rows} rows{word}"),
                changes: rows,
                write: Box::new(move |client| client.execute(&statements).map(drop)),
                has_first: false,
            })?);
        }
        Ok(measured)
    }

    fn backlog(&self, work: &Work) -> Result<Vec<Row>> {
        let only = &self.options.only;
        let takes_part = |contestant: &&Contestant| only.is_empty() || only.contains(contestant);
        let server = self.server()?;
        let client = server.client()?;
        create_items(&client)?;
        let mut entrants = Vec::new();
        for (number, contestant) in Contestant::value_variants().iter().filter(takes_part).enumerate() {
            entrants.push(Entrant::new(self.binary, &self.source(&server, "never", number), *contestant)?);
        }
        // One after the other: a server takes two readers of one source for the same, and ends the older.
        eprintln!("{}: first runs", work.title);
        for (number, entrant) in entrants.iter_mut().enumerate() {
            let start = Instant::now();
            entrant.daemon.run()?;
            entrant.daemon.wait_for("the source to stream", |status| {
                status.pointer("/sources/bench/state").is_some_and(|state| state == "streaming")
            })?;
            for t in 0..PRIMING / TRANSACTION {
                let numbers =
                    format!("SELECT -1 - n - {} AS g FROM aside.numbers", number as u64 * PRIMING + t * TRANSACTION);
                client.execute(&insert_items(&numbers))?;
            }
            sample::watch(&entrant.daemon, entrant.contestant.name(), PRIMING, start)?;
            entrant.daemon.terminate()?;
        }
        let (file, offset) = server.log_place()?;
        eprintln!("{}: writing", work.title);
        (work.write)(&client)?;
        let mut floors = vec![self.floor(&server, &file, offset)?];
        let tool = self.printed(&server, &file, offset)?;
        let mut samples = Vec::new();
        let last = entrants.len().saturating_sub(1);
        for (number, entrant) in entrants.iter_mut().enumerate() {
            eprintln!("{}: {}", work.title, entrant.contestant.name());
            // What was written for the first runs of those after it comes on top.
            let changes = work.changes + PRIMING * (last - number) as u64;
            samples.push((entrant.contestant, entrant.run(changes)?));
        }
        floors.push(self.floor(&server, &file, offset)?);
        let floor = floors.iter().sum::<Duration>() / 2;
        let line = |contestant: String, wall: Duration| Row {
            work: work.title.clone(),
            contestant,
            wall: Some(wall),
            rate: Some(work.changes as f64 / wall.as_secs_f64()),
            ratio: Some(wall.as_secs_f64() / floor.as_secs_f64()),
            ..Row::default()
        };
        let shown = floors.iter().map(seconds).collect::<Vec<_>>().join(", ");
        let mut rows = vec![line(format!("the log, unread ({shown})"), floor), line(self.tool().to_owned(), tool)];
        for (contestant, sample) in &samples {
            rows.push(Row {
                cpu_per_change: Some(sample.cpu.div_f64(sample.changes as f64)),
                peak_kib: Some(sample.peak_kib),
                first: Some(sample.first),
                goals: goals(work, *contestant, sample, floor, tool),
                ..line(format!("tidewire to {}", contestant.name()), sample.wall)
            });
        }
        Ok(rows)
    }

    /// The log from a place to its end, as the server sends it.
    fn floor(&self, server: &Mysql, file: &str, offset: u64) -> Result<Duration> {
        eprintln!("reading the log");
        let client = server.client()?;
        let start = Instant::now();
        let dump = Dump::read(&client, file, u32::try_from(offset).context("a place beyond 4 GiB")?)?;
        let wall = start.elapsed();
        eprintln!("{} events, {} MB", dump.events, dump.bytes / 1_000_000);
        Ok(wall)
    }

    /// The same by the server's own tool, which decodes and prints every row.
    fn printed(&self, server: &Mysql, file: &str, offset: u64) -> Result<Duration> {
        eprintln!("{}", self.tool());
        let mut command = server.distribution().binlog.guarded();
        command.args(["--no-defaults", "--verbose", "--base64-output=decode-rows", "--read-from-remote-server"]);
        command.args(["--host=127.0.0.1", "--user=root", &format!("--port={}", server.port()), "--to-last-log"]);
        command.args([if self.version.is_mariadb() { "--skip-ssl" } else { "--ssl-mode=DISABLED" }]);
        command.args([&format!("--start-position={offset}"), file]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let start = Instant::now();
        let output = process::spawn(command)?.wait_with_output().context("wait for the log's tool")?;
        let wall = start.elapsed();
        if !output.status.success() {
            bail!("{}: {}", self.tool(), process::tail(&String::from_utf8_lossy(&output.stderr)));
        }
        Ok(wall)
    }
}

/// `floor` is how long the log takes unread, `tool` how long the server's own tool takes with it.
fn goals(work: &Work, contestant: Contestant, sample: &Sample, floor: Duration, tool: Duration) -> Vec<Goal> {
    let mut goals = Vec::new();
    if contestant == Contestant::Null {
        goals.push(Goal::at_most("the tool's time", sample.wall.as_secs_f64(), tool.as_secs_f64()));
    }
    if work.has_first {
        if contestant == Contestant::Null {
            goals.push(Goal::at_most("2x", sample.wall.as_secs_f64(), 2.0 * floor.as_secs_f64()));
        }
        if contestant == Contestant::Kafka {
            let cpu = sample.cpu.div_f64(sample.changes as f64);
            goals.push(Goal::at_most("6 us", cpu.as_secs_f64(), CPU_MAX.as_secs_f64()));
        }
        goals.push(Goal::at_most("1 s", sample.first.as_secs_f64(), FIRST_MAX.as_secs_f64()));
    }
    let peak = sample.peak_kib as f64 / 1024.0;
    goals.push(Goal::at_most(&format!("{PEAK_MAX_MIB} MiB"), peak, PEAK_MAX_MIB as f64));
    goals
}
