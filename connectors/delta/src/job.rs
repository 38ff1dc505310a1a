//! Work on a thread of its own that can be waited for and told to stop, and work on several threads at once. Knows nothing of
//! what the work is.

use crate::ambient::{self, Limit, limit};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle, available_parallelism};
use tidewire_core::{Error, Result};

/// How much work beside the changes gives way to everything else on the machine, as `nice` counts.
const NICENESS: i32 = 5;

/// More threads than this are of no use to a commit: they would wait for each other, and other work runs beside.
const THREADS_MAX: usize = 4;

/// On how many threads work of a commit may be done.
pub(crate) fn threads() -> usize {
    /// To ask for it reads files.
    static THREADS: LazyLock<usize> = LazyLock::new(|| available_parallelism().map_or(1, usize::from).min(THREADS_MAX));
    limit(Limit::CommitThreads, *THREADS)
}

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
        result.and_then(|joined| joined.ok()).unwrap_or_else(|| Err(panicked()))
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

/// Does the same with each of `items`, on so many threads at most, this one among them. After an error no more are begun;
/// of several errors the answer is that of the first item.
pub(crate) fn side_by_side<T: Send>(items: Vec<T>, threads: usize, act: impl Fn(T) -> Result<()> + Sync) -> Result<()> {
    let others = threads.min(items.len()).saturating_sub(1);
    let waiting = Mutex::new(items.into_iter().enumerate());
    let failed = Mutex::new(None::<(usize, Error)>);
    let work = || {
        loop {
            let next = waiting.lock().unwrap_or_else(PoisonError::into_inner).next();
            let Some((number, item)) = next else { return };
            let Err(error) = act(item) else { continue };
            waiting.lock().unwrap_or_else(PoisonError::into_inner).by_ref().for_each(drop);
            let mut failed = failed.lock().unwrap_or_else(PoisonError::into_inner);
            if failed.as_ref().is_none_or(|(first, _)| number < *first) {
                *failed = Some((number, error));
            }
        }
    };
    let joined = std::thread::scope(|scope| {
        let start = |_| {
            let surroundings = ambient::branch();
            let there = || {
                surroundings.enter();
                work();
            };
            // Where there are too many threads already, the work is done by fewer.
            Builder::new().spawn_scoped(scope, there).ok()
        };
        let started = (0..others).filter_map(start).collect::<Vec<_>>();
        work();
        started.into_iter().map(std::thread::ScopedJoinHandle::join).filter(|joined| joined.is_err()).count()
    });
    match failed.into_inner().unwrap_or_else(PoisonError::into_inner) {
        Some((_, error)) => Err(error),
        None if joined > 0 => Err(panicked()),
        None => Ok(()),
    }
}

/// Does `one` on another thread while this one does `other`; with one thread, or none to be had, one after the other.
pub(crate) fn beside<A: Send, B>(one: impl FnOnce() -> A + Send, other: impl FnOnce() -> B) -> Result<(A, B)> {
    let one = Mutex::new(Some(one));
    let run = || {
        let one = one.lock().unwrap_or_else(PoisonError::into_inner).take();
        one.map(|one| one())
    };
    if threads() < 2 {
        return Ok((run().ok_or_else(panicked)?, other()));
    }
    let (joined, other) = std::thread::scope(|scope| {
        let surroundings = ambient::branch();
        let there = || {
            surroundings.enter();
            run()
        };
        let started = Builder::new().spawn_scoped(scope, there).ok();
        let other = other();
        (started.map(std::thread::ScopedJoinHandle::join), other)
    });
    let one = match joined {
        Some(joined) => joined.ok().flatten(),
        None => run(),
    };
    Ok((one.ok_or_else(panicked)?, other))
}

fn panicked() -> Error {
    Error::bug("thread_panic", "a thread panicked")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ambient::Own;
    use std::sync::Barrier;
    use std::sync::atomic::AtomicUsize;

    #[test]
    fn all_is_done_once_and_at_once() {
        for threads in [0, 1, 3, 8] {
            let done = AtomicUsize::new(0);
            side_by_side((0..100).collect(), threads, |n: usize| {
                done.fetch_add(n, Ordering::Relaxed);
                Ok(())
            })
            .unwrap();
            assert_eq!(done.into_inner(), 4_950);
        }
        // Nobody goes on before all three have come.
        let barrier = Barrier::new(3);
        side_by_side(vec![(); 3], 3, |()| {
            barrier.wait();
            Ok(())
        })
        .unwrap();
    }

    #[test]
    fn two_are_done_at_once() {
        let with = |threads| ambient::take(Own { limits: [(Limit::CommitThreads, threads)].into(), ..Own::default() });
        let barrier = Barrier::new(2);
        let caller = std::thread::current().id();
        let is_here = || std::thread::current().id() == caller;
        with(1);
        assert_eq!(beside(is_here, is_here).unwrap(), (true, true));
        with(2);
        let meet = || {
            barrier.wait();
            is_here()
        };
        assert_eq!(beside(meet, meet).unwrap(), (false, true));
        let panics = || assert!(is_here(), "another thread");
        assert_eq!(beside(panics, || 1).unwrap_err().code(), "thread_panic");
    }

    #[test]
    fn the_first_error_is_the_answer_and_the_end() {
        let barrier = Barrier::new(2);
        let begun = AtomicUsize::new(0);
        let error = side_by_side((0..1_000).collect(), 2, |n| {
            begun.fetch_add(1, Ordering::Relaxed);
            if n < 2 {
                barrier.wait();
            }
            Err(Error::bug("planted", format!("{n}")))
        });
        assert!(error.unwrap_err().to_string().contains('0'));
        assert_eq!(begun.into_inner(), 2);
        let panics = side_by_side(vec![std::thread::current().id(); 2], 2, |caller| {
            barrier.wait();
            assert_eq!(std::thread::current().id(), caller, "the other thread");
            Ok(())
        });
        assert_eq!(panics.unwrap_err().code(), "thread_panic");
    }
}
