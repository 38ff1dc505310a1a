//! Transaction metadata: the `transaction` member of changes, and the records that tell where a
//! transaction begins and ends and how many records it holds.
//!
//! Debezium gives each record of a PostgreSQL transaction an id of its own (`xid:lsn of the record`), so
//! that consumers must cut it at the colon. The `debezium-3` profile does the same; otherwise the id is
//! the same for a whole transaction and unique for ever (`xid:place of the commit`). Sources without a
//! sequence have ids that are unique by themselves.
//!
//! Debezium lists the collections of a transaction in the order of a Java hash table; the `debezium-3` profile does the
//! same.

use super::connect_type::{ConnectType, field};
use super::json::{write_int, write_string};
use std::collections::BTreeMap;
use std::sync::Arc;
use tidewire_core::Transaction;

/// The transaction whose BEGIN has been written and whose END has not.
#[derive(Debug)]
pub(crate) struct OpenTransaction {
    id: Arc<str>,
    /// The id as it is shown, if it is not the source's.
    shown: Option<String>,
    commit: u64,
    pub(crate) commit_time_micros: i64,
    total: u64,
    counts: BTreeMap<Arc<str>, Counted>,
    listing: Listing,
}

/// What is counted of a collection.
#[derive(Clone, Copy, Debug)]
struct Counted {
    records: u64,
    /// How many collections were seen before it.
    before: usize,
}

/// In which order END lists the collections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Listing {
    ByName,
    /// That of a `java.util.HashMap` with strings for keys.
    ByJavaHash,
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
    /// `shown` replaces the id where it is written.
    pub(crate) fn new(transaction: &Transaction, shown: Option<String>, listing: Listing) -> OpenTransaction {
        OpenTransaction {
            id: Arc::clone(&transaction.id),
            shown,
            commit: transaction.commit,
            commit_time_micros: transaction.commit_time_micros,
            total: 0,
            counts: BTreeMap::new(),
            listing,
        }
    }

    /// Whether changes of `transaction` belong to this one.
    pub(crate) fn is(&self, transaction: &Transaction) -> bool {
        self.commit == transaction.commit && self.id == transaction.id
    }

    /// Counts a record of a collection and gives its number in the transaction and in the collection.
    pub(crate) fn count(&mut self, collection: &Arc<str>) -> (u64, u64) {
        self.total += 1;
        let before = self.counts.len();
        let counted = match self.counts.get_mut(collection) {
            Some(counted) => counted,
            None => self.counts.entry(Arc::clone(collection)).or_insert(Counted { records: 0, before }),
        };
        counted.records += 1;
        (self.total, counted.records)
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
                for (index, (collection, counted)) in self.listed().into_iter().enumerate() {
                    let open: &[u8] = if index == 0 { b",\"data_collections\":[" } else { b"," };
                    out.extend_from_slice(open);
                    out.extend_from_slice(b"{\"data_collection\":");
                    write_string(out, collection.as_bytes());
                    out.extend_from_slice(b",\"event_count\":");
                    write_int(out, counted.records);
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

    fn listed(&self) -> Vec<(&str, Counted)> {
        let mut all: Vec<(&str, Counted)> = self.counts.iter().map(|(name, counted)| (&**name, *counted)).collect();
        if self.listing == Listing::ByJavaHash {
            let buckets = java_buckets(all.len());
            all.sort_by_key(|(name, counted)| (java_hash(name) & (buckets - 1), counted.before));
        }
        all
    }

    fn write_id(&self, out: &mut Vec<u8>, form: IdForm, place: u64) {
        write_string(out, self.shown.as_deref().unwrap_or(&self.id).as_bytes());
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

// Buckets of a hash table that has grown to this many entries: from 16 on, three quarters full at most.
fn java_buckets(entries: usize) -> u32 {
    let mut buckets = 16u32;
    while entries > buckets as usize / 4 * 3 && buckets < 1 << 30 {
        buckets *= 2;
    }
    buckets
}

// `String.hashCode`, spread as `HashMap` does.
fn java_hash(text: &str) -> u32 {
    let hash = text.encode_utf16().fold(0u32, |hash, unit| hash.wrapping_mul(31).wrapping_add(u32::from(unit)));
    hash ^ hash >> 16
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn collections_are_listed_as_a_hash_table_holds_them() {
        let transaction = Transaction {
            id: "a:1".into(),
            commit: 1,
            commit_time_micros: 0,
            previous_commit: None,
            provenance: Vec::new(),
        };
        for (listing, expect) in [
            (Listing::ByName, ["golden.no_pk", "golden.trunc_me"]),
            (Listing::ByJavaHash, ["golden.trunc_me", "golden.no_pk"]),
        ] {
            let mut open = OpenTransaction::new(&transaction, None, listing);
            for name in ["golden.no_pk", "golden.trunc_me", "golden.no_pk"] {
                open.count(&name.into());
            }
            assert_eq!(open.listed().iter().map(|(name, _)| *name).collect::<Vec<_>>(), expect);
        }
        assert_eq!((java_hash("golden.trunc_me") & 15, java_buckets(12), java_buckets(13)), (4, 16, 32));
    }
}
