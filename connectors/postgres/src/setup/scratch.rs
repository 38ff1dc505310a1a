//! The statements for a login that the server does not let in: all that it will need, as far as the configuration tells.
//! Tables, version and settings of the server are not known here; what depends on them is asked of the catalog by the
//! statements themselves. Pure.

use super::statements::{WAL_LEVEL_LEFT, mark};
use crate::catalog::{literal, quoted};
use crate::config::Settings;
use std::collections::BTreeMap;
use std::fmt::Write;
use tidewire_core::Error;
use tidewire_core::source::SetupStep;

/// Why the server does not let the login in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Nobody has this name, or not with this password.
    Login,
    /// It is who it says, and has no right to connect.
    Database,
}

impl Refusal {
    /// `None` where no statement would mend it.
    pub(super) fn of(error: &Error) -> Option<Refusal> {
        match error.code() {
            "authentication_refused" => Some(Refusal::Login),
            "permission_denied" => Some(Refusal::Database),
            _ => None,
        }
    }
}

/// All of them, in the order to run them. The password is not among them: it is where the configuration has it.
pub(super) fn from_scratch(settings: &Settings, refusal: Refusal, error: &Error) -> Vec<SetupStep> {
    let (user, database) = (quoted(&settings.user), quoted(&settings.database));
    let mut statements = vec![SetupStep::to_weigh(
        "write what logical decoding needs to the log; takes effect when the server is restarted, and is there already if \
         `SHOW wal_level` says `logical`",
        "ALTER SYSTEM SET wal_level = 'logical';",
        WAL_LEVEL_LEFT,
    )];
    let answer = error.chain();
    statements.push(match refusal {
        Refusal::Login => {
            let password = if settings.password.is_some() { " PASSWORD '...'" } else { "" };
            let instead = error.remedy().unwrap_or("look at the server's log for why");
            SetupStep::new(
                format!(
                    "the server does not let login `{}` in ({answer}): create it, with the password that is in the \
                     configuration; or, if it exists, {instead}",
                    settings.user
                ),
                format!(
                    "CREATE ROLE {user} LOGIN REPLICATION{password}; -- Amazon RDS: without REPLICATION, then GRANT \
                     rds_replication TO {user};"
                ),
            )
        }
        Refusal::Database => SetupStep::new(
            format!("the server does not let login `{}` into the database ({answer}); let it replicate", settings.user),
            format!("ALTER ROLE {user} REPLICATION; -- Amazon RDS: GRANT rds_replication TO {user};"),
        ),
    });
    statements.push(SetupStep::new(
        format!("let the login connect to database `{}`; the statements from here on are run there", settings.database),
        format!("GRANT CONNECT ON DATABASE {database} TO {user};"),
    ));
    grants(settings, &user, &mut statements);
    statements.push(publication(settings));
    statements
}

fn grants(settings: &Settings, user: &str, statements: &mut Vec<SetupStep>) {
    let Some(schemas) = schemas(&settings.patterns) else {
        statements.push(SetupStep::new(
            "let the snapshot read the tables",
            format!(
                "GRANT pg_read_all_data TO {user}; -- or, before PostgreSQL 14, and to give no more than is captured, for \
                 each schema: GRANT USAGE ON SCHEMA ... TO {user}; GRANT SELECT ON ALL TABLES IN SCHEMA ... TO {user};"
            ),
        ));
        return;
    };
    for (schema, tables) in schemas {
        let name = quoted(schema);
        statements.push(SetupStep::new(
            format!("let the login use schema `{schema}`"),
            format!("GRANT USAGE ON SCHEMA {name} TO {user};"),
        ));
        let (reason, on) = match tables {
            Some(tables) => {
                let tables: Vec<String> = tables.iter().map(|table| format!("{name}.{}", quoted(table))).collect();
                ("let the snapshot read the captured tables", tables.join(", "))
            }
            None => ("let the snapshot read the tables", format!("ALL TABLES IN SCHEMA {name}")),
        };
        statements
            .push(SetupStep::new(format!("{reason} of schema `{schema}`"), format!("GRANT SELECT ON {on} TO {user};")));
    }
}

