//! One growing column: cells in, an Arrow array out. Values land in typed vectors, so a cell costs a match and
//! a push and never an allocation. Knows nothing of tables, keys or files.

use super::text::write_text;
use crate::typemap::ColumnType;
use arrow_array::{
    ArrayRef, ArrowPrimitiveType, BinaryArray, BooleanArray, ListArray, PrimitiveArray, StringArray,
    types::{
        Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
        TimestampMicrosecondType,
    },
};
use arrow_buffer::{ArrowNativeType, BooleanBufferBuilder, NullBufferBuilder, OffsetBuffer};
use arrow_schema::ArrowError;
use std::sync::Arc;
use tidewire_core::Value;
use tidewire_core::calendar::{Date, Timestamp};
use tidewire_core::decimal::Decimal;

/// Why a column cannot hold a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unfit {
    /// Infinity or not a number.
    NotFinite,
    /// A date outside the years 1 to 9999.
    Year,
    /// A date that no calendar has.
    Calendar,
    /// An integer or decimal with more digits than the column has.
    Digits,
    /// An array with several dimensions, or one that does not begin at 1.
    Shape,
    /// An empty text where it would be taken for null.
    Empty,
    /// A text that no partition's folder can be called by.
    Path,
    /// The log did not carry the value.
    Unknown,
    /// A value of another kind than the column's type announces.
    Kind,
}

/// Days of 0001-01-01 and 9999-12-31.
const DAYS: std::ops::RangeInclusive<i32> = -719_162..=2_932_896;

/// Values of fixed width.
#[derive(Debug)]
pub(crate) struct Fixed<T> {
    values: Vec<T>,
    nulls: NullBufferBuilder,
}

impl<T: Copy + Default> Fixed<T> {
    fn new() -> Fixed<T> {
        Fixed { values: Vec::new(), nulls: NullBufferBuilder::new(0) }
    }

    fn push(&mut self, value: T) {
        self.values.push(value);
        self.nulls.append_non_null();
    }

    fn push_null(&mut self) {
        self.values.push(T::default());
        self.nulls.append_null();
    }

    fn repeat(&mut self, row: usize) {
        let value = self.values.get(row).copied().unwrap_or_default();
        self.values.push(value);
        let valid = row < self.nulls.len() && self.nulls.is_valid(row);
        self.nulls.append(valid);
    }

    fn finish<A>(&mut self) -> PrimitiveArray<A>
    where
        A: ArrowPrimitiveType<Native = T>,
        T: ArrowNativeType,
    {
        // Nothing is kept for the rows to come: a thousand tables may rest.
        PrimitiveArray::new(std::mem::take(&mut self.values).into(), self.nulls.finish())
    }
}

/// Values of any width, one after the other.
#[derive(Debug)]
pub(crate) struct Variable {
    offsets: Vec<i32>,
    bytes: Vec<u8>,
    nulls: NullBufferBuilder,
}

impl Variable {
    fn new() -> Variable {
        Variable { offsets: vec![0], bytes: Vec::new(), nulls: NullBufferBuilder::new(0) }
    }

    /// Ends the value that was written to `bytes`. A buffer is cut into files long before 2 GiB, and no single
    /// value of a source is that long.
    fn end(&mut self) -> Result<(), Unfit> {
        self.offsets.push(i32::try_from(self.bytes.len()).map_err(|_| Unfit::Digits)?);
        self.nulls.append_non_null();
        Ok(())
    }

    fn push(&mut self, value: &[u8]) -> Result<(), Unfit> {
        self.bytes.extend_from_slice(value);
        self.end()
    }

    fn push_null(&mut self) {
        self.offsets.push(self.offsets.last().copied().unwrap_or_default());
        self.nulls.append_null();
    }

    fn repeat(&mut self, row: usize) -> Result<(), Unfit> {
        if row >= self.nulls.len() || !self.nulls.is_valid(row) {
            self.push_null();
            return Ok(());
        }
        let bound = |at: usize| self.offsets.get(at).and_then(|o| usize::try_from(*o).ok()).unwrap_or_default();
        let (start, end) = (bound(row), bound(row + 1));
        self.bytes.extend_from_within(start..end);
        self.end()
    }

