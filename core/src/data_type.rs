//! Column types in words that belong to no database. A connector maps its own types here once;
//! what has no neutral word keeps the database's text and name (`DataType::Other`).

use std::sync::Arc;

/// What a column holds. The comment of each variant names the cell that carries its values.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum DataType {
    /// `Cell::boolean`.
    Bool,
    /// Signed integer of 8, 16, 24, 32 or 64 bits; `Cell::int`.
    Int {
        /// Width in bits.
        bits: u8,
    },
    /// Unsigned integer of 8 to 64 bits; `Cell::uint`.
    UInt {
        /// Width in bits.
        bits: u8,
    },
    /// IEEE 754 single precision; `Cell::float32`.
    Float32,
    /// IEEE 754 double precision; `Cell::float64`.
    Float64,
    /// Exact decimal; `Value::Decimal`. Without bounds when the database declares none. A negative scale
    /// rounds to tens, hundreds and so on at the source and is kept here as declared.
    Decimal {
        /// Digits in all, if declared.
        precision: Option<u32>,
        /// Digits after the point, if declared.
        scale: Option<i32>,
    },
    /// UTF-8 text; `Value::Text`.
    Text,
    /// Raw bytes; `Value::Bytes`.
    Bytes,
    /// `Value::Date`.
    Date,
    /// Time of day, or a signed span in MySQL; `Value::Time` or `Value::FixedTime`.
    Time {
        /// Digits of a second's fraction, 0 to 6.
        precision: u8,
    },
    /// Time of day with an offset; `Value::TimeTz`.
    TimeTz {
        /// Digits of a second's fraction, 0 to 6.
        precision: u8,
    },
    /// Civil time without a zone; `Value::Timestamp`.
    Timestamp {
        /// Digits of a second's fraction, 0 to 6.
        precision: u8,
    },
    /// An instant, in UTC; `Value::TimestampTz`.
    TimestampTz {
        /// Digits of a second's fraction, 0 to 6.
        precision: u8,
    },
    /// `Value::Interval`.
    Interval,
    /// Lower-case text of 36 characters; `Value::Uuid`.
    Uuid,
    /// The database's own JSON text; `Value::Json`.
    Json,
    /// One label; `Value::Enum`.
    Enum {
        /// The labels in the database's order.
        labels: Arc<[Arc<str>]>,
    },
    /// Comma-joined labels; `Value::Set`.
    Set {
        /// The labels in the database's order.
        labels: Arc<[Arc<str>]>,
    },
    /// A string of the characters `0` and `1`, most significant first; `Value::Bits`.
    Bits {
        /// Declared length in bits, if any.
        length: Option<u32>,
        /// Whether shorter values are allowed.
        varying: bool,
    },
    /// Well-known binary and a reference system; `Value::Geometry`.
    Geometry,
    /// `Value::Array`.
    Array {
        /// Type of the elements.
        element: Box<DataType>,
        /// The database's name of the element type.
        element_native: Arc<str>,
    },
    /// The database's text of a range or multirange; `Value::Range`.
    Range,
    /// The database's text of a row value; `Value::Composite`.
    Composite,
    /// Any other type: its text, typed by the column's native name; `Value::Other`.
    Other,
}
