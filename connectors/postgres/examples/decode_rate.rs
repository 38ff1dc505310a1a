//! How long the decoding of a `pgoutput` insert of six columns takes, without server and sink.
//!
//! `cargo run --release -p tidewire-postgres --example decode_rate`

use std::time::Instant;
use tidewire_postgres::probe::Stream;

const ROWS: u64 = 1_000_000;
const COLUMNS: [(&str, u32); 6] =
    [("id", 20), ("amount", 1700), ("name", 25), ("at", 1184), ("count", 23), ("paid", 16)];

fn relation() -> Vec<u8> {
    let mut out = b"R\0\0\0\x01public\0orders\0d\0\x06".to_vec();
    for (place, (name, type_oid)) in COLUMNS.iter().enumerate() {
        out.push(u8::from(place == 0));
        out.extend_from_slice(name.as_bytes());
        out.push(0);
        out.extend_from_slice(&type_oid.to_be_bytes());
        out.extend_from_slice(&(-1i32).to_be_bytes());
    }
    out
}

fn insert(number: u64) -> Vec<u8> {
    let mut out = b"I\0\0\0\x01N\0\x06".to_vec();
    let id = number.to_string();
    for text in [&id, "1234.56", "a customer's name", "2024-02-29 12:34:56.789012+00", "42", "t"] {
        out.push(b't');
        out.extend_from_slice(&(text.len() as u32).to_be_bytes());
        out.extend_from_slice(text.as_bytes());
    }
    out
}

fn main() -> Result<(), tidewire_core::Error> {
    let messages: Vec<Vec<u8>> = (1_000_000..1_010_000).map(insert).collect();
    let mut stream = Stream::new();
    let mut begin = b"B".to_vec();
    begin.extend_from_slice(&1_000u64.to_be_bytes());
    begin.extend_from_slice(&0u64.to_be_bytes());
    begin.extend_from_slice(&7u32.to_be_bytes());
    stream.apply(10, &begin)?;
    stream.apply(10, &relation())?;
    for run in 1..=3 {
        let start = Instant::now();
        let mut changes = 0;
        for number in 0..ROWS {
            let message = messages.get((number % 10_000) as usize).map_or(&[][..], Vec::as_slice);
            if let Some(batch) = stream.apply(number, message)? {
                changes += batch.changes.len();
            }
        }
        let each = start.elapsed().as_nanos() as f64 / ROWS as f64;
        println!("run {run}: {each:.0} ns a message, {changes} changes in full batches");
    }
    Ok(())
}
