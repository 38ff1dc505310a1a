//! `tidewire run`: the supervisor. Builds every source and sink, runs one ingest task a source and one
//! worker thread a sink of it, and joins them all.

use crate::admin;
use crate::cli::{Global, exit};
use crate::commands::{connectors, load, print_error, runtime};
use crate::config::Config;
use crate::memory;
use crate::notify;
use crate::pipeline::clock::{Clock, SystemClock};
use crate::pipeline::ingest::{Ingest, Lane, LaneState, Outcome};
use crate::pipeline::pace::Pace;
use crate::pipeline::ship::{HaltedTables, QUEUE_BATCHES, Worker};
use crate::registry::{self, Connectors};
use crate::state::StateDirectory;
use crate::status::{Board, State};
use crate::telemetry::{self, SinkMeter, SourceMeter};
use metrics_exporter_prometheus::PrometheusHandle;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, error, info, info_span, warn};

/// Reports that may wait for a source, for each of its sinks: more than its queue can ever cause, so that a
/// worker never waits for a task that waits for it.
const REPORTS_PER_SINK: usize = 8 * QUEUE_BATCHES;
/// How often the histograms are drained and the process is measured.
const UPKEEP: Duration = Duration::from_secs(5);
/// How often free memory goes back to the system.
const GIVE_BACK: Duration = Duration::from_mins(1);
/// Time that tasks get to end by themselves at a stop.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// Runs the command.
pub(crate) fn run(global: &Global, accept_slot_position: &[String]) -> u8 {
    let (config, faults) = match load(global) {
        Ok(loaded) => loaded,
        Err(code) => return code,
    };
    let state = match StateDirectory::open(&config.state_dir) {
        Ok(state) => Arc::new(state),
        Err(error) => {
            print_error("tidewire", &error);
            return exit::FAILED;
        }
    };
    let connectors = match connectors(&config, faults, Some(&state)) {
        Ok(connectors) => connectors,
        Err(code) => return code,
    };
    let metrics = match telemetry::start_metrics() {
        Ok(metrics) => {
            registry::describe_metrics();
            metrics
        }
        Err(error) => {
            print_error("tidewire", &error);
            return exit::FAILED;
        }
    };
    let runtime = match runtime() {
        Ok(runtime) => runtime,
        Err(code) => return code,
    };
    let code = runtime.block_on(supervise(&config, connectors, state, metrics, accept_slot_position));
    // Tasks that are not ours (a library's timers) must not hold the exit.
    runtime.shutdown_timeout(Duration::from_millis(500));
    code
}

async fn supervise(
    config: &Config,
    connectors: Connectors,
    state: Arc<StateDirectory>,
    metrics: PrometheusHandle,
    accept: &[String],
) -> u8 {
    let (Ok(mut terminate), Ok(mut interrupt)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        eprintln!("tidewire: signals cannot be caught");
        return exit::FAILED;
    };
    let board = Board::new(connectors.sources.keys().map(String::as_str));
    let stop = CancellationToken::new();
    let address = match admin::serve(config.admin_listen, board.clone(), metrics.clone(), stop.child_token()).await {
        Ok(address) => address,
        Err(error) => {
            eprintln!("tidewire: listen on {}: {error}; set admin.listen to a free address", config.admin_listen);
            return exit::FAILED;
        }
    };
    info!(version = env!("CARGO_PKG_VERSION"), admin = %address, state_dir = %state.path().display(), "tidewire runs");
    let mut house = JoinSet::new();
    house.spawn(notify::keep_informed(board.clone(), stop.child_token()));
    house.spawn(upkeep(metrics, stop.child_token()));
    house.spawn(refuse_reload(stop.child_token()));

    let mut tasks = JoinSet::new();
    let mut threads = Vec::new();
    for name in connectors.sources.keys() {
        let Some((ingest, workers)) = assemble(name, config, &connectors, &state, &board, &stop, accept) else {
            continue;
        };
        threads.extend(workers.into_iter().map(spawn_worker));
        tasks.spawn(ingest.run().instrument(info_span!("source", source = %name)));
    }
    let outcome = wait(&mut tasks, &stop, &mut terminate, &mut interrupt, config.shutdown_timeout).await;
    stop.cancel();
    join_threads(threads, outcome.clean).await;
    close(house).await;
    info!(exit = outcome.code, "tidewire ends");
    outcome.code
}

