use super::super::tests::{builder, column, for_log, read, show};
use super::super::{Decoder, Scratch, types};
use super::*;
use crate::model::{ColumnDef, ColumnKind, Flavour};
use proptest::prelude::*;

fn log(kind: ColumnKind, wire: u8, fsp: u16) -> Decoder {
    for_log(wire, fsp, &column(kind), ZeroDates::Null).unwrap()
}

#[test]
fn day_numbers_are_those_of_the_calendar() {
    for year in 0..=9_999 {
        for month in 0..=13 {
            for day in [0, 1, 15, 28, 29, 30, 31, 32] {
                let expect = Date::from_civil(year as i32, month, day);
                assert_eq!(day_number(year, month, day), expect, "{year}-{month}-{day}");
            }
        }
    }
}

/// What no server writes is no date, whatever becomes of impossible ones.
#[test]
fn parts_out_of_range_are_malformed() {
    let old = |number: u64| number.to_le_bytes().to_vec();
    let datetime = log(ColumnKind::DateTime { fsp: 0 }, types::DATETIME, 0);
    for number in [
        20_241_301_000_000u64,
        20_240_132_000_000,
        20_240_101_240_000,
        20_240_101_006_000,
        100_000_101_000_000,
        u64::MAX,
    ] {
        assert_eq!(read(&datetime, &old(number)), Err(DATETIME), "{number}");
    }
    let packed = |packed: u64| packed.to_be_bytes()[3..].to_vec();
    let datetime = log(ColumnKind::DateTime { fsp: 0 }, types::DATETIME2, 0);
    let noon = 1 << 39 | (2024 * 13 + 1) << 22 | 1 << 17 | 12 << 12;
    assert_eq!(read(&datetime, &packed(noon)).unwrap(), "2024-01-01 12:00:00");
    for number in [noon & !(1 << 39), noon | 31 << 12, noon | 60 << 6, noon | 60, 1 << 39 | (10_000 * 13) << 22] {
        assert_eq!(read(&datetime, &packed(number)), Err(DATETIME), "{number}");
    }
    let with_fraction = log(ColumnKind::DateTime { fsp: 2 }, types::DATETIME2, 2);
    assert_eq!(read(&with_fraction, &[&packed(noon)[..], &[100]].concat()), Err(DATETIME));
    let timestamp = log(ColumnKind::Timestamp { fsp: 6 }, types::TIMESTAMP2, 6);
    assert_eq!(read(&timestamp, b"\x00\x00\x00\x01\x0f\x42\x40"), Err(TIMESTAMP));
    let date = log(ColumnKind::Date, types::DATE, 0);
    assert_eq!(read(&date, &(2024u32 << 9 | 13 << 5 | 1).to_le_bytes()[..3]), Err(DATE));
    let time = log(ColumnKind::Time { fsp: 0 }, types::TIME2, 0);
    for clock in [839u32 << 12, 60 << 6, 60, 1 << 22] {
        assert_eq!(read(&time, &(0x80_0000 + clock).to_be_bytes()[1..]), Err(TIME), "{clock}");
    }
    let time = log(ColumnKind::Time { fsp: 0 }, types::TIME, 0);
    for number in [8_390_000i32, 6_000, -60] {
        assert_eq!(read(&time, &number.to_le_bytes()[..3]), Err(TIME), "{number}");
    }
    let result =
        |kind: ColumnKind, wire| Decoder::for_result(&column(kind), wire, 0, Flavour::MySql, ZeroDates::Null).unwrap();
    let datetime = result(ColumnKind::DateTime { fsp: 6 }, types::DATETIME);
    for bytes in [&b"\x05\xe8\x07\x01\x01\x00"[..], b"\x04\xe8\x07\x0d\x01", b"\x07\xe8\x07\x01\x01\x18\x00\x00"] {
        assert_eq!(read(&datetime, bytes), Err(DATETIME));
    }
    let time = result(ColumnKind::Time { fsp: 6 }, types::TIME);
    for bytes in [&b"\x08\x00\xff\xff\xff\xff\x00\x00\x00"[..], b"\x08\x00\x22\x00\x00\x00\x17\x00\x00", b"\x01\x00"] {
        assert_eq!(read(&time, bytes), Err(TIME));
    }
    assert_eq!(read(&time, b"\x00").unwrap(), "00:00:00.000000");
}

