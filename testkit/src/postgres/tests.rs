//! The server itself: that it starts, survives kill -9, and lets the limited role do only what it may.

use super::*;

#[test]
fn committed_rows_survive_a_kill() {
    let mut server = Postgres::start(&PostgresOptions::default()).unwrap();
    let client = server.client().unwrap();
    client.execute("CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t VALUES (1, NULL), (2, 'x')").unwrap();
    server.kill().unwrap();
    assert!(client.value("SELECT 1").is_err());
    server.restart().unwrap();
    let rows = server.client().unwrap().rows("SELECT * FROM t ORDER BY id").unwrap();
    assert_eq!(rows, [vec![Some("1".to_owned()), None], vec![Some("2".to_owned()), Some("x".to_owned())]]);
    assert_eq!(server.client().unwrap().value("SHOW wal_level").unwrap(), "logical");
}

#[test]
fn copies_go_in_and_out() {
    let server = Postgres::start(&PostgresOptions::default()).unwrap();
    let client = server.client().unwrap();
    client.execute("CREATE TABLE t (id int PRIMARY KEY, v text)").unwrap();
    assert_eq!(client.copy_in("COPY t FROM STDIN", b"1\tx\n2\t\\N\n".to_vec()).unwrap(), 2);
    assert_eq!(client.copy_out("COPY (SELECT * FROM t ORDER BY id) TO STDOUT").unwrap(), b"1\tx\n2\t\\N\n");
}

#[test]
fn the_limited_role_reads_and_no_more() {
    let server = Postgres::start(&PostgresOptions::default()).unwrap();
    server.client().unwrap().execute("CREATE TABLE t (id int PRIMARY KEY)").unwrap();
    server.create_limited_role("cdc", "postgres", &["public"]).unwrap();
    let limited = Client::connect(&server.url("cdc")).unwrap();
    assert_eq!(limited.value("SELECT count(*) FROM t").unwrap(), "0");
    assert!(limited.execute("INSERT INTO t VALUES (1)").is_err());
    assert!(limited.execute("CREATE TABLE public.mine (id int)").is_err());
    assert!(Client::connect(&server.url("cdc").replace(":cdc@", ":wrong@")).is_err());
}

#[test]
fn tls_and_an_identity_of_its_own() {
    let own = PostgresOptions { own_identity: true, ..PostgresOptions::default() };
    let server = Postgres::start(&own.tls().set("work_mem", "3MB")).unwrap();
    let client = server.client().unwrap();
    assert_eq!(client.value("SHOW ssl").unwrap(), "on");
    assert_eq!(client.value("SHOW work_mem").unwrap(), "3MB");
    let other = Postgres::start(&PostgresOptions::default()).unwrap();
    let identity = "SELECT system_identifier FROM pg_control_system()";
    assert_ne!(client.value(identity).unwrap(), other.client().unwrap().value(identity).unwrap());
}
