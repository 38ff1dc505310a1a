//! Names inside SQL text, quoted in one place (PG-94).

use tidewire_core::TableName;

/// A name as SQL takes it, whatever is in it.
pub(crate) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A table's full name as SQL takes it.
pub(crate) fn quoted_table(name: &TableName) -> String {
    format!("{}.{}", quoted(&name.schema), quoted(&name.table))
}

/// A text as SQL takes it, with `standard_conforming_strings` either way.
pub(crate) fn literal(text: &str) -> String {
    let quoted = text.replace('\'', "''");
    match quoted.contains('\\') {
        true => format!("E'{}'", quoted.replace('\\', "\\\\")),
        false => format!("'{quoted}'"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pg_94_names_are_quoted_whatever_is_in_them() {
        assert_eq!(quoted_table(&TableName::new("MiXed", "a\"b; --")), r#""MiXed"."a""b; --""#);
        assert_eq!(quoted("名前"), "\"名前\"");
        assert_eq!(literal("it's"), "'it''s'");
        assert_eq!(literal(r"a\'b"), r"E'a\\''b'");
    }
}
