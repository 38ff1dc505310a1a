//! What statements do to definitions beyond what a catalog shows: effects, hidden columns, what is not known.

use super::super::{ApplyError, Effect, Schemas};
use super::{charset, context, name, parsed, schemas};
use crate::model::Flavour::{self, MariaDb, MySql};
use crate::model::{ColumnDef, ColumnKind, Generated, TableDef};
use crate::shape::table_schema;
use crate::typemap::ZeroDates;
use tidewire_core::calendar::{Fraction, write_timestamp};
use tidewire_core::{ColumnNumber, Missing, Value};

fn run(schemas: &mut Schemas, sql: &str, flavour: Flavour) -> Vec<String> {
    let statement = parsed(sql, flavour);
    match schemas.apply(&statement, &context(flavour)) {
        Ok(effects) => effects.iter().map(told).collect(),
        Err(cause) => vec![cause.to_string()],
    }
}

fn told(effect: &Effect) -> String {
    match effect {
        Effect::Created { name, def } => format!("created {name}{}", if def.is_none() { " unknown" } else { "" }),
        Effect::Altered { name, before, after } => {
            format!("altered {name} {}>{}", before.columns.len(), after.columns.len())
        }
        Effect::Dropped { name } => format!("dropped {name}"),
        Effect::Renamed { from, to } => format!("renamed {from} {to}"),
        Effect::Truncated { name } => format!("truncated {name}"),
        Effect::RowsChangedUnseen { name, what } => format!("unseen {name} {what}"),
        Effect::Unchanged { name } => format!("unchanged {name}"),
        Effect::Unknown { name } => format!("unknown {name}"),
    }
}

fn check(flavour: Flavour, rows: &[(&str, &[&str])]) -> Schemas {
    let mut schemas = schemas();
    for (sql, expected) in rows {
        assert_eq!(run(&mut schemas, sql, flavour), *expected, "{sql}");
    }
    schemas
}

fn columns(schemas: &Schemas, table: &str) -> Vec<String> {
    schemas.get(&name(table)).unwrap().columns.iter().map(|column| column.name.to_string()).collect()
}

/// MY-79: whether rows from before have null in a column, and until when that is known.
#[test]
fn what_old_rows_have_in_an_added_column() {
    for flavour in [MySql, MariaDb] {
        for (sql, expected) in [
            ("alter table t add a int", "a"),
            ("alter table t add a int default null first, add b text null", "a b"),
            ("alter table t add a int default 5", ""),
            ("alter table t add a int not null", ""),
            ("alter table t add a varchar(36) default (uuid())", ""),
            ("alter table t add a int generated always as (id + 1) stored", ""),
            ("alter table t add a int; alter table t alter a set default 5", "a"),
            ("alter table t add a int default 5; alter table t alter a set default null", ""),
            ("alter table t add a int; alter table t modify a bigint", ""),
            ("alter table t add a int; alter table t modify a int first", ""),
            ("alter table t add a int; alter table t change a b int", ""),
            ("alter table t add a int; alter table t rename column a to b", ""),
            ("alter table t add a int; alter table t drop a, add b int", "b"),
            ("alter table t add a int; rename table t to x, x to t", ""),
            ("alter table t add a int, rename x; alter table x rename t", ""),
            ("create table x like t; alter table x add a int; rename table t to y, x to t", ""),
            ("alter table t add a int; create table x like t; drop table t; rename table x to t", ""),
        ] {
            let mut schemas = schemas();
            run(&mut schemas, "create table t (id int primary key, n int)", flavour);
            sql.split("; ").for_each(|sql| drop(run(&mut schemas, sql, flavour)));
            let table = schemas.get(&name("t")).unwrap();
            let added: Vec<&str> =
                table.columns.iter().filter(|column| column.added_as_null).map(|column| &*column.name).collect();
            assert_eq!(added.join(" "), expected, "{flavour:?} {sql}");
        }
    }
}

