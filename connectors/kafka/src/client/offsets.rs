//! The highest offset that each partition has given out, to notice a log that began anew (SK-04). Shared by the
//! producers of one sink: whichever of them writes next knows what the other was told. Knows no librdkafka.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// The highest offset by topic and partition.
#[derive(Default)]
pub(crate) struct Offsets(Mutex<HashMap<Box<str>, HashMap<i32, i64>>>);

impl Offsets {
    /// Takes in the offset of a record that a broker has acknowledged. Returns the one before if this one does not lie
    /// behind it: offsets only grow, unless the topic was deleted and made again, or lost what it had acknowledged.
    pub(crate) fn advance(&self, topic: &str, partition: i32, offset: i64) -> Option<i64> {
        let mut topics = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let partitions = match topics.get_mut(topic) {
            Some(partitions) => partitions,
            None => topics.entry(topic.into()).or_default(),
        };
        partitions.insert(partition, offset).filter(|before| *before >= offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_offset_that_does_not_grow_is_odd() {
        let offsets = Offsets::default();
        for (topic, partition, offset, before) in [
            ("a", 0, 7, None),
            ("a", 0, 9, None),
            ("a", 1, 3, None),
            ("b", 0, 0, None),
            ("a", 0, 9, Some(9)),
            ("a", 0, 0, Some(9)),
            ("a", 0, 1, None),
        ] {
            assert_eq!(offsets.advance(topic, partition, offset), before, "{topic}/{partition} at {offset}");
        }
    }
}
