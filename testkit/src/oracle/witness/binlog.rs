//! Counts the changes in MySQL's and MariaDB's log from what `mysqlbinlog --verbose` prints: one line for each row, under
//! the global id of its transaction. The files are read where the server keeps them, so it may be down.

use super::{Committed, Counts};
use crate::fetch::mysql::Program;
use crate::mysql::Mysql;
use crate::process;
use anyhow::{Context, Result, bail};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::Stdio;

/// A place in a server's log, and how the log is read from there on.
#[derive(Debug)]
pub(super) struct Binlog {
    program: Program,
    folder: PathBuf,
    file: String,
    offset: u64,
}

impl Binlog {
    pub(super) fn start(server: &Mysql) -> Result<Binlog> {
        let (file, offset) = server.log_place()?;
        Ok(Binlog { program: server.distribution().binlog.clone(), folder: server.data(), file, offset })
    }

    pub(super) fn committed(&self) -> Result<Committed> {
        let mut files = self.files()?;
        let first = files.iter().position(|file| *file == self.file).context("the log's first file is gone")?;
        files.drain(..first);
        let mut command = self.program.guarded();
        command.args(["--no-defaults", "--verbose", "--base64-output=decode-rows"]);
        command.arg(format!("--start-position={}", self.offset)).args(&files).current_dir(&self.folder);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = process::spawn(command)?;
        let output = child.stdout.take().context("no output to read")?;
        let mut account = Lines::default();
        for line in BufReader::new(output).split(b'\n') {
            account.read(&String::from_utf8_lossy(&line.context("read what mysqlbinlog wrote")?));
        }
        let output = child.wait_with_output().context("wait for mysqlbinlog")?;
        if !output.status.success() {
            bail!("mysqlbinlog: {}", process::tail(&String::from_utf8_lossy(&output.stderr)));
        }
        Ok(account.committed)
    }

    /// By the server's own list, oldest first.
    fn files(&self) -> Result<Vec<String>> {
        let index = self.folder.join("binlog.index");
        let list = std::fs::read_to_string(&index).with_context(|| format!("read {}", index.display()))?;
        Ok(list.lines().map(|line| line.trim_start_matches("./").to_owned()).collect())
    }
}

/// What the lines so far said.
#[derive(Debug, Default)]
struct Lines {
    transaction: String,
    /// The XA transaction whose rows follow.
    branch: Option<String>,
    /// Rows of XA transactions that are prepared, by their names: they count once they are committed.
    prepared: BTreeMap<String, Vec<(String, char)>>,
    database: String,
    committed: Committed,
}

impl Lines {
    fn read(&mut self, line: &str) {
        if let Some(rest) = line.strip_prefix("### ") {
            for (word, kind) in [("INSERT INTO ", 'c'), ("UPDATE ", 'u'), ("DELETE FROM ", 'd')] {
                if let Some(name) = rest.strip_prefix(word) {
                    self.add(&name.trim().replace('`', ""), kind);
                }
            }
        } else if let Some(rest) = line.split_once("GTID_NEXT= '").map(|(_, rest)| rest) {
            let id = rest.split('\'').next().unwrap_or_default();
            self.transaction = if id == "ANONYMOUS" || id == "AUTOMATIC" { String::new() } else { id.to_owned() };
        } else if let Some((_, rest)) = line.strip_prefix('#').and_then(|line| line.split_once("\tGTID ")) {
            // MariaDB: `#... end_log_pos 500 CRC32 0x...   GTID 0-1-5 trans`.
            self.transaction = rest.split_whitespace().next().unwrap_or_default().to_owned();
        } else if let Some(rest) = line.strip_prefix("XA ") {
            let (verb, name) = rest.split_once(' ').unwrap_or((rest, ""));
            // MariaDB's tool ends the first of them in a remark.
            let name = name.split("/*").next().unwrap_or_default().trim_end_matches(" ONE PHASE").replace(' ', "");
            match verb {
                "START" => self.branch = Some(name),
                "COMMIT" => {
                    self.branch = None;
                    for (table, kind) in self.prepared.remove(&name).unwrap_or_default() {
                        self.add(&table, kind);
                    }
                }
                "ROLLBACK" => drop(self.prepared.remove(&name)),
                "PREPARE" => self.branch = None,
                _ => {}
            }
        } else if let Some(rest) = line.strip_prefix("use `") {
            self.database = rest.split('`').next().unwrap_or_default().to_owned();
        } else if line.len() > 9 && line.get(..9).is_some_and(|word| word.eq_ignore_ascii_case("truncate ")) {
            let table = line.rsplit(' ').next().unwrap_or_default().replace('`', "");
            let name = if table.contains('.') { table } else { format!("{}.{table}", self.database) };
            self.add(&name, 't');
        }
    }

    fn add(&mut self, table: &str, kind: char) {
        if let Some(branch) = &self.branch {
            return self.prepared.entry(branch.clone()).or_default().push((table.to_owned(), kind));
        }
        let Committed { tables, order } = &mut self.committed;
        if order.last() != Some(&self.transaction) {
            order.push(self.transaction.clone());
        }
        // Looked up without a copy of the name: there are millions of them.
        if !tables.contains_key(table) {
            tables.insert(table.to_owned(), Counts::new());
        }
        if let Some(counts) = tables.get_mut(table) {
            *counts.entry((self.transaction.clone(), kind)).or_default() += 1;
        }
    }
}
