//! Partitions whose changes come under the name of their table (`publish_via_partition_root`, PG-24).
//!
//! The server describes such a partition as well, right after its table and before the first row (`maybe_send_schema` of
//! pgoutput), and again when the partition was altered; not when only the table was. So two Relation messages in a row, of
//! which the row that follows names one, tell which table the other belongs to. A partition is never named by a row.
//!
//! Which columns of an old row are in the log is decided by the partition's replica identity, and whether they are sent as a
//! whole row or as a key by that of the table. Where the partition's identity is narrower, columns that nobody logged come
//! as null. Rows do not tell their partition: an old row that has null in all that some narrower partition does not log is
//! taken for one of its rows, and these columns for unknown.

use crate::catalog::Described;
use crate::wire::pgoutput::{Datum, RelationBody, Tuple};
use std::collections::HashMap;

/// What is known of partitions, and what was described since the last row.
#[derive(Debug, Default)]
pub(super) struct Leaves {
    /// Relations that were described since the last row, the last two of them.
    recent: [Option<u32>; 2],
    /// The columns of each relation that an old row of its own has.
    logged: HashMap<u32, Vec<String>>,
    /// The table of each partition.
    roots: HashMap<u32, u32>,
    /// Of each table with narrower partitions, which columns one of these lacks.
    lacking: HashMap<u32, Vec<Vec<bool>>>,
    /// Whether somebody was asked about the partition that was described last.
    is_asked: bool,
}

impl Leaves {
    /// Whether nothing was described since the last row.
    #[inline]
    pub(super) fn are_settled(&self) -> bool {
        self.recent[1].is_none()
    }

    /// Takes a description.
    pub(super) fn describe(&mut self, body: &RelationBody) {
        self.recent = [self.recent[1], Some(body.oid)];
        let logged = body.columns.iter().filter(|column| column.identity).map(|column| column.name.clone());
        self.logged.insert(body.oid, logged.collect());
    }

    /// A row names a captured table. Hands out the partition that it was described with, when its identity is the narrower
    /// and nobody was asked about it.
    pub(super) fn settle(&mut self, table: u32, described: &Described) -> Option<u32> {
        let leaf = match self.recent {
            [Some(one), Some(other)] if one == table && other != table => Some(other),
            [Some(other), Some(one)] if one == table && other != table => Some(other),
            _ => None,
        };
        self.roots.remove(&table);
        if let Some(leaf) = leaf {
            self.roots.insert(leaf, table);
        }
        let of_table = self.roots.iter().filter(|(_, root)| **root == table);
        let lacking: Vec<(u32, Vec<bool>)> =
            of_table.filter_map(|(leaf, _)| Some((*leaf, self.lacks(*leaf, described)?))).collect();
        let is_narrow = leaf.filter(|leaf| lacking.iter().any(|(lacking, _)| lacking == leaf));
        match lacking.is_empty() {
            true => self.lacking.remove(&table),
            false => self.lacking.insert(table, lacking.into_iter().map(|(_, columns)| columns).collect()),
        };
        if let Some(leaf) = is_narrow.filter(|_| !self.is_asked) {
            self.is_asked = true;
            return Some(leaf);
        }
        self.pass();
        None
    }

    /// A row names a table that is not captured, or several are named at once.
    pub(super) fn pass(&mut self) {
        self.recent = [None; 2];
        self.is_asked = false;
    }

    /// The columns that the table's identity has and the partition's does not. The server takes no update or delete of a
    /// partition without any identity: no old row is its.
    fn lacks(&self, leaf: u32, described: &Described) -> Option<Vec<bool>> {
        let logged = self.logged.get(&leaf).filter(|logged| !logged.is_empty())?;
        let columns = described.schema.columns.iter().zip(&described.identity);
        let lacks: Vec<bool> = columns
            .map(|(column, identity)| *identity && !logged.iter().any(|name| name.as_str() == &*column.name))
            .collect();
        lacks.contains(&true).then_some(lacks)
    }

    /// Which columns of an old row are unknown, if any: those that are null because no partition logged them, or may be.
    pub(super) fn unknown(&self, table: u32, old: &Tuple<'_>) -> Option<Vec<bool>> {
        if self.lacking.is_empty() {
            return None;
        }
        let may_be = |lacks: &&Vec<bool>| {
            old.iter().zip(lacks.iter()).all(|(datum, lacks)| !lacks || matches!(datum, Datum::Null))
        };
        let of = self.lacking.get(&table)?.iter().filter(may_be);
        of.cloned().reduce(|all, lacks| all.iter().zip(&lacks).map(|(one, other)| *one || *other).collect())
    }
}
