//! Writes one value in the form its column was given. Allocates nothing for values that fit 128 bits.

use super::binlog_json::write_binlog_json;
use super::column::Form;
use super::json::{write_base64, write_hex, write_int, write_plain, write_string};
use super::native::{write_hstore, write_point, write_srid, write_wkb_point};
use super::number::{write_decimal_fixed, write_decimal_variable, write_float32, write_float64};
use super::temporal::{self, Unit};
use crate::format::{ArrayBounds, Profile};
use tidewire_core::Value;
use tidewire_core::calendar::{Date, Fraction, Timestamp};
use tidewire_core::cell::Array;
use tidewire_core::decimal::{Decimal, Special};

/// Deepest nesting of an array's dimensions; PostgreSQL allows 6.
const DIMENSIONS_MAX: usize = 16;

/// Why a value could not be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The form has no place for it; what to set instead.
    OutOfRange { remedy: &'static str },
    /// It is a date that no calendar has.
    Impossible,
    /// The cell is not of the column's type.
    Mismatch,
}

const DECIMAL: Fault = Fault::OutOfRange { remedy: "set `decimal = \"string\"` in the sink's `format`" };
const TEMPORAL: Fault = Fault::OutOfRange { remedy: "set `temporal = \"iso\"` in the sink's `format`" };
const BOUNDS: Fault = Fault::OutOfRange {
    remedy: "set `array_bounds = \"drop\"` in the sink's `format` to write its elements without their subscripts, or let them begin at 1",
};
const PROFILE: Fault = Fault::OutOfRange { remedy: "leave `debezium-3` out of the sink's `format`" };

/// What writing needs beside the value.
pub(crate) struct ValueWriter<'a> {
    pub(crate) out: &'a mut Vec<u8>,
    pub(crate) scratch: &'a mut Vec<u8>,
    pub(crate) profile: Profile,
    pub(crate) array_bounds: ArrayBounds,
    /// Whether the row comes from the log, not from a snapshot.
    pub(crate) streamed: bool,
}

