//! The status page: plain HTML without scripts, the same facts as `status.json`.

use crate::status::{Reason, SourceView, StatusDocument};
use std::fmt::Write;

const HEAD: &str = "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta http-equiv=\"refresh\" content=\"5\">\
<meta name=\"viewport\" content=\"width=device-width\"><title>Tidewire</title><style>\
body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:64rem;padding:0 1rem;color:#1b2a33;background:#fbfcfc}\
h1{font-size:1.3rem}h2{font-size:1.1rem;margin-top:2rem}table{border-collapse:collapse;width:100%;margin:.5rem 0 1rem}\
th,td{text-align:left;padding:.25rem .75rem .25rem 0;border-bottom:1px solid #dde5e8;font-variant-numeric:tabular-nums}\
td.n,th.n{text-align:right}code{font-size:.9em}.halted{color:#a1260d;font-weight:600}.retrying,.lagging{color:#8a5a00;font-weight:600}\
.streaming{color:#14683c;font-weight:600}pre{white-space:pre-wrap;background:#f2f5f6;padding:.5rem}</style></head><body>";

/// Renders the page.
pub(super) fn render(document: &StatusDocument) -> String {
    let mut out = String::from(HEAD);
    let ready = if document.ready { "ready" } else { "not ready" };
    let _ =
        write!(out, "<h1>Tidewire {} <small>{ready}, up {} s</small></h1>", document.version, document.uptime_seconds);
    for (name, source) in &document.sources {
        section(&mut out, name, source);
    }
    out.push_str("<p><a href=\"/status.json\">status.json</a> <a href=\"/metrics\">metrics</a></p></body></html>\n");
    out
}

fn section(out: &mut String, name: &str, source: &SourceView) {
    let word = source.state.word();
    let _ = write!(out, "<h2>{} <span class=\"{word}\">{word}</span></h2>", Escaped(name));
    reason(out, source.reason.as_ref());
    let dash = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
    let bytes = |value: Option<u64>| value.map_or_else(|| "-".to_owned(), |v| v.to_string());
    let _ = write!(
        out,
        "<table><tr><th>read to</th><td><code>{}</code></td></tr><tr><th>acknowledged</th><td><code>{}</code></td></tr>\
         <tr><th>lag</th><td>{:.1} s, {} bytes</td></tr><tr><th>log kept by the server</th><td>{} bytes{}</td></tr>",
        Escaped(&dash(&source.position)),
        Escaped(&dash(&source.acknowledged)),
        source.lag_seconds,
        bytes(source.log.lag_bytes),
        bytes(source.log.retained_bytes),
        source.log.allowance_bytes.map_or_else(String::new, |left| format!(", {left} more allowed")),
    );
    if source.snapshot_rows_expected > 0 {
        let _ = write!(
            out,
            "<tr><th>snapshot</th><td>{} of about {} rows</td></tr>",
            source.snapshot_rows, source.snapshot_rows_expected
        );
    }
    out.push_str("</table><table><tr><th>sink</th><th>state</th><th class=\"n\">lag</th><th class=\"n\">changes</th><th class=\"n\">commits</th><th>holds</th></tr>");
    for (sink, view) in &source.sinks {
        let word = view.state.word();
        let _ = write!(
            out,
            "<tr><td>{}</td><td class=\"{word}\">{word}</td><td class=\"n\">{:.1} s</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td><code>{}</code></td></tr>",
            Escaped(sink),
            view.lag_seconds,
            view.changes_committed,
            view.commits,
            Escaped(&dash(&view.position)),
        );
    }
    out.push_str("</table>");
    for (sink, view) in &source.sinks {
        reason(out, view.reason.as_ref());
        for (table, why) in &view.halted_tables {
            let _ = write!(out, "<p>Table {} is halted in {}:</p>", Escaped(table), Escaped(sink));
            reason(out, Some(why));
        }
    }
    out.push_str("<table><tr><th>table</th><th>state</th><th class=\"n\">lag</th><th class=\"n\">read</th><th class=\"n\">inserted</th><th class=\"n\">updated</th><th class=\"n\">deleted</th></tr>");
    for (table, view) in &source.tables {
        let word = view.state.unwrap_or(source.state).word();
        let _ = write!(
            out,
            "<tr><td>{}</td><td class=\"{word}\">{word}</td><td class=\"n\">{:.1} s</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td></tr>",
            Escaped(table),
            view.lag_seconds,
            view.reads,
            view.inserts,
            view.updates,
            view.deletes,
        );
    }
    out.push_str("</table>");
}

fn reason(out: &mut String, reason: Option<&Reason>) {
    if let Some(reason) = reason {
        let _ = write!(out, "<p class=\"halted\">{} [{}]</p>", Escaped(&reason.message), Escaped(&reason.code));
        if let Some(remedy) = &reason.remedy {
            let _ = write!(out, "<pre>{}</pre>", Escaped(remedy));
        }
    }
}

/// Text in HTML: names come from databases.
struct Escaped<'a>(&'a str);

impl std::fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for c in self.0.chars() {
            match c {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                c => f.write_char(c)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_break_out_of_the_page() {
        assert_eq!(Escaped("<a href=\"x\">&").to_string(), "&lt;a href=&quot;x&quot;&gt;&amp;");
    }
}