/// A column is known under its other names, as long as it is the one that it was.
#[test]
fn columns_are_counted_along_the_statements() {
    let numbers = |schemas: &Schemas| {
        let table = schemas.get(&name("t")).unwrap();
        let shown =
            |c: &ColumnDef| format!("{}:{}", c.name, c.number.map_or("?".to_owned(), |number| number.to_string()));
        (table.columns.iter().map(shown).collect::<Vec<_>>().join(" "), table.numbering.unwrap().id)
    };
    for flavour in [MySql, MariaDb] {
        let mut ids = std::collections::BTreeSet::new();
        for (sql, expected, is_same) in [
            ("alter table t comment 'x'", "id:1 a:2 b:3", true),
            ("alter table t rename column a to c", "id:1 c:2 b:3", true),
            ("alter table t change a c bigint", "id:1 c:2 b:3", true),
            ("alter table t change a c int after b", "id:1 b:3 c:2", true),
            ("alter table t modify b bigint first", "b:3 id:1 a:2", true),
            ("alter table t rename column a to b, rename column b to a", "id:1 b:2 a:3", true),
            ("alter table t change a b int, change b a int", "id:1 b:2 a:3", true),
            ("alter table t add c int, add d int first", "d:5 id:1 a:2 b:3 c:4", true),
            ("alter table t drop a; alter table t add a int", "id:1 b:3 a:4", true),
            ("alter table t drop a, add a int after id", "id:1 a:4 b:3", true),
            ("alter table t rename column a to c, add a int", "id:1 c:2 b:3 a:4", true),
            ("alter table t drop b; alter table t add c int; alter table t change c b int", "id:1 a:2 b:4", true),
            ("rename table t to x; alter table x rename column a to c; rename table x to t", "id:1 c:2 b:3", true),
            (
                "create table x like t; alter table x change a c int; drop table t; rename table x to t",
                "id:1 c:2 b:3",
                false,
            ),
            ("create or replace table t (b int, a int)", "b:1 a:2", true),
        ] {
            if flavour == MySql && sql.contains("or replace") {
                continue;
            }
            let mut schemas = schemas();
            run(&mut schemas, "create table t (id int primary key, a int, b int)", flavour);
            let (_, before) = numbers(&schemas);
            sql.split("; ").for_each(|sql| drop(run(&mut schemas, sql, flavour)));
            let (found, after) = numbers(&schemas);
            assert_eq!((found.as_str(), before == after), (expected, is_same), "{flavour:?} {sql}");
            ids.insert(before);
        }
        // The same place of the log is the same to every reading of it.
        assert_eq!(ids.len(), 1);
    }
}

/// Numbers are in the shape that sinks see, and of each numbering on its own.
#[test]
fn sinks_see_the_numbers() {
    let mut schemas = schemas();
    run(&mut schemas, "create table t (id int primary key, a int)", MySql);
    run(&mut schemas, "alter table t change a b int", MySql);
    let table = schemas.get(&name("t")).unwrap();
    let shape = table_schema(&table, MySql, 90_704, ZeroDates::Halt).unwrap();
    let within = table.numbering.unwrap().id;
    let numbers: Vec<_> = shape.columns.iter().map(|column| column.number).collect();
    assert_eq!(numbers, [1, 2].map(|number| Some(ColumnNumber { within, number })));
    assert!(shape.columns.iter().all(|column| shape.catalog_number(column).is_none()));
    let unnumbered = TableDef { numbering: None, ..TableDef::clone(&table) };
    let shape = table_schema(&unnumbered, MySql, 90_704, ZeroDates::Halt).unwrap();
    assert!(shape.columns.iter().all(|column| column.number.is_none()));
}

