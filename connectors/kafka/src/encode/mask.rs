//! Makes records of different runs comparable byte for byte: what differs from run to run by nature
//! (times, positions, transaction ids, the source's name, the version) is replaced by fixed text. For
//! tests against recorded output; works on the text, so that member order and number forms still count.

/// What replaces the source's name.
pub const SOURCE: &str = "SOURCE";

/// Members whose value is replaced by `0` unless it is null.
const MEMBERS: [&str; 8] = ["ts_ms", "ts_us", "ts_ns", "lsn", "sequence", "txId", "__source_ts_ms", "__lsn"];

/// The text of a key or value with everything masked that depends on the run. `source` is the source's name
/// (Debezium's topic prefix). Within `{"id":"1:2"}` an id of the form `number:number` is masked, too.
pub fn mask(text: &str, source: &str) -> String {
    let mut text = text.replace(source, SOURCE);
    for member in MEMBERS {
        text = replace_values(&text, member, |value| (value != "null").then_some("0"));
    }
    let is_id =
        |value: &str| value.trim_matches('"').split_once(':').is_some_and(|(a, b)| is_number(a) && is_number(b));
    text = replace_values(&text, "id", |value| is_id(value).then_some("\"0\""));
    replace_values(&text, "version", |value| value.starts_with('"').then_some("\"0\""))
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
}
