//! What the daemon says of a halt: in its status while it runs, and by one line of its log.

use crate::Daemon;
use anyhow::{Context, Result, ensure};
use serde_json::Value;

/// The line of a halt.
#[derive(Clone, Debug)]
pub(super) struct Halt {
    pub(super) code: String,
    pub(super) message: String,
    pub(super) remedy: String,
    pub(super) table: Option<String>,
    pub(super) sink: Option<String>,
}

impl Halt {
    /// The texts in backticks of the remedy: statements, commands, settings.
    pub(super) fn commands(&self) -> Vec<&str> {
        self.remedy.split('`').skip(1).step_by(2).collect()
    }

    /// Whether the remedy has these words.
    pub(super) fn must_offer(&self, words: &[&str]) -> Result<()> {
        for word in words {
            ensure!(self.remedy.contains(word), "the remedy of {} has no word of `{word}`: {}", self.code, self.remedy);
        }
        Ok(())
    }
}

/// The halts in the log from a place on, and only those: no other ERROR may be there, but that of an end for want of any
/// source that could go on.
pub(super) fn halts(daemon: &Daemon, from: usize) -> Result<Vec<Halt>> {
    let log = daemon.log()?;
    let mut halts = Vec::new();
    for line in log.get(from..).unwrap_or_default().lines().filter(|line| line.contains("\"ERROR\"")) {
        let line: Value = serde_json::from_str(line).with_context(|| format!("a line of the log: {line}"))?;
        let text = |name: &str| line.get(name).and_then(Value::as_str).map(str::to_owned);
        let (code, message) = (text("code").unwrap_or_default(), text("message").unwrap_or_default());
        if code == "nothing_left" {
            continue;
        }
        ensure!(message.contains(" halted: "), "an error that is no halt: {line}");
        let remedy = text("remedy").with_context(|| format!("a halt without its remedy: {line}"))?;
        halts.push(Halt { code, message, remedy, table: text("table"), sink: text("sink") });
    }
    Ok(halts)
}

/// The code for which a sink has halted a table, by the daemon's status.
pub(super) fn code_of_table(status: &Value, sink: &str, table: &str) -> Option<String> {
    let tables = status.pointer(&format!("/sources/shop/sinks/{sink}/halted_tables"))?;
    tables.get(table)?.get("code")?.as_str().map(str::to_owned)
}

/// What is halted, by the daemon's status: the tables, each with its sink, and sinks and the source as a whole.
pub(super) fn halted(status: &Value) -> Vec<String> {
    let Some(source) = status.pointer("/sources/shop") else { return vec!["the source is not there".to_owned()] };
    let is_halted = |part: &Value| part.get("state").and_then(Value::as_str) == Some("halted");
    let mut found = Vec::new();
    if is_halted(source) {
        found.push("the source".to_owned());
    }
    for (name, sink) in source.get("sinks").and_then(Value::as_object).into_iter().flatten() {
        if is_halted(sink) {
            found.push(format!("sink {name}"));
        }
        let tables = sink.get("halted_tables").and_then(Value::as_object);
        found.extend(tables.into_iter().flatten().map(|(table, _)| format!("{table} in {name}")));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_halted_is_found_in_the_status() {
        let status = json!({"sources": {"shop": {"state": "streaming", "sinks": {
            "events": {"state": "streaming"},
            "lake": {"state": "streaming", "halted_tables": {"public.a": {"code": "delta_table_gone"}}}}}}});
        assert_eq!(halted(&status), ["public.a in lake"]);
        assert_eq!(code_of_table(&status, "lake", "public.a").as_deref(), Some("delta_table_gone"));
        assert_eq!(code_of_table(&status, "lake", "public.b"), None);
        assert_eq!(code_of_table(&status, "events", "public.a"), None);
        assert_eq!(halted(&json!({"sources": {"shop": {"state": "halted", "sinks": {}}}})), ["the source"]);
    }

    #[test]
    fn the_commands_are_what_stands_in_backticks() {
        let remedy = "run `SELECT 1` and start once with `tidewire run --x shop`".to_owned();
        let halt = Halt { code: "c".into(), message: String::new(), remedy, table: None, sink: None };
        assert_eq!(halt.commands(), ["SELECT 1", "tidewire run --x shop"]);
        assert!(halt.must_offer(&["start once"]).is_ok() && halt.must_offer(&["adopt"]).is_err());
    }
}
