//! One server as a child process: started until it answers, stopped, killed, started again. What its command line is
//! and what an answer is, each server says itself.

use crate::{process, wait};
use anyhow::{Result, bail};
use rustix::process::Signal;
use std::path::Path;
use std::process::{Child, Command};
use std::time::Duration;

/// A server that runs, or ran, or will run. It goes with SIGKILL when this is dropped.
#[derive(Debug)]
pub(crate) struct Server {
    name: &'static str,
    child: Option<Child>,
}

impl Server {
    /// Not started yet.
    pub(crate) fn new(name: &'static str) -> Server {
        Server { name, child: None }
    }

    /// Starts it and waits until it `answers`. One that ends before, or takes longer than `limit`, is an error that
    /// holds the end of its log.
    pub(crate) fn launch(
        &mut self,
        command: Command,
        limit: Duration,
        log: &Path,
        mut answers: impl FnMut() -> bool,
    ) -> Result<()> {
        let name = self.name;
        let mut child = process::spawn(command)?;
        let log = || process::tail(&std::fs::read_to_string(log).unwrap_or_default());
        let ready = wait::until(&format!("{name} to answer"), limit, || {
            if let Some(status) = child.try_wait()? {
                bail!("{name} ended with {status}: {}", log());
            }
            Ok(answers().then_some(()))
        });
        if let Err(error) = ready {
            process::kill_tree(&mut child)?;
            return Err(error.context(log()));
        }
        self.child = Some(child);
        Ok(())
    }

    /// SIGKILL to it and all its workers, as a power cut would.
    pub(crate) fn kill(&mut self) -> Result<()> {
        self.child.take().map_or(Ok(()), |mut child| process::kill_tree(&mut child))
    }

    /// Sends a signal to it and all its workers, such as SIGSTOP and SIGCONT.
    pub(crate) fn signal(&self, signal: Signal) {
        if let Some(child) = &self.child {
            process::signal_tree(child, signal);
        }
    }

    /// An orderly stop by this signal; SIGKILL after `limit`.
    pub(crate) fn stop(&mut self, signal: Signal, limit: Duration) -> Result<()> {
        let Some(mut child) = self.child.take() else { return Ok(()) };
        process::end(&mut child, signal, limit).map(drop)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Err(error) = self.kill() {
            eprintln!("{}: {error:#}", self.name);
        }
    }
}
