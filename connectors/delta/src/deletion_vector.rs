//! Deletion vectors: which rows of a data file no longer count. Owns their bytes, their packing into files and
//! their descriptors; knows nothing of commits.
//! <https://github.com/delta-io/delta/blob/master/PROTOCOL.md#deletion-vector-format>
//!
//! A file starts with the byte 1. Each vector in it is its size (big endian), the magic number and a 64-bit
//! roaring bitmap (both little endian), and a CRC-32 of magic and bitmap (big endian).

mod z85;

use crate::ambient::{self, Limit, limit};
use crate::error::{self, Result};
use crate::job::{self, side_by_side};
use crate::metrics;
use crate::store::TableStore;
use roaring::RoaringBitmap;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use tidewire_core::Error;
use uuid::Uuid;

const FILE_VERSION: u8 = 1;
const MAGIC: u32 = 1_681_511_377;
/// Largest file and most vectors in one. Readers built on the kernel fetch the whole file for each data file, so
/// large packs multiply what they read from a bucket. On a local disk a file costs more than its bytes: each is synced.
const PACK_BYTES_MAX: usize = 128 << 10;
const PACK_VECTORS_MAX: usize = 32;
const LOCAL_PACK_BYTES_MAX: usize = 1 << 20;
const LOCAL_PACK_VECTORS_MAX: usize = 256;
/// Files of vectors that are on their way to a bucket at once. Their threads wait.
const REQUESTS_MAX: usize = 8;
/// So many of the rows that are to be deleted are asked whether they lie next to another deleted one.
const SAMPLE: usize = 32;
/// Vectors of fewer rows in all are put together by one thread.
const ALONE_ROWS_MAX: u64 = 1 << 18;
/// Largest vector that is read: every row of a file of 2^32 rows.
const VECTOR_BYTES_MAX: i32 = 600 << 20;

/// Where a deletion vector lies, in the log's own terms.
/// <https://github.com/delta-io/delta/blob/master/PROTOCOL.md#deletion-vector-descriptor-schema>
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DvDescriptor {
    /// `u` (a file in the table, by UUID) or `i` (in the descriptor itself); `p` is refused.
    pub(crate) storage_type: Arc<str>,
    /// The UUID in Z85, maybe after a directory's name, or the vector itself.
    pub(crate) path_or_inline_dv: Arc<str>,
    /// Byte offset of the vector in its file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) offset: Option<i32>,
    /// Size of the vector in bytes, magic included, length and checksum not.
    pub(crate) size_in_bytes: i32,
    /// Rows that it deletes.
    pub(crate) cardinality: i64,
}

impl DvDescriptor {
    /// The vector's part in the identity of a file in the log.
    pub(crate) fn unique_id(&self) -> String {
        match self.offset {
            Some(offset) => format!("{}{}@{offset}", self.storage_type, self.path_or_inline_dv),
            None => format!("{}{}", self.storage_type, self.path_or_inline_dv),
        }
    }

    /// The name of the file that holds it, relative to the table; `None` when it lies in the descriptor or
    /// outside the table.
    pub(crate) fn file_name(&self) -> Option<String> {
        let (prefix, uuid) = self.folder_and_uuid()?;
        Some(match prefix {
            "" => file_name(&uuid),
            prefix => format!("{prefix}/{}", file_name(&uuid)),
        })
    }

    /// As [`written_at`], of the file that holds it.
    pub(crate) fn written_at(&self) -> Option<i64> {
        let (prefix, uuid) = self.folder_and_uuid()?;
        ambient::millis_of(&uuid).filter(|_| prefix.is_empty())
    }

    fn folder_and_uuid(&self) -> Option<(&str, Uuid)> {
        if &*self.storage_type != "u" {
            return None;
        }
        let (prefix, encoded) =
            self.path_or_inline_dv.split_at_checked(self.path_or_inline_dv.len().checked_sub(20)?)?;
        Some((prefix, Uuid::from_bytes(z85::decode(encoded)?.try_into().ok()?)))
    }
}

/// How a descriptor names a file.
pub(crate) fn encoded(uuid: &Uuid) -> String {
    z85::encode(uuid.as_bytes())
}

fn file_name(uuid: &Uuid) -> String {
    format!("deletion_vector_{uuid}.bin")
}

/// When a file of vectors was written, in milliseconds since 1970, by its name relative to the table; `None` for what this
/// writer has not so named.
pub(crate) fn written_at(name: &str) -> Option<i64> {
    let uuid = Uuid::try_parse(name.strip_prefix("deletion_vector_")?.strip_suffix(".bin")?).ok()?;
    // A UUID has more than one spelling.
    ambient::millis_of(&uuid).filter(|_| file_name(&uuid) == name)
}

