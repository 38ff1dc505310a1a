//! How one worker ends, by the machine's own clock.

use super::source::descriptor;
use crate::pipeline::clock::SystemClock;
use crate::pipeline::ship::{Command, Event, HaltedTables, QUEUE_BATCHES, Worker};
use crate::telemetry::SinkMeter;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use tidewire_core::retry::RetryPolicy;
use tidewire_core::sink::{Selection, SinkCapabilities};
use tidewire_core::{
    Batch, BatchBuilder, BatchLimits, Error, Finding, Mark, Phase, Position, Progress, Result, Sink, SinkConnector,
    TableSchema,
};
use tokio::runtime::Handle;
use tokio::sync::mpsc;

/// A sink whose first commit succeeds and whose others fail.
#[derive(Clone, Default)]
struct Failing {
    committed: Arc<AtomicBool>,
    /// Batches that it was given.
    written: Arc<AtomicUsize>,
}

impl SinkConnector for Failing {
    fn capabilities(&self) -> SinkCapabilities {
        SinkCapabilities {
            needs_key: false,
            commit_interval: Duration::from_secs(3600),
            commit_changes: usize::MAX,
            commit_bytes: usize::MAX,
            commit_when_idle: false,
            can_split_transactions: true,
        }
    }

    fn check(&self, _tables: &[(Arc<str>, Arc<TableSchema>)]) -> Result<Vec<Finding>> {
        Ok(Vec::new())
    }

    fn open(&self, _source: &str) -> Result<(Box<dyn Sink>, Progress)> {
        Ok((Box::new(self.clone()), Progress::default()))
    }
}

impl Sink for Failing {
    fn write(&mut self, _batch: &Batch, _selection: Selection<'_>) -> Result<()> {
        self.written.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn commit(&mut self, _progress: &Progress) -> Result<()> {
        if self.committed.swap(true, Ordering::Relaxed) {
            Err(Error::retry("broken", "the sink is broken"))
        } else {
            Ok(())
        }
    }
}

/// The last commit has no later attempt: a daemon that is asked to stop must not wait for a sink that is broken.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_ends_when_its_last_commit_fails() {
    let retry = RetryPolicy::new(Duration::from_millis(1), Duration::from_millis(8), 2.0, 0.5).unwrap();
    let (commands, queue) = mpsc::channel(QUEUE_BATCHES);
    let (report, mut reports) = mpsc::channel(256);
    // An empty batch moves the place that a commit stores. The first is committed at once, the second at the end.
    let batch = |major| {
        let place = Position::new(Mark { major, minor: 0 }, "t");
        Arc::new(BatchBuilder::new(descriptor(None), Phase::Stream, BatchLimits::default()).finish(
            Some(place),
            true,
            0,
        ))
    };
    let script = [
        Command::Open,
        Command::Start(1, Arc::default()),
        Command::Deliver(1, batch(10)),
        Command::Deliver(1, batch(20)),
        Command::Close,
    ];
    for command in script {
        commands.send(command).await.unwrap();
    }
    let sink = Failing::default();
    let worker = Worker {
        index: 0,
        source: "s".into(),
        connector: Arc::new(sink.clone()),
        commands: queue,
        reports: report,
        retry,
        clock: Arc::new(SystemClock(Handle::current())),
        meter: SinkMeter::new("s".into(), "0".into()),
        alive: Box::new(|| ()),
        halted: HaltedTables::default(),
    };
    let thread = std::thread::spawn(move || worker.run());
    let mut seen = Vec::new();
    while let Some(report) = tokio::time::timeout(Duration::from_secs(20), reports.recv()).await.expect("an end") {
        seen.push(match report.event {
            Event::Ready(_) => "ready",
            Event::Durable(_) => "durable",
            Event::Failed(_) => "failed",
            Event::Closed => "closed",
            other => panic!("{other:?}"),
        });
    }
    thread.join().unwrap();
    assert_eq!(seen, ["ready", "durable", "failed", "closed"]);
    // The end of a transaction may come in a batch of its own.
    assert_eq!(sink.written.load(Ordering::Relaxed), 2);
}
