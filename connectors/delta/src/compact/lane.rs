//! What all rewritings of a sink share, so that they do not take the machine from others: a pace, in bytes read a second, and
//! turns: small ones go one after the other, beside a large one. Knows nothing of files.

use super::pace::Pace;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// A rewriting of files of so many bytes and less is small: it takes a fraction of a second.
pub(crate) const SMALL_BYTES: u64 = 16 << 20;
/// A wait is cut into pieces, so that work that nobody wants any more ends soon.
const PIECE: Duration = Duration::from_millis(100);

/// Shared by the threads that rewrite files of a sink.
#[derive(Debug)]
pub(crate) struct Lane {
    pace: Mutex<Pace>,
    /// A small one is at work.
    taken: Mutex<bool>,
    free: Condvar,
}

/// The right to work; given back when dropped.
#[derive(Debug)]
pub(super) struct Turn<'a>(Option<&'a Lane>);

impl Lane {
    /// With so many bytes a second at the most.
    pub(crate) fn new(bytes_per_second: Option<u64>) -> Lane {
        Lane { pace: Mutex::new(Pace::new(bytes_per_second)), taken: Mutex::new(false), free: Condvar::new() }
    }

    /// Waits until work of so many bytes may begin; `None` when `stop` is set before.
    pub(super) fn turn(&self, bytes: u64, stop: &AtomicBool) -> Option<Turn<'_>> {
        if bytes > SMALL_BYTES {
            return Some(Turn(None));
        }
        let mut taken = lock(&self.taken);
        while *taken {
            if stop.load(Ordering::Relaxed) {
                return None;
            }
            taken = self.free.wait_timeout(taken, PIECE).unwrap_or_else(PoisonError::into_inner).0;
        }
        *taken = true;
        Some(Turn(Some(self)))
    }

    /// So many bytes have been read: waits until the next ones may be, or `stop` is set.
    pub(super) fn read(&self, bytes: u64, stop: &AtomicBool) {
        let due = lock(&self.pace).read(bytes, Instant::now());
        while let Some(left) = due.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())
            && !stop.load(Ordering::Relaxed)
        {
            thread::sleep(left.min(PIECE));
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if let Some(lane) = self.0 {
            *lock(&lane.taken) = false;
            lane.free.notify_one();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;

    #[test]
    fn work_that_nobody_wants_does_not_wait() {
        let begin = Instant::now();
        let stop = AtomicBool::new(true);
        Lane::new(Some(1)).read(1 << 30, &stop);
        let lane = Lane::new(None);
        let first = lane.turn(1, &AtomicBool::new(false));
        assert!(first.is_some() && lane.turn(1, &stop).is_none());
        assert!(begin.elapsed() < Duration::from_secs(10));
    }

    #[test]
    fn small_ones_take_turns_beside_large_ones() {
        let (lane, at_work, most) = (Lane::new(None), AtomicUsize::new(0), AtomicUsize::new(0));
        let stop = AtomicBool::new(false);
        let large = lane.turn(SMALL_BYTES + 1, &stop);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        let turn = lane.turn(SMALL_BYTES, &stop);
                        most.fetch_max(at_work.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                        std::thread::yield_now();
                        at_work.fetch_sub(1, Ordering::SeqCst);
                        drop(turn);
                    }
                });
            }
        });
        assert!(large.is_some());
        assert_eq!(most.into_inner(), 1);
    }
}
