//! What the task asks of the source when its workers answer late, by given reports; and that a source which always has
//! more keeps it from nothing else (SK-69).

use super::source::descriptor;
use crate::pipeline::clock::{Clock, SystemClock};
use crate::pipeline::ingest::{Ingest, Lane, LaneState, Outcome};
use crate::pipeline::pace::Pace;
use crate::pipeline::ship::{Command, Durable, Event, QUEUE_BATCHES, Report};
use crate::state::StateDirectory;
use crate::status::Board;
use crate::telemetry::SourceMeter;
use std::collections::BTreeSet;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tidewire_core::source::{Acknowledger, BoxFuture, LogMonitor, LogState, OpenSource, Resume, SetupStep};
use tidewire_core::{Batch, Finding, Mark, Position, Progress, Result, SourceConnector, SourceReader};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// The note of a look at the log.
const LOOK: &str = "look";

/// A source that notes from where each sink wants it, what it may forget, and when its log is looked at.
#[derive(Clone, Default)]
struct Noting {
    notes: Arc<Mutex<Vec<String>>>,
    /// It always has more to read, as a connection that is never read to its end; otherwise it has nothing.
    is_eager: bool,
    /// Sleeps that came to their end.
    slept: Arc<AtomicUsize>,
}

impl Noting {
    fn note(&self, what: String) {
        self.notes.lock().unwrap().push(what);
    }

    fn was_looked_at(&self) -> bool {
        self.notes.lock().unwrap().iter().any(|note| note == LOOK)
    }
}

/// The machine's clock, counting sleeps.
struct CountingClock(SystemClock, Arc<AtomicUsize>);

impl Clock for CountingClock {
    fn now(&self) -> Instant {
        self.0.now()
    }

    fn sleep(&self, length: Duration) -> BoxFuture<'static, ()> {
        let (sleep, slept) = (self.0.sleep(length), Arc::clone(&self.1));
        Box::pin(async move {
            sleep.await;
            slept.fetch_add(1, Ordering::Relaxed);
        })
    }

    fn block_on(&self, limit: Duration, future: Pin<&mut (dyn Future<Output = ()> + Send)>) -> bool {
        self.0.block_on(limit, future)
    }
}

impl Acknowledger for Noting {
    fn acknowledge(&self, position: &Position) {
        self.note(format!("forget {}", position.mark.major));
    }
}

impl LogMonitor for Noting {
    fn log_state(&self) -> BoxFuture<'_, Result<LogState>> {
        if self.is_eager {
            self.note(LOOK.to_owned());
        }
        Box::pin(std::future::ready(Ok(LogState::default())))
    }
}

impl SourceReader for Noting {
    fn next_batch(&mut self) -> BoxFuture<'_, Result<Batch>> {
        Box::pin(async move {
            if !self.is_eager {
                return std::future::pending().await;
            }
            // A long stretch of the log that is about other tables, faster there than it is read.
            while !self.was_looked_at() {
                // As every read of a socket does.
                tokio::task::consume_budget().await;
            }
            std::future::pending().await
        })
    }
}

impl SourceConnector for Noting {
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
        Box::pin(async move {
            // Much may have to be read before: what else there is to do must not wait for the end of it.
            while self.is_eager && self.slept.load(Ordering::Relaxed) < 2 {
                tokio::task::consume_budget().await;
            }
            Ok(open)
        })
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

/// A running task whose workers are the test.
struct Bench {
    task: JoinHandle<Outcome>,
    report: mpsc::Sender<Report>,
    queues: Vec<mpsc::Receiver<Command>>,
    _folder: TempDir,
}

fn start(sinks: &[&str], source: &Noting, stop: &CancellationToken) -> Bench {
    let (report, reports) = mpsc::channel(64);
    let (lanes, queues): (Vec<Lane>, Vec<_>) = sinks
        .iter()
        .map(|sink| {
            let (commands, queue) = mpsc::channel(QUEUE_BATCHES);
            (
                Lane {
                    sink: (*sink).into(),
                    commands,
                    state: LaneState::Away,
                    halted: BTreeSet::new(),
                    refused: false,
                },
                queue,
            )
        })
        .unzip();
    let folder = tempfile::tempdir().unwrap();
    let board = Board::new(["s"].into_iter());
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
        clock: Arc::new(CountingClock(SystemClock(Handle::current()), Arc::clone(&source.slept))),
        metrics_per_table: true,
        accept_server_position: false,
        lanes_opened: false,
    };
    Bench { task: tokio::spawn(ingest.run()), report, queues, _folder: folder }
}

/// A source that always has more to read, and none of it for a sink that would be waited for: the task still says that it lives,
/// which the system's watchdog listens for, looks after its sinks and watches the server's log. So it does while a source opens.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_source_that_always_has_more_keeps_the_task_from_nothing() {
    let (source, stop) = (Noting { is_eager: true, ..Noting::default() }, CancellationToken::new());
    let Bench { task, report, mut queues, _folder } = start(&["a"], &source, &stop);
    let mut queue = queues.remove(0);
    assert!(matches!(told(&mut queue).await, Command::Open));
    report.try_send(Report { worker: 0, event: Event::Ready(held(10)) }).unwrap();
    assert!(matches!(told(&mut queue).await, Command::Start(1, _)), "the source was never opened");
    let looked = async {
        while !source.was_looked_at() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), looked).await.expect("nobody looked at the log");
    stop.cancel();
    assert!(matches!(told(&mut queue).await, Command::Close));
    report.try_send(Report { worker: 0, event: Event::Closed }).unwrap();
    task.await.unwrap();
}

/// A sink that had failed was asked to settle a run which it no longer took part in: it answers twice, and the second answer
/// comes when it takes part in the next run and is about to commit in it. What it committed may be forgotten; then the log
/// must not be asked for from before it, which a server would refuse (seed 8114).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_sink_has_committed_since_it_was_ready_counts() {
    let (source, stop) = (Noting::default(), CancellationToken::new());
    let Bench { task, report, mut queues, _folder } = start(&["a", "b"], &source, &stop);
    let tell = |worker: usize, event: Event| report.try_send(Report { worker, event }).unwrap();
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
    assert_eq!(*source.notes.lock().unwrap(), ["open at [10, 10]", "forget 10", "forget 20", "open at [20, 20]"]);
}
