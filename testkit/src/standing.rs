//! Programs that answer lines for as long as lines come: what takes long to start serves all tests of a process, one question
//! at a time. Knows nothing of what is asked.

use crate::folder::RunFolder;
use crate::process;
use anyhow::{Context, Result, anyhow, bail};
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Mutex, PoisonError};

/// The command of a program, given a folder for files that it reads before its first answer.
type Start = fn(&Path) -> Result<Command>;

/// A program that is started for its first question, and again for the first after its end.
pub(crate) struct Standing {
    name: &'static str,
    start: Start,
    running: Mutex<Option<Running>>,
}

struct Running {
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
    /// What it writes beside answers; a file without a name.
    log: File,
    /// What it is started with; goes with the first answer, since nothing is dropped at the end of a process of tests.
    folder: Option<RunFolder>,
}

impl Standing {
    /// Not started yet.
    pub(crate) const fn new(name: &'static str, start: Start) -> Standing {
        Standing { name, start, running: Mutex::new(None) }
    }

    /// Asks one line; the lines of the answer, without the one that ends it: `done`, or `failed TEXT`, which is the error.
    pub(crate) fn ask(&self, line: &str) -> Result<Vec<String>> {
        let mut place = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let mut running = match place.take() {
            Some(running) => running,
            None => Running::start(self.start).with_context(|| format!("start {}", self.name))?,
        };
        let answer = running.ask(line);
        let answer = answer.map_err(|error| error.context(running.said()).context(format!("ask {}", self.name)))?;
        running.folder = None;
        // Only one that has answered to the end can be asked again.
        *place = Some(running);
        answer.map_err(|error| anyhow!("{}: {error}", self.name))
    }
}

impl Running {
    fn start(start: Start) -> Result<Running> {
        let folder = RunFolder::new("standing")?;
        let log = tempfile::tempfile().context("make a log")?;
        let mut command = start(folder.path())?;
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log.try_clone().context("share a log")?);
        let mut child = process::spawn(command)?;
        let to = child.stdin.take().context("its standard input")?;
        let from = BufReader::new(child.stdout.take().context("its standard output")?);
        Ok(Running { child, to, from, log, folder: Some(folder) })
    }

    /// What it answered, or what it said of its failure; an error when it says no more.
    fn ask(&mut self, line: &str) -> Result<Result<Vec<String>, String>> {
        writeln!(self.to, "{line}").and_then(|()| self.to.flush()).context("write a line")?;
        let mut answer = Vec::new();
        loop {
            let mut line = String::new();
            if self.from.read_line(&mut line).context("read an answer")? == 0 {
                bail!("it has ended");
            }
            let line = line.trim_end_matches('\n');
            match line.strip_prefix("failed ") {
                Some(error) => return Ok(Err(error.to_owned())),
                None if line == "done" => return Ok(Ok(answer)),
                None => answer.push(line.to_owned()),
            }
        }
    }

    /// The end of what it wrote beside answers.
    fn said(&mut self) -> String {
        let mut text = Vec::new();
        let read = self.log.rewind().and_then(|()| self.log.read_to_end(&mut text));
        read.map_or_else(|error| error.to_string(), |_| process::tail(&String::from_utf8_lossy(&text)))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Err(error) = process::kill_tree(&mut self.child) {
            eprintln!("a standing program: {error:#}");
        }
    }
}

/// The command of a Java program that `java` compiles and runs; nothing else is needed of a tool for building.
pub(crate) fn java(folder: &Path, source: &str, class_path: &str, flags: &[&str]) -> Result<Command> {
    let program = folder.join("Program.java");
    std::fs::write(&program, source).context("write a program")?;
    let mut command = process::java();
    command.args(flags).args(["-cp", class_path]).arg(&program);
    Ok(command)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A line is answered by itself; `no` is a failure, `end` an end.
    fn echo(_: &Path) -> Result<Command> {
        let mut command = process::guarded(Path::new("sh"));
        let script = "while read -r line; do case $line in no) echo failed so;; end) echo why >&2; exit;; *) echo $line $$; echo done;; esac; done";
        command.args(["-c", script]);
        Ok(command)
    }

    #[test]
    fn it_stands_until_it_ends_and_is_started_anew() {
        let program = Standing::new("echo", echo);
        let first = program.ask("a").unwrap();
        assert!(program.running.lock().unwrap().as_ref().unwrap().folder.is_none());
        assert_eq!(program.ask("no").unwrap_err().to_string(), "echo: so");
        assert_eq!(program.ask("a").unwrap(), first);
        let error = format!("{:#}", program.ask("end").unwrap_err());
        assert!(error.contains("ask echo: why") && error.contains("it has ended"), "{error}");
        let anew = program.ask("a").unwrap();
        assert!(anew.len() == 1 && anew != first, "{first:?} {anew:?}");
    }
}
