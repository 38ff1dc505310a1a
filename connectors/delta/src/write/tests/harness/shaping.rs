//! What happens to the harness's table at the source.

use super::{Harness, column};
use crate::layout::AddedDefaults;
use std::sync::Arc;
use tidewire_core::{ColumnNumber, ColumnSchema, DataType, Missing, SchemaVersion, TableSchema};

impl Harness {
    pub(in crate::write::tests) fn change_schema(&mut self, change: impl FnOnce(&mut TableSchema)) {
        let mut schema = (*self.schema).clone();
        schema.version = SchemaVersion(schema.version.0 + 1);
        change(&mut schema);
        self.schema = Arc::new(schema);
    }

    pub(in crate::write::tests) fn add_column(&mut self, name: &str) {
        self.change_schema(|schema| schema.columns.push(column(name, DataType::Text)));
    }

    pub(in crate::write::tests) fn add_column_as_null(&mut self, name: &str) {
        let column = ColumnSchema { missing: Missing::Null, ..column(name, DataType::Text) };
        self.change_schema(|schema| schema.columns.push(column));
    }

    /// The column comes; rows from before have this in it.
    pub(in crate::write::tests) fn add_missing(&mut self, name: &str, data_type: DataType, missing: Missing) {
        let column = ColumnSchema { missing, ..column(name, data_type) };
        self.change_schema(|schema| schema.columns.push(column));
    }

    /// The daemon is stopped and goes on so.
    pub(in crate::write::tests) fn added_defaults(&mut self, policy: AddedDefaults) {
        self.settings.added_defaults = policy;
        self.crash();
    }

    pub(in crate::write::tests) fn forget_added(&mut self, name: &str) {
        let is = |column: &&mut ColumnSchema| &*column.name == name;
        self.change_schema(|schema| {
            schema.columns.iter_mut().filter(is).for_each(|column| column.missing = Missing::Unknown)
        });
    }

    pub(in crate::write::tests) fn drop_column(&mut self, name: &str) {
        self.change_schema(|schema| schema.columns.retain(|column| &*column.name != name));
    }

    /// The column has another type, or comes with it.
    pub(in crate::write::tests) fn type_column(&mut self, name: &str, data_type: DataType) {
        self.change_schema(|schema| match schema.columns.iter_mut().find(|column| &*column.name == name) {
            Some(column) => column.data_type = data_type,
            None => schema.columns.push(column(name, data_type)),
        });
    }

    pub(in crate::write::tests) fn rename_column(&mut self, name: &str, to: &str) {
        let is = |column: &&mut ColumnSchema| &*column.name == name;
        self.change_schema(|schema| schema.columns.iter_mut().filter(is).for_each(|column| column.name = to.into()));
    }

    /// From here on the source tells its numbers of the columns.
    pub(in crate::write::tests) fn number_columns(&mut self) {
        self.change_schema(|schema| {
            let within = schema.native_id;
            let number =
                |(number, column): (u32, &mut ColumnSchema)| column.number = Some(ColumnNumber { within, number });
            (1..).zip(&mut schema.columns).for_each(number);
        });
    }

    pub(in crate::write::tests) fn add_numbered(&mut self, name: &str, number: u32) {
        self.change_schema(|schema| {
            let number = Some(ColumnNumber { within: schema.native_id, number });
            schema.columns.push(ColumnSchema { number, ..column(name, DataType::Text) });
        });
    }

    pub(in crate::write::tests) fn recreate_at_source(&mut self) {
        self.change_schema(|schema| {
            schema.native_id += 1;
            let numbers = schema.columns.iter_mut().filter_map(|column| column.number.as_mut());
            numbers.for_each(|number| number.within += 1);
        });
    }
}
