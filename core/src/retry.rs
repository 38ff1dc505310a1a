//! The numbers of a retry. The waiting itself, and the library that does it, belong to the daemon.

use std::time::Duration;

/// Pauses that grow, with jitter, up to a cap. Built only when its numbers make sense.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RetryPolicy {
    initial: Duration,
    max: Duration,
    factor: f64,
    jitter: f64,
}

impl RetryPolicy {
    /// For a server that is away: a quarter of a second at first, half a minute at most.
    pub const RECONNECT: RetryPolicy =
        RetryPolicy { initial: Duration::from_millis(250), max: Duration::from_secs(30), factor: 2.0, jitter: 0.3 };

    /// `None` unless `0 < initial <= max`, `factor >= 1` and `jitter` lies in `0..=1`.
    pub fn new(initial: Duration, max: Duration, factor: f64, jitter: f64) -> Option<RetryPolicy> {
        let sensible = initial > Duration::ZERO && initial <= max && factor >= 1.0 && (0.0..=1.0).contains(&jitter);
        sensible.then_some(RetryPolicy { initial, max, factor, jitter })
    }

    /// First pause.
    pub fn initial(&self) -> Duration {
        self.initial
    }

    /// Longest pause.
    pub fn max(&self) -> Duration {
        self.max
    }

    /// Growth from pause to pause.
    pub fn factor(&self) -> f64 {
        self.factor
    }

    /// Part of a pause that is left to chance, 0 to 1.
    pub fn jitter(&self) -> f64 {
        self.jitter
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nonsense_is_not_built() {
        let second = Duration::from_secs(1);
        assert!(RetryPolicy::new(second, second, 1.0, 0.0).is_some());
        for (initial, max, factor, jitter) in [
            (Duration::ZERO, second, 2.0, 0.1),
            (second * 2, second, 2.0, 0.1),
            (second, second, 0.5, 0.1),
            (second, second, 2.0, 1.5),
        ] {
            assert!(RetryPolicy::new(initial, max, factor, jitter).is_none());
        }
    }
}