    fn take(&mut self) -> (OffsetBuffer<i32>, Vec<u8>) {
        let offsets = std::mem::replace(&mut self.offsets, vec![0]);
        (OffsetBuffer::new(offsets.into()), std::mem::take(&mut self.bytes))
    }
}

/// A list: where each begins, and the column of all elements.
#[derive(Debug)]
pub(crate) struct List {
    offsets: Vec<i32>,
    elements: Box<Column>,
    element_type: ColumnType,
    nulls: NullBufferBuilder,
}

/// A column of one type.
#[derive(Debug)]
pub(crate) enum Column {
    Boolean { values: BooleanBufferBuilder, nulls: NullBufferBuilder },
    Byte(Fixed<i8>),
    Short(Fixed<i16>),
    Integer(Fixed<i32>),
    Long(Fixed<i64>),
    Float(Fixed<f32>),
    Double(Fixed<f64>),
    Decimal { values: Fixed<i128>, precision: u8, scale: u8 },
    Date(Fixed<i32>),
    Timestamp(Fixed<i64>),
    TimestampNtz(Fixed<i64>),
    Text(Variable),
    Binary(Variable),
    Array(List),
}

impl Column {
    /// An empty column.
    pub(crate) fn new(column_type: &ColumnType) -> Column {
        match column_type {
            ColumnType::Boolean => {
                Column::Boolean { values: BooleanBufferBuilder::new(0), nulls: NullBufferBuilder::new(0) }
            }
            ColumnType::Byte => Column::Byte(Fixed::new()),
            ColumnType::Short => Column::Short(Fixed::new()),
            ColumnType::Integer => Column::Integer(Fixed::new()),
            ColumnType::Long => Column::Long(Fixed::new()),
            ColumnType::Float => Column::Float(Fixed::new()),
            ColumnType::Double => Column::Double(Fixed::new()),
            ColumnType::Decimal(precision, scale) => {
                Column::Decimal { values: Fixed::new(), precision: *precision, scale: *scale }
            }
            ColumnType::String => Column::Text(Variable::new()),
            ColumnType::Binary => Column::Binary(Variable::new()),
            ColumnType::Date => Column::Date(Fixed::new()),
            ColumnType::Timestamp => Column::Timestamp(Fixed::new()),
            ColumnType::TimestampNtz => Column::TimestampNtz(Fixed::new()),
            ColumnType::Array(element) => Column::Array(List {
                offsets: vec![0],
                elements: Box::new(Column::new(element)),
                element_type: (**element).clone(),
                nulls: NullBufferBuilder::new(0),
            }),
        }
    }

    /// Adds a value.
    ///
    /// # Errors
    /// When the column cannot hold it; the column is then of no further use.
    pub(crate) fn push(&mut self, value: Value<'_>) -> Result<(), Unfit> {
        match (&mut *self, value) {
            (_, Value::Unknown) => return Err(Unfit::Unknown),
            (_, Value::Null) => self.push_null(),
            (Column::Long(column), Value::Int(v)) => column.push(v),
            (Column::Integer(column), Value::Int(v)) => column.push(narrow(v)?),
            (Column::Text(column), Value::Text(v)) => return column.push(v),
            (Column::Text(column), value) => {
                write_text(&mut column.bytes, value)?;
                return column.end();
            }
            (_, Value::Impossible(_)) => return Err(Unfit::Calendar),
            (Column::Decimal { values, precision, scale }, value) => values.push(unscaled(value, *precision, *scale)?),
            (Column::Timestamp(column), Value::TimestampTz(v)) => column.push(micros(v)?),
            (Column::TimestampNtz(column), Value::Timestamp(v)) => column.push(micros(v)?),
            (Column::Date(column), Value::Date(v)) => column.push(days(v)?),
            (Column::Boolean { values, nulls }, Value::Bool(v)) => {
                values.append(v);
                nulls.append_non_null();
            }
            (Column::Double(column), Value::Float64(v)) => column.push(v),
            (Column::Float(column), Value::Float32(v)) => column.push(v),
            (Column::Byte(column), Value::Int(v)) => column.push(narrow(v)?),
            (Column::Short(column), Value::Int(v)) => column.push(narrow(v)?),
            (Column::Short(column), Value::UInt(v)) => column.push(narrow(v)?),
            (Column::Integer(column), Value::UInt(v)) => column.push(narrow(v)?),
            (Column::Long(column), Value::UInt(v)) => column.push(narrow(v)?),
            (Column::Binary(column), Value::Bytes(v)) => return column.push(v),
            (Column::Binary(column), Value::Geometry(srid, wkb)) => {
                column.bytes.extend_from_slice(&srid.to_le_bytes());
                return column.push(wkb);
            }
            (Column::Array(list), Value::Array(array)) => return list.push(array),
            _ => return Err(Unfit::Kind),
        }
        Ok(())
    }

