//! Names of topics: the template of the configuration, filled in for a table and made legal. Knows
//! no broker.

use std::fmt;
use std::sync::Arc;
use tidewire_core::TableName;

/// Longest name that a broker accepts, in characters.
pub(crate) const NAME_LENGTH_MAX: usize = 249;

/// A checked template such as `{source}.{schema}.{table}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicTemplate {
    parts: Arc<[Part]>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Source,
    Schema,
    Table,
}

impl TopicTemplate {
    /// What is used when the configuration says nothing: Debezium's own naming.
    pub const DEFAULT: &'static str = "{source}.{schema}.{table}";

    /// Reads a template. The error is a sentence about what is wrong with it.
    pub fn parse(template: &str) -> Result<TopicTemplate, String> {
        let mut parts = Vec::new();
        let mut rest = template;
        while let Some((text, tail)) = rest.split_once('{') {
            push_text(&mut parts, text)?;
            let (name, tail) =
                tail.split_once('}').ok_or_else(|| format!("`{template}` opens a brace and does not close it"))?;
            parts.push(match name {
                "source" => Part::Source,
                "schema" => Part::Schema,
                "table" => Part::Table,
                _ => return Err(format!("`{{{name}}}` is unknown: use `{{source}}`, `{{schema}}` and `{{table}}`")),
            });
            rest = tail;
        }
        push_text(&mut parts, rest)?;
        if parts.is_empty() {
            return Err("an empty template names no topic".to_owned());
        }
        Ok(TopicTemplate { parts: parts.into() })
    }

    /// Whether topics of two sources can never be one: their names stand first and end at a dot, which none of them has.
    pub(crate) fn tells_sources_apart(&self) -> bool {
        matches!(&*self.parts, [Part::Source, Part::Text(text), ..] if text.starts_with('.'))
    }

    /// The topic of a table: every character that a topic may not have is `_`, as in Debezium. It may be
    /// longer than the limit of names and is refused then, never cut: two cut names could be one.
    pub fn name(&self, source: &str, table: &TableName) -> String {
        let mut name = String::new();
        for part in self.parts.iter() {
            match part {
                Part::Text(text) => name.push_str(text),
                Part::Source => push_legal(&mut name, source),
                Part::Schema => push_legal(&mut name, &table.schema),
                Part::Table => push_legal(&mut name, &table.table),
            }
        }
        name
    }
}

impl fmt::Display for TopicTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for part in self.parts.iter() {
            f.write_str(match part {
                Part::Text(text) => text,
                Part::Source => "{source}",
                Part::Schema => "{schema}",
                Part::Table => "{table}",
            })?;
        }
        Ok(())
    }
}

/// The topic of a source's transaction records: Debezium's `<prefix>.transaction`.
pub(crate) fn transaction_topic(source: &str) -> String {
    with_suffix(source, ".transaction")
}

/// The topic of a source's log messages: Debezium's `<prefix>.message`.
pub(crate) fn message_topic(source: &str) -> String {
    with_suffix(source, ".message")
}

/// The topic of a source's statements that changed tables: Debezium's `<prefix>`.
pub(crate) fn schema_change_topic(source: &str) -> String {
    with_suffix(source, "")
}

/// Whether sources of this connector hand out such statements.
pub(crate) fn has_schema_changes(connector: &str) -> bool {
    matches!(connector, "mysql" | "mariadb")
}

fn with_suffix(source: &str, suffix: &str) -> String {
    let mut name = String::with_capacity(source.len() + suffix.len());
    push_legal(&mut name, source);
    name.push_str(suffix);
    name
}

fn is_legal(character: char) -> bool {
    character.is_ascii_alphanumeric() || matches!(character, '.' | '_' | '-')
}

// One `_` for each UTF-16 unit, since Debezium walks a Java string.
fn push_legal(name: &mut String, text: &str) {
    for character in text.chars() {
        if is_legal(character) {
            name.push(character);
        } else {
            name.extend(std::iter::repeat_n('_', character.len_utf16()));
        }
    }
}

fn push_text(parts: &mut Vec<Part>, text: &str) -> Result<(), String> {
    if let Some(character) = text.chars().find(|character| !is_legal(*character)) {
        return Err(format!("`{character}` may not stand in a topic's name: use letters, digits, `.`, `_` and `-`"));
    }
    if !text.is_empty() {
        parts.push(Part::Text(text.to_owned()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(template: &str, schema: &str, table: &str) -> String {
        TopicTemplate::parse(template).expect("a template").name("shop", &TableName::new(schema, table))
    }

    #[test]
    fn names_are_those_of_debezium() {
        for (template, schema, table, expect) in [
            (TopicTemplate::DEFAULT, "public", "orders", "shop.public.orders"),
            (TopicTemplate::DEFAULT, "public", "Mixed Case-Tbl", "shop.public.Mixed_Case-Tbl"),
            (TopicTemplate::DEFAULT, "größe", "a/b", "shop.gr__e.a_b"),
            (TopicTemplate::DEFAULT, "public", "😀", "shop.public.__"),
            ("cdc-{table}", "public", "orders", "cdc-orders"),
            ("all", "public", "orders", "all"),
        ] {
            assert_eq!(name(template, schema, table), expect);
        }
        assert_eq!(transaction_topic("shop"), "shop.transaction");
        assert_eq!(message_topic("shop"), "shop.message");
        assert_eq!(schema_change_topic("my shop"), "my_shop");
    }

    #[test]
    fn the_source_s_name_before_a_dot_tells_sources_apart() {
        for (template, expect) in [
            (TopicTemplate::DEFAULT, true),
            ("{source}.{table}", true),
            ("{source}-{table}", false),
            ("{source}", false),
            ("{schema}.{table}", false),
            ("cdc.{source}.{table}", false),
        ] {
            assert_eq!(TopicTemplate::parse(template).expect("a template").tells_sources_apart(), expect, "{template}");
        }
    }

    #[test]
    fn a_wrong_template_is_refused() {
        for bad in ["", "{source", "{database}", "a b", "a/{table}", "}"] {
            assert!(TopicTemplate::parse(bad).is_err(), "{bad}");
        }
        let kept = TopicTemplate::parse("x.{source}-{table}").expect("a template");
        assert_eq!(kept.to_string(), "x.{source}-{table}");
    }
}
