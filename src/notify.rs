//! Tells systemd how the daemon stands: ready, still trying, alive, stopping. Without systemd nothing is
//! sent.

use crate::status::{Board, State};
use sd_notify::NotifyState;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// A task that has not gone round its loop for so many periods of the watchdog does not count as alive: a commit may
/// take longer than one.
const STUCK_PERIODS: u32 = 2;
/// The same for when there is no watchdog.
const STUCK_AFTER: Duration = Duration::from_secs(120);
/// Time by which a start that is still under way is extended, in microseconds.
const EXTENSION_MICROS: u32 = 15_000_000;

/// Where systemd listens. Sending never waits: when the manager does not read, its queue is full after a few notices,
/// and a write that waits would hold up the runtime, and with it everything.
struct Manager {
    socket: UnixDatagram,
    address: SocketAddr,
}

impl Manager {
    /// `None` without systemd.
    fn from_environment() -> Option<Manager> {
        let place = std::env::var_os("NOTIFY_SOCKET").filter(|place| !place.is_empty())?;
        let open = || -> io::Result<Manager> {
            let address = match place.as_bytes().strip_prefix(b"@") {
                Some(name) => SocketAddr::from_abstract_name(name)?,
                None => SocketAddr::from_pathname(&place)?,
            };
            let socket = UnixDatagram::unbound()?;
            socket.set_nonblocking(true)?;
            Ok(Manager { socket, address })
        };
        open().inspect_err(|error| tracing::warn!(code = "notify_socket", "systemd cannot be told: {error}")).ok()
    }
}

/// Whether the notice needs no second try.
fn send(manager: Option<&Manager>, state: &NotifyState<'_>) -> bool {
    let Some(Manager { socket, address }) = manager else { return true };
    let sent = socket.send_to_addr(state.to_string().as_bytes(), address);
    sent.inspect_err(|error| tracing::debug!("systemd was not told: {error}")).is_ok()
}

/// Keeps systemd informed until the daemon stops. `READY=1` follows when every source streams, snapshots or
/// waits for a person; `WATCHDOG=1` only while every task moves (SK-69). A start that is stuck gets no more time.
pub(crate) async fn keep_informed(board: Board, stop: CancellationToken) {
    let manager = Manager::from_environment();
    let tell = |state: &NotifyState<'_>| send(manager.as_ref(), state);
    let watchdog = sd_notify::watchdog_enabled();
    let stuck_after = watchdog.map_or(STUCK_AFTER, |period| period * STUCK_PERIODS);
    let interval = watchdog.map_or(Duration::from_secs(1), |period| (period / 3).min(Duration::from_secs(1)));
    let mut tick = tokio::time::interval(interval.max(Duration::from_millis(50)));
    let mut ready = false;
    let mut known_stuck = Vec::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            _ = tick.tick() => {}
        }
        let document = board.document();
        let stuck: Vec<String> = board
            .sources()
            .flat_map(|(name, source)| source.stuck(stuck_after).into_iter().map(move |task| format!("{name}: {task}")))
            .collect();
        let settled = document.sources.values().all(|source| source.runs() || source.state == State::Halted);
        if settled && !ready {
            ready = tell(&NotifyState::Ready);
        } else if !ready && stuck.is_empty() {
            tell(&NotifyState::ExtendTimeoutUsec(EXTENSION_MICROS));
        }
        let words = document
            .sources
            .iter()
            .map(|(name, source)| format!("{name} {}", source.state.word()))
            .collect::<Vec<_>>()
            .join(", ");
        tell(&NotifyState::Status(&words));
        if stuck.is_empty() {
            tell(&NotifyState::Watchdog);
        } else if stuck != known_stuck {
            tracing::error!(
                tasks = stuck.join(", "),
                code = "task_stuck",
                "tasks have not moved for {:.0} s",
                stuck_after.as_secs_f64()
            );
        }
        known_stuck = stuck;
    }
    tell(&NotifyState::Stopping);
}
