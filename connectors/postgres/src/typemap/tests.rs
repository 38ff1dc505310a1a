use super::resolve::{BareType, TypeCatalog, TypeFacts, TypeKind};
use super::*;
use proptest::prelude::*;
use std::collections::HashMap;
use std::sync::Arc;
use tidewire_core::calendar::{self, Date, Fraction, Interval, MICROS_PER_DAY, Timestamp};
use tidewire_core::cell::Value;
use tidewire_core::{BatchLimits, DataType, Phase, SourceDescriptor};

pub(super) fn builder() -> BatchBuilder {
    let descriptor = SourceDescriptor {
        name: "test".into(),
        connector: "postgresql",
        database: "test".into(),
        provenance: &[],
        has_sequence: true,
        snapshot_floor: None,
    };
    BatchBuilder::new(Arc::new(descriptor), Phase::Stream, BatchLimits::default())
}

fn base(element: Option<u32>) -> TypeFacts {
    TypeFacts {
        name: "t".to_owned(),
        built_in: true,
        kind: TypeKind::Base,
        element,
        delimiter: b',',
        base: None,
        labels: Arc::from([]),
    }
}

/// The built-in types of these tests, and a few that are not.
fn catalog() -> TypeCatalog {
    let mut types = HashMap::new();
    for oid in
        [16, 17, 18, 19, 20, 21, 23, 25, 26, 114, 142, 650, 700, 701, 790, 829, 869, 1042, 1043, 1082, 1083, 1114]
    {
        types.insert(oid, base(None));
    }
    for oid in [1184, 1186, 1266, 1560, 1562, 1700, 2950, 3802, 5069, 600] {
        types.insert(oid, base(None));
    }
    for (array, element) in [(1007, 23), (1009, 25), (1231, 1700), (1115, 1114), (1020, 603), (1001, 17)] {
        types.insert(array, base(Some(element)));
    }
    types.insert(603, TypeFacts { delimiter: b';', ..base(None) });
    let labels: Arc<[Arc<str>]> = Arc::from([Arc::from("sad"), Arc::from("ok")]);
    types.insert(90_001, TypeFacts { kind: TypeKind::Enum, labels, ..base(None) });
    types.insert(90_002, TypeFacts { kind: TypeKind::Domain, base: Some((1700, (5 << 16 | 2) + 4)), ..base(None) });
    types.insert(90_003, TypeFacts { kind: TypeKind::Domain, base: Some((90_002, -1)), ..base(None) });
    types.insert(90_004, TypeFacts { kind: TypeKind::Range, ..base(None) });
    types.insert(90_005, TypeFacts { kind: TypeKind::Composite, ..base(None) });
    types.insert(90_006, TypeFacts { name: "citext".to_owned(), built_in: false, ..base(None) });
    types.insert(90_007, TypeFacts { name: "hstore".to_owned(), built_in: false, ..base(None) });
    TypeCatalog::new(types)
}

pub(super) fn resolve(oid: u32, modifier: i32) -> (DataType, ColumnDecoder) {
    let types = catalog();
    let bare = types.bare(oid, modifier).unwrap();
    types.resolve(bare, |bare| Some(bare.oid.to_string().into())).unwrap()
}