/// Stores the vectors of several data files durably, a few per file, and returns their descriptors in the same order.
/// None of the vectors may be empty. Files are made side by side.
pub(crate) fn store_all(store: &TableStore, vectors: &[RoaringBitmap]) -> Result<Vec<DvDescriptor>> {
    if vectors.iter().any(RoaringBitmap::is_empty) {
        return Err(Error::bug("empty_deletion_vector", "a deletion vector without rows was to be stored"));
    }
    let is_remote = store.is_remote();
    let mut packs = packs(vectors, !is_remote);
    let threads = if is_remote { limit(Limit::CommitThreads, REQUESTS_MAX) } else { job::threads() };
    side_by_side(packs.iter_mut().collect(), threads, |pack| pack.store(store))?;
    Ok(packs.into_iter().flat_map(|pack| pack.descriptors).collect())
}

/// Those vectors together that share a file.
fn packs(vectors: &[RoaringBitmap], is_local: bool) -> Vec<Pack<'_>> {
    let (bytes_max, vectors_max) = match is_local {
        true => (LOCAL_PACK_BYTES_MAX, LOCAL_PACK_VECTORS_MAX),
        false => (PACK_BYTES_MAX, PACK_VECTORS_MAX),
    };
    let vectors_max = limit(Limit::PackVectors, vectors_max);
    let (mut packs, mut rest) = (Vec::new(), vectors);
    while !rest.is_empty() {
        let mut bytes = 1;
        let fits = |rows: &&RoaringBitmap| {
            bytes += payload_size(rows) + 8;
            bytes <= bytes_max
        };
        // One vector may be larger than that.
        let count = rest.iter().take(vectors_max).take_while(fits).count().max(1);
        let (vectors, others) = rest.split_at_checked(count).unwrap_or((rest, &[]));
        packs.push(Pack { uuid: ambient::timed_uuid(), vectors, descriptors: Vec::new() });
        rest = others;
    }
    packs
}

/// As `union`, of many.
pub(crate) fn unions(pairs: &[(Option<&RoaringBitmap>, &RoaringBitmap)]) -> Result<Vec<RoaringBitmap>> {
    let mut unions = vec![RoaringBitmap::new(); pairs.len()];
    let rows = pairs.iter().filter_map(|(before, _)| Some(before.as_ref()?.len())).sum::<u64>();
    let threads = if rows < ALONE_ROWS_MAX { 1 } else { job::threads() };
    side_by_side(unions.iter_mut().zip(pairs).collect(), threads, |(all, (before, rows))| {
        *all = union(*before, rows);
        Ok(())
    })?;
    Ok(unions)
}

/// All rows of a vector and of what is to be deleted besides, in few bytes.
pub(crate) fn union(before: Option<&RoaringBitmap>, rows: &RoaringBitmap) -> RoaringBitmap {
    let mut all = before.map_or_else(|| rows.clone(), |before| before | rows);
    // To look for runs reads all of it, and rows here and there make none.
    let some = rows.iter().step_by(rows.len() as usize / SAMPLE + 1);
    let is_neighbour = |row: &u32| {
        let next_to = [row.checked_sub(1), row.checked_add(1)];
        next_to.into_iter().flatten().any(|row| all.contains(row))
    };
    let (asked, neighbours) =
        some.fold((0, 0), |(asked, found), row| (asked + 1, found + usize::from(is_neighbour(&row))));
    if neighbours * 4 > asked || before.is_some_and(|before| before.statistics().n_run_containers > 0) {
        all.optimize();
    }
    all
}

/// Reads a vector and checks its size, magic number, checksum and number of rows.
pub(crate) fn load(store: &TableStore, descriptor: &DvDescriptor) -> Result<RoaringBitmap> {
    let place = descriptor.file_name().map_or_else(|| "inline deletion vector".to_owned(), |name| store.place(&name));
    let rows = match &*descriptor.storage_type {
        "u" => load_file(store, descriptor, &place)?,
        "i" => decode_inline(&descriptor.path_or_inline_dv, descriptor.size_in_bytes, &place)?,
        other => {
            return Err(Error::operator(
                "deletion_vector_storage",
                format!("a deletion vector is stored as `{other}`"),
            )
            .with_remedy("purge the table's deletion vectors with the writer that made them"));
        }
    };
    match i64::try_from(rows.len()) {
        Ok(count) if count == descriptor.cardinality => Ok(rows),
        _ => Err(error::damaged(&place, format!("{} rows instead of {}", rows.len(), descriptor.cardinality))),
    }
}

/// As `load`, of many: where each is a request they are asked for side by side.
pub(crate) fn load_all(store: &TableStore, descriptors: &[DvDescriptor]) -> Result<Vec<RoaringBitmap>> {
    let mut vectors = vec![RoaringBitmap::new(); descriptors.len()];
    let threads = if store.is_remote() { limit(Limit::CommitThreads, REQUESTS_MAX) } else { 1 };
    side_by_side(vectors.iter_mut().zip(descriptors).collect(), threads, |(rows, descriptor)| {
        *rows = load(store, descriptor)?;
        Ok(())
    })?;
    Ok(vectors)
}

