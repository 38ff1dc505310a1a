//! One node as a process: its folder with settings, data and log, formatted, started and ended. Knows neither which
//! listeners it has nor how many nodes there are.

use super::ready::Ready;
use crate::folder::RunFolder;
use crate::process;
use crate::server::Server;
use anyhow::{Context, Result};
use rustix::process::Signal;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

const START_LIMIT: Duration = Duration::from_secs(90);
const STOP_LIMIT: Duration = Duration::from_secs(20);

/// A setting of `server.properties`.
pub(super) type Setting = (String, String);

/// What every node has: it answers soon, restarts soon after a kill (its session must time out first) and stays small.
const FIXED: [(&str, &str); 13] = [
    ("process.roles", "broker,controller"),
    ("controller.listener.names", "CONTROLLER"),
    ("listener.security.protocol.map", "PLAINTEXT:PLAINTEXT,PROXIED:PLAINTEXT,CONTROLLER:PLAINTEXT,SASL_SSL:SASL_SSL"),
    ("offsets.topic.num.partitions", "5"),
    ("transaction.state.log.num.partitions", "5"),
    ("group.initial.rebalance.delay.ms", "0"),
    ("log.cleaner.dedupe.buffer.size", "8388608"),
    ("controlled.shutdown.enable", "false"),
    ("broker.heartbeat.interval.ms", "200"),
    ("broker.session.timeout.ms", "1000"),
    ("num.network.threads", "2"),
    ("num.io.threads", "4"),
    ("num.recovery.threads.per.data.dir", "1"),
];

/// A node that runs, or ran, or will run.
#[derive(Debug)]
pub(super) struct Node {
    // Dropped in this order: the process before its folder.
    server: Server,
    ready: Ready,
    folder: RunFolder,
}

impl Node {
    /// Neither configured nor formatted yet.
    pub(super) fn new(ready: &Ready) -> Result<Node> {
        Ok(Node { server: Server::new("Kafka"), ready: ready.clone(), folder: RunFolder::new("kafka")? })
    }

    /// Where its files lie.
    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Where its data lie; there is no such folder before it is formatted.
    pub(super) fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// The node's log.
    pub(super) fn log_path(&self) -> PathBuf {
        self.folder.path().join("kafka.log")
    }

    /// Writes its settings, of which later ones win over earlier ones and all over ours.
    pub(super) fn configure(&self, settings: &[Setting]) -> Result<()> {
        let data = ("log.dirs".to_owned(), self.data().display().to_string());
        let fixed = FIXED.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        let all = std::iter::once(data).chain(fixed).chain(settings.iter().cloned());
        let text: String = all.map(|(key, value)| format!("{key}={value}\n")).collect();
        std::fs::write(self.settings_path(), text).context("write server.properties")?;
        let log = format!(
            "Configuration:\n  status: warn\n  Appenders:\n    File:\n      name: F\n      fileName: {}\n      \
             PatternLayout: {{pattern: '%d %p %c %m%n'}}\n  Loggers:\n    Root:\n      level: info\n      AppenderRef: {{ref: F}}\n",
            self.log_path().display()
        );
        std::fs::write(self.log_settings_path(), log).context("write the log's settings")
    }

    /// Makes its data folder, which it has none of yet; with the user of [`super::USER`] or without.
    pub(super) fn format(&self, id: i32, has_user: bool) -> Result<()> {
        self.ready.format(&self.data(), id, has_user)
    }

    /// Runs Kafka's tool for storage on its settings.
    pub(super) fn tool(&self, arguments: &[&str], more: &[String]) -> Result<()> {
        let mut tool = Command::new("java");
        tool.args(["-Xmx128m", "-cp"]).arg(self.class_path()).arg("kafka.tools.StorageTool").args(arguments).args(more);
        tool.arg("-c").arg(self.settings_path()).current_dir(self.folder.path());
        process::output(&mut tool).map(drop)
    }

    /// Starts it with so many MiB of heap and waits until it `answers`.
    pub(super) fn launch(&mut self, heap: u32, answers: impl FnMut() -> bool) -> Result<()> {
        let classes = format!("-XX:SharedArchiveFile={}", self.ready.classes().display());
        self.launch_with(&classes, heap, answers)
    }

    /// The same; once it is stopped the classes that it has loaded are kept for others.
    pub(super) fn launch_first(&mut self, heap: u32, answers: impl FnMut() -> bool) -> Result<()> {
        let classes = format!("-XX:ArchiveClassesAtExit={}", self.ready.classes().display());
        self.launch_with(&classes, heap, answers)
    }

    fn launch_with(&mut self, classes: &str, heap: u32, answers: impl FnMut() -> bool) -> Result<()> {
        let console = std::fs::File::create(self.folder.path().join("console.log")).context("open a log")?;
        let mut command = process::java();
        command.arg("-Xms256m").arg(format!("-Xmx{heap}m")).arg(classes);
        command.arg(format!("-Dlog4j2.configurationFile={}", self.log_settings_path().display()));
        command.arg("-cp").arg(self.class_path()).arg("kafka.Kafka").arg(self.settings_path());
        command.current_dir(self.folder.path()).stdin(Stdio::null()).stdout(console.try_clone()?).stderr(console);
        let log = self.log_path();
        self.server.launch(command, START_LIMIT, &log, answers)
    }

    /// Sends a signal to it and all its workers.
    pub(super) fn signal(&self, signal: Signal) {
        self.server.signal(signal);
    }

    /// SIGKILL.
    pub(super) fn kill(&mut self) -> Result<()> {
        self.server.kill()
    }

    /// An orderly stop.
    pub(super) fn stop(&mut self) -> Result<()> {
        self.server.stop(Signal::TERM, STOP_LIMIT)
    }

    fn settings_path(&self) -> PathBuf {
        self.folder.path().join("server.properties")
    }

    fn log_settings_path(&self) -> PathBuf {
        self.folder.path().join("log4j2.yaml")
    }

    fn class_path(&self) -> String {
        format!("{}/*", self.ready.jars.display())
    }
}
