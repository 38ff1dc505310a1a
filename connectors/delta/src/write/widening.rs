//! One table's files, written anew because a column has a wider type, or has come with a value for the rows that were there:
//! all of them, one after the other, before the commit that declares the column so. Changes wait for it, for no reader may see
//! both.

use super::declaring::stats_columns;
use super::table::TableWriter;
use crate::error::Result;
use crate::layout::{Mode, Widening};
use crate::log::{Commit, LiveFile, NewFile};
use crate::mirror::Filled;
use crate::mirror::Teller;
use crate::parts::feed::with_change_column;
use crate::rewrite::{Copied, Rewriter};
use roaring::RoaringBitmap;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

const OPERATION: &str = "REWRITE";

/// Copies in the place of a table's files.
#[derive(Default)]
pub(super) struct Widened {
    pub(super) adds: Vec<NewFile>,
    pub(super) removes: Vec<String>,
    /// The deleted rows of the originals, by the path of the copy.
    pub(super) deletes: BTreeMap<String, RoaringBitmap>,
    /// Of a table with a change data feed, those of them whose rows have got values.
    pub(super) filled: Vec<Filled>,
}

impl TableWriter {
    /// Files from before have narrower types than the table's columns now.
    pub(super) fn types_widened(&mut self) {
        self.compacting.give_up();
        self.rewrite_due |= self.settings.widening == Widening::Rewrite;
    }

    /// Writes files anew, if they have to be. What it returns belongs to the next commit, which declares the types.
    pub(super) fn rewrite_files(&mut self) -> Result<Widened> {
        let fills = self.has_filling();
        if !self.rewrite_due && !fills {
            return Ok(Widened::default());
        }
        let what = match (self.rewrite_due, fills) {
            (_, false) => "writing data files anew with wider types",
            (_, true) => "writing data files anew with the values of new columns",
        };
        let begun = Instant::now();
        let table = self.table.as_ref().filter(|_| !self.replaces_all);
        let rows = table.map_or(0, |table| table.files().map(|file| file.num_records).sum());
        let mut rewriter = Rewriter {
            store: self.store.clone(),
            columns: self.layout.columns.clone(),
            stats: stats_columns(&self.layout, self.settings.mode),
            widens: self.rewrite_due,
            current: self.layout.current(),
            teller: Teller::new(what, self.store.place(""), rows),
        };
        let columns = std::mem::take(&mut rewriter.columns);
        rewriter.columns = if self.parts.has_feed() { with_change_column(&columns) } else { columns.clone() };
        self.parts.replace_done(|file| Ok(rewriter.copy(file)?.map(|copied| copied.file)))?;
        rewriter.columns = columns;
        let mut rewritten = Widened::default();
        if let Err(error) = self.copy_live(&mut rewriter, &mut rewritten) {
            for file in &rewritten.adds {
                self.store.delete_unnamed(&file.path);
            }
            return Err(error);
        }
        let bytes = rewritten.adds.iter().map(|file| file.size).sum::<u64>();
        let (files, seconds) = (rewritten.adds.len(), begun.elapsed().as_secs());
        tracing::info!(table = %self.schema.name, files, bytes, seconds, why = what, "data files written anew");
        match self.settings.mode {
            Mode::Mirror | Mode::History => Ok(rewritten),
            Mode::Changelog => self.exchange_files(rewritten).map(|()| Widened::default()),
        }
    }

    fn copy_live(&mut self, rewriter: &mut Rewriter, rewritten: &mut Widened) -> Result<()> {
        let Some(table) = self.table.as_mut().filter(|_| !self.replaces_all) else { return Ok(()) };
        let ordinals: BTreeMap<String, u32> =
            self.parts.files().named().map(|(ordinal, path)| (path.to_owned(), ordinal)).collect();
        let original = |file: &LiveFile| {
            let (path, partition) = (file.path.clone(), Arc::clone(&file.partition));
            NewFile { path, size: file.size, num_records: file.num_records, stats: None, partition }
        };
        for before in table.files().map(original).collect::<Vec<_>>() {
            let Some(Copied { file: copy, is_filled }) = rewriter.copy(&before)? else { continue };
            let path = before.path.clone();
            let deleted = Arc::clone(table.deleted_rows(&path)?);
            if is_filled && self.parts.has_feed() {
                let gone = ordinals.get(&path).and_then(|ordinal| self.parts.deletes_of(*ordinal));
                let gone = gone.map_or_else(|| deleted.as_ref().clone(), |gone| gone | deleted.as_ref());
                rewritten.filled.push(Filled { before, after: copy.clone(), gone });
            }
            if !deleted.is_empty() {
                rewritten.deletes.insert(copy.path.clone(), deleted.as_ref().clone());
            }
            // What the index knows of the file's rows is true of the copy's.
            if let Some(ordinal) = ordinals.get(&path) {
                self.parts.files_mut().end(*ordinal, copy.path.clone(), copy.size);
            }
            rewritten.removes.push(path);
            rewritten.adds.push(copy);
        }
        Ok(())
    }

    /// The copies of a table that is only appended to come in a commit of their own, which changes no row. Should the daemon end
    /// right after it, changes from before the new type come again, and fit.
    fn exchange_files(&mut self, rewritten: Widened) -> Result<()> {
        let metadata = self.new_metadata();
        let (Some(table), false) = (&mut self.table, rewritten.adds.is_empty()) else { return Ok(()) };
        let app_id = self.identity.app_id();
        table.commit(Commit {
            operation: OPERATION,
            adds: rewritten.adds,
            removes: rewritten.removes,
            metadata: Some(metadata),
            txn: (app_id.clone(), table.txn(&app_id).unwrap_or(0)),
            only_moves: true,
            ..Commit::default()
        })?;
        self.metadata_due = false;
        Ok(())
    }
}
