//! The way back to the server: Standby Status Updates from a task that no sink and no reader can block (R10, PG-70).
//!
//! `flushed` and `applied` are what every sink holds durably and nothing else; only `written` follows the reading (R3,
//! PG-62, PG-68). Until something is acknowledged they are 0, which the server ignores.

use crate::metrics::SourceMetrics;
use crate::position::Lsn;
use crate::wire::replication::{Status, status_update};
use bytes::BytesMut;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tidewire_core::{Acknowledger, Position};
use tidewire_tls::Stream;
use tokio::io::{AsyncWriteExt, WriteHalf};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

/// Shortest pause between two updates that only tell of progress.
const PAUSE: Duration = Duration::from_millis(100);
/// Time for the last words at the end.
const FAREWELL: Duration = Duration::from_secs(1);

/// Where we stand; written by the reader and the pipeline, read by the writing task.
#[derive(Debug, Default)]
pub(crate) struct Feedback {
    received: AtomicU64,
    acknowledged: AtomicU64,
    reply_wanted: AtomicBool,
    changed: Notify,
}

impl Feedback {
    /// The reader has seen the log up to here.
    pub(crate) fn receive(&self, lsn: Lsn) {
        self.received.fetch_max(lsn.0, Ordering::Relaxed);
    }

    /// The server wants an answer.
    pub(crate) fn want_reply(&self) {
        self.reply_wanted.store(true, Ordering::Release);
        self.changed.notify_one();
    }

    /// What every sink holds.
    pub(crate) fn acknowledged(&self) -> Lsn {
        Lsn(self.acknowledged.load(Ordering::Acquire))
    }

    fn status(&self, reply_requested: bool) -> Status {
        let acknowledged = self.acknowledged();
        let received = Lsn(self.received.load(Ordering::Relaxed));
        Status { written: received.max(acknowledged), acknowledged, reply_requested }
    }
}

impl Acknowledger for Feedback {
    // Inside a transaction the mark's major is the start of its commit record: the server then keeps the transaction.
    fn acknowledge(&self, position: &Position) {
        let before = self.acknowledged.fetch_max(position.mark.major, Ordering::AcqRel);
        if before < position.mark.major {
            self.changed.notify_one();
        }
    }
}

/// Sends updates until told to stop or until the connection breaks, which the reader finds out by itself.
pub(super) async fn run(
    feedback: std::sync::Arc<Feedback>,
    mut stream: WriteHalf<Stream>,
    interval: Duration,
    metrics: SourceMetrics,
    stop: CancellationToken,
) {
    let mut out = BytesMut::with_capacity(64);
    let mut sent_at = Instant::now();
    let mut sent = feedback.status(false).acknowledged;
    loop {
        let due = sent_at + interval;
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            () = feedback.changed.notified() => {}
            () = sleep_until(due) => {}
        }
        let mut asked = feedback.reply_wanted.swap(false, Ordering::AcqRel);
        if !asked && Instant::now() < due {
            if feedback.acknowledged() == sent {
                continue;
            }
            // Acknowledgements come in bursts; the latest of a burst is enough. A request for a reply ends the pause.
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                () = sleep_until(sent_at + PAUSE) => {}
                () = requested(&feedback) => {}
            }
            asked = feedback.reply_wanted.swap(false, Ordering::AcqRel);
        }
        // Asking for an answer at every regular update proves that the server lives and tells how far it has come.
        let status = feedback.status(!asked && Instant::now() >= due);
        out.clear();
        status_update(&status, now_micros(), &mut out);
        if let Err(error) = stream.write_all(&out).await {
            tracing::debug!(error = %error, "status updates end");
            return;
        }
        if stream.flush().await.is_err() {
            return;
        }
        metrics.status_updates.increment(1);
        (sent_at, sent) = (Instant::now(), status.acknowledged);
    }
    farewell(&feedback, stream, out).await;
}

async fn requested(feedback: &Feedback) {
    while !feedback.reply_wanted.load(Ordering::Acquire) {
        feedback.changed.notified().await;
    }
}

/// Last acknowledgement, end of the copy, goodbye: the slot is free at once for whoever comes next.
async fn farewell(feedback: &Feedback, mut stream: WriteHalf<Stream>, mut out: BytesMut) {
    out.clear();
    status_update(&feedback.status(false), now_micros(), &mut out);
    postgres_protocol::message::frontend::copy_done(&mut out);
    postgres_protocol::message::frontend::terminate(&mut out);
    let last_words = async {
        if stream.write_all(&out).await.is_ok() {
            stream.shutdown().await.ok();
        }
    };
    timeout(FAREWELL, last_words).await.ok();
}

/// Microseconds since 1970; 0 when the clock stands before that.
pub(crate) fn now_micros() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidewire_core::Mark;

    #[test]
    fn pg_62_reading_moves_nothing_but_written() {
        let feedback = Feedback::default();
        feedback.receive(Lsn(90));
        feedback.receive(Lsn(80));
        let status = feedback.status(false);
        assert_eq!((status.written, status.acknowledged), (Lsn(90), Lsn(0)));
        feedback.acknowledge(&Position::new(Mark { major: 50, minor: 3 }, "x"));
        feedback.acknowledge(&Position::new(Mark { major: 40, minor: 0 }, "x"));
        assert_eq!(feedback.status(false).acknowledged, Lsn(50));
    }
}
