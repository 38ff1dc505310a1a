//! What `SHOW GRANTS` prints, as rights that can be asked for. Pure.
//!
//! A line is `GRANT <rights> ON <object> TO <account>`, `REVOKE <rights> ON <object> FROM <account>` for what a partial
//! revoke takes away (MySQL 8.0.16), or `GRANT <role> TO <account>`.

/// What a right holds for.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Scope {
    /// `*.*`
    Global,
    /// `db.*`; the name is a pattern unless the server takes names as they are.
    Database(String),
    /// `db.table`
    Table(String, String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Grant {
    rights: Vec<String>,
    scope: Scope,
    takes_away: bool,
}

/// The rights of a login.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Grants {
    grants: Vec<Grant>,
    /// Whether `_` and `%` in a database's name mean themselves: `partial_revokes` is on.
    literal_names: bool,
}

impl Grants {
    /// Reads the lines. What is not about tables (proxies, routines, roles) is left out.
    pub(crate) fn parse<'a>(lines: impl Iterator<Item = &'a str>, literal_names: bool) -> Grants {
        Grants { grants: lines.filter_map(parse_line).collect(), literal_names }
    }

    /// Whether a right holds everywhere, by any of its names.
    pub(crate) fn has_global(&self, names: &[&str]) -> bool {
        let mut global = self.grants.iter().filter(|grant| grant.scope == Scope::Global && !grant.takes_away);
        global.any(|grant| grant.gives(names))
    }

    /// Whether a right holds for a table.
    pub(crate) fn on_table(&self, name: &str, database: &str, table: &str) -> bool {
        let names = &[name];
        let of_table = self.grants.iter().any(|grant| {
            matches!(&grant.scope, Scope::Table(d, t) if d == database && t == table) && grant.gives(names)
        });
        of_table || self.on_database(name, database)
    }

    /// Whether a right holds for a whole database.
    pub(crate) fn on_database(&self, name: &str, database: &str) -> bool {
        let names = &[name];
        let about = |grant: &&Grant| {
            matches!(&grant.scope, Scope::Database(pattern) if self.matches(pattern, database)) && grant.gives(names)
        };
        if self.grants.iter().filter(about).any(|grant| !grant.takes_away) {
            return true;
        }
        let taken_away = self.grants.iter().filter(about).any(|grant| grant.takes_away);
        self.has_global(names) && !taken_away
    }

    fn matches(&self, pattern: &str, database: &str) -> bool {
        if self.literal_names { pattern == database } else { like(pattern, database) }
    }
}

impl Grant {
    fn gives(&self, names: &[&str]) -> bool {
        let all = self.rights.iter().any(|right| right == "ALL PRIVILEGES" || right == "ALL");
        all || self.rights.iter().any(|right| names.contains(&right.as_str()))
    }
}

fn parse_line(line: &str) -> Option<Grant> {
    let (takes_away, rest) = match line.strip_prefix("GRANT ") {
        Some(rest) => (false, rest),
        None => (true, line.strip_prefix("REVOKE ")?),
    };
    let (rights, rest) = split_at_word(rest, " ON ")?;
    let (object, _) = split_at_word(rest, if takes_away { " FROM " } else { " TO " })?;
    // Rights on columns do not let a whole table be read.
    let rights = split_list(rights).into_iter().filter(|right| !right.contains('(')).collect();
    Some(Grant { rights, scope: scope(object)?, takes_away })
}

/// Cuts at a word outside of quotes and brackets.
fn split_at_word<'a>(text: &'a str, word: &str) -> Option<(&'a str, &'a str)> {
    let (mut quoted, mut depth) = (None, 0u32);
    for (index, c) in text.char_indices() {
        match (quoted, c) {
            (Some(quote), c) if c == quote => quoted = None,
            (Some(_), _) => {}
            (None, '`' | '\'' | '"') => quoted = Some(c),
            (None, '(') => depth += 1,
            (None, ')') => depth = depth.saturating_sub(1),
            (None, _) if depth == 0 => {
                if let Some(rest) = text.get(index..).and_then(|rest| rest.strip_prefix(word)) {
                    return Some((text.get(..index)?, rest));
                }
            }
            (None, _) => {}
        }
    }
    None
}

/// Names of rights, in capitals and without spaces around.
fn split_list(text: &str) -> Vec<String> {
    let mut depth = 0u32;
    let mut list = vec![String::new()];
    for c in text.chars() {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        match (c, list.last_mut()) {
            (',', _) if depth == 0 => list.push(String::new()),
            (c, Some(last)) => last.push(c),
            (_, None) => {}
        }
    }
    list.into_iter().map(|right| right.trim().to_ascii_uppercase()).collect()
}

fn scope(object: &str) -> Option<Scope> {
    let object = object.strip_prefix("TABLE ").unwrap_or(object);
    if object == "*.*" {
        return Some(Scope::Global);
    }
    let (database, rest) = name(object)?;
    let rest = rest.strip_prefix('.')?;
    if rest == "*" {
        return Some(Scope::Database(database));
    }
    let (table, rest) = name(rest)?;
    rest.is_empty().then_some(Scope::Table(database, table))
}

/// A name at the front, quoted by backticks or double quotes, or plain.
fn name(text: &str) -> Option<(String, &str)> {
    let quote = text.chars().next().filter(|c| matches!(c, '`' | '"'));
    let Some(quote) = quote else {
        let end = text.find('.').unwrap_or(text.len());
        let (name, rest) = text.split_at_checked(end)?;
        let plain = !name.is_empty() && !name.contains([' ', '`', '"', '*']);
        return plain.then(|| (name.to_owned(), rest));
    };
    let mut out = String::new();
    let mut chars = text.char_indices().skip(1).peekable();
    while let Some((index, c)) = chars.next() {
        if c != quote {
            out.push(c);
        } else if chars.next_if(|(_, next)| *next == quote).is_some() {
            out.push(quote);
        } else {
            return Some((out, text.get(index + 1..)?));
        }
    }
    None
}

