//! What our own profile does where Debezium loses a value, and that all settings give valid JSON.

use super::fixture::{self, Fixture, Text, Text::Is, table};
use super::script::{self, SPECIAL};
use super::{Recorded, encode};
use crate::format::{ArrayBounds, BinaryMode, DecimalMode, Envelope, FormatSettings, Profile, TemporalMode};
use std::sync::Arc;
use tidewire_core::batch::Before;
use tidewire_core::{Error, Op, Phase, Result, TableSchema};

const SOURCE: &str = "shop";
const OWN: FormatSettings = FormatSettings::DEFAULT;

/// One change in a transaction of its own.
struct Single<'a> {
    op: Op,
    before: Option<(Before, Vec<Text<'a>>)>,
    after: Option<Vec<Text<'a>>>,
}

fn single(settings: FormatSettings, table: &Arc<TableSchema>, change: &Single<'_>) -> Result<Vec<Recorded>> {
    let source = fixture::descriptor(SOURCE);
    let mut fixture = Fixture::new(&source, Phase::Stream);
    fixture.transaction(7);
    let before = change.before.as_ref().map(|(kind, row)| (*kind, &row[..]));
    fixture.change(change.op, table, before, change.after.as_deref());
    encode(settings, SOURCE, &[fixture.finish()])
}

fn insert(settings: FormatSettings, table: &Arc<TableSchema>, row: Vec<Text<'_>>) -> Result<String> {
    let records = single(settings, table, &Single { op: Op::Insert, before: None, after: Some(row) })?;
    Ok(member(&records[0], "after"))
}

/// A member of a record's envelope, as it was written.
pub(super) fn member(record: &Recorded, name: &str) -> String {
    let value = record.value.as_deref().expect("a value");
    let parsed: std::collections::HashMap<String, &serde_json::value::RawValue> =
        serde_json::from_str(value).expect("JSON");
    parsed[name].get().to_owned()
}

fn error_of<T: std::fmt::Debug>(result: Result<T>, code: &str, words: &[&str]) {
    let error: Error = result.expect_err(code);
    assert_eq!(error.code(), code);
    let text = format!("{error} {}", error.remedy().unwrap_or_default());
    for word in words {
        assert!(text.contains(word), "{word}: {text}");
    }
}

#[test]
fn the_extremes_are_exact_text() {
    let all = script::all_types(false);
    let [lowest, highest] = script::extremes(&all);
    let lowest = insert(OWN, &all, lowest).unwrap();
    let highest = insert(OWN, &all, highest).unwrap();
    for (row, expects) in [
        (
            lowest,
            [
                r#""c_num_38_10":"-9999999999999999999999999999.9999999999""#,
                r#""c_float4":-3.4028235E38"#,
                r#""c_bytea":"""#,
                r#""c_date":"-4712-01-01Z""#,
                r#""c_timetz":"00:00:00+15:59""#,
                r#""c_ts":"-4712-01-01T00:00:00Z""#,
                r#""c_interval":"P-1Y-2M-3DT-4H-5M-6.789S""#,
                r#""c_bit8":"00000000""#,
                r#""c_box":null"#,
            ],
        ),
        (
            highest,
            [
                r#""c_num":"0.00000000000000000001""#,
                r#""c_date":"+5874897-12-31Z""#,
                r#""c_time":"24:00:00Z""#,
                r#""c_timetz":"23:59:59.999999-15:59""#,
                r#""c_ts":"+294276-12-31T23:59:59.999999Z""#,
                r#""c_int_arr":[[1,2],[3,4]]"#,
                r#""c_text_arr":["a\"b","c,d",""]"#,
                r#""c_money":"92233720368547758.07""#,
                r#""c_float8":4.9E-324"#,
            ],
        ),
    ] {
        for expect in expects {
            assert!(row.contains(expect), "{expect}: {row}");
        }
    }
}

