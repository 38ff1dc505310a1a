//! `ADD COLUMN` gives rows the default without a row event: a mirror that is to have it takes it from the statement, and halts
//! where that does not tell it for certain. MY-79.

use super::rig::Rig;
use crate::rig::Sinks;
use anyhow::{Context, Result, ensure};
use tidewire_testkit::readers::Reader;
use tidewire_testkit::{MysqlOptions, MysqlVersion};

const WITH: [Reader; 2] = [Reader::Deltalake, Reader::Duckdb];

fn check(options: &MysqlOptions) -> Result<()> {
    let mut rig = Rig::with(Sinks::Lake, options, "")?;
    for code in ["binlog_row_metadata_not_full", "binlog_row_image_not_full", "table halted"] {
        rig.daemon.allow_log(code);
    }
    let config = |policy: &str| {
        let config = rig.config(Sinks::Lake, rig.server.port(), "");
        rig.daemon.write_config(&format!("{config}added_defaults = \"{policy}\"\n"))
    };
    config("fill")?;
    let client = rig.client()?;
    client.execute("SET time_zone = '+02:00'")?;
    client.execute(
        "CREATE TABLE shape (id int PRIMARY KEY, a varchar(40)) CHARACTER SET utf8mb4;
         INSERT INTO shape VALUES (1, 'a'), (2, 'b'), (3, 'c'), (4, 'd'), (8, 'h'), (41, 'x'), (42, 'y'), (43, 'z'), (44, 'w');
         CREATE TABLE moment (id int PRIMARY KEY); INSERT INTO moment VALUES (1)",
    )?;
    rig.daemon.run()?;
    rig.catch_up()?;
    client.execute("DELETE FROM shape WHERE id = 4; UPDATE shape SET a = 'changed' WHERE id = 3")?;
    rig.catch_up()?;
    for (row, change) in (101..).zip([
        "ADD COLUMN b int NOT NULL DEFAULT 5",
        "ADD COLUMN c decimal(10,2) DEFAULT 7 FIRST, ADD COLUMN d varchar(20) DEFAULT 'a\\'é' AFTER id",
        "ADD COLUMN e enum('x', 'y') NOT NULL, ADD COLUMN f int NOT NULL, ADD COLUMN g varchar(9) NOT NULL",
        "ADD COLUMN h int, ADD COLUMN i datetime(3) DEFAULT '2024-02-29 01:02:03.5'",
        "ADD COLUMN l timestamp(3) NULL DEFAULT CURRENT_TIMESTAMP(3), ADD COLUMN m datetime(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6) FIRST",
        "ADD COLUMN n timestamp NOT NULL DEFAULT NOW() ON UPDATE NOW(), ADD COLUMN o datetime DEFAULT NOW()",
    ]) {
        let insert = format!("INSERT INTO shape (id, a, e, f, g) VALUES ({row}, 'new', 'y', 1, 'g')");
        let insert = if row < 103 { format!("INSERT INTO shape (id, a) VALUES ({row}, 'new')") } else { insert };
        client.execute(&format!(
            "UPDATE shape SET a = concat(a, '.') WHERE id < 4; ALTER TABLE shape {change}; {insert};
             UPDATE shape SET a = concat(a, '!') WHERE id IN (1, 8, 101); DELETE FROM shape WHERE id = {row} - 60"
        ))?;
        rig.catch_up()?;
        rig.daemon.status()?;
        rig.check_mirrors(&["shape"], &WITH)?;
    }
    // While the daemon is stopped; the default is another one by now.
    ensure!(rig.daemon.terminate()? == 0);
    client.execute(
        "ALTER TABLE shape ADD COLUMN k bigint unsigned DEFAULT 18446744073709551615; UPDATE shape SET a = 'k' WHERE id = 2;
         ALTER TABLE shape ALTER k SET DEFAULT 6; INSERT INTO shape (id, a, e, f, g) VALUES (120, 'new', 'x', 1, 'g')",
    )?;
    rig.daemon.run()?;
    rig.catch_up()?;
    rig.check_mirrors(&["shape"], &WITH)?;

    client.execute(
        "SET time_zone = 'SYSTEM'; ALTER TABLE moment ADD COLUMN c datetime DEFAULT CURRENT_TIMESTAMP;
         INSERT INTO moment (id) VALUES (2)",
    )?;
    rig.catch_up()?;
    let log = rig.daemon.log()?;
    let line = log.lines().find(|line| line.contains("table halted")).context("a line says why")?;
    ensure!(line.contains("work.moment") && line.contains("added_default_unknown"), "{line}");
    ensure!(rig.daemon.terminate()? == 0);
    Ok(())
}

#[test]
fn a_mirror_has_the_defaults_of_new_columns_in_older_rows() -> Result<()> {
    check(&MysqlOptions::version(MysqlVersion::MySql97))
}

#[test]
fn a_mirror_has_the_defaults_of_new_columns_with_minimal_images() -> Result<()> {
    check(&MysqlOptions::version(MysqlVersion::MySql97).row_image("MINIMAL"))
}

#[test]
fn a_mirror_has_the_defaults_of_new_columns_in_mariadb() -> Result<()> {
    check(&MysqlOptions::version(MysqlVersion::MariaDb118))
}
