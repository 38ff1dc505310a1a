//! How long a table keeps what is no longer part of it, as the sink is set. Knows the properties that say so, not what is kept.

use super::Config;
use crate::log::{FILE_RETENTION_PROPERTY, LOG_RETENTION_PROPERTY};
use std::collections::BTreeMap;
use std::time::Duration;
use tidewire_core::quantity::Span;

/// A query that has begun reads the files that were there then.
const SPAN_MIN: Duration = Duration::from_mins(1);
/// Names of the properties: of files, and of entries of the log.
const PROPERTIES: [&str; 2] = [FILE_RETENTION_PROPERTY, LOG_RETENTION_PROPERTY];
/// Units of Delta's intervals, in seconds.
const UNITS: [(u64, &str); 3] = [(3_600, "hours"), (60, "minutes"), (1, "seconds")];

/// What the sink is set to, in whole seconds; what it is not set to is left to the table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Retention([Option<u64>; 2]);

impl Retention {
    pub(super) fn of(config: &Config, fault: &mut impl FnMut(&str, String)) -> Retention {
        let mut seconds = |key: &str, span: Option<Span>| {
            let span = span?.0;
            if span < SPAN_MIN {
                fault(key, "must be 1m or more".to_owned());
            }
            Some(span.as_secs())
        };
        Retention([seconds("file_retention", config.file_retention), seconds("log_retention", config.log_retention)])
    }

    #[cfg(test)]
    pub(crate) fn of_seconds(files: Option<u64>, log: Option<u64>) -> Retention {
        Retention([files, log])
    }

    /// The table's properties, with Delta's text of an interval.
    pub(crate) fn properties(self) -> impl Iterator<Item = (String, String)> {
        let interval = |seconds: u64| {
            let unit = UNITS.into_iter().find(|(unit, _)| seconds.is_multiple_of(*unit));
            let (unit, name) = unit.unwrap_or((1, "seconds"));
            format!("interval {} {name}", seconds / unit)
        };
        let set = PROPERTIES.into_iter().zip(self.0).filter_map(|(name, seconds)| Some((name, seconds?)));
        set.map(move |(name, seconds)| (name.to_owned(), interval(seconds)))
    }

    /// Whether a table with these properties is to declare others.
    pub(crate) fn differs(self, configuration: &BTreeMap<String, String>) -> bool {
        self.properties().any(|(name, interval)| configuration.get(&name) != Some(&interval))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_intervals_of_whole_units() {
        for (seconds, interval) in [
            (60, "interval 1 minutes"),
            (90, "interval 90 seconds"),
            (24 * 3_600, "interval 24 hours"),
            (7 * 24 * 3_600, "interval 168 hours"),
            (3_660, "interval 61 minutes"),
        ] {
            let retention = Retention::of_seconds(Some(seconds), None);
            let of_files = (PROPERTIES[0].to_owned(), interval.to_owned());
            assert!(retention.properties().eq([of_files.clone()]), "{seconds}");
            assert!(retention.differs(&BTreeMap::new()));
            assert!(!retention.differs(&BTreeMap::from([of_files])));
        }
        assert!(!Retention::default().differs(&BTreeMap::new()));
    }
}
