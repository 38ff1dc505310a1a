//! What records look like: the `format` key of the configuration as written, and the checked settings
//! that the encoder works from. Knows no table and no broker.

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde::{Deserialize, Serialize};
use std::fmt;

/// The only profile so far: the defaults of Debezium 3, byte for byte where Debezium is deterministic.
pub const DEBEZIUM_3: &str = "debezium-3";

/// `format` as written: the name of a profile, or a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FormatConfig {
    /// A profile by name.
    Profile(ProfileName),
    /// `[sinks.NAME.kafka.format]`.
    Table(FormatTable),
}

/// The profiles that can be named.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub enum ProfileName {
    /// See [`DEBEZIUM_3`].
    #[serde(rename = "debezium-3")]
    Debezium3,
}

/// The table as written; what is absent takes the profile's default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FormatTable {
    /// Whose defaults hold for the keys that are absent; Tidewire's own when absent itself.
    pub profile: Option<ProfileName>,
    /// The encoding of keys and values.
    #[serde(rename = "type")]
    pub encoding: Option<Encoding>,
    /// What surrounds the row.
    pub envelope: Option<Envelope>,
    /// Whether each message carries Kafka Connect's schema block.
    pub schemas: Option<bool>,
    /// How decimals are written.
    pub decimal: Option<DecimalMode>,
    /// How dates and times are written.
    pub temporal: Option<TemporalMode>,
    /// How bytes are written.
    pub binary: Option<BinaryMode>,
    /// What becomes of an array whose subscripts do not begin at 1.
    pub array_bounds: Option<ArrayBounds>,
    /// Whether a delete is followed by a record without a value.
    pub tombstones: Option<bool>,
    /// Whether a truncate is written (`op` = `t`).
    pub truncates: Option<bool>,
    /// Whether changes carry the transaction block, and BEGIN and END go to a topic of their own.
    pub transactions: Option<bool>,
}

/// Encoding of keys and values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Encoding {
    /// JSON.
    Json,
    /// Avro with a schema registry.
    Avro,
    /// Protobuf with a schema registry.
    Protobuf,
}

/// What surrounds the row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Envelope {
    /// Debezium's: `before`, `after`, `source`, `transaction`, `op` and times.
    Debezium,
    /// The row itself (the old one of a delete) and, after its columns, `__deleted` (`"true"` or
    /// `"false"`), `__op`, the change's place in the log (`__lsn` or `__pos`) and `__source_ts_ms`.
    Flat,
}

/// How decimals are written: Debezium's `decimal.handling.mode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum DecimalMode {
    /// As the database's digits, exact.
    String,
    /// As Connect's Decimal: base64 of the unscaled value. Has no NaN and no infinity.
    Precise,
    /// As a binary float: inexact beyond about 15 digits.
    Double,
}

/// How dates and times are written: Debezium's `time.precision.mode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum TemporalMode {
    /// As ISO 8601 text. Holds every value.
    Iso,
    /// As numbers whose unit follows the column's precision.
    Adaptive,
    /// As microseconds.
    Microseconds,
    /// As Connect's own types, in milliseconds: finer fractions are cut.
    Connect,
}

/// How bytes are written: Debezium's `binary.handling.mode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum BinaryMode {
    /// As base64 text.
    Base64,
    /// As hexadecimal text.
    Hex,
    /// As Connect's bytes, which JSON shows as base64.
    Bytes,
}

/// What becomes of an array whose subscripts do not begin at 1: a JSON array has no place for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ArrayBounds {
    /// Its table halts.
    Halt,
    /// Its elements are written, as Debezium does, and the subscripts are lost.
    Drop,
}

/// Whose conventions decide where Debezium loses a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// The exact text, or an error that says what to set. Columns of an old row that the log did not
    /// carry are left out of `before`; columns of types without a neutral word travel as text.
    Tidewire,
    /// What Debezium writes: nulls, wrapped numbers and omitted columns included.
    Debezium3,
}

/// Checked settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FormatSettings {
    /// Whose conventions hold.
    pub profile: Profile,
    /// What surrounds the row.
    pub envelope: Envelope,
    /// Whether the schema block is written.
    pub schemas: bool,
    /// How decimals are written.
    pub decimal: DecimalMode,
    /// How dates and times are written.
    pub temporal: TemporalMode,
    /// How bytes are written.
    pub binary: BinaryMode,
    /// What becomes of subscripts that do not begin at 1.
    pub array_bounds: ArrayBounds,
    /// Whether tombstones follow deletes.
    pub tombstones: bool,
    /// Whether truncates are written.
    pub truncates: bool,
    /// Whether transaction metadata is written.
    pub transactions: bool,
}

