//! By which columns tables are partitioned, and whether a table's columns are fit for it. Pure.

use super::Layout;
use super::refusal::READ_ANEW;
use crate::encode::partition::{is_plain_name, may_partition};
use crate::typemap::{TableColumn, column_name};
use std::collections::BTreeMap;
use tidewire_core::tables::TableFilter;
use tidewire_core::{Error, Result, TableName, TableSchema};

/// Patterns of `schema.table`, each with the columns that its tables are partitioned by.
#[derive(Clone, Debug, Default)]
pub(crate) struct PartitionBy(Vec<(String, TableFilter, Vec<String>)>);

impl PartitionBy {
    /// As the configuration has it.
    ///
    /// # Errors
    /// What is wrong with each pattern.
    pub(crate) fn parse(by: BTreeMap<String, Vec<String>>) -> std::result::Result<PartitionBy, Vec<String>> {
        let (mut patterns, mut faults) = (Vec::new(), Vec::new());
        for (pattern, columns) in by {
            match TableFilter::parse(&[&pattern]) {
                _ if pattern.starts_with('!') => faults.push(format!("`{pattern}` says which tables are not meant")),
                _ if columns.is_empty() => faults.push(format!("`{pattern}` names no column")),
                Err(wrong) => faults.extend(wrong.iter().map(ToString::to_string)),
                Ok(filter) => patterns.push((pattern, filter, columns)),
            }
        }
        if faults.is_empty() { Ok(PartitionBy(patterns)) } else { Err(faults) }
    }

    /// The columns of a table, by the source's names. Its own name counts more than a pattern, a longer pattern more than a
    /// shorter one.
    pub(crate) fn of(&self, table: &TableName) -> &[String] {
        let names = self.0.iter().filter(|(_, filter, _)| filter.captures_name(table));
        let is_exact = |pattern: &str| !pattern.contains(['*', '?']);
        let best = names.max_by_key(|(pattern, ..)| (is_exact(pattern), pattern.len()));
        best.map_or(&[], |(_, _, columns)| columns)
    }
}

impl Layout {
    /// The table is partitioned by these columns of the source.
    ///
    /// # Errors
    /// When the table cannot be.
    pub(crate) fn partition(mut self, schema: &TableSchema, by: &PartitionBy) -> Result<Layout> {
        let refuse = |code, what: String, remedy: &str| {
            let message = format!("`{}` cannot be partitioned by {what}", schema.name);
            Err(Error::operator(code, message).with_remedy(remedy).with_table(schema.name.clone()))
        };
        self.partition.clear();
        let is_mapped = self.is_mapped();
        for name in by.of(&schema.name) {
            let at = self.column_to_partition_by(name);
            let Some((at, column)) = at.and_then(|at| Some((at, self.columns.get_mut(at)?))) else {
                let what = format!("`{name}`, which is no column of it");
                return refuse("partition_column_missing", what, "correct `partition_by` of the sink");
            };
            if !may_partition(&column.column_type) {
                let what = format!("`{name}`, which is `{}` in Delta", column.column_type);
                let remedy = "choose columns of integers, decimals, booleans, dates or text in `partition_by`";
                return refuse("partition_column_type", what, remedy);
            }
            // The names of mapped columns are in no path.
            if !is_mapped && !is_plain_name(&column.name) {
                let what = format!("`{name}`, whose name not all readers find in a path");
                let remedy = "rename the column at the source to letters, digits, `-`, `_` and `.`, or choose another";
                return refuse("partition_column_name", what, remedy);
            }
            if self.partition.contains(&at) {
                return refuse(
                    "partition_column_twice",
                    format!("`{name}` twice"),
                    "correct `partition_by` of the sink",
                );
            }
            if is_mapped && column.partition.is_none() {
                column.partition = Some(name.as_str().into());
            }
            self.partition.push(at);
        }
        if !self.key.is_empty() && self.key.iter().all(|at| self.partition.contains(at)) {
            let remedy = "leave a column of the key out of `partition_by`";
            return refuse("partition_per_row", "its whole key: each row would be a partition".to_owned(), remedy);
        }
        Ok(self)
    }

    /// The column that the configuration means: the one that had the name when the table was made, if it may have another one
    /// now.
    fn column_to_partition_by(&self, name: &str) -> Option<usize> {
        let meant = |column: &TableColumn| column.partition.as_deref() == Some(name);
        let called = |column: &TableColumn| match self.is_mapped() {
            true => *column.name == *name,
            false => column.name == column_name(name),
        };
        let find = |is_it: &dyn Fn(&TableColumn) -> bool| self.columns.iter().position(is_it);
        find(&meant).or_else(|| find(&called))
    }

    /// The columns that the table is partitioned by, by the table's names.
    pub(crate) fn partition_names(&self) -> Vec<String> {
        self.partition.iter().filter_map(|at| self.columns.get(*at)).map(|column| column.name.to_string()).collect()
    }

    /// A table that is there, with the partition columns that it names.
    pub(crate) fn partitioned_by(mut self, names: &[String]) -> Layout {
        let place = |name: &String| self.columns.iter().position(|column| *column.name == **name);
        self.partition = names.iter().filter_map(place).collect();
        self
    }

    /// What the columns that a table was partitioned by are called now.
    fn names_now(&self, present: &Layout) -> Vec<String> {
        let now = |column: &TableColumn| {
            let mut columns = self.columns.iter();
            let same = columns.find(|now| now.file_name() == column.file_name());
            same.unwrap_or(column).name.to_string()
        };
        present.partition.iter().filter_map(|at| present.columns.get(*at)).map(now).collect()
    }

    /// A table that is there must be partitioned as it is.
    pub(crate) fn refuse_partition_change(&self, schema: &TableSchema, present: &Layout) -> Result<()> {
        let (wanted, present) = (self.partition_names(), self.names_now(present));
        if wanted == present {
            return Ok(());
        }
        let list = |names: &[String]| if names.is_empty() { "no column".to_owned() } else { names.join(", ") };
        let message = format!(
            "the table of `{}` is partitioned by {}, `partition_by` says by {}",
            schema.name,
            list(&present),
            list(&wanted)
        );
        Err(Error::operator("partition_changed", message)
            .with_remedy(format!("set `partition_by` of the sink to what the table has, or {READ_ANEW}"))
            .with_table(schema.name.clone()))
    }
}