/// The schemas that patterns name, each with its tables where these are named as well; `None` when some pattern reaches
/// further.
fn schemas(patterns: &[String]) -> Option<BTreeMap<&str, Option<Vec<&str>>>> {
    let open = |text: &str| text.contains(['*', '?']);
    let mut schemas: BTreeMap<&str, Option<Vec<&str>>> = BTreeMap::new();
    if patterns.first().is_none_or(|first| first.starts_with('!')) {
        return None;
    }
    for pattern in patterns.iter().filter(|pattern| !pattern.starts_with('!')) {
        let (schema, table) = pattern.split_once('.').filter(|(schema, _)| !open(schema))?;
        let tables = schemas.entry(schema).or_insert_with(|| Some(Vec::new()));
        match tables {
            Some(tables) if !open(table) => tables.push(table),
            tables => *tables = None,
        }
    }
    Some(schemas)
}

/// Publishes what [`super::ensure_publication`] would: a table without a replica identity stays out, or the server would
/// refuse the updates of those who write to it (PG-29).
fn publication(settings: &Settings) -> SetupStep {
    let captured = captured(&settings.patterns);
    let (name, as_text) = (quoted(&settings.publication), literal(&settings.publication));
    let body = format!(
        "
DECLARE
  tables text;
BEGIN
  SELECT string_agg(format('%I.%I', n.nspname, c.relname), ', ' ORDER BY n.nspname, c.relname) INTO tables
    FROM pg_catalog.pg_class c
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
   WHERE c.relkind IN ('r', 'p') AND c.relpersistence = 'p' AND NOT c.relispartition
     AND n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema'{captured}
     AND (c.relreplident = 'f' OR EXISTS (
           SELECT FROM pg_catalog.pg_index i
            WHERE i.indrelid = c.oid AND i.indisvalid
              AND (c.relreplident = 'd' AND i.indisprimary AND i.indimmediate OR c.relreplident = 'i' AND i.indisreplident)));
  IF tables IS NULL THEN
    RAISE 'no captured table has a replica identity';
  END IF;
  EXECUTE format('CREATE PUBLICATION %I FOR TABLE %s WITH (publish_via_partition_root = true)', {as_text}, tables);
END
"
    );
    // What the body holds of the configuration cannot end it.
    let mut tag = "$tidewire$".to_owned();
    while body.contains(&tag) {
        tag.insert(tag.len() - 1, '_');
    }
    SetupStep::new(
        "publish the captured tables that have a replica identity; `tidewire check` tells of the others",
        format!("DO {tag}{body}{tag};\nCOMMENT ON PUBLICATION {name} IS {};", literal(&mark(&settings.name))),
    )
}

/// The patterns as a condition: of those that match, the last one decides.
fn captured(patterns: &[String]) -> String {
    let Some(first) = patterns.first() else { return String::new() };
    let mut condition = "\n     AND CASE".to_owned();
    for pattern in patterns.iter().rev() {
        let (captures, names) = match pattern.strip_prefix('!') {
            Some(names) => (false, names),
            None => (true, pattern.as_str()),
        };
        let (schema, table) = names.split_once('.').unwrap_or((names, "*"));
        let matches: Vec<String> = [("n.nspname", schema), ("c.relname", table)]
            .into_iter()
            .filter(|(_, glob)| *glob != "*")
            .map(|(column, glob)| format!("{column} LIKE {}", like(glob)))
            .collect();
        let matches = if matches.is_empty() { "true".to_owned() } else { matches.join(" AND ") };
        write!(condition, "\n           WHEN {matches} THEN {captures}").ok();
    }
    write!(condition, "\n           ELSE {} END", first.starts_with('!')).ok();
    condition
}

