//! Apache Spark with Delta Lake, as a reader of tables and as another writer.

use crate::fetch;
use crate::standing::{self, Standing};
use anyhow::Result;
use std::path::Path;
use std::process::Command;

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

/// What is asked of it: see the program.
pub(crate) static SPARK: Standing = Standing::new("Spark", start);

fn start(folder: &Path) -> Result<Command> {
    let [spark, delta] = fetch::spark::jars()?;
    let opened = OPENED.map(|package| format!("--add-opens=java.base/{package}=ALL-UNNAMED"));
    let mut flags: Vec<&str> = opened.iter().map(String::as_str).collect();
    flags.extend(["-Xmx1g", "-XX:+IgnoreUnrecognizedVMOptions", "-Djdk.reflect.useDirectMethodHandle=false"]);
    let class_path = format!("{}/*:{}/*", spark.display(), delta.display());
    standing::java(folder, include_str!("../readers/SparkTables.java"), &class_path, &flags)
}

/// Runs a statement; of tables on disk it speaks as `` delta.`/path` ``.
pub fn run(sql: &str) -> Result<()> {
    SPARK.ask(&format!("sql {}", sql.replace('\n', " "))).map(|_| ())
}

/// Writes a checkpoint of a table as it is, in parts of so many actions.
pub fn checkpoint(table: &Path, actions: u32) -> Result<()> {
    SPARK.ask(&format!("checkpoint@{actions} {}", table.display())).map(|_| ())
}
