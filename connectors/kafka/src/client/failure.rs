//! What librdkafka reported, as values. Decides nothing: see the crate's `error` module.

use rdkafka::error::{KafkaError, RDKafkaErrorCode};

/// What librdkafka reported.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    /// Its error code.
    pub(crate) code: RDKafkaErrorCode,
    /// Its sentence.
    pub(crate) text: String,
    /// The record that could not be delivered, if it is about one.
    pub(crate) record: Option<FailedRecord>,
}

/// A record that was not delivered.
#[derive(Clone, Debug)]
pub(crate) struct FailedRecord {
    /// Its topic.
    pub(crate) topic: String,
    /// The beginning of its key.
    pub(crate) key: Option<Vec<u8>>,
    /// Bytes of key and value.
    pub(crate) size: usize,
}

impl Failure {
    /// A failure that is about no single record.
    pub(super) fn new(code: RDKafkaErrorCode, text: impl Into<String>) -> Failure {
        Failure { code, text: text.into(), record: None }
    }

    /// Whether it says why, and not only that something else went wrong, before or in the same batch.
    pub(super) fn is_cause(&self) -> bool {
        use RDKafkaErrorCode::{Fatal, InvalidDifferentRecord, PurgeInflight, PurgeQueue};
        !matches!(self.code, PurgeQueue | PurgeInflight | Fatal | InvalidDifferentRecord)
    }

    /// Whether this is the better answer to what went wrong, though `first` came before. A batch that is too large is
    /// refused as a whole: its largest record tells why. A log that began anew tells more than what became of records in it.
    pub(super) fn tells_more_than(&self, first: &Failure) -> bool {
        let size = |failure: &Failure| failure.record.as_ref().map_or(0, |record| record.size);
        let too_large = |failure: &Failure| {
            matches!(failure.code, RDKafkaErrorCode::MessageSizeTooLarge | RDKafkaErrorCode::MessageBatchTooLarge)
        };
        let rewound = |failure: &Failure| failure.code == RDKafkaErrorCode::LogTruncation;
        !first.is_cause() && self.is_cause()
            || rewound(self) && !rewound(first)
            || too_large(first) && too_large(self) && size(self) > size(first)
    }

    /// What the wrapper reported.
    pub(super) fn of_wrapper(error: &KafkaError) -> Failure {
        Failure::new(error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Fail), error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use RDKafkaErrorCode::{
        InvalidDifferentRecord, InvalidRecord, InvalidTimestamp, LogTruncation, OutOfOrderSequenceNumber, PurgeQueue,
    };

    // SK-03, SK-12: the others of a batch are refused with the one that is wrong.
    #[test]
    fn the_record_that_is_wrong_tells_more_than_those_beside_it() {
        for code in [InvalidRecord, InvalidTimestamp] {
            let [beside, wrong] = [InvalidDifferentRecord, code].map(|code| Failure::new(code, "x"));
            assert!(wrong.tells_more_than(&beside) && !beside.tells_more_than(&wrong), "{code:?}");
        }
    }

    // SK-04: a log that began anew waits for a person, whatever else befell its records.
    #[test]
    fn a_log_that_began_anew_tells_most() {
        for (first, next, is_better) in [
            (PurgeQueue, OutOfOrderSequenceNumber, true),
            (OutOfOrderSequenceNumber, PurgeQueue, false),
            (OutOfOrderSequenceNumber, LogTruncation, true),
            (LogTruncation, OutOfOrderSequenceNumber, false),
            (LogTruncation, LogTruncation, false),
        ] {
            let [first, next] = [first, next].map(|code| Failure::new(code, "x"));
            assert_eq!(next.tells_more_than(&first), is_better, "{:?} after {:?}", next.code, first.code);
        }
    }
}
