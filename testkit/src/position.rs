//! Places in logs as servers and the daemon write them, as numbers that can be compared. Knows no server.

use anyhow::{Context, Result, bail};

/// PostgreSQL's `X/Y` as a number.
pub fn lsn(text: &str) -> Result<u64> {
    let (high, low) = text.split_once('/').context("an LSN has a slash")?;
    Ok(u64::from_str_radix(high, 16)? << 32 | u64::from_str_radix(low, 16)?)
}

/// The LSN in a position's text, `pg:system/timeline/X/Y/ordinal`.
pub fn position_lsn(text: &str) -> Result<u64> {
    match text.split('/').collect::<Vec<_>>().as_slice() {
        [_, _, high, low, _] => lsn(&format!("{high}/{low}")),
        _ => bail!("`{text}` is no position"),
    }
}

/// How many transactions a set of MySQL's global ids holds: `uuid:1-5:7,uuid:tag:1-3`.
pub fn transactions_of_mysql(set: &str) -> Result<u64> {
    let mut count = 0;
    for part in set.split(',').filter(|part| !part.trim().is_empty()) {
        for range in part.trim().split(':').skip(1).filter(|range| range.starts_with(|c: char| c.is_ascii_digit())) {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            count += last.parse::<u64>()? + 1 - first.parse::<u64>()?;
        }
    }
    Ok(count)
}

/// The sum of the sequence numbers of MariaDB's domains: `0-1-100,1-2-50`.
pub fn transactions_of_mariadb(domains: &str) -> Result<u64> {
    let last = |id: &str| Ok(id.rsplit('-').next().unwrap_or_default().parse::<u64>()?);
    domains.split(',').filter(|id| !id.is_empty()).map(last).sum()
}
