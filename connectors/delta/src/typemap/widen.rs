//! Which types grow into which without a value changing, and values of the narrower one as values of the wider one.
//! <https://github.com/delta-io/delta/blob/master/PROTOCOL.md#type-widening>

use super::ColumnType;
use arrow_array::cast::AsArray;
use arrow_array::types::{
    ArrowPrimitiveType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type,
    Int64Type, TimestampMicrosecondType,
};
use arrow_array::{Array, ArrayRef, ListArray, PrimitiveArray};
use arrow_schema::DataType as ArrowType;
use serde_json::{Value as Json, json};
use std::sync::Arc;

const MICROS_PER_DAY: i64 = 86_400_000_000;

/// Digits of a decimal that holds every integer of a type; `None` for other types.
fn digits(column_type: &ColumnType) -> Option<u8> {
    match column_type {
        ColumnType::Byte | ColumnType::Short | ColumnType::Integer => Some(10),
        ColumnType::Long => Some(20),
        _ => None,
    }
}

impl ColumnType {
    /// Whether the protocol lets a column of this type become one of the `wider` type.
    pub(crate) fn widens_to(&self, wider: &ColumnType) -> bool {
        use ColumnType::{Array, Byte, Date, Decimal, Double, Float, Integer, Long, Short, TimestampNtz};
        match (self, wider) {
            (Byte, Short | Integer | Long | Double) | (Short, Integer | Long | Double) | (Integer, Long | Double) => {
                true
            }
            (Float, Double) | (Date, TimestampNtz) => true,
            (Decimal(p, s), Decimal(q, t)) => self != wider && t >= s && q >= p && q - p >= t - s,
            (narrow, Decimal(q, t)) => digits(narrow).is_some_and(|p| *q >= p && q - p >= *t),
            (Array(own), Array(their)) => own.widens_to(their),
            _ => false,
        }
    }

    /// The entry of `delta.typeChanges` of a column that has become `wider`.
    pub(crate) fn change_to(&self, wider: &ColumnType) -> Json {
        let (mut from, mut to, mut path) = (self, wider, Vec::new());
        while let (ColumnType::Array(own), ColumnType::Array(their)) = (from, to) {
            (from, to) = (own, their);
            path.push("element");
        }
        let mut change = json!({ "fromType": from.to_string(), "toType": to.to_string() });
        if let (false, Some(members)) = (path.is_empty(), change.as_object_mut()) {
            members.insert("fieldPath".to_owned(), path.join(".").into());
        }
        change
    }

    /// Values of a file that is older than the column's type; `None` where the one does not grow into the other.
    pub(crate) fn widen(&self, array: &ArrayRef) -> Option<ArrayRef> {
        if let (ArrowType::List(_), ColumnType::Array(element)) = (array.data_type(), self) {
            let list = array.as_list::<i32>();
            let values = if *list.values().data_type() == element.arrow() {
                Arc::clone(list.values())
            } else {
                element.widen(list.values())?
            };
            let field = Arc::new(element.element_field());
            return Some(Arc::new(
                ListArray::try_new(field, list.offsets().clone(), values, list.nulls().cloned()).ok()?,
            ));
        }
        Some(match (array.data_type(), self) {
            (ArrowType::Int8, ColumnType::Short) => integers::<Int8Type, Int16Type>(array)?,
            (ArrowType::Int8, ColumnType::Integer) => integers::<Int8Type, Int32Type>(array)?,
            (ArrowType::Int8, ColumnType::Long) => integers::<Int8Type, Int64Type>(array)?,
            (ArrowType::Int8, ColumnType::Double) => integers::<Int8Type, Float64Type>(array)?,
            (ArrowType::Int16, ColumnType::Integer) => integers::<Int16Type, Int32Type>(array)?,
            (ArrowType::Int16, ColumnType::Long) => integers::<Int16Type, Int64Type>(array)?,
            (ArrowType::Int16, ColumnType::Double) => integers::<Int16Type, Float64Type>(array)?,
            (ArrowType::Int32, ColumnType::Long) => integers::<Int32Type, Int64Type>(array)?,
            (ArrowType::Int32, ColumnType::Double) => integers::<Int32Type, Float64Type>(array)?,
            (ArrowType::Float32, ColumnType::Double) => integers::<Float32Type, Float64Type>(array)?,
            (ArrowType::Date32, ColumnType::TimestampNtz) => {
                let days = array.as_primitive_opt::<Date32Type>()?;
                Arc::new(days.unary::<_, TimestampMicrosecondType>(|day| i64::from(day) * MICROS_PER_DAY))
            }
            (ArrowType::Int8, ColumnType::Decimal(..)) => self.scaled::<Int8Type>(array, 0)?,
            (ArrowType::Int16, ColumnType::Decimal(..)) => self.scaled::<Int16Type>(array, 0)?,
            (ArrowType::Int32, ColumnType::Decimal(..)) => self.scaled::<Int32Type>(array, 0)?,
            (ArrowType::Int64, ColumnType::Decimal(..)) => self.scaled::<Int64Type>(array, 0)?,
            (ArrowType::Decimal128(_, scale), ColumnType::Decimal(..)) => {
                self.scaled::<Decimal128Type>(array, u8::try_from(*scale).ok()?)?
            }
            _ => return None,
        })
    }

