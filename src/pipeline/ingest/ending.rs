//! How a run and how the task end: sinks commit what they can, and the last commits are still acknowledged.

use super::{Books, Ingest, LaneState};
use crate::pipeline::ship::{Command, Event};
use tidewire_core::source::Acknowledger;

impl Ingest {
    /// Ends a run: every sink commits what it can and says where it is.
    pub(super) async fn settle(&mut self, books: &mut Books, server: &dyn Acknowledger) {
        for lane in &mut self.lanes {
            if matches!(lane.state, LaneState::Running | LaneState::Lagging) {
                lane.state = LaneState::Away;
                let sent = tokio::select! {
                    biased;
                    () = self.stop.cancelled() => return,
                    sent = lane.commands.send(Command::Settle) => sent,
                };
                if sent.is_err() {
                    lane.state = LaneState::Gone;
                }
            }
        }
        // The connection stays until the sinks have answered, for at most the grace: their last commits can
        // still be acknowledged.
        let until = self.clock.now() + self.pace.grace;
        while self.lanes.iter().any(|lane| matches!(lane.state, LaneState::Away)) && self.clock.now() < until {
            self.board.mark_alive("ingest");
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return,
                Some(report) = self.reports.recv() => {
                    if let Event::Durable(durable) = &report.event {
                        books.has_committed = true;
                        books.watermark.set(report.worker, &durable.progress);
                        self.acknowledge(books, server);
                    }
                    self.note(report);
                }
                () = self.clock.sleep(self.pace.tick) => {}
            }
        }
    }

    /// Ends the workers: they commit what ends on a boundary. With a source, the last commits are
    /// acknowledged.
    pub(super) async fn close(&mut self, books: &mut Books, server: Option<&dyn Acknowledger>) {
        for lane in &self.lanes {
            if !matches!(lane.state, LaneState::Gone) {
                // The deadline for a stop is kept by whoever joins this task.
                let _ = lane.commands.send(Command::Close).await;
            }
        }
        while !self.all_gone() {
            self.board.mark_alive("ingest");
            tokio::select! {
                biased;
                report = self.reports.recv() => {
                    let Some(report) = report else { return };
                    if let Event::Durable(durable) = &report.event {
                        books.watermark.set(report.worker, &durable.progress);
                        if let Some(server) = server {
                            self.acknowledge(books, server);
                        }
                    }
                    self.note(report);
                }
                () = self.clock.sleep(self.pace.tick) => {}
            }
        }
    }
}
