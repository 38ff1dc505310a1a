//! The real daemon, run from outside: a configuration file in a folder of its own, `tidewire run` as a child process,
//! its status page, its log. A WARN or ERROR line that the test did not allow fails the test.

use crate::folder::RunFolder;
use crate::{http, process, wait};
use anyhow::{Context, Result, bail, ensure};
use rustix::process::Signal;
use serde_json::Value;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

/// How long an orderly stop may take: the daemon's own `shutdown_timeout` and a little more.
const STOP_LIMIT: Duration = Duration::from_secs(30);
/// Names the place where the daemon aborts itself, and after how many passes: `name` or `name:n`.
const FAILPOINT: &str = "TIDEWIRE_FAILPOINT";

/// A daemon that runs, or ran, or will run.
#[derive(Debug)]
pub struct Daemon {
    binary: PathBuf,
    port: u16,
    child: Option<Child>,
    environment: Vec<(String, String)>,
    allowed: Vec<String>,
    patience: Duration,
    folder: RunFolder,
}

impl Daemon {
    /// Prepares one, not yet started. `binary` is the path of `tidewire` (`env!("CARGO_BIN_EXE_tidewire")` in an
    /// integration test). `config` is TOML; `state_dir` and `[admin]` are filled in where it does not set them.
    pub fn new(binary: impl AsRef<Path>, config: &str) -> Result<Daemon> {
        let daemon = Daemon {
            binary: binary.as_ref().to_path_buf(),
            port: process::free_port()?,
            child: None,
            environment: Vec::new(),
            allowed: Vec::new(),
            patience: wait::PATIENCE,
            folder: RunFolder::new("daemon")?,
        };
        daemon.write_config(config)?;
        Ok(daemon)
    }

    /// Prepares one and starts it. It need not be ready yet: wait for what the test needs.
    pub fn start(binary: impl AsRef<Path>, config: &str) -> Result<Daemon> {
        let mut daemon = Daemon::new(binary, config)?;
        daemon.run()?;
        Ok(daemon)
    }

    /// Writes another configuration, for the next start or a reload.
    pub fn write_config(&self, config: &str) -> Result<()> {
        let has = |start: &str| config.lines().any(|line| line.trim_start().starts_with(start));
        let mut text = String::new();
        if !has("state_dir") {
            text.push_str(&format!("state_dir = '{}'\n", self.state_folder().display()));
        }
        text.push_str(config);
        if !has("[admin]") {
            text.push_str(&format!("\n[admin]\nlisten = \"127.0.0.1:{}\"\n", self.port));
        }
        std::fs::write(self.config_path(), text).context("write the configuration")
    }

    /// Starts `tidewire run`, again after an end. The state folder and the log go on.
    pub fn run(&mut self) -> Result<()> {
        self.run_with(&[])
    }

    /// The same with more of a command line.
    pub fn run_with(&mut self, arguments: &[&str]) -> Result<()> {
        if self.child.is_some() {
            bail!("the daemon runs already");
        }
        let log = File::options().create(true).append(true).open(self.log_path()).context("open the daemon's log")?;
        let mut command = process::guarded(&self.binary);
        command.arg("run").arg("--config").arg(self.config_path()).args(["--log-format", "json"]).args(arguments);
        command.envs(self.environment.iter().map(|(key, value)| (key, value)));
        command.current_dir(self.folder.path()).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        self.child = Some(process::spawn(command)?);
        Ok(())
    }

    /// Sets a variable of the daemon's environment from the next start on.
    pub fn set_env(&mut self, key: &str, value: &str) {
        self.environment.retain(|(k, _)| k != key);
        self.environment.push((key.to_owned(), value.to_owned()));
    }

    /// Arms a failpoint from the next start on (`name`, or `name:n` for the n-th pass, at which the daemon ends;
    /// `name:n:error` for a step that fails there); `None` disarms.
    pub fn set_failpoint(&mut self, name: Option<&str>) {
        self.environment.retain(|(key, _)| key != FAILPOINT);
        if let Some(name) = name {
            self.environment.push((FAILPOINT.to_owned(), name.to_owned()));
        }
    }

    /// Lets log lines of WARN and ERROR pass that contain this text, such as an error's code.
    pub fn allow_log(&mut self, text: &str) {
        self.allowed.push(text.to_owned());
    }

