//! Which source a topic belongs to, for all sources of one sink: two tables of two sources in one topic would overwrite
//! each other's rows where their keys are equal. Knows no broker and no template.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use tidewire_core::TableName;

/// Whose records a topic holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Owner {
    /// The source.
    pub(crate) source: Arc<str>,
    /// Its table; none when only the topic was kept in mind, or holds records of the sink itself.
    pub(crate) table: Option<TableName>,
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.table {
            Some(table) => write!(f, "table `{table}` of source `{}`", self.source),
            None => write!(f, "records of source `{}`", self.source),
        }
    }
}

/// The owners by topic. Shared by the sinks that one connector has open, one for each source.
#[derive(Debug, Default)]
pub(crate) struct TopicOwners(Mutex<HashMap<String, Owner>>);

impl TopicOwners {
    /// Takes a topic for a source. Returns whose it is if another source was first.
    pub(crate) fn claim(&self, topic: &str, owner: Owner) -> Option<Owner> {
        let mut owners = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match owners.entry(topic.to_owned()) {
            Entry::Occupied(held) if held.get().source != owner.source => Some(held.get().clone()),
            // Two tables of one source are the source's own affair: one may take the place of another.
            Entry::Occupied(mut held) => {
                held.insert(owner);
                None
            }
            Entry::Vacant(free) => {
                free.insert(owner);
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_is_the_source_s_that_came_first() {
        let owners = TopicOwners::default();
        let owner = |source: &str, table: Option<&str>| Owner {
            source: source.into(),
            table: table.map(|table| TableName::new("public", table)),
        };
        for (topic, claimed, other) in [
            ("orders", owner("shop", Some("orders")), None),
            ("orders", owner("shop", Some("orders")), None),
            ("orders", owner("crm", Some("orders")), Some("table `public.orders` of source `shop`")),
            ("orders", owner("shop", Some("orders_new")), None),
            ("orders", owner("crm", Some("orders")), Some("table `public.orders_new` of source `shop`")),
            ("items", owner("crm", None), None),
            ("items", owner("shop", Some("items")), Some("records of source `crm`")),
        ] {
            let told = owners.claim(topic, claimed.clone()).map(|other| other.to_string());
            assert_eq!(told.as_deref(), other, "{topic} for {claimed}");
        }
    }
}
