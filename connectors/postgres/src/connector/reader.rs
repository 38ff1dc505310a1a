//! The reader that the daemon drives: the snapshot's batches first, then the log's.

use crate::publication::Watched;
use crate::snapshot::Snapshot;
use crate::stream::{LogStream, StreamStart};
use tidewire_core::source::{BoxFuture, SourceReader};
use tidewire_core::{Batch, Error, Result};
use tokio::task::JoinHandle;

/// Where the reading stands.
enum Stage {
    /// Rows are read; the log begins afterwards.
    Snapshot(Snapshot, Box<StreamStart>),
    /// The log is being started. A task of its own, so that a dropped future does not break it off half way.
    Starting(Starting),
    /// The log is read.
    Stream(Box<LogStream>),
    /// An error has ended the reading.
    Ended,
}

/// Breaks the start off when the reader is dropped.
struct Starting(JoinHandle<Result<LogStream>>);

impl Drop for Starting {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The reader.
pub(super) struct Reader {
    stage: Stage,
    watched: Watched,
}

impl Reader {
    /// Begins with a snapshot.
    pub(super) fn with_snapshot(snapshot: Snapshot, start: StreamStart) -> Reader {
        let watched = start.watched.clone();
        Reader { stage: Stage::Snapshot(snapshot, Box::new(start)), watched }
    }

    /// Begins with the log.
    pub(super) fn with_stream(stream: LogStream, watched: Watched) -> Reader {
        Reader { stage: Stage::Stream(Box::new(stream)), watched }
    }

    async fn next(&mut self) -> Result<Batch> {
        loop {
            match &mut self.stage {
                Stage::Snapshot(snapshot, _) => {
                    if let Some(batch) = snapshot.next_batch().await {
                        return batch;
                    }
                    if let Stage::Snapshot(_, start) = std::mem::replace(&mut self.stage, Stage::Ended) {
                        tracing::info!("the snapshot is complete");
                        self.stage = Stage::Starting(Starting(tokio::spawn(LogStream::start(*start))));
                    }
                }
                Stage::Starting(task) => {
                    let started = (&mut task.0).await;
                    let stream =
                        started.map_err(|cause| Error::bug("task_failed", "start the log").with_cause(cause))??;
                    self.stage = Stage::Stream(Box::new(stream));
                }
                Stage::Stream(stream) => return stream.next_batch().await,
                Stage::Ended => return Err(Error::bug("reader_ended", "the reader has ended with an error")),
            }
        }
    }
}

impl SourceReader for Reader {
    fn next_batch(&mut self) -> BoxFuture<'_, Result<Batch>> {
        Box::pin(async {
            let batch = self.next().await;
            if let Err(error) = &batch {
                self.watched.refuse(error);
                self.stage = Stage::Ended;
            }
            batch
        })
    }
}
