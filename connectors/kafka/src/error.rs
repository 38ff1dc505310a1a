//! Maps what librdkafka reports to the error that crosses the crate's border: by code, never by text. Knows
//! no connection.

use crate::client::failure::Failure;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use std::time::Duration;
use tidewire_core::{Error, ErrorKind};

/// The error of something that the producer was asked to do; `act` says what, in the present tense.
pub(crate) fn of_failure(act: &str, failure: Failure) -> Error {
    match failure.record {
        Some(record) => of_code(&format!("{act}: topic `{}`", record.topic), failure.code, &failure.text),
        None => of_code(act, failure.code, &failure.text),
    }
}

/// The same for the wrapper's clients.
pub(crate) fn of_wrapper(act: &str, error: &KafkaError) -> Error {
    let code = match error {
        KafkaError::AdminOp(code) => *code,
        _ => error.rdkafka_error_code().unwrap_or(Code::Fail),
    };
    of_code(act, code, &error.to_string())
}

/// The same for a bare code.
pub(crate) fn of_code(act: &str, code: Code, text: &str) -> Error {
    let (kind, name, remedy) = classify(code);
    let mut error = Error::new(kind, name, format!("{act}: {text}"));
    if denied(code).is_some() {
        error = error.that_may_pass();
    }
    match remedy {
        Some(remedy) => error.with_remedy(remedy),
        None => error,
    }
}

/// Whether another producer with the same transactional id has taken over, or the coordinator has given up on this one.
pub(crate) fn is_fenced(code: Code) -> bool {
    matches!(code, Code::Fenced | Code::ProducerFenced | Code::InvalidProducerEpoch | Code::InvalidProducerIdMapping)
}

/// What becomes of an error in a transaction that has been open for so long. Past its time limit the brokers abort it, and
/// answer as they do for many reasons, or the client gives up before they do: it is our clock that tells. It runs from before the
/// brokers' own, so that what they gave up on has always outlived the limit here. Such a transaction would be repeated for
/// ever, each time as slow as before.
pub(crate) fn outlived(error: Error, open_for: Duration, limit: Duration) -> Error {
    match error.kind() {
        ErrorKind::Retry if open_for >= limit => expired(error, open_for, limit),
        _ => error,
    }
}

/// The error of a transaction that outlived its time limit.
pub(crate) fn expired(error: Error, open_for: Duration, limit: Duration) -> Error {
    let sentence = format!(
        "a transaction was open for {open_for:.0?}, and the brokers give up on it after {limit:.0?} (`transaction_timeout`)"
    );
    Error::retry("transaction_expired", sentence)
        .with_remedy(
            "if the brokers were there all the time, lower `commit_interval`, `commit_changes` or `commit_bytes` of the sink, or raise its \
             `transaction_timeout` (and the brokers' `transaction.max.timeout.ms`, if it is lower); with `transactions` in its \
             `format` a transaction of the source is never split",
        )
        .with_cause(error)
}

/// The code of a topic that wants more replicas than there are brokers at the moment.
pub(crate) const TOO_FEW_BROKERS: &str = "topic_replication_refused";

/// Whether an error of this crate is about the topic that was written to, so that only its table has to halt.
pub(crate) fn concerns_topic(error: &Error) -> bool {
    error.kind() == ErrorKind::Operator
        && matches!(
            error.code(),
            "record_too_large"
                | "record_refused"
                | "timestamp_refused"
                | TOO_FEW_BROKERS
                | "topic_denied"
                | "topic_gone"
                | "topic_missing"
                | "topic_name_refused"
                | "topic_recreated"
                | "topic_repartitioned"
                | "topic_rewound"
                | "topic_settings_refused"
        )
}

fn classify(code: Code) -> (ErrorKind, &'static str, Option<&'static str>) {
    use ErrorKind::{Configuration, Fenced, Operator, Retry};
    if is_fenced(code) {
        return (Fenced, "producer_fenced", Some("stop one of the two instances that run this sink"));
    }
    if let Some((name, remedy)) = denied(code) {
        return (Operator, name, Some(remedy));
    }
    match code {
        Code::InvalidTransactionTimeout => (
            Operator,
            "transaction_timeout_refused",
            Some("lower `transaction_timeout` of the sink, or raise the brokers' `transaction.max.timeout.ms`"),
        ),
        Code::MessageSizeTooLarge | Code::MessageBatchTooLarge => {
            (Operator, "record_too_large", Some("raise `max.message.bytes` of the topic"))
        }
        Code::InvalidTimestamp => (
            Operator,
            "timestamp_refused",
            Some(
                "compare the clocks of daemon, source and brokers, or raise `message.timestamp.before.max.ms` and \
                 `message.timestamp.after.max.ms` of the topic",
            ),
        ),
        // Of one record in a batch the client tells the reason, of several only that they are wrong.
        Code::InvalidRecord | Code::InvalidDifferentRecord => (
            Operator,
            "record_refused",
            Some(
                "without a key: set `cleanup.policy=delete` on the topic; out of its time: compare the clocks of daemon, source and \
                 brokers, or raise `message.timestamp.before.max.ms` and `message.timestamp.after.max.ms` of the topic",
            ),
        ),
        Code::PolicyViolation | Code::InvalidPartitions | Code::InvalidConfig => (
            Operator,
            "topic_settings_refused",
            Some(
                "correct `partitions`, `replication` and `topic_config` of the sink, or create the topic and set `create_topics = false`",
            ),
        ),
        Code::InvalidReplicationFactor => {
            (Operator, TOO_FEW_BROKERS, Some("start the brokers that are missing, or lower `replication` of the sink"))
        }
        // Partitions that were just added are not known to every broker at once; fewer than before are noticed when
        // the topic is looked at anew.
        Code::UnknownPartition => (Retry, "partition_unseen", None),
        Code::OutOfOrderSequenceNumber => (Retry, "delivery_unproven", None),
        Code::UnknownTopic | Code::UnknownTopicOrPartition => {
            (Operator, "topic_missing", Some("create the topic, or set `create_topics = true`"))
        }
        Code::LogTruncation => (
            Operator,
            "topic_rewound",
            Some(
                "find out who deleted and made the topic again, or lost its records, and give the sink a new name, which reads its tables anew",
            ),
        ),
        Code::InvalidTopic => (Operator, "topic_name_refused", Some("change `topic` of the sink")),
        Code::UnsupportedVersion | Code::UnsupportedFeature | Code::UnsupportedForMessageFormat => {
            (Operator, "broker_unsupported", Some("use brokers of Kafka 2.5 or newer, with transactions"))
        }
        Code::InvalidArgument => (Configuration, "client_setting_refused", None),
        _ => (Retry, "kafka_unavailable", None),
    }
}

