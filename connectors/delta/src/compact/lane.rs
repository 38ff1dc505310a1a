//! What all rewritings of a sink share, so that they do not take the machine from others: a pace, in bytes read a second, and
//! turns: small ones go one after the other, beside a large one, and of wide ones there is one at a time. Knows nothing of files.

use super::pace::Pace;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// A rewriting of files of so many bytes and less is small: it takes a fraction of a second.
pub(crate) const SMALL_BYTES: u64 = 16 << 20;
/// A rewriting of more columns is wide: a compressor for each takes up to half a megabyte.
const NARROW_COLUMNS: usize = 64;
/// A wait is cut into pieces, so that work that nobody wants any more ends soon.
const PIECE: Duration = Duration::from_millis(100);

/// Shared by the threads that rewrite files of a sink.
#[derive(Debug)]
pub(crate) struct Lane {
    pace: Mutex<Pace>,
    small: Gate,
    wide: Gate,
}

/// Lets one through at a time.
#[derive(Debug, Default)]
struct Gate {
    taken: Mutex<bool>,
    free: Condvar,
}

/// The way through a gate; free for the next one when dropped.
#[derive(Debug)]
struct Pass<'a>(&'a Gate);

/// The right to work; given back when dropped.
#[derive(Debug)]
pub(super) struct Turn<'a> {
    _wide: Option<Pass<'a>>,
    _small: Option<Pass<'a>>,
}

impl Lane {
    /// With so many bytes a second at the most.
    pub(crate) fn new(bytes_per_second: Option<u64>) -> Lane {
        Lane { pace: Mutex::new(Pace::new(bytes_per_second)), small: Gate::default(), wide: Gate::default() }
    }

    /// Waits until work of so many bytes and columns may begin; `None` when `stop` is set before.
    pub(super) fn turn(&self, bytes: u64, columns: usize, stop: &AtomicBool) -> Option<Turn<'_>> {
        // Always in this order: none that holds the second waits for the first.
        let _wide = if columns > NARROW_COLUMNS { Some(self.wide.pass(stop)?) } else { None };
        let _small = if bytes <= SMALL_BYTES { Some(self.small.pass(stop)?) } else { None };
        Some(Turn { _wide, _small })
    }

    /// So many bytes have been read: waits until the next ones may be, or `stop` is set.
    pub(super) fn read(&self, bytes: u64, stop: &AtomicBool) {
        let due = lock(&self.pace).note(bytes, Instant::now());
        while let Some(left) = due.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())
            && !stop.load(Ordering::Relaxed)
        {
            thread::sleep(left.min(PIECE));
        }
    }
}

impl Gate {
    fn pass(&self, stop: &AtomicBool) -> Option<Pass<'_>> {
        let mut taken = lock(&self.taken);
        while *taken {
            if stop.load(Ordering::Relaxed) {
                return None;
            }
            taken = self.free.wait_timeout(taken, PIECE).unwrap_or_else(PoisonError::into_inner).0;
        }
        *taken = true;
        Some(Pass(self))
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        *lock(&self.0.taken) = false;
        self.0.free.notify_one();
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
        let first = lane.turn(1, 1, &AtomicBool::new(false));
        assert!(first.is_some() && lane.turn(1, 1, &stop).is_none());
        let wide = lane.turn(SMALL_BYTES + 1, NARROW_COLUMNS + 1, &AtomicBool::new(false));
        assert!(wide.is_some() && lane.turn(SMALL_BYTES + 1, NARROW_COLUMNS + 1, &stop).is_none());
        assert!(lane.turn(SMALL_BYTES + 1, NARROW_COLUMNS, &stop).is_some(), "narrow ones go beside it");
        assert!(begin.elapsed() < Duration::from_secs(10));
    }

    #[test]
    fn small_ones_take_turns_beside_large_ones() {
        let (lane, at_work, most) = (Lane::new(None), AtomicUsize::new(0), AtomicUsize::new(0));
        let stop = AtomicBool::new(false);
        let large = lane.turn(SMALL_BYTES + 1, 1, &stop);
        std::thread::scope(|scope| {
            for columns in 60..68 {
                let (lane, at_work, most, stop) = (&lane, &at_work, &most, &stop);
                scope.spawn(move || {
                    for _ in 0..50 {
                        let turn = lane.turn(SMALL_BYTES, columns, stop);
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
