//! Turns what could not be written into an error that names table, key, column and what resolves it.

use super::table::{RowFault, TablePlan};
use super::value::Fault;
use tidewire_core::Error;
use tidewire_core::cell::IMPOSSIBLE_DATE_REMEDY;

/// The error for a row; `key` is its key's payload as far as it was written.
pub(crate) fn row_error(plan: &TablePlan, key: &[u8], fault: RowFault) -> Error {
    let table = &plan.schema.name;
    let column = |index: usize| plan.schema.columns.get(index).map_or("?", |column| &*column.name);
    let key = match key {
        [] if plan.has_key() => "key not known".to_owned(),
        [] => "no key".to_owned(),
        key => format!("key {}", String::from_utf8_lossy(key)),
    };
    let error = match fault {
        RowFault::Value(index, Fault::OutOfRange { remedy }) => Error::operator(
            "value_out_of_range",
            format!(
                "the value of column `{}` of table `{table}` ({key}) has no place in the configured form",
                column(index)
            ),
        )
        .with_remedy(remedy),
        RowFault::Unknown(index) => Error::operator(
            "value_not_logged",
            format!(
                "the log does not carry column `{}` of table `{table}` ({key}), and its type has no placeholder",
                column(index)
            ),
        )
        .with_remedy(format!(
            "let the log carry whole rows: `ALTER TABLE {table} REPLICA IDENTITY FULL` in PostgreSQL, \
             `binlog_row_image = FULL` in MySQL and MariaDB"
        )),
        RowFault::Value(index, Fault::Impossible) => Error::operator(
            "date_impossible",
            format!("column `{}` of table `{table}` ({key}) has a date that no calendar has", column(index)),
        )
        .with_remedy(IMPOSSIBLE_DATE_REMEDY),
        RowFault::Value(index, Fault::Mismatch) => Error::bug(
            "cell_type_mismatch",
            format!("a cell of column `{}` of table `{table}` ({key}) is not of the column's type", column(index)),
        ),
        RowFault::Shape => {
            Error::bug("image_shape_mismatch", format!("a row image of table `{table}` has not one cell a column"))
        }
    };
    error.with_table(table.clone())
}
