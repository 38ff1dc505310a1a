//! Others with our number: a server sends its log to one replica of a number, and ends the stream of the one before. Two
//! that come back again and again end each other for ever; that is found out here (MY-57). Shared by a connector and its
//! readers.

use crate::error::REPLICA_ID_TAKEN;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tidewire_core::Error;

/// So often within [`WINDOW`] is no accident.
const TIMES: usize = 5;
const WINDOW: Duration = Duration::from_secs(120);

/// When the log was taken away from us.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rivals(Arc<Mutex<VecDeque<Instant>>>);

impl Rivals {
    /// Takes note of an error that ends a stream; one that came too often is for a person.
    pub(crate) fn judge(&self, error: Error) -> Error {
        if error.code() != REPLICA_ID_TAKEN || !self.is_habit(Instant::now()) {
            return error;
        }
        Error::operator(
            REPLICA_ID_TAKEN,
            format!("another replica with our `server_id` comes back again and again: {error}"),
        )
        .with_remedy("stop the other one, or give this source another `server_id`")
    }

    fn is_habit(&self, now: Instant) -> bool {
        let mut times = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        times.push_back(now);
        while times.front().is_some_and(|first| now.duration_since(*first) > WINDOW) {
            times.pop_front();
        }
        times.len() >= TIMES
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidewire_core::ErrorKind;

    #[test]
    fn my_57_who_is_ended_again_and_again_halts() {
        let rivals = Rivals::default();
        let taken = || rivals.judge(Error::retry(REPLICA_ID_TAKEN, "taken")).kind();
        let kinds: Vec<ErrorKind> = (0..TIMES).map(|_| taken()).collect();
        assert!(kinds[..TIMES - 1].iter().all(|kind| *kind == ErrorKind::Retry));
        assert_eq!(kinds[TIMES - 1], ErrorKind::Operator);
        assert_eq!(rivals.judge(Error::retry("connection_lost", "x")).kind(), ErrorKind::Retry);
        let later = Rivals::default();
        let begin = Instant::now();
        assert!((0..9).all(|count| !later.is_habit(begin + WINDOW * count)));
    }
}
