//! What variables mean: text as it is, numbers and tables where those are wanted, and none of Kubernetes' own.

use super::*;
use serde::Deserialize;
use std::collections::BTreeMap;

fn of(variables: &[(&str, &str)]) -> (Environment, Vec<(String, &'static str)>) {
    Environment::of(variables.iter().map(|(name, text)| (OsString::from(name), OsString::from(text))))
}

/// A setting of every kind.
#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct All {
    text: String,
    number: Option<u64>,
    negative: i32,
    fraction: f64,
    flag: bool,
    list: Vec<String>,
    numbers: Vec<u64>,
    table: BTreeMap<String, String>,
    inner: Option<Box<All>>,
}

fn read(variables: &[(&str, &str)]) -> Result<All, String> {
    let (environment, amiss) = of(variables);
    assert_eq!(amiss, []);
    let layers = environment.layers().map(|dict| super::super::Layer { name: "environment", dict });
    let mut tree = layers.fold(figment::Figment::new(), figment::Figment::merge).extract::<Value>().unwrap();
    environment.read("", &mut tree).map_err(|error| format!("{}: {}", error.path.join("."), error.kind))
}

#[test]
fn text_arrives_as_it_is() {
    for text in [
        "0123",
        "007",
        "+5",
        "-0",
        "1.50",
        "1e5",
        "true",
        " a ",
        "\"quoted\"",
        "'q'",
        "[x]",
        "[",
        "{a=b}",
        "{",
        "{source}.{table}",
        "[1, 2]",
        "a,b",
        "",
        "\u{e4}\u{1f980}",
        "12345678901234567890123",
        "[[a], {b = \"c\"}]",
    ] {
        assert_eq!(read(&[("TIDEWIRE_TEXT", text)]).unwrap().text, text);
        let inner = read(&[("TIDEWIRE_INNER__TEXT", text)]).unwrap().inner.unwrap();
        assert_eq!(inner.text, text);
        let table = read(&[("TIDEWIRE_TABLE__A", text), ("TIDEWIRE_TABLE__B", "0123")]).unwrap().table;
        assert_eq!(table, BTreeMap::from([("a".to_owned(), text.to_owned()), ("b".to_owned(), "0123".to_owned())]));
    }
}

#[test]
fn what_is_no_text_is_read_as_the_setting_wants_it() {
    let all = read(&[
        ("TIDEWIRE_NUMBER", " 5 "),
        ("TIDEWIRE_NEGATIVE", "-7"),
        ("TIDEWIRE_FRACTION", "1.5"),
        ("TIDEWIRE_FLAG", "true"),
        ("TIDEWIRE_LIST", "[public.*, '!public.a', \"x,\\\"y\", 0123]"),
        ("TIDEWIRE_NUMBERS", "[1, 2,]"),
        ("TIDEWIRE_TABLE", "{ a = 0123, \"b.c\" = '1.50' }"),
        ("tidewire_inner", "{ number = 8, text = 0099, list = [1], inner = { flag = true } }"),
        ("OTHER_TEXT", "not ours"),
    ]);
    let expect = All {
        number: Some(5),
        negative: -7,
        fraction: 1.5,
        flag: true,
        list: ["public.*", "!public.a", "x,\"y", "0123"].map(str::to_owned).to_vec(),
        numbers: vec![1, 2],
        table: [("a", "0123"), ("b.c", "1.50")].map(|(name, text)| (name.to_owned(), text.to_owned())).into(),
        inner: Some(Box::new(All {
            number: Some(8),
            text: "0099".to_owned(),
            list: vec!["1".to_owned()],
            inner: Some(Box::new(All { flag: true, ..All::default() })),
            ..All::default()
        })),
        ..All::default()
    };
    assert_eq!(all, Ok(expect));
}

