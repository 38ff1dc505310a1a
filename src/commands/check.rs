//! `tidewire check`: what is missing, and what mends it. Changes nothing.

use crate::cli::{Global, exit};
use crate::commands::{connectors, load, print_error, runtime};
use crate::config::Config;
use crate::registry::Connectors;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tidewire_core::source::{Resume, SinkProgress};
use tidewire_core::{ErrorKind, Finding, Result, Severity, SourceConnector, TableSchema};
use tokio::time::timeout;

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
    let mut unread: BTreeMap<&str, Vec<Finding>> = BTreeMap::new();
    for (name, source) in &connectors.sources {
        let label = format!("source {name}");
        match timeout(CHECK_MAX, source.check()).await {
            Ok(checked) => {
                let mut findings = findings_of(checked);
                // What the server lacks is said first: a start would not come further.
                if !findings.iter().any(is_error) {
                    let resume = held(config, connectors, name, &mut unread).await;
                    findings.extend(refusal(source.as_ref(), resume).await);
                }
                amiss |= show(&label, &findings);
            }
            Err(_) => amiss |= show_timeout(&label),
        }
        if let Ok(Ok(list)) = timeout(CHECK_MAX, source.tables()).await {
            tables.extend(list.into_iter().map(|table| (Arc::from(name.as_str()), table)));
        }
    }
    for (name, sink) in &connectors.sinks {
        let label = format!("sink {name}");
        let own: Tables =
            tables.iter().filter(|(source, _)| config.sinks_of(source).any(|sink| sink == name)).cloned().collect();
        let sink = Arc::clone(sink);
        let checked = tokio::task::spawn_blocking(move || sink.check(&own));
        match timeout(CHECK_MAX, checked).await {
            Ok(Ok(checked)) => {
                let mut findings = findings_of(checked);
                if !findings.iter().any(is_error) {
                    findings.extend(unread.remove(name.as_str()).unwrap_or_default());
                }
                amiss |= show(&label, &findings);
            }
            Ok(Err(_)) | Err(_) => amiss |= show_timeout(&label),
        }
    }
    amiss
}

/// What the sinks of a source hold, as far as they can be asked. Where that cannot be read, it is `unread` in that sink.
async fn held<'a>(
    config: &'a Config,
    connectors: &Connectors,
    source: &'a str,
    unread: &mut BTreeMap<&'a str, Vec<Finding>>,
) -> Resume {
    let mut resume = Resume::default();
    for name in config.sinks_of(source) {
        let Some(sink) = connectors.sinks.get(name).cloned() else { continue };
        let source = source.to_owned();
        let asked = tokio::task::spawn_blocking(move || sink.held(&source));
        match timeout(CHECK_MAX, asked).await {
            Ok(Ok(Ok(Some(progress)))) => resume.sinks.push(SinkProgress { sink: Arc::from(name), progress }),
            Ok(Ok(Err(error))) if error.kind() == ErrorKind::Operator => {
                unread.entry(name).or_default().push(Finding::of_error(&error));
            }
            // A store that does not answer now is told of by its own check.
            Ok(Ok(Err(error))) => tracing::debug!(sink = name, error = %error.chain(), "not known what it holds"),
            Ok(Ok(Ok(None)) | Err(_)) | Err(_) => {}
        }
    }
    resume
}

/// Why a start that goes on from what the sinks hold would be refused. Of sinks that hold nothing every server can make a
/// beginning.
async fn refusal(source: &dyn SourceConnector, resume: Resume) -> Option<Finding> {
    if resume.sinks.iter().all(|sink| sink.progress.resume_from().is_none()) {
        return None;
    }
    match timeout(CHECK_MAX, source.can_resume(resume)).await {
        Ok(Err(error)) if error.kind() == ErrorKind::Operator => Some(Finding::of_error(&error)),
        _ => None,
    }
}

fn is_error(finding: &Finding) -> bool {
    finding.severity == Severity::Error
}

/// A check that failed has found that.
fn findings_of(checked: Result<Vec<Finding>>) -> Vec<Finding> {
    checked.unwrap_or_else(|error| vec![Finding::of_error(&error)])
}

/// Prints what was found; returns whether something must be mended.
fn show(label: &str, findings: &[Finding]) -> bool {
    for finding in findings {
        let word = if is_error(finding) { "error" } else { "warning" };
        println!("{label}: {word} [{}]: {}", finding.code, finding.message);
        if let Some(remedy) = &finding.remedy {
            println!("    {}", remedy.replace('\n', "\n    "));
        }
    }
    let amiss = findings.iter().any(is_error);
    if !amiss {
        println!("{label}: ok");
    }
    amiss
}

fn show_timeout(label: &str) -> bool {
    let error = tidewire_core::Error::retry("check_timed_out", format!("no answer within {} s", CHECK_MAX.as_secs()))
        .with_remedy("look whether the address is right and the server answers");
    print_error(label, &error);
    println!("{label}: error [{}]", error.code());
    true
}