/// Wires one source: only connects, decides nothing.
fn assemble(
    name: &str,
    config: &Config,
    connectors: &Connectors,
    state: &Arc<StateDirectory>,
    board: &Board,
    stop: &CancellationToken,
    accept: &[String],
) -> Option<(Ingest, Vec<Worker>)> {
    let source: Arc<str> = Arc::from(name);
    let board = Arc::clone(board.source(name)?);
    let sinks: Vec<Arc<str>> = config.sinks_of(name).map(Arc::from).collect();
    if sinks.is_empty() {
        warn!(source = name, code = "source_without_sink", "no sink takes this source; it is not read");
        board.update(|view| view.state = State::Stopped);
        return None;
    }
    let clock: Arc<dyn Clock> = Arc::new(SystemClock(Handle::current()));
    let (report, reports) = mpsc::channel(REPORTS_PER_SINK * sinks.len());
    let mut lanes = Vec::new();
    let mut workers = Vec::new();
    for (index, sink) in sinks.into_iter().enumerate() {
        let (commands, queue) = mpsc::channel(QUEUE_BATCHES);
        board.update_sink(&sink, |_| ());
        let alive = {
            let (board, task) = (Arc::clone(&board), format!("sink {sink}"));
            Box::new(move || board.mark_alive(&task))
        };
        workers.push(Worker {
            index,
            source: Arc::clone(&source),
            connector: Arc::clone(connectors.sinks.get(&*sink)?),
            commands: queue,
            reports: report.clone(),
            retry: Pace::default().retry,
            clock: Arc::clone(&clock),
            meter: SinkMeter::new(Arc::clone(&source), Arc::clone(&sink)),
            alive,
            halted: HaltedTables::default(),
        });
        lanes.push(Lane { sink, commands, state: LaneState::Away, halted: BTreeSet::new(), refused: false });
    }
    let ingest = Ingest {
        connector: Arc::clone(connectors.sources.get(name)?),
        lanes,
        reports,
        state: Arc::clone(state),
        board,
        meter: SourceMeter::new(Arc::clone(&source)),
        stop: stop.child_token(),
        pace: Pace::default(),
        clock,
        metrics_per_table: config.metrics_per_table,
        lanes_opened: false,
        accept_server_position: accept.iter().any(|accepted| accepted == name),
        source,
    };
    Some((ingest, workers))
}

fn spawn_worker(worker: Worker) -> Option<JoinHandle<()>> {
    let (source, index) = (Arc::clone(&worker.source), worker.index);
    let name = format!("sink-{index}-{source}");
    let spawned = std::thread::Builder::new().name(name).spawn(move || {
        let _span = info_span!("ship", source = %worker.source, sink = worker.index).entered();
        worker.run();
    });
    spawned.map_err(|failure| error!(%source, code = "thread_not_started", "start a sink's thread: {failure}")).ok()
}

struct Ended {
    code: u8,
    /// Whether every task ended by itself.
    clean: bool,
}

/// Waits for the end: asked for, or because nothing can run any more.
async fn wait(
    tasks: &mut JoinSet<Outcome>,
    stop: &CancellationToken,
    terminate: &mut Signal,
    interrupt: &mut Signal,
    shutdown_timeout: Duration,
) -> Ended {
    // Whether all that ended did for their configuration. Where no sink takes any source, nothing has.
    let mut refused = !tasks.is_empty();
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            ended = tasks.join_next() => match ended {
                Some(Ok(outcome)) => {
                    refused &= outcome == Outcome::Refused;
                    info!(?outcome, "a source's task ended");
                }
                Some(Err(failure)) => {
                    refused = false;
                    error!(code = "task_panicked", "a source's task ended by a panic: {failure}");
                }
                None => {
                    error!(code = "nothing_left", "no source can run; see the reasons above");
                    // With the same configuration the next start would end here again.
                    return Ended { code: if refused { exit::CONFIGURATION } else { exit::FAILED }, clean: true };
                }
            },
        }
    }
    info!(within_s = shutdown_timeout.as_secs(), "asked to stop: committing what is in flight");
    stop.cancel();
    let drained = async { while tasks.join_next().await.is_some() {} };
    let clean = tokio::select! {
        drained = tokio::time::timeout(shutdown_timeout, drained) => drained.is_ok(),
        _ = terminate.recv() => false,
        _ = interrupt.recv() => false,
    };
    if !clean {
        warn!(code = "stop_cut_short", "not everything in flight was committed; it is read again at the next start");
    }
    Ended { code: exit::OK, clean }
}