fn load_file(store: &TableStore, descriptor: &DvDescriptor, place: &str) -> Result<RoaringBitmap> {
    let bad = |what: &str| error::damaged(place, what);
    let name = descriptor.file_name().ok_or_else(|| bad("its name is no UUID in Z85"))?;
    let offset = u64::try_from(descriptor.offset.unwrap_or(1)).map_err(|_| bad("its offset is negative"))?;
    if !(0..=VECTOR_BYTES_MAX).contains(&descriptor.size_in_bytes) {
        return Err(bad("its size is out of range"));
    }
    let size = u32::try_from(descriptor.size_in_bytes).map_err(|_| bad("its size is negative"))?;
    let bytes = store.get_range(&name, offset..offset + u64::from(size) + 8)?.ok_or_else(|| bad("it is missing"))?;
    let (head, rest) = bytes.split_first_chunk::<4>().ok_or_else(|| bad("it is cut off"))?;
    let (payload, sum) = rest.split_at_checked(size as usize).ok_or_else(|| bad("it is cut off"))?;
    let sum: [u8; 4] = sum.try_into().map_err(|_| bad("it is cut off"))?;
    if u32::from_be_bytes(*head) != size {
        return Err(bad("its size is not the one in the log"));
    }
    if u32::from_be_bytes(sum) != crc32fast::hash(payload) {
        return Err(bad("its checksum is wrong"));
    }
    decode(payload, place)
}

/// The bitmap of a vector that lies in its descriptor.
pub(crate) fn decode_inline(text: &str, size: i32, place: &str) -> Result<RoaringBitmap> {
    let bytes = z85::decode(text);
    let size = usize::try_from(size).ok();
    let payload = bytes.as_deref().and_then(|bytes| bytes.get(..size?));
    decode(payload.ok_or_else(|| error::damaged(place, "it is no Z85 of its size"))?, place)
}

/// The bitmap of magic number and roaring bytes.
pub(crate) fn decode(payload: &[u8], place: &str) -> Result<RoaringBitmap> {
    let bad = |what: &str| error::damaged(place, what);
    let (magic, rest) = payload.split_first_chunk::<4>().ok_or_else(|| bad("it is cut off"))?;
    if u32::from_le_bytes(*magic) != MAGIC {
        return Err(bad("its magic number is wrong"));
    }
    let (buckets, mut rest) = rest.split_first_chunk::<8>().ok_or_else(|| bad("it is cut off"))?;
    match u64::from_le_bytes(*buckets) {
        0 => return Ok(RoaringBitmap::new()),
        1 => {}
        _ => return Err(bad("it deletes rows beyond 2^32")),
    }
    let (high, bitmap) = rest.split_first_chunk::<4>().ok_or_else(|| bad("it is cut off"))?;
    if u32::from_le_bytes(*high) != 0 {
        return Err(bad("it deletes rows beyond 2^32"));
    }
    rest = bitmap;
    RoaringBitmap::deserialize_from(&mut rest).map_err(|e| bad("its bitmap is malformed").with_cause(e))
}

/// Bytes of magic number and bitmap.
fn payload_size(rows: &RoaringBitmap) -> usize {
    4 + 8 + 4 + rows.serialized_size()
}

/// A file of vectors.
struct Pack<'a> {
    uuid: Uuid,
    vectors: &'a [RoaringBitmap],
    descriptors: Vec<DvDescriptor>,
}

impl Pack<'_> {
    fn push(&mut self, rows: &RoaringBitmap, bytes: &mut Vec<u8>) -> Result<()> {
        let too_large = || Error::bug("deletion_vector_size", "a deletion vector is larger than its format allows");
        let size = i32::try_from(payload_size(rows)).map_err(|_| too_large())?;
        let offset = i32::try_from(bytes.len()).map_err(|_| too_large())?;
        bytes.extend_from_slice(&size.to_be_bytes());
        let start = bytes.len();
        bytes.extend_from_slice(&MAGIC.to_le_bytes());
        bytes.extend_from_slice(&1u64.to_le_bytes());
        bytes.extend_from_slice(&0u32.to_le_bytes());
        rows.serialize_into(&mut *bytes).map_err(|e| too_large().with_cause(e))?;
        let sum = bytes.get(start..).map_or(0, crc32fast::hash);
        bytes.extend_from_slice(&sum.to_be_bytes());
        self.descriptors.push(DvDescriptor {
            storage_type: "u".into(),
            path_or_inline_dv: encoded(&self.uuid).into(),
            offset: Some(offset),
            size_in_bytes: size,
            cardinality: i64::try_from(rows.len()).map_err(|_| too_large())?,
        });
        Ok(())
    }

    fn store(&mut self, store: &TableStore) -> Result<()> {
        // A vector of a large table is as long as a file: growing to it would copy it several times.
        let mut bytes = Vec::with_capacity(1 + self.vectors.iter().map(|rows| payload_size(rows) + 8).sum::<usize>());
        bytes.push(FILE_VERSION);
        self.vectors.iter().try_for_each(|rows| self.push(rows, &mut bytes))?;
        let name = file_name(&self.uuid);
        if let Some(intents) = store.intents() {
            intents.record(&name);
        }
        store.put_file(&name, &bytes)?;
        ::metrics::counter!(metrics::DELETION_VECTOR_BYTES).increment(bytes.len() as u64);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
