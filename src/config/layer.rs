//! What figment lays over each other: tables as it has them. Pure.

use figment::value::{Dict, Map, Value};
use figment::{Error, Metadata, Profile, Provider};

/// Stands for a date: no setting takes one, and none may take it for something else.
const DATE: &str = "date";

/// One layer.
pub(super) struct Layer {
    /// Where it comes from.
    pub name: &'static str,
    /// What it sets.
    pub dict: Dict,
}

impl Provider for Layer {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.name)
    }

    fn data(&self) -> Result<Map<Profile, Dict>, Error> {
        Ok(Profile::Default.collect(self.dict.clone()))
    }
}

/// A table of the file. It is the one in which places are found: a second reader of the text could know another TOML, and
/// would print lines of it.
pub(super) fn table(table: &dyn toml_edit::TableLike) -> Dict {
    table.iter().filter_map(|(name, item)| Some((name.to_owned(), of_item(item)?))).collect()
}

fn of_item(item: &toml_edit::Item) -> Option<Value> {
    Some(match item {
        toml_edit::Item::None => return None,
        toml_edit::Item::Value(value) => of_value(value),
        toml_edit::Item::Table(inner) => Value::from(table(inner)),
        toml_edit::Item::ArrayOfTables(list) => {
            Value::from(list.iter().map(|inner| Value::from(table(inner))).collect::<Vec<_>>())
        }
    })
}

fn of_value(value: &toml_edit::Value) -> Value {
    match value {
        toml_edit::Value::String(text) => Value::from(text.value().clone()),
        toml_edit::Value::Integer(number) => Value::from(*number.value()),
        toml_edit::Value::Float(number) => Value::from(*number.value()),
        toml_edit::Value::Boolean(flag) => Value::from(*flag.value()),
        toml_edit::Value::Datetime(date) => {
            Value::from(Dict::from([(DATE.to_owned(), Value::from(date.value().to_string()))]))
        }
        toml_edit::Value::Array(list) => Value::from(list.iter().map(of_value).collect::<Vec<_>>()),
        toml_edit::Value::InlineTable(inner) => Value::from(table(inner)),
    }
}