// What only a change of credentials or grants resolves.
fn denied(code: Code) -> Option<(&'static str, &'static str)> {
    Some(match code {
        Code::Authentication | Code::SaslAuthenticationFailed => {
            ("authentication_failed", "correct `sasl.username` and `sasl.password` of the sink")
        }
        Code::UnsupportedSASLMechanism => {
            ("sasl_mechanism_unsupported", "set `sasl.mechanism` to one that the brokers offer")
        }
        Code::SSL => ("tls_failed", "check `tls.ca`, `tls.certificate` and `tls.key` of the sink"),
        Code::TopicAuthorizationFailed => (
            "topic_denied",
            "grant Read, Write, Describe, DescribeConfigs and Create on the sink's topics and on `tidewire-progress`",
        ),
        Code::TransactionalIdAuthorizationFailed => (
            "transactional_id_denied",
            "run `kafka-acls --add --allow-principal User:NAME --operation Write --operation Describe \
             --transactional-id tidewire- --resource-pattern-type prefixed`",
        ),
        Code::ClusterAuthorizationFailed => (
            "cluster_denied",
            "grant Create and IdempotentWrite on the cluster, or create the topics and set `create_topics = false`",
        ),
        Code::GroupAuthorizationFailed => (
            "group_denied",
            "run `kafka-acls --add --allow-principal User:NAME --operation Read --group tidewire- \
             --resource-pattern-type prefixed`",
        ),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// SK-07.
    #[test]
    fn a_transaction_that_outlived_its_limit_names_the_settings() {
        let limit = Duration::from_secs(60);
        for (error, seconds, expired) in [
            // By the client's limit for a delivery, by what the coordinator says of a transaction that is gone, by an abort.
            (of_code("commit", Code::MessageTimedOut, "text"), 60, true),
            (of_code("commit", Code::InvalidTransactionalState, "text"), 75, true),
            (of_code("commit", Code::Fatal, "text"), 61, true),
            (of_code("commit", Code::MessageTimedOut, "text"), 59, false),
            // Another remedy helps.
            (of_code("commit", Code::TopicAuthorizationFailed, "text"), 75, false),
            (of_code("commit", Code::MessageSizeTooLarge, "text"), 75, false),
        ] {
            let (code, kind) = (error.code(), error.kind());
            let error = outlived(error, Duration::from_secs(seconds), limit);
            assert_eq!(error.kind(), kind, "{code}: it is tried again as before");
            assert_eq!(error.code() == "transaction_expired", expired, "{code}");
            let remedy = error.remedy().unwrap_or_default();
            let named = ["`transaction_timeout`", "`commit_interval`", "`commit_changes`", "`commit_bytes`"];
            assert_eq!(named.iter().all(|setting| remedy.contains(setting)), expired, "{remedy}");
            assert!(!expired || error.chain().contains("text"), "{}", error.chain());
        }
    }

    #[test]
    fn the_kind_names_the_next_action() {
        for (code, kind) in [
            (Code::BrokerTransportFailure, ErrorKind::Retry),
            (Code::NotEnoughReplicas, ErrorKind::Retry),
            (Code::MessageTimedOut, ErrorKind::Retry),
            (Code::Fatal, ErrorKind::Retry),
            (Code::OutOfOrderSequenceNumber, ErrorKind::Retry),
            (Code::ProducerFenced, ErrorKind::Fenced),
            (Code::InvalidProducerEpoch, ErrorKind::Fenced),
            (Code::MessageSizeTooLarge, ErrorKind::Operator),
            (Code::TopicAuthorizationFailed, ErrorKind::Operator),
        ] {
            let error = of_code("commit", code, "text");
            assert_eq!(error.kind(), kind, "{code:?}");
            assert_eq!(
                error.kind() == ErrorKind::Operator,
                error.kind() != ErrorKind::Fenced && error.remedy().is_some()
            );
        }
    }
}
