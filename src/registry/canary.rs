//! A secret in every kind of place of a configuration, with every kind of fault: it is in no line that is printed.

use super::tests::{faults_of, faults_with};

const CANARY: &str = "hunter2";

/// A whole configuration, into which each case puts its lines: into the source's table, or at the end.
fn with(source: &str, end: &str) -> String {
    format!(
        "[sources.shop.postgres]\nurl = \"postgres://cdc@db/shop\"\n{source}\n\
         [sinks.null.null]\n{end}\n"
    )
}

#[test]
fn no_fault_prints_a_secret() {
    let kafka = |lines: &str| with("", &format!("[sinks.events.kafka]\n{lines}"));
    let delta = |lines: &str| with("", &format!("[sinks.lake.delta]\n{lines}"));
    let whole = |source: &str| format!("[sources.shop]\n{source}\n[sinks.null.null]\n");
    for (text, told) in [
        // Unknown keys, misspelt ones, and those of other programs.
        (with("pasword = \"hunter2\"", ""), "sources.shop.postgres.pasword"),
        (with("login = \"hunter2\"", ""), "sources.shop.postgres.login"),
        (with("uri = \"postgres://cdc:hunter2@db/shop\"", ""), "sources.shop.postgres.uri"),
        (with("\"my.login\" = \"hunter2\"", ""), "sources.shop.postgres.my.login"),
        (with("extra = { deep = \"hunter2\" }", ""), "sources.shop.postgres.extra"),
        (with("extra = [\"hunter2\"]", ""), "sources.shop.postgres.extra"),
        (with("", "[admin]\nbearer = \"hunter2\""), "admin.bearer"),
        (format!("dsn = \"postgres://cdc:hunter2@db\"\n{}", with("", "")), "dsn"),
        // Secrets that are written in a wrong way.
        (with("password = { value = \"hunter2\" }", ""), "sources.shop.postgres.password"),
        (with("password = { file = \"hunter2\", env = \"hunter2\" }", ""), "sources.shop.postgres.password"),
        (with("password = { file = [\"hunter2\"] }", ""), "sources.shop.postgres.password"),
        (with("password = [\"hunter2\"]", ""), "sources.shop.postgres.password"),
        (with("password = 1.50", ""), "sources.shop.postgres.password"),
        (kafka("brokers = [\"k:1\"]\nsasl = \"alice:hunter2\""), "sinks.events.kafka.sasl"),
        (kafka("brokers = [\"k:1\"]\ntls = \"hunter2\""), "sinks.events.kafka.tls"),
        (
            kafka("brokers = [\"k:1\"]\nsasl = { mechanism = \"PLAIN\", username = \"a\", passwrd = \"hunter2\" }"),
            "sinks.events.kafka.sasl",
        ),
        (kafka("brokers = [\"k:1\"]\ntls = { key_password = [\"hunter2\"] }"), "sinks.events.kafka.tls.key_password"),
        // A text where a table belongs.
        (whole("postgres = \"postgres://cdc:hunter2@db/shop\""), "sources.shop.postgres"),
        (whole("postgres = \"hunter2\""), "sources.shop.postgres"),
        ("[sources]\nshop = \"hunter2\"\n[sinks.null.null]\n".to_owned(), "sources.shop"),
        ("sources = \"hunter2\"\n[sinks.null.null]\n".to_owned(), "sources"),
        // URLs, good but for something else.
        (whole("[sources.shop.postgres]\nurl = \"mysql://cdc:hunter2@db/shop\""), "sources.shop.postgres.url"),
        (whole("[sources.shop.postgres]\nurl = \"postgres://cdc:hunter2%@db/shop\""), "sources.shop.postgres.url"),
        (whole("[sources.shop.postgres]\nurl = \"postgres://cdc:hunter2@db/shop?a=b\""), "sources.shop.postgres.url"),
        (whole("[sources.shop.postgres]\nurl = [\"postgres://cdc:hunter2@db/shop\"]"), "sources.shop.postgres.url"),
        (whole("[sources.shop.mysql]\nurl = \"postgres://cdc:hunter2@db\""), "sources.shop.mysql.url"),
        (whole("[sources.shop.mysql]\nurl = \"mysql://cdc:hunter2@db?hunter=3\""), "sources.shop.mysql.url"),
        // URLs where none belong.
        (kafka("brokers = [\"kafka://alice:hunter2@k:9092\"]"), "sinks.events.kafka.brokers"),
        (kafka("brokers = [\"alice:hunter2@k:x\"]"), "sinks.events.kafka.brokers"),
        (kafka("brokers = [\"alice:hun\\u0074er2\\u0040k:x\"]"), "sinks.events.kafka.brokers"),
        (kafka("brokers = \"kafka://alice:hunter2@k:9092\""), "sinks.events.kafka.brokers"),
        (kafka("brokers = [\"k:1\"]\npartitions = \"kafka://alice:hunter2@k\""), "sinks.events.kafka.partitions"),
        (kafka("brokers = [\"k:1\"]\ntopic = \"kafka://alice:hunter2@k\""), "sinks.events.kafka.topic"),
        (kafka("brokers = [\"k:1\"]\ncommit_interval = \"kafka://a:hunter2@k\""), "sinks.events.kafka.commit_interval"),
        (kafka("brokers = [\"k:1\"]\nformat = \"kafka://alice:hunter2@k\""), "sinks.events.kafka.format"),
        (kafka("brokers = [\"k:1\"]\nformat = { decimal = \"a://b:hunter2@k\" }"), "sinks.events.kafka.format"),
        (delta("location = \"s4://id:hunter2@bucket\""), "sinks.lake.delta.location"),
        (delta("location = \"s4://bucket?x=hunter2\""), "sinks.lake.delta.location"),
        (delta("location = \"id:hunter2@bucket\""), "sinks.lake.delta.location"),
        (delta("location = \"file:///x\"\nstorage = \"hunter2\""), "sinks.lake.delta.storage"),
        (delta("location = \"file:///x\"\nstorage = { a = [\"hunter2\"] }"), "sinks.lake.delta.storage.a"),
        (delta("location = \"s3://x\"\nstorage = { aws_secret = \"hunter2\" }"), "lake.delta.storage.aws_secret"),
        (delta("location = \"file:///x\"\nmode = \"x://a:hunter2@b\""), "sinks.lake.delta.mode"),
        (with("slot = \"postgres://cdc:hunter2@db\"", ""), "sources.shop.postgres.slot"),
        (with("", "[admin]\nlisten = \"http://a:hunter2@h:1\""), "admin.listen"),
        (whole("snapshot = \"x://a:hunter2@b\"\n[sources.shop.postgres]\nurl = \"postgres://a@b/c\""), "snapshot"),
        (with("", "[sinks.x]\nsources = [\"postgres://cdc:hunter2@db\"]\n[sinks.x.null]"), "sinks.x.sources"),
        // What librdkafka says of its settings.
        (
            kafka("brokers = [\"k:1\"]\n[sinks.events.kafka.librdkafka]\n\"ssl.key.pem\" = \"hunter2\""),
            "sinks.events.kafka.librdkafka.ssl.key.pem",
        ),
        (
            kafka("brokers = [\"k:1\"]\n[sinks.events.kafka.librdkafka]\n\"sasl.pasword\" = \"hunter2\""),
            "sinks.events.kafka.librdkafka.sasl.pasword",
        ),
        // No TOML at all.
        (with("password = hunter2", ""), "string values must be quoted"),
        (with("password = \"hunter2", ""), ""),
        (with("password = \"hunter2\"\npassword = \"hunter2\"", ""), "duplicate key"),
        (with("password = \"hunter2\" \"hunter2\"", ""), ""),
        (with("password = \"hunter2\\x\"", ""), ""),
        // TOML of two years.
        (
            kafka("brokers = [\"k:1\"]\nsasl = {\n mechanism = \"PLAIN\",\n username = 1,\n password = \"hunter2\" }"),
            "username",
        ),
        (with("password = \"hun\\x74er2\"\nslot = 1", ""), "slot"),
    ] {
        let shown = faults_of(&text);
        assert!(!shown.is_empty() && shown.contains(told), "`{told}` in\n{shown}\nof\n{text}");
        assert!(!shown.contains(CANARY), "{shown}\nof\n{text}");
        assert!(shown.lines().all(|line| line.contains(".toml:")), "{shown}\nof\n{text}");
    }
}

