//! What a column holds in a row that was inserted without it: with `binlog_row_image = MINIMAL` the log leaves out what an
//! `INSERT` does not name, unless a trigger or an expression gave it a value (MY-20). It has the default then, or without
//! one the value that the server takes for its type ("Data Type Default Values" in MySQL's manual). Where a definition does
//! not tell that value for certain, it is unknown.

use super::form::{Form, Frame};
use super::temporal::{Impossible, Meaning, Moment, Shape};
use super::{Decoder, Kind, Layout, Scratch, ValueError, ZeroDates, integer};
use crate::model::{ColumnDef, ColumnKind, DefaultValue, Generated};
use std::sync::Arc;
use tidewire_core::batch::BatchBuilder;
use tidewire_core::cell::{Cell, Tag};

/// What an insert that does not have a column means for it.
#[derive(Clone, Debug)]
pub(crate) enum Absent {
    /// It cannot be told.
    Unknown,
    /// Null.
    Null,
    /// A constant.
    Constant(Constant),
}

/// A value that stands for itself in every row.
#[derive(Clone, Debug)]
pub(crate) struct Constant {
    decoder: Decoder,
    bytes: Box<[u8]>,
}

impl Constant {
    /// Makes its cell.
    fn cell(&self, builder: &mut BatchBuilder, scratch: &mut Scratch) -> Result<Cell, ValueError> {
        self.decoder.decode(&mut &*self.bytes, builder, scratch)
    }
}

impl Absent {
    /// Of a column as declared.
    pub(crate) fn of(column: &ColumnDef, zero: ZeroDates) -> Absent {
        if column.auto_increment || column.generated != Generated::No {
            return Absent::Unknown;
        }
        let constant = match &column.default {
            None | Some(DefaultValue::Null) if column.nullable => return Absent::Null,
            None => implied(&column.kind).and_then(|text| constant(column, text, zero)),
            Some(DefaultValue::Literal { text }) => constant(column, text, zero),
            Some(_) => None,
        };
        let made = constant.map(|(kind, bytes)| Constant { decoder: Decoder { kind }, bytes: bytes.into() });
        made.map_or(Absent::Unknown, Absent::Constant)
    }

    /// Of a column of moments, from a text: of a timestamp in UTC.
    pub(crate) fn moment(column: &ColumnDef, text: &str, zero: ZeroDates) -> Absent {
        let (meaning, fsp) = match column.kind {
            ColumnKind::DateTime { fsp } => (Meaning::DateTime, fsp),
            ColumnKind::Timestamp { fsp } => (Meaning::Timestamp, fsp),
            _ => return Absent::Unknown,
        };
        let kind = moment(column, meaning, fsp, zero);
        let made = moment_parts(text, fsp).map(|bytes| Constant { decoder: Decoder { kind }, bytes: bytes.into() });
        made.map_or(Absent::Unknown, Absent::Constant)
    }

    /// The cell of such a column.
    pub(crate) fn cell(&self, builder: &mut BatchBuilder, scratch: &mut Scratch) -> Result<Cell, ValueError> {
        match self {
            Absent::Unknown => Ok(Cell::UNKNOWN),
            Absent::Null => Ok(Cell::NULL),
            Absent::Constant(constant) => constant.cell(builder, scratch),
        }
    }
}

/// What a column that is not null and has no default gets: the server refuses the row in its strict mode, but for an enum.
fn implied(kind: &ColumnKind) -> Option<&str> {
    Some(match kind {
        ColumnKind::TinyInt
        | ColumnKind::SmallInt
        | ColumnKind::MediumInt
        | ColumnKind::Int
        | ColumnKind::BigInt
        | ColumnKind::Float { .. }
        | ColumnKind::Double { .. }
        | ColumnKind::Bit { .. }
        | ColumnKind::Year => "0",
        ColumnKind::Char { .. }
        | ColumnKind::VarChar { .. }
        | ColumnKind::Text { .. }
        | ColumnKind::Binary { .. }
        | ColumnKind::VarBinary { .. }
        | ColumnKind::Blob { .. }
        | ColumnKind::Set { .. } => "",
        ColumnKind::Enum { labels } => labels.first()?,
        ColumnKind::Decimal { scale, .. } => ZERO_DECIMAL.get(..decimal_length(*scale))?,
        ColumnKind::Date => ZERO_MOMENT.get(..10)?,
        ColumnKind::DateTime { fsp } | ColumnKind::Timestamp { fsp } => {
            ZERO_MOMENT.get(..19 + fraction_length(*fsp))?
        }
        ColumnKind::Time { fsp } => ZERO_MOMENT.get(11..19 + fraction_length(*fsp))?,
        _ => return None,
    })
}

const ZERO_DECIMAL: &str = "0.00000000000000000000000000000000000000";
const ZERO_MOMENT: &str = "0000-00-00 00:00:00.000000";

fn decimal_length(scale: u8) -> usize {
    if scale == 0 { 1 } else { 2 + usize::from(scale) }
}