/// MY-64: seconds are unsigned, so that MariaDB's timestamps reach 2106.
#[test]
fn timestamps_reach_2106() {
    let timestamp = log(ColumnKind::Timestamp { fsp: 0 }, types::TIMESTAMP2, 0);
    for (seconds, expect) in [
        (1u32, "1970-01-01 00:00:01"),
        (0x7fff_ffff, "2038-01-19 03:14:07"),
        (0x8000_0000, "2038-01-19 03:14:08"),
        (u32::MAX, "2106-02-07 06:28:15"),
        (0, "NULL"),
    ] {
        assert_eq!(read(&timestamp, &seconds.to_be_bytes()).unwrap(), expect);
    }
}

/// It goes on as what it is, for whoever takes it or halts.
#[test]
fn an_impossible_date_keeps_its_text_where_it_halts() {
    let column = ColumnDef { nullable: false, ..column(ColumnKind::DateTime { fsp: 3 }) };
    let decoder = for_log(types::DATETIME2, 3, &column, ZeroDates::Halt).unwrap();
    let packed = 1u64 << 39 | (2024 * 13) << 22;
    let shown = read(&decoder, &[&packed.to_be_bytes()[3..], &[0, 50]].concat()).unwrap();
    assert_eq!(shown, "impossible 2024-00-00 00:00:00.005");
}

/// The packed form of `my_time_packed_to_binary`: the whole, fraction and all, as one number around its middle.
fn pack_time(micros: i64, fsp: u8) -> Vec<u8> {
    let size = micros.unsigned_abs();
    let (seconds, fraction) = (size / 1_000_000, size % 1_000_000);
    let clock = (seconds / 3_600) << 12 | (seconds / 60 % 60) << 6 | (seconds % 60);
    let (bits, fraction) = match fsp {
        0 => (0, 0),
        1 | 2 => (8, fraction / 10_000),
        3 | 4 => (16, fraction / 100),
        _ => (24, fraction),
    };
    let size = (clock << bits | fraction) as i64;
    let packed = (0x80_0000i64 << bits) + if micros < 0 { -size } else { size };
    packed.to_be_bytes()[5 - bits / 8..].to_vec()
}

proptest! {
    /// MY-65.
    #[test]
    fn times_are_read_as_packed(seconds in -3_020_399i64..=3_020_399, fraction in 0u32..1_000_000, fsp in 0u8..=6) {
        let unit = 10i64.pow(6 - u32::from(fsp));
        let fraction = i64::from(fraction) / unit * unit;
        let micros = seconds * 1_000_000 + if seconds < 0 { -fraction } else { fraction };
        let decoder = log(ColumnKind::Time { fsp }, types::TIME2, u16::from(fsp));
        let mut builder = builder();
        let cell = decoder.decode(&mut &pack_time(micros, fsp)[..], &mut builder, &mut Scratch::default());
        prop_assert_eq!(cell, Ok(Cell::fixed_time(micros, fsp)));
    }

    #[test]
    fn datetimes_are_read_as_packed(year in 0u64..=9_999, month in 1u64..=12, day in 1u64..=28, second in 0u64..86_400, micros in 0u32..1_000_000) {
        let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
        let packed = 1 << 39 | (year * 13 + month) << 22 | day << 17 | hour << 12 | minute << 6 | second;
        let bytes = [&packed.to_be_bytes()[3..], &micros.to_be_bytes()[1..]].concat();
        let kind = ColumnKind::DateTime { fsp: 6 };
        let text = for_log(types::DATETIME2, 6, &column(kind.clone()), ZeroDates::Text).unwrap();
        let expect = format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}.{micros:06}");
        prop_assert_eq!(read(&text, &bytes).unwrap(), expect);
        let date = Date::from_civil(year as i32, month as u32, day as u32).unwrap();
        let within = (hour * 3_600 + minute * 60 + second) as i64 * 1_000_000 + i64::from(micros);
        let mut builder = builder();
        let cell = log(kind, types::DATETIME2, 6).decode(&mut &bytes[..], &mut builder, &mut Scratch::default());
        prop_assert_eq!(show(cell.unwrap().value(&[])), show(Cell::timestamp(Timestamp { date, micros: within }).value(&[])));
    }
}
