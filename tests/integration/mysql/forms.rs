//! The same workload in every form that the log can take: partial row images, no names of columns, compressed, without
//! global ids, partial documents. MY-08, MY-20, MY-21, MY-30, MY-31, MY-32, MY-40.

use super::rig::Rig;
use crate::rig::Sinks;
use anyhow::{Context, Result, ensure};
use tidewire_testkit::oracle::Witness;
use tidewire_testkit::readers::Reader;
use tidewire_testkit::workload::Workload;
use tidewire_testkit::{MysqlOptions, MysqlVersion};

/// Warnings that the form itself is worth, by their codes.
fn check(options: &MysqlOptions, warnings: &[&str]) -> Result<()> {
    check_in(Sinks::Both, options, warnings)
}

fn check_in(sinks: Sinks, options: &MysqlOptions, warnings: &[&str]) -> Result<()> {
    let mut rig = Rig::with(sinks, options, "")?;
    warnings.iter().for_each(|code| rig.daemon.allow_log(code));
    Workload { transactions: 60, seed: 401, ..Workload::default() }.run(&rig.server)?;
    rig.daemon.run()?;
    rig.catch_up()?;
    let witness = (sinks != Sinks::Lake).then(|| Witness::of_log(&rig.server)).transpose()?;
    Workload { transactions: 150, seed: 402, ..Workload::default() }.run(&rig.server)?;
    rig.catch_up()?;
    ensure!(rig.daemon.terminate()? == 0);
    Workload { transactions: 150, seed: 403, ..Workload::default() }.run(&rig.server)?;
    rig.client()?.execute("FLUSH LOGS")?;
    rig.daemon.run()?;
    rig.catch_up()?;
    rig.check_lake(&[Reader::Deltalake])?;
    if let Some(witness) = &witness {
        rig.check_events(Some(witness))?;
    }
    ensure!(rig.daemon.terminate()? == 0);
    Ok(())
}

fn mysql() -> MysqlOptions {
    MysqlOptions::version(MysqlVersion::MySql97)
}

fn mariadb() -> MysqlOptions {
    MysqlOptions::version(MysqlVersion::MariaDb118)
}

#[test]
fn compressed_transactions() -> Result<()> {
    check(&mysql().compressed(), &[])
}

#[test]
fn compressed_transactions_of_mysql_8_0() -> Result<()> {
    check(&MysqlOptions::version(MysqlVersion::MySql8031).compressed(), &[])
}

#[test]
fn compressed_events_of_mariadb() -> Result<()> {
    check(&mariadb().compressed(), &[])
}

#[test]
fn compressed_events_of_mariadb_10_5() -> Result<()> {
    check(&MysqlOptions::version(MysqlVersion::MariaDb105).compressed(), &[])
}

/// The server decrypts what it sends; the mark at the begin of each file stays. MariaDB's own reader of logs stops there.
#[test]
fn an_encrypted_log_of_mariadb() -> Result<()> {
    check_in(Sinks::Lake, &mariadb().encrypted(), &[])
}

#[test]
fn without_names_of_columns() -> Result<()> {
    check(&mysql().row_metadata("MINIMAL"), &["binlog_row_metadata_not_full"])
}

#[test]
fn without_any_metadata_in_mariadb() -> Result<()> {
    check(&mariadb().row_metadata("NO_LOG"), &["binlog_row_metadata_not_full"])
}

#[test]
fn without_global_ids() -> Result<()> {
    check(&mysql().without_gtid(), &["gtid_mode_off"])
}

#[test]
fn partial_documents() -> Result<()> {
    check(&mysql().set("binlog-row-value-options", "PARTIAL_JSON"), &[])
}

#[test]
fn without_checksums() -> Result<()> {
    check(&mysql().set("binlog-checksum", "NONE"), &["binlog_checksum_off"])
}

#[test]
fn small_log_files() -> Result<()> {
    check(&mysql().set("max-binlog-size", "64K"), &[])
}

#[test]
fn minimal_row_images() -> Result<()> {
    check_in(Sinks::Lake, &mysql().row_image("MINIMAL"), &["binlog_row_image_not_full"])
}

#[test]
fn row_images_without_untouched_blobs() -> Result<()> {
    check(&mysql().row_image("NOBLOB"), &["binlog_row_image_not_full"])
}