impl FormatSettings {
    /// What holds when the configuration says nothing.
    pub const DEFAULT: FormatSettings = FormatSettings {
        profile: Profile::Tidewire,
        envelope: Envelope::Debezium,
        schemas: false,
        decimal: DecimalMode::String,
        temporal: TemporalMode::Iso,
        binary: BinaryMode::Base64,
        array_bounds: ArrayBounds::Halt,
        tombstones: true,
        truncates: true,
        transactions: false,
    };

    /// Debezium 3's defaults, with those of Kafka Connect's JSON converter.
    pub const DEBEZIUM_3: FormatSettings = FormatSettings {
        profile: Profile::Debezium3,
        envelope: Envelope::Debezium,
        schemas: true,
        decimal: DecimalMode::Precise,
        temporal: TemporalMode::Adaptive,
        binary: BinaryMode::Bytes,
        array_bounds: ArrayBounds::Drop,
        tombstones: true,
        truncates: false,
        transactions: false,
    };

    /// Checks the configuration. The error lists each faulty key with a sentence.
    pub fn try_from_config(config: &FormatConfig) -> Result<FormatSettings, Vec<(String, String)>> {
        let table = match config {
            FormatConfig::Profile(ProfileName::Debezium3) => return Ok(FormatSettings::DEBEZIUM_3),
            FormatConfig::Table(table) => table,
        };
        let base = match table.profile {
            Some(ProfileName::Debezium3) => FormatSettings::DEBEZIUM_3,
            None => FormatSettings::DEFAULT,
        };
        if let Some(Encoding::Avro | Encoding::Protobuf) = table.encoding {
            let sentence = "only `json` can be written so far".to_owned();
            return Err(vec![("type".to_owned(), sentence)]);
        }
        Ok(FormatSettings {
            profile: base.profile,
            envelope: table.envelope.unwrap_or(base.envelope),
            schemas: table.schemas.unwrap_or(base.schemas),
            decimal: table.decimal.unwrap_or(base.decimal),
            temporal: table.temporal.unwrap_or(base.temporal),
            binary: table.binary.unwrap_or(base.binary),
            array_bounds: table.array_bounds.unwrap_or(base.array_bounds),
            tombstones: table.tombstones.unwrap_or(base.tombstones),
            truncates: table.truncates.unwrap_or(base.truncates),
            transactions: table.transactions.unwrap_or(base.transactions),
        })
    }

    /// Whether a commit may lie inside a source transaction. Not with transaction metadata: its counts
    /// would start anew after a restart in the middle.
    pub fn can_split_transactions(&self) -> bool {
        !self.transactions
    }
}

impl Default for FormatConfig {
    fn default() -> FormatConfig {
        FormatConfig::Table(FormatTable::default())
    }
}

impl<'de> Deserialize<'de> for FormatConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<FormatConfig, D::Error> {
        deserializer.deserialize_any(FormatVisitor)
    }
}

struct FormatVisitor;

impl<'de> Visitor<'de> for FormatVisitor {
    type Value = FormatConfig;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{DEBEZIUM_3}\" or a table")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<FormatConfig, E> {
        if text == DEBEZIUM_3 {
            Ok(FormatConfig::Profile(ProfileName::Debezium3))
        } else {
            Err(E::unknown_variant(text, &[DEBEZIUM_3]))
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<FormatConfig, A::Error> {
        FormatTable::deserialize(MapAccessDeserializer::new(map)).map(FormatConfig::Table)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(json: &str) -> Result<FormatSettings, String> {
        let config: FormatConfig = serde_json::from_str(json).map_err(|e| e.to_string())?;
        FormatSettings::try_from_config(&config).map_err(|faults| format!("{faults:?}"))
    }

    #[test]
    fn absent_keys_take_the_profile_s_defaults() {
        assert_eq!(settings("{}"), Ok(FormatSettings::DEFAULT));
        assert_eq!(settings("\"debezium-3\""), Ok(FormatSettings::DEBEZIUM_3));
        let mixed = settings(r#"{"profile":"debezium-3","schemas":false,"decimal":"string"}"#);
        let expect = FormatSettings { schemas: false, decimal: DecimalMode::String, ..FormatSettings::DEBEZIUM_3 };
        assert_eq!(mixed, Ok(expect));
    }

    #[test]
    fn what_cannot_be_written_is_refused() {
        for (json, expect) in [
            ("\"debezium-2\"", "debezium-3"),
            (r#"{"type":"avro"}"#, "only `json`"),
            (r#"{"decimals":"string"}"#, "unknown field"),
            (r#"{"temporal":"nanoseconds"}"#, "microseconds"),
            ("7", "or a table"),
        ] {
            let error = settings(json).expect_err(json);
            assert!(error.contains(expect), "{json}: {error}");
        }
    }
}
