//! Which tables a source captures: globs on `schema.table`, the later ones win. Knows no catalog and no server.

use crate::schema::TableName;
use std::fmt;

/// A pattern that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TablePatternError {
    /// The pattern as written.
    pub pattern: String,
    /// What is wrong with it.
    pub reason: &'static str,
}

impl fmt::Display for TablePatternError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pattern `{}` {}", self.pattern, self.reason)
    }
}

impl std::error::Error for TablePatternError {}

/// Decides by name whether a table is captured. `*` stands for any run of characters, `?` for one; a leading
/// `!` takes tables out again. Without any pattern every table is captured; when the first pattern negates,
/// all tables are in before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableFilter {
    rules: Vec<Rule>,
    captured_by_default: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Rule {
    captures: bool,
    schema: Vec<char>,
    table: Vec<char>,
}

impl TableFilter {
    /// A filter that captures every table.
    pub fn all() -> TableFilter {
        TableFilter { rules: Vec::new(), captured_by_default: true }
    }

    /// Reads the patterns; all that cannot be read are reported at once.
    pub fn parse<S: AsRef<str>>(patterns: &[S]) -> Result<TableFilter, Vec<TablePatternError>> {
        let mut rules = Vec::with_capacity(patterns.len());
        let mut faults = Vec::new();
        for pattern in patterns {
            match Rule::parse(pattern.as_ref()) {
                Ok(rule) => rules.push(rule),
                Err(reason) => faults.push(TablePatternError { pattern: pattern.as_ref().to_owned(), reason }),
            }
        }
        if !faults.is_empty() {
            return Err(faults);
        }
        let captured_by_default = rules.first().is_none_or(|rule| !rule.captures);
        Ok(TableFilter { rules, captured_by_default })
    }

    /// Whether no pattern narrows the capture.
    pub fn captures_all(&self) -> bool {
        self.rules.is_empty()
    }

    /// Whether the table is captured.
    pub fn captures(&self, schema: &str, table: &str) -> bool {
        let last = self.rules.iter().rev().find(|rule| rule.matches(schema, table));
        last.map_or(self.captured_by_default, |rule| rule.captures)
    }

    /// Whether the table is captured because a pattern without wildcards names it.
    pub fn names(&self, name: &TableName) -> bool {
        let last = self.rules.iter().rev().find(|rule| rule.matches(&name.schema, &name.table));
        last.is_some_and(|rule| rule.captures && rule.is_literal())
    }

    /// Whether the table is captured.
    pub fn captures_name(&self, name: &TableName) -> bool {
        self.captures(&name.schema, &name.table)
    }
}

impl Rule {
    fn parse(pattern: &str) -> Result<Rule, &'static str> {
        let (captures, rest) = match pattern.strip_prefix('!') {
            Some(rest) => (false, rest),
            None => (true, pattern),
        };
        let (schema, table) = rest.split_once('.').ok_or("has no dot: write `schema.table`, as in `public.*`")?;
        if schema.is_empty() || table.is_empty() {
            return Err("has an empty part: write `schema.table`, as in `public.*`");
        }
        Ok(Rule { captures, schema: schema.chars().collect(), table: table.chars().collect() })
    }

    fn is_literal(&self) -> bool {
        !self.schema.iter().chain(&self.table).any(|c| matches!(c, '*' | '?'))
    }

    fn matches(&self, schema: &str, table: &str) -> bool {
        glob(&self.schema, schema) && glob(&self.table, table)
    }
}

/// Matches in time `pattern * text` at worst: only the last `*` is ever tried again.
fn glob(pattern: &[char], text: &str) -> bool {
    let mut rest = text.chars();
    let mut pattern = pattern.iter();
    let mut retry: Option<(std::slice::Iter<'_, char>, std::str::Chars<'_>)> = None;
    loop {
        let mut after = pattern.clone();
        match after.next() {
            Some('*') => {
                retry = Some((after.clone(), rest.clone()));
                pattern = after;
                continue;
            }
            Some(wanted) => {
                let mut next = rest.clone();
                if next.next().is_some_and(|c| *wanted == '?' || *wanted == c) {
                    (pattern, rest) = (after, next);
                    continue;
                }
            }
            None if rest.as_str().is_empty() => return true,
            None => {}
        }
        let Some((from, mut at)) = retry.take() else { return false };
        if at.next().is_none() {
            return false;
        }
        retry = Some((from.clone(), at.clone()));
        (pattern, rest) = (from, at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(patterns: &[&str], name: (&str, &str), expected: bool) {
        let filter = TableFilter::parse(patterns).unwrap();
        assert_eq!(filter.captures(name.0, name.1), expected, "{patterns:?} {name:?}");
    }

    #[test]
    fn the_last_pattern_that_matches_decides() {
        check(&[], ("public", "t"), true);
        check(&["public.*"], ("public", "t"), true);
        check(&["public.*"], ("crm", "t"), false);
        check(&["public.*", "!public.audit_*"], ("public", "audit_2024"), false);
        check(&["public.*", "!public.audit_*", "public.audit_keep"], ("public", "audit_keep"), true);
        check(&["!public.audit_*"], ("crm", "t"), true);
        check(&["!public.audit_*"], ("public", "audit_1"), false);
        check(&["public.t?"], ("public", "t1"), true);
        check(&["public.t?"], ("public", "t"), false);
        // PG-94: a dot in a table's name belongs to the table.
        check(&["public.ta.ble"], ("public", "ta.ble"), true);
        check(&["*.*b*c"], ("s", "abbxc"), true);
        check(&["*.*b*c"], ("s", "abbx"), false);
        check(&["public.MiXed"], ("public", "mixed"), false);
    }

    #[test]
    fn a_name_and_a_glob_differ() {
        let filter = TableFilter::parse(&["public.t", "crm.*"]).unwrap();
        assert!(filter.names(&TableName::new("public", "t")) && !filter.names(&TableName::new("crm", "t")));
    }

    #[test]
    fn every_unreadable_pattern_is_reported() {
        let faults = TableFilter::parse(&["orders", "public.", "public.*", "!.x"]).unwrap_err();
        assert_eq!(faults.len(), 3);
    }

    proptest! {
        #[test]
        fn a_name_without_wildcards_matches_only_itself(a in "[a-z.]{1,8}", b in "[a-z.]{1,8}") {
            let pattern: Vec<char> = a.chars().collect();
            prop_assert_eq!(glob(&pattern, &b), a == b);
        }

        #[test]
        fn a_star_matches_any_rest(a in "\\PC{0,8}", b in "\\PC{0,8}") {
            prop_assume!(!a.contains(['*', '?']));
            let mut pattern: Vec<char> = a.chars().collect();
            pattern.push('*');
            let text = format!("{a}{b}");
            prop_assert!(glob(&pattern, &text));
        }
    }
}
