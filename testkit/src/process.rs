//! Child processes that cannot outlive the test: each is asked of one thread that lives as long as the process and
//! gets SIGKILL from the kernel when that thread is gone. Also: which user servers run as, free ports.

use crate::wait;
use anyhow::{Context, Result, anyhow, bail};
use rustix::process::{Pid, Signal};
use std::net::TcpListener;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::Duration;

/// What the spawning thread is asked: start this, answer there.
type Order = (Command, SyncSender<std::io::Result<Child>>);

/// Starts `command` from the thread that lives until the process ends. The parent-death signal that [`guarded`] asks
/// for is bound to the starting thread, and a test's own thread ends with the test.
pub fn spawn(command: Command) -> Result<Child> {
    static SPAWNER: OnceLock<SyncSender<Order>> = OnceLock::new();
    let spawner = SPAWNER.get_or_init(|| {
        let (orders, inbox) = sync_channel::<Order>(16);
        std::thread::spawn(move || {
            for (mut command, answer) in inbox {
                // A caller that no longer listens has no use for the child; the kernel ends it with us.
                let _ = answer.send(command.spawn());
            }
        });
        orders
    });
    let name = command.get_program().to_string_lossy().into_owned();
    let (answer, inbox) = sync_channel(1);
    spawner.send((command, answer)).map_err(|_| anyhow!("the spawning thread is gone"))?;
    inbox.recv().context("the spawning thread is gone")?.with_context(|| format!("start {name}"))
}

/// A command that the kernel kills when this process ends, in a process group of its own: a Ctrl-C on the terminal is
/// for us to handle. Where `setpriv` is missing it is the bare command.
pub fn guarded(program: &Path) -> Command {
    let mut command = if setpriv_exists() {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--"]).arg(program);
        command
    } else {
        Command::new(program)
    };
    command.process_group(0);
    command
}

