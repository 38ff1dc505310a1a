//! What the topics of a sink and a source were when they were first written: their ids and numbers of partitions. Kept
//! beside the progress, so that a topic that was deleted, made again or given partitions while nobody looked is
//! noticed before anything is added to it (SK-04, SK-0C). Pure: asks no broker.
//!
//! # What is stored
//! One record for each pair of sink and source in the progress topic, written in the transaction that first writes to
//! a topic, and again every [`COMMITS_BETWEEN`] commits, so that it lies near the end of the topic, where a start looks
//! for it.

use crate::position;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use tidewire_core::{Error, Result};

/// Form of the value that this version writes, and the newest that it reads.
const VERSION: u32 = 1;
/// Commits after which the record is written again.
pub(crate) const COMMITS_BETWEEN: u32 = 100;
/// Most topics that are kept in mind: a record of them fits a broker's default limit.
const TOPICS_MAX: usize = 5_000;

/// What a topic was when it was first written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Topic {
    /// Its id, where brokers have one (Kafka 2.8 and later): a topic that is made again has another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) id: Option<String>,
    /// Number of its partitions.
    pub(crate) partitions: u32,
}

/// The topics by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Facts {
    version: u32,
    topics: BTreeMap<String, Topic>,
}

/// How a topic differs from what it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// It is gone.
    Gone,
    /// It was deleted and made again.
    Recreated,
    /// It has another number of partitions: keys move.
    Repartitioned {
        /// Partitions before.
        before: u32,
        /// Partitions now.
        now: u32,
    },
}

/// The key of a pair's record.
pub(crate) fn key(sink: &str, source: &str) -> Result<Vec<u8>> {
    position::record_key(sink, source, "topics")
}

impl Facts {
    /// Reads a value. A newer form and a damaged one are refused.
    pub(crate) fn parse(value: &[u8]) -> Result<Facts> {
        position::check_version(value, VERSION)?;
        serde_json::from_slice(value).map_err(position::damaged)
    }

    /// Writes the value into a reused buffer.
    pub(crate) fn write(&self, out: &mut Vec<u8>) -> Result<()> {
        out.clear();
        serde_json::to_writer(out, &FactsRef { version: VERSION, topics: &self.topics })
            .map_err(|e| Error::bug("facts_value", "write the topics' record").with_cause(e))
    }

    /// How a topic differs from what it was, if it was ever written. `now` is none when it is not there.
    pub(crate) fn compare(&self, name: &str, now: Option<&Topic>) -> Option<Change> {
        let before = self.topics.get(name)?;
        let Some(now) = now else {
            return Some(Change::Gone);
        };
        if let (Some(before), Some(now)) = (&before.id, &now.id)
            && before != now
        {
            return Some(Change::Recreated);
        }
        (before.partitions != now.partitions)
            .then_some(Change::Repartitioned { before: before.partitions, now: now.partitions })
    }

    /// The topics that were written.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.topics.keys().map(String::as_str)
    }

    /// Whether anything is known of a topic.
    pub(crate) fn knows(&self, name: &str) -> bool {
        self.topics.contains_key(name)
    }

    /// Keeps a topic in mind. Returns whether that is news; beyond a limit nothing more is kept.
    pub(crate) fn learn(&mut self, name: &str, topic: &Topic) -> bool {
        // Brokers of an older version do not tell the id: what another told before still holds.
        let same = |held: &Topic| held == topic || (topic.id.is_none() && held.partitions == topic.partitions);
        if self.topics.get(name).is_some_and(same) {
            return false;
        }
        if self.topics.len() >= TOPICS_MAX && !self.knows(name) {
            tracing::warn!(
                code = "topic_unwatched",
                topic = name,
                "more than {TOPICS_MAX} topics: what becomes of this one while the sink is stopped is not noticed"
            );
            return false;
        }
        self.topics.insert(name.to_owned(), topic.clone());
        true
    }
}

#[derive(Serialize)]
struct FactsRef<'a> {
    version: u32,
    topics: &'a BTreeMap<String, Topic>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidewire_core::ErrorKind;

    fn topic(id: Option<&str>, partitions: u32) -> Topic {
        Topic { id: id.map(str::to_owned), partitions }
    }

    #[test]
    fn a_topic_is_compared_with_what_it_was() {
        let mut facts = Facts::default();
        assert!(facts.learn("t", &topic(Some("a"), 2)));
        assert!(!facts.learn("t", &topic(Some("a"), 2)));
        assert!(!facts.learn("t", &topic(None, 2)), "an answer without an id takes none away");
        for (now, expect) in [
            (Some(topic(Some("a"), 2)), None),
            (Some(topic(None, 2)), None),
            (Some(topic(Some("b"), 2)), Some(Change::Recreated)),
            (Some(topic(Some("a"), 3)), Some(Change::Repartitioned { before: 2, now: 3 })),
            (None, Some(Change::Gone)),
        ] {
            assert_eq!(facts.compare("t", now.as_ref()), expect, "{now:?}");
        }
        assert_eq!(facts.compare("never written", None), None);
    }

    #[test]
    fn a_value_comes_back_as_it_was_and_damage_is_refused() {
        let mut facts = Facts { version: VERSION, ..Facts::default() };
        let mut value = b"left over".to_vec();
        for known in [topic(None, 1), topic(Some("xyz"), 12)] {
            facts.learn("shop.public.\"x\"", &known);
            facts.write(&mut value).expect("a value");
            assert_eq!(Facts::parse(&value).expect("facts"), facts);
        }
        for (value, code) in [("{\"version\":2}", "progress_newer"), ("{\"version\":1}", "progress_unreadable")] {
            let error = Facts::parse(value.as_bytes()).expect_err(value);
            assert_eq!((error.code(), error.kind()), (code, ErrorKind::Operator));
        }
    }

    #[test]
    fn the_record_has_a_limit() {
        let mut facts = Facts::default();
        for number in 0..TOPICS_MAX {
            assert!(facts.learn(
                &format!("a-source.a-schema.a-table-with-a-name-{number}"),
                &topic(Some("abcdefghijklmnopqrstuv"), 1)
            ));
        }
        assert!(!facts.learn("one more", &topic(None, 1)));
        assert!(facts.learn("a-source.a-schema.a-table-with-a-name-7", &topic(None, 2)));
        let mut value = Vec::new();
        facts.write(&mut value).expect("a value");
        assert!(value.len() < 1_000_000, "{}", value.len());
    }
}
