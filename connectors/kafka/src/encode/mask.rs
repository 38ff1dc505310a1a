//! Makes records of different runs comparable byte for byte: what differs from run to run by nature
//! (times, positions, transaction ids, the source's name, the version) is replaced by fixed text. For
//! tests against recorded output; works on the text, so that member order and number forms still count.

/// What replaces the source's name.
pub const SOURCE: &str = "SOURCE";

/// Members whose value is replaced by `0` unless it is null.
const MEMBERS: [&str; 13] = [
    "ts_ms",
    "ts_us",
    "ts_ns",
    "lsn",
    "sequence",
    "txId",
    "__source_ts_ms",
    "__lsn",
    "gtid",
    "file",
    "pos",
    "thread",
    "__pos",
];

/// The text of a key or value with everything masked that depends on the run. `source` is the source's name
/// (Debezium's topic prefix). Ids of transactions are masked, too: `"id":"1:2"` of PostgreSQL, a GTID, a place in a binlog.
/// A server's id becomes 1 unless it is 0, which stands for none.
pub fn mask(text: &str, source: &str) -> String {
    let mut text = text.replace(source, SOURCE);
    for member in MEMBERS {
        text = replace_values(&text, member, |value| (value != "null").then_some("0"));
    }
    text = replace_values(&text, "server_id", |value| (is_number(value) && value != "0").then_some("1"));
    text = replace_values(&text, "id", |value| is_transaction(value).then_some("\"0\""));
    replace_values(&text, "version", |value| value.starts_with('"').then_some("\"0\""))
}

fn is_transaction(value: &str) -> bool {
    let Some(id) = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) else { return false };
    // `domain-server-sequence` of MariaDB.
    if id.split('-').count() == 3 && id.split('-').all(is_number) {
        return true;
    }
    match id.rsplit_once(':') {
        Some((of, number)) => is_number(number) && (is_number(of) || is_uuid(of) || of.contains('.')),
        None => id.strip_prefix("file=").and_then(|rest| rest.split_once(",pos=")).is_some_and(|(_, n)| is_number(n)),
    }
}

// With a tag behind it or without.
fn is_uuid(text: &str) -> bool {
    let uuid = text.split_once(':').map_or(text, |(uuid, _)| uuid);
    uuid.len() == 36 && uuid.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-')
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn replace_values(text: &str, member: &str, with: impl Fn(&str) -> Option<&'static str>) -> String {
    let name = format!("\"{member}\":");
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(&name) {
        out.push_str(before);
        out.push_str(&name);
        let (value, tail) = after.split_at_checked(value_length(after)).unwrap_or((after, ""));
        out.push_str(with(value).unwrap_or(value));
        rest = tail;
    }
    out.push_str(rest);
    out
}

// Length of the number, word or string at the start.
fn value_length(text: &str) -> usize {
    let mut escaped = false;
    for (index, byte) in text.bytes().enumerate() {
        let string = text.starts_with('"');
        match byte {
            b'"' if string && index > 0 && !escaped => return index + 1,
            b',' | b'}' | b']' if !string => return index,
            b'{' | b'[' if !string => return 0,
            _ => escaped = byte == b'\\' && !escaped,
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_depends_on_the_run_is_masked() {
        let text = r#"{"after":{"id":2,"t":"x"},"source":{"version":"3","name":"shop","ts_ms":17,"sequence":"[\"1\",\"2\"]","txId":null},"transaction":{"id":"3:4","total_order":1},"field":"ts_ms","v":{"version":1}}"#;
        let expect = r#"{"after":{"id":2,"t":"x"},"source":{"version":"0","name":"SOURCE","ts_ms":0,"sequence":0,"txId":null},"transaction":{"id":"0","total_order":1},"field":"ts_ms","v":{"version":1}}"#;
        assert_eq!(mask(text, "shop"), expect);
    }

    #[test]
    fn ids_of_transactions_are_known_by_their_form() {
        for (id, known) in [
            ("\"3:4\"", true),
            ("\"66a526c7-e723-11f1-ac0a-02fc00000001:2461\"", true),
            ("\"66a526c7-e723-11f1-ac0a-02fc00000001:tag:7\"", true),
            ("\"0-1-100\"", true),
            ("\"binlog.000001:154\"", true),
            ("\"file=binlog.000001,pos=154\"", true),
            ("\"x:1\"", false),
            ("7", false),
            ("\"a-b-c\"", false),
            (r#""\"golden\".\"trunc_me\"""#, false),
        ] {
            let text = format!("{{\"id\":{id},\"server_id\":7}}");
            let expect = if known { "\"0\"" } else { id };
            assert_eq!(mask(&text, "shop"), format!("{{\"id\":{expect},\"server_id\":1}}"));
        }
        assert_eq!(mask(r#"{"server_id":0,"gtid":null,"pos":9}"#, "shop"), r#"{"server_id":0,"gtid":null,"pos":0}"#);
    }
}