/// A glob as the server's LIKE has it.
fn like(glob: &str) -> String {
    let mut pattern = String::with_capacity(glob.len() + 2);
    for letter in glob.chars() {
        match letter {
            '*' => pattern.push('%'),
            '?' => pattern.push('_'),
            '%' | '_' | '\\' => pattern.extend(['\\', letter]),
            letter => pattern.push(letter),
        }
    }
    literal(&pattern)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::settings;

    fn refused(code: &'static str) -> Error {
        Error::operator(code, "log in: the server answers `no`").with_remedy("give the right `password`")
    }

    fn scratch(patterns: &[&str], code: &'static str) -> Vec<String> {
        let mut settings = settings("postgres://cdc:hunter2@db/shop");
        settings.patterns = patterns.iter().map(|pattern| (*pattern).to_owned()).collect();
        let error = refused(code);
        let statements = from_scratch(&settings, Refusal::of(&error).unwrap(), &error);
        assert!(!format!("{statements:?}").contains("hunter2"), "no secret is printed");
        statements.into_iter().map(|statement| statement.sql).collect()
    }

    fn granted(patterns: &[&str]) -> Vec<String> {
        let mut statements = scratch(patterns, "authentication_refused");
        statements.retain(|sql| sql.starts_with("GRANT ") && !sql.starts_with("GRANT CONNECT"));
        statements
    }

    #[test]
    fn a_login_that_does_not_exist_gets_all_that_it_needs() {
        let statements = scratch(&["public.*", "!public.audit_*"], "authentication_refused");
        let begins = [
            "ALTER SYSTEM SET wal_level = 'logical';",
            "CREATE ROLE \"cdc\" LOGIN REPLICATION PASSWORD '...';",
            "GRANT CONNECT ON DATABASE \"shop\" TO \"cdc\";",
            "GRANT USAGE ON SCHEMA \"public\" TO \"cdc\";",
            "GRANT SELECT ON ALL TABLES IN SCHEMA \"public\" TO \"cdc\";",
            "DO $tidewire$",
        ];
        assert_eq!(statements.len(), begins.len(), "{statements:?}");
        for (sql, begin) in statements.iter().zip(begins) {
            assert!(sql.starts_with(begin), "{sql}");
        }
        let known = scratch(&[], "permission_denied");
        assert!(known.iter().all(|sql| !sql.contains("CREATE ROLE")), "the login exists: {known:?}");
        assert_eq!(Refusal::of(&refused("database_missing")), None);
    }

    #[test]
    fn it_may_read_what_the_patterns_name() {
        let both = ["GRANT USAGE ON SCHEMA \"a\" TO \"cdc\";", "GRANT SELECT ON \"a\".\"t\", \"a\".\"U\" TO \"cdc\";"];
        assert_eq!(granted(&["a.t", "a.U"]), both);
        assert!(granted(&["a.t", "a.u*"]).iter().any(|sql| sql.contains("ALL TABLES IN SCHEMA \"a\"")));
        for open in [&[][..], &["*.t"], &["!a.t"], &["a.t", "shop_?.t"]] {
            assert!(granted(open)[0].starts_with("GRANT pg_read_all_data"), "{open:?}");
        }
    }

    #[test]
    fn the_last_pattern_that_matches_decides() {
        let condition = captured(&["sales.*".to_owned(), "!*.tmp_?".to_owned()]);
        let expected = "
     AND CASE
           WHEN c.relname LIKE E'tmp\\\\__' THEN false
           WHEN n.nspname LIKE 'sales' THEN true
           ELSE false END";
        assert_eq!(condition, expected);
        assert!(captured(&["!a.b".to_owned()]).ends_with("ELSE true END"));
        assert_eq!(captured(&[]), "");
    }

    #[test]
    fn no_name_ends_the_block() {
        let statements = scratch(&["public.$tidewire$; DROP TABLE t; --"], "authentication_refused");
        let block = statements.last().unwrap();
        assert!(block.starts_with("DO $tidewire_$\n") && block.contains("END\n$tidewire_$;\n"), "{block}");
    }
}
