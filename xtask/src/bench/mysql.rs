//! The same measurements with MySQL or MariaDB as the source. The floor is the log as the server gives it to a client that
//! looks into nothing; beside it stands `mysqlbinlog`, which decodes and prints the rows.

mod backlog;
mod decode;
mod latency;
mod snapshot;

use super::table::Row;
use super::{Options, Part, SOURCE};
use anyhow::Result;
use std::path::Path;
use tidewire_testkit::mysql::{Client, DATABASE};
use tidewire_testkit::{Mysql, MysqlOptions, MysqlVersion};

/// What is measured, and with what.
pub(super) struct Bench<'a> {
    pub(super) version: MysqlVersion,
    pub(super) binary: &'a Path,
    pub(super) options: &'a Options,
}

impl Bench<'_> {
    /// One part.
    pub(super) fn measure(&self, part: Part) -> Result<Vec<Row>> {
        match part {
            Part::Drain => self.drain(),
            Part::Large => self.large(),
            Part::Snapshot => self.snapshot(),
            Part::Latency => self.latency(),
            Part::Decode => self.decode(),
        }
    }

    /// A server whose own house-keeping stays out of the measurement.
    fn server(&self) -> Result<Mysql> {
        let options = MysqlOptions::version(self.version)
            .set("innodb-buffer-pool-size", "512M")
            .set("innodb-flush-log-at-trx-commit", "0")
            .set("innodb-doublewrite", "OFF")
            .set("sync-binlog", "0")
            .set("max-binlog-size", "1G");
        let options = if self.version.is_mariadb() {
            options.set("innodb-log-file-size", "1G")
        } else {
            options.set("innodb-redo-log-capacity", "2G")
        };
        let server = Mysql::start(&options)?;
        // Numbers from 0 to 999, in a database that nobody captures.
        server.client_of("")?.execute(
            "CREATE DATABASE aside; CREATE TABLE aside.digits (d int PRIMARY KEY);
             INSERT INTO aside.digits VALUES (0), (1), (2), (3), (4), (5), (6), (7), (8), (9);
             CREATE TABLE aside.numbers (n int PRIMARY KEY);
             INSERT INTO aside.numbers SELECT a.d + 10 * b.d + 100 * c.d FROM aside.digits a, aside.digits b, aside.digits c",
        )?;
        Ok(server)
    }

    /// The source's part of a configuration, without TLS as the others are. `number` sets readers of one server apart.
    fn source(&self, server: &Mysql, snapshot: &str, number: usize) -> String {
        format!(
            "[sources.{SOURCE}]\ntables = [\"{DATABASE}.*\"]\nsnapshot = \"{snapshot}\"\n[sources.{SOURCE}.mysql]\nurl = \"{}?ssl-mode=DISABLED\"\n\
             server_id = {}\n",
            server.url("root"),
            900_001 + number
        )
    }

    /// For people.
    fn tool(&self) -> &'static str {
        if self.version.is_mariadb() { "mariadb-binlog" } else { "mysqlbinlog" }
    }
}

/// Six columns, about 150 bytes a row.
fn create_items(client: &Client) -> Result<()> {
    client
        .execute(
            "CREATE TABLE items (id bigint PRIMARY KEY, customer int NOT NULL, state varchar(20) NOT NULL, total decimal(12,2),
               placed_at timestamp(6) NOT NULL, note varchar(200))",
        )
        .map(drop)
}

/// The statement that inserts a row for each row of `numbers`, which gives its `g`.
fn insert_items(numbers: &str) -> String {
    format!(
        "INSERT INTO items SELECT g, MOD(g, 50000), 'placed', MOD(g, 100000) / 7.0, NOW(6), CONCAT('n', g, REPEAT(LPAD(HEX(g), 32, '0'), 3))
         FROM ({numbers}) numbers"
    )
}