    /// Adds null.
    pub(crate) fn push_null(&mut self) {
        match self {
            Column::Boolean { values, nulls } => {
                values.append(false);
                nulls.append_null();
            }
            Column::Byte(column) => column.push_null(),
            Column::Short(column) => column.push_null(),
            Column::Integer(column) | Column::Date(column) => column.push_null(),
            Column::Long(column) | Column::Timestamp(column) | Column::TimestampNtz(column) => column.push_null(),
            Column::Float(column) => column.push_null(),
            Column::Double(column) => column.push_null(),
            Column::Decimal { values, .. } => values.push_null(),
            Column::Text(column) | Column::Binary(column) => column.push_null(),
            Column::Array(list) => {
                list.offsets.push(list.offsets.last().copied().unwrap_or_default());
                list.nulls.append_null();
            }
        }
    }

    /// Adds a list of texts.
    pub(crate) fn push_texts<'a>(&mut self, texts: impl Iterator<Item = &'a [u8]>) -> Result<(), Unfit> {
        let Column::Array(list) = self else { return Err(Unfit::Kind) };
        let mut length = 0;
        for text in texts {
            list.elements.push(Value::Text(text))?;
            length += 1;
        }
        list.end(length)
    }

    /// Adds the value of an earlier row once more.
    pub(crate) fn repeat(&mut self, row: usize) -> Result<(), Unfit> {
        match self {
            Column::Boolean { values, nulls } => {
                let valid = row < nulls.len() && nulls.is_valid(row);
                let value = valid && values.get_bit(row);
                values.append(value);
                nulls.append(valid);
            }
            Column::Byte(column) => column.repeat(row),
            Column::Short(column) => column.repeat(row),
            Column::Integer(column) | Column::Date(column) => column.repeat(row),
            Column::Long(column) | Column::Timestamp(column) | Column::TimestampNtz(column) => column.repeat(row),
            Column::Float(column) => column.repeat(row),
            Column::Double(column) => column.repeat(row),
            Column::Decimal { values, .. } => values.repeat(row),
            Column::Text(column) | Column::Binary(column) => return column.repeat(row),
            Column::Array(list) => return list.repeat(row),
        }
        Ok(())
    }

    /// Memory that the values take, in bytes.
    pub(crate) fn size_bytes(&self) -> usize {
        match self {
            Column::Boolean { values, .. } => values.len() / 8,
            Column::Byte(column) => column.values.len(),
            Column::Short(column) => column.values.len() * 2,
            Column::Integer(column) | Column::Date(column) => column.values.len() * 4,
            Column::Float(column) => column.values.len() * 4,
            Column::Long(column) | Column::Timestamp(column) | Column::TimestampNtz(column) => column.values.len() * 8,
            Column::Double(column) => column.values.len() * 8,
            Column::Decimal { values, .. } => values.values.len() * 16,
            Column::Text(column) | Column::Binary(column) => column.bytes.len() + column.offsets.len() * 4,
            Column::Array(list) => list.offsets.len() * 4 + list.elements.size_bytes(),
        }
    }

    /// Hands out what was added and starts anew. Text is checked here, in bulk.
    ///
    /// # Errors
    /// When text is no UTF-8, which the source should have seen to.
    pub(crate) fn finish(&mut self) -> Result<ArrayRef, ArrowError> {
        Ok(match self {
            Column::Boolean { values, nulls } => Arc::new(BooleanArray::new(values.finish(), nulls.finish())),
            Column::Byte(column) => Arc::new(column.finish::<Int8Type>()),
            Column::Short(column) => Arc::new(column.finish::<Int16Type>()),
            Column::Integer(column) => Arc::new(column.finish::<Int32Type>()),
            Column::Long(column) => Arc::new(column.finish::<Int64Type>()),
            Column::Float(column) => Arc::new(column.finish::<Float32Type>()),
            Column::Double(column) => Arc::new(column.finish::<Float64Type>()),
            Column::Decimal { values, precision, scale } => {
                Arc::new(values.finish::<Decimal128Type>().with_precision_and_scale(*precision, scale.cast_signed())?)
            }
            Column::Date(column) => Arc::new(column.finish::<Date32Type>()),
            Column::Timestamp(column) => Arc::new(column.finish::<TimestampMicrosecondType>().with_timezone("UTC")),
            Column::TimestampNtz(column) => Arc::new(column.finish::<TimestampMicrosecondType>()),
            Column::Text(column) => {
                let (offsets, bytes) = column.take();
                Arc::new(StringArray::try_new(offsets, bytes.into(), column.nulls.finish())?)
            }
            Column::Binary(column) => {
                let (offsets, bytes) = column.take();
                Arc::new(BinaryArray::try_new(offsets, bytes.into(), column.nulls.finish())?)
            }
            Column::Array(list) => {
                let offsets = std::mem::replace(&mut list.offsets, vec![0]);
                let field = Arc::new(list.element_type.element_field());
                let offsets = OffsetBuffer::new(offsets.into());
                Arc::new(ListArray::try_new(field, offsets, list.elements.finish()?, list.nulls.finish())?)
            }
        })
    }
}