/// MY-79: what they have beside null: the default of when the column came, where the definition tells it for certain.
#[test]
fn what_old_rows_are_given_by_an_added_column() {
    let missing = |sql: &str, flavour: Flavour| {
        let mut schemas = schemas();
        run(&mut schemas, "create table t (id int primary key, n int) character set utf8mb4", flavour);
        sql.split("; ").for_each(|sql| drop(run(&mut schemas, sql, flavour)));
        let known = schemas.get(&name("t")).unwrap();
        let written = serde_json::to_string(&*known).unwrap();
        let table: TableDef = serde_json::from_str(&written).unwrap();
        assert_eq!(table, *known);
        let shape = table_schema(&table, flavour, 90_000, ZeroDates::Halt).unwrap();
        shape.columns.into_iter().find(|column| &*column.name == "a").unwrap().missing
    };
    for flavour in [MySql, MariaDb] {
        for (sql, expected) in [
            ("alter table t add a int default 5", Some("Int(5)")),
            ("alter table t add a int not null default 5 first", Some("Int(5)")),
            ("alter table t add column (a bigint unsigned default '7', b int)", Some("UInt(7)")),
            ("alter table t add a decimal(9,2) default 5", Some("5.00")),
            ("alter table t add a varchar(9) default 'né'", Some("né")),
            ("alter table t add a char(9) character set latin1 default 'n'", Some("n")),
            ("alter table t add a char(9) character set latin1 default 'né'", None),
            ("alter table t add a enum('x', 'y') not null", Some("x")),
            ("alter table t add a set('x', 'y') default 'y,x'", Some("x,y")),
            ("alter table t add a date default '2024-02-29'", Some("Date")),
            ("alter table t add a boolean default true", Some("Int(1)")),
            // What the server takes for the type (MY-20); not where a session decides it.
            ("alter table t add a int not null", Some("Int(0)")),
            ("alter table t add a varchar(9) not null", Some("\"\"")),
            ("alter table t add a timestamp not null", None),
            ("alter table t add a point not null", None),
            // The time of the statement, in the session's zone or, of a timestamp, in none.
            ("alter table t add a datetime default current_timestamp", Some("2024-02-29 02:00:01")),
            ("alter table t add a datetime(1) default current_timestamp(1)", Some("2024-02-29 02:00:01.2")),
            ("alter table t add a timestamp not null default now() on update now()", Some("2024-02-29 00:00:01")),
            ("alter table t add a timestamp(6) null default now(6)", Some("2024-02-29 00:00:01.25")),
            ("alter table t add a timestamp default now(); alter table t modify a timestamp default now()", None),
            ("alter table t add a timestamp(3) default (CURRENT_TIMESTAMP(3) + abs(1))", None),
            // Computed.
            ("alter table t add a date default (current_date)", None),
            ("alter table t add a varchar(36) default (uuid())", None),
            ("alter table t add a int as (id + 1) stored", None),
            ("alter table t add a int auto_increment unique", None),
            // The default of then, not of now.
            ("alter table t add a int default 5; alter table t alter a set default 6", Some("Int(5)")),
            ("alter table t add a int default 5; alter table t alter a drop default", Some("Int(5)")),
            ("alter table t add a int not null default 5; alter table t add b int default 6", Some("Int(5)")),
            // It may have become another value.
            ("alter table t add a int default 5; alter table t modify a bigint default 5", None),
            ("alter table t add b int default 5; alter table t rename column b to a", None),
            ("alter table t add b int default 5; alter table t change b a int default 5", None),
            ("alter table t add a int default 5; rename table t to x, x to t", None),
            ("alter table t add a int; alter table t drop a, add a int default 6", Some("Int(6)")),
        ] {
            let shown = match missing(sql, flavour) {
                Missing::Value(constant) => Some(shown(constant.value())),
                Missing::Null => Some("null".to_owned()),
                Missing::Unknown => None,
            };
            let is_expected = match (&shown, expected) {
                (Some(shown), Some(expected)) => shown.contains(expected),
                (shown, expected) => shown.is_none() && expected.is_none(),
            };
            assert!(is_expected, "{flavour:?} {sql}: {shown:?}");
        }
        assert_eq!(missing("alter table t add a int", flavour), Missing::Null);
        assert_eq!(missing("alter table t add a int default null", flavour), Missing::Null);
    }
}

