//! The manifest of an index: which runs it has and what they are known to hold. Owns its bytes; knows nothing of files.
//!
//! Eight hexadecimal digits of the CRC-32 of what follows, a line feed, and JSON.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

const VERSION: u32 = 1;

/// What an index is of. One of something else is of no use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Binding {
    /// The table's id.
    pub(crate) table: String,
    /// Columns and types of the key.
    pub(crate) key: String,
    /// Whether keys fit 64 bits.
    pub(crate) narrow: bool,
}

/// A run as the manifest names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Named {
    pub(crate) number: u64,
    /// The higher, the newer are its facts.
    pub(crate) sequence: u64,
    pub(crate) entries: u64,
    /// The checksum of its checksums.
    pub(crate) sum: u32,
}

/// All of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Manifest {
    version: u32,
    pub(crate) binding: Binding,
    pub(crate) seed: [u64; 4],
    pub(crate) next_run: u64,
    /// Above every ordinal of a file that was ever in a run.
    pub(crate) next_file: u32,
    /// Newest first.
    pub(crate) runs: Vec<Named>,
    /// The files whose facts are all in the runs, by ordinal.
    pub(crate) covered: BTreeMap<u32, String>,
    /// The table's version to which the facts go. An older table has rows whose facts may have given way to newer ones. Earlier
    /// builds have not told it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) reached: Option<i64>,
}

impl Manifest {
    /// Of an index without runs.
    pub(crate) fn new(binding: Binding, seed: [u64; 4]) -> Manifest {
        let (runs, covered) = (Vec::new(), BTreeMap::new());
        Manifest { version: VERSION, binding, seed, next_run: 1, next_file: 0, runs, covered, reached: None }
    }

    /// From its bytes; `None` when they are not what was written, or in a form that this version does not know.
    pub(crate) fn read(bytes: &[u8]) -> Option<Manifest> {
        let (sum, rest) = bytes.split_at_checked(8)?;
        let body = rest.strip_prefix(b"\n")?;
        if sum != digits(body).as_bytes() {
            return None;
        }
        let manifest: Manifest = serde_json::from_slice(body).ok()?;
        (manifest.version == VERSION).then_some(manifest)
    }

    pub(crate) fn write(&self) -> serde_json::Result<Vec<u8>> {
        let body = serde_json::to_vec(self)?;
        let mut out = digits(&body).into_bytes();
        out.push(b'\n');
        out.extend_from_slice(&body);
        Ok(out)
    }
}

fn digits(body: &[u8]) -> String {
    format!("{:08x}", crc32fast::hash(body))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_of_an_earlier_build_is_read() {
        let body = br#"{"version":1,"binding":{"table":"t","key":"k","narrow":true},"seed":[1,2,3,4],"next_run":1,"next_file":0,"runs":[],"covered":{}}"#;
        let manifest = Manifest::read(&[digits(body).as_bytes(), b"\n", body].concat()).unwrap();
        assert_eq!(manifest.reached, None);
        assert!(!String::from_utf8(manifest.write().unwrap()).unwrap().contains("reached"));
    }

    #[test]
    fn sk_51_no_changed_or_shortened_manifest_is_read() {
        let binding = Binding { table: "t".into(), key: "id bigint".into(), narrow: true };
        let mut manifest = Manifest::new(binding, [u64::MAX, 1, 2, 3]);
        manifest.runs.push(Named { number: 7, sequence: 9, entries: 3, sum: u32::MAX });
        manifest.covered.insert(4, "part-00000.parquet".into());
        manifest.reached = Some(17);
        let good = manifest.write().unwrap();
        assert_eq!(Manifest::read(&good), Some(manifest));
        for at in 0..good.len() {
            for bit in 0..8 {
                let mut bad = good.clone();
                bad[at] ^= 1 << bit;
                assert_eq!(Manifest::read(&bad), None, "bit {bit} of byte {at}");
            }
            assert_eq!(Manifest::read(&good[..at]), None, "cut at {at}");
        }
    }
}
