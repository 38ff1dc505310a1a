//! ingest: the task of one source. Opens the sinks, then the source at the lowest place a sink needs,
//! moves batches, acknowledges, and begins anew when something fails. One loop over its causes of work;
//! its phase is where it stands in `run`.
//!
//! A *run* is one connection to the server. Sinks stay open over runs. A run ends when the source fails,
//! when a sink that was away or left behind wants to catch up (the log is then read again from its
//! position and the others drop what they hold), or when the daemon stops.

mod ending;
mod gauges;
mod reports;

use crate::pipeline::clock::Clock;
use crate::pipeline::normalize::Normalizer;
use crate::pipeline::pace::Pace;
use crate::pipeline::route::Fanout;
use crate::pipeline::ship::{Command, Event, Report};
use crate::pipeline::watermark::Watermark;
use crate::retry::Pauses;
use crate::state::StateDirectory;
use crate::status::{Reason, SourceBoard, State};
use crate::telemetry::SourceMeter;
use gauges::Heard;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tidewire_core::source::{Acknowledger, BoxFuture, OpenSource, Resume, SinkProgress};
use tidewire_core::{
    Batch, Error, ErrorKind, Phase, Progress, SourceConnector, TableName, TableProgress, TableState, failpoint,
};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

/// How often the numbers of the server's log are asked for.
const MONITOR_INTERVAL: Duration = Duration::from_secs(5);

/// The ingest task's end of one worker.
pub(crate) struct Lane {
    /// The sink's name.
    pub sink: Arc<str>,
    /// To the worker.
    pub commands: mpsc::Sender<Command>,
    /// Where it stands.
    pub state: LaneState,
    /// Tables that it has halted; empty at first.
    pub halted: BTreeSet<String>,
    /// Its configuration was refused when it was opened; `false` at first.
    pub refused: bool,
}

/// Where a worker stands, as the ingest task knows it.
#[derive(Clone, Debug)]
pub(crate) enum LaneState {
    /// Not open yet, or being opened anew.
    Away,
    /// Open, holds this, waits for a run.
    Ready(Progress),
    /// Takes part in the run.
    Running,
    /// Was left behind in this run.
    Lagging,
    /// Ended.
    Gone,
}

/// The task of one source, before it runs.
pub(crate) struct Ingest {
    /// The source's name.
    pub source: Arc<str>,
    /// What it opens.
    pub connector: Arc<dyn SourceConnector>,
    /// Its sinks' workers.
    pub lanes: Vec<Lane>,
    /// From the workers.
    pub reports: mpsc::Receiver<Report>,
    /// Where the schema history is kept.
    pub state: Arc<StateDirectory>,
    /// What people see.
    pub board: Arc<SourceBoard>,
    /// Its metrics.
    pub meter: SourceMeter,
    /// Told when the daemon stops.
    pub stop: CancellationToken,
    /// How patient it is.
    pub(crate) pace: Pace,
    /// What it waits by.
    pub(crate) clock: Arc<dyn Clock>,
    /// Whether metrics carry the `table` label.
    pub metrics_per_table: bool,
    /// The operator vouches for the server's position as it is found first.
    pub accept_server_position: bool,
    /// Whether the workers were told to open their sinks; `false` at first.
    pub lanes_opened: bool,
}

/// How the task ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Asked to.
    Stopped,
    /// Waits for a person.
    Halted,
    /// Halted, and nothing but another configuration helps.
    Refused,
}

impl From<&Error> for Outcome {
    fn from(error: &Error) -> Outcome {
        if error.kind() == ErrorKind::Configuration { Outcome::Refused } else { Outcome::Halted }
    }
}

/// Why a run ended.
enum Ending {
    Stop,
    Rejoin,
    Source(Error),
    NoSinkLeft,
}

struct Books {
    fanout: Fanout,
    watermark: Watermark,
    normalizer: Normalizer,
    generation: u64,
    /// Commit time of the first change that is not durable everywhere is not known exactly; this is the commit
    /// time of the last change received, and the place it ends.
    received: Option<(tidewire_core::Position, Option<i64>)>,
    durable_commit_time: Vec<Option<i64>>,
    heard: Arc<Heard>,
    last_run: Instant,
    /// Whether a sink has committed since the source was opened.
    has_committed: bool,
}