/// SQL's `LIKE` with `\` as the escape.
fn like(pattern: &str, text: &str) -> bool {
    fn step(pattern: &[char], text: &[char]) -> bool {
        match (pattern, text) {
            ([], rest) => rest.is_empty(),
            (['%', after @ ..], _) => (0..=text.len()).any(|skip| step(after, text.get(skip..).unwrap_or_default())),
            (['\\', wanted, after @ ..], [c, rest @ ..]) => wanted == c && step(after, rest),
            (['_', after @ ..], [_, rest @ ..]) => step(after, rest),
            ([wanted, after @ ..], [c, rest @ ..]) => wanted == c && step(after, rest),
            (_, []) => false,
        }
    }
    // Names have 64 characters at most; a longer one is none, and many `%` would take long.
    let pattern: Vec<char> = pattern.chars().take(256).collect();
    let text: Vec<char> = text.chars().take(256).collect();
    match pattern.iter().filter(|c| **c == '%').count() {
        0..=4 => step(&pattern, &text),
        _ => false,
    }
}

/// A login as `CURRENT_USER()` prints it: name and host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Account {
    /// Name.
    pub(crate) user: String,
    /// Pattern of hosts.
    pub(crate) host: String,
}

impl Account {
    /// From `user@host`; a name may hold `@`, a host may not.
    pub(crate) fn parse(text: &str) -> Account {
        let (user, host) = text.rsplit_once('@').unwrap_or((text, "%"));
        Account { user: user.to_owned(), host: host.to_owned() }
    }
}

impl std::fmt::Display for Account {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "`{}`@`{}`", self.user.replace('`', "``"), self.host.replace('`', "``"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn grants(lines: &[&str]) -> Grants {
        Grants::parse(lines.iter().copied(), false)
    }

    #[test]
    fn lines_of_both_servers() {
        let all = grants(&["GRANT ALL PRIVILEGES ON *.* TO `root`@`localhost` WITH GRANT OPTION"]);
        assert!(all.has_global(&["REPLICATION SLAVE"]) && all.on_table("SELECT", "a", "b"));
        let cdc = grants(&[
            "GRANT RELOAD, REPLICATION SLAVE, BINLOG MONITOR ON *.* TO `cdc`@`%` IDENTIFIED BY PASSWORD '*11 ON EF'",
            "GRANT SELECT, LOCK TABLES ON `shop`.* TO `cdc`@`%`",
            "GRANT SELECT ON `crm`.`ta``ble` TO `cdc`@`%`",
            "GRANT SELECT (`id`, `a, b`), INSERT (`id`) ON `crm`.`secret` TO `cdc`@`%`",
            "GRANT `reader`@`%` TO `cdc`@`%`",
            "GRANT EXECUTE ON PROCEDURE `crm`.`p` TO `cdc`@`%`",
            "GRANT PROXY ON ``@`%` TO 'root'@'localhost' WITH GRANT OPTION",
        ]);
        assert!(cdc.has_global(&["REPLICATION CLIENT", "BINLOG MONITOR"]) && !cdc.has_global(&["SELECT"]));
        assert!(cdc.on_table("SELECT", "shop", "any") && cdc.on_database("LOCK TABLES", "shop"));
        assert!(cdc.on_table("SELECT", "crm", "ta`ble"));
        assert!(!cdc.on_table("SELECT", "crm", "secret"), "only some columns");
        assert!(!cdc.on_table("SELECT", "crm", "other") && !cdc.on_database("SELECT", "crm"));
    }

    #[test]
    fn patterns_of_databases() {
        let wild = grants(&["GRANT SELECT ON `shop\\_%`.* TO `u`@`%`", "GRANT SELECT ON `a_c`.* TO `u`@`%`"]);
        for (database, expected) in
            [("shop_1", true), ("shop_", true), ("shopX", false), ("abc", true), ("a_c", true), ("abbc", false)]
        {
            assert_eq!(wild.on_database("SELECT", database), expected, "{database}");
        }
        let literal = Grants::parse(["GRANT SELECT ON `a_c`.* TO `u`@`%`"].into_iter(), true);
        assert!(literal.on_database("SELECT", "a_c") && !literal.on_database("SELECT", "abc"));
    }

    #[test]
    fn partial_revokes_take_away() {
        let lines = ["GRANT SELECT ON *.* TO `u`@`%`", "REVOKE SELECT ON `hr`.* FROM `u`@`%`"];
        let partial = Grants::parse(lines.into_iter(), true);
        assert!(partial.on_table("SELECT", "shop", "t") && !partial.on_table("SELECT", "hr", "t"));
        let lines = [lines[0], lines[1], "GRANT SELECT ON `hr`.`open` TO `u`@`%`"];
        let partial = Grants::parse(lines.into_iter(), true);
        assert!(partial.on_table("SELECT", "hr", "open") && !partial.on_table("SELECT", "hr", "t"));
    }

    #[test]
    fn accounts_are_quoted() {
        assert_eq!(Account::parse("cdc@%").to_string(), "`cdc`@`%`");
        assert_eq!(Account::parse("a@b`c@10.0.%").to_string(), "`a@b``c`@`10.0.%`");
    }

    proptest! {
        #[test]
        fn any_line_is_read_without_a_panic(line in "\\PC{0,60}") {
            let _ = grants(&[&line, &format!("GRANT {line}"), &format!("GRANT SELECT ON {line} TO x")]);
        }
    }
}
