//! `tidewire check`: what is missing, and what mends it. Changes nothing.

use crate::cli::{Global, exit};
use crate::commands::{connectors, load, print_error, runtime};
use crate::config::Config;
use crate::registry::Connectors;
use std::sync::Arc;
use std::time::Duration;
use tidewire_core::{Finding, Result, Severity, TableSchema};

/// Longest time for one source or sink.
const CHECK_MAX: Duration = Duration::from_secs(60);

type Tables = Vec<(Arc<str>, Arc<TableSchema>)>;

/// Runs the command.
pub(crate) fn check(global: &Global, offline: bool) -> u8 {
    let (config, faults) = match load(global) {
        Ok(loaded) => loaded,
        Err(code) => return code,
    };
    let connectors = match connectors(&config, faults, None) {
        Ok(connectors) => connectors,
        Err(code) => return code,
    };
    if offline {
        println!("ok: the configuration can be read ({} sources, {} sinks)", config.sources.len(), config.sinks.len());
        return exit::OK;
    }
    let runtime = match runtime() {
        Ok(runtime) => runtime,
        Err(code) => return code,
    };
    let amiss = runtime.block_on(check_all(&config, &connectors));
    if amiss { exit::AMISS } else { exit::OK }
}

async fn check_all(config: &Config, connectors: &Connectors) -> bool {
    let mut amiss = false;
    let mut tables: Tables = Vec::new();
    for (name, source) in &connectors.sources {
        let label = format!("source {name}");
        match tokio::time::timeout(CHECK_MAX, source.check()).await {
            Ok(result) => amiss |= show(&label, result),
            Err(_) => amiss |= show_timeout(&label),
        }
        if let Ok(Ok(list)) = tokio::time::timeout(CHECK_MAX, source.tables()).await {
            tables.extend(list.into_iter().map(|table| (Arc::from(name.as_str()), table)));
        }
    }
    for (name, sink) in &connectors.sinks {
        let label = format!("sink {name}");
        let own: Tables =
            tables.iter().filter(|(source, _)| config.sinks_of(source).any(|sink| sink == name)).cloned().collect();
        let sink = Arc::clone(sink);
        let checked = tokio::task::spawn_blocking(move || sink.check(&own));
        match tokio::time::timeout(CHECK_MAX, checked).await {
            Ok(Ok(result)) => amiss |= show(&label, result),
            Ok(Err(_)) | Err(_) => amiss |= show_timeout(&label),
        }
    }
    amiss
}

/// Prints what was found; returns whether something must be mended.
fn show(label: &str, result: Result<Vec<Finding>>) -> bool {
    match result {
        Ok(findings) => {
            for finding in &findings {
                let word = if finding.severity == Severity::Error { "error" } else { "warning" };
                println!("{label}: {word} [{}]: {}", finding.code, finding.message);
                if let Some(remedy) = &finding.remedy {
                    println!("    {}", remedy.replace('\n', "\n    "));
                }
            }
            let amiss = findings.iter().any(|finding| finding.severity == Severity::Error);
            if !amiss {
                println!("{label}: ok");
            }
            amiss
        }
        Err(error) => {
            println!("{label}: error [{}]: {}", error.code(), error.chain());
            if let Some(remedy) = error.remedy() {
                println!("    {}", remedy.replace('\n', "\n    "));
            }
            true
        }
    }
}

fn show_timeout(label: &str) -> bool {
    let error = tidewire_core::Error::retry("check_timed_out", format!("no answer within {} s", CHECK_MAX.as_secs()))
        .with_remedy("look whether the address is right and the server answers");
    print_error(label, &error);
    println!("{label}: error [{}]", error.code());
    true
}
