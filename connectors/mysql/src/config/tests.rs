//! What a configuration may say, and that every fault of it is found in one run.

use super::*;
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
    let mut config: Config = serde_json::from_value(serde_json::json!({ "url": url })).unwrap();
    edit(&mut options, &mut config);
    Settings::check(options, config)
}

fn settings(url: &str) -> Settings {
    check(url, |_, _| ()).unwrap()
}

#[test]
fn defaults_follow_the_name() {
    let settings = settings("mysql://cdc@db.internal");
    assert_eq!(settings.client_name(), "tidewire/web-shop");
    assert_eq!(settings.hosts, [Host::Tcp("db.internal".to_owned(), 3306)]);
    assert_eq!(settings.compression, Compression::None);
    assert_eq!(settings.server_key, ServerKey::Never);
    assert_eq!(settings.position, PositionMode::Auto);
    assert_eq!(settings.silence_limit(), Duration::from_secs(30));
}

#[test]
fn my_57_the_derived_identity_is_stable_and_differs_by_source() {
    // Fixed for ever: a server that still holds the old number would take the new one for another replica.
    assert_eq!(derived_server_id("shop"), derived_server_id("shop"));
    assert_ne!(derived_server_id("shop"), derived_server_id("crm"));
    for name in ["", "shop", "crm", "web-shop"] {
        let id = derived_server_id(name);
        assert!((0x8000_0000..u32::MAX).contains(&id), "{id}");
        let uuid = derived_uuid(name, 7);
        assert_eq!(uuid.len(), 36);
        assert_eq!(uuid.as_bytes()[14], b'8');
        assert!(matches!(uuid.as_bytes()[19], b'8' | b'9' | b'a' | b'b'), "{uuid}");
    }
    assert_eq!(check("mysql://a@h", |_, config| config.server_id = Some(7001)).unwrap().server_id, 7001);
}

#[test]
fn another_machine_must_prove_itself_unless_told_otherwise() {
    let mode = |url: &str| settings(url).tls.mode;
    assert_eq!(mode("mysql://a@db"), TlsMode::VerifyFull);
    assert_eq!(mode("mysql://a@localhost,db/"), TlsMode::VerifyFull);
    assert_eq!(mode("mysql://a@127.0.0.1:1,[::1]"), TlsMode::Prefer);
    assert_eq!(mode("mysql://a@127.0.0.1?ssl-ca=/ca.pem"), TlsMode::VerifyCa);
    assert_eq!(mode("mysql://a@/?socket=/run/mysqld/mysqld.sock"), TlsMode::Prefer);
    assert_eq!(mode("mysql://a@db?ssl-mode=DISABLED"), TlsMode::Disable);
    assert_eq!(mode("mysql://a@db?ssl-mode=verify_ca"), TlsMode::VerifyCa);
    assert_eq!(mode("mysql://a@db?sslmode=require"), TlsMode::Require);
}

#[test]
fn odd_names_and_passwords() {
    let settings = settings(
        "mysql://us%40er:p%3Aa%25ss@[2001:db8::1]:3307,db2/?connect_timeout=3&compression=zstd&socket=%2Frun%2Fmy.sock",
    );
    assert_eq!(settings.user, "us@er");
    assert_eq!(settings.password, Some(SecretRef::Inline(Secret::new("p:a%ss"))));
    let expected = [
        Host::Tcp("2001:db8::1".to_owned(), 3307),
        Host::Tcp("db2".to_owned(), 3306),
        Host::Unix(PathBuf::from("/run/my.sock")),
    ];
    assert_eq!(settings.hosts, expected);
    assert_eq!(settings.connect_timeout, Duration::from_secs(3));
    assert_eq!(settings.compression, Compression::Zstd);
    assert!(!format!("{settings:?}").contains("p:a"));
}

#[test]
fn every_fault_is_found_in_one_run_and_none_tells_the_password() {
    let faults = check("mysql://u:hunter2@h:0/d?ssl-mode=no&what=1&ssl-cert=x&compression=lz4", |options, config| {
        options.tables = vec!["orders".to_owned()];
        config.server_id = Some(0);
        config.snapshot_parallelism = Some(0);
        config.heartbeat_interval = Some(Span(Duration::from_secs(3600)));
        config.get_server_public_key = true;
        config.server_public_key = Some(PathBuf::from("key.pem"));
    })
    .unwrap_err();
    assert_eq!(faults.len(), 11, "{faults:?}");
    assert!(!format!("{faults:?}").contains("hunter2"));
    for url in ["postgres://a@b", "mysql://a@", "mysql://b", "mysql://a%zz@b", "mysql://a@b,", "mysql://a@b?socket=x"] {
        assert!(check(url, |_, _| ()).is_err(), "{url}");
    }
}

#[test]
fn words_of_the_table() {
    let config = |json: serde_json::Value| serde_json::from_value::<Config>(json);
    let written = config(serde_json::json!({ "url": "x", "zero_dates": "string", "position": "gtid" })).unwrap();
    assert_eq!((written.zero_dates, written.position), (ZeroDatePolicy::String, PositionMode::Gtid));
    assert!(config(serde_json::json!({ "url": "x", "zero_dates": "zero" })).is_err());
    assert!(config(serde_json::json!({ "url": "x", "slot": "y" })).is_err());
}

/// A `?` in a password that is not escaped ends the login; what follows looks like keys.
#[test]
fn no_piece_of_a_password_is_told() {
    for url in [
        "mysql://cdc:p?ecret@host",
        "mysql://cdc:p?ecret&y@host",
        "mysql://cdc:p?ecret=%zz@host",
        "mysql://cdc:p?3cret=%zz",
    ] {
        let faults = format!("{:?}", check(url, |_, _| ()).unwrap_err());
        assert!(!faults.contains("cret") && faults.contains("%3F"), "{url}: {faults}");
    }
}
