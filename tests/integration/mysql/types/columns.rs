//! The table `every_type`: one column for each type, and values as SQL expressions. The first row holds every type's
//! first value, and so on; what is left is null.

use tidewire_testkit::MysqlVersion;

/// Added to the ids of rows that are inserted while the daemon runs.
pub(super) const STREAMED: u64 = 1_000;

/// Which servers have a type.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Has {
    All,
    /// From this MariaDB on; not MySQL.
    MariaDb(MysqlVersion),
    /// From this MySQL on; not MariaDB.
    MySql(MysqlVersion),
}

/// A type by the name of its column, as it is declared, and values.
struct Type {
    name: &'static str,
    declared: &'static str,
    has: Has,
    values: &'static [&'static str],
}

const fn t(name: &'static str, declared: &'static str, values: &'static [&'static str]) -> Type {
    Type { name, declared, has: Has::All, values }
}

const fn of(has: Has, name: &'static str, declared: &'static str, values: &'static [&'static str]) -> Type {
    Type { name, declared, has, values }
}

const MYSQL: Has = Has::MySql(MysqlVersion::MySql8031);
const MARIADB: Has = Has::MariaDb(MysqlVersion::MariaDb105);

/// Text that each of the larger character sets can hold, in part.
#[rustfmt::skip]
const TYPES: &[Type] = &[
    // MY-60
    t("tiny", "tinyint", &["-128", "127", "0"]),
    t("utiny", "tinyint unsigned", &["255", "0"]),
    t("bool", "boolean", &["1", "0", "-7"]),
    t("small", "smallint", &["-32768", "32767"]),
    t("usmall", "smallint unsigned", &["65535"]),
    t("medium", "mediumint", &["-8388608", "8388607", "-1"]),
    t("umedium", "mediumint unsigned", &["16777215", "8388608"]),
    t("int", "int", &["-2147483648", "2147483647"]),
    t("uint", "int unsigned", &["4294967295"]),
    t("zero_int", "int(7) zerofill", &["42", "4294967295"]),
    t("big", "bigint", &["-9223372036854775808", "9223372036854775807"]),
    t("ubig", "bigint unsigned", &["18446744073709551615", "9007199254740993"]),
    // MY-71
    t("year", "year", &["0", "1901", "2155"]),
    // MY-61
    t("dec_1", "decimal(1,0)", &["9", "-9", "0"]),
    t("dec_5_2", "decimal(5,2)", &["-999.99", "0.10", "1.50"]),
    t("dec_38", "decimal(38,10)", &["9999999999999999999999999999.9999999999", "-0.0000000001"]),
    t("dec_65_0", "decimal(65,0)", &["99999999999999999999999999999999999999999999999999999999999999999", "-1"]),
    t("dec_65_30", "decimal(65,30)", &["-99999999999999999999999999999999999.999999999999999999999999999999", "0.000000000000000000000000000001"]),
    t("udec", "decimal(10,3) unsigned", &["9999999.999"]),
    // MY-62
    t("float", "float", &["3.4028234e38", "-0e0", "1e-45", "0.1", "16777217"]),
    t("float_digits", "float(7,3)", &["1234.567", "-0.001"]),
    t("ufloat", "float unsigned", &["0.3"]),
    t("double", "double", &["1.7976931348623157e308", "-0e0", "5e-324", "0.1", "9007199254740993"]),
    t("double_digits", "double(20,5)", &["123456789.12345", "-0.00001"]),
    // MY-63
    t("bit_1", "bit(1)", &["b'1'", "b'0'"]),
    t("bit_9", "bit(9)", &["b'100000001'", "b'0'"]),
    t("bit_64", "bit(64)", &["b'1000000000000000000000000000000000000000000000000000000000000001'", "0"]),
    // MY-64, MY-65
    t("date", "date", &["'1000-01-01'", "'9999-12-31'", "'2024-02-29'", "'0001-01-01'"]),
    t("datetime", "datetime", &["'1000-01-01 00:00:00'", "'9999-12-31 23:59:59'", "'1969-12-31 23:59:59'"]),
    t("datetime_1", "datetime(1)", &["'2024-02-29 12:34:56.7'"]),
    t("datetime_3", "datetime(3)", &["'1969-12-31 23:59:59.999'"]),
    t("datetime_5", "datetime(5)", &["'2024-02-29 12:34:56.00001'"]),
    t("datetime_6", "datetime(6)", &["'9999-12-31 23:59:59.999999'", "'0001-01-01 00:00:00.000001'"]),
    t("timestamp", "timestamp NULL", &["'1970-01-01 00:00:01'", "'2038-01-19 03:14:07'", "'2024-03-31 02:30:00'"]),
    t("timestamp_2", "timestamp(2) NULL", &["'2024-02-29 12:34:56.78'"]),
    t("timestamp_6", "timestamp(6) NULL", &["'2038-01-19 03:14:07.999999'", "'1970-01-01 00:00:01.000001'"]),
    of(Has::MariaDb(MysqlVersion::MariaDb118), "timestamp_2106", "timestamp(6) NULL", &["'2106-02-07 06:28:15.999999'"]),
    t("time", "time", &["'-838:59:59'", "'838:59:59'", "'24:00:00'", "'00:00:00'"]),
    t("time_1", "time(1)", &["'-01:02:03.5'", "'00:00:00.1'"]),
    t("time_2", "time(2)", &["'-00:00:00.01'"]),
    t("time_3", "time(3)", &["'-838:59:58.999'", "'12:34:56.780'"]),
    t("time_4", "time(4)", &["'-00:00:00.0001'", "'-00:00:59.9999'"]),
    t("time_6", "time(6)", &["'-00:00:00.000001'", "'838:59:58.999999'"]),
    // MY-66, MY-67, MY-68
    t("char", "char(5)", &["'ab'", "''", "'\u{e9}\u{4e2d}\u{1f600}'"]),
    t("char_255", "char(255) CHARACTER SET utf8mb4", &["REPEAT('\u{1f600}', 255)", "'x'"]),
    t("varchar", "varchar(255)", &["''", "'trailing  '", "'quote\" back\\\\slash\ttab\nnl\r\u{1}ctl \u{e9}\u{4e2d}\u{1f600} </script> '''", "'NULL'"]),
    t("varchar_256", "varchar(256) CHARACTER SET latin1", &["REPEAT('\u{e9}', 256)", "'x'"]),
    t("tinytext", "tinytext", &["'\u{e9}'"]),
    t("text", "text", &["REPEAT('long \u{1f30a} ', 700)", "''"]),
    t("mediumtext", "mediumtext", &["REPEAT('0123456789', 7000)"]),
    t("longtext", "longtext", &["'x'"]),
    t("latin1", "varchar(20) CHARACTER SET latin1", &["'\u{20ac}\u{e9}'"]),
    t("latin2", "varchar(20) CHARACTER SET latin2", &["'\u{159}\u{17e}'"]),
    t("cp1251", "varchar(20) CHARACTER SET cp1251", &["'\u{416}\u{44f}'"]),
    t("koi8r", "char(20) CHARACTER SET koi8r", &["'\u{416}\u{44f}'"]),
    t("greek", "varchar(20) CHARACTER SET greek", &["'\u{3b1}\u{3a9}'"]),
    t("ascii", "varchar(20) CHARACTER SET ascii", &["'plain'"]),
    t("utf8mb3", "varchar(20) CHARACTER SET utf8", &["'\u{4e2d}'"]),
    t("ucs2", "varchar(20) CHARACTER SET ucs2", &["'\u{4e2d}x'"]),
    t("utf16", "varchar(20) CHARACTER SET utf16", &["'\u{1f600}x'"]),
    t("utf16le", "varchar(20) CHARACTER SET utf16le", &["'\u{1f600}x'"]),
    t("utf32", "char(7) CHARACTER SET utf32", &["'\u{1f600}x'"]),
    t("gbk", "varchar(20) CHARACTER SET gbk", &["'\u{4e2d}\u{6587}'"]),
    t("gb2312", "varchar(20) CHARACTER SET gb2312", &["'\u{4e2d}'"]),
    of(MYSQL, "gb18030", "varchar(20) CHARACTER SET gb18030", &["'\u{4e2d}\u{1f600}'"]),
    t("big5", "varchar(20) CHARACTER SET big5", &["'\u{4e2d}'"]),
    t("sjis", "varchar(20) CHARACTER SET sjis", &["'\u{65e5}\u{ff76}'"]),
    t("cp932", "varchar(20) CHARACTER SET cp932", &["'\u{65e5}\u{2460}'"]),
    t("ujis", "varchar(20) CHARACTER SET ujis", &["'\u{65e5}\u{ff76}'"]),
    t("euckr", "varchar(20) CHARACTER SET euckr", &["'\u{d55c}'"]),
    t("text_as_bytes", "text CHARACTER SET ucs2", &["REPEAT('\u{4e2d}', 300)"]),
    t("binary", "binary(5)", &["x'0100'", "x''", "x'ffffffffff'"]),
    t("varbinary", "varbinary(300)", &["x'0100'", "x''", "REPEAT(x'ff', 300)"]),
    t("tinyblob", "tinyblob", &["x'00ff5c27'"]),
    t("blob", "blob", &["x''", "REPEAT(x'0d0a00', 9000)"]),
    t("mediumblob", "mediumblob", &["REPEAT(x'00', 70000)"]),
    t("longblob", "longblob", &["x'deadbeef'"]),
    // MY-69, MY-70
    t("enum", "enum('a','it''s','\u{20ac},x','')", &["'a'", "'it''s'", "'\u{20ac},x'", "4", "'nonsense'"]),
    t("enum_latin1", "enum('\u{e9}','x') CHARACTER SET latin1", &["'\u{e9}'"]),
    t("set", "set('a','it''s','\u{20ac}')", &["'a,\u{20ac}'", "''", "7"]),
    // MY-72
    t("point", "point", &["ST_GeomFromText('POINT(1.5 -2)')"]),
    t("geometry", "geometry", &["ST_GeomFromText('LINESTRING(0 0,1 1)')", "ST_GeomFromText('GEOMETRYCOLLECTION(POINT(1 1),POLYGON((0 0,1 0,1 1,0 0)))')"]),
    t("polygon", "polygon", &["ST_GeomFromText('POLYGON((0 0,1 0,1 1,0 0))')"]),
    of(MYSQL, "point_4326", "point SRID 4326", &["ST_GeomFromText('POINT(50 10)', 4326)"]),
    // MY-73
    of(Has::MySql(MysqlVersion::MySql97), "vector", "vector(3)", &["STRING_TO_VECTOR('[1,-2.5,0.1]')"]),
    of(Has::MariaDb(MysqlVersion::MariaDb118), "vector", "vector(3)", &["VEC_FromText('[1,-2.5,0.1]')"]),
    // MY-74
    of(MYSQL, "json", "json", &[
        "'{\"bb\": 1, \"a\": [1, 1.0, 1e100, -0.0, 5e-324, true, null], \"u\": 18446744073709551615, \"t\": \"\u{e9}\u{1f600}\\\\u0000\\\\\\\\ \\\\\"\"}'",
        "JSON_OBJECT('d', CAST(1.10 AS DECIMAL(10,2)), 'day', CAST('2024-02-29' AS DATE), 'span', CAST('-12:34:56.7' AS TIME(3)), 'at', CAST('2024-02-29 12:34:56.789' AS DATETIME(6)), 'raw', x'00ff', 'bits', b'101')",
        "'null'", "'\"text\"'", "'[]'", "'{}'", "'-9007199254740993'",
        "JSON_OBJECT('large', REPEAT('x', 70000), 'list', JSON_ARRAY(1, 2, 3))",
    ]),
    // MY-75
    of(MARIADB, "json", "json", &["'{\"b\":  [1e400, 0.10], \"a\" : null, \"a\": 1}'", "'null'"]),
    of(MARIADB, "inet6", "inet6", &["'::'", "'::ffff:1.2.3.4'", "'2001:db8::ff00:42:8329'"]),
    of(Has::MariaDb(MysqlVersion::MariaDb1011), "inet4", "inet4", &["'0.0.0.0'", "'255.255.255.255'"]),
    of(Has::MariaDb(MysqlVersion::MariaDb1011), "uuid", "uuid", &["'6f1e9d0a-1111-1222-8333-444455556666'", "'6f1e9d0a-1111-4222-8333-444455556666'", "'00000000-0000-0000-0000-000000000000'", "'ffffffff-ffff-7fff-bfff-ffffffffffff'"]),
    of(MARIADB, "text_packed", "text COMPRESSED", &["REPEAT('packed \u{e9} ', 100)", "'short'", "''"]),
    of(MARIADB, "varchar_packed", "varchar(1000) COMPRESSED CHARACTER SET latin1", &["REPEAT('\u{e9}', 900)", "''"]),
    of(MARIADB, "blob_packed", "blob COMPRESSED", &["REPEAT(x'00ff', 5000)", "x'00'"]),
];

