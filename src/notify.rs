//! Tells systemd how the daemon stands: ready, still trying, alive, stopping. Without systemd nothing is
//! sent.

use crate::status::{Board, State};
use sd_notify::NotifyState;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// A task that has not gone round its loop for this long does not count as alive. A commit may take long;
/// systemd is told so only while there is hope.
const STUCK_AFTER: Duration = Duration::from_secs(120);
/// Time by which a start that is still under way is extended, in microseconds.
const EXTENSION_MICROS: u32 = 15_000_000;

fn send(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!("systemd was not told: {error}");
    }
}

/// Keeps systemd informed until the daemon stops. `READY=1` follows when every source streams, snapshots or
/// waits for a person; `WATCHDOG=1` only while every task moves (SK-69).
pub(crate) async fn keep_informed(board: Board, stop: CancellationToken) {
    let mut ready = false;
    let interval =
        sd_notify::watchdog_enabled().map_or(Duration::from_secs(1), |period| (period / 3).min(Duration::from_secs(1)));
    let mut tick = tokio::time::interval(interval.max(Duration::from_millis(50)));
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            _ = tick.tick() => {}
        }
        let document = board.document();
        let settled =
            document.sources.values().all(|s| matches!(s.state, State::Snapshot | State::Streaming | State::Halted));
        if settled && !ready {
            ready = true;
            send(&[NotifyState::Ready]);
        } else if !settled && !ready {
            send(&[NotifyState::ExtendTimeoutUsec(EXTENSION_MICROS)]);
        }
        let words = document
            .sources
            .iter()
            .map(|(name, source)| format!("{name} {}", source.state.word()))
            .collect::<Vec<_>>()
            .join(", ");
        send(&[NotifyState::Status(&words)]);
        let stuck: Vec<String> = board
            .sources()
            .flat_map(|(name, source)| source.stuck(STUCK_AFTER).into_iter().map(move |task| format!("{name}: {task}")))
            .collect();
        if stuck.is_empty() {
            send(&[NotifyState::Watchdog]);
        } else {
            tracing::error!(
                tasks = stuck.join(", "),
                code = "task_stuck",
                "tasks have not moved for {} s",
                STUCK_AFTER.as_secs()
            );
        }
    }
    send(&[NotifyState::Stopping]);
}