/// Reads one text and shows what came of it.
fn with_value<T>(oid: u32, text: &[u8], look: impl FnOnce(Result<Value<'_>, ValueError>) -> T) -> T {
    let mut builder = builder();
    let cell = resolve(oid, -1).1.decode(text, &mut builder, &mut Scratch::default());
    let batch = builder.finish(None, true, 0);
    look(cell.map(|cell| cell.value(batch.arena())))
}

fn check(oid: u32, text: &str, expected: Value<'_>) {
    with_value(oid, text.as_bytes(), |value| assert_eq!(value, Ok(expected), "{oid} `{text}`"));
}

fn refuse(oid: u32, texts: &[&str]) {
    for text in texts {
        with_value(oid, text.as_bytes(), |value| assert!(value.is_err(), "{oid} `{text}` gave {value:?}"));
    }
}

#[test]
fn integers_are_exact_to_their_bounds() {
    check(21, "-32768", Value::Int(-32_768));
    check(20, "-9223372036854775808", Value::Int(i64::MIN));
    check(20, "9223372036854775807", Value::Int(i64::MAX));
    check(26, "4294967295", Value::UInt(4_294_967_295));
    check(5069, "18446744073709551615", Value::UInt(u64::MAX));
    refuse(21, &["32768", "-32769", "", "-", "1 ", "+1", "1.0", "0x1"]);
    refuse(20, &["9223372036854775808", "-9223372036854775809", "99999999999999999999"]);
    refuse(26, &["4294967296", "-1"]);
    check(16, "t", Value::Bool(true));
    refuse(16, &["true", "1", ""]);
}

#[test]
fn pg_50_dates_and_timestamps() {
    let day = |y, m, d| Date::from_civil(y, m, d).unwrap();
    check(1082, "2024-02-29", Value::Date(day(2024, 2, 29)));
    check(1082, "0044-03-15 BC", Value::Date(day(-43, 3, 15)));
    check(1082, "5874897-12-31", Value::Date(day(5_874_897, 12, 31)));
    check(1082, "4713-11-24 BC", Value::Date(day(-4712, 11, 24)));
    check(1082, "infinity", Value::Date(Date::INFINITY));
    let last = Timestamp { date: day(294_276, 12, 31), micros: MICROS_PER_DAY - 1 };
    check(1114, "294276-12-31 23:59:59.999999", Value::Timestamp(last));
    check(1114, "-infinity", Value::Timestamp(Timestamp::NEG_INFINITY));
    let bc = Timestamp { date: day(-4712, 1, 1), micros: 0 };
    check(1184, "4713-01-01 00:00:00+00 BC", Value::TimestampTz(bc));
    let shifted = Timestamp { date: day(2024, 2, 29), micros: 20 * 3_600_000_000 };
    check(1184, "2024-03-01 01:30:00+05:30", Value::TimestampTz(shifted));
    refuse(1082, &["2023-02-29", "24-01-01", "0000-01-01", "29.02.2024", "2024-02-29 ", "02/29/2024", "Infinity", ""]);
    refuse(
        1114,
        &["2024-02-29", "2024-02-29T00:00:00", "2024-02-29 24:00:00", "2024-02-29 00:00:00+00", "2024-02-29 00:60:00"],
    );
    refuse(1184, &["2024-02-29 00:00:00", "2024-02-29 00:00:00 UTC", "2024-02-29 00:00:00.1234567+00"]);
}

#[test]
fn pg_51_times_and_intervals() {
    check(1083, "24:00:00", Value::Time(MICROS_PER_DAY));
    check(1083, "00:00:00.000001", Value::Time(1));
    check(1266, "24:00:00+02", Value::TimeTz(MICROS_PER_DAY, 7_200));
    check(1266, "00:00:00-15:59:59", Value::TimeTz(0, -57_599));
    let whole = Interval { months: 10, days: 3, micros: -14_706_700_000 };
    check(1186, "1 year -2 mons +3 days -04:05:06.7", Value::Interval(whole));
    check(1186, "infinity", Value::Interval(Interval::INFINITY));
    let least = Interval { months: 0, days: 0, micros: i64::MIN };
    check(1186, "-2562047788:00:54.775808", Value::Interval(least));
    refuse(1083, &["24:00:01", "24:00:00.000001", "12:00", "12:60:00", "12:00:60", "1:00:00"]);
    refuse(
        1186,
        &[
            "",
            "1",
            "1 week",
            "P1D",
            "1 day 1 year",
            "1 day 1 day",
            "01:00:00 1 day",
            "2562047788:00:54.775808",
            "99999999999 days",
        ],
    );
}

#[test]
fn pg_52_numerics_keep_every_digit() {
    for text in ["1.10", "-0.0000000000000000000001", "NaN", "Infinity", "-Infinity", "0", "12300"] {
        with_value(1700, text.as_bytes(), |value| match value {
            Ok(Value::Decimal(decimal)) => assert_eq!(decimal.text(), text.as_bytes()),
            other => panic!("{other:?}"),
        });
    }
    let long = format!("{}.{}", "9".repeat(131_072), "1".repeat(16_383));
    with_value(1700, long.as_bytes(), |value| {
        assert!(matches!(value, Ok(Value::Decimal(d)) if d.text() == long.as_bytes()))
    });
    refuse(1700, &["1e5", "", "1,5", "0x10"]);
    assert_eq!(resolve(1700, (5 << 16 | 2) + 4).0, DataType::Decimal { precision: Some(5), scale: Some(2) });
    assert_eq!(
        resolve(1700, (5 << 16 | (-2 & 0x7ff)) + 4).0,
        DataType::Decimal { precision: Some(5), scale: Some(-2) }
    );
    assert_eq!(resolve(1700, -1).0, DataType::Decimal { precision: None, scale: None });
}

#[test]
fn pg_53_floats_are_bit_exact() {
    for (text, bits) in [
        ("-0", 0x8000_0000_0000_0000),
        ("1e-320", 2024),
        ("1.7976931348623157e+308", f64::MAX.to_bits()),
        ("Infinity", f64::INFINITY.to_bits()),
    ] {
        with_value(701, text.as_bytes(), |value| {
            assert!(matches!(value, Ok(Value::Float64(v)) if v.to_bits() == bits), "{text}")
        });
    }
    with_value(700, b"3.4028235e+38", |value| assert_eq!(value, Ok(Value::Float32(f32::MAX))));
    with_value(701, b"NaN", |value| assert!(matches!(value, Ok(Value::Float64(v)) if v.is_nan())));
    refuse(701, &["", "1,5", "one"]);
}

#[test]
fn pg_54_other_scalars() {
    check(17, "\\x", Value::Bytes(b""));
    check(17, "\\x00FFab", Value::Bytes(b"\x00\xff\xab"));
    refuse(17, &["\\x0", "\\xzz", "\\000", "", "x00"]);
    check(1042, "ch   ", Value::Text(b"ch   "));
    check(1560, "10100101", Value::Bits(b"10100101"));
    check(1562, "", Value::Bits(b""));
    refuse(1560, &["2", "1 "]);
    check(2950, "6f1e9d0a-1111-4222-8333-444455556666", Value::Uuid(b"6f1e9d0a-1111-4222-8333-444455556666"));
    refuse(2950, &["6F1E9D0A-1111-4222-8333-444455556666", "6f1e9d0a11114222833344445555666", ""]);
    for (text, decimal) in
        [("$0.00", "0.00"), ("-$1,234.56", "-1234.56"), ("$92,233,720,368,547,758.07", "92233720368547758.07")]
    {
        with_value(790, text.as_bytes(), |value| {
            assert!(matches!(value, Ok(Value::Decimal(d)) if d.text() == decimal.as_bytes()), "{text}")
        });
    }
    refuse(790, &["1.234,56 €", "$1234.56", "$12,34.56", "$,123.45", "($1.00)", "$1.0", "$", "12.34"]);
    check(869, "192.168.0.1/24", Value::Other(b"192.168.0.1/24"));
}

#[test]
fn pg_55_json_stays_byte_for_byte() {
    for text in [r#"{"b": 1.10, "a":1e400 , "a": "\u0000"}"#, "12345678901234567890", "null"] {
        check(114, text, Value::Json(text.as_bytes()));
    }
}

#[test]
fn pg_93_other_encodings_are_refused() {
    for (oid, text) in [(25, &b"caf\xe9"[..]), (114, b"\"\xff\""), (90_001, b"\xff"), (1009, b"{\xff}"), (869, b"\xff")]
    {
        with_value(oid, text, |value| assert_eq!(value, Err(ValueError::NotUtf8), "{oid}"));
    }
}

/// Lengths and lower bounds, and the elements as they are shown.
type Shown = (Vec<(u32, i32)>, Vec<String>);

fn array(oid: u32, text: &str) -> Result<Shown, ValueError> {
    with_value(oid, text.as_bytes(), |value| {
        let Value::Array(array) = value? else { panic!("no array") };
        assert_eq!(array.text(), text.as_bytes());
        let show = |value: Value<'_>| match value {
            Value::Null => "null".to_owned(),
            Value::Text(text) | Value::Other(text) => format!("'{}'", String::from_utf8_lossy(text)),
            Value::Int(value) => value.to_string(),
            other => format!("{other:?}"),
        };
        let dimensions = array.dimensions().map(|dimension| (dimension.length, dimension.lower)).collect();
        Ok((dimensions, array.elements().map(show).collect()))
    })
}

