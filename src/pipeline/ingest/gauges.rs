//! What the ingest task shows of lag and of the log on the server.

use super::{Books, Ingest, LaneState, MONITOR_INTERVAL};
use crate::status::{Lag, now_micros};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tidewire_core::ErrorKind;
use tidewire_core::source::OpenSource;

/// A server that has said nothing for so long is not known to have nothing: three heartbeats.
const HEARD_MAX: Duration = Duration::from_secs(30);

/// When the server was heard last in this run, by a batch or an answer about its log, and whether it has said that there is
/// nothing beyond what was read.
#[derive(Debug)]
pub(super) struct Heard(Mutex<(Instant, bool)>);

impl Heard {
    /// A run begins.
    pub(super) fn new(now: Instant) -> Heard {
        Heard(Mutex::new((now, false)))
    }

    /// The server has given a batch, or an answer.
    pub(super) fn note(&self, now: Instant, at_end: Option<bool>) {
        let mut heard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *heard = (now, at_end.unwrap_or(heard.1));
    }

    fn last(&self) -> (Instant, bool) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ingest {
    /// A sink has no lag when it holds all that was read and the server was heard a moment ago: the heartbeat moves the
    /// received position even when nothing is written.
    pub(super) fn note_lag(&self, books: &Books) {
        let now = now_micros();
        let (heard_at, at_end) = books.heard.last();
        let is_heard = self.clock.since(heard_at) < HEARD_MAX;
        for (index, lane) in self.lanes.iter().enumerate() {
            let holds_all = match (&books.received, books.watermark.holds(index)) {
                (Some((received, _)), Some(durable)) => durable.mark >= received.mark,
                (None, Some(_)) => at_end,
                (_, None) => false,
            };
            let held = books.durable_commit_time.get(index).copied().flatten();
            let received = books.received.as_ref().and_then(|(_, time)| *time);
            self.board.update_sink(&lane.sink, |sink| {
                if holds_all && is_heard && matches!(lane.state, LaneState::Running) {
                    sink.lag = Lag::Current(now);
                } else {
                    sink.lag.fall_behind(now, held, received);
                }
            });
            self.meter.sink_queue(&lane.sink, books.fanout.depth(index));
        }
    }

    /// Without a run nobody knows what the server has.
    pub(super) fn lose_sight(&self) {
        let now = now_micros();
        self.board.update(|view| view.sinks.values_mut().for_each(|sink| sink.lag.fall_behind(now, None, None)));
    }

    /// Asks for the log's numbers beside the flow; an answer that does not come is not waited for.
    pub(super) fn watch_log(&self, source: &OpenSource, books: &Books) {
        let (monitor, board, meter) = (Arc::clone(&source.monitor), Arc::clone(&self.board), self.meter.clone());
        let (heard, clock) = (Arc::clone(&books.heard), Arc::clone(&self.clock));
        let stop = self.stop.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                state = tokio::time::timeout(MONITOR_INTERVAL, monitor.log_state()) => {
                    match state {
                        Ok(Ok(state)) => {
                            heard.note(clock.now(), state.lag_bytes.map(|bytes| bytes == 0));
                            meter.log(&state);
                            board.update(|view| view.log = state.into());
                        }
                        // It lives, and will not say.
                        Ok(Err(error)) if error.kind() != ErrorKind::Retry => heard.note(clock.now(), None),
                        Ok(Err(_)) | Err(_) => {}
                    }
                }
            }
        });
    }
}
