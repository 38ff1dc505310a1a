//! Opens an index from what a directory holds, or begins an empty one. Whatever is missing, damaged or of something
//! else costs a rebuild and nothing more.

use super::{Index, Limits, Placed};
use crate::error;
use crate::index::MemoryIndex;
use crate::index::batch::Batch;
use crate::index::folder::Folder;
use crate::index::manifest::{Binding, Manifest};
use crate::index::map::Bytes;
use crate::index::mix::{Order, random_seed};
use crate::index::page::DAMAGED;
use crate::index::run::Run;
use roaring::RoaringBitmap;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use tidewire_core::Result;

/// An index that was opened.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) index: Index,
    /// Files whose facts are all in it, by ordinal. Facts of other ordinals may be in it too, and are of no use.
    pub(crate) covered: BTreeMap<u32, String>,
    /// Why it is empty, if it had to begin anew.
    pub(crate) anew: Option<&'static str>,
}

impl Index {
    /// Opens what the directory holds for this binding, or removes it and begins anew. Files of it that the manifest
    /// does not name are removed. Without a directory the index is in memory.
    pub(crate) fn open(directory: Option<&Path>, binding: Binding) -> Result<Opened> {
        Index::open_with(directory, binding, Limits::default())
    }

    pub(super) fn open_with(directory: Option<&Path>, binding: Binding, limits: Limits) -> Result<Opened> {
        let folder = Folder::open(directory)?;
        let (manifest, runs, anew) = match load(&folder, &binding)? {
            Ok((manifest, runs)) => (manifest, runs, None),
            Err(why) => {
                // Before the runs, so that no manifest ever names what is not there.
                folder.remove_manifest()?;
                (Manifest::new(binding, random_seed()), Vec::new(), Some(why))
            }
        };
        folder.remove_others(&runs.iter().map(|placed| placed.run.name().number()).collect::<Vec<u64>>())?;
        folder.go_on_from(manifest.next_run);
        let order = Order::new(manifest.binding.narrow, manifest.seed);
        // What is not covered is read again, as other files; old facts of it must not win over anything.
        let mut gone = RoaringBitmap::new();
        gone.insert_range(0..manifest.next_file);
        gone -= manifest.covered.keys().copied().collect::<RoaringBitmap>();
        let index = Index {
            folder: Arc::new(folder),
            binding: manifest.binding,
            order,
            limits,
            memtable: MemoryIndex::with_seed(order.is_narrow(), order.seed()),
            frozen: None,
            sequence: runs.first().map_or(0, |placed| placed.sequence),
            runs,
            covered: manifest.covered.clone(),
            batch: Batch::default(),
            spilling: None,
            merging: None,
            marks: Vec::new(),
            gone,
            next_file: manifest.next_file,
            reached: manifest.reached,
            dirty: false,
            is_held: false,
            doomed: Vec::new(),
            is_damaged: false,
        };
        Ok(Opened { index, covered: manifest.covered, anew })
    }
}

/// Has the index of a directory begin anew, if there is one, when it knows of commits that came after this version of its table:
/// that is an older copy then, whose rows are not where the newest facts of their keys say. To be called before the table gets
/// versions of the same numbers again.
pub(crate) fn forget_later(directory: &Path, version: i64) -> Result<()> {
    let folder = Folder::at(directory);
    let manifest = folder.manifest()?.and_then(|bytes| Manifest::read(&bytes));
    if manifest.is_some_and(|manifest| manifest.reached.is_some_and(|reached| reached > version)) {
        tracing::warn!(index = folder.place(), version, "the table is older than its key index, which is built anew");
        folder.remove_manifest()?;
    }
    Ok(())
}

type Loaded = std::result::Result<(Manifest, Vec<Placed>), &'static str>;

fn load(folder: &Folder, binding: &Binding) -> Result<Loaded> {
    let Some(bytes) = folder.manifest()? else {
        return Ok(Err("there was none"));
    };
    let Some(manifest) = Manifest::read(&bytes) else {
        return Ok(Err("its manifest is damaged or of another version"));
    };
    if manifest.binding != *binding {
        return Ok(Err("it is of another table or key"));
    }
    let order = Order::new(binding.narrow, manifest.seed);
    let mut runs: Vec<Placed> = Vec::new();
    for named in &manifest.runs {
        let Some((name, file)) = folder.find(named.number)? else {
            return Ok(Err("a run is missing"));
        };
        let bytes = Bytes::map(file).map_err(|cause| error::local_io("map", &name.place(), cause))?;
        let run = match Run::open(bytes, name, &order) {
            Ok(run) => run,
            Err(error) if error.code() == DAMAGED => return Ok(Err("a run is damaged")),
            Err(error) => return Err(error),
        };
        let in_order = runs.last().is_none_or(|newer| newer.sequence > named.sequence);
        if (run.sum(), run.entries()) != (named.sum, named.entries)
            || !in_order
            || run.last_file() >= manifest.next_file
        {
            return Ok(Err("a run is not the one that the manifest names"));
        }
        runs.push(Placed { run: Arc::new(run), sequence: named.sequence });
    }
    Ok(Ok((manifest, runs)))
}
