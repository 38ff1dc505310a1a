//! What the task asks of the source when its workers answer late, by given reports.

use super::source::descriptor;
use crate::pipeline::clock::SystemClock;
use crate::pipeline::ingest::{Ingest, Lane, LaneState};
use crate::pipeline::pace::Pace;
use crate::pipeline::ship::{Command, Durable, Event, QUEUE_BATCHES, Report};
use crate::state::StateDirectory;
use crate::status::Board;
use crate::telemetry::SourceMeter;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tidewire_core::source::{Acknowledger, BoxFuture, LogMonitor, LogState, OpenSource, Resume, SetupStep};
use tidewire_core::{Batch, Finding, Mark, Position, Progress, Result, SourceConnector, SourceReader};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// A source that has nothing, and notes from where each sink wants it and what it may forget.
#[derive(Clone, Default)]
struct Silent(Arc<Mutex<Vec<String>>>);

impl Silent {
    fn note(&self, what: String) {
        self.0.lock().unwrap().push(what);
    }
}

impl Acknowledger for Silent {
    fn acknowledge(&self, position: &Position) {
        self.note(format!("forget {}", position.mark.major));
    }
}

impl LogMonitor for Silent {
    fn log_state(&self) -> BoxFuture<'_, Result<LogState>> {
        Box::pin(std::future::ready(Ok(LogState::default())))
    }
}

impl SourceReader for Silent {
    fn next_batch(&mut self) -> BoxFuture<'_, Result<Batch>> {
        Box::pin(std::future::pending())
    }
}

impl SourceConnector for Silent {
    fn check(&self) -> BoxFuture<'_, Result<Vec<Finding>>> {
        Box::pin(std::future::ready(Ok(Vec::new())))
    }

    fn ready(&self) -> BoxFuture<'_, Result<()>> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn setup(&self, _apply: bool) -> BoxFuture<'_, Result<Vec<SetupStep>>> {
        Box::pin(std::future::ready(Ok(Vec::new())))
    }

    fn remove(&self) -> BoxFuture<'_, Result<Vec<String>>> {
        Box::pin(std::future::ready(Ok(Vec::new())))
    }

    fn open(&self, resume: Resume) -> BoxFuture<'_, Result<OpenSource>> {
        let places = resume.sinks.iter().map(|sink| sink.progress.resume_from().map_or(0, |place| place.mark.major));
        self.note(format!("open at {:?}", places.collect::<Vec<_>>()));
        let open = OpenSource {
            descriptor: descriptor(None),
            tables: Vec::new(),
            snapshot_rows_expected: 0,
            reader: Box::new(self.clone()),
            acknowledger: Arc::new(self.clone()),
            monitor: Arc::new(self.clone()),
        };
        Box::pin(std::future::ready(Ok(open)))
    }
}

fn held(major: u64) -> Progress {
    Progress { position: Some(Position::new(Mark { major, minor: 0 }, "t")), ..Progress::default() }
}

fn durable(major: u64) -> Event {
    Event::Durable(Durable { progress: held(major), changes: 1, commit_time_micros: None })
}

/// The next command that is not about a batch.
async fn told(queue: &mut mpsc::Receiver<Command>) -> Command {
    tokio::time::timeout(Duration::from_secs(20), queue.recv()).await.expect("a command").expect("the task runs")
}

/// A sink that had failed was asked to settle a run which it no longer took part in: it answers twice, and the second answer
/// comes when it takes part in the next run and is about to commit in it. What it committed may be forgotten; then the log
/// must not be asked for from before it, which a server would refuse (seed 8114).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_sink_has_committed_since_it_was_ready_counts() {
    let (report, reports) = mpsc::channel(64);
    let tell = |worker: usize, event: Event| report.try_send(Report { worker, event }).unwrap();
    let (lanes, mut queues): (Vec<Lane>, Vec<_>) = ["a", "b"]
        .map(|sink| {
            let (commands, queue) = mpsc::channel(QUEUE_BATCHES);
            (Lane { sink: sink.into(), commands, state: LaneState::Away, halted: BTreeSet::new() }, queue)
        })
        .into_iter()
        .unzip();
    let folder = tempfile::tempdir().unwrap();
    let board = Board::new(["s"].into_iter());
    let (source, stop) = (Silent::default(), CancellationToken::new());
    let ingest = Ingest {
        source: "s".into(),
        connector: Arc::new(source.clone()),
        lanes,
        reports,
        state: Arc::new(StateDirectory::open(&folder.path().join("state")).unwrap()),
        board: Arc::clone(board.source("s").unwrap()),
        meter: SourceMeter::new("s".into()),
        stop: stop.clone(),
        pace: Pace { grace: Duration::from_secs(20), ..Pace::default() },
        clock: Arc::new(SystemClock(Handle::current())),
        metrics_per_table: true,
        accept_server_position: false,
        lanes_opened: false,
    };
    let task = tokio::spawn(ingest.run());
    for (index, queue) in queues.iter_mut().enumerate() {
        assert!(matches!(told(queue).await, Command::Open));
        tell(index, Event::Ready(held(10)));
    }
    for queue in &mut queues {
        assert!(matches!(told(queue).await, Command::Start(1, _)));
    }
    // The run ends for the second answer, and the other sink is asked to settle it.
    tell(0, Event::Ready(held(10)));
    assert!(matches!(told(&mut queues[1]).await, Command::Settle));
    tell(0, durable(20));
    tell(1, durable(20));
    tell(1, Event::Ready(held(20)));
    for queue in &mut queues {
        assert!(matches!(told(queue).await, Command::Start(2, _)));
    }
    stop.cancel();
    for (index, queue) in queues.iter_mut().enumerate() {
        assert!(matches!(told(queue).await, Command::Close));
        tell(index, Event::Closed);
    }
    task.await.unwrap();
    assert_eq!(*source.0.lock().unwrap(), ["open at [10, 10]", "forget 10", "forget 20", "open at [20, 20]"]);
}
