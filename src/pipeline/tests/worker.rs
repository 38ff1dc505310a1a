//! One worker and what it answers to given commands, by the machine's own clock.

use super::source::descriptor;
use crate::pipeline::clock::SystemClock;
use crate::pipeline::ship::{Command, Event, HaltedTables, QUEUE_BATCHES, Report, Worker};
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

/// A sink whose first commit succeeds and whose others fail. It shows whole transactions only, or parts of them.
#[derive(Clone, Default)]
struct Failing {
    committed: Arc<AtomicBool>,
    /// Batches that it was given.
    written: Arc<AtomicUsize>,
    can_split: bool,
    /// It cannot be opened.
    refuses: bool,
}

impl SinkConnector for Failing {
    fn capabilities(&self) -> SinkCapabilities {
        SinkCapabilities {
            needs_key: false,
            commit_interval: Duration::from_secs(3600),
            commit_changes: usize::MAX,
            commit_bytes: usize::MAX,
            commit_when_idle: false,
            can_split_transactions: self.can_split,
        }
    }

    fn check(&self, _tables: &[(Arc<str>, Arc<TableSchema>)]) -> Result<Vec<Finding>> {
        Ok(Vec::new())
    }

    fn open(&self, _source: &str) -> Result<(Box<dyn Sink>, Progress)> {
        if self.refuses {
            return Err(Error::retry("refused", "the sink refused"));
        }
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

/// A batch without changes moves the place that a commit stores.
fn batch(major: u64, minor: u64) -> Arc<Batch> {
    let place = Position::new(Mark { major, minor }, "t");
    let mut builder = BatchBuilder::new(descriptor(None), Phase::Stream, BatchLimits::default());
    Arc::new(builder.finish(Some(place), minor == 0, 0))
}

/// A worker of a sink, and both ends of its channels.
fn worker(sink: &Failing, pause: Duration) -> (Worker, mpsc::Sender<Command>, mpsc::Receiver<Report>) {
    let retry = RetryPolicy::new(pause, pause * 8, 2.0, 0.5).unwrap();
    let (commands, queue) = mpsc::channel(QUEUE_BATCHES);
    let (report, reports) = mpsc::channel(256);
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
    (worker, commands, reports)
}

/// Gives a worker these commands and returns what it reported.
async fn answers(sink: &Failing, script: Vec<Command>) -> Vec<&'static str> {
    let (worker, commands, mut reports) = worker(sink, Duration::from_millis(1));
    for command in script {
        commands.send(command).await.unwrap();
    }
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
    seen
}

/// The last commit has no later attempt: a daemon that is asked to stop must not wait for a sink that is broken.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_ends_when_its_last_commit_fails() {
    let sink = Failing { can_split: true, ..Failing::default() };
    // The first is committed at once, the second at the end.
    let script = vec![
        Command::Open,
        Command::Start(1, Arc::default()),
        Command::Deliver(1, batch(10, 0)),
        Command::Deliver(1, batch(20, 0)),
        Command::Close,
    ];
    assert_eq!(answers(&sink, script).await, ["ready", "durable", "failed", "closed"]);
    // The end of a transaction may come in a batch of its own.
    assert_eq!(sink.written.load(Ordering::Relaxed), 2);
}

/// A sink that halted a table is open again before the task knows of it, so a run that began meanwhile reaches it and
/// nobody settles that. The next run comes from an earlier place, at whose ends of transactions a part of a later one
/// must not become visible.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_nobody_settled_leaves_no_part_of_a_transaction() {
    for (can_split, expect) in [(false, vec!["ready", "ready", "closed"]), (true, vec!["ready", "durable", "closed"])] {
        let sink = Failing { can_split, ..Failing::default() };
        let script = vec![
            Command::Open,
            Command::Start(1, Arc::default()),
            Command::Deliver(1, batch(20, 1)),
            Command::Start(2, Arc::default()),
            Command::Deliver(2, batch(10, 0)),
            Command::Close,
        ];
        assert_eq!(answers(&sink, script).await, expect, "can split: {can_split}");
    }
}

/// A worker that waits for its sink empties its queue. For what sinks hold that makes no difference: what is left over is of a
/// run that the sink, opened anew, does not take part in. But the task hands over `Settle` and `Close` by the same queue and
/// would wait for a sink that is away, and with it all others, and a stop.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_waits_for_its_sink_holds_nobody_up() {
    let sink = Failing { refuses: true, ..Failing::default() };
    let (worker, commands, mut reports) = worker(&sink, Duration::from_hours(1));
    let thread = std::thread::spawn(move || worker.run());
    commands.send(Command::Open).await.unwrap();
    let failed = reports.recv().await.unwrap();
    assert!(matches!(failed.event, Event::Failed(_)), "{failed:?}");
    let feed = async {
        for place in 0..3 * QUEUE_BATCHES as u64 {
            commands.send(Command::Deliver(1, batch(place, 0))).await.unwrap();
        }
        commands.send(Command::Settle).await.unwrap();
        commands.send(Command::Close).await.unwrap();
        reports.recv().await.unwrap()
    };
    let ended = tokio::time::timeout(Duration::from_secs(20), feed).await.expect("nobody waits for an hour");
    assert!(matches!(ended.event, Event::Closed), "{ended:?}");
    thread.join().unwrap();
    assert_eq!(sink.written.load(Ordering::Relaxed), 0);
}
