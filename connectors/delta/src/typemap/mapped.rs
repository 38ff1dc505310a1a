//! What column mapping says of a column: the name and the id that it has in data files, whatever it is called in the table.
//! Knows nothing of how they are given out.
//! <https://github.com/delta-io/delta/blob/master/PROTOCOL.md#column-mapping>

use serde_json::{Map, Value as Json};
use std::sync::Arc;
use tidewire_core::ColumnNumber;

/// The table's property that turns it on, and the one of its modes that Tidewire writes: files are read by names.
pub(crate) const MODE_PROPERTY: &str = "delta.columnMapping.mode";
pub(crate) const MODE_NAME: &str = "name";
/// The table's property with the highest id that any column has had.
pub(crate) const LAST_ID_PROPERTY: &str = "delta.columnMapping.maxColumnId";

const ID_KEY: &str = "delta.columnMapping.id";
const PHYSICAL_KEY: &str = "delta.columnMapping.physicalName";
const NUMBER_KEY: &str = "tidewire.column";

/// The unchanging part of a column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mapped {
    /// No other column of the table ever has it.
    pub(crate) id: u32,
    /// Its name in data files and statistics.
    pub(crate) physical: Arc<str>,
    /// The source's column whose values it takes, as long as that is known for certain.
    pub(crate) number: Option<ColumnNumber>,
}

impl Mapped {
    /// Adds it to a field's metadata.
    pub(super) fn write(&self, metadata: &mut Map<String, Json>) {
        metadata.insert(ID_KEY.to_owned(), self.id.into());
        metadata.insert(PHYSICAL_KEY.to_owned(), Json::String(self.physical.to_string()));
        if let Some(ColumnNumber { within, number }) = self.number {
            metadata.insert(NUMBER_KEY.to_owned(), Json::String(format!("{within}/{number}")));
        }
    }

    /// Reads it from a field's metadata; `None` when the column is not mapped.
    pub(super) fn read(metadata: &Json) -> Option<Mapped> {
        let number = metadata.get(NUMBER_KEY).and_then(Json::as_str).and_then(|text| {
            let (within, number) = text.split_once('/')?;
            Some(ColumnNumber { within: within.parse().ok()?, number: number.parse().ok()? })
        });
        Some(Mapped {
            id: metadata.get(ID_KEY)?.as_u64()?.try_into().ok()?,
            physical: metadata.get(PHYSICAL_KEY)?.as_str()?.into(),
            number,
        })
    }
}
