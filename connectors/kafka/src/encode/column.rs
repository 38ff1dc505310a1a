//! How the values of a column are written and what Connect calls their type: decided once per table
//! version from the neutral type, the database's own name of it and the settings.

use super::connect_type::ConnectType;
use super::temporal::Unit;
use crate::format::{BinaryMode, DecimalMode, FormatSettings, Profile, TemporalMode};
use tidewire_core::DataType;
use tidewire_core::calendar::Fraction;

/// What stands for a value that the log did not carry, as in Debezium.
pub(crate) const PLACEHOLDER: &str = "__debezium_unavailable_value";
/// The placeholder in an array of UUIDs: the name-based UUID (version 3) of its bytes.
const PLACEHOLDER_UUID: &str = "b68a35a7-17ad-35b3-af2a-ae46edb4545a";

/// Whose types these are: databases give one neutral type different forms in Debezium.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    PostgreSql,
    /// MySQL and MariaDB.
    MySql,
}

impl Dialect {
    /// The dialect of a source by its connector's name on the wire.
    pub(crate) fn of(connector: &str) -> Dialect {
        match connector {
            "mysql" | "mariadb" => Dialect::MySql,
            _ => Dialect::PostgreSql,
        }
    }
}

/// How a value is written.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Form {
    Bool,
    Int,
    UInt,
    /// Unsigned, through 64 signed bits: what Debezium does with it.
    WrappedUInt,
    Float32,
    Float64,
    /// A single float's value as a double.
    Widened,
    /// Any text-like value as a JSON string.
    Text,
    DecimalText,
    DecimalDouble,
    DecimalFixed(i32),
    DecimalVariable,
    Base64,
    Hex,
    Days,
    IsoDate,
    /// Milliseconds in 32 bits, or microseconds in 64.
    Time(Unit),
    IsoTime,
    TimeTz,
    Timestamp(Unit),
    IsoTimestamp,
    Zoned(Fraction),
    IsoInterval,
    MicroDuration,
    /// A single bit as a boolean.
    BitFlag,
    /// Bits as bytes, the least significant first, without trailing zeros.
    BitBytes,
    /// The same with all bytes.
    AllBitBytes,
    /// MySQL's JSON text; what the log has of it without blanks.
    BinlogJson,
    Geometry,
    /// Well-known binary of a point as `x`, `y` and itself.
    WkbPoint,
    /// A point's text as `x`, `y` and well-known binary.
    Point,
    /// The text of an hstore as a JSON object in a string.
    Hstore,
    /// A list, or nested lists: the schema block tells the innermost type only, as Debezium's does.
    Array(Box<Form>),
}

/// A column's way of writing, with Connect's word for it.
pub(crate) type TypePlan = (Form, ConnectType);

