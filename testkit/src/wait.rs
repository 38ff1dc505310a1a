//! Waiting for a condition, with an end. Nothing in the tests pauses for a fixed time and hopes.

use anyhow::{Result, bail};
use std::time::{Duration, Instant};

/// How long a test waits for something that should come soon, before it fails.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Asks `probe` again and again, in small and growing steps, until it yields a value. After `limit` the error says
/// what was waited for.
pub fn until<T>(what: &str, limit: Duration, mut probe: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let begin = Instant::now();
    let mut pause = Duration::from_millis(2);
    loop {
        if let Some(value) = probe()? {
            return Ok(value);
        }
        if begin.elapsed() > limit {
            bail!("waited {} s in vain for {what}", limit.as_secs());
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(100));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_ends_with_the_value_or_with_what_was_missing() {
        let mut calls = 0;
        let value = until("three", PATIENCE, || {
            calls += 1;
            Ok((calls == 3).then_some(calls))
        });
        assert_eq!(value.unwrap(), 3);
        let error = until::<()>("the moon", Duration::ZERO, || Ok(None)).unwrap_err();
        assert!(error.to_string().contains("the moon"));
    }
}
