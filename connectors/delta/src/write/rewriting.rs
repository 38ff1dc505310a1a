//! A table without deletion vectors: a commit copies the rows that stay of every file that loses some, and names the copies in
//! place of the files. Knows nothing of other tables.

use super::declaring::stats_columns;
use super::table::{Rows, TableWriter};
use crate::compact::{Facts, Input, Lane, Work};
use crate::error::Result;
use crate::index::{Mark, PreparedRun};
use crate::log::{Commit, NewFile};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tidewire_core::{Error, TableSchema};

/// What became of the files that lost rows.
#[derive(Default)]
pub(super) struct Rewritten {
    /// The copies, with their ordinals.
    come: Vec<(u32, NewFile)>,
    /// Where their rows are, for the index.
    facts: Option<(Mark, PreparedRun)>,
    /// Files of the commit's own that never become part of the table.
    unnamed: Vec<String>,
}

impl TableWriter {
    /// Puts copies without the deleted rows in the place of the files that have them.
    pub(super) fn rewrite(&mut self, commit: &mut Commit) -> Result<Rewritten> {
        let deletes = std::mem::take(&mut commit.deletes);
        let removed = commit.removes.iter().cloned().collect::<BTreeSet<_>>();
        let mut inputs = Vec::new();
        let mut unnamed = Vec::new();
        let ordinals: BTreeMap<&str, u32> = self.parts.files().named().map(|(ordinal, path)| (path, ordinal)).collect();
        for (path, deleted) in deletes.into_iter().filter(|(path, _)| !removed.contains(path)) {
            let ordinal = ordinals.get(path.as_str()).copied();
            let new = commit.adds.iter().position(|file| file.path == path).map(|at| commit.adds.remove(at));
            let live = self.table.as_ref().and_then(|table| table.file(&path));
            let (size, rows, partition) = match (&new, live) {
                (Some(file), _) => (file.size, file.num_records, Arc::clone(&file.partition)),
                (None, Some(file)) => (file.size, file.num_records, Arc::clone(&file.partition)),
                (None, None) => {
                    return Err(Error::bug("delta_rewrite", format!("`{path}` lost rows and is not there")));
                }
            };
            match new {
                Some(_) => unnamed.push(path.clone()),
                None => commit.removes.push(path.clone()),
            }
            inputs.push(Input { ordinal, path, size, rows, deleted: Arc::new(deleted), partition });
        }
        if inputs.is_empty() {
            return Ok(Rewritten::default());
        }
        let Rows::Mirror(mirror) = &mut self.rows else { return Ok(Rewritten::default()) };
        let (codec, run, mark) = mirror.prepare_facts();
        let (identity, ordinals) = (self.layout.identity(), self.parts.files().ordinals().clone());
        let work = Work {
            store: self.store.clone(),
            columns: self.layout.columns.clone(),
            stats: stats_columns(&self.layout, self.settings.mode),
            inputs,
            facts: Some(Facts { codec, identity, current: self.layout.current(), run, ordinals }),
            target_bytes: self.settings.file_bytes,
            // The commit waits for it.
            lane: Arc::new(Lane::new(None)),
        };
        let (come, facts) = work.run_here()?;
        commit.adds.extend(come.iter().map(|(_, file)| file.clone()));
        Ok(Rewritten { come, facts: facts.map(|facts| (mark, facts)), unnamed })
    }

    /// The commit with the copies stands.
    pub(super) fn follow_rewrite(&mut self, rewritten: Rewritten) -> Result<()> {
        let Rewritten { come, facts, unnamed } = rewritten;
        for path in unnamed {
            self.store.delete_unnamed(&path);
        }
        for (ordinal, file) in &come {
            self.parts.files_mut().know(Some(*ordinal), file.path.clone(), file.size, &file.partition);
            self.parts.files_mut().set_deleted(*ordinal, Arc::default());
        }
        if let (Rows::Mirror(mirror), Some((mark, facts)), Some(table)) = (&mut self.rows, facts, &self.table) {
            let covered = come.into_iter().map(|(ordinal, file)| (ordinal, file.path)).collect();
            mirror.add_facts(mark, facts, covered, &self.parts, table.own_version())?;
        }
        Ok(())
    }
}

/// Whether rows are deleted by vectors or by rewriting is settled when a table is made.
pub(super) fn refuse_change(schema: &TableSchema, wanted: bool, has_vectors: bool) -> Result<()> {
    if wanted == has_vectors {
        return Ok(());
    }
    let (has, says) = if has_vectors { ("with", "false") } else { ("without", "true") };
    let message =
        format!("the table of `{}` was made {has} deletion vectors, `deletion_vectors` is {says}", schema.name);
    Err(Error::operator("deletion_vectors_changed", message)
        .with_remedy(format!(
            "set `deletion_vectors = {has_vectors}` in the sink's `delta` section, or give the sink a new name and location, \
             which reads its tables anew"
        ))
        .with_table(schema.name.clone()))
}
