//! What a configuration may say, and that every fault of it is found in one run.

use super::*;
use std::path::PathBuf;
use tidewire_core::secret::Secret;
use tidewire_tls::TlsMode;

struct NoSecrets;

impl SecretResolver for NoSecrets {
    fn resolve(&self, _: &SecretRef) -> tidewire_core::Result<Secret> {
        Err(tidewire_core::Error::configuration("no_secret", "no secret here"))
    }
}

fn check(url: &str, edit: impl FnOnce(&mut SourceOptions, &mut Config)) -> Result<Settings, Vec<ConfigFault>> {
    let mut options = SourceOptions {
        name: Arc::from("web-shop"),
        tables: Vec::new(),
        snapshot: SnapshotMode::Initial,
        secrets: Arc::new(NoSecrets),
    };
    let mut config = Config {
        url: url.to_owned(),
        password: None,
        slot: None,
        publication: None,
        heartbeat_interval: None,
        heartbeat_message: false,
        status_interval: None,
        snapshot_parallelism: None,
        lock_timeout: None,
    };
    edit(&mut options, &mut config);
    Settings::check(options, config)
}

pub(crate) fn settings(url: &str) -> Settings {
    check(url, |_, _| ()).unwrap()
}

#[test]
fn defaults_follow_the_name() {
    let settings = settings("postgres://cdc@db.internal/shop");
    assert_eq!((&*settings.slot, &*settings.publication), ("tidewire_web_shop", "tidewire_web_shop"));
    assert_eq!(settings.application_name, "tidewire/web-shop");
    assert_eq!(settings.hosts, [Host::Tcp("db.internal".to_owned(), 5432)]);
    assert_eq!(settings.database, "shop");
}

#[test]
fn another_machine_must_prove_itself_unless_told_otherwise() {
    let mode = |url: &str| settings(url).tls.mode;
    assert_eq!(mode("postgres://a@db/x"), TlsMode::VerifyFull);
    assert_eq!(mode("postgres://a@localhost,db/x"), TlsMode::VerifyFull);
    assert_eq!(mode("postgres://a@127.0.0.1:1,[::1]/x"), TlsMode::Prefer);
    assert_eq!(mode("postgres://a@/x?host=/run/postgresql"), TlsMode::Prefer);
    assert_eq!(mode("postgres://a@db/x?sslmode=disable"), TlsMode::Disable);
}

#[test]
fn pg_95_odd_names_and_passwords() {
    let settings =
        settings("postgres://us%40er:p%3Aa%25ss@[2001:db8::1]:6543,%2Frun%2Fpg:7777/da%20ta?connect_timeout=3");
    assert_eq!((&*settings.user, &*settings.database), ("us@er", "da ta"));
    assert_eq!(settings.password, Some(SecretRef::Inline(Secret::new("p:a%ss"))));
    let expected = [Host::Tcp("2001:db8::1".to_owned(), 6543), Host::Unix(PathBuf::from("/run/pg/.s.PGSQL.7777"))];
    assert_eq!(settings.hosts, expected);
    assert_eq!(settings.connect_timeout, Duration::from_secs(3));
    assert!(!format!("{settings:?}").contains("p:a"));
}

#[test]
fn every_fault_is_found_in_one_run_and_none_tells_the_password() {
    let faults = check("postgres://u:hunter2@h:0/d?sslmode=no&what=1&sslcert=x", |options, config| {
        options.tables = vec!["orders".to_owned()];
        config.slot = Some("Shop-1".to_owned());
        config.publication = Some(String::new());
        config.snapshot_parallelism = Some(0);
        config.status_interval = Some(Span(Duration::from_secs(3600)));
    })
    .unwrap_err();
    assert_eq!(faults.len(), 9, "{faults:?}");
    assert!(!format!("{faults:?}").contains("hunter2"));
    for url in ["mysql://a@b/c", "postgres://a@/c", "postgres://b/c", "postgres://a%zz@b/c", "postgres://a@b,/c"] {
        assert!(check(url, |_, _| ()).is_err(), "{url}");
    }
}

/// A `?` in a password that is not escaped ends the login; what follows looks like keys.
#[test]
fn no_piece_of_a_password_is_told() {
    for url in [
        "postgres://cdc:p?ecret@host/db",
        "postgres://cdc:p?ecret&y@host/db",
        "postgres://cdc:p?ecret=%zz@host/db",
        "postgres://cdc:p?3cret=%zz",
    ] {
        let faults = format!("{:?}", check(url, |_, _| ()).unwrap_err());
        assert!(!faults.contains("cret") && faults.contains("%3F"), "{url}: {faults}");
    }
}