#[test]
fn pg_56_arrays_keep_nulls_quotes_shapes_and_bounds() {
    let strings = |list: &[&str]| list.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>();
    let text = r#"{NULL,"NULL","","a,b","\"","\\",plain,"{}"," ü "}"#;
    let expected = strings(&["null", "'NULL'", "''", "'a,b'", "'\"'", "'\\'", "'plain'", "'{}'", "' ü '"]);
    assert_eq!(array(1009, text), Ok((vec![(9, 1)], expected)));
    assert_eq!(array(1007, "[0:1]={7,8}"), Ok((vec![(2, 0)], strings(&["7", "8"]))));
    assert_eq!(array(1007, "{{1,2},{3,NULL}}"), Ok((vec![(2, 1), (2, 1)], strings(&["1", "2", "3", "null"]))));
    assert_eq!(array(1007, "[-1:0][2:2]={{1},{2}}"), Ok((vec![(2, -1), (1, 2)], strings(&["1", "2"]))));
    assert_eq!(array(1007, "{{{{{{1}}}}}}"), Ok((vec![(1, 1); 6], strings(&["1"]))));
    assert_eq!(array(1007, "{}"), Ok((Vec::new(), Vec::new())));
    assert_eq!(
        array(1020, "{(1,1),(0,0);(2,2),(1,1)}"),
        Ok((vec![(2, 1)], strings(&["'(1,1),(0,0)'", "'(2,2),(1,1)'"])))
    );
    for bad in [
        "",
        "{",
        "}",
        "1",
        "{1",
        "{1,}",
        "{,1}",
        "{1}}",
        "{1}x",
        "{{1},2}",
        "{1,{2}}",
        "{{1},{2,3}}",
        "{{}}",
        "{{},{}}",
        "{{{{{{{1}}}}}}}",
        "[0:1]={1}",
        "[0:1]={}",
        "[0:1]{1,2}",
        "[1:2147483648]={1}",
        "{a}",
        "{1;2}",
        "{\"1}",
        "{\"1\\",
        "{1 }",
    ] {
        assert!(array(1007, bad).is_err(), "{bad}");
    }
    assert!(array(1009, "{a\"b}").is_err() && array(1009, "{\"a\"b}").is_err() && array(1009, "{a\\,b}").is_err());
}

