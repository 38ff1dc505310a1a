//! What the ingest task takes from its workers' reports, in a run or outside one.

use super::{Ingest, LaneState};
use crate::pipeline::ship::{Durable, Event, Report};
use crate::status::{Reason, State, now_micros};
use tidewire_core::ErrorKind;
use tracing::{error, warn};

impl Ingest {
    /// Takes a report outside a run.
    pub(super) fn note(&mut self, report: Report) {
        let Some(lane) = self.lanes.get_mut(report.worker) else {
            return;
        };
        match report.event {
            Event::Ready(progress) => {
                let position = progress.position.as_ref().map(|p| p.text.to_string());
                self.board.update_sink(&lane.sink, |sink| {
                    sink.position = position;
                    sink.reason = None;
                });
                lane.state = LaneState::Ready(progress);
            }
            Event::Failed(failure) => {
                warn!(sink = %lane.sink, code = failure.code(), remedy = failure.remedy(), "sink retried: {}", failure.chain());
                lane.state = LaneState::Away;
                self.board.update_sink(&lane.sink, |sink| {
                    sink.state = State::Retrying;
                    sink.retries += 1;
                    sink.reason = Some(Reason::from(&failure));
                });
            }
            Event::TableHalted(table, failure) => {
                let (reason, name) = (Reason::from(&failure), table.to_string());
                error!(
                    sink = %lane.sink, table = name, code = reason.code, remedy = reason.remedy,
                    "table halted: {}; the sink's other tables go on, and the log is kept for this one until it is \
                     mended and the daemon started again, or it is left out of `tables`",
                    reason.message
                );
                lane.state = LaneState::Away;
                lane.halted.insert(name.clone());
                self.board.update(|view| view.tables.entry(name.clone()).or_default().halted_at = Some(now_micros()));
                self.board.update_sink(&lane.sink, |sink| {
                    sink.halted_tables.insert(name, reason);
                });
            }
            Event::Halted(failure) => {
                let reason = Reason::from(&failure);
                error!(sink = %lane.sink, code = reason.code, remedy = reason.remedy, table = reason.table, "sink halted: {}", reason.message);
                lane.state = LaneState::Gone;
                lane.refused = failure.kind() == ErrorKind::Configuration;
                self.board.update_sink(&lane.sink, |sink| {
                    sink.state = State::Halted;
                    sink.reason = Some(reason);
                });
                self.board.mark_ended(&format!("sink {}", lane.sink));
            }
            Event::Closed => {
                lane.state = LaneState::Gone;
                self.board.update_sink(&lane.sink, |sink| sink.state = State::Stopped);
                self.board.mark_ended(&format!("sink {}", lane.sink));
            }
            Event::Durable(durable) => {
                // A sink that answered twice is ready in the midst of a run, and goes on committing: what it said last is what it
                // holds, and what may be forgotten meanwhile is never asked for again.
                if let LaneState::Ready(progress) = &mut lane.state {
                    progress.clone_from(&durable.progress);
                }
                self.note_durable(report.worker, &durable);
            }
        }
    }

    fn note_durable(&self, worker: usize, durable: &Durable) {
        if let Some(lane) = self.lanes.get(worker) {
            self.board.update_sink(&lane.sink, |sink| {
                sink.position = durable.progress.position.as_ref().map(|p| p.text.to_string());
                sink.changes_committed += durable.changes;
                sink.commits += 1;
            });
        }
    }
}