impl Type {
    fn is_in(&self, version: MysqlVersion) -> bool {
        match self.has {
            Has::All => true,
            Has::MariaDb(first) => version.is_mariadb() && version >= first,
            Has::MySql(first) => !version.is_mariadb() && version >= first,
        }
    }
}

/// The table of one version.
pub(super) struct Columns {
    types: Vec<&'static Type>,
}

impl Columns {
    pub(super) fn of(version: MysqlVersion) -> Columns {
        Columns { types: TYPES.iter().filter(|column| column.is_in(version)).collect() }
    }

    /// Rows of each insert; the last one is all null.
    pub(super) fn rows(&self) -> usize {
        1 + self.types.iter().map(|column| column.values.len()).max().unwrap_or(0)
    }

    pub(super) fn create(&self) -> String {
        let columns = self.types.iter().map(|column| format!("c_{} {}", column.name, column.declared));
        let mut columns: Vec<String> = columns.collect();
        // MY-69, MY-70: more labels than a byte counts, and as many as a set may have.
        let labels = |count: u32| (0..count).map(|n| format!("'l{n}'")).collect::<Vec<_>>().join(",");
        columns.push(format!("c_enum_300 enum({})", labels(300)));
        columns.push(format!("c_set_64 set({})", labels(64)));
        format!("CREATE TABLE every_type (id int PRIMARY KEY, {}) DEFAULT CHARACTER SET utf8mb4", columns.join(", "))
    }

    /// Inserts every value, with ids from `first` on.
    pub(super) fn insert(&self, first: u64) -> String {
        let row = |number: usize| {
            let values = self.types.iter().map(|column| column.values.get(number).copied().unwrap_or("NULL"));
            let many = match number {
                0 => ", 300, 18446744073709551615",
                1 => ", 256, 'l0,l63'",
                _ => ", NULL, NULL",
            };
            format!("({}, {}{many})", first + number as u64, values.collect::<Vec<_>>().join(", "))
        };
        let rows: Vec<String> = (0..self.rows()).map(row).collect();
        format!("INSERT INTO every_type VALUES {}", rows.join(", "))
    }
}