fn shown(value: Value<'_>) -> String {
    match value {
        Value::Text(text) | Value::Enum(text) | Value::Set(text) => format!("{:?}", String::from_utf8_lossy(text)),
        Value::Decimal(decimal) => String::from_utf8_lossy(decimal.text()).into_owned(),
        Value::Timestamp(at) | Value::TimestampTz(at) => {
            let mut text = Vec::new();
            write_timestamp(&mut text, at, b' ', Fraction::Trimmed, b"");
            String::from_utf8(text).unwrap()
        }
        other => format!("{other:?}"),
    }
}

/// MY-43.
#[test]
fn effects_in_order() {
    let schemas = check(
        MySql,
        &[
            ("create table a (id int primary key)", &["created work.a"]),
            ("create table b (x text)", &["created work.b"]),
            ("create table if not exists a (y int)", &["unchanged work.a"]),
            (
                "rename table a to tmp, b to a, tmp to b",
                &["renamed work.a work.tmp", "renamed work.b work.a", "renamed work.tmp work.b"],
            ),
            ("alter table a add y int, rename to c", &["altered work.a 1>2", "renamed work.a work.c"]),
            ("alter table c engine=innodb", &["altered work.c 2>2"]),
            ("alter table c engine=innodb", &["unchanged work.c"]),
            ("alter table c rename d", &["renamed work.c work.d"]),
            ("alter table nope add x int, rename nope2", &["unknown work.nope", "unknown work.nope2"]),
            ("rename table nope to d", &["unknown work.nope", "unknown work.d"]),
            ("create table e like b", &["created work.e"]),
            ("create table f like nope", &["created work.f unknown"]),
            ("create table g select 1", &["created work.g unknown"]),
            ("create temporary table b (z int)", &[]),
            ("drop temporary table b", &[]),
            ("truncate e", &["truncated work.e"]),
            ("truncate nope", &["unknown work.nope"]),
            (
                "alter table b exchange partition p with table e",
                &["unseen work.b EXCHANGE PARTITION", "unseen work.e EXCHANGE PARTITION"],
            ),
            ("create index i on b (id)", &["altered work.b 1>1"]),
            ("alter table b add a int, add b int, drop id", &["altered work.b 1>2"]),
            ("alter table b drop zz", &["table `work.b` has no column `zz` in the definition that is known here"]),
            // What could not be applied is forgotten.
            ("alter table b add c int", &["unknown work.b"]),
            ("drop table e, nope", &["dropped work.e", "unknown work.nope"]),
            ("create table e (a int)", &["created work.e"]),
            ("create database w2", &[]),
            ("create table w2.t (a int)", &["created w2.t"]),
            ("drop database work", &["dropped work.e"]),
            ("insert into w2.t values (1)", &[]),
        ],
    );
    assert_eq!(schemas.iter().map(|table| table.name.to_string()).collect::<Vec<_>>(), ["w2.t"]);
    let schemas = check(
        MariaDb,
        &[
            ("create table a (id int primary key, b int)", &["created work.a"]),
            ("create or replace table a (x int)", &["created work.a"]),
            ("alter ignore table a add unique (x)", &["unseen work.a ALTER IGNORE", "altered work.a 1>1"]),
            ("alter ignore table a add y int", &["altered work.a 1>2"]),
            (
                "alter table a convert partition p to table q",
                &[
                    "unseen work.a CONVERT PARTITION TO TABLE",
                    "created work.q",
                    "unseen work.q CONVERT PARTITION TO TABLE",
                ],
            ),
            (
                "alter table a convert table q to partition p",
                &["unseen work.a CONVERT TABLE TO PARTITION", "dropped work.q"],
            ),
            (
                "alter table a drop x, change x z int",
                &["table `work.a` has no column `x` in the definition that is known here"],
            ),
        ],
    );
    assert_eq!(schemas.iter().count(), 0);
}

