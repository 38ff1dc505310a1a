//! What of a configuration may be shown: a fault names the value that is wrong, and a secret may stand anywhere. Pure.

/// Parts of a key that tell of a secret, wherever they stand.
const SECRET_KEYS: &[&str] = &[
    "password",
    "pasword",
    "passwd",
    "passphrase",
    "pwd",
    "secret",
    "token",
    "credential",
    "url",
    "uri",
    "dsn",
    "storage",
    "jaas",
    "oauth",
];
/// The same, as whole words: others have them inside.
const SECRET_WORDS: &[&str] = &["key", "pem", "sas", "sig", "auth"];
/// What stands before a secret in a text of settings.
const SECRET_SETTINGS: &[&str] = &["password=", "passwd=", "pwd=", "secret=", "token=", "key=", "sig=", "pass="];

/// What stands in the place of a secret.
pub(super) const STARS: &str = "***";

/// Whether what a dotted key has may be a secret, by any of its parts.
pub(super) fn may_hold_secret(key: &str) -> bool {
    let parts: Vec<String> = key.split('.').map(str::to_ascii_lowercase).collect();
    // The second part of these is a name that the operator chose.
    let is_name = |index: usize| index == 1 && matches!(parts.first().map(String::as_str), Some("sources" | "sinks"));
    // Those of librdkafka for a login: a misspelt one is no less a secret.
    let is_login = |pair: &[String]| match pair {
        [table, first] => table == "librdkafka" && matches!(first.as_str(), "sasl" | "ssl"),
        _ => false,
    };
    parts.windows(2).any(is_login)
        || parts.iter().enumerate().filter(|(index, _)| !is_name(*index)).any(|(_, part)| {
            SECRET_KEYS.iter().any(|word| part.contains(word))
                || part.split(['_', '-']).any(|word| SECRET_WORDS.contains(&word))
        })
}

/// A value as it may be shown: without the password of a login, and without what follows the question mark of a URL.
pub(super) fn masked(text: &str) -> String {
    let settings: String = text.chars().filter(|c| !c.is_whitespace()).collect::<String>().to_ascii_lowercase();
    if SECRET_SETTINGS.iter().any(|setting| settings.contains(setting)) {
        return STARS.to_owned();
    }
    let mut shown = text.to_owned();
    let scheme = text.find("://");
    // The last one: a password may have an `@` of its own.
    if let Some(at) = text.rfind('@') {
        let begin = scheme.map_or(0, |scheme| scheme + "://".len());
        let begin = if begin <= at { begin } else { 0 };
        if let Some(colon) = text.get(begin..at).and_then(|login| login.find(':')) {
            shown.replace_range(begin + colon + 1..at, STARS);
        }
    }
    if scheme.is_some()
        && let Some(query) = shown.find('?')
    {
        shown.replace_range(query + 1.., STARS);
    }
    shown
}

/// A sentence as it may be shown: what it quotes is masked, and of the values that it is about, too, in whatever form.
pub(super) fn scrubbed(sentence: &str, values: &[String], is_secret: bool) -> String {
    let mut shown: String = sentence
        .split('`')
        .enumerate()
        .map(|(index, piece)| if index % 2 == 1 { masked(piece) } else { piece.to_owned() })
        .collect::<Vec<_>>()
        .join("`");
    for value in values {
        let mask = if is_secret { STARS.to_owned() } else { masked(value) };
        // A word of two letters would be found in every sentence.
        if mask != *value && value.len() > 3 {
            shown = shown.replace(value.as_str(), &mask);
            shown = shown.replace(&value.escape_debug().to_string(), &mask);
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_judged_by_each_of_its_parts() {
        for (key, expect) in [
            ("sources.shop.postgres.password", true),
            ("sources.shop.postgres.password.value", true),
            ("sinks.lake.delta.storage.aws_region", true),
            ("sinks.events.kafka.tls.key", true),
            ("sinks.events.kafka.librdkafka.sasl.password", true),
            ("sinks.events.kafka.librdkafka.ssl.key.pem", true),
            ("sinks.lake.delta.keyless", false),
            ("sinks.token-vault.kafka.partitions", false),
            ("sources.shop.postgres.slot", false),
            ("admin.token", true),
            ("shutdown_timeout", false),
        ] {
            assert_eq!(may_hold_secret(key), expect, "{key}");
        }
    }

    #[test]
    fn logins_are_shown_without_their_password() {
        for (text, expect) in [
            ("postgres://cdc:hunter2@db/shop", "postgres://cdc:***@db/shop"),
            ("postgres://cdc:hun@ter2@db/shop", "postgres://cdc:***@db/shop"),
            ("postgres://cdc:hun/t?r2@db/shop", "postgres://cdc:***@db/shop"),
            ("postgres://cdc@db/shop", "postgres://cdc@db/shop"),
            ("\"s3://id:hunter2@bucket\"", "\"s3://id:***@bucket\""),
            ("alice:hunter2@kafka1:9092", "alice:***@kafka1:9092"),
            ("alice:p@ss://x", "alice:***@ss://x"),
            ("az://lake/x?sv=1&xyz=hunter2", "az://lake/x?***"),
            ("host=db password = hunter2", "***"),
            ("5 parsecs", "5 parsecs"),
            ("kafka1:9092", "kafka1:9092"),
        ] {
            assert_eq!(masked(text), expect);
        }
    }
}
