//! The table `every_type`: one column for each built-in type and some that are not, with extreme values, and an array
//! of each. `every_type_shown` is the same as a mirror holds it, in the source's own words. `binary_type` has the columns
//! alone whose types a snapshot reads in binary form, with the same values.

use anyhow::{Result, ensure};
use tidewire_testkit::postgres::Client;

/// Added to the ids of rows that are inserted while the daemon runs.
pub(super) const STREAMED: u64 = 1_000;

/// How a mirror holds a type.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Held {
    /// Natively, or by the database's own text.
    AsIs,
    /// As a number.
    Number,
    /// As words, though it looks like a list or a row.
    Words,
    /// By the database's own text, because the configuration says so.
    Text,
}

/// A type, by its name in the catalog and as a column is declared; first major version; values.
struct Type {
    name: &'static str,
    declared: &'static str,
    since: u16,
    held: Held,
    values: &'static [(u16, &'static str)],
}

const fn t(name: &'static str, values: &'static [(u16, &'static str)]) -> Type {
    Type { name, declared: name, since: 0, held: Held::AsIs, values }
}

impl Type {
    const fn declared(mut self, declared: &'static str) -> Type {
        self.declared = declared;
        self
    }

    const fn since(mut self, since: u16) -> Type {
        self.since = since;
        self
    }

    fn is_binary(&self) -> bool {
        BINARY.split_whitespace().any(|name| name == self.name)
    }

    const fn held(mut self, held: Held) -> Type {
        self.held = held;
        self
    }
}

#[rustfmt::skip]
const TYPES: &[Type] = &[
    t("bool", &[(0, "t"), (0, "f")]),
    t("int2", &[(0, "-32768"), (0, "32767"), (0, "0")]),
    t("int4", &[(0, "-2147483648"), (0, "2147483647")]),
    t("int8", &[(0, "-9223372036854775808"), (0, "9223372036854775807")]),
    t("float4", &[(0, "NaN"), (0, "Infinity"), (0, "-Infinity"), (0, "-0"), (0, "3.4028235e38"), (0, "1e-45"), (0, "0.1")]),
    t("float8", &[(0, "NaN"), (0, "Infinity"), (0, "-Infinity"), (0, "-0"), (0, "1.7976931348623157e308"), (0, "5e-324"), (0, "0.1"), (0, "9007199254740993")]),
    t("numeric", &[(0, "NaN"), (14, "Infinity"), (14, "-Infinity"), (0, "1.10"), (0, "-0.00000000000000000000000000000000000000000001"), (0, "123456789012345678901234567890123456789012345678901234567890.5"), (0, "0")]),
    t("numeric_38", &[(0, "9999999999999999999999999999.9999999999"), (0, "-9999999999999999999999999999.9999999999"), (0, "1")]).declared("numeric(38,10)"),
    t("money", &[(0, "92233720368547758.07"), (0, "-92233720368547758.08"), (0, "0")]).held(Held::Number),
    t("text", &[(0, ""), (0, "plain"), (0, "quote\" back\\slash\ttab\nnl\r\u{1}ctl \u{e9}\u{4e2d}\u{1f600} </script> '"), (0, "NULL"), (0, "\\N"), (0, "\\.")]),
    t("varchar", &[(0, ""), (0, "trailing  "), (0, "\u{1f600}")]).declared("varchar(20)"),
    t("bpchar", &[(0, ""), (0, "ab"), (0, "\u{e9}\u{4e2d}")]).declared("char(5)"),
    t("char", &[(0, "a"), (0, "")]).declared("pg_catalog.\"char\""),
    t("name", &[(0, "a name"), (0, "")]),
    t("bytea", &[(0, "\\x"), (0, "\\x00ff5c27"), (0, "\\xdeadbeef")]),
    t("date", &[(0, "0001-01-01"), (0, "9999-12-31"), (0, "2024-02-29"), (0, "1582-10-10")]),
    t("time", &[(0, "00:00:00"), (0, "24:00:00"), (0, "23:59:59.999999")]),
    t("timetz", &[(0, "24:00:00+02"), (0, "00:00:00-15:59:59"), (0, "12:34:56.7+05:45")]),
    t("timestamp", &[(0, "0001-01-01 00:00:00"), (0, "9999-12-31 23:59:59.999999"), (0, "1969-12-31 23:59:59.999999")]),
    t("timestamp_0", &[(0, "2024-02-29 12:34:56.5")]).declared("timestamp(0)"),
    t("timestamptz", &[(0, "0001-01-01 00:00:00+00"), (0, "9999-12-31 23:59:59.999999+00"), (0, "2024-03-31 02:30:00+05:45")]),
    t("interval", &[(0, "1 year -2 mons +3 days -04:05:06.7"), (0, "00:00:00"), (0, "-178000000 years"), (0, "2147483647 days"), (15, "2562047788:00:54.775807"), (17, "infinity"), (17, "-infinity")]),
    t("uuid", &[(0, "6F1E9D0A-1111-4222-8333-444455556666"), (0, "00000000-0000-0000-0000-000000000000")]),
    t("json", &[(0, "{\"b\":  [1e400, 0.10, 12345678901234567890], \"a\" : null, \"a\": \"\\u0000\"}"), (0, "null"), (0, "\"s\"")]),
    t("jsonb", &[(0, "{\"b\": [1.10, 12345678901234567890, 1e30], \"a\": {\"c\": \"\\u00e9\"}, \"a\": 2}"), (0, "null"), (0, "[]")]),
    t("jsonpath", &[(0, "$.a[*] ? (@ > 1)")]),
    t("xml", &[(0, "<a x=\"1\">\u{e9}<![CDATA[<]]></a>"), (0, "text <b/>")]),
    t("bit", &[(0, "10100101"), (0, "00000000")]).declared("bit(8)"),
    t("bit_1", &[(0, "1"), (0, "0")]).declared("bit(1)"),
    t("varbit", &[(0, ""), (0, "10101")]),
    t("inet", &[(0, "192.168.0.1/24"), (0, "::1"), (0, "10.0.0.1")]),
    t("cidr", &[(0, "10.0.0.0/8"), (0, "2001:db8::/32")]),
    t("macaddr", &[(0, "08:00:2b:01:02:03")]),
    t("macaddr8", &[(0, "08:00:2b:01:02:03:04:05")]),
    t("point", &[(0, "(1.5,-2.5)"), (0, "(1e300,NaN)"), (0, "(0.1,Infinity)")]),
    t("line", &[(0, "{1,-2.5,3}")]),
    t("lseg", &[(0, "[(0,0),(1,0.1)]")]),
    t("box", &[(0, "(1,1),(0,0)"), (0, "(0.1,2),(0,-1)")]),
    t("path", &[(0, "[(0,0),(1,1)]"), (0, "((0,0),(1,1),(2,0))")]),
    t("polygon", &[(0, "((0,0),(1,1),(2,0))")]),
    t("circle", &[(0, "<(0,0),1.5>")]),
    t("tsvector", &[(0, "'a':1A 'fat':2B,3 'it''s'")]),
    t("tsquery", &[(0, "'fat' & ( 'rat' | 'cat' ) & !'it''s'")]),
    t("oid", &[(0, "4294967295"), (0, "0")]),
    t("xid", &[(0, "4294967295")]),
    t("cid", &[(0, "4294967295")]),
    t("xid8", &[(0, "18446744073709551615"), (0, "0")]),
    t("tid", &[(0, "(42,7)")]),
    t("pg_lsn", &[(0, "FFFFFFFF/FFFFFFFF"), (0, "0/0")]),
    t("pg_snapshot", &[(0, "10:20:10,14,15")]),
    t("txid_snapshot", &[(0, "10:20:10,14,15")]),
    t("refcursor", &[(0, "a cursor")]),
    t("aclitem", &[(0, "postgres=r/postgres")]),
    t("int2vector", &[(0, "1 2 3"), (0, "")]).held(Held::Words),
    t("oidvector", &[(0, "1 4294967295"), (0, "")]).held(Held::Words),
    t("regclass", &[(0, "pg_class"), (0, "public.moved")]),
    t("regcollation", &[(0, "\"C\"")]),
    t("regconfig", &[(0, "simple")]),
    t("regdictionary", &[(0, "simple")]),
    t("regnamespace", &[(0, "public")]),
    t("regoper", &[(0, "||/")]),
    t("regoperator", &[(0, "+(integer,integer)")]),
    t("regproc", &[(0, "now")]),
    t("regprocedure", &[(0, "abs(integer)")]),
    t("regrole", &[(0, "postgres")]),
    t("regtype", &[(0, "integer"), (0, "public.mood")]),
    t("int4range", &[(0, "[1,10)"), (0, "empty"), (0, "(,)"), (0, "[1,)")]),
    t("int8range", &[(0, "[-9223372036854775808,9223372036854775807)")]),
    t("numrange", &[(0, "[1.50,2.5]"), (0, "(0.1,)")]),
    t("tsrange", &[(0, "[\"2024-01-01 00:00:00\",infinity)"), (0, "[\"4713-01-01 00:00:00 BC\",]")]),
    t("tstzrange", &[(0, "[\"2024-01-01 00:00:00+00\",\"2024-02-01 00:00:00.5+05:45\")")]),
    t("daterange", &[(0, "[2024-01-01,2024-02-01)"), (0, "[-infinity,infinity]")]),
    t("int4multirange", &[(0, "{[1,2),[5,6)}"), (0, "{}")]).since(14),
    t("int8multirange", &[(0, "{[1,2)}")]).since(14),
    t("nummultirange", &[(0, "{[1.50,2]}")]).since(14),
    t("tsmultirange", &[(0, "{[\"2024-01-01 00:00:00\",\"2024-01-02 00:00:00\")}")]).since(14),
    t("tstzmultirange", &[(0, "{[\"2024-01-01 00:00:00+05:45\",)}")]).since(14),
    t("datemultirange", &[(0, "{[2024-01-01,2024-02-01)}")]).since(14),
    // Not built in: by their own words.
    t("mood", &[(0, "ok"), (0, "it's \"so, so\"")]),
    t("positive", &[(0, "1"), (0, "2147483647")]),
    t("price", &[(0, "1.50"), (0, "-99999999.99")]),
    t("pair", &[(0, "(1,\"a,b\"\"\\\\\")"), (0, "(,)")]).held(Held::Words),
    t("hstore", &[(0, "\"k\"=>\"v\", \"n\"=>NULL"), (0, "")]),
    t("citext", &[(0, "CiText")]),
    t("ltree", &[(0, "top.sub")]),
    // What Delta's own types cannot hold travels as text where the configuration says so.
    t("far_date", &[(0, "infinity"), (0, "-infinity"), (0, "5874897-12-31"), (0, "4713-01-01 BC"), (0, "0044-03-15 BC")]).declared("date").held(Held::Text),
    t("far_timestamp", &[(0, "infinity"), (0, "-infinity"), (0, "294276-12-31 23:59:59.999999"), (0, "4713-01-01 00:00:00 BC")]).declared("timestamp").held(Held::Text),
    t("far_timestamptz", &[(0, "infinity"), (0, "-infinity"), (0, "294276-12-31 23:59:59.999999+00"), (0, "4713-01-01 00:00:00+00 BC")]).declared("timestamptz").held(Held::Text),
    t("grid", &[(0, "{{1,2},{3,4}}"), (0, "[0:1]={7,8}"), (0, "[-1:0][2:3]={{1,NULL},{3,4}}")]).declared("int[]").held(Held::Text),
];

/// Columns that a snapshot reads in binary form where a table has no others.
const BINARY: &str = "bool int2 int4 int8 float4 float8 numeric numeric_38 money text varchar bpchar name bytea date time \
                      timetz timestamp timestamp_0 timestamptz interval uuid json jsonb bit bit_1 varbit oid xid cid xid8 \
                      mood positive price far_date far_timestamp far_timestamptz";

/// Of types whose input the server refuses, or that no table may hold.
const NEVER_IN_TABLES: &str = "pg_node_tree pg_ndistinct pg_dependencies pg_mcv_list pg_ddl_command pg_brin_bloom_summary \
                               pg_brin_minmax_multi_summary gtsvector";

pub(super) struct Types {
    major: u16,
    list: Vec<&'static Type>,
}

impl Types {
    /// Those that a major version has.
    pub(super) fn of(major: u16) -> Types {
        Types { major, list: TYPES.iter().filter(|kind| kind.since <= major).collect() }
    }

    fn values(&self, kind: &Type) -> Vec<String> {
        let known = kind.values.iter().filter(|(since, _)| *since <= self.major);
        known.map(|(_, text)| format!("'{}'", text.replace('\'', "''"))).collect()
    }

    /// Rows of one insert: the first is all null.
    pub(super) fn rows(&self) -> usize {
        1 + self.list.iter().map(|kind| self.values(kind).len()).max().unwrap_or(0)
    }

    pub(super) fn text_columns(&self) -> impl Iterator<Item = String> {
        let texts = self.list.iter().filter(|kind| kind.held == Held::Text);
        texts.flat_map(|kind| {
            let of = |table: &str| format!("{table}.c_{}", kind.name);
            [Some(of("every_type")), kind.is_binary().then(|| of("binary_type"))].into_iter().flatten()
        })
    }

    /// The columns of `binary_type`, each made by `column` of its type.
    fn binary(&self, column: impl Fn(&Type) -> String) -> String {
        let columns: Vec<String> = self.list.iter().filter(|kind| kind.is_binary()).map(|kind| column(kind)).collect();
        columns.join(", ")
    }

    /// The types, the table and its view.
    pub(super) fn create(&self) -> String {
        let mut columns = vec!["id int PRIMARY KEY".to_owned()];
        let mut shown = vec!["id".to_owned()];
        for kind in &self.list {
            let (name, declared) = (kind.name, kind.declared);
            columns.push(format!("c_{name} {declared}"));
            shown.push(match kind.held {
                Held::AsIs => format!("c_{name}"),
                Held::Number => format!("c_{name}::numeric AS c_{name}"),
                Held::Text | Held::Words => format!("c_{name}::text AS c_{name}"),
            });
            if kind.held == Held::Text {
                continue;
            }
            columns.push(format!("a_{name} {declared}[]"));
            shown.push(match kind.held {
                Held::Number => format!("a_{name}::numeric[] AS a_{name}"),
                Held::Words => format!("a_{name}::text[] AS a_{name}"),
                _ => format!("a_{name}"),
            });
        }
        format!(
            "CREATE EXTENSION hstore; CREATE EXTENSION citext; CREATE EXTENSION ltree;
             CREATE TYPE mood AS ENUM ('sad', 'ok', 'it''s \"so, so\"'); CREATE DOMAIN positive AS int CHECK (VALUE > 0);
             CREATE DOMAIN price AS numeric(10, 2); CREATE TYPE pair AS (a int, b text);
             CREATE TABLE every_type ({}); CREATE VIEW every_type_shown AS SELECT {} FROM every_type;
             CREATE TABLE binary_type (id int PRIMARY KEY, {});
             CREATE VIEW binary_type_shown AS SELECT id, {} FROM binary_type",
            columns.join(", "),
            shown.join(", "),
            self.binary(|kind| format!("c_{} {}", kind.name, kind.declared)),
            self.binary(|kind| match kind.held {
                Held::AsIs => format!("c_{}", kind.name),
                Held::Number => format!("c_{0}::numeric AS c_{0}", kind.name),
                Held::Text | Held::Words => format!("c_{0}::text AS c_{0}", kind.name),
            }),
        )
    }

    /// One row of nulls and as many more as the type with the most values needs; ids from `first` on.
    pub(super) fn insert(&self, first: u64) -> String {
        let mut rows = vec![format!("INSERT INTO every_type (id) VALUES ({first})")];
        for row in 1..self.rows() {
            let mut names = vec!["id".to_owned()];
            let mut values = vec![(first + row as u64).to_string()];
            for kind in &self.list {
                let all = self.values(kind);
                let Some(value) = all.get((row - 1) % all.len()) else { continue };
                names.push(format!("c_{}", kind.name));
                values.push(value.clone());
                if kind.held != Held::Text {
                    names.push(format!("a_{}", kind.name));
                    let rest = if row == 1 { String::new() } else { format!("{}, NULL", all.join(", ")) };
                    values.push(format!("ARRAY[{rest}]::{}[]", kind.declared));
                }
            }
            rows.push(format!("INSERT INTO every_type ({}) VALUES ({})", names.join(", "), values.join(", ")));
        }
        let names = self.binary(|kind| format!("c_{}", kind.name));
        rows.push(format!(
            "INSERT INTO binary_type (id, {names}) SELECT id, {names} FROM every_type WHERE id >= {first}"
        ));
        rows.join("; ")
    }

    /// Whether the table has a column of every type that the server has and a table may hold.
    pub(super) fn must_be_all(&self, client: &Client) -> Result<()> {
        let never = NEVER_IN_TABLES.split_whitespace().map(|name| format!("'{name}'")).collect::<Vec<_>>().join(", ");
        let missing = client.rows(&format!(
            "SELECT t.typname FROM pg_type t WHERE t.typnamespace = 'pg_catalog'::regnamespace AND t.typtype IN ('b', 'r', 'm')
               AND NOT EXISTS (SELECT FROM pg_type e WHERE e.typarray = t.oid) AND t.typname NOT IN ({never})
               AND NOT EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = 'every_type'::regclass AND a.atttypid = t.oid)"
        ))?;
        ensure!(missing.is_empty(), "types without a column: {missing:?}");
        Ok(())
    }
}