impl ValueWriter<'_> {
    /// Writes a value. After a fault the buffer may end in part of it.
    pub(crate) fn write(&mut self, form: &Form, value: Value<'_>) -> Result<(), Fault> {
        match (form, value) {
            (_, Value::Null) => self.out.extend_from_slice(b"null"),
            (_, Value::Impossible(_)) => return Err(Fault::Impossible),
            (Form::Bool, Value::Bool(value)) => self.boolean(value),
            (Form::Int | Form::UInt, Value::Int(value)) => write_int(self.out, value),
            (Form::Int | Form::UInt, Value::UInt(value)) => write_int(self.out, value),
            (Form::WrappedUInt, Value::UInt(value)) => write_int(self.out, value as i64),
            (Form::Float32, Value::Float32(value)) => write_float32(self.out, value),
            (Form::Float64, Value::Float64(value)) => write_float64(self.out, value),
            (Form::Widened, Value::Float32(value)) => write_float64(self.out, f64::from(value)),
            (Form::Text, Value::Uuid(text) | Value::Bits(text)) => write_plain(self.out, text),
            (Form::Text, value) => write_string(self.out, text_of(value)?),
            (Form::Base64, Value::Bytes(bytes)) => write_base64(self.out, bytes),
            (Form::Hex, Value::Bytes(bytes)) => write_hex(self.out, bytes),
            (_, Value::Decimal(value)) => return self.decimal(form, value),
            (_, Value::Date(value)) => return self.date(form, value),
            (_, Value::Time(micros) | Value::FixedTime(micros, _)) => return self.time(form, micros),
            (Form::TimeTz, Value::TimeTz(micros, offset)) if self.profile == Profile::Debezium3 => {
                temporal::write_utc_time(self.out, micros, offset);
            }
            (Form::TimeTz, Value::TimeTz(micros, offset)) => temporal::write_iso_time_tz(self.out, micros, offset),
            (_, Value::Timestamp(value)) => return self.timestamp(form, value),
            (Form::Zoned(fraction), Value::TimestampTz(value)) => {
                temporal::write_iso_timestamp(self.out, value, *fraction);
            }
            (Form::IsoInterval, Value::Interval(value)) => temporal::write_iso_interval(self.out, value),
            (Form::MicroDuration, Value::Interval(value)) => {
                write_int(self.out, temporal::debezium_interval(value).ok_or(PROFILE)?);
            }
            (Form::BitFlag, Value::Bits(bits)) => self.boolean(bits.contains(&b'1')),
            (Form::BitBytes, Value::Bits(bits)) => {
                self.fill_bits(bits);
                let used = self.scratch.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
                self.scratch.truncate(used);
                write_base64(self.out, self.scratch);
            }
            (Form::AllBitBytes, Value::Bits(bits)) => {
                self.fill_bits(bits);
                write_base64(self.out, self.scratch);
            }
            (Form::BinlogJson, Value::Json(text)) if self.streamed => {
                write_binlog_json(self.out, self.scratch, text).ok_or(Fault::Mismatch)?;
            }
            (Form::BinlogJson, Value::Json(text)) => write_string(self.out, text),
            (Form::Geometry, Value::Geometry(srid, wkb)) => self.geometry(srid, wkb),
            (Form::WkbPoint, Value::Geometry(srid, wkb)) => {
                write_wkb_point(self.out, srid, wkb).ok_or(Fault::Mismatch)?;
            }
            (Form::Point, value) => write_point(self.out, self.scratch, text_of(value)?).ok_or(Fault::Mismatch)?,
            (Form::Hstore, value) => write_hstore(self.out, self.scratch, text_of(value)?).ok_or(Fault::Mismatch)?,
            (Form::Array(element), Value::Array(array)) => return self.array(element, array),
            _ => return Err(Fault::Mismatch),
        }
        Ok(())
    }

    fn boolean(&mut self, value: bool) {
        self.out.extend_from_slice(if value { b"true" } else { b"false" });
    }

    fn decimal(&mut self, form: &Form, value: Decimal<'_>) -> Result<(), Fault> {
        let debezium = self.profile == Profile::Debezium3;
        match (form, value.special()) {
            (Form::DecimalText, Some(special)) if debezium => self.out.extend_from_slice(match special {
                Special::NaN => b"\"NAN\"",
                Special::Infinity => b"\"POSITIVE_INFINITY\"",
                Special::NegInfinity => b"\"NEGATIVE_INFINITY\"",
            }),
            (Form::DecimalText, _) => write_plain(self.out, value.text()),
            (Form::DecimalDouble, Some(_)) => write_plain(self.out, value.text()),
            (Form::DecimalDouble, None) => {
                let text = std::str::from_utf8(value.text()).map_err(|_| Fault::Mismatch)?;
                let nearest = text.parse::<f64>().map_err(|_| Fault::Mismatch)?;
                // A finite decimal beyond the largest double is not infinite.
                if nearest.is_infinite() && !debezium {
                    return Err(DECIMAL);
                }
                write_float64(self.out, nearest);
            }
            (Form::DecimalFixed(_) | Form::DecimalVariable, Some(_)) if debezium => {
                self.out.extend_from_slice(b"null");
            }
            (Form::DecimalFixed(_) | Form::DecimalVariable, Some(_)) => return Err(DECIMAL),
            (Form::DecimalFixed(scale), None) => {
                if !write_decimal_fixed(self.out, self.scratch, value, *scale) {
                    return Err(DECIMAL);
                }
            }
            (Form::DecimalVariable, None) => write_decimal_variable(self.out, self.scratch, value),
            _ => return Err(Fault::Mismatch),
        }
        Ok(())
    }

    fn date(&mut self, form: &Form, value: Date) -> Result<(), Fault> {
        match form {
            Form::IsoDate => temporal::write_iso_date(self.out, value),
            Form::Days if self.profile == Profile::Debezium3 => write_int(self.out, temporal::debezium_days(value)),
            Form::Days => write_int(self.out, temporal::epoch_days(value).ok_or(TEMPORAL)?),
            _ => return Err(Fault::Mismatch),
        }
        Ok(())
    }

    fn time(&mut self, form: &Form, micros: i64) -> Result<(), Fault> {
        match form {
            Form::IsoTime => temporal::write_iso_time(self.out, micros),
            Form::Time(Unit::Micros) => write_int(self.out, micros),
            Form::Time(Unit::Millis) => {
                let millis = i32::try_from(micros.div_euclid(1_000)).map_err(|_| TEMPORAL)?;
                write_int(self.out, millis);
            }
            _ => return Err(Fault::Mismatch),
        }
        Ok(())
    }

    fn timestamp(&mut self, form: &Form, value: Timestamp) -> Result<(), Fault> {
        match form {
            Form::IsoTimestamp => temporal::write_iso_timestamp(self.out, value, Fraction::Trimmed),
            Form::Timestamp(unit) if self.profile == Profile::Debezium3 => {
                write_int(self.out, temporal::debezium_units(value, *unit));
            }
            Form::Timestamp(unit) => write_int(self.out, temporal::epoch_units(value, *unit).ok_or(TEMPORAL)?),
            _ => return Err(Fault::Mismatch),
        }
        Ok(())
    }

    // The least significant byte first.
    fn fill_bits(&mut self, bits: &[u8]) {
        self.scratch.clear();
        let byte = |digits: &[u8]| digits.iter().fold(0u8, |byte, digit| byte << 1 | (digit & 1));
        self.scratch.extend(bits.rchunks(8).map(byte));
    }

    fn geometry(&mut self, srid: u32, wkb: &[u8]) {
        self.out.extend_from_slice(b"{\"wkb\":");
        write_base64(self.out, wkb);
        write_srid(self.out, srid);
    }

    // One dimension is a list, more are nested lists. Debezium writes a null for each outer element.
    fn array(&mut self, form: &Form, array: Array<'_>) -> Result<(), Fault> {
        let mut lengths = [0u64; DIMENSIONS_MAX];
        let mut count = 0;
        for dimension in array.dimensions() {
            if dimension.lower != 1 && self.array_bounds == ArrayBounds::Halt {
                return Err(BOUNDS);
            }
            *lengths.get_mut(count).ok_or(Fault::Mismatch)? = u64::from(dimension.length);
            count += 1;
        }
        let lengths = lengths.get(..count).unwrap_or_default();
        if count > 1 && self.profile == Profile::Debezium3 {
            let outer = lengths.first().copied().unwrap_or(0);
            self.out.push(b'[');
            for index in 0..outer {
                self.out.extend_from_slice(if index == 0 { b"null" } else { b",null" });
            }
            self.out.push(b']');
            return Ok(());
        }
        // Elements come row-major: after each, as many lists close as dimensions are full.
        let depth = count.max(1);
        self.out.extend(std::iter::repeat_n(b'[', depth));
        for (written, value) in array.elements().enumerate() {
            if written > 0 {
                let full = full_dimensions(lengths, written as u64);
                self.out.extend(std::iter::repeat_n(b']', full));
                self.out.push(b',');
                self.out.extend(std::iter::repeat_n(b'[', full));
            }
            self.write(form, value)?;
        }
        self.out.extend(std::iter::repeat_n(b']', depth));
        Ok(())
    }
}

// How many inner dimensions end after `written` elements; never the outermost.
fn full_dimensions(lengths: &[u64], written: u64) -> usize {
    let mut size = 1u64;
    let inner = lengths.iter().skip(1).rev();
    inner
        .take_while(|length| {
            size = size.saturating_mul(**length);
            size > 0 && written.is_multiple_of(size)
        })
        .count()
}

fn text_of(value: Value<'_>) -> Result<&[u8], Fault> {
    match value {
        Value::Text(text)
        | Value::Uuid(text)
        | Value::Json(text)
        | Value::Enum(text)
        | Value::Set(text)
        | Value::Bits(text)
        | Value::Range(text)
        | Value::Composite(text)
        | Value::Other(text) => Ok(text),
        _ => Err(Fault::Mismatch),
    }
}
