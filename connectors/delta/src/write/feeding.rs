//! What a table's commit has for its change data feed beside the changes of rows: files that go, and files that are copied.

use super::table::{Rows, TableWriter};
use super::widening::Widened;
use crate::error::Result;
use crate::log::{LiveFile, NewFile};
use crate::mirror::Told;
use roaring::RoaringBitmap;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

impl TableWriter {
    /// What the coming commit's feed names.
    pub(super) fn settle_feed(&mut self, widened: &mut Widened) -> Result<()> {
        let emptied = self.emptied_files()?;
        let is_told_by_files = self.replaces_all && emptied.is_empty();
        match &mut self.rows {
            Rows::Mirror(mirror) if !is_told_by_files || self.table.is_none() => {
                let filled = std::mem::take(&mut widened.filled);
                let told = Told { emptied, filled, is_widened: self.rewrite_due };
                mirror.settle_feed(&mut self.parts, &self.layout, told)
            }
            _ => {
                self.parts.take_written(false);
                Ok(())
            }
        }
    }

    /// The files whose rows the feed must name one by one as all files go. Where whole files go readers see it by themselves;
    /// but delta-rs forgets the deletion vectors of files that go.
    fn emptied_files(&mut self) -> Result<Vec<(NewFile, Arc<RoaringBitmap>)>> {
        let Some(table) = self.table.as_mut().filter(|_| self.replaces_all && self.settings.change_data_feed) else {
            return Ok(Vec::new());
        };
        let mut files = Vec::new();
        // Rows of another shape than the table's new one are told by their files all the same.
        let has_vectors = table.files().any(|file| file.deletion_vector.is_some()) || self.parts.loses_new_rows();
        if !self.metadata_due && has_vectors {
            for file in table.files().cloned().collect::<Vec<_>>() {
                let deleted = Arc::clone(table.deleted_rows(&file.path)?);
                let LiveFile { path, size, num_records, partition, .. } = file;
                files.push((NewFile { path, size, num_records, stats: None, partition }, deleted));
            }
        }
        Ok(files)
    }

    /// The copies and their originals of which no row changes: without a file of changes, readers of a feed would take all
    /// their rows for deleted and inserted. Where rows are deleted or get values there is such a file.
    pub(super) fn moved_files(&self, widened: &Widened, deletes: &BTreeMap<String, RoaringBitmap>) -> BTreeSet<String> {
        if !self.settings.change_data_feed || self.has_filling() {
            return BTreeSet::new();
        }
        let pairs = widened.adds.iter().zip(&widened.removes);
        let pairs = pairs.filter(|(copy, _)| !deletes.contains_key(&copy.path));
        pairs.flat_map(|(copy, original)| [copy.path.clone(), original.clone()]).collect()
    }
}
