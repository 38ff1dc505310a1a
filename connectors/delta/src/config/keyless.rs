//! Tables without a key in a sink that looks rows up by theirs: what becomes of such a table. Knows no row and opens nothing.

use super::Settings;
use crate::layout::Mode;
use std::sync::Arc;
use tidewire_core::schema::KeyKind;
use tidewire_core::{Error, Finding, Result, TableSchema};

/// What a mirror or a history does with a table that has no key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Keyless {
    /// It is written as a changelog.
    #[default]
    Changelog,
    /// It halts.
    Refuse,
}

impl Keyless {
    /// As the configuration writes it; `None` for another word.
    pub(crate) fn parse(word: &str) -> Option<Keyless> {
        Some(match word {
            "changelog" => Keyless::Changelog,
            "refuse" => Keyless::Refuse,
            _ => return None,
        })
    }
}

/// Whether the source tells the table's rows apart.
pub(crate) fn has_key(schema: &TableSchema) -> bool {
    schema.key_kind != KeyKind::None && !schema.key.is_empty()
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
            Keyless::Refuse => Err(refused(schema)),
        }
    }

    /// Whether a table of the sink may have been made in this mode, whatever its key.
    pub(crate) fn may_hold(&self, mode: &str) -> bool {
        let as_changelog = self.mode.keeps_keys() && self.keyless == Keyless::Changelog;
        mode == self.mode.name() || (as_changelog && mode == Mode::Changelog.name())
    }

    /// Says once how a table without a key is written, if it is another way than the sink's other tables.
    pub(crate) fn tell_keyless(&self, schema: &TableSchema) {
        if self.mode.keeps_keys() && !has_key(schema) && self.keyless == Keyless::Changelog {
            tracing::info!(table = %schema.name, "the table has no key: it is written as a changelog");
        }
    }

    /// The same, for whoever asks beforehand.
    pub(crate) fn find_keyless(&self, schema: &TableSchema) -> Option<Finding> {
        if !self.mode.keeps_keys() || has_key(schema) || self.keyless != Keyless::Changelog {
            return None;
        }
        Some(Finding::warning(
            "table_without_key",
            format!("table `{}` has no key: it is written as a changelog, every change a row", schema.name),
            format!(
                "add a primary key to `{}` for a {} of it, or leave it out of this sink",
                schema.name,
                self.mode.name()
            ),
        ))
    }
}

fn refused(schema: &TableSchema) -> Error {
    Error::operator("table_without_key", format!("table `{}` has no key, so its rows cannot be mirrored", schema.name))
        .with_remedy(format!(
            "add a primary key to `{}`, leave it out of this sink, or use `keyless = \"changelog\"`",
            schema.name
        ))
        .with_table(schema.name.clone())
}

/// A table stays what it was made as.
pub(crate) fn mode_changed(schema: &TableSchema, has: &str, wanted: Mode) -> Error {
    let key = if has_key(schema) { "has a key" } else { "has no key" };
    let message = format!(
        "the table of `{}` was made as a {has}; the source's {key}, which asks for a {}",
        schema.name,
        wanted.name()
    );
    Error::operator("key_changed", message)
        .with_remedy(
            "take back what was done to the key or to `keyless`, or give the sink a new name and location, which reads its tables anew",
        )
        .with_table(schema.name.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::shape::column;
    use tidewire_core::schema::OldRow;
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
            assert_eq!(settings.may_hold("changelog"), policy == Keyless::Changelog || mode == Mode::Changelog);
        }
    }
}
