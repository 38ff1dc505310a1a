//! SEC-68: a statement of either server under any of the modes that change how it reads, applied to no tables.

use tidewire_mysql::probe::statement;

/// Whether it is a statement that can be applied.
pub(crate) fn read(data: &[u8]) -> bool {
    let Some((first, rest)) = data.split_first() else { return false };
    let Ok(sql) = std::str::from_utf8(rest) else { return false };
    // ANSI_QUOTES, NO_BACKSLASH_ESCAPES and MariaDB's ORACLE.
    let mode = u64::from(first >> 1 & 1) << 2 | u64::from(first >> 2 & 1) << 20 | u64::from(first >> 3 & 1) << 9;
    statement(first & 1 == 1, mode, sql)
}
