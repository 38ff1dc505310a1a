//! route: hands each batch to every sink of the source that is on its feet. A sink that does not take
//! a batch in time is left behind, so that it never stalls the others by more than its own queue; it
//! catches up later from its own position.

use crate::pipeline::ship::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tidewire_core::Batch;
use tokio::sync::mpsc;

/// One sink's end of the fan-out.
#[derive(Debug)]
struct Lane {
    commands: mpsc::Sender<Command>,
    attached: bool,
    waiting: bool,
}

/// The fan-out of one run.
#[derive(Debug)]
pub(crate) struct Fanout {
    lanes: Vec<Lane>,
    generation: u64,
    stall_max: Duration,
    pending: Option<(Arc<Batch>, Instant)>,
}

impl Fanout {
    /// Over the workers' queues; none is attached. `stall_max` is how long sinks wait for one whose queue is full.
    pub(crate) fn new(queues: Vec<mpsc::Sender<Command>>, stall_max: Duration) -> Fanout {
        let lanes = queues.into_iter().map(|commands| Lane { commands, attached: false, waiting: false }).collect();
        Fanout { lanes, generation: 0, stall_max, pending: None }
    }

    /// Begins a run with these sinks.
    pub(crate) fn start(&mut self, generation: u64, attached: impl Fn(usize) -> bool) {
        self.generation = generation;
        self.pending = None;
        for (index, lane) in self.lanes.iter_mut().enumerate() {
            lane.attached = attached(index);
            lane.waiting = false;
        }
    }

    /// Whether a batch is still on its way to someone.
    pub(crate) fn is_busy(&self) -> bool {
        self.pending.is_some()
    }

    /// Whether any sink takes part in the run.
    pub(crate) fn has_attached(&self) -> bool {
        self.lanes.iter().any(|lane| lane.attached)
    }

    /// Batches that wait for a sink.
    pub(crate) fn depth(&self, sink: usize) -> usize {
        self.lanes.get(sink).map_or(0, |lane| lane.commands.max_capacity() - lane.commands.capacity())
    }

    /// Leaves a sink out for the rest of the run.
    pub(crate) fn detach(&mut self, sink: usize) {
        if let Some(lane) = self.lanes.get_mut(sink) {
            lane.attached = false;
            lane.waiting = false;
        }
        self.settle_pending();
    }

    /// Takes a batch; `flush` delivers it. There must be none on its way.
    pub(crate) fn offer(&mut self, batch: Arc<Batch>, now: Instant) {
        for lane in &mut self.lanes {
            lane.waiting =
                lane.attached && lane.commands.try_send(Command::Deliver(self.generation, Arc::clone(&batch))).is_err();
        }
        self.pending = Some((batch, now));
        self.settle_pending();
    }

    /// Delivers the pending batch to whoever still waits for it. Dropping the future loses nothing: who has
    /// it is remembered.
    pub(crate) async fn flush(&mut self) {
        let Some((batch, _)) = &self.pending else {
            return;
        };
        for lane in self.lanes.iter_mut().filter(|lane| lane.waiting) {
            match lane.commands.reserve().await {
                Ok(permit) => permit.send(Command::Deliver(self.generation, Arc::clone(batch))),
                // The worker has ended; its report says why.
                Err(_) => lane.attached = false,
            }
            lane.waiting = false;
        }
        self.pending = None;
    }

    /// Sinks that have kept others waiting for too long. When no other sink has the batch, nobody is
    /// kept waiting: the source is simply felt to be slow.
    pub(crate) fn stallers(&self, now: Instant) -> Vec<usize> {
        let overdue =
            self.pending.as_ref().is_some_and(|(_, since)| now.saturating_duration_since(*since) >= self.stall_max);
        let someone_waits = self.lanes.iter().any(|lane| lane.attached && !lane.waiting);
        if !overdue || !someone_waits {
            return Vec::new();
        }
        self.lanes.iter().enumerate().filter(|(_, lane)| lane.waiting).map(|(index, _)| index).collect()
    }

    fn settle_pending(&mut self) {
        if !self.lanes.iter().any(|lane| lane.waiting) {
            self.pending = None;
        }
    }
}
