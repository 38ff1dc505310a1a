//! Bytes that are no events never panic, and never hang.

use super::support::{Contents, LIMIT, format, recordings};
use crate::binlog::file::Walk;
use crate::binlog::payload::reader::PayloadReader;
use crate::binlog::{Event, Inflater, RawEvent, TableMap, count_rows_in, kind, parse, split};
use crate::gtid::GtidSet;
use proptest::prelude::*;

/// Every type of event of either server.
const KINDS: std::ops::RangeInclusive<u8> = 0..=175;

/// Everything that can be done with an event.
fn exhaust(kind: u8, body: &[u8], maria: bool, maps: &[TableMap]) {
    let format = format(maria);
    let mut header = crate::binlog::Header::read(&[0; 19]).unwrap();
    header.kind = kind;
    let Ok(event) = parse(&RawEvent { header, body }, &format) else { return };
    match event {
        Event::TableMap(map) => {
            let _ = map.names(&format);
            let _ = TableMap::parse(map.body, &format);
        }
        Event::Rows(rows) => {
            let mut inflater = Inflater::new(LIMIT);
            let Ok(images) = inflater.rows(&rows) else { return };
            for map in maps {
                let _ = count_rows_in(&rows, images, map);
            }
        }
        Event::CompressedQuery(query) => {
            let _ = Inflater::new(LIMIT).inflate(kind, query.statement);
        }
        Event::Payload(payload) => {
            let Ok(mut reader) = PayloadReader::new(&payload, payload.payload, LIMIT) else { return };
            while let Ok(Some(_)) = reader.next_event() {}
        }
        Event::PreviousGtids(body) => {
            let _ = GtidSet::decode(body);
        }
        Event::MariaGtidList(list) => {
            list.iter().count();
        }
        _ => {}
    }
}

/// Type and body of an event, and whether it is of MariaDB.
type Sample = (u8, Vec<u8>, bool);

/// Bodies of real events with their types, and all table maps.
fn corpus() -> (Vec<Sample>, Vec<TableMap>) {
    let (mut bodies, mut maps) = (Vec::new(), Vec::new());
    for (name, file) in recordings() {
        let maria = name.starts_with("ma");
        let mut walk = Walk::new(&file).unwrap();
        while let Some((raw, _)) = walk.next_event().unwrap() {
            bodies.push((raw.header.kind, raw.body.to_vec(), maria));
        }
        maps.extend(Contents::read(&file).unwrap().maps.into_values());
    }
    (bodies, maps)
}

/// Every event of every recording, cut at every place and with bits flipped all over.
#[test]
fn mutated_events_do_not_panic() {
    let (bodies, maps) = corpus();
    let mut seed = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = move |below: usize| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        (seed % below as u64) as usize
    };
    for (kind, body, maria) in bodies.iter().step_by(3) {
        if body.is_empty() {
            continue;
        }
        // A few maps at random are as good as all of them.
        let start = random(maps.len() - 3);
        let maps = &maps[start..start + 3];
        for _ in 0..12 {
            exhaust(*kind, &body[..random(body.len())], *maria, maps);
            let mut flipped = body.clone();
            for _ in 0..1 + random(4) {
                let at = random(flipped.len());
                flipped[at] =
                    if random(2) == 0 { flipped[at] ^ 1 << random(8) } else { [0, 0xff, 0xfc, 0xfe][random(4)] };
            }
            exhaust(*kind, &flipped, *maria, maps);
        }
    }
}

/// A file that is cut or flipped is an error, or its cut is between two events.
#[test]
fn broken_files_are_refused() {
    let (name, file) = recordings().into_iter().find(|(name, _)| name == "my80-full").unwrap();
    for at in (0..file.len()).step_by(37) {
        let mut flipped = file.clone();
        flipped[at] ^= 0x10;
        // Nothing of a file with checksums can be changed unseen, but the flag of an open file.
        let outcome = Contents::read(&flipped);
        assert!(outcome.is_err() || at == 21, "{name} flipped at {at}");
        let _ = Contents::read(&file[..at]);
    }
    assert!(Walk::new(b"").is_err());
    assert!(Walk::new(b"\xfdbin encrypted").is_err());
}

proptest! {
    #[test]
    fn random_bodies_do_not_panic(kind in KINDS, body in prop::collection::vec(any::<u8>(), 0..200), maria: bool) {
        exhaust(kind, &body, maria, &[]);
    }

    #[test]
    fn random_frames_do_not_panic(bytes in prop::collection::vec(any::<u8>(), 0..100), maria: bool) {
        let _ = split(&bytes, &format(maria)).map(|raw| parse(&raw, &format(maria)).map(|_| ()));
        let _ = split(&bytes, &crate::binlog::Format::default());
        let whole = super::support::event(kind::FORMAT_DESCRIPTION, 0, &bytes, true);
        let _ = split(&whole, &format(maria));
    }
}