fn fraction_length(fsp: u8) -> usize {
    if fsp == 0 { 0 } else { 1 + usize::from(fsp) }
}

/// A constant of a column's type from its text: how it is read, and its bytes. `None` where the text may mean another
/// value to the server than it does here.
fn constant(column: &ColumnDef, text: &str, zero: ZeroDates) -> Option<(Kind, Vec<u8>)> {
    let moment = |meaning, fsp| moment(column, meaning, fsp, zero);
    Some(match &column.kind {
        ColumnKind::TinyInt => whole(text, 8, column.unsigned)?,
        ColumnKind::SmallInt => whole(text, 16, column.unsigned)?,
        ColumnKind::MediumInt => whole(text, 24, column.unsigned)?,
        ColumnKind::Int => whole(text, 32, column.unsigned)?,
        ColumnKind::BigInt => whole(text, 64, column.unsigned)?,
        ColumnKind::Decimal { precision, scale } => decimal(text, *precision, *scale, column.unsigned)?,
        // The catalog shows six digits of a float.
        ColumnKind::Float { .. } => (text == "0").then(|| (Kind::Float32, vec![0; 4]))?,
        ColumnKind::Double { digits } => double(text).filter(|_| digits.is_none() || text == "0")?,
        ColumnKind::Bit { length } => bits(text, *length)?,
        ColumnKind::Year => year(text).filter(|_| column.width != Some(2))?,
        ColumnKind::Date => (moment(Meaning::Date, 0), date_parts(text)?),
        ColumnKind::DateTime { fsp } => (moment(Meaning::DateTime, *fsp), moment_parts(text, *fsp)?),
        // Said in the time zone of a session that is not known.
        ColumnKind::Timestamp { fsp } => {
            (moment(Meaning::Timestamp, *fsp), moment_parts(text, *fsp).filter(|bytes| **bytes == [0])?)
        }
        ColumnKind::Time { fsp } => (Kind::TimeResult(*fsp), time_parts(text, *fsp)?),
        ColumnKind::Char { length } => string(column, text.trim_end_matches(' '), *length)?,
        ColumnKind::VarChar { length } => string(column, text, *length)?,
        ColumnKind::Text { .. } => string(column, text, u32::MAX)?,
        ColumnKind::Binary { length } => bytes(text, *length, Form::Padded(*length))?,
        ColumnKind::VarBinary { length } => bytes(text, *length, Form::Bytes)?,
        ColumnKind::Blob { .. } => bytes(text, u32::MAX, Form::Bytes)?,
        ColumnKind::Enum { labels } => framed(Form::Utf8(Tag::Enum), labels.iter().find(|label| ***label == *text)?)?,
        ColumnKind::Set { labels } => are_members(text, labels).then(|| framed(Form::Utf8(Tag::Set), text))??,
        _ => return None,
    })
}

fn moment(column: &ColumnDef, meaning: Meaning, fsp: u8, zero: ZeroDates) -> Kind {
    let impossible = Impossible::of(zero, column.nullable);
    Kind::Moment(Moment { shape: Shape::Result, meaning, fsp, impossible })
}

/// A length and bytes.
fn framed(form: Form, text: &str) -> Option<(Kind, Vec<u8>)> {
    let mut bytes = Vec::with_capacity(text.len() + 3);
    match text.len() {
        short @ 0..=250 => bytes.push(short as u8),
        long => {
            bytes.push(0xfc);
            bytes.extend_from_slice(&u16::try_from(long).ok()?.to_le_bytes());
        }
    }
    bytes.extend_from_slice(text.as_bytes());
    Some((Kind::Framed(Frame::Encoded, form), bytes))
}

/// In a character set that lacks a character it would be another.
fn string(column: &ColumnDef, text: &str, characters: u32) -> Option<(Kind, Vec<u8>)> {
    let charset = column.charset.as_ref()?;
    let is_sure = text.is_ascii() || &*charset.name == "utf8mb4";
    let fits = text.chars().count() <= characters as usize && &*charset.name != "binary";
    if is_sure && fits { framed(Form::Utf8(Tag::Text), text) } else { None }
}

fn bytes(text: &str, length: u32, form: Form) -> Option<(Kind, Vec<u8>)> {
    let fits = text.is_ascii() && text.len() <= length as usize;
    if fits { framed(form, text) } else { None }
}

fn are_members(text: &str, labels: &[Arc<str>]) -> bool {
    let mut left = labels.iter();
    text.is_empty() || text.split(',').all(|member| left.any(|label| **label == *member))
}

fn whole(text: &str, bits: u8, unsigned: bool) -> Option<(Kind, Vec<u8>)> {
    let number: i128 = text.parse().ok()?;
    let span = 1i128 << bits;
    let range = if unsigned { 0..span } else { -(span / 2)..span / 2 };
    let bytes = number.to_le_bytes();
    range.contains(&number).then(|| (integer(bits, unsigned), bytes.into_iter().take(usize::from(bits / 8)).collect()))
}

