//! Turns a retry policy into pauses. The only file that knows the backoff library.

use backoff::ExponentialBackoff;
use backoff::backoff::Backoff as _;
use std::time::Duration;
use tidewire_core::retry::RetryPolicy;

/// Pauses of one retry loop.
#[derive(Debug)]
pub(crate) struct Pauses {
    inner: ExponentialBackoff,
    max: Duration,
}

impl Pauses {
    /// Starts at the policy's first pause.
    pub(crate) fn new(policy: RetryPolicy) -> Pauses {
        let inner = ExponentialBackoff {
            current_interval: policy.initial(),
            initial_interval: policy.initial(),
            max_interval: policy.max(),
            multiplier: policy.factor(),
            randomization_factor: policy.jitter(),
            // A daemon never gives up on a server that is away.
            max_elapsed_time: None,
            ..ExponentialBackoff::default()
        };
        Pauses { inner, max: policy.max() }
    }

    /// The next pause.
    pub(crate) fn next_pause(&mut self) -> Duration {
        self.inner.next_backoff().unwrap_or(self.max)
    }

    /// After a success: the next pause is the first one again.
    pub(crate) fn reset(&mut self) {
        self.inner.reset();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_the_cap_and_start_over_after_a_success() {
        let policy = RetryPolicy::new(Duration::from_millis(100), Duration::from_secs(1), 2.0, 0.0).unwrap();
        let mut pauses = Pauses::new(policy);
        let seen: Vec<u128> = (0..6).map(|_| pauses.next_pause().as_millis()).collect();
        assert_eq!(seen, [100, 200, 400, 800, 1_000, 1_000]);
        pauses.reset();
        assert_eq!(pauses.next_pause().as_millis(), 100);
    }
}
