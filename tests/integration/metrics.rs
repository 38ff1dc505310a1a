//! The page of metrics, as Prometheus' own linter (`promtool check metrics`) wants it: every name explained and typed,
//! counters known by their ending, base units only.

use crate::rig::{Rig, Sinks};
use anyhow::{Result, ensure};
use std::collections::{BTreeMap, BTreeSet};
use tidewire_testkit::workload::Workload;

/// What is amiss, one line each.
fn faults(page: &str) -> Vec<String> {
    let comments = |word: &str| -> BTreeMap<String, String> {
        let lines = page.lines().filter_map(|line| line.strip_prefix(word));
        lines.filter_map(|rest| rest.split_once(' ')).map(|(name, text)| (name.to_owned(), text.to_owned())).collect()
    };
    let (helps, types) = (comments("# HELP "), comments("# TYPE "));
    let samples = page.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    let names: BTreeSet<&str> = samples.filter_map(|line| line.split(['{', ' ']).next()).collect();
    let mut faults = Vec::new();
    for name in names {
        let is_histogram = |family: &&str| types.get(*family).is_some_and(|kind| kind == "histogram");
        let family = ["_bucket", "_count", "_sum"].iter().find_map(|end| name.strip_suffix(end).filter(is_histogram));
        let family = family.unwrap_or(name);
        let kind = types.get(family).map_or("untyped", String::as_str);
        let mut check = |holds: bool, what: &str| {
            if !holds {
                faults.push(format!("{family} ({kind}): {what}"));
            }
        };
        check(helps.get(family).is_some_and(|text| !text.trim().is_empty()), "has no help");
        check(["counter", "gauge", "histogram"].contains(&kind), "has no usable type");
        check((kind == "counter") == family.ends_with("_total"), "`_total` is the ending of counters");
        check(!family.bytes().any(|byte| byte.is_ascii_uppercase() || byte == b':'), "is not in snake_case");
        let words: Vec<&str> = family.split('_').collect();
        let odd = ["ms", "us", "sec", "milliseconds", "microseconds", "minutes", "kb", "mb", "kilobytes", "megabytes"];
        check(!words.iter().any(|word| odd.contains(word)), "is not in a base unit");
        check(!words.iter().any(|word| ["counter", "gauge", "histogram"].contains(word)), "holds its type");
    }
    faults
}

#[test]
fn every_metric_is_explained() -> Result<()> {
    let mut rig = Rig::new(Sinks::Both)?;
    let url = rig.postgres.url("postgres");
    Workload { transactions: 50, seed: 97, ..Workload::default() }.run(&url)?;
    rig.daemon.run()?;
    rig.catch_up()?;
    Workload { transactions: 50, seed: 98, ..Workload::default() }.run(&url)?;
    rig.catch_up()?;
    let page = rig.daemon.metrics()?;
    for name in ["tidewire_source_changes_total", "tidewire_delta_commits_total", "tidewire_kafka_transactions_total"] {
        ensure!(page.contains(name), "{name} is measured");
    }
    let faults = faults(&page);
    ensure!(faults.is_empty(), "{}", faults.join("\n"));
    ensure!(rig.daemon.terminate()? == 0);
    Ok(())
}