impl Ingest {
    /// Runs until stopped or halted.
    pub(crate) async fn run(mut self) -> Outcome {
        let queues = self.lanes.iter().map(|lane| lane.commands.clone()).collect();
        let mut books = Books {
            fanout: Fanout::new(queues, self.pace.stall_max),
            watermark: Watermark::new(self.lanes.len()),
            normalizer: Normalizer::new(
                Arc::clone(&self.source),
                Arc::clone(&self.state),
                Arc::clone(&self.board),
                self.meter.clone(),
                self.metrics_per_table,
            ),
            generation: 0,
            received: None,
            durable_commit_time: vec![None; self.lanes.len()],
            heard: Arc::new(Heard::new(self.clock.now())),
            last_run: self.clock.now(),
            has_committed: false,
        };
        let mut pauses = Pauses::new(self.pace.retry);
        let outcome = loop {
            if let Some(outcome) = self.open_lanes(&mut pauses).await {
                break outcome;
            }
            if !self.gather(&mut books).await {
                break Outcome::Stopped;
            }
            if self.all_gone() {
                self.halt(
                    &Error::operator("no_sink_left", "no sink of this source can run")
                        .with_remedy("see the reasons of its sinks"),
                );
                break if self.lanes.iter().all(|lane| lane.refused) { Outcome::Refused } else { Outcome::Halted };
            }
            let ending = self.run_once(&mut books, &mut pauses).await;
            self.lose_sight();
            // A source that can be opened but not read, or whose changes cannot be taken, is no success: its pauses go on
            // growing.
            if std::mem::take(&mut books.has_committed) || self.clock.since(books.last_run) >= self.pace.retry.max() {
                pauses.reset();
            }
            match ending {
                Ending::Stop => break Outcome::Stopped,
                Ending::Rejoin => info!("a sink catches up: reading again from the lowest position"),
                Ending::NoSinkLeft => self.set_state(State::Retrying),
                Ending::Source(error) if pauses.outlast(&error) => {
                    if !self.retry_later(&error, &mut pauses).await {
                        break Outcome::Stopped;
                    }
                }
                Ending::Source(error) => {
                    self.halt(&error);
                    break Outcome::from(&error);
                }
            }
        };
        self.close(&mut books, None).await;
        self.board.mark_ended("ingest");
        if outcome == Outcome::Stopped {
            self.set_state(State::Stopped);
        }
        outcome
    }

    /// Lets the workers open their sinks, once, as soon as the server would serve us.
    async fn open_lanes(&mut self, pauses: &mut Pauses) -> Option<Outcome> {
        while !self.lanes_opened {
            let ready = tokio::select! {
                biased;
                () = self.stop.cancelled() => return Some(Outcome::Stopped),
                ready = self.alive(self.connector.ready()) => ready,
            };
            match ready {
                Ok(()) => {
                    for lane in &self.lanes {
                        // A worker that has ended says so itself.
                        let _ = lane.commands.send(Command::Open).await;
                    }
                    self.lanes_opened = true;
                    pauses.reset();
                }
                Err(error) if error.kind() == ErrorKind::Retry => {
                    if !self.retry_later(&error, pauses).await {
                        return Some(Outcome::Stopped);
                    }
                }
                Err(error) => {
                    self.halt(&error);
                    return Some(Outcome::from(&error));
                }
            }
        }
        None
    }

    fn set_state(&self, state: State) {
        self.board.update(|view| {
            if view.state != state {
                view.state = state;
            }
            if matches!(state, State::Snapshot | State::Streaming) {
                view.reason = None;
            }
        });
    }

    fn halt(&self, error: &Error) {
        let reason = Reason::from(error);
        error!(code = reason.code, remedy = reason.remedy, table = reason.table, "source halted: {}", reason.message);
        self.board.update(|view| view.reason = Some(reason));
        self.set_state(State::Halted);
    }

    async fn retry_later(&mut self, error: &Error, pauses: &mut Pauses) -> bool {
        let pause = pauses.next_pause();
        warn!(
            code = error.code(),
            remedy = error.remedy(),
            retry_in_ms = pause.as_millis() as u64,
            "source retried: {}",
            error.chain()
        );
        self.meter.retried(error.code());
        self.board.update(|view| {
            view.reason = Some(Reason::from(error));
            view.retries += 1;
        });
        self.set_state(State::Retrying);
        self.sleep(pause).await
    }

