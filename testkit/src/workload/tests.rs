//! The workload runs as it stands, and the same seed gives the same tables.

use super::*;
use crate::mysql::{Mysql, MysqlOptions, MysqlVersion};
use crate::oracle::{self, Origin};
use crate::postgres::{Postgres, PostgresOptions};
use crate::readers::Table;

const SEEDED: u64 = 120;

fn write(database: &(impl Database + Origin), target: impl Into<Target>, schema: &str) -> (Report, Table, Table) {
    Workload::create_tables(database).unwrap();
    let workload = Workload { seed: 42, transactions: SEEDED, ..Workload::default() };
    let report = workload.run(target).unwrap();
    assert_eq!(report.committed + report.rolled_back, SEEDED);
    assert!(report.rolled_back > 0);
    // The identities of the log depend on the order in which writers meet; its lines do not.
    let items = oracle::source_table(database, schema, "work_items").unwrap();
    let pairs = oracle::source_table(database, schema, "work_pairs").unwrap();
    assert!(items.rows.len() > 50 && pairs.rows.len() > 50, "{} {}", items.rows.len(), pairs.rows.len());
    (report, items, pairs)
}

#[test]
fn the_same_seed_gives_the_same_tables() {
    let run = || {
        let server = Postgres::start(&PostgresOptions::default()).unwrap();
        write(&server.client().unwrap(), &server.url("postgres"), "public")
    };
    assert_eq!(run(), run());
}

#[test]
fn in_mysql_and_mariadb_too() {
    for version in MysqlVersion::ALL {
        let run = || {
            let server = Mysql::start(&MysqlOptions::version(version)).unwrap();
            write(&server.client().unwrap(), &server, "work")
        };
        assert_eq!(run(), run(), "{version:?}");
    }
}