/// Decides how a column is written; `None` when the profile leaves such columns out.
pub(crate) fn plan(
    data_type: &DataType,
    native: &str,
    settings: &FormatSettings,
    dialect: Dialect,
) -> Option<TypePlan> {
    let debezium = settings.profile == Profile::Debezium3;
    let (full, native) = (native, base_name(native));
    if dialect == Dialect::MySql
        && let Some(plan) = mysql(data_type, (full, native), settings)
    {
        return Some(plan);
    }
    Some(match data_type {
        DataType::Bool => (Form::Bool, ConnectType::plain("boolean")),
        DataType::Int { bits } => (Form::Int, ConnectType::plain(signed_word(*bits))),
        // PostgreSQL's transaction ids, for which Debezium has no schema.
        DataType::UInt { .. } if debezium && matches!(native, "xid" | "cid" | "xid8") => return None,
        DataType::UInt { bits: 64 } if debezium => (Form::WrappedUInt, ConnectType::plain("int64")),
        DataType::UInt { bits } => (Form::UInt, ConnectType::plain(signed_word(bits.saturating_add(1)))),
        DataType::Float32 => (Form::Float32, ConnectType::plain("float")),
        DataType::Float64 => (Form::Float64, ConnectType::plain("double")),
        DataType::Decimal { precision, scale } => decimal(*precision, *scale, settings.decimal),
        DataType::Text => text(native, debezium),
        DataType::Bytes => bytes(settings.binary),
        DataType::Date => date(settings.temporal),
        DataType::Time { precision } => time(*precision, settings.temporal),
        DataType::TimeTz { .. } => (Form::TimeTz, ConnectType::named("string", "io.debezium.time.ZonedTime")),
        DataType::Timestamp { precision } => timestamp(*precision, settings.temporal),
        DataType::TimestampTz { precision } => {
            let fraction = if *precision == 0 { Fraction::Trimmed } else { Fraction::Fixed(*precision) };
            (Form::Zoned(fraction), ConnectType::named("string", "io.debezium.time.ZonedTimestamp"))
        }
        DataType::Interval if debezium => {
            (Form::MicroDuration, ConnectType::named("int64", "io.debezium.time.MicroDuration"))
        }
        // Debezium's number counts a month as 30.4375 days; the text keeps the parts.
        DataType::Interval => (Form::IsoInterval, ConnectType::named("string", "io.debezium.time.Interval")),
        DataType::Uuid => (Form::Text, ConnectType::named("string", "io.debezium.data.Uuid")),
        DataType::Json => (Form::Text, ConnectType::named("string", "io.debezium.data.Json")),
        DataType::Enum { labels } => (Form::Text, ConnectType::labels("io.debezium.data.Enum", labels)),
        DataType::Set { labels } => (Form::Text, ConnectType::labels("io.debezium.data.EnumSet", labels)),
        DataType::Bits { length, .. } => bits(*length, debezium),
        DataType::Geometry if native == "point" => (Form::WkbPoint, ConnectType::point()),
        DataType::Geometry => (Form::Geometry, ConnectType::geometry()),
        DataType::Array { element, element_native } => {
            return array(element, element_native, settings, dialect);
        }
        DataType::Range if debezium && native.ends_with("multirange") => return None,
        DataType::Range => (Form::Text, ConnectType::plain("string")),
        DataType::Composite | DataType::Other if debezium && !debezium_knows(native) => return None,
        DataType::Composite | DataType::Other => text(native, debezium),
    })
}

// What Debezium's binlog connectors write otherwise than the one for PostgreSQL, and what only they have.
fn mysql(data_type: &DataType, (full, native): (&str, &str), settings: &FormatSettings) -> Option<TypePlan> {
    let debezium = settings.profile == Profile::Debezium3;
    Some(match data_type {
        DataType::Int { .. } if native == "year" => (Form::Int, ConnectType::named("int32", "io.debezium.time.Year")),
        // A single float with a declared scale is a double there; its value is the float's all the same.
        DataType::Float32 if debezium && full.contains(',') => (Form::Widened, ConnectType::plain("double")),
        // Spans of up to 35 days and negative ones: in microseconds whatever the precision.
        DataType::Time { .. } if settings.temporal == TemporalMode::Adaptive => {
            (Form::Time(Unit::Micros), ConnectType::named("int64", "io.debezium.time.MicroTime"))
        }
        DataType::Bits { length: Some(2..), .. } if debezium => {
            let (_, connect) = plan(data_type, "", settings, Dialect::PostgreSql)?;
            (Form::AllBitBytes, connect)
        }
        DataType::Json if debezium => (Form::BinlogJson, ConnectType::named("string", "io.debezium.data.Json")),
        DataType::Array { element, .. } if native == "vector" && **element == DataType::Float32 => {
            (Form::Array(Box::new(Form::Float32)), ConnectType::float_vector())
        }
        DataType::Other => (Form::Text, ConnectType::plain("string")),
        _ => return None,
    })
}

/// The JSON for a value that the log did not carry; `None` where no such value can be told from a real one.
pub(crate) fn placeholder(form: &Form, connect: &ConnectType) -> Option<Vec<u8>> {
    use super::json::{write_base64, write_hex, write_string};
    let mut out = Vec::new();
    match form {
        Form::Text
        | Form::BinlogJson
        | Form::DecimalText
        | Form::IsoDate
        | Form::IsoTime
        | Form::TimeTz
        | Form::IsoTimestamp
        | Form::Zoned(_)
        | Form::IsoInterval
        | Form::Hstore => write_string(&mut out, PLACEHOLDER.as_bytes()),
        Form::Base64 => write_base64(&mut out, PLACEHOLDER.as_bytes()),
        Form::Hex => write_hex(&mut out, PLACEHOLDER.as_bytes()),
        Form::Array(element) => {
            out.push(b'[');
            match **element {
                Form::Int => out.extend_from_slice(byte_values().as_bytes()),
                Form::Text if connect.holds_uuids() => write_string(&mut out, PLACEHOLDER_UUID.as_bytes()),
                Form::Array(_) => return None,
                ref other => out.extend_from_slice(&placeholder(other, connect)?),
            }
            out.push(b']');
        }
        _ => return None,
    }
    Some(out)
}

