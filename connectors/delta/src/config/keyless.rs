//! Tables without a key in a sink that looks rows up by theirs: what becomes of such a table. Knows no row and opens nothing.

use super::{Config, Settings};
use crate::layout::{Mode, has_key};
use crate::log::ForeignWrites;
use std::sync::Arc;
use tidewire_core::schema::OldRow;
use tidewire_core::{Error, Finding, Result, TableSchema};

/// What a mirror or a history does with a table that has no key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Keyless {
    /// It is written as a changelog.
    #[default]
    Changelog,
    /// Its rows are found by all their values.
    Rows,
    /// It halts.
    Refuse,
}

impl Keyless {
    /// As the configuration writes it; `None` for another word.
    pub(crate) fn parse(word: &str) -> Option<Keyless> {
        Some(match word {
            "changelog" => Keyless::Changelog,
            "rows" => Keyless::Rows,
            "refuse" => Keyless::Refuse,
            _ => return None,
        })
    }
}

/// Checks the key `keyless`, and what does not go together with it.
pub(super) fn keyless(
    config: &Config,
    mode: Mode,
    foreign_writes: ForeignWrites,
    fault: &mut impl FnMut(&str, String),
) -> Keyless {
    let word = config.keyless.as_deref();
    if word.is_some() && !mode.keeps_keys() {
        fault("keyless", "is for `mode = \"mirror\"` and `\"history\"`: a changelog needs no keys".to_owned());
    }
    let keyless = word.map_or(Some(Keyless::default()), Keyless::parse).unwrap_or_else(|| {
        let word = word.unwrap_or_default();
        fault("keyless", format!("`{word}` is no way: use `changelog`, `rows` or `refuse`"));
        Keyless::default()
    });
    // What others write has no numbers.
    if keyless == Keyless::Rows && foreign_writes == ForeignWrites::Adopt {
        fault("keyless", "`rows` is not available together with `foreign_writes = \"adopt\"`".to_owned());
    }
    keyless
}

impl Settings {
    /// The settings as they are for one table.
    ///
    /// # Errors
    /// When the table needs a key and has none.
    pub(crate) fn of_table(self: &Arc<Settings>, schema: &TableSchema) -> Result<Arc<Settings>> {
        if !self.mode.keeps_keys() || has_key(schema) {
            return Ok(Arc::clone(self));
        }
        match self.keyless {
            // What is said of mirrors alone is not said of it.
            Keyless::Changelog => Ok(Arc::new(Settings {
                mode: Mode::Changelog,
                change_data_feed: false,
                deletion_vectors: true,
                ..Settings::clone(self)
            })),
            Keyless::Rows => Ok(Arc::clone(self)),
            Keyless::Refuse => Err(refused(schema)),
        }
    }

    /// Whether a table of the sink may have been made in this mode: whatever its key, and whatever was said of such then.
    pub(crate) fn may_hold(&self, mode: &str) -> bool {
        mode == self.mode.name() || (self.mode.keeps_keys() && mode == Mode::Changelog.name())
    }

    /// Says once how a table without a key is written, if it is another way than the sink's other tables.
    pub(crate) fn tell_keyless(&self, schema: &TableSchema) {
        if !self.mode.keeps_keys() || has_key(schema) {
            return;
        }
        let how = match self.keyless {
            Keyless::Changelog => "it is written as a changelog",
            Keyless::Rows => "its rows are found by all their values",
            Keyless::Refuse => return,
        };
        tracing::info!(table = %schema.name, "the table has no key: {how}");
    }

    /// The same, for whoever asks beforehand.
    pub(crate) fn find_keyless(&self, schema: &TableSchema) -> Option<Finding> {
        if !self.mode.keeps_keys() || has_key(schema) {
            return None;
        }
        let (name, mode) = (&schema.name, self.mode.name());
        match self.keyless {
            Keyless::Changelog => Some(Finding::warning(
                "table_without_key",
                format!("table `{name}` has no key: it is written as a changelog, every change a row"),
                format!("add a primary key to `{name}` for a {mode} of it, or leave it out of this sink"),
            )),
            Keyless::Rows if schema.old_row != OldRow::Full => Some(Finding::warning(
                "row_not_whole",
                format!(
                    "table `{name}` has no key, and the log does not carry its old rows: it can be inserted into, no more"
                ),
                format!("ALTER TABLE {name} REPLICA IDENTITY FULL, or add a primary key"),
            )),
            Keyless::Rows | Keyless::Refuse => None,
        }
    }
}

