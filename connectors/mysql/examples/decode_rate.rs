//! How long decoding takes of a binary log file in memory into batches of cells, without server and sink, beside the
//! library's decoder on the same bytes. The file's tables must have whole metadata (`binlog_row_metadata = FULL`).
//!
//! `cargo run --release -p tidewire-mysql --example decode_rate -- FILE [mariadb]`

use mysql_common::binlog::BinlogFile;
use mysql_common::binlog::consts::BinlogVersion;
use mysql_common::binlog::events::EventData;
use std::error::Error;
use std::hint::black_box;
use std::time::Instant;
use tidewire_mysql::probe::{Log, events};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().ok_or("give a binary log file")?;
    let mariadb = arguments.next().is_some_and(|word| word == "mariadb");
    let file = std::fs::read(&path)?;
    let events = events(&file).ok_or("that is no binary log file")?;
    let (mut ours, mut theirs) = (f64::MAX, f64::MAX);
    for run in 1..=3 {
        ours = ours.min(measure("tidewire", run, || decode(events, mariadb))?);
        theirs = theirs.min(measure("mysql_common", run, || decode_by_library(&file))?);
    }
    println!("best of each: {:.1} times the library's rate", theirs / ours);
    println!("{}", serde_json::json!({ "tidewire_s": ours, "library_s": theirs }));
    Ok(())
}

/// Seconds for a row.
fn measure(name: &str, run: u32, decode: impl Fn() -> Result<usize, Box<dyn Error>>) -> Result<f64, Box<dyn Error>> {
    let start = Instant::now();
    let rows = decode()?;
    let seconds = start.elapsed().as_secs_f64();
    let each = seconds / rows as f64;
    println!("{name}, run {run}: {rows} rows in {seconds:.3} s, {:.0} a second, {:.0} ns each", 1.0 / each, each * 1e9);
    Ok(each)
}

fn decode(events: &[u8], mariadb: bool) -> Result<usize, Box<dyn Error>> {
    let (mut log, mut rest, mut rows) = (Log::new(mariadb)?, events, 0);
    loop {
        let (batch, left) = log.read(rest)?;
        rest = left;
        match batch {
            Some(batch) => rows += black_box(batch).changes.len(),
            None => return Ok(rows + log.finish()?.changes.len()),
        }
    }
}

fn decode_by_library(file: &[u8]) -> Result<usize, Box<dyn Error>> {
    let mut log = BinlogFile::new(BinlogVersion::Version4, file)?;
    let mut rows = 0;
    while let Some(event) = log.next() {
        let event = event?;
        let Some(EventData::RowsEvent(data)) = event.read_data()? else { continue };
        let map = log.reader().get_tme(data.table_id()).ok_or("rows without a map of their table")?;
        for row in data.rows(map) {
            black_box(row?);
            rows += 1;
        }
    }
    Ok(rows)
}
