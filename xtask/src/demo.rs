//! The demo: a shop on a throw-away PostgreSQL, MySQL or MariaDB, a trickle of orders, the real daemon with a real
//! configuration, and what arrives.

mod shop;
mod show;
mod source;

use crate::build;
use anyhow::{Context, Result};
use clap::Args;
use source::Source;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tidewire_testkit::{Daemon, Kafka, KafkaOptions, MysqlVersion, wait};

/// What the demo may be asked.
#[derive(Args)]
pub(crate) struct Options {
    /// MySQL in place of PostgreSQL.
    #[arg(long, conflicts_with = "mariadb")]
    mysql: bool,
    /// MariaDB in place of PostgreSQL.
    #[arg(long)]
    mariadb: bool,
    /// A Kafka broker and a Kafka sink too.
    #[arg(long)]
    kafka: bool,
    /// Ends by itself after so many seconds and then compares each mirror with its table, as DuckDB reads it.
    #[arg(long, value_name = "N")]
    seconds: Option<u64>,
    /// A daemon that is built already, such as a release build.
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
}

/// Time between two looks at what arrived.
const GLANCE: Duration = Duration::from_secs(3);

/// Runs it until Ctrl-C, or for `--seconds`.
pub(crate) fn run(options: &Options) -> Result<()> {
    let stop = stop_on_signal()?;
    let binary = match &options.binary {
        Some(binary) => binary.canonicalize().with_context(|| format!("find {}", binary.display()))?,
        None => {
            println!("building the daemon (the first time takes minutes)");
            build::daemon()?
        }
    };
    let source = match (options.mysql, options.mariadb) {
        (true, _) => Source::mysql(MysqlVersion::MySql97),
        (_, true) => Source::mysql(MysqlVersion::MariaDb1011),
        _ => Source::postgres(),
    }?;
    println!("source   {}", source.title()?);
    let kafka = options.kafka.then(|| Kafka::start(&KafkaOptions::default())).transpose()?;
    let mut daemon = Daemon::new(binary, "")?;
    // What the daemon logs is for the reader of the demo, not a reason to fail.
    daemon.allow_log("");
    daemon.write_config(&configuration(&source, kafka.as_ref(), &daemon))?;
    daemon.run()?;
    println!("config   {}", daemon.config_path().display());
    println!("status   http://127.0.0.1:{}/", daemon.port());
    println!("log      {}", daemon.log_path().display());
    println!("tables   {}", show::lake(&daemon).display());
    if let Some(broker) = &kafka {
        println!("broker   {}", broker.brokers());
    }
    daemon.wait_for("the source to stream", |status| {
        stop.load(Ordering::Relaxed) || status.pointer("/sources/shop/state").is_some_and(|state| state == "streaming")
    })?;
    let trickle = shop::Trickle::start(source.writer()?)?;
    let begin = Instant::now();
    while !stop.load(Ordering::Relaxed) && options.seconds.is_none_or(|n| begin.elapsed().as_secs() < n) {
        std::thread::park_timeout(GLANCE.min(remaining(options, begin)));
        show::glance(&mut daemon, kafka.as_ref(), source.schema(), begin.elapsed())?;
    }
    let orders = trickle.stop()?;
    println!("{orders} transactions were written");
    if options.seconds.is_some() && !stop.load(Ordering::Relaxed) {
        compare(&source, &daemon)?;
        if let Some(broker) = &kafka {
            compare_topics(&source, broker)?;
        }
    }
    println!("stopping");
    let code = daemon.terminate()?;
    println!("the daemon ended with {code}; nothing is left behind");
    Ok(())
}

fn remaining(options: &Options, begin: Instant) -> Duration {
    options.seconds.map_or(GLANCE, |n| Duration::from_secs(n).saturating_sub(begin.elapsed()))
}

fn configuration(source: &Source, kafka: Option<&Kafka>, daemon: &Daemon) -> String {
    let mut text = format!(
        "{}\n[sinks.lake.delta]\nlocation = \"file://{}\"\ncommit_interval = \"1s\"\n",
        source.configuration(),
        show::lake(daemon).display()
    );
    if let Some(broker) = kafka {
        text.push_str(&format!("\n[sinks.events.kafka]\nbrokers = [\"{}\"]\n", broker.brokers()));
    }
    text
}

fn compare(source: &Source, daemon: &Daemon) -> Result<()> {
    for table in shop::TABLES {
        let path = show::lake(daemon).join("shop").join(source.schema()).join(table);
        let mut last = None;
        wait::until("the mirror to equal its table", wait::PATIENCE, || {
            last = source.check_mirror(table, &path).err();
            Ok(last.is_none().then_some(()))
        })
        .with_context(|| last.take().map_or_else(String::new, |error| format!("{error:#}")))?;
        println!(
            "{table}: DuckDB reads what {} holds, {} rows",
            source.product(),
            source.value(&format!("SELECT count(*) FROM {table}"))?
        );
    }
    Ok(())
}

fn compare_topics(source: &Source, broker: &Kafka) -> Result<()> {
    for table in shop::TABLES {
        let mut last = None;
        let changes = wait::until("the topic to equal its table", wait::PATIENCE, || {
            let records = show::records(broker, source.schema(), table)?;
            match source.check_topic(table, &records) {
                Ok(fold) => Ok(Some(fold.changes().len())),
                Err(error) => {
                    last = Some(error);
                    Ok(None)
                }
            }
        })
        .with_context(|| last.take().map_or_else(String::new, |error| format!("{error:#}")))?;
        println!("{table}: the topic folds to what {} holds, {changes} changes, none twice", source.product());
    }
    Ok(())
}

/// Set by Ctrl-C and SIGTERM.
fn stop_on_signal() -> Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    let (ours, main) = (Arc::clone(&stop), std::thread::current());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("start a runtime")?;
    let listen = {
        let _guard = runtime.enter();
        let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
        let mut interrupt = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::interrupt())?;
        async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        }
    };
    std::thread::spawn(move || {
        runtime.block_on(listen);
        ours.store(true, Ordering::Relaxed);
        main.unpark();
    });
    Ok(stop)
}