    /// Numbers with so many digits of a fraction as this decimal.
    fn scaled<A: ArrowPrimitiveType>(&self, array: &ArrayRef, from: u8) -> Option<ArrayRef>
    where
        A::Native: Into<i128>,
    {
        let ColumnType::Decimal(precision, scale) = self else { return None };
        let factor = 10i128.checked_pow(scale.checked_sub(from)?.into())?;
        let limit = 10i128.checked_pow((*precision).into())?;
        let numbers = array.as_primitive_opt::<A>()?;
        let scaled = numbers.unary_opt::<_, Decimal128Type>(|number| {
            let number = Into::<i128>::into(number).checked_mul(factor)?;
            (-limit < number && number < limit).then_some(number)
        });
        // A value without a place would have become null.
        let scaled = Some(scaled).filter(|scaled| scaled.null_count() == numbers.null_count())?;
        Some(Arc::new(scaled.with_precision_and_scale(*precision, scale.cast_signed()).ok()?))
    }
}

fn integers<A: ArrowPrimitiveType, B: ArrowPrimitiveType>(array: &ArrayRef) -> Option<ArrayRef>
where
    B::Native: From<A::Native>,
{
    let wider: PrimitiveArray<B> = array.as_primitive_opt::<A>()?.unary(B::Native::from);
    Some(Arc::new(wider))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encode::column::Column;
    use ColumnType::{
        Array as List, Byte, Date, Decimal, Double, Float, Integer, Long, Short, Timestamp, TimestampNtz,
    };
    use tidewire_core::Value;
    use tidewire_core::calendar::{Date as Day, Timestamp as Moment};
    use tidewire_core::decimal::Decimal as Number;

    #[test]
    fn what_grows_into_what() {
        let list = |element| List(Box::new(element));
        for (narrow, wider, grows) in [
            (Byte, Short, true),
            (Short, Long, true),
            (Integer, Long, true),
            (Integer, Integer, false),
            (Long, Integer, false),
            (Integer, Double, true),
            (Long, Double, false),
            (Integer, Float, false),
            (Float, Double, true),
            (Date, TimestampNtz, true),
            (Date, Timestamp, false),
            (Decimal(5, 2), Decimal(7, 2), true),
            (Decimal(5, 2), Decimal(7, 4), true),
            (Decimal(5, 2), Decimal(7, 5), false),
            (Decimal(5, 2), Decimal(5, 2), false),
            (Decimal(5, 2), Decimal(4, 1), false),
            (Integer, Decimal(10, 0), true),
            (Integer, Decimal(9, 0), false),
            (Integer, Decimal(12, 3), false),
            (Long, Decimal(20, 0), true),
            (Long, Decimal(19, 0), false),
            (list(Short), list(Long), true),
            (list(Short), Long, false),
        ] {
            assert_eq!(narrow.widens_to(&wider), grows, "{narrow} {wider}");
        }
        assert_eq!(Short.change_to(&Long), json!({ "fromType": "short", "toType": "long" }));
        let nested = list(list(Float)).change_to(&list(list(Double)));
        assert_eq!(nested, json!({ "fromType": "float", "toType": "double", "fieldPath": "element.element" }));
    }

    fn array(column_type: &ColumnType, values: &[Value<'_>]) -> ArrayRef {
        let mut column = Column::new(column_type);
        values.iter().for_each(|value| column.push(*value).unwrap());
        column.finish().unwrap()
    }

    #[test]
    fn values_stay_what_they_are() {
        let decimal = |text: &'static str| Value::Decimal(Number::parse(text.as_bytes()).unwrap());
        let ints = || vec![Value::Int(-3), Value::Null, Value::Int(100)];
        let floats = |values: &[f32]| values.iter().map(|value| Value::Float32(*value)).collect::<Vec<_>>();
        let doubles = |values: &[f64]| values.iter().map(|value| Value::Float64(*value)).collect::<Vec<_>>();
        let midnight = |day| Value::Timestamp(Moment { date: Day(day), micros: 0 });
        for (narrow, values, wider, expected) in [
            (Byte, ints(), Short, ints()),
            (Byte, ints(), Long, ints()),
            (Short, ints(), Integer, ints()),
            (Integer, ints(), Long, ints()),
            (Integer, ints(), Double, vec![Value::Float64(-3.0), Value::Null, Value::Float64(100.0)]),
            (Integer, ints(), Decimal(12, 2), vec![decimal("-3"), Value::Null, decimal("100.00")]),
            (Float, floats(&[1.1, f32::NEG_INFINITY]), Double, doubles(&[f64::from(1.1f32), f64::NEG_INFINITY])),
            (Date, vec![Value::Date(Day(-1))], TimestampNtz, vec![midnight(-1)]),
            (Decimal(4, 1), vec![decimal("-999.9"), Value::Null], Decimal(8, 5), vec![decimal("-999.9"), Value::Null]),
            (Decimal(4, 1), vec![decimal("0.1")], Decimal(38, 1), vec![decimal("0.1")]),
        ] {
            let widened = wider.widen(&array(&narrow, &values)).unwrap();
            assert_eq!(&widened, &array(&wider, &expected), "{narrow} {wider}");
            assert_eq!(*widened.data_type(), wider.arrow());
        }
        assert!(Integer.widen(&array(&Long, &ints())).is_none());
        assert!(Decimal(3, 0).widen(&array(&Decimal(4, 0), &[decimal("1234")])).is_none(), "a value without a place");
    }
}