#[test]
fn what_fits_no_way_is_told_in_the_clearer_way() {
    for (variable, text, told) in [
        ("TIDEWIRE_NUMBER", "-5", "number: invalid value signed int `-5`, expected u64"),
        ("TIDEWIRE_NUMBER", "five", "number: invalid type: found string \"five\", expected u64"),
        ("TIDEWIRE_LIST", "a,b", "list: invalid type: found string \"a,b\", expected a sequence"),
        ("TIDEWIRE_NUMBERS", "[1, x]", "numbers.1: invalid type: found string \"x\", expected u64"),
        ("TIDEWIRE_INNER", "{ nubmer = 5 }", "inner.nubmer: unknown field: found `nubmer`"),
        ("TIDEWIRE_NUBMER", "5", "nubmer: unknown field: found `nubmer`"),
    ] {
        let shown = read(&[(variable, text)]).unwrap_err();
        assert!(shown.starts_with(told), "{variable}={text}: {shown}");
    }
}

#[test]
fn a_table_in_brackets_is_whole_or_it_is_text() {
    let deep = "[".repeat(40) + &"]".repeat(40);
    for text in [
        "[a",
        "a]",
        "[a]]",
        "[a]:1",
        "{a}",
        "{a=}",
        "{=a}",
        "[,]",
        "[\"a]",
        "{a=b,,}",
        "[\"\\q\"]",
        &deep,
        "[a b",
        "{[a]=b}",
    ] {
        assert_eq!(written::structure(text), None, "{text}");
    }
}

#[test]
fn what_cannot_be_a_setting_is_amiss() {
    use std::os::unix::ffi::OsStringExt;
    let broken = OsString::from_vec(b"caf\xe9".to_vec());
    let (_, amiss) = Environment::of(
        [("TIDEWIRE_A", broken.clone()), ("OTHER", broken.clone()), ("TIDEWIRE_LOG", broken)]
            .map(|(name, text)| (OsString::from(name), text))
            .into_iter(),
    );
    assert_eq!(amiss, [("TIDEWIRE_A".to_owned(), "the value is not UTF-8")]);
    let (environment, amiss) = of(&[("TIDEWIRE_", "a"), ("TIDEWIRE_A__", "a"), ("TIDEWIRE_ADMIN___X", "a")]);
    assert_eq!(amiss.len(), 2, "{amiss:?}");
    assert_eq!(environment.readings.len(), 1, "`_x` is the name of no setting, which whoever reads it tells");
}

#[test]
fn service_links_are_no_settings() {
    for (name, text, expect) in [
        // What the kubelet sets for a service with one port, and one with named ports.
        ("SERVICE_HOST", "10.0.171.239", true),
        ("SERVICE_HOST", "fd00::17", true),
        ("SERVICE_PORT", "9187", true),
        ("SERVICE_PORT_HTTP_METRICS", "9187", true),
        ("PORT", "tcp://10.0.171.239:9187", true),
        ("PORT_9187_TCP", "tcp://10.0.171.239:9187", true),
        ("PORT_9187_TCP_PROTO", "tcp", true),
        ("PORT_9187_TCP_PORT", "9187", true),
        ("PORT_9187_TCP_ADDR", "10.0.171.239", true),
        ("PORT_53_UDP", "udp://[fd00::17]:53", true),
        ("PORT_53_SCTP_PROTO", "sctp", true),
        // And for `tidewire-admin`.
        ("ADMIN_SERVICE_HOST", "10.0.0.1", true),
        ("ADMIN_SERVICE_PORT_HTTP", "80", true),
        ("ADMIN_PORT", "tcp://10.0.0.1:80", true),
        ("ADMIN_PORT_80_TCP_ADDR", "10.0.0.1", true),
        // Whoever writes these means a setting.
        ("PORT", "9187", false),
        ("SERVICE_HOST", "db.internal", false),
        ("SERVICE_PORT", "http", false),
        ("PORT_9187_TCP_PORT", "", false),
        ("PORT_HTTP_TCP", "tcp://10.0.0.1:80", false),
        ("SUPPORT", "tcp://10.0.0.1:80", false),
        ("SHUTDOWN_TIMEOUT", "5", false),
        ("SHUTDWON_TIMEOUT", "10.0.0.1", false),
        ("ADMIN__LISTEN", "127.0.0.1:9187", false),
        ("SOURCES__SHOP__PORT", "tcp://10.0.0.1:80", false),
    ] {
        assert_eq!(is_service_link(name, text), expect, "{name}={text}");
    }
}
