//! What systemd is told: READY=1 when the work has begun and not before, WATCHDOG=1 only while every task moves,
//! STOPPING=1 at the end. SK-69.

use crate::rig::{Rig, Sinks};
use anyhow::{Context, Result, ensure};
use std::fs::File;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tidewire_testkit::readers::Reader;
use tidewire_testkit::workload::{TABLES, Workload};
use tidewire_testkit::{Daemon, process, wait};

/// Period of the watchdog; a task counts as stuck after two of them.
const PERIOD: Duration = Duration::from_secs(2);

/// The socket that systemd would listen on.
struct Notices {
    socket: UnixDatagram,
    _folder: TempDir,
}

impl Notices {
    /// A socket that the daemon is told of from its next start on.
    fn of(daemon: &mut Daemon) -> Result<Notices> {
        let folder = tempfile::tempdir().context("make a folder for the socket")?;
        let path = folder.path().join("notify");
        let socket = UnixDatagram::bind(&path).context("listen for notices")?;
        socket.set_read_timeout(Some(Duration::from_millis(100)))?;
        daemon.set_env("NOTIFY_SOCKET", path.to_str().context("a path in UTF-8")?);
        daemon.set_env("WATCHDOG_USEC", &PERIOD.as_micros().to_string());
        Ok(Notices { socket, _folder: folder })
    }

    /// The next notice; `None` when none comes for a moment.
    fn next(&self) -> Result<Option<String>> {
        let mut buffer = [0; 4096];
        match self.socket.recv(&mut buffer) {
            Ok(count) => Ok(Some(String::from_utf8_lossy(&buffer[..count]).trim().to_owned())),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error).context("read a notice"),
        }
    }

    /// Waits for a notice; hands out those before it.
    fn wait_for(&self, notice: &str) -> Result<Vec<String>> {
        let mut before = Vec::new();
        wait::until(notice, wait::PATIENCE, || {
            while let Some(next) = self.next()? {
                if next == notice {
                    return Ok(Some(()));
                }
                before.push(next);
            }
            Ok(None)
        })?;
        Ok(before)
    }

    /// Waits until the watchdog has not been fed for a whole period.
    fn wait_for_hunger(&self) -> Result<()> {
        let mut fed = Instant::now();
        wait::until("the watchdog to be left hungry", wait::PATIENCE, || {
            while let Some(next) = self.next()? {
                if next == "WATCHDOG=1" {
                    fed = Instant::now();
                }
            }
            Ok((fed.elapsed() > PERIOD).then_some(()))
        })
    }
}

#[test]
fn systemd_hears_when_it_is_ready_and_when_it_stops() -> Result<()> {
    let mut rig = Rig::new(Sinks::Lake)?;
    let notices = Notices::of(&mut rig.daemon)?;
    rig.daemon.allow_log("source retried");
    rig.postgres.stop()?;
    rig.daemon.run()?;
    let before = notices.wait_for("STATUS=shop retrying")?;
    ensure!(before.iter().any(|notice| notice.starts_with("EXTEND_TIMEOUT_USEC=")), "a start may last: {before:?}");
    ensure!(!before.contains(&"READY=1".to_owned()), "not ready without its server: {before:?}");
    rig.postgres.restart()?;
    notices.wait_for("READY=1")?;
    let state = rig.daemon.status()?["sources"]["shop"]["state"].clone();
    ensure!(state == "snapshot" || state == "streaming", "ready means at work, not {state}");
    for _ in 0..3 {
        let before = notices.wait_for("WATCHDOG=1")?;
        ensure!(!before.iter().any(|notice| notice == "READY=1" || notice.starts_with("EXTEND")), "once: {before:?}");
    }
    ensure!(rig.daemon.terminate()? == 0);
    notices.wait_for("STOPPING=1")?;
    ensure!(notices.next()?.is_none(), "the last word");
    Ok(())
}

/// A file on storage that hangs, as a network file system does.
struct Hung(PathBuf);

impl Hung {
    /// Whoever opens the file waits.
    fn hang(file: PathBuf) -> Result<Hung> {
        if file.exists() {
            std::fs::remove_file(&file).context("remove the file")?;
        }
        process::output(Command::new("mkfifo").arg(&file))?;
        Ok(Hung(file))
    }

    /// Who waits reads an empty file; who comes later finds none.
    fn release(self) -> Result<()> {
        let aside = self.0.with_extension("aside");
        std::fs::rename(&self.0, &aside).context("move the file")?;
        File::options().write(true).open(&aside).context("open the file for writing")?;
        std::fs::remove_file(&aside).context("remove the file")
    }
}

#[test]
fn a_stuck_task_leaves_the_watchdog_hungry() -> Result<()> {
    let mut rig = Rig::new(Sinks::Lake)?;
    let url = rig.postgres.url("postgres");
    Workload { transactions: 20, seed: 91, ..Workload::default() }.run(&url)?;
    rig.daemon.run()?;
    rig.catch_up()?;
    ensure!(rig.daemon.terminate()? == 0);
    let hung = Hung::hang(rig.table(TABLES[0]).join("_delta_log/_last_checkpoint"))?;
    let notices = Notices::of(&mut rig.daemon)?;
    rig.daemon.allow_log("task_stuck");
    rig.daemon.run()?;
    notices.wait_for("READY=1")?;
    notices.wait_for("WATCHDOG=1")?;
    Workload { transactions: 20, seed: 92, ..Workload::default() }.run(&url)?;
    notices.wait_for_hunger()?;
    let log = rig.daemon.log()?;
    ensure!(log.matches("task_stuck").count() == 1, "said once, not at every round: {log}");
    hung.release()?;
    notices.wait_for("WATCHDOG=1")?;
    // From here on nobody reads notices: what systemd does not take must not hold up the work, nor the stop.
    rig.catch_up()?;
    rig.check_lake(&[Reader::Deltalake])?;
    ensure!(rig.daemon.terminate()? == 0);
    Ok(())
}