#[test]
fn special_values_keep_their_names() {
    let special = script::special();
    for (values, expect) in SPECIAL.concat().iter().zip([
        r#""c_f4":"NaN","c_f8":"NaN""#,
        r#""c_f4":"Infinity","c_f8":"-Infinity""#,
        r#""c_ts":"infinity","c_tstz":"infinity""#,
        r#""c_ts":"-infinity","c_tstz":"-infinity""#,
        r#""c_date":"infinity""#,
        r#""c_date":"-infinity""#,
        r#""c_num":"NaN""#,
        r#""c_num":"Infinity""#,
        r#""c_num_10_2":"NaN""#,
        r#""c_num":"1""#,
    ]) {
        let row = insert(OWN, &special, script::row(&special, values)).unwrap();
        assert!(row.contains(expect), "{expect}: {row}");
    }
}

#[test]
fn a_form_without_a_place_for_a_value_stops_the_table() {
    let special = script::special();
    let row = |values: &[(&str, &'static str)]| script::row(&special, values);
    let adaptive = FormatSettings { temporal: TemporalMode::Adaptive, ..OWN };
    let precise = FormatSettings { decimal: DecimalMode::Precise, ..OWN };
    let temporal = ["special", r#"{"id":"#, "`temporal = \"iso\"`"];
    for values in [[("id", "3"), ("c_ts", "infinity")], [("id", "5"), ("c_date", "-infinity")]] {
        error_of(insert(adaptive, &special, row(&values)), "value_out_of_range", &temporal);
    }
    // MY-64: a date that is none has no place in any form.
    for (column, text) in [("c_date", "0000-00-00"), ("c_ts", "2024-02-30 00:00:00")] {
        let mut none = row(&[("id", "1")]);
        none[special.column_index(column).unwrap()] = Text::Impossible(text);
        for settings in [OWN, adaptive] {
            error_of(insert(settings, &special, none.clone()), "date_impossible", &[column, "`zero_dates`"]);
        }
    }
    let beyond = row(&[("id", "1"), ("c_ts", "294276-12-31 00:00:00")]);
    error_of(insert(adaptive, &special, beyond), "value_out_of_range", &["c_ts"]);
    for column in ["c_num", "c_num_10_2"] {
        let nan = row(&[("id", "7"), (column, "NaN")]);
        error_of(insert(precise, &special, nan), "value_out_of_range", &[column, "`decimal = \"string\"`"]);
    }
}

#[test]
fn subscripts_of_arrays_stop_the_table_or_are_dropped_as_the_setting_says() {
    let table = table("t", &["id int4 not null", "a int4[]"], &["id"]);
    let drop = FormatSettings { array_bounds: ArrayBounds::Drop, ..OWN };
    for (array, expect) in [("{7,8}", "[7,8]"), ("[1:2]={7,8}", "[7,8]"), ("{}", "[]")] {
        let row = insert(OWN, &table, vec![Is("1"), Is(array)]).unwrap();
        assert_eq!(row, format!(r#"{{"id":1,"a":{expect}}}"#));
    }
    for (array, expect) in [("[0:1]={7,8}", "[7,8]"), ("[-1:0][-1:0]={{1,2},{3,4}}", "[[1,2],[3,4]]")] {
        let words = ["`a`", "public.t", r#"{"id":1}"#, "`array_bounds = \"drop\"`"];
        error_of(insert(OWN, &table, vec![Is("1"), Is(array)]), "value_out_of_range", &words);
        let row = insert(drop, &table, vec![Is("1"), Is(array)]).unwrap();
        assert_eq!(row, format!(r#"{{"id":1,"a":{expect}}}"#));
    }
    let debezium = FormatSettings { schemas: false, ..FormatSettings::DEBEZIUM_3 };
    let row = insert(debezium, &table, vec![Is("1"), Is("[0:1]={7,8}")]).unwrap();
    assert_eq!(row, r#"{"id":1,"a":[7,8]}"#);
}

#[test]
fn pg_30_unknown_is_never_null() {
    let toasted = script::toasted();
    let row = vec![Is("1"), Text::Unknown, Text::Unknown, Text::Null, Is("n")];
    let shown = insert(OWN, &toasted, row).unwrap();
    let expect = r#"{"id":1,"big":"__debezium_unavailable_value","bigb":"X19kZWJleml1bV91bmF2YWlsYWJsZV92YWx1ZQ==","bigj":null,"note":"n"}"#;
    assert_eq!(shown, expect);

    let floats = table("t", &["id int4 not null", "f float8[]"], &["id"]);
    let words = ["`f`", "`public.t`", "REPLICA IDENTITY FULL"];
    error_of(insert(OWN, &floats, vec![Is("1"), Text::Unknown]), "value_not_logged", &words);
    error_of(insert(OWN, &floats, vec![Text::Unknown, Text::Null]), "value_not_logged", &["`id`"]);
}

#[test]
fn an_old_row_shows_what_the_log_carries() {
    let toasted = script::toasted();
    let old = script::key_only(&toasted, &[("id", "1")]);
    let new = vec![Is("2"), Is("b"), Text::Null, Text::Null, Text::Null];
    let delete = Single { op: Op::Delete, before: Some((Before::Key, old.clone())), after: None };
    let records = single(OWN, &toasted, &delete).unwrap();
    assert_eq!(member(&records[0], "before"), r#"{"id":1}"#);
    assert_eq!((records.len(), &records[1].value), (2, &None));

    // PG-13: a changed key is a delete, its tombstone and a create, in this order.
    let update = Single { op: Op::Update, before: Some((Before::Key, old)), after: Some(new) };
    let records = single(OWN, &toasted, &update).unwrap();
    let keys: Vec<_> = records.iter().map(|record| record.key.as_deref().unwrap()).collect();
    assert_eq!(keys, [r#"{"id":1}"#, r#"{"id":1}"#, r#"{"id":2}"#]);
    assert_eq!(records[2].headers, [("__debezium.oldkey".to_owned(), r#"{"id":1}"#.to_owned())]);
    assert_eq!(member(&records[0], "before"), r#"{"id":1}"#);
}

#[test]
fn a_table_without_a_key_has_neither_keys_nor_tombstones() {
    let keyless = table("log", &["a int4"], &[]);
    let delete = Single { op: Op::Delete, before: Some((Before::Full, vec![Is("1")])), after: None };
    let records = single(OWN, &keyless, &delete).unwrap();
    assert_eq!((records.len(), &records[0].key), (1, &None));
    let debezium = FormatSettings { schemas: false, ..FormatSettings::DEBEZIUM_3 };
    assert_eq!(single(debezium, &keyless, &delete).unwrap().len(), 2);
}

#[test]
fn unsigned_numbers_and_nulls_are_what_the_row_says() {
    let table = table("t", &["id int4 not null", "u uint8", "d int4 = 42"], &["id"]);
    let row = || vec![Is("1"), Is("18446744073709551615"), Text::Null];
    assert_eq!(insert(OWN, &table, row()).unwrap(), r#"{"id":1,"u":18446744073709551615,"d":null}"#);
    let debezium = FormatSettings { schemas: false, ..FormatSettings::DEBEZIUM_3 };
    assert_eq!(insert(debezium, &table, row()).unwrap(), r#"{"id":1,"u":-1,"d":42}"#);
}

#[test]
fn truncates_are_shipped_unless_the_profile_skips_them() {
    let table = script::toasted();
    let truncate = Single { op: Op::Truncate, before: None, after: None };
    let records = single(OWN, &table, &truncate).unwrap();
    assert_eq!((member(&records[0], "op"), &records[0].key), (r#""t""#.to_owned(), &None));
    assert_eq!(single(FormatSettings::DEBEZIUM_3, &table, &truncate).unwrap(), []);
}

#[test]
fn the_flat_envelope_is_the_row() {
    let flat = FormatSettings { envelope: Envelope::Flat, ..OWN };
    let table = table("t", &["id int4 not null", "v text"], &["id"]);
    let update = Single { op: Op::Update, before: None, after: Some(vec![Is("1"), Is("x")]) };
    let expect = r#"{"id":1,"v":"x","__deleted":"false","__op":"u","__source_ts_ms":1795434214068,"__lsn":704937521}"#;
    assert_eq!(single(flat, &table, &update).unwrap()[0].value.as_deref(), Some(expect));
    let old = script::key_only(&table, &[("id", "1")]);
    let delete = Single { op: Op::Delete, before: Some((Before::Key, old)), after: None };
    let expect = r#"{"id":1,"__deleted":"true","__op":"d","__source_ts_ms":1795434214068,"__lsn":704937521}"#;
    assert_eq!(single(flat, &table, &delete).unwrap()[0].value.as_deref(), Some(expect));
    let reserved = fixture::table("r", &["id int4 not null", "__op text"], &["id"]);
    error_of(insert(flat, &reserved, vec![Is("1"), Text::Null]), "column_name_reserved", &["`__op`"]);
}

#[test]
fn a_transaction_has_one_id() {
    let settings = FormatSettings { transactions: true, ..OWN };
    let source = fixture::descriptor(SOURCE);
    let records = encode(settings, SOURCE, &[script::stream(&source)]).unwrap();
    let of = |topic: &str| records.iter().filter(|record| record.topic == topic).cloned().collect::<Vec<_>>();
    let (changes, metadata) = (of("shop.public.trunc_me"), of("shop.transaction"));
    // The transaction of four changes in two tables.
    let id = r#""24:700000024""#;
    for (record, orders) in changes[3..6].iter().zip([(1, 1), (3, 2), (4, 3)]) {
        let (total, collection) = orders;
        let expect = format!(r#"{{"id":{id},"total_order":{total},"data_collection_order":{collection}}}"#);
        assert_eq!(member(record, "transaction"), expect);
    }
    let status = |record: &Recorded| member(record, "status");
    assert!(metadata.chunks(2).all(|pair| status(&pair[0]) == "\"BEGIN\"" && status(&pair[1]) == "\"END\""));
    let ends = metadata.iter().filter(|record| member(record, "id") == id && status(record) == "\"END\"");
    let counts: Vec<String> = ends.map(|record| member(record, "event_count")).collect();
    assert_eq!(counts, ["4"]);
}

#[test]
fn every_setting_gives_valid_json() {
    let source = fixture::descriptor(SOURCE);
    let mut written = 0;
    for (profile, schemas, envelope) in [
        (Profile::Tidewire, false, Envelope::Debezium),
        (Profile::Tidewire, true, Envelope::Flat),
        (Profile::Debezium3, true, Envelope::Debezium),
    ] {
        for decimal in [DecimalMode::String, DecimalMode::Precise, DecimalMode::Double] {
            for (temporal, binary) in [
                (TemporalMode::Iso, BinaryMode::Base64),
                (TemporalMode::Adaptive, BinaryMode::Hex),
                (TemporalMode::Microseconds, BinaryMode::Bytes),
                (TemporalMode::Connect, BinaryMode::Hex),
            ] {
                let settings = FormatSettings { profile, schemas, envelope, decimal, temporal, binary, ..OWN };
                // Rows that a form has no place for end the run; what came before them was kept.
                let all = script::all_types(true);
                let [lowest, _] = script::extremes(&all);
                let single = single(settings, &all, &Single { op: Op::Insert, before: None, after: Some(lowest) });
                let snapshot = encode(settings, SOURCE, &[script::snapshot(&source)]).expect("plain rows");
                for record in single.unwrap().into_iter().chain(snapshot) {
                    for text in record.key.iter().chain(&record.value) {
                        assert!(serde_json::from_str::<serde_json::Value>(text).is_ok(), "{settings:?}: {text}");
                        written += 1;
                    }
                }
            }
        }
    }
    assert_eq!(written, 36 * 10);
}