impl List {
    fn push(&mut self, array: tidewire_core::cell::Array<'_>) -> Result<(), Unfit> {
        let mut dimensions = array.dimensions();
        if dimensions.next().is_some_and(|first| first.lower != 1) || dimensions.next().is_some() {
            return Err(Unfit::Shape);
        }
        let elements = array.elements();
        let length = i32::try_from(elements.len()).map_err(|_| Unfit::Digits)?;
        for element in elements {
            self.elements.push(element)?;
        }
        self.end(length)
    }

    fn end(&mut self, length: i32) -> Result<(), Unfit> {
        let last = self.offsets.last().copied().unwrap_or_default();
        self.offsets.push(last.checked_add(length).ok_or(Unfit::Digits)?);
        self.nulls.append_non_null();
        Ok(())
    }

    fn repeat(&mut self, row: usize) -> Result<(), Unfit> {
        if row >= self.nulls.len() || !self.nulls.is_valid(row) {
            self.offsets.push(self.offsets.last().copied().unwrap_or_default());
            self.nulls.append_null();
            return Ok(());
        }
        let bound = |at: usize| self.offsets.get(at).copied().unwrap_or_default();
        let (start, end) = (bound(row), bound(row + 1));
        for element in start..end {
            self.elements.repeat(usize::try_from(element).map_err(|_| Unfit::Digits)?)?;
        }
        self.end(end - start)
    }
}

fn narrow<T>(value: impl TryInto<T>) -> Result<T, Unfit> {
    value.try_into().map_err(|_| Unfit::Digits)
}

/// Days since 1970 of a date that Delta can hold.
pub(crate) fn days(date: Date) -> Result<i32, Unfit> {
    match date {
        date if date.is_infinite() => Err(Unfit::NotFinite),
        Date(days) if DAYS.contains(&days) => Ok(days),
        _ => Err(Unfit::Year),
    }
}

/// Microseconds since 1970 of a timestamp that Delta can hold.
pub(crate) fn micros(timestamp: Timestamp) -> Result<i64, Unfit> {
    let days = i64::from(days(timestamp.date)?);
    Ok(days * tidewire_core::calendar::MICROS_PER_DAY + timestamp.micros)
}

