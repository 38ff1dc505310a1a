//! What the ingest task shows of lag and of the log on the server.

use super::{Books, Ingest, MONITOR_INTERVAL};
use crate::status::now_micros;
use std::sync::Arc;
use tidewire_core::source::OpenSource;

impl Ingest {
    /// Lag is now less the commit time of the last change that the sink holds, and 0 when it holds all that
    /// was read: the heartbeat moves the received position even when nothing is written.
    pub(super) fn show_lag(&self, books: &Books) {
        let now = now_micros();
        let mut largest = 0.0f64;
        for (index, lane) in self.lanes.iter().enumerate() {
            let holds_all = match (&books.received, books.watermark.holds(index)) {
                (Some((received, _)), Some(durable)) => durable.mark >= received.mark,
                (None, _) => true,
                (Some(_), None) => false,
            };
            let since = books
                .durable_commit_time
                .get(index)
                .copied()
                .flatten()
                .or_else(|| books.received.as_ref().and_then(|r| r.1));
            let lag = if holds_all { 0.0 } else { since.map_or(0.0, |time| (now - time).max(0) as f64 / 1e6) };
            largest = largest.max(lag);
            self.board.update_sink(&lane.sink, |sink| sink.lag_seconds = lag);
            self.meter.sink_lag(&lane.sink, lag, books.fanout.depth(index));
            self.meter.tables_halted(&lane.sink, lane.halted.len());
            let state = self.board.update_sink(&lane.sink, |sink| sink.state);
            self.meter.sink_state(&lane.sink, state);
        }
        self.board.update(|view| view.lag_seconds = largest);
        self.meter.lag(largest);
    }

    /// Asks for the log's numbers beside the flow; an answer that does not come is not waited for.
    pub(super) fn watch_log(&self, source: &OpenSource) {
        let (monitor, board, meter) = (Arc::clone(&source.monitor), Arc::clone(&self.board), self.meter.clone());
        let stop = self.stop.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                state = tokio::time::timeout(MONITOR_INTERVAL, monitor.log_state()) => {
                    if let Ok(Ok(state)) = state {
                        meter.log(&state);
                        board.update(|view| view.log = state.into());
                    }
                }
            }
        });
    }
}
