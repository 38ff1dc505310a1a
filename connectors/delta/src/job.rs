//! Work on a thread of its own that can be waited for and told to stop. Knows nothing of what the work is.

use crate::ambient;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{Builder, JoinHandle};
use tidewire_core::{Error, Result};

/// How much work beside the changes gives way to everything else on the machine, as `nice` counts.
const NICENESS: i32 = 5;

/// The calling thread does work that can wait: it gives way to the others.
pub(crate) fn give_way() {
    // Only a wish: without it the work is as urgent as anything else. On Linux it is about this thread alone.
    let _ = rustix::process::setpriority_process(None, NICENESS);
}

/// A thread. Dropping it tells it to stop and waits until it has.
#[derive(Debug)]
pub(crate) struct Job<T> {
    thread: Option<JoinHandle<Result<T>>>,
    stop: Arc<AtomicBool>,
}

impl<T: Send + 'static> Job<T> {
    /// Starts `work`, which must look at the flag now and then, and end when it is set.
    pub(crate) fn start(name: &str, work: impl FnOnce(&AtomicBool) -> Result<T> + Send + 'static) -> Result<Job<T>> {
        let stop = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&stop);
        let surroundings = ambient::branch();
        let thread = Builder::new().name(name.to_owned()).spawn(move || {
            surroundings.enter();
            work(&flag)
        });
        let thread = thread.map_err(|cause| Error::retry("thread_start", "start a thread").with_cause(cause))?;
        Ok(Job { thread: Some(thread), stop })
    }

    /// Whether `join` would not wait.
    pub(crate) fn is_finished(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Waits for the result.
    pub(crate) fn join(mut self) -> Result<T> {
        let result = self.thread.take().map(JoinHandle::join);
        result.and_then(|joined| joined.ok()).unwrap_or_else(|| Err(Error::bug("thread_panic", "a thread panicked")))
    }

    /// Tells it to stop, and waits for what it has done all the same.
    pub(crate) fn give_up(self) -> Result<T> {
        self.stop.store(true, Ordering::Relaxed);
        self.join()
    }
}

impl<T> Drop for Job<T> {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // Nobody wants the result.
            let _ = thread.join();
        }
    }
}
