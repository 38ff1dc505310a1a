//! Turns a retry policy into pauses. The only file that knows the backoff library.

use backoff::ExponentialBackoff;
use backoff::backoff::Backoff as _;
use std::time::Duration;
use tidewire_core::retry::RetryPolicy;
use tidewire_core::{Error, ErrorKind};

/// So often something is refused to what has worked before until it halts: some minutes, with the pauses between.
const REFUSALS_MAX: u32 = 12;

/// Pauses of one retry loop.
#[derive(Debug)]
pub(crate) struct Pauses {
    inner: ExponentialBackoff,
    max: Duration,
    /// Refusals that are still waited out; 0 until it has worked once.
    refusals_left: u32,
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
        Pauses { inner, max: policy.max(), refusals_left: 0 }
    }

    /// The next pause.
    pub(crate) fn next_pause(&mut self) -> Duration {
        self.inner.next_backoff().unwrap_or(self.max)
    }

    /// Whether to try again after this error.
    pub(crate) fn outlast(&mut self, error: &Error) -> bool {
        if error.kind() == ErrorKind::Retry {
            return true;
        }
        let waits = error.may_pass() && self.refusals_left > 0;
        self.refusals_left -= u32::from(waits);
        waits
    }

    /// It was let in: what is refused from now on may pass.
    pub(crate) fn let_in(&mut self) {
        self.refusals_left = REFUSALS_MAX;
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

    #[test]
    fn a_refusal_is_waited_out_by_what_was_let_in_before() {
        let mut pauses = Pauses::new(RetryPolicy::RECONNECT);
        let refused = Error::operator("refused", "no").that_may_pass();
        let outlasted = |pauses: &mut Pauses| (0..100).take_while(|_| pauses.outlast(&refused)).count() as u32;
        assert_eq!(outlasted(&mut pauses), 0, "a wrong password at the first start halts at once");
        for _ in 0..2 {
            pauses.let_in();
            assert_eq!(outlasted(&mut pauses), REFUSALS_MAX);
            assert_eq!(outlasted(&mut pauses), 0);
        }
        pauses.let_in();
        assert!(!pauses.outlast(&Error::operator("slot_missing", "gone")), "this does not pass by itself");
        assert!(pauses.outlast(&Error::retry("connection_lost", "away")));
    }
}