/// A JVM that lives for minutes, guarded: to compile code well, and to collect garbage beside it, takes such a one longer than it
/// saves.
pub(crate) fn java() -> Command {
    let mut command = guarded(Path::new("java"));
    command.args(["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]);
    command
}

/// As [`guarded`], as the user that servers run as: PostgreSQL refuses root.
pub fn guarded_as_server(program: &Path) -> Result<Command> {
    let Some(user) = server_user()? else { return Ok(guarded(program)) };
    let mut command = Command::new("setpriv");
    command
        .arg(format!("--reuid={}", user.uid))
        .arg(format!("--regid={}", user.gid))
        .args(["--clear-groups", "--pdeathsig", "KILL", "--"])
        .arg(program)
        .process_group(0);
    Ok(command)
}

/// An account that servers run as when we are root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerUser {
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

/// `None` when we are not root and servers run as ourselves; else `postgres`, or `nobody` where that is missing.
pub fn server_user() -> Result<Option<ServerUser>> {
    if !rustix::process::geteuid().is_root() {
        return Ok(None);
    }
    if !setpriv_exists() {
        bail!("PostgreSQL refuses to run as root: install `setpriv` (package util-linux), or run as another user");
    }
    let accounts = std::fs::read_to_string("/etc/passwd").context("read /etc/passwd")?;
    let find = |name: &str| {
        accounts.lines().map(|line| line.split(':').collect::<Vec<_>>()).find_map(|fields| match fields.as_slice() {
            [account, _, uid, gid, ..] if *account == name => {
                Some(ServerUser { uid: uid.parse().ok()?, gid: gid.parse().ok()? })
            }
            _ => None,
        })
    };
    find("postgres").or_else(|| find("nobody")).map(Some).context("neither `postgres` nor `nobody` is in /etc/passwd")
}

/// Whether the server user can reach a folder: every part of the path lets others pass.
pub fn server_can_reach(path: &Path) -> Result<bool> {
    if server_user()?.is_none() {
        return Ok(true);
    }
    let nearest = path.ancestors().find(|p| p.exists());
    for part in nearest.into_iter().flat_map(Path::ancestors) {
        if part.metadata().with_context(|| format!("look at {}", part.display()))?.mode() & 0o001 == 0 {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Gives a folder and what is in it to the server user.
pub fn give_to_server(path: &Path) -> Result<()> {
    if let Some(user) = server_user()? {
        output(Command::new("chown").arg("-R").arg(format!("{}:{}", user.uid, user.gid)).arg(path))?;
    }
    Ok(())
}

/// Runs to the end; an exit code other than 0 is an error that holds the last lines it wrote.
pub fn output(command: &mut Command) -> Result<Output> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("start {name}"))?;
    if !output.status.success() {
        let written = [output.stdout.as_slice(), output.stderr.as_slice()].concat();
        bail!("{name} ended with {}: {}", output.status, tail(&String::from_utf8_lossy(&written)));
    }
    Ok(output)
}

/// Whether a program is on the PATH.
pub fn exists(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

fn setpriv_exists() -> bool {
    static EXISTS: OnceLock<bool> = OnceLock::new();
    *EXISTS.get_or_init(|| exists("setpriv"))
}

/// Sends a signal; a process that is gone already is no error.
pub fn signal(child: &Child, signal: Signal) {
    if let Some(pid) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
        let _ = rustix::process::kill_process(pid, signal);
    }
}

/// Sends a signal to a process and all its descendants; gives their ids.
pub fn signal_tree(child: &Child, signal: Signal) -> Vec<u32> {
    let mut tree = vec![child.id()];
    let mut seen = 0;
    while let Some(parent) = tree.get(seen).copied() {
        seen += 1;
        let list = std::fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).unwrap_or_default();
        tree.extend(list.split_whitespace().filter_map(|pid| pid.parse::<u32>().ok()));
    }
    for pid in tree.iter().filter_map(|pid| i32::try_from(*pid).ok()).filter_map(Pid::from_raw) {
        let _ = rustix::process::kill_process(pid, signal);
    }
    tree
}

/// SIGKILL to a process and all its descendants, then waits until it is reaped. A server's workers would otherwise
/// go on for a moment after their parent.
pub fn kill_tree(child: &mut Child) -> Result<()> {
    let doomed = signal_tree(child, Signal::KILL);
    child.wait().context("wait for a killed process")?;
    // Its sockets and locks are free only when the last of them is gone; zombies are not ours to reap.
    wait::until("the killed processes to be gone", wait::PATIENCE, || {
        let alive = doomed.iter().any(|pid| {
            std::fs::read_to_string(format!("/proc/{pid}/stat"))
                .is_ok_and(|stat| stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z')))
        });
        Ok((!alive).then_some(()))
    })
}

/// Whether a process has a handler of its own for a signal (proc_pid_status(5), `SigCgt`).
pub(crate) fn catches(pid: u32, signal: Signal) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or_default();
    mask >> (signal.as_raw() - 1) & 1 == 1
}

/// Sends a signal and waits for the end; SIGKILL after `limit`.
pub fn end(child: &mut Child, first: Signal, limit: Duration) -> Result<ExitStatus> {
    signal(child, first);
    match wait::until("a process to end", limit, || Ok(child.try_wait()?)) {
        Ok(status) => Ok(status),
        Err(_) => {
            kill_tree(child)?;
            child.wait().context("wait for a process")
        }
    }
}

/// Ports below those that the system gives to the near end of a connection: one that it may give away at any time is no
/// place for a server to come.
const PORTS: std::ops::Range<u32> = 15_000..32_000;

/// A port nobody listens on now, another at each call. Another process may take it before the caller does, so callers
/// try again.
pub fn free_port() -> Result<u16> {
    static CALLS: AtomicU32 = AtomicU32::new(0);
    let count = PORTS.end - PORTS.start;
    // Processes that run side by side begin far from each other.
    let begin = std::process::id().wrapping_mul(7_919);
    let ports = (0..count).map(|_| PORTS.start + begin.wrapping_add(CALLS.fetch_add(1, Ordering::Relaxed)) % count);
    let mut free = ports.filter_map(|port| u16::try_from(port).ok());
    free.find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()).context("find a free port")
}

/// The last lines of a text, for error messages.
pub fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().rev().take(15).collect();
    lines.into_iter().rev().collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_killed_tree_is_gone() {
        let mut command = guarded(Path::new("sh"));
        command.args(["-c", "sleep 1000 & sleep 1000 & wait"]);
        let mut child = spawn(command).unwrap();
        let children = format!("/proc/{0}/task/{0}/children", child.id());
        let workers = wait::until("two children", wait::PATIENCE, || {
            let list = std::fs::read_to_string(&children)?;
            Ok((list.split_whitespace().count() == 2).then_some(list))
        })
        .unwrap();
        kill_tree(&mut child).unwrap();
        for pid in workers.split_whitespace() {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            assert!(stat.is_empty() || stat.contains(") Z"), "{stat}");
        }
    }

    #[test]
    fn a_failed_command_shows_what_it_wrote() {
        let error = output(Command::new("sh").args(["-c", "echo lost; exit 3"])).unwrap_err().to_string();
        assert!(error.contains("lost") && error.contains('3'), "{error}");
    }
}