/// Joins the workers; those of an unclean end are left to the end of the process.
async fn join_threads(threads: Vec<Option<JoinHandle<()>>>, clean: bool) {
    if !clean {
        return;
    }
    let joined = tokio::task::spawn_blocking(move || {
        for thread in threads.into_iter().flatten() {
            let _ = thread.join();
        }
    });
    let _ = tokio::time::timeout(Duration::from_secs(5), joined).await;
}

/// Lets tasks that were told to stop have their last word, such as `STOPPING=1`: a source may end before they have been
/// scheduled once. What does not end by itself is aborted.
async fn close(mut house: JoinSet<()>) {
    let ended = async { while house.join_next().await.is_some() {} };
    let _ = tokio::time::timeout(LAST_WORDS, ended).await;
    house.shutdown().await;
}

/// SIGHUP asks for a reload, which this version cannot do; unheard it would end the daemon.
async fn refuse_reload(stop: CancellationToken) {
    let Ok(mut hangup) = signal(SignalKind::hangup()) else { return };
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            received = hangup.recv() => match received {
                Some(()) => warn!(code = "reload_unavailable", "SIGHUP: this version reads its configuration at start only; restart it"),
                None => return,
            }
        }
    }
}

async fn upkeep(metrics: PrometheusHandle, stop: CancellationToken) {
    let mut tick = tokio::time::interval(UPKEEP);
    // A start has nothing to give back.
    let mut giving = tokio::time::interval_at(tokio::time::Instant::now() + GIVE_BACK, GIVE_BACK);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = tick.tick() => {
                metrics.run_upkeep();
                telemetry::measure_process();
            }
            _ = giving.tick() => {
                // Not on a thread that others' tasks wait for. It cannot fail, and nothing depends on it.
                let _ = tokio::task::spawn_blocking(memory::give_back).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, Ordering};

    #[tokio::test]
    async fn a_task_of_the_house_has_its_last_word() {
        let (stop, said) = (CancellationToken::new(), Arc::new(AtomicBool::new(false)));
        let mut house = JoinSet::new();
        house.spawn({
            let (stop, said) = (stop.clone(), Arc::clone(&said));
            async move {
                stop.cancelled().await;
                said.store(true, Ordering::Relaxed);
            }
        });
        stop.cancel();
        close(house).await;
        assert!(said.load(Ordering::Relaxed), "aborted before it was scheduled");
    }

    #[tokio::test]
    async fn the_exit_code_tells_whether_a_new_start_may_help() {
        use Outcome::{Halted, Refused};
        for (outcomes, code) in [
            (&[][..], exit::FAILED),
            (&[Refused], exit::CONFIGURATION),
            (&[Refused, Halted], exit::FAILED),
            (&[Refused, Refused], exit::CONFIGURATION),
        ] {
            let mut tasks = JoinSet::new();
            outcomes.iter().for_each(|outcome| drop(tasks.spawn(std::future::ready(*outcome))));
            let (stop, kind) = (CancellationToken::new(), SignalKind::user_defined2());
            let (mut one, mut other) = (signal(kind).unwrap(), signal(kind).unwrap());
            let ended = wait(&mut tasks, &stop, &mut one, &mut other, Duration::ZERO).await;
            assert_eq!((ended.code, ended.clean), (code, true), "{outcomes:?}");
        }
    }

    #[tokio::test]
    async fn a_task_that_does_not_end_is_not_waited_for() {
        let mut house = JoinSet::new();
        house.spawn(std::future::pending());
        tokio::time::timeout(LAST_WORDS * 20, close(house)).await.expect("the limit");
    }
}