    /// Waits; `false` when the daemon stops meanwhile.
    async fn sleep(&mut self, length: Duration) -> bool {
        let until = self.clock.now() + length;
        loop {
            self.board.mark_alive("ingest");
            let left = until.saturating_duration_since(self.clock.now());
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return false,
                Some(report) = self.reports.recv() => self.note(report),
                () = self.clock.sleep(left.min(self.pace.tick)) => {}
            }
            if self.clock.now() >= until {
                return true;
            }
        }
    }

    /// Waits for a report, for a tick at most; `false` when the daemon stops meanwhile.
    async fn listen(&mut self) -> bool {
        self.board.mark_alive("ingest");
        tokio::select! {
            biased;
            () = self.stop.cancelled() => false,
            Some(report) = self.reports.recv() => {
                self.note(report);
                true
            }
            () = self.clock.sleep(self.pace.tick) => true,
        }
    }

    fn all_gone(&self) -> bool {
        self.lanes.iter().all(|lane| matches!(lane.state, LaneState::Gone))
    }

    /// Waits until every sink is open, or until those that are have waited long enough for the others.
    async fn gather(&mut self, books: &mut Books) -> bool {
        let mut first_ready: Option<Instant> = None;
        loop {
            let ready = self.lanes.iter().filter(|lane| matches!(lane.state, LaneState::Ready(_))).count();
            let away = self.lanes.iter().filter(|lane| matches!(lane.state, LaneState::Away)).count();
            if away == 0 {
                break;
            }
            if ready > 0 && self.clock.since(*first_ready.get_or_insert_with(|| self.clock.now())) >= self.pace.grace {
                break;
            }
            if !self.listen().await {
                return false;
            }
        }
        for (index, lane) in self.lanes.iter().enumerate() {
            if let LaneState::Ready(progress) = &lane.state {
                books.watermark.set(index, progress);
            }
        }
        true
    }

    /// Whether the sinks that are open have all rows that a table had before, or do not want them any more.
    fn is_read(&self, table: &TableName) -> bool {
        let name = table.to_string();
        self.lanes.iter().all(|lane| match &lane.state {
            LaneState::Ready(progress) => {
                progress.is_done(table) || lane.halted.contains(&name) && progress.behind.contains_key(&name)
            }
            _ => true,
        })
    }

    /// What the sinks that are open hold, by their own word. One that is away is not guessed at: nothing is
    /// acknowledged before it has spoken, and when it does the log is read again from its position.
    fn resume(&self) -> Resume {
        let sinks = self.lanes.iter().filter_map(|lane| match &lane.state {
            LaneState::Ready(progress) => {
                let progress = without_halted(progress, &lane.halted);
                Some(SinkProgress { sink: Arc::clone(&lane.sink), progress })
            }
            _ => None,
        });
        Resume { sinks: sinks.collect(), accept_server_position: self.accept_server_position }
    }

    async fn run_once(&mut self, books: &mut Books, pauses: &mut Pauses) -> Ending {
        let resume = self.resume();
        books.last_run = self.clock.now();
        let opened = tokio::select! {
            biased;
            () = self.stop.cancelled() => return Ending::Stop,
            opened = self.alive(self.connector.open(resume)) => opened,
        };
        let mut source = match opened {
            Ok(source) => source,
            Err(error) => return Ending::Source(error),
        };
        pauses.let_in();
        // What was vouched for was seen by then; what the server does later is another matter.
        self.accept_server_position = false;
        books.last_run = self.clock.now();
        books.generation += 1;
        books.watermark.forget_acknowledged();
        books.received = None;
        books.heard = Arc::new(Heard::new(self.clock.now()));
        self.meter.snapshot_expected(source.snapshot_rows_expected);
        self.board.update(|view| {
            view.snapshot_rows = 0;
            view.snapshot_rows_expected = source.snapshot_rows_expected;
            for table in &source.tables {
                view.tables.entry(table.name.to_string()).or_default().snapshot_done = self.is_read(&table.name);
            }
        });
        let captured: BTreeSet<String> = source.tables.iter().map(|table| table.name.to_string()).collect();
        let captured = Arc::new(captured);
        for lane in &mut self.lanes {
            if matches!(lane.state, LaneState::Ready(_))
                && lane.commands.send(Command::Start(books.generation, Arc::clone(&captured))).await.is_ok()
            {
                lane.state = LaneState::Running;
                self.board.update_sink(&lane.sink, |sink| sink.state = State::Streaming);
            }
        }
        let running: Vec<bool> = self.lanes.iter().map(|lane| matches!(lane.state, LaneState::Running)).collect();
        books.fanout.start(books.generation, |index| running.get(index).copied().unwrap_or(false));
        self.set_state(if source.snapshot_rows_expected > 0 { State::Snapshot } else { State::Streaming });
        let ending = self.stream(books, &mut source).await;
        // Only now may the connection go: the last acknowledgements travel on it.
        if let Ending::Stop = ending {
            self.close(books, Some(&*source.acknowledger)).await;
        } else {
            self.settle(books, &*source.acknowledger).await;
        }
        ending
    }

    /// Waits for the source's answer, and shows meanwhile that the task lives. The pause is asked first: a source that reads
    /// a log to open never comes to rest, and what stands behind it in the order would never be asked.
    async fn alive<T>(&self, mut answer: BoxFuture<'_, T>) -> T {
        loop {
            self.board.mark_alive("ingest");
            tokio::select! {
                biased;
                () = self.clock.sleep(self.pace.tick) => {}
                answer = &mut answer => return answer,
            }
        }
    }

    /// Moves batches until something ends the run.
    async fn stream(&mut self, books: &mut Books, source: &mut OpenSource) -> Ending {
        let mut tick = self.clock.sleep(Duration::ZERO);
        let mut monitored: Option<Instant> = None;
        loop {
            let busy = books.fanout.is_busy();
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return Ending::Stop,
                Some(report) = self.reports.recv() => {
                    if let Some(ending) = self.take(report, books, &*source.acknowledger) {
                        return ending;
                    }
                }
                // Before the source: one that always has more, and sinks that take it at once, would leave no time for this.
                () = &mut tick => {
                    tick = self.clock.sleep(self.pace.tick);
                    if let Some(ending) = self.look_after(books) {
                        return ending;
                    }
                    if monitored.is_none_or(|then| self.clock.since(then) >= MONITOR_INTERVAL) {
                        monitored = Some(self.clock.now());
                        self.watch_log(source, books);
                    }
                }
                () = books.fanout.flush(), if busy => {}
                batch = source.reader.next_batch(), if !busy => match batch {
                    Ok(batch) => {
                        if let Err(error) = self.accept(batch, books) {
                            return Ending::Source(error);
                        }
                    }
                    Err(error) => return Ending::Source(error),
                },
            }
        }
    }

    fn accept(&self, batch: Batch, books: &mut Books) -> tidewire_core::Result<()> {
        books.heard.note(self.clock.now(), None);
        books.normalizer.normalize(&batch)?;
        self.set_state(if batch.phase == Phase::Snapshot { State::Snapshot } else { State::Streaming });
        if let Some(position) = &batch.position {
            let time = batch.transactions.last().map(|t| t.commit_time_micros);
            books.received =
                Some((position.clone(), time.or_else(|| books.received.as_ref().and_then(|(_, time)| *time))));
        }
        books.fanout.offer(Arc::new(batch), self.clock.now());
        Ok(())
    }

    /// Takes a report in a run.
    fn take(&mut self, report: Report, books: &mut Books, server: &dyn Acknowledger) -> Option<Ending> {
        let worker = report.worker;
        match &report.event {
            Event::Durable(durable) => {
                books.has_committed = true;
                books.watermark.set(worker, &durable.progress);
                if let (Some(slot), Some(time)) =
                    (books.durable_commit_time.get_mut(worker), durable.commit_time_micros)
                {
                    *slot = Some(time);
                }
                self.acknowledge(books, server);
                self.note(report);
                None
            }
            Event::Ready(progress) => {
                // A sink that was away is back: read again from where it stands.
                books.watermark.set(worker, progress);
                self.note(report);
                Some(Ending::Rejoin)
            }
            Event::Failed(_) | Event::TableHalted(..) | Event::Halted(_) | Event::Closed => {
                books.fanout.detach(worker);
                self.note(report);
                if books.fanout.has_attached() { None } else { Some(Ending::NoSinkLeft) }
            }
        }
    }

    fn acknowledge(&self, books: &mut Books, server: &dyn Acknowledger) {
        if let Some(position) = books.watermark.advance() {
            failpoint::pass("before_acknowledge");
            server.acknowledge(position);
            failpoint::pass("after_acknowledge");
            let text = position.text.to_string();
            self.board.update(|view| view.acknowledged = Some(text));
        }
    }

    /// Four times a second: sinks that stall others, sinks that have caught up, lag.
    fn look_after(&mut self, books: &mut Books) -> Option<Ending> {
        self.board.mark_alive("ingest");
        for index in books.fanout.stallers(self.clock.now()) {
            books.fanout.detach(index);
            if let Some(lane) = self.lanes.get_mut(index) {
                warn!(sink = %lane.sink, code = "sink_left_behind", "sink left behind: its queue stayed full; the others go on and it catches up later");
                lane.state = LaneState::Lagging;
                self.board.update_sink(&lane.sink, |sink| sink.state = State::Lagging);
            }
        }
        self.note_lag(books);
        let caught_up =
            |(index, lane): (usize, &Lane)| matches!(lane.state, LaneState::Lagging) && books.fanout.depth(index) == 0;
        let rejoin =
            self.clock.since(books.last_run) >= self.pace.rejoin_min && self.lanes.iter().enumerate().any(caught_up);
        rejoin.then_some(Ending::Rejoin)
    }
}

/// What a sink holds as far as it matters to a run of the source: a table that it has halted is neither read nor asked
/// for again before the daemon starts anew.
fn without_halted(progress: &Progress, halted: &BTreeSet<String>) -> Progress {
    let mut progress = progress.clone();
    for name in halted {
        if let Some(floor) = progress.behind.remove(name) {
            let read = TableProgress { state: TableState::Done, floor };
            progress.tables.entry(name.clone()).or_insert(read).state = TableState::Done;
        }
    }
    progress
}