fn byte_values() -> String {
    let values: Vec<String> = PLACEHOLDER.bytes().map(|byte| byte.to_string()).collect();
    values.join(",")
}

/// `public.citext` and `numeric(5,2)` without schema, quotes and modifiers.
pub(crate) fn base_name(native: &str) -> &str {
    let name = native.split_once('(').map_or(native, |(name, _)| name).trim_end();
    name.rsplit_once('.').map_or(name, |(_, name)| name).trim_matches('"')
}

fn signed_word(bits: u8) -> &'static str {
    match bits {
        0..=16 => "int16",
        17..=32 => "int32",
        _ => "int64",
    }
}

// The types beyond the neutral ones that Debezium 3.6 has a schema for.
fn debezium_knows(native: &str) -> bool {
    let known = ["char", "citext", "name", "inet", "cidr", "macaddr", "macaddr8", "isbn", "xml", "ltree", "tsvector"];
    known.contains(&native) || matches!(native, "hstore" | "point")
}

fn text(native: &str, debezium: bool) -> TypePlan {
    match native {
        "hstore" if debezium => (Form::Hstore, ConnectType::named("string", "io.debezium.data.Json")),
        "point" if debezium => (Form::Point, ConnectType::point()),
        "xml" => (Form::Text, ConnectType::named("string", "io.debezium.data.Xml")),
        "ltree" => (Form::Text, ConnectType::named("string", "io.debezium.data.Ltree")),
        "tsvector" => (Form::Text, ConnectType::named("string", "io.debezium.data.Tsvector")),
        _ => (Form::Text, ConnectType::plain("string")),
    }
}

fn decimal(precision: Option<u32>, scale: Option<i32>, mode: DecimalMode) -> TypePlan {
    match (mode, precision, scale) {
        (DecimalMode::String, ..) => (Form::DecimalText, ConnectType::plain("string")),
        (DecimalMode::Double, ..) => (Form::DecimalDouble, ConnectType::plain("double")),
        (DecimalMode::Precise, None, None) => (Form::DecimalVariable, ConnectType::variable_decimal()),
        (DecimalMode::Precise, ..) => {
            let scale = scale.unwrap_or(0);
            (Form::DecimalFixed(scale), ConnectType::decimal(precision, scale))
        }
    }
}

fn bytes(mode: BinaryMode) -> TypePlan {
    match mode {
        BinaryMode::Bytes => (Form::Base64, ConnectType::plain("bytes")),
        BinaryMode::Base64 => (Form::Base64, ConnectType::plain("string")),
        BinaryMode::Hex => (Form::Hex, ConnectType::plain("string")),
    }
}

fn date(mode: TemporalMode) -> TypePlan {
    match mode {
        TemporalMode::Iso => (Form::IsoDate, ConnectType::named("string", "io.debezium.time.IsoDate")),
        TemporalMode::Connect => (Form::Days, ConnectType::named("int32", "org.apache.kafka.connect.data.Date")),
        TemporalMode::Adaptive | TemporalMode::Microseconds => {
            (Form::Days, ConnectType::named("int32", "io.debezium.time.Date"))
        }
    }
}

fn time(precision: u8, mode: TemporalMode) -> TypePlan {
    match mode {
        TemporalMode::Iso => (Form::IsoTime, ConnectType::named("string", "io.debezium.time.IsoTime")),
        TemporalMode::Connect => {
            (Form::Time(Unit::Millis), ConnectType::named("int32", "org.apache.kafka.connect.data.Time"))
        }
        TemporalMode::Adaptive if precision <= 3 => {
            (Form::Time(Unit::Millis), ConnectType::named("int32", "io.debezium.time.Time"))
        }
        TemporalMode::Adaptive | TemporalMode::Microseconds => {
            (Form::Time(Unit::Micros), ConnectType::named("int64", "io.debezium.time.MicroTime"))
        }
    }
}

