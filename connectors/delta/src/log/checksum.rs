//! Version checksums: beside each entry of ours a small file that says what the table holds at that version, by which
//! readers find its schema and places at once and prove their own sums. A hint only: writing one never fails a commit,
//! and one that is missing, torn or wrong changes nothing here.
//! <https://github.com/delta-io/delta/blob/master/PROTOCOL.md#version-checksum-file>

use crate::error::Result;
use crate::log::LiveFile;
use crate::log::action::{DomainMetadata, MetaData, Protocol, Txn};
use crate::log::load;
use crate::log::protocol;
use crate::log::state::State;
use crate::store::TableStore;
use serde::{Deserialize, Serialize};
use tidewire_core::Error;

/// Sums over the live files, kept as files come and go. They wrap, so that what was added can be taken away again
/// whatever sizes a damaged log tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sums {
    /// Bytes of the data files.
    pub(super) bytes: u64,
    /// Files with a deletion vector.
    pub(super) vectors: u64,
    /// Rows that those delete.
    pub(super) deleted: u64,
}

impl Sums {
    /// A file comes.
    pub(super) fn add(&mut self, file: &LiveFile) {
        let Sums { bytes, vectors, deleted } = Sums::of(file);
        self.bytes = self.bytes.wrapping_add(bytes);
        self.vectors = self.vectors.wrapping_add(vectors);
        self.deleted = self.deleted.wrapping_add(deleted);
    }

    /// A file that was added goes.
    pub(super) fn remove(&mut self, file: &LiveFile) {
        let Sums { bytes, vectors, deleted } = Sums::of(file);
        self.bytes = self.bytes.wrapping_sub(bytes);
        self.vectors = self.vectors.wrapping_sub(vectors);
        self.deleted = self.deleted.wrapping_sub(deleted);
    }

    fn of(file: &LiveFile) -> Sums {
        let deleted = file.deletion_vector.as_ref().map_or(0, |vector| vector.cardinality.cast_unsigned());
        Sums { bytes: file.size, vectors: u64::from(file.deletion_vector.is_some()), deleted }
    }
}

/// The file's content. The names are the protocol's, `Opt` included.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Checksum<'a> {
    txn_id: &'a str,
    table_size_bytes: i64,
    num_files: usize,
    num_metadata: u8,
    num_protocol: u8,
    set_transactions: Vec<&'a Txn>,
    domain_metadata: Vec<DomainMetadata>,
    metadata: &'a MetaData,
    protocol: &'a Protocol,
    #[serde(skip_serializing_if = "Option::is_none")]
    num_deleted_records_opt: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    num_deletion_vectors_opt: Option<i64>,
}

/// The part of a checksum, maybe another writer's, that is compared.
#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Counted {
    table_size_bytes: i64,
    num_files: i64,
}

/// The name of a version's checksum.
pub(super) fn name(version: i64) -> String {
    format!("_delta_log/{version:020}.crc")
}

/// Whether a listed name is that of a checksum, and of which version.
pub(super) fn version_of(name: &str) -> Option<i64> {
    load::version_before(name, ".crc")
}

/// Writes the checksum of the version that `state` is at, whose entry is stored and carries `token`. Not for a table
/// without files, which has nothing to sum: the progress table is one, and it is committed most often.
pub(super) fn write(store: &TableStore, version: i64, token: &str, state: &State) {
    if state.files.is_empty() {
        return;
    }
    let written = content(token, state).and_then(|content| match content {
        // One that is there already (of a version that was taken back) must stay, says the protocol.
        Some(content) => store.put_new_unsynced(&name(version), content.into()).map(|_| ()),
        None => Ok(()),
    });
    if let Err(error) = written {
        tracing::debug!(table = store.place(""), version, error = %error.chain(), "a version's checksum was not written");
    }
}

/// `None` when the sums are beyond what the file can say.
fn content(token: &str, state: &State) -> Result<Option<Vec<u8>>> {
    let (Some(protocol), Some(metadata)) = (&state.protocol, &state.metadata) else { return Ok(None) };
    let Ok(table_size_bytes) = i64::try_from(state.sums.bytes) else { return Ok(None) };
    let deletes = protocol::allows_deletion_vectors(protocol);
    let counted = |count: u64| i64::try_from(count).ok().filter(|_| deletes);
    let domain = |(domain, configuration): (&String, &String)| DomainMetadata {
        domain: domain.clone(),
        configuration: configuration.clone(),
        removed: false,
    };
    let checksum = Checksum {
        txn_id: token,
        table_size_bytes,
        num_files: state.files.len(),
        num_metadata: 1,
        num_protocol: 1,
        set_transactions: state.txns.values().collect(),
        domain_metadata: state.domains.iter().map(domain).collect(),
        metadata,
        protocol,
        num_deleted_records_opt: counted(state.sums.deleted),
        num_deletion_vectors_opt: counted(state.sums.vectors),
    };
    let content = serde_json::to_vec(&checksum);
    content.map(Some).map_err(|e| Error::bug("delta_checksum", "write a checksum as JSON").with_cause(e))
}

/// Tells the operator when the version's checksum is not what its entries add up to. The entries count: other writers
/// leave checksums too, and one that is wrong must not stop the table. Says whether the two agree, as far as is known.
pub(super) fn compare(store: &TableStore, version: i64, state: &State) -> bool {
    let name = name(version);
    let read = match store.get(&name) {
        Ok(content) => content,
        Err(error) => {
            tracing::debug!(checksum = store.place(&name), error = %error.chain(), "a version's checksum was not read");
            return true;
        }
    };
    // What is no JSON is torn by a power cut: it was not synced.
    let Some(told) = read.and_then(|content| serde_json::from_slice::<Counted>(&content).ok()) else { return true };
    let held = Counted {
        table_size_bytes: i64::try_from(state.sums.bytes).unwrap_or(i64::MAX),
        num_files: i64::try_from(state.files.len()).unwrap_or(i64::MAX),
    };
    if told == held {
        return true;
    }
    let place = store.place(&name);
    tracing::warn!(checksum = place, ?told, ?held, "a version's checksum disagrees with its entries and is ignored");
    false
}
