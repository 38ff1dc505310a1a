//! Transaction metadata: the `transaction` member of changes, and the records that tell where a
//! transaction begins and ends and how many records it holds.
//!
//! Debezium gives each record of a PostgreSQL transaction an id of its own (`xid:lsn of the record`), so
//! that consumers must cut it at the colon. The `debezium-3` profile does the same; otherwise the id is
//! the same for a whole transaction and unique for ever (`xid:place of the commit`). Sources without a
//! sequence have ids that are unique by themselves.

use super::connect_type::{ConnectType, field};
use super::json::{write_int, write_string};
use std::collections::BTreeMap;
use std::sync::Arc;
use tidewire_core::Transaction;

/// The transaction whose BEGIN has been written and whose END has not.
#[derive(Debug)]
pub(crate) struct OpenTransaction {
    id: Arc<str>,
    commit: u64,
    pub(crate) commit_time_micros: i64,
    total: u64,
    counts: BTreeMap<Arc<str>, u64>,
}

/// Which of the two records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    Begin,
    End,
}

/// How ids look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum IdForm {
    /// The source's id alone.
    Plain,
    /// With the place of the commit.
    WithCommit,
    /// With the place of the record.
    WithPlace,
}

impl OpenTransaction {
    pub(crate) fn new(transaction: &Transaction) -> OpenTransaction {
        OpenTransaction {
            id: Arc::clone(&transaction.id),
            commit: transaction.commit,
            commit_time_micros: transaction.commit_time_micros,
            total: 0,
            counts: BTreeMap::new(),
        }
    }

    /// Whether changes of `transaction` belong to this one.
    pub(crate) fn is(&self, transaction: &Transaction) -> bool {
        self.commit == transaction.commit && self.id == transaction.id
    }

    /// Counts a record of a collection and gives its number in the transaction and in the collection.
    pub(crate) fn count(&mut self, collection: &Arc<str>) -> (u64, u64) {
        self.total += 1;
        let count = match self.counts.get_mut(collection) {
            Some(count) => count,
            None => self.counts.entry(Arc::clone(collection)).or_insert(0),
        };
        *count += 1;
        (self.total, *count)
    }

    /// Writes the member of a change: `{"id":...,"total_order":n,"data_collection_order":n}`.
    pub(crate) fn write_block(&self, out: &mut Vec<u8>, form: IdForm, place: u64, (total, collection): (u64, u64)) {
        out.extend_from_slice(b"{\"id\":");
        self.write_id(out, form, place);
        out.extend_from_slice(b",\"total_order\":");
        write_int(out, total);
        out.extend_from_slice(b",\"data_collection_order\":");
        write_int(out, collection);
        out.push(b'}');
    }

    /// Writes the key's payload of BEGIN (at the place of the first change) or END (at the commit).
    pub(crate) fn write_key(&self, out: &mut Vec<u8>, form: IdForm, place: u64) {
        out.extend_from_slice(b"{\"id\":");
        self.write_id(out, form, place);
        out.push(b'}');
    }

    /// Writes the value's payload of BEGIN or END.
    pub(crate) fn write_value(&self, out: &mut Vec<u8>, form: IdForm, place: u64, status: Status) {
        out.extend_from_slice(match status {
            Status::Begin => b"{\"status\":\"BEGIN\",\"id\":",
            Status::End => b"{\"status\":\"END\",\"id\":",
        });
        self.write_id(out, form, place);
        match status {
            Status::Begin => out.extend_from_slice(b",\"event_count\":null,\"data_collections\":null"),
            Status::End => {
                out.extend_from_slice(b",\"event_count\":");
                write_int(out, self.total);
                for (index, (collection, count)) in self.counts.iter().enumerate() {
                    let open: &[u8] = if index == 0 { b",\"data_collections\":[" } else { b"," };
                    out.extend_from_slice(open);
                    out.extend_from_slice(b"{\"data_collection\":");
                    write_string(out, collection.as_bytes());
                    out.extend_from_slice(b",\"event_count\":");
                    write_int(out, *count);
                    out.push(b'}');
                }
                out.extend_from_slice(if self.counts.is_empty() { b",\"data_collections\":[]" } else { b"]" });
            }
        }
        out.extend_from_slice(b",\"ts_ms\":");
        write_int(out, self.commit_time_micros.div_euclid(1_000));
        out.push(b'}');
    }

    /// Place of the commit.
    pub(crate) fn commit(&self) -> u64 {
        self.commit
    }

    fn write_id(&self, out: &mut Vec<u8>, form: IdForm, place: u64) {
        write_string(out, self.id.as_bytes());
        let place = match form {
            IdForm::Plain => return,
            IdForm::WithCommit => self.commit,
            IdForm::WithPlace => place,
        };
        // The closing quote moves behind the place.
        out.pop();
        out.push(b':');
        write_int(out, place);
        out.push(b'"');
    }
}

/// The schema of the `transaction` member.
pub(crate) fn block_schema() -> String {
    let fields = [
        field("string", false, "id"),
        field("int64", false, "total_order"),
        field("int64", false, "data_collection_order"),
    ];
    ConnectType::structure("event.block", 1, &fields).schema(true, None, Some("transaction"))
}

/// The schema of the records' keys.
pub(crate) fn key_schema() -> String {
    let fields = [field("string", false, "id")];
    ConnectType::structure("io.debezium.connector.common.TransactionMetadataKey", 1, &fields).schema(false, None, None)
}

/// The schema of the records' values.
pub(crate) fn value_schema() -> String {
    let count = [field("string", false, "data_collection"), field("int64", false, "event_count")];
    let count = ConnectType::structure("event.collection", 1, &count);
    let fields = [
        field("string", false, "status"),
        field("string", false, "id"),
        field("int64", true, "event_count"),
        ConnectType::array(&count, true).schema(true, None, Some("data_collections")),
        field("int64", false, "ts_ms"),
    ];
    ConnectType::structure("io.debezium.connector.common.TransactionMetadataValue", 1, &fields)
        .schema(false, None, None)
}