fn timestamp(precision: u8, mode: TemporalMode) -> TypePlan {
    match mode {
        TemporalMode::Iso => (Form::IsoTimestamp, ConnectType::named("string", "io.debezium.time.IsoTimestamp")),
        TemporalMode::Connect => {
            (Form::Timestamp(Unit::Millis), ConnectType::named("int64", "org.apache.kafka.connect.data.Timestamp"))
        }
        TemporalMode::Adaptive if precision <= 3 => {
            (Form::Timestamp(Unit::Millis), ConnectType::named("int64", "io.debezium.time.Timestamp"))
        }
        TemporalMode::Adaptive | TemporalMode::Microseconds => {
            (Form::Timestamp(Unit::Micros), ConnectType::named("int64", "io.debezium.time.MicroTimestamp"))
        }
    }
}

fn bits(length: Option<u32>, debezium: bool) -> TypePlan {
    match length {
        Some(1) => (Form::BitFlag, ConnectType::plain("boolean")),
        // Debezium's bytes do not tell how many bits there were.
        _ if !debezium => (Form::Text, ConnectType::plain("string")),
        length => (Form::BitBytes, ConnectType::bits(length.unwrap_or(i32::MAX as u32))),
    }
}

fn array(element: &DataType, native: &str, settings: &FormatSettings, dialect: Dialect) -> Option<TypePlan> {
    let debezium = settings.profile == Profile::Debezium3;
    let unmapped = matches!(base_name(native), "money" | "name" | "xml" | "point" | "refcursor")
        || matches!(element, DataType::Interval | DataType::Bits { .. } | DataType::Array { .. });
    if debezium && unmapped {
        return None;
    }
    let (form, connect) = plan(element, native, settings, dialect)?;
    Some((Form::Array(Box::new(form)), ConnectType::array(&connect, !matches!(element, DataType::Enum { .. }))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(data_type: DataType, native: &str, settings: FormatSettings) -> Option<String> {
        plan(&data_type, native, &settings, Dialect::PostgreSql).map(|(_, connect)| connect.schema(true, None, None))
    }

    #[test]
    fn types_without_a_place_in_debezium_are_left_out_there_and_text_here() {
        for (data_type, native) in
            [(DataType::Other, "box"), (DataType::Composite, "pair"), (DataType::Range, "int4multirange")]
        {
            assert_eq!(of(data_type.clone(), native, FormatSettings::DEBEZIUM_3), None, "{native}");
            let text = Some(r#"{"type":"string","optional":true}"#.to_owned());
            assert_eq!(of(data_type, native, FormatSettings::DEFAULT), text);
        }
        let moneys = DataType::Array {
            element: Box::new(DataType::Decimal { precision: None, scale: Some(2) }),
            element_native: "money".into(),
        };
        assert_eq!(of(moneys, "money[]", FormatSettings::DEBEZIUM_3), None);
    }

    #[test]
    fn pg_30_placeholders_have_the_shape_of_the_type() {
        let array = |element: DataType, native: &str| DataType::Array {
            element: Box::new(element),
            element_native: native.into(),
        };
        for (data_type, native, expect) in [
            (DataType::Text, "text", Some("\"__debezium_unavailable_value\"")),
            (DataType::Bytes, "bytea", Some("\"X19kZWJleml1bV91bmF2YWlsYWJsZV92YWx1ZQ==\"")),
            (array(DataType::Text, "text"), "text[]", Some("[\"__debezium_unavailable_value\"]")),
            (array(DataType::Uuid, "uuid"), "uuid[]", Some("[\"b68a35a7-17ad-35b3-af2a-ae46edb4545a\"]")),
            (array(DataType::Float64, "float8"), "float8[]", None),
            (DataType::Int { bits: 32 }, "int4", None),
        ] {
            let (form, connect) = plan(&data_type, native, &FormatSettings::DEBEZIUM_3, Dialect::PostgreSql).unwrap();
            let shown = placeholder(&form, &connect).map(|out| String::from_utf8(out).unwrap());
            assert_eq!(shown.as_deref(), expect, "{native}");
        }
        let ints = array(DataType::Int { bits: 32 }, "int4");
        let (form, connect) = plan(&ints, "int4[]", &FormatSettings::DEFAULT, Dialect::PostgreSql).unwrap();
        let shown = String::from_utf8(placeholder(&form, &connect).unwrap()).unwrap();
        assert!(shown.starts_with("[95,95,100,101,98"), "{shown}");
    }
}
