//! How long decoding takes of a binary log file in memory into batches of cells, without server and sink.
//!
//! `cargo run --release -p tidewire-mysql --example decode_rate -- FILE [mariadb]`

use std::time::Instant;
use tidewire_mysql::probe::{Log, events};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().ok_or("give a binary log file")?;
    let mariadb = arguments.next().is_some_and(|word| word == "mariadb");
    let file = std::fs::read(&path)?;
    let events = events(&file).ok_or("that is no binary log file")?;
    for run in 1..=5 {
        let start = Instant::now();
        let (mut log, mut rest, mut changes) = (Log::new(mariadb)?, events, 0);
        loop {
            let (batch, left) = log.read(rest)?;
            rest = left;
            match batch {
                Some(batch) => changes += batch.changes.len(),
                None => break,
            }
        }
        changes += log.finish()?.changes.len();
        let seconds = start.elapsed().as_secs_f64();
        let (rate, each) = (changes as f64 / seconds, seconds * 1e9 / changes as f64);
        println!("run {run}: {changes} changes in {seconds:.3} s, {rate:.0} a second, {each:.0} ns each");
    }
    Ok(())
}