#[test]
fn pg_57_and_58_types_that_are_not_built_in() {
    assert_eq!(resolve(90_003, -1).0, DataType::Decimal { precision: Some(5), scale: Some(2) });
    assert_eq!(catalog().bare(90_003, -1), Some(BareType { oid: 1700, modifier: (5 << 16 | 2) + 4 }));
    check(90_001, "ok", Value::Enum(b"ok"));
    check(90_004, "[1,10)", Value::Range(b"[1,10)"));
    check(90_005, r#"(1,"a,b",,"""x""")"#, Value::Composite(br#"(1,"a,b",,"""x""")"#));
    check(90_006, "CiText", Value::Text(b"CiText"));
    check(90_007, r#""k"=>"v""#, Value::Other(br#""k"=>"v""#));
    assert_eq!(resolve(90_007, -1).0, DataType::Other);
    assert!(catalog().bare(77, -1).is_none());
}

#[test]
fn precisions_come_from_the_modifier() {
    assert_eq!(resolve(1114, 3).0, DataType::Timestamp { precision: 3 });
    assert_eq!(resolve(1184, -1).0, DataType::TimestampTz { precision: 6 });
    assert_eq!(resolve(1083, 0).0, DataType::Time { precision: 0 });
    assert_eq!(resolve(1560, 8).0, DataType::Bits { length: Some(8), varying: false });
    assert_eq!(resolve(1562, -1).0, DataType::Bits { length: None, varying: true });
    assert_eq!(resolve(21, -1).0, DataType::Int { bits: 16 });
}

fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
    let mut out = Vec::new();
    write(&mut out);
    String::from_utf8(out).unwrap()
}

/// As `array_out` quotes an element: when it is empty, a word for null, or has a character of the form.
fn quote(element: &str) -> String {
    let plain = !element.is_empty()
        && !element.eq_ignore_ascii_case("null")
        && !element.contains(|c: char| "{},\"\\".contains(c) || c.is_ascii_whitespace() || c == '\x0b');
    if plain { element.to_owned() } else { format!("\"{}\"", element.replace('\\', "\\\\").replace('"', "\\\"")) }
}

proptest! {
    #[test]
    fn timestamps_read_back(days in -2_451_545i32..106_000_000, micros in 0..MICROS_PER_DAY) {
        let value = Timestamp { date: Date(days), micros };
        let text = written(|out| calendar::write_timestamp(out, value, b' ', Fraction::Trimmed, b""));
        check(1114, &text, Value::Timestamp(value));
        let text = written(|out| calendar::write_timestamp(out, value, b' ', Fraction::Trimmed, b"+00"));
        check(1184, &text, Value::TimestampTz(value));
        let text = written(|out| if calendar::write_date(out, value.date) { out.extend_from_slice(b" BC") });
        check(1082, &text, Value::Date(value.date));
    }

    #[test]
    fn times_read_back(micros in 0..=MICROS_PER_DAY, offset in -57_599i32..=57_599) {
        let text = written(|out| calendar::write_time(out, micros, Fraction::Trimmed));
        check(1083, &text, Value::Time(micros));
        let text = written(|out| { calendar::write_time(out, micros, Fraction::Trimmed); calendar::write_offset(out, offset) });
        check(1266, &text, Value::TimeTz(micros, offset));
    }

    #[test]
    fn intervals_read_back(months: i32, days: i32, micros: i64) {
        let value = Interval { months, days, micros };
        let text = written(|out| calendar::write_interval(out, value));
        check(1186, &text, Value::Interval(value));
    }

    #[test]
    fn numbers_read_back(int: i64, single: f32, double: f64) {
        check(20, &int.to_string(), Value::Int(int));
        prop_assume!(!single.is_nan() && !double.is_nan());
        check(700, &format!("{single:e}"), Value::Float32(single));
        check(701, &format!("{double:e}"), Value::Float64(double));
    }

    #[test]
    fn bytes_read_back(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        check(17, &format!("\\x{hex}"), Value::Bytes(&bytes));
    }

    #[test]
    fn text_arrays_read_back(elements in proptest::collection::vec(proptest::option::of("\\PC{0,6}|[{},\"\\\\ ]{0,4}|null"), 1..8)) {
        let shown: Vec<String> = elements.iter().map(|e| e.as_deref().map_or("NULL".to_owned(), quote)).collect();
        let expected: Vec<String> = elements.iter().map(|e| e.as_deref().map_or("null".to_owned(), |e| format!("'{e}'"))).collect();
        prop_assert_eq!(array(1009, &format!("{{{}}}", shown.join(","))), Ok((vec![(elements.len() as u32, 1)], expected)));
    }

    #[test]
    fn no_text_panics(text in proptest::collection::vec(any::<u8>(), 0..60), pick in 0usize..16) {
        let oid = [16, 17, 20, 700, 790, 1082, 1083, 1114, 1184, 1186, 1266, 1560, 1700, 2950, 1007, 1009][pick];
        with_value(oid, &text, |value| { let _ = value; });
    }

    #[test]
    fn no_array_like_text_panics(text in "[{}\\[\\]:=,\"\\\\a1-]{0,24}") {
        let _ = array(1009, &text);
    }
}

/// Offsets into a batch are 32 bits wide, and a row may have several values of a gigabyte.
#[test]
fn pg_59_what_would_not_fit_the_arena_is_refused() {
    const GIB: usize = 1 << 30;
    for (length, held, room) in [
        (0, 0, true),
        (GIB, 2 * GIB, true),
        (GIB, 3 * GIB, false),
        (GIB, 4 * GIB, false),
        (8, u32::MAX as usize, false),
        (usize::MAX, 8, false),
    ] {
        assert_eq!(
            has_room(length, held),
            if room { Ok(()) } else { Err(ValueError::TooLarge) },
            "{length} after {held}"
        );
    }
}
