//! Rounds of torture, one after the other, and what they found: on the terminal as they end, in a folder as Markdown and
//! JSON.

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use serde_json::Value;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use tidewire_testkit::torture::{HEAD, Kind, Options as Round, Sinks, Which, markdown, round};

/// What is asked of a run.
#[derive(Args)]
pub(crate) struct Options {
    /// How long it takes, about: no round begins later.
    #[arg(long, default_value_t = 10.0)]
    minutes: f64,
    /// The first round's seed; each one after it has the next number.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The sources, in turn.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = Source::ALL)]
    sources: Vec<Source>,
    /// The sinks; each round chooses one or both of them.
    #[arg(long, value_enum, value_delimiter = ',')]
    sinks: Vec<Sink>,
    /// Only SIGKILLs, of the daemon and the servers, one right after the other.
    #[arg(long)]
    kills: bool,
    /// No faults: what a long load by itself comes to, and all five readers in the end.
    #[arg(long, conflicts_with_all = ["kills", "failover"])]
    calm: bool,
    /// In each round whose server can have a replica, one takes over; without this in every third.
    #[arg(long)]
    failover: bool,
    /// In each round with topics there are three brokers; without this in every fifth.
    #[arg(long)]
    three_brokers: bool,
    /// In each round with tables they are in a bucket; without this in every fourth.
    #[arg(long)]
    bucket: bool,
    /// How long faults come in each round, in seconds.
    #[arg(long, default_value_t = 60)]
    round: u64,
    /// Most rows of a statement.
    #[arg(long, default_value_t = 20_000)]
    bulk: u64,
    /// Rounds, at most.
    #[arg(long)]
    rounds: Option<u64>,
    /// A daemon that is built already, instead of the release build.
    #[arg(long, value_name = "FILE")]
    daemon: Option<PathBuf>,
    /// Where the report goes: torture.md and torture.json.
    #[arg(long, value_name = "DIR")]
    report: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Source {
    Postgres,
    Mysql,
    Mariadb,
}

impl Source {
    const ALL: [Source; 3] = [Source::Postgres, Source::Mysql, Source::Mariadb];

    fn kind(self) -> Kind {
        match self {
            Source::Postgres => Kind::Postgres,
            Source::Mysql => Kind::Mysql,
            Source::Mariadb => Kind::MariaDb,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Sink {
    Kafka,
    Delta,
}

/// Runs them; a round that found something fails the run, once all are through.
pub(crate) fn run(options: &Options) -> Result<()> {
    let binary = options.daemon.clone().map_or_else(crate::build::release, Ok)?;
    let end = Instant::now() + Duration::from_secs_f64(options.minutes.clamp(0.0, 1e6) * 60.0);
    let mut rounds = Vec::new();
    println!("{HEAD}");
    for seed in options.seed.. {
        let count = seed - options.seed;
        if Instant::now() >= end || options.rounds.is_some_and(|most| count >= most) {
            break;
        }
        let source = options.sources.get(count as usize % options.sources.len().max(1)).context("no source")?;
        let done = round(&Round {
            binary: binary.clone(),
            seed,
            kind: source.kind(),
            sinks: sinks(&options.sinks, seed),
            faults: match options {
                Options { calm: true, .. } => Which::None,
                Options { kills: true, .. } => Which::Kills,
                _ => Which::All,
            },
            failover: options.failover,
            three_brokers: options.three_brokers,
            bucket: options.bucket,
            length: Duration::from_secs(options.round),
            bulk: options.bulk.max(1),
        })
        .with_context(|| format!("seed {seed}, {}", source.kind().name()))?;
        println!("{}", done.line());
        if let Some(fault) = &done.fault {
            eprintln!("seed {seed}, {}: {fault}", done.pair());
        }
        rounds.push(done);
        // After each round: whoever stops the run has what was found.
        if let Some(folder) = &options.report {
            std::fs::create_dir_all(folder).context("make a folder for the report")?;
            std::fs::write(folder.join("torture.md"), markdown(&rounds)).context("write the report")?;
            let all = Value::from(rounds.iter().map(|round| round.json()).collect::<Vec<_>>());
            std::fs::write(folder.join("torture.json"), all.to_string()).context("write the report")?;
        }
    }
    let failed = rounds.iter().filter(|round| round.fault.is_some()).count();
    println!("\n{}", markdown(&rounds));
    if failed > 0 {
        bail!("{failed} of {} rounds found something", rounds.len());
    }
    Ok(())
}

/// Those that were asked for; else both in every second round, and one of them in the others. With as many sources as
/// there are, each comes to all of them.
fn sinks(asked: &[Sink], seed: u64) -> Sinks {
    if !asked.is_empty() {
        return Sinks { events: asked.contains(&Sink::Kafka), lake: asked.contains(&Sink::Delta) };
    }
    match seed % 4 {
        0 => Sinks { events: true, lake: false },
        2 => Sinks { events: false, lake: true },
        _ => Sinks { events: true, lake: true },
    }
}
