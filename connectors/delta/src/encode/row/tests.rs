//! Ids of whole rows: the same from cells and from a data file, for every type, and different where values are.

use super::*;
use crate::encode::column::Column;
use crate::encode::file::PartWriter;
use crate::encode::read::ColumnReader;
use crate::store::Store;
use crate::typemap::{ColumnType, TableColumn};
use proptest::prelude::*;
use std::sync::Arc;
use tidewire_core::calendar::{Date, Interval, Timestamp};
use tidewire_core::cell::{Dimension, Tag};
use tidewire_core::decimal::Decimal;
use tidewire_core::{Batch, BatchBuilder, BatchLimits, Cell, DataType as Source, Phase, Value};

fn decimal(text: &str) -> Value<'_> {
    Value::Decimal(Decimal::parse(text.as_bytes()).unwrap())
}

fn codec() -> RowCodec {
    RowCodec { seed: [1, 2, 3, 4], ..RowCodec::default() }
}

fn array_of(column_type: &ColumnType, values: &[Value<'_>]) -> ArrayRef {
    let mut column = Column::new(column_type);
    values.iter().for_each(|value| column.push(*value).unwrap());
    column.finish().unwrap()
}

fn ids(columns: &[Option<ArrayRef>]) -> Vec<KeyId> {
    let rows = columns.iter().flatten().next().map_or(0, |array| array.len());
    let mut ids = Vec::new();
    codec().ids_of_rows(columns, rows, &mut ids).unwrap();
    ids
}

/// The same column, from a data file.
fn from_file(column_type: &ColumnType, array: &ArrayRef) -> ArrayRef {
    let store = Store::in_memory().table("t");
    let column = TableColumn::own("c", column_type.clone());
    let mut out = PartWriter::create(&store, std::slice::from_ref(&column), &[]).unwrap();
    out.write(vec![Arc::clone(array)]).unwrap();
    let file = out.finish().unwrap();
    let mut reader = ColumnReader::open(&store, &file.path, file.size, &[&column], None).unwrap();
    reader.next_arrays().unwrap().unwrap().remove(0).unwrap()
}

/// Lists of numbers and texts; the elements of a text's list are one cell each.
fn lists() -> (Batch, Vec<Cell>, Vec<Cell>) {
    let mut b =
        BatchBuilder::new(Arc::new(crate::model::feed::descriptor(None)), Phase::Stream, BatchLimits::default());
    let number = |b: &mut BatchBuilder, elements: &[Option<i64>]| {
        let cells = elements.iter().map(|e| e.map_or(Cell::NULL, Cell::int)).collect::<Vec<_>>();
        let dimension = Dimension { length: cells.len() as u32, lower: 1 };
        b.array(b"", &vec![dimension; usize::from(!cells.is_empty())], &cells)
    };
    let numbers: [&[Option<i64>]; 6] = [&[], &[None], &[Some(0)], &[Some(1), None], &[None, Some(1)], &[Some(1)]];
    let numbers = numbers.map(|elements| number(&mut b, elements)).to_vec();
    let text = |b: &mut BatchBuilder, elements: &[&str]| {
        let cells = elements.iter().map(|e| b.long(Tag::Text, e.as_bytes())).collect::<Vec<_>>();
        b.array(b"", &[Dimension { length: cells.len() as u32, lower: 1 }], &cells)
    };
    let texts: [&[&str]; 4] = [&[""], &["ab", "c"], &["a", "bc"], &["abc"]];
    let texts = texts.map(|elements| text(&mut b, elements)).to_vec();
    (b.finish(None, true, 0), numbers, texts)
}

#[test]
fn a_file_gives_the_ids_that_the_cells_gave_for_every_type() {
    let at = |micros| Timestamp::from_epoch_micros(micros);
    let labels = || ["a", "b"].map(Into::into).into();
    let (batch, numbers, texts) = lists();
    let list = |cells: &[Cell]| cells.iter().map(|cell| cell.value(batch.arena())).collect::<Vec<_>>();
    let of = |element: Source| Source::Array { element: Box::new(element), element_native: "x".into() };
    let plain = || Source::Decimal { precision: None, scale: None };
    let exact = || Source::Decimal { precision: Some(20), scale: Some(2) };
    let nan = f64::from_bits(f64::NAN.to_bits() ^ 1 << 63);
    let cases: Vec<(Source, Vec<Value<'_>>)> = vec![
        (Source::Bool, vec![Value::Bool(true), Value::Bool(false)]),
        (Source::Int { bits: 8 }, vec![Value::Int(-128), Value::Int(127)]),
        (Source::Int { bits: 16 }, vec![Value::Int(-1), Value::Int(1)]),
        (Source::Int { bits: 32 }, vec![Value::Int(i32::MIN.into()), Value::Int(0)]),
        (Source::Int { bits: 64 }, vec![Value::Int(i64::MIN), Value::Int(i64::MAX)]),
        (Source::UInt { bits: 8 }, vec![Value::UInt(255), Value::UInt(0)]),
        (Source::UInt { bits: 16 }, vec![Value::UInt(65_535), Value::UInt(0)]),
        (Source::UInt { bits: 32 }, vec![Value::UInt(u32::MAX.into()), Value::UInt(0)]),
        (Source::UInt { bits: 64 }, vec![Value::UInt(u64::MAX), Value::UInt(0)]),
        (
            Source::Float32,
            vec![Value::Float32(0.0), Value::Float32(-0.0), Value::Float32(f32::NAN), Value::Float32(0.1)],
        ),
        (Source::Float64, vec![Value::Float64(0.0), Value::Float64(-0.0), Value::Float64(nan), Value::Float64(0.1)]),
        (exact(), vec![decimal("1.50"), decimal("-1.5"), decimal("0")]),
        (plain(), vec![decimal("1.0"), decimal("1.00"), decimal("-1"), decimal("NaN"), decimal("Infinity")]),
        (Source::Text, vec![Value::Text(b""), Value::Text(b"a"), Value::Text("é".as_bytes())]),
        (Source::Bytes, vec![Value::Bytes(b""), Value::Bytes(b"\0\xff")]),
        (Source::Geometry, vec![Value::Geometry(0, b"\x01x"), Value::Geometry(4326, b"\x01x")]),
        (Source::Date, vec![Value::Date(Date(-719_162)), Value::Date(Date(0))]),
        (Source::Time { precision: 6 }, vec![Value::Time(-1), Value::Time(1), Value::FixedTime(2, 6)]),
        (Source::TimeTz { precision: 6 }, vec![Value::TimeTz(0, 0), Value::TimeTz(0, 3_600)]),
        (Source::Timestamp { precision: 6 }, vec![Value::Timestamp(at(-1)), Value::Timestamp(at(0))]),
        (Source::TimestampTz { precision: 6 }, vec![Value::TimestampTz(at(-1)), Value::TimestampTz(at(0))]),
        (
            Source::Interval,
            vec![
                Value::Interval(Interval { months: 0, days: 30, micros: 0 }),
                Value::Interval(Interval { months: 1, days: 0, micros: 0 }),
            ],
        ),
        (Source::Uuid, vec![Value::Uuid(b"0"), Value::Uuid(b"1")]),
        (Source::Json, vec![Value::Json(b"{}"), Value::Json(b"{ }"), Value::Json(b"null")]),
        (Source::Enum { labels: labels() }, vec![Value::Enum(b"a"), Value::Enum(b"b")]),
        (Source::Set { labels: labels() }, vec![Value::Set(b"a"), Value::Set(b"a,b"), Value::Set(b"")]),
        (Source::Bits { length: Some(2), varying: false }, vec![Value::Bits(b"01"), Value::Bits(b"10")]),
        (Source::Range, vec![Value::Range(b"[1,2)"), Value::Range(b"empty")]),
        (Source::Composite, vec![Value::Composite(b"(1)"), Value::Composite(b"()")]),
        (Source::Other, vec![Value::Other(b"x"), Value::Other(b"y")]),
        (of(Source::Int { bits: 32 }), list(&numbers)),
        (of(Source::Text), list(&texts)),
    ];
    for (source, mut values) in cases {
        let column_type = ColumnType::of(&source);
        values.push(Value::Null);
        let cells = array_of(&column_type, &values);
        let expect = ids(&[Some(Arc::clone(&cells))]);
        assert_eq!(ids(&[Some(from_file(&column_type, &cells))]), expect, "{source:?}");
        let distinct = expect.iter().map(|KeyId(id)| *id).collect::<std::collections::BTreeSet<_>>();
        assert_eq!(distinct.len(), values.len(), "{source:?}: values that differ have ids that do");
        assert_eq!(expect.last(), ids(&[Some(array_of(&column_type, &[Value::Null]))]).last(), "{source:?}");
    }
    // Not a number has one form, and a decimal one scale.
    let one = |source: &Source, value| ids(&[Some(array_of(&ColumnType::of(source), &[value]))]);
    assert_eq!(one(&Source::Float64, Value::Float64(nan)), one(&Source::Float64, Value::Float64(f64::NAN)));
    assert_eq!(one(&exact(), decimal("1.5")), one(&exact(), decimal("1.50")));
}

#[test]
fn what_is_null_adds_nothing_and_what_is_not_has_its_column() {
    let text = |value| Some(array_of(&ColumnType::String, &[value]));
    let (a, null) = (text(Value::Text(b"a")), text(Value::Null));
    let one = |columns: &[Option<ArrayRef>]| ids(columns)[0];
    assert_eq!(one(std::slice::from_ref(&a)), one(&[a.clone(), null.clone()]), "a new column");
    assert_eq!(one(&[a.clone(), null.clone()]), one(&[a.clone(), None]), "a file from before it");
    assert_ne!(one(&[a.clone(), null.clone()]), one(&[null.clone(), a.clone()]));
    let pair =
        |first: &'static [u8], second: &'static [u8]| one(&[text(Value::Text(first)), text(Value::Text(second))]);
    assert_ne!(pair(b"ab", b"c"), pair(b"a", b"bc"));
    // A wider integer is the same.
    let wide = |kind| one(&[Some(array_of(&kind, &[Value::Int(-7)]))]);
    assert_eq!(wide(ColumnType::Byte), wide(ColumnType::Long));
}

#[test]
fn types_that_keep_ids_are_known() {
    let list = |kind: ColumnType| ColumnType::Array(Box::new(kind));
    let (batch, numbers, _) = lists();
    let lists = || numbers.iter().map(|cell| cell.value(batch.arena())).collect::<Vec<_>>();
    let integers = || [Value::Int(-7), Value::Int(0), Value::Int(100)];
    let floats = || [Value::Float32(0.1), Value::Float32(-0.0), Value::Float32(f32::NAN), Value::Float32(1e-40)];
    let (byte, long) = (ColumnType::Byte, ColumnType::Long);
    let cases: Vec<(ColumnType, ColumnType, Vec<Value<'_>>, bool)> = vec![
        (byte.clone(), ColumnType::Short, integers().into(), true),
        (ColumnType::Integer, long.clone(), integers().into(), true),
        (ColumnType::Integer, ColumnType::Double, integers().into(), false),
        (byte, ColumnType::Decimal(10, 0), integers().into(), false),
        (ColumnType::Float, ColumnType::Double, floats().into(), true),
        (ColumnType::Decimal(10, 2), ColumnType::Decimal(20, 2), vec![decimal("-1.5"), decimal("0")], true),
        (ColumnType::Decimal(10, 2), ColumnType::Decimal(20, 3), vec![decimal("-1.5"), decimal("1")], false),
        (ColumnType::Date, ColumnType::TimestampNtz, vec![Value::Date(Date(1))], false),
        (list(ColumnType::Integer), list(long.clone()), lists(), true),
        (list(ColumnType::Integer), list(ColumnType::Double), lists(), false),
    ];
    for (narrow, wider, values, keeps) in cases {
        assert!(narrow.widens_to(&wider));
        let array = array_of(&narrow, &values);
        let same = ids(&[Some(Arc::clone(&array))]) == ids(&[Some(wider.widen(&array).unwrap())]);
        assert_eq!((keeps_ids(&narrow, &wider), same), (keeps, keeps), "{narrow} to {wider}");
    }
}

#[test]
fn a_file_without_numbers_is_not_ours() {
    let texts = Some(array_of(&ColumnType::String, &[Value::Text(b"a"), Value::Text(b"a")]));
    let numbers = |values: [Value<'_>; 2]| Some(array_of(&ColumnType::Integer, &values));
    let ids = |numbers: Option<ArrayRef>| {
        let mut ids = Vec::new();
        IdCodec::Row(codec()).ids_of_arrays(&[texts.clone(), numbers], &mut ids).map(|()| ids)
    };
    let good = ids(numbers([Value::Int(0), Value::Int(i32::MAX.into())])).unwrap();
    assert_eq!(good.iter().map(|id| id.number()).collect::<Vec<_>>(), [0, i32::MAX as u32]);
    assert_eq!(good[0].numbered(5), good[1].numbered(5));
    for numbers in
        [None, numbers([Value::Int(0), Value::Null]), numbers([Value::Int(0), Value::Int(-1)]), texts.clone()]
    {
        assert_eq!(ids(numbers), None);
    }
}

#[test]
fn equal_rows_lie_far_from_each_other() {
    let first = ids(&[Some(array_of(&ColumnType::String, &[Value::Text(b"a")]))])[0];
    let mut buckets = [0u32; 1 << 10];
    let mut all = std::collections::BTreeSet::new();
    for number in 0..64 << 10 {
        let KeyId([high, low]) = first.numbered(number);
        buckets[(high >> 54) as usize] += 1;
        all.insert((high, low));
        assert_eq!(first.numbered(number).numbered(7), first.numbered(7));
    }
    assert_eq!(all.len(), 64 << 10);
    assert!(buckets.iter().all(|count| (56..=72).contains(count)), "{:?}", buckets.iter().max());
}

proptest! {
    #[test]
    fn a_file_gives_the_ids_that_the_cells_gave(rows in proptest::collection::vec((any::<i64>(), any::<f64>(), ".{0,6}"), 1..20)) {
        let numbers = rows.iter().map(|(number, ..)| Value::Int(*number)).collect::<Vec<_>>();
        let floats = rows.iter().map(|(_, float, _)| Value::Float64(*float)).collect::<Vec<_>>();
        let texts = rows.iter().map(|(.., text)| Value::Text(text.as_bytes())).collect::<Vec<_>>();
        let types = [ColumnType::Long, ColumnType::Double, ColumnType::String];
        let columns = types.iter().zip([numbers, floats, texts]).map(|(kind, values)| Some(array_of(kind, &values)));
        let columns = columns.collect::<Vec<_>>();
        let read = types.iter().zip(&columns).map(|(kind, array)| Some(from_file(kind, array.as_ref().unwrap())));
        prop_assert_eq!(ids(&read.collect::<Vec<_>>()), ids(&columns));
    }
}