/// The unscaled integer of a number at exactly the column's scale.
pub(crate) fn unscaled(value: Value<'_>, precision: u8, scale: u8) -> Result<i128, Unfit> {
    let integer = match value {
        Value::Decimal(decimal) if decimal.special().is_some() => return Err(Unfit::NotFinite),
        Value::Decimal(decimal) => return decimal_unscaled(decimal, precision, scale),
        Value::Int(v) => i128::from(v),
        Value::UInt(v) => i128::from(v),
        _ => return Err(Unfit::Kind),
    };
    let factor = 10i128.checked_pow(u32::from(scale)).ok_or(Unfit::Digits)?;
    within(integer.checked_mul(factor), precision)
}

fn within(value: Option<i128>, precision: u8) -> Result<i128, Unfit> {
    let limit = 10u128.checked_pow(u32::from(precision)).ok_or(Unfit::Digits)?;
    value.filter(|v| v.unsigned_abs() < limit).ok_or(Unfit::Digits)
}

fn decimal_unscaled(decimal: Decimal<'_>, precision: u8, scale: u8) -> Result<i128, Unfit> {
    // Most decimals are short: 18 digits fit 64 bits and need no checked arithmetic.
    let text = decimal.text();
    let written = decimal.scale();
    if text.len() + usize::from(scale) <= 18 && written <= usize::from(scale) {
        let magnitude = text.iter().filter(|b| b.is_ascii_digit()).fold(0i64, |v, b| v * 10 + i64::from(b - b'0'));
        let scaled = (written..usize::from(scale)).fold(magnitude, |v, _| v * 10);
        let signed = if text.first() == Some(&b'-') { -scaled } else { scaled };
        return within(Some(i128::from(signed)), precision);
    }
    within(decimal.unscaled(usize::from(scale)), precision)
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_array::{Array, cast::AsArray};
    use proptest::prelude::*;

    fn array_of(column_type: &ColumnType, values: &[Value<'_>]) -> Result<ArrayRef, Unfit> {
        let mut column = Column::new(column_type);
        for value in values {
            column.push(*value)?;
        }
        Ok(column.finish().unwrap())
    }

    fn decimal(text: &str) -> Value<'_> {
        Value::Decimal(Decimal::parse(text.as_bytes()).unwrap())
    }

    #[test]
    fn what_a_column_cannot_hold_is_refused() {
        let date = |y, m, d| Value::Date(Date::from_civil(y, m, d).unwrap());
        let day = |y, m, d| Timestamp { date: Date::from_civil(y, m, d).unwrap(), micros: 0 };
        for (column_type, value, expect) in [
            // PG-50: infinities, BC, years above 9999.
            (ColumnType::Date, Value::Date(Date::INFINITY), Unfit::NotFinite),
            // MY-64: dates that are none.
            (ColumnType::Date, Value::Impossible(b"0000-00-00"), Unfit::Calendar),
            (ColumnType::TimestampNtz, Value::Impossible(b"2024-02-30 00:00:00"), Unfit::Calendar),
            (ColumnType::Date, date(0, 12, 31), Unfit::Year),
            (ColumnType::Date, date(10_000, 1, 1), Unfit::Year),
            (ColumnType::Timestamp, Value::TimestampTz(Timestamp::NEG_INFINITY), Unfit::NotFinite),
            (ColumnType::TimestampNtz, Value::Timestamp(day(-44, 3, 15)), Unfit::Year),
            (ColumnType::TimestampNtz, Value::Timestamp(day(294_276, 12, 31)), Unfit::Year),
            // PG-52: NaN, infinity, too many digits.
            (ColumnType::Decimal(5, 2), decimal("NaN"), Unfit::NotFinite),
            (ColumnType::Decimal(5, 2), decimal("Infinity"), Unfit::NotFinite),
            (ColumnType::Decimal(5, 2), decimal("1000.00"), Unfit::Digits),
            (ColumnType::Decimal(5, 2), decimal("1.005"), Unfit::Digits),
            (ColumnType::Integer, Value::Int(1 << 31), Unfit::Digits),
            (ColumnType::Short, Value::UInt(1 << 15), Unfit::Digits),
            (ColumnType::Long, Value::Unknown, Unfit::Unknown),
            (ColumnType::Long, Value::Text(b"1"), Unfit::Kind),
            (ColumnType::Timestamp, Value::Timestamp(day(2024, 1, 1)), Unfit::Kind),
        ] {
            assert_eq!(array_of(&column_type, &[value]).err(), Some(expect), "{column_type} {value:?}");
        }
    }

    #[test]
    fn my_60_unsigned_numbers_are_exact() {
        let max = Value::UInt(u64::MAX);
        let array = array_of(&ColumnType::Decimal(20, 0), &[max, Value::UInt(0)]).unwrap();
        let values = array.as_primitive::<Decimal128Type>().values().to_vec();
        assert_eq!(values, [i128::from(u64::MAX), 0]);
        for (column_type, value) in [
            (ColumnType::Short, u64::from(u8::MAX)),
            (ColumnType::Integer, u64::from(u16::MAX)),
            (ColumnType::Long, u64::from(u32::MAX)),
        ] {
            assert!(array_of(&column_type, &[Value::UInt(value)]).is_ok(), "{column_type}");
        }
    }

    #[test]
    fn my_72_a_geometry_has_its_reference_system_before_it_as_in_mysql() {
        let array = array_of(&ColumnType::Binary, &[Value::Geometry(4_326, &[1, 2, 3])]).unwrap();
        assert_eq!(array.as_binary::<i32>().value(0), [0xe6, 0x10, 0, 0, 1, 2, 3]);
    }

    #[test]
    fn the_ends_of_the_calendar_fit() {
        let first = Timestamp { date: Date::from_civil(1, 1, 1).unwrap(), micros: 0 };
        let last = Timestamp { date: Date::from_civil(9999, 12, 31).unwrap(), micros: 86_399_999_999 };
        assert_eq!(micros(first), Ok(-62_135_596_800_000_000));
        assert_eq!(micros(last), Ok(253_402_300_799_999_999));
    }

    #[test]
    fn text_that_is_no_utf8_is_found() {
        let mut column = Column::new(&ColumnType::String);
        column.push(Value::Text(b"\xff")).unwrap();
        assert!(column.finish().is_err());
    }

    proptest! {
        #[test]
        fn decimals_are_exact(unscaled_value in -(10i128.pow(38) - 1)..10i128.pow(38), scale in 0u8..=38) {
            let digits = format!("{:0>width$}", unscaled_value.unsigned_abs(), width = usize::from(scale) + 1);
            let (whole, fraction) = digits.split_at(digits.len() - usize::from(scale));
            let sign = if unscaled_value < 0 { "-" } else { "" };
            let point = if fraction.is_empty() { "" } else { "." };
            let text = format!("{sign}{whole}{point}{fraction}");
            prop_assert_eq!(unscaled(decimal(&text), 38, scale), Ok(unscaled_value));
        }

        #[test]
        fn short_decimals_take_the_same_value(mantissa in -99_999i64..99_999, written in 0u32..4, scale in 4u8..8) {
            let text = format!("{:.*}", written as usize, mantissa as f64 / 10f64.powi(written as i32));
            let expect = i128::from(mantissa) * 10i128.pow(u32::from(scale) - written);
            prop_assert_eq!(unscaled(decimal(&text), 38, scale), Ok(expect));
        }

        #[test]
        fn repeating_a_row_gives_its_value(values in proptest::collection::vec(proptest::option::of(".{0,5}"), 1..20)) {
            let mut column = Column::new(&ColumnType::String);
            for value in &values {
                column.push(value.as_ref().map_or(Value::Null, |v| Value::Text(v.as_bytes()))).unwrap();
            }
            for row in 0..values.len() {
                column.repeat(row).unwrap();
            }
            let array = column.finish().unwrap();
            let twice: Vec<Option<&str>> = values.iter().chain(&values).map(|v| v.as_deref()).collect();
            prop_assert_eq!(array.as_string::<i32>().iter().collect::<Vec<_>>(), twice);
            prop_assert_eq!(array.len(), values.len() * 2);
        }
    }
}
