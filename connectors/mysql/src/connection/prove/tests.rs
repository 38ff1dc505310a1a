//! What each method answers, and what is refused where others listen.

use super::*;
use crate::connection::testing;

fn greeting(plugin: &str) -> Greeting {
    Greeting {
        version: "8.0.31".to_owned(),
        nonce: b"abcdefghijklmnopqrst".to_vec(),
        capabilities: 0,
        plugin: plugin.to_owned(),
    }
}

fn prover<'a>(settings: &'a Settings, plugin: &str, overheard: bool) -> Prover<'a> {
    Prover::new(settings, &greeting(plugin), overheard).unwrap()
}

const NONCE_20: &[u8] = b"ABCDEFGHIJKLMNOPQRST\0";

#[test]
fn my_55_the_fast_path_shows_no_password() {
    let settings = testing::settings("mysql://u:secret@127.0.0.1");
    let mut prover = prover(&settings, CACHING_SHA2, true);
    assert_eq!(prover.plugin(), CACHING_SHA2);
    assert_eq!(prover.first_proof().len(), 32);
    assert_eq!(prover.more(&[3]).unwrap(), None);
}

#[test]
fn my_55_the_full_path_needs_encryption_or_the_servers_key() {
    let settings = testing::settings("mysql://u:secret@127.0.0.1");
    let private = prover(&settings, CACHING_SHA2, false).more(&[4]).unwrap();
    assert_eq!(private.as_deref(), Some(&b"secret\0"[..]));
    let refused = prover(&settings, CACHING_SHA2, true).more(&[4]).unwrap_err();
    assert_eq!(refused.code(), "cleartext_password");
    let mut asking = testing::settings("mysql://u:secret@127.0.0.1");
    asking.server_key = ServerKey::Ask;
    let mut asking = prover(&asking, CACHING_SHA2, true);
    assert_eq!(asking.more(&[4]).unwrap(), Some(vec![2]));
    let encrypted = asking.more(testing::RSA_PUBLIC_KEY.as_bytes()).unwrap().unwrap();
    assert_eq!(encrypted.len(), 256);
    assert_eq!(asking.more(&[9]).unwrap_err().code(), "protocol_violation");
}

#[test]
fn my_55_a_key_that_is_none_is_refused() {
    let mut settings = testing::settings("mysql://u:secret@127.0.0.1");
    settings.server_key = ServerKey::Ask;
    for key in [&b""[..], b"nonsense", b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"] {
        let mut prover = prover(&settings, CACHING_SHA2, true);
        prover.more(&[4]).unwrap();
        assert_eq!(prover.more(key).unwrap_err().code(), "server_public_key");
    }
    let long = format!("mysql://u:{}@127.0.0.1", "x".repeat(255));
    let mut settings = testing::settings(&long);
    settings.server_key = ServerKey::Ask;
    let mut prover = prover(&settings, CACHING_SHA2, true);
    prover.more(&[4]).unwrap();
    let refused = prover.more(testing::RSA_PUBLIC_KEY.as_bytes()).unwrap_err();
    assert_eq!(refused.code(), "password_too_long");
}

#[test]
fn my_55_methods_by_name() {
    let settings = testing::settings("mysql://u:secret@127.0.0.1");
    let switch = |plugin: &str, data: &[u8], overheard| prover(&settings, NATIVE, overheard).switch(plugin, data);
    assert_eq!(switch(NATIVE, NONCE_20, true).unwrap().len(), 20);
    assert_eq!(switch(CACHING_SHA2, NONCE_20, true).unwrap().len(), 32);
    assert_eq!(switch(SHA256, NONCE_20, false).unwrap(), b"secret\0");
    assert_eq!(switch(SHA256, NONCE_20, true).unwrap_err().code(), "cleartext_password");
    assert_eq!(switch(ED25519, &[7; 32], true).unwrap().len(), 64);
    assert_eq!(switch(PARSEC, &[7; 32], true).unwrap(), Vec::<u8>::new());
    assert_eq!(switch(CLEAR, b"", false).unwrap(), b"secret\0");
    assert_eq!(switch(CLEAR, b"", true).unwrap_err().code(), "cleartext_password");
    for plugin in ["mysql_old_password", "dialog", "authentication_kerberos_client", ""] {
        assert_eq!(switch(plugin, NONCE_20, false).unwrap_err().code(), "authentication_unsupported");
    }
    assert_eq!(switch(NATIVE, b"short", true).unwrap_err().code(), "protocol_violation");
}

#[test]
fn my_55_parsec_bounds_the_servers_rounds() {
    let settings = testing::settings("mysql://u:secret@127.0.0.1");
    let mut prover = prover(&settings, NATIVE, true);
    prover.switch(PARSEC, &[7; 32]).unwrap();
    assert_eq!(prover.more(b"P\x00salt").unwrap().unwrap().len(), 96);
    for salt in [&b"P\x04salt"[..], b"P", b"", b"Q\x00salt"] {
        assert_eq!(prover.more(salt).unwrap_err().code(), "protocol_violation");
    }
}

#[test]
fn an_empty_password_has_an_empty_proof() {
    let settings = testing::settings("mysql://u@127.0.0.1");
    assert!(prover(&settings, CACHING_SHA2, true).first_proof().is_empty());
    assert_eq!(prover(&settings, NATIVE, true).switch(SHA256, NONCE_20).unwrap(), [0]);
}