#[test]
fn no_fault_prints_a_secret_of_the_environment() {
    for (variable, text) in [
        ("SOURCES__SHOP__POSTGRES__PASSWORD__VALUE", "hunter2"),
        ("SOURCES__SHOP__POSTGRES__PASWORD", "hunter2"),
        ("SOURCES__SHOP__POSTGRES__LOGIN", "hunter2"),
        ("SOURCES__SHOP__POSTGRES__URL", "mysql://cdc:hunter2@db/shop"),
        ("SOURCES__SHOP__POSTGRES__URL", "postgres://cdc:hunter2%@db/shop"),
        ("SOURCES__SHOP__POSTGRES__SLOT", "postgres://cdc:hunter2@db"),
        ("SOURCES__SHOP__POSTGRES__KEEPALIVE", "[postgres://cdc:hunter2@db]"),
        ("SOURCES__SHOP__POSTGRES__SNAPSHOT_PARALLELISM", "a://cdc:hunter2@db"),
        ("SOURCES__SHOP__POSTGRES", "hunter2"),
        ("SOURCES__SHOP__POSTGRES", "{ url = 'mysql://cdc:hunter2@db', pasword = hunter2 }"),
        ("SOURCES__SHOP__SNAPSHOT", "x://a:hunter2@b"),
        ("SOURCES", "hunter2"),
        ("SOURCES", "[hunter2]"),
        ("DB_PASS", "hunter2"),
        ("ADMIN__LISTEN", "http://a:hunter2@h:1"),
        ("ADMIN__BEARER", "hunter2"),
        ("SINKS__X__KAFKA__BROKERS", "[kafka://alice:hunter2@k:9092]"),
        ("SINKS__X__KAFKA__BROKERS", "alice:hunter2@k:9092"),
        ("SINKS__X__KAFKA", "{ brokers = [k:1], sasl = 'alice:hunter2' }"),
        ("SINKS__X__KAFKA", "{ brokers = [k:1], sasl = { mechanism = PLAIN, username = a, passwrd = hunter2 } }"),
        ("SINKS__X__DELTA", "{ location = 's4://id:hunter2@bucket' }"),
        ("SINKS__X__DELTA", "{ location = 'file:///x', storage = { a = [hunter2] } }"),
        ("SINKS__X__DELTA__LOCATION", "s4://bucket?x=hunter2"),
    ] {
        let name = format!("TIDEWIRE_{variable}");
        let shown = faults_with(&with("", ""), &[(&name, text)]);
        assert!(shown.contains(&format!("environment variable {name}: ")), "{name}={text}: {shown}");
        assert!(!shown.contains(CANARY), "{name}={text}: {shown}");
    }
}

#[test]
fn what_is_no_secret_is_shown() {
    for (text, told) in [
        (with("slot = \"Bad Slot\"", ""), "sources.shop.postgres.slot = \"Bad Slot\": "),
        (with("snapshot_parallelism = 700", ""), "sources.shop.postgres.snapshot_parallelism = 700: "),
        (with("ssl = true", ""), "sources.shop.postgres.ssl = true: unknown key"),
        (
            with("", "[sinks.lake.delta]\nlocation = \"s4://id:hunter2@bucket\""),
            ":6:1: sinks.lake.delta.location = \"s4://id:***@bucket\": ",
        ),
        (
            with("", "[sinks.x.kafka]\nbrokers = [\"a:hunter2@k:9092\"]"),
            "sinks.x.kafka.brokers: `a:***@k:9092` is no broker",
        ),
        (
            with("", "[sinks.x.kafka]\nbrokers = [\"k:9092\"]\n[sinks.x.kafka.librdkafka]\n\"linger.ms\" = \"soon\""),
            ":8:1: sinks.x.kafka.librdkafka.linger.ms = \"soon\": ",
        ),
    ] {
        let shown = faults_of(&text);
        assert!(shown.contains(told), "`{told}` in\n{shown}");
    }
}