    /// How long [`Daemon::wait_for`] waits; 60 s unless set.
    pub fn set_patience(&mut self, patience: Duration) {
        self.patience = patience;
    }

    /// Runs another command of the daemon on the same configuration, to its end.
    pub fn command(&self, arguments: &[&str]) -> Result<Output> {
        let mut command = process::guarded(&self.binary);
        command.args(arguments).arg("--config").arg(self.config_path()).current_dir(self.folder.path());
        command.envs(self.environment.iter().filter(|(key, _)| key != FAILPOINT).map(|(key, value)| (key, value)));
        command.stdin(Stdio::null()).output().with_context(|| format!("run {}", self.binary.display()))
    }

    /// `tidewire check`.
    pub fn check(&self) -> Result<Output> {
        self.command(&["check"])
    }

    /// The body of a page of the admin server.
    pub fn get(&self, path: &str) -> Result<String> {
        let response = http::get(self.port, path)?;
        if response.status != 200 {
            bail!("{path} answered {}: {}", response.status, response.body);
        }
        Ok(response.body)
    }

    /// The HTTP status code of a page, such as `/readyz`.
    pub fn status_code(&self, path: &str) -> Result<u16> {
        Ok(http::get(self.port, path)?.status)
    }

    /// `/status.json`.
    pub fn status(&self) -> Result<Value> {
        serde_json::from_str(&self.get("/status.json")?).context("read /status.json")
    }

    /// `/metrics`.
    pub fn metrics(&self) -> Result<String> {
        self.get("/metrics")
    }

    /// The value of one metric: the first sample whose line starts with `name` and holds all of `labels` (such as
    /// `source="shop"`).
    pub fn metric(&self, name: &str, labels: &[&str]) -> Result<Option<f64>> {
        let text = self.metrics()?;
        let mut samples = text.lines().filter(|line| {
            let rest = line.strip_prefix(name);
            rest.is_some_and(|r| r.starts_with(['{', ' '])) && labels.iter().all(|label| line.contains(label))
        });
        samples
            .next()
            .map(|line| line.rsplit(' ').next().unwrap_or_default().parse().context("read a metric"))
            .transpose()
    }

    /// Asks for the status until it satisfies `done`; it fails at once when the daemon has ended, and after the
    /// patience with the last status.
    pub fn wait_for(&mut self, what: &str, mut done: impl FnMut(&Value) -> bool) -> Result<Value> {
        let mut last = None;
        let patience = self.patience;
        let result = wait::until(what, patience, || {
            if let Some(status) = self.ended()? {
                bail!("the daemon ended with {status} before {what}: {}", process::tail(&self.log()?));
            }
            let Ok(status) = self.status() else { return Ok(None) };
            let found = done(&status).then(|| status.clone());
            last = Some(status);
            Ok(found)
        });
        result.with_context(|| match &last {
            Some(status) => format!("last status: {status}"),
            None => "the status page never answered".to_owned(),
        })
    }

    /// As `wait_for`, but the patience ends only when no sink has moved for so long; and in any case after `longest`.
    pub fn wait_while_moving(
        &mut self,
        what: &str,
        longest: Duration,
        mut done: impl FnMut(&Value) -> bool,
    ) -> Result<Value> {
        let begin = Instant::now();
        let mut last = Vec::new();
        loop {
            let mut is_done = false;
            let status = self.wait_for(what, |status| {
                is_done = done(status);
                let before = std::mem::replace(&mut last, places(status));
                is_done || last != before
            })?;
            if is_done {
                return Ok(status);
            }
            ensure!(begin.elapsed() < longest, "waited {} s in vain for {what}: {status}", longest.as_secs());
        }
    }

    fn ended(&mut self) -> Result<Option<ExitStatus>> {
        match &mut self.child {
            Some(child) => Ok(child.try_wait()?),
            None => bail!("the daemon was not started"),
        }
    }

    /// Whether it has ended by itself.
    pub fn has_ended(&mut self) -> Result<bool> {
        Ok(self.ended()?.is_some())
    }

    /// Waits until it ends by itself, as at a failpoint.
    pub fn wait_exit(&mut self) -> Result<ExitStatus> {
        let patience = self.patience;
        let ended = wait::until("the daemon to end", patience, || self.ended());
        let status =
            ended.with_context(|| format!("its log ends so: {}", process::tail(&self.log().unwrap_or_default())))?;
        self.child = None;
        Ok(status)
    }

