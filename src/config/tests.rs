//! The configuration's contract: places, several faults at once, secrets unseen, the example whole.

use super::*;

fn load_text(text: &str) -> Result<Config, String> {
    load_text_with(text, &[])
}

fn load_text_with(text: &str, variables: &[(&str, &str)]) -> Result<Config, String> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tidewire.toml");
    std::fs::write(&path, text).unwrap();
    let shown = |faults: Faults| faults.to_string().replace(&format!("{}", path.display()), "FILE");
    match load_with(&path, variables.iter().map(|(name, text)| (name.into(), text.into()))) {
        Ok((config, faults)) if faults.is_empty() => Ok(config),
        Ok((_, faults)) | Err(faults) => Err(shown(faults)),
    }
}

const GOOD: &str = r#"
[sources.shop.postgres]
url = "postgres://cdc@localhost/shop"
[sinks.lake.delta]
location = "file:///srv/lake"
"#;

#[test]
fn ten_lines_are_enough() {
    let config = load_text(GOOD).unwrap();
    assert_eq!(config.sinks_of("shop").collect::<Vec<_>>(), ["lake"]);
    assert_eq!(config.shutdown_timeout, Duration::from_secs(20));
}

#[test]
fn every_fault_is_told_in_one_run_with_its_place() {
    let text =
        format!("shutdwon_timeout = \"5s\"\nshutdown_timeout = \"5 parsecs\"\n[admin]\nlisten = \"nowhere\"\n{GOOD}");
    let shown = load_text(&text).unwrap_err();
    for expect in [
        "FILE:1:1: shutdwon_timeout: unknown key; allowed here: `state_dir`, `shutdown_timeout`, `admin`, `sources`, `sinks`",
        "FILE:2:1: shutdown_timeout = \"5 parsecs\": `5 parsecs` is no duration",
        "FILE:4:1: admin.listen = \"nowhere\": ",
    ] {
        assert!(shown.contains(expect), "{expect}\nin\n{shown}");
    }
}

#[test]
fn faults_inside_sections_have_places_too() {
    let text = "[sources.shop]\nsnapshot = \"sometimes\"\ntabels = []\n[sources.shop.postgres]\nurl = \"postgres://a@b/c\"\n[sinks.x]\nsources = [\"shpo\"]\n[sinks.x.kafka]\nbrokers = []\n";
    let shown = load_text(text).unwrap_err();
    assert!(
        shown.contains(
            "FILE:2:1: sources.shop.snapshot = \"sometimes\": unknown value `sometimes`; allowed: `initial`, `never`"
        ),
        "{shown}"
    );
    assert!(shown.contains("FILE:3:1: sources.shop.tabels: unknown key"), "{shown}");
    assert!(shown.contains("sinks.x.sources: `shpo` is not a configured source; there is `shop`"), "{shown}");
}

#[test]
fn a_sink_may_only_name_sources_that_exist() {
    let shown =
        load_text(&GOOD.replace("[sinks.lake.delta]", "[sinks.lake]\nsources = [\"shpo\"]\n[sinks.lake.delta]"))
            .unwrap_err();
    assert!(shown.contains("sinks.lake.sources: `shpo` is not a configured source; there is `shop`"), "{shown}");
}

#[test]
fn syntax_errors_have_line_and_column() {
    let shown = load_text("state_dir = \"x\"\n[admin\n").unwrap_err();
    assert!(shown.starts_with("FILE:2:"), "{shown}");
}

#[test]
fn names_that_would_break_topics_are_refused() {
    let shown = load_text(&GOOD.replace("sources.shop", "sources.\"My Shop\"")).unwrap_err();
    assert!(shown.contains("the name is part of topics"), "{shown}");
}

#[test]
fn variables_override_the_file() {
    let config = load_text_with(
        &format!("state_dir = \"a\"\n{GOOD}[admin]\ntable_labels = false\n"),
        &[
            ("TIDEWIRE_ADMIN__LISTEN", "127.0.0.1:9000"),
            ("TIDEWIRE_STATE_DIR", "0123"),
            ("TIDEWIRE_SOURCES__SHOP__TABLES", "[public.*, !public.a]"),
            ("TIDEWIRE_SINKS__LAKE__DELTA__COMMIT_ROWS", "500"),
            ("TIDEWIRE_CONFIG", "/etc/tidewire.toml"),
            ("TIDEWIRE_LOG", "debug"),
            ("TIDEWIRE_SERVICE_HOST", "10.0.171.239"),
            ("TIDEWIRE_SERVICE_PORT", "9187"),
            ("TIDEWIRE_PORT", "tcp://10.0.171.239:9187"),
            ("TIDEWIRE_PORT_9187_TCP_ADDR", "10.0.171.239"),
        ],
    )
    .unwrap();
    assert_eq!((config.state_dir.as_path(), config.metrics_per_table), (Path::new("0123"), false));
    assert_eq!(config.admin_listen, SocketAddr::from(([127, 0, 0, 1], 9_000)));
    assert_eq!(config.sources["shop"].tables, ["public.*", "!public.a"]);
    let delta = config.sinks["lake"].delta.as_ref().unwrap();
    assert!(delta.contains_key("location") && delta.contains_key("commit_rows"));
}

#[test]
fn a_fault_of_the_environment_names_the_variable() {
    let good = format!("[admin]\nlisten = \"nowhere\"\n[admin.deep]\n{GOOD}");
    let shown = load_text_with(
        &good,
        &[
            ("TIDEWIRE_ADMIN__LISTEN", "elsewhere"),
            ("TIDEWIRE_SHUTDOWN_TIMEOUT", "5"),
            ("TIDEWIRE_ADMIN__TABLE_LABELS", "yes"),
            ("TIDEWIRE_SINKS__LAKE__SOURCES", "[shpo]"),
            ("TIDEWIRE_SOURCES__SHOP__TABELS", "[a.*]"),
            ("TIDEWIRE_PORT", "9187"),
            ("TIDEWIRE_A__", "5"),
        ],
    )
    .unwrap_err();
    for expect in [
        "environment variable TIDEWIRE_ADMIN__LISTEN: admin.listen = \"elsewhere\": `elsewhere` is no address",
        "environment variable TIDEWIRE_SHUTDOWN_TIMEOUT: shutdown_timeout = \"5\": `5` is no duration",
        "environment variable TIDEWIRE_ADMIN__TABLE_LABELS: admin.table_labels = \"yes\": wrong type string \"yes\"; expected a boolean",
        "environment variable TIDEWIRE_SINKS__LAKE__SOURCES: sinks.lake.sources: `shpo` is not a configured source",
        "environment variable TIDEWIRE_SOURCES__SHOP__TABELS: sources.shop.tabels: unknown key",
        "environment variable TIDEWIRE_PORT: port: unknown key",
        "environment variable TIDEWIRE_A__: no key has an empty name",
        "FILE:3:8: admin.deep: unknown key",
    ] {
        assert!(shown.contains(expect), "{expect}\nin\n{shown}");
    }
    assert_eq!(shown.lines().count(), 8, "{shown}");
}