#[test]
fn minimal_row_images_of_mariadb() -> Result<()> {
    check_in(Sinks::Lake, &mariadb().row_image("MINIMAL"), &["binlog_row_image_not_full"])
}

/// A number that is not known has no place in a topic, and becomes neither null nor an older value (MY-20).
#[test]
fn a_topic_has_no_place_for_an_unknown_number() -> Result<()> {
    let mut rig = Rig::with(Sinks::Events, &mysql().row_image("MINIMAL"), "")?;
    for line in ["binlog_row_image_not_full", "value_not_logged"] {
        rig.daemon.allow_log(line);
    }
    rig.client()?.execute("CREATE TABLE two (id int PRIMARY KEY, a int, b int); INSERT INTO two VALUES (1, 2, 3)")?;
    rig.daemon.run()?;
    rig.catch_up()?;
    rig.client()?.execute("UPDATE two SET a = 3")?;
    rig.catch_up()?;
    let log = rig.daemon.log()?;
    let line = log.lines().find(|line| line.contains("table halted")).context("a line says why")?;
    ensure!(line.contains("work.two") && line.contains("binlog_row_image = FULL"), "{line}");
    Ok(())
}

/// A column that comes later is null in the rows that were there, and an update that leaves it out says so (MY-20, MY-79).
#[test]
fn partial_images_of_rows_from_before_a_column() -> Result<()> {
    for (options, image) in [(mysql(), "MINIMAL"), (mysql(), "NOBLOB"), (mariadb(), "MINIMAL")] {
        let mut rig = Rig::with(Sinks::Lake, &options.row_image(image), "")?;
        rig.daemon.allow_log("binlog_row_image_not_full");
        let client = rig.client()?;
        client.execute(
            "CREATE TABLE grown (id int PRIMARY KEY, v int); INSERT INTO grown VALUES (1, 1), (2, 2), (3, 3), (4, 4)",
        )?;
        rig.daemon.run()?;
        rig.catch_up()?;
        client.execute("ALTER TABLE grown ADD COLUMN t text; UPDATE grown SET v = 10 WHERE id = 1")?;
        rig.catch_up()?;
        ensure!(rig.daemon.terminate()? == 0);
        client.execute(
            "UPDATE grown SET v = 20 WHERE id = 2; UPDATE grown SET t = 'x' WHERE id = 1; UPDATE grown SET v = 11 WHERE id = 1;
             INSERT INTO grown (id) VALUES (5); UPDATE grown SET id = 6 WHERE id = 3",
        )?;
        rig.daemon.run()?;
        rig.catch_up()?;
        rig.check_mirrors(&["grown"], &[Reader::Deltalake])?;
        ensure!(rig.daemon.terminate()? == 0);
    }
    Ok(())
}

/// Rows of which nothing was named: their images are nothing but what the server must say (MY-20).
#[test]
fn minimal_images_of_rows_that_name_nothing() -> Result<()> {
    for options in [mysql(), mariadb()] {
        let mut rig = Rig::with(Sinks::Lake, &options.row_image("MINIMAL"), "")?;
        rig.daemon.allow_log("binlog_row_image_not_full");
        let client = rig.client()?;
        client.execute(
            "CREATE TABLE counted (id int AUTO_INCREMENT PRIMARY KEY, v int DEFAULT 7);
             CREATE TABLE fixed (id int PRIMARY KEY DEFAULT 5, v int DEFAULT 6, t varchar(9) DEFAULT 'x');
             CREATE TABLE lone (t varchar(9) DEFAULT 'y', id int NOT NULL, v int, UNIQUE KEY (id))",
        )?;
        rig.daemon.run()?;
        rig.catch_up()?;
        client.execute(
            "INSERT INTO counted () VALUES (), (); INSERT INTO fixed () VALUES (); UPDATE fixed SET t = t; UPDATE fixed SET v = 8;
             INSERT INTO counted (v) VALUES (1); INSERT INTO lone (id) VALUES (1), (2); UPDATE lone SET v = 3 WHERE id = 2;
             REPLACE INTO lone (id, v) VALUES (1, 4); UPDATE lone SET id = 5 WHERE id = 1",
        )?;
        rig.catch_up()?;
        rig.check_mirrors(&["counted", "fixed", "lone"], &[Reader::Deltalake])?;
        ensure!(rig.daemon.terminate()? == 0);
    }
    Ok(())
}