fn refused(schema: &TableSchema) -> Error {
    Error::operator("table_without_key", format!("table `{}` has no key, so its rows cannot be mirrored", schema.name))
        .with_remedy(format!(
            "add a primary key to `{}`, leave it out of this sink, or use `keyless = \"changelog\"` or `\"rows\"`",
            schema.name
        ))
        .with_table(schema.name.clone())
}

/// A table stays what it was made as.
pub(crate) fn mode_changed(schema: &TableSchema, has: &str, wanted: Mode) -> Error {
    let key = if has_key(schema) { "a key" } else { "no key" };
    let message = format!(
        "the table of `{}` was made as a {has}, and would be a {} now that the source's has {key}",
        schema.name,
        wanted.name()
    );
    Error::operator("key_changed", message)
        .with_remedy(
            "take back what was done to the key, to `keyless` or to `mode`, or give the sink a new name and location, which reads its tables anew",
        )
        .with_table(schema.name.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::shape::column;
    use tidewire_core::schema::KeyKind;
    use tidewire_core::{DataType, SchemaVersion, TableName};
    use url::Url;

    pub(crate) fn table(key: &[usize]) -> TableSchema {
        let kind = if key.is_empty() { KeyKind::None } else { KeyKind::Primary };
        TableSchema {
            name: TableName::new("public", "t"),
            version: SchemaVersion(1),
            native_id: 1,
            columns: ["a", "b"].map(|name| column(name, DataType::Text, true)).into(),
            key: key.to_vec(),
            key_kind: kind,
            old_row: OldRow::Full,
        }
    }

    #[test]
    fn a_table_without_a_key_is_what_the_sink_says() {
        let at = Url::parse("file:///srv/lake").unwrap();
        let (keyed, keyless) = (table(&[0]), table(&[]));
        for (mode, policy, expect) in [
            (Mode::Mirror, Keyless::Changelog, Some(Mode::Changelog)),
            (Mode::History, Keyless::Changelog, Some(Mode::Changelog)),
            (Mode::Changelog, Keyless::Changelog, Some(Mode::Changelog)),
            (Mode::Mirror, Keyless::Rows, Some(Mode::Mirror)),
            (Mode::History, Keyless::Rows, Some(Mode::History)),
            (Mode::Mirror, Keyless::Refuse, None),
            (Mode::History, Keyless::Refuse, None),
            (Mode::Changelog, Keyless::Refuse, Some(Mode::Changelog)),
        ] {
            let settings = Arc::new(Settings {
                mode,
                keyless: policy,
                change_data_feed: true,
                deletion_vectors: false,
                ..Settings::at(&at)
            });
            let of = settings.of_table(&keyless);
            match &of {
                Ok(of) => assert_eq!(Some(of.mode), expect, "{mode:?} {policy:?}"),
                Err(error) => assert_eq!((expect, error.code()), (None, "table_without_key")),
            }
            let is_other = of.as_ref().is_ok_and(|of| of.mode != mode);
            assert!(of.is_err() || !is_other || of.is_ok_and(|of| of.deletion_vectors && !of.change_data_feed));
            assert_eq!(settings.find_keyless(&keyless).is_some(), is_other);
            assert_eq!(settings.of_table(&keyed).unwrap().mode, mode);
            assert!(settings.find_keyless(&keyed).is_none());
            assert!(settings.may_hold(mode.name()));
            let bare = TableSchema { old_row: OldRow::Nothing, ..keyless.clone() };
            let finds_bare = settings.find_keyless(&bare).map(|finding| finding.code);
            assert_eq!(finds_bare == Some("row_not_whole"), policy == Keyless::Rows);
            assert!(settings.may_hold("changelog"));
            assert_eq!(settings.may_hold("mirror"), mode == Mode::Mirror);
        }
    }

    fn check(json: &str) -> std::result::Result<Settings, Vec<crate::config::ConfigFault>> {
        Settings::check(serde_json::from_str(json).unwrap())
    }

    #[test]
    fn rows_without_a_key_go_with_little() {
        for (more, good) in [
            ("", true),
            (r#", "partition_by": {"public.a": ["b"]}, "deletion_vectors": false"#, true),
            (r#", "mode": "history""#, true),
            (r#", "mode": "changelog""#, false),
            (r#", "change_data_feed": true"#, true),
            (r#", "column_mapping": true, "widening": "types""#, true),
            (r#", "foreign_writes": "adopt""#, false),
        ] {
            let faults = check(&format!(r#"{{"location": "file:///srv/lake", "keyless": "rows"{more}}}"#)).err();
            let keys = faults.unwrap_or_default().into_iter().map(|fault| fault.key).collect::<Vec<_>>();
            assert_eq!(keys, vec!["keyless"; usize::from(!good)], "{more}");
        }
    }
}