/// MY-47: what is in row images but not in the catalog.
#[test]
fn hidden_columns() {
    let schemas = check(
        MariaDb,
        &[
            ("create table v (a int, b text unique) with system versioning", &["created work.v"]),
            ("alter table v add c int", &["altered work.v 5>6"]),
            (
                "create table h (a varchar(800) unique, b varchar(10), unique (b) using hash, c point unique, d geometry unique)",
                &["created work.h"],
            ),
            (
                "create table o (a int, s timestamp(6) as row start, e timestamp(6) as row end, period for system_time (s, e)) with system versioning",
                &["created work.o"],
            ),
            ("create table m (a text, unique (a(10)))", &["created work.m"]),
        ],
    );
    assert_eq!(columns(&schemas, "v"), ["a", "b", "c", "row_start", "row_end", "DB_ROW_HASH_1"]);
    assert_eq!(columns(&schemas, "h"), ["a", "b", "c", "d", "DB_ROW_HASH_1", "DB_ROW_HASH_2", "DB_ROW_HASH_3"]);
    assert_eq!(columns(&schemas, "o"), ["a", "s", "e"]);
    assert_eq!(columns(&schemas, "m"), ["a"]);
    let table = schemas.get(&name("v")).unwrap();
    let row_end = &table.columns[4];
    assert_eq!(row_end.kind, ColumnKind::Timestamp { fsp: 6 });
    assert_eq!((row_end.nullable, row_end.invisible, row_end.generated), (false, true, Generated::RowTime));
    let mut schemas = schemas;
    run(&mut schemas, "alter table v drop system versioning, drop index b", MariaDb);
    assert_eq!(columns(&schemas, "v"), ["a", "b", "c"]);
    run(&mut schemas, "alter table v add system versioning", MariaDb);
    assert_eq!(columns(&schemas, "v"), ["a", "b", "c", "row_start", "row_end"]);
    // In MySQL an expression's hidden column is not in the log, and a generated primary key is in the statement.
    let schemas = check(
        MySql,
        &[
            ("create table f (a int, unique ((a + 1)))", &["created work.f"]),
            (
                "CREATE TABLE `g` (\n `my_row_id` bigint unsigned NOT NULL AUTO_INCREMENT /*!80023 INVISIBLE */,\n `a` int DEFAULT NULL,\n PRIMARY KEY (`my_row_id`)\n)",
                &["created work.g"],
            ),
        ],
    );
    assert_eq!(columns(&schemas, "f"), ["a"]);
    let table = schemas.get(&name("g")).unwrap();
    assert!(table.columns[0].invisible);
    assert_eq!(table.primary_key, ["my_row_id".into()]);
}

#[test]
fn a_character_set_is_never_guessed() {
    let mut schemas = schemas();
    assert_eq!(run(&mut schemas, "create table elsewhere.t (a text)", MySql), ["created elsewhere.t unknown"]);
    assert_eq!(run(&mut schemas, "create table elsewhere.t (a text) charset latin1", MySql), ["created elsewhere.t"]);
    schemas.set_database("elsewhere", charset("latin2", "latin2_bin"));
    assert_eq!(run(&mut schemas, "create table elsewhere.u (a text)", MySql), ["created elsewhere.u"]);
    let table = schemas.get(&name("elsewhere.u")).unwrap();
    assert_eq!(table.columns[0].charset, Some(charset("latin2", "latin2_bin")));
    run(&mut schemas, "alter database elsewhere charset gbk", MySql);
    assert_eq!(schemas.database("elsewhere"), Some(&charset("gbk", "gbk_chinese_ci")));
    // The width of a text in a set that is not known cannot be told.
    let statement = parsed("create table x (a text(10) charset klingon)", MySql);
    let found = schemas.apply(&statement, &context(MySql));
    assert!(matches!(found, Err(ApplyError::CharsetUnknown { .. })), "{found:?}");
}
