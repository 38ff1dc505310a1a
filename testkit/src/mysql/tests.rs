//! Every version: it starts, survives kill -9, logs rows, lets the limited user do only what it may; replicas follow.

use super::*;

fn check(version: MysqlVersion) {
    let mut server = Mysql::start(&MysqlOptions::version(version).tls()).unwrap();
    let client = server.client().unwrap();
    client
        .execute("CREATE TABLE t (id int PRIMARY KEY, v varchar(20)); INSERT INTO t VALUES (1, NULL), (2, 'w\u{20ac}')")
        .unwrap();
    assert_eq!(client.value("SELECT @@log_bin").unwrap(), "1");
    assert_eq!(client.value("SELECT @@binlog_format").unwrap(), "ROW");
    assert!(client.execute("SELECT 1; SELECT nonsense").unwrap_err().to_string().contains("nonsense"));
    server.kill().unwrap();
    assert!(client.value("SELECT 1").is_err());
    server.restart().unwrap();
    let rows = server.client().unwrap().rows("SELECT * FROM t ORDER BY id").unwrap();
    assert_eq!(rows, [vec![Some("1".to_owned()), None], vec![Some("2".to_owned()), Some("w\u{20ac}".to_owned())]]);
    server.create_limited_user("cdc", &[DATABASE]).unwrap();
    let grants = server.client().unwrap().rows("SHOW GRANTS FOR cdc").unwrap();
    assert!(!format!("{grants:?}").contains("INSERT"), "{grants:?}");
    let (first, size) = server.log_files().unwrap().remove(0);
    let dump = Dump::read(&server.client().unwrap(), &first, 4).unwrap();
    assert!(dump.events > 5 && dump.bytes > size / 2, "{dump:?} of {size}");
    let replica = Mysql::replica_of(&server, &MysqlOptions::default()).unwrap();
    replica.level_with(&server).unwrap();
    replica.promote().unwrap();
    assert_eq!(replica.client().unwrap().value("SELECT count(*) FROM t").unwrap(), "2");
}

#[test]
fn mysql_8_0() {
    check(MysqlVersion::MySql8031);
}

#[test]
fn mysql_9_7() {
    check(MysqlVersion::MySql97);
}

#[test]
fn mariadb_10_5() {
    check(MysqlVersion::MariaDb105);
}

#[test]
fn mariadb_10_11() {
    check(MysqlVersion::MariaDb1011);
}

#[test]
fn mariadb_11_4() {
    check(MysqlVersion::MariaDb114);
}

#[test]
fn mariadb_11_8() {
    check(MysqlVersion::MariaDb118);
}
