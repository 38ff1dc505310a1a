//! How patient the pipeline is. One set of numbers, so that a simulation can run the same code faster.

use std::time::Duration;
use tidewire_core::retry::RetryPolicy;

/// The pipeline's waiting times.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    /// Pauses between attempts to reach a server.
    pub(crate) retry: RetryPolicy,
    /// How long the sinks that are open wait for the others at a start.
    pub(crate) grace: Duration,
    /// How long the other sinks wait for one whose queue is full.
    pub(crate) stall_max: Duration,
    /// Shortest time between two runs that only let a slow sink catch up.
    pub(crate) rejoin_min: Duration,
    /// How often a task looks after itself.
    pub(crate) tick: Duration,
}

impl Default for Pace {
    fn default() -> Pace {
        Pace {
            retry: RetryPolicy::RECONNECT,
            grace: Duration::from_secs(10),
            stall_max: Duration::from_secs(2),
            rejoin_min: Duration::from_secs(30),
            tick: Duration::from_millis(250),
        }
    }
}
