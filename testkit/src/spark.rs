//! Apache Spark with Delta Lake, as a reader of tables and as another writer. A session takes half a minute to start, so that one
//! serves all tests of a process, one statement at a time.

use crate::{fetch, process};
use anyhow::{Context, Result, bail};
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::sync::{Mutex, PoisonError};

/// A program that `java` compiles and runs.
const PROGRAM: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/readers/SparkTables.java");
/// What Spark opens of Java's own.
const OPENED: [&str; 14] = [
    "java.lang",
    "java.lang.invoke",
    "java.lang.reflect",
    "java.io",
    "java.net",
    "java.nio",
    "java.util",
    "java.util.concurrent",
    "java.util.concurrent.atomic",
    "jdk.internal.ref",
    "sun.nio.ch",
    "sun.nio.cs",
    "sun.security.action",
    "sun.util.calendar",
];

struct Session {
    /// Ends with this process.
    _child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
}

static SESSION: Mutex<Option<Session>> = Mutex::new(None);

impl Session {
    fn start() -> Result<Session> {
        let [spark, delta] = fetch::spark::jars()?;
        let mut command = process::guarded(std::path::Path::new("java"));
        command.args(OPENED.map(|package| format!("--add-opens=java.base/{package}=ALL-UNNAMED")));
        command.args(["-Xmx1g", "-XX:+IgnoreUnrecognizedVMOptions", "-Djdk.reflect.useDirectMethodHandle=false"]);
        command.args(["-cp", &format!("{}/*:{}/*", spark.display(), delta.display()), PROGRAM]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = process::spawn(command)?;
        let to = child.stdin.take().context("Spark's standard input")?;
        let from = BufReader::new(child.stdout.take().context("Spark's standard output")?);
        Ok(Session { _child: child, to, from })
    }

    fn ask(&mut self, line: &str) -> Result<Vec<String>> {
        writeln!(self.to, "{line}").and_then(|()| self.to.flush()).context("ask Spark")?;
        let mut answer = Vec::new();
        loop {
            let mut line = String::new();
            if self.from.read_line(&mut line).context("read what Spark says")? == 0 {
                bail!("Spark has ended");
            }
            let line = line.trim_end_matches('\n');
            match line.strip_prefix("failed ") {
                Some(error) => bail!("Spark: {error}"),
                None if line == "done" => return Ok(answer),
                None => answer.push(line.to_owned()),
            }
        }
    }
}

/// Asks the session, which is started for the first question; its answer's lines.
fn ask(line: &str) -> Result<Vec<String>> {
    let mut session = SESSION.lock().unwrap_or_else(PoisonError::into_inner);
    let running = match &mut *session {
        Some(running) => running,
        none => none.insert(Session::start()?),
    };
    let answer = running.ask(line);
    if answer.as_ref().is_err_and(|error| !error.to_string().starts_with("Spark: ")) {
        *session = None;
    }
    answer
}

/// Runs a statement; of tables on disk it speaks as `` delta.`/path` ``.
pub fn run(sql: &str) -> Result<()> {
    ask(&format!("sql {}", sql.replace('\n', " "))).map(|_| ())
}

/// The lines of a table's change data feed, from its first version on.
pub(crate) fn read_changes(path: &str) -> Result<Vec<String>> {
    ask(&format!("changes {path}"))
}

/// A table's lines, in the form of the other readers.
pub(crate) fn read(path: &str, version: Option<u64>) -> Result<Vec<String>> {
    let at = version.map(|version| format!("@{version}")).unwrap_or_default();
    ask(&format!("read{at} {path}"))
}
