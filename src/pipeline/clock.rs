//! The pipeline's clock: what time it is, and how its task and its threads wait. The simulation has one of its own, in
//! which waiting takes no time. Knows nothing of what is waited for.

use std::pin::{Pin, pin};
use std::time::{Duration, Instant};
use tidewire_core::source::BoxFuture;
use tokio::runtime::Handle;

/// Time, and the only ways in which the pipeline lets it pass.
pub(crate) trait Clock: Send + Sync {
    /// What time it is.
    fn now(&self) -> Instant;

    /// Waits in a task.
    fn sleep(&self, length: Duration) -> BoxFuture<'static, ()>;

    /// Blocks a thread until the future is ready, or for `limit`. Returns whether the future is ready; if it is not,
    /// dropping it must lose nothing.
    fn block_on(&self, limit: Duration, future: Pin<&mut (dyn Future<Output = ()> + Send)>) -> bool;
}

/// The machine's clock, by way of the daemon's runtime.
#[derive(Debug)]
pub(crate) struct SystemClock(pub(crate) Handle);

impl Clock for SystemClock {
    fn now(&self) -> Instant {
        Instant::now()
    }

    fn sleep(&self, length: Duration) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(length))
    }

    fn block_on(&self, limit: Duration, future: Pin<&mut (dyn Future<Output = ()> + Send)>) -> bool {
        self.0.block_on(async { tokio::time::timeout(limit, future).await.is_ok() })
    }
}

impl dyn Clock {
    /// How long ago that was.
    pub(crate) fn since(&self, then: Instant) -> Duration {
        self.now().saturating_duration_since(then)
    }

    /// Blocks a thread until the future is ready and gives what it gives, or `None` after `limit`.
    pub(crate) fn wait<T: Send>(&self, limit: Duration, future: impl Future<Output = T> + Send) -> Option<T> {
        let mut got = None;
        let waiting = async { got = Some(future.await) };
        self.block_on(limit, pin!(waiting));
        got
    }
}