    /// SIGKILL.
    pub fn kill9(&mut self) -> Result<()> {
        self.child.take().map_or(Ok(()), |mut child| process::kill_tree(&mut child))
    }

    /// SIGTERM, then waits; the exit code. One that ends by a signal, or not in time, is an error. A daemon that has only just been
    /// started is asked once it listens to signals: before, any process ends by them.
    pub fn terminate(&mut self) -> Result<i32> {
        let patience = self.patience;
        let Some(child) = &mut self.child else { bail!("the daemon does not run") };
        wait::until("the daemon to listen to signals", patience, || {
            Ok((process::catches(child.id(), Signal::TERM) || child.try_wait()?.is_some()).then_some(()))
        })?;
        let status = process::end(child, Signal::TERM, STOP_LIMIT)?;
        self.child = None;
        status.code().with_context(|| format!("the daemon did not stop in order: {status}"))
    }

    /// Sends another signal, such as SIGSTOP, SIGCONT or SIGHUP.
    pub fn signal(&self, signal: Signal) {
        if let Some(child) = &self.child {
            process::signal(child, signal);
        }
    }

    /// The process id while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Port of the admin server on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The folder with configuration, state and log; a place for tables too. It goes when this is dropped.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The state directory.
    pub fn state_folder(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    /// The configuration file.
    pub fn config_path(&self) -> PathBuf {
        self.folder.path().join("tidewire.toml")
    }

    /// The log of all runs.
    pub fn log_path(&self) -> PathBuf {
        self.folder.path().join("daemon.log")
    }

    /// Keeps the folder for a person to look at.
    pub fn keep(&mut self) {
        self.folder.keep();
    }

    /// The text of the log so far.
    pub fn log(&self) -> Result<String> {
        match std::fs::read(self.log_path()) {
            Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(String::new()),
            Err(error) => Err(error).context("read the daemon's log"),
        }
    }

    /// Lines of WARN and ERROR that nobody allowed, and lines that are no log lines at all, such as a panic.
    pub fn unexpected(&self) -> Result<Vec<String>> {
        Ok(odd_lines(&self.log()?, &self.allowed))
    }
}

/// Lines of a log that are warnings, errors or none of the daemon's own, and hold none of the allowed texts. An indented one
/// after a line that was allowed goes on with it, as a remedy does.
fn odd_lines(log: &str, allowed: &[String]) -> Vec<String> {
    let is_quiet = |line: &str| {
        let level = serde_json::from_str::<Value>(line).ok().and_then(|v| Some(v.get("level")?.as_str()?.to_owned()));
        level.is_some_and(|l| !matches!(l.to_ascii_uppercase().as_str(), "WARN" | "ERROR"))
    };
    let (mut odd, mut follows_allowed) = (Vec::new(), false);
    for line in log.lines().filter(|line| !line.trim().is_empty()) {
        if follows_allowed && line.starts_with(' ') {
            continue;
        }
        let is_allowed = allowed.iter().any(|text| line.contains(text.as_str()));
        follows_allowed = is_allowed;
        if !is_allowed && !is_quiet(line) {
            odd.push(line.to_owned());
        }
    }
    odd
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if let Err(error) = self.kill9() {
            eprintln!("daemon: {error:#}");
        }
        if std::thread::panicking() {
            eprintln!("the daemon's log ends with:\n{}", process::tail(&self.log().unwrap_or_default()));
            return;
        }
        let unexpected = self.unexpected().unwrap_or_default();
        if !unexpected.is_empty() {
            self.folder.keep();
        }
        assert!(unexpected.is_empty(), "the daemon's log holds lines nobody expected:\n{}", unexpected.join("\n"));
    }
}

/// What every sink of every source has committed, and where it is.
fn places(status: &Value) -> Vec<(Value, Value)> {
    let sources = status["sources"].as_object().into_iter().flat_map(|sources| sources.values());
    let sinks = sources.filter_map(|source| source["sinks"].as_object()).flat_map(|sinks| sinks.values());
    sinks.map(|sink| (sink["changes_committed"].clone(), sink["position"].clone())).collect()
}

#[cfg(test)]
mod tests;