fn decimal(text: &str, precision: u8, scale: u8, unsigned: bool) -> Option<(Kind, Vec<u8>)> {
    Layout::new(precision, scale)?;
    let digits = text.strip_prefix('-').filter(|_| !unsigned).unwrap_or(text);
    let (whole, fraction) = if scale == 0 { (digits, "") } else { digits.split_once('.')? };
    let are_digits = whole.bytes().chain(fraction.bytes()).all(|byte| byte.is_ascii_digit());
    let fits = whole.trim_start_matches('0').len() <= usize::from(precision - scale);
    let is_whole = are_digits && fits && !whole.is_empty() && fraction.len() == usize::from(scale);
    if is_whole { framed(Form::DecimalText(scale), text) } else { None }
}

fn double(text: &str) -> Option<(Kind, Vec<u8>)> {
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte));
    let number: f64 = text.parse().ok().filter(|number: &f64| is_number && number.is_finite())?;
    Some((Kind::Float64, number.to_le_bytes().into()))
}

/// Digits of a number of base two.
fn bits(text: &str, length: u8) -> Option<(Kind, Vec<u8>)> {
    let fits = !text.is_empty() && text.len() <= usize::from(length) && length <= 64;
    let number =
        u64::from_str_radix(text, 2).ok().filter(|_| fits && text.bytes().all(|byte| byte.is_ascii_digit()))?;
    let bytes = number.to_be_bytes();
    Some((Kind::Bits(length), bytes.into_iter().skip(8 - usize::from(length.div_ceil(8))).collect()))
}

fn year(text: &str) -> Option<(Kind, Vec<u8>)> {
    let year = match text {
        "0" | "0000" => 0,
        _ => text.parse::<i16>().ok().filter(|year| (1901..=2155).contains(year) && text.len() == 4)?,
    };
    Some((integer(16, false), year.to_le_bytes().into()))
}

/// So many digits, then the rest.
fn digits(text: &str, count: usize) -> Option<(u32, &str)> {
    let (number, rest) = text.split_at_checked(count)?;
    let are_digits = number.bytes().all(|byte| byte.is_ascii_digit());
    Some((number.parse().ok().filter(|_| are_digits)?, rest))
}

/// `YYYY-MM-DD` as the result protocol has it, and the rest.
fn date_head(text: &str) -> Option<([u8; 4], &str)> {
    let (year, rest) = digits(text, 4)?;
    let (month, rest) = digits(rest.strip_prefix('-')?, 2)?;
    let (day, rest) = digits(rest.strip_prefix('-')?, 2)?;
    let [low, high] = u16::try_from(year).ok()?.to_le_bytes();
    Some(([low, high, u8::try_from(month).ok()?, u8::try_from(day).ok()?], rest))
}

/// `hh:mm:ss` and exactly as many digits of a fraction as the column has, after hours of so many digits.
fn time_of(text: &str, hour_digits: usize, fsp: u8) -> Option<(u32, [u8; 2], u32)> {
    let (hour, rest) = digits(text, hour_digits)?;
    let (minute, rest) = digits(rest.strip_prefix(':')?, 2)?;
    let (second, rest) = digits(rest.strip_prefix(':')?, 2)?;
    let (fraction, rest) = if fsp == 0 { (0, rest) } else { digits(rest.strip_prefix('.')?, usize::from(fsp))? };
    let micros = fraction.checked_mul(10u32.checked_pow(6u32.checked_sub(fsp.into())?)?)?;
    (rest.is_empty() && minute < 60 && second < 60).then_some((hour, [minute as u8, second as u8], micros))
}

fn date_parts(text: &str) -> Option<Vec<u8>> {
    let (date, rest) = date_head(text)?;
    if !rest.is_empty() {
        return None;
    }
    Some(if date == [0; 4] { vec![0] } else { [&[4][..], &date].concat() })
}

fn moment_parts(text: &str, fsp: u8) -> Option<Vec<u8>> {
    let (date, rest) = date_head(text)?;
    let (hour, [minute, second], micros) = time_of(rest.strip_prefix(' ')?, 2, fsp)?;
    let clock = [u8::try_from(hour).ok().filter(|hour| *hour < 24)?, minute, second];
    if date == [0; 4] && clock == [0; 3] && micros == 0 {
        return Some(vec![0]);
    }
    Some([&[11][..], &date, &clock, &micros.to_le_bytes()].concat())
}

fn time_parts(text: &str, fsp: u8) -> Option<Vec<u8>> {
    let (negative, clock) = match text.strip_prefix('-') {
        Some(rest) => (1, rest),
        None => (0, text),
    };
    let hour_digits = clock.find(':').filter(|count| (2..=3).contains(count))?;
    let (hours, [minute, second], micros) = time_of(clock, hour_digits, fsp)?;
    let (days, hour) = (hours / 24, (hours % 24) as u8);
    Some([&[12, negative][..], &days.to_le_bytes(), &[hour, minute, second], &micros.to_le_bytes()].concat())
}

#[cfg(test)]
mod tests;
