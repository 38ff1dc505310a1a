//! The index of a mirror whose key's columns get wider types: most keys keep their ids, others are looked for anew, also in
//! files that no commit has named yet.

use super::load::{Teller, read_keys};
use super::{IndexHome, Mirror};
use crate::encode::row::IdCodec;
use crate::error::Result;
use crate::layout::Layout;
use crate::log::Table;
use crate::parts::Parts;
use tidewire_core::TableSchema;

impl Mirror {
    /// From here on keys are of the layout's types. The rows so far must have been closed off; `is_loaded`: the index holds
    /// them, and shall hold them afterwards.
    pub(crate) fn widen_key(
        &mut self,
        (schema, layout): (&TableSchema, &Layout),
        home: &IndexHome,
        parts: &mut Parts,
        table: Option<&mut Table>,
        is_loaded: bool,
    ) -> Result<()> {
        let codec = Mirror::codec_of(schema, layout)?;
        if codec.form() == self.codec.form() {
            return Ok(());
        }
        if let (IdCodec::Key(held), IdCodec::Key(codec)) = (&mut self.codec, &codec)
            && codec.has_ids_of(held)
        {
            // What is on disk is made anew at the next start: it says for which types it is.
            held.take_types(codec.clone());
            return Ok(());
        }
        let counts = self.counts;
        self.renew(schema, layout, home)?;
        self.counts = counts;
        if is_loaded { self.find_all(parts, layout, table) } else { Ok(()) }
    }

    /// Fills the empty index with the rows that are there as far as the changes so far go.
    fn find_all(&mut self, parts: &mut Parts, layout: &Layout, mut table: Option<&mut Table>) -> Result<()> {
        let place = parts.store().place("");
        let rows = table.as_ref().map_or(0, |table| table.files().map(|file| file.num_records).sum());
        let mut teller = Teller::new("building the key index for a wider key", place, rows);
        let mut codec = self.codec.clone();
        let files = parts.files().named().map(|(file, _)| file).collect::<Vec<_>>();
        for file in files {
            read_keys(table.as_deref_mut(), parts, layout, (file, None), &mut codec, |_, parts, ids, locations| {
                teller.add(ids.len());
                for (id, location) in ids.iter().zip(locations) {
                    if let Some(location) = location.filter(|location| parts.is_live(*location)) {
                        self.index.insert(*id, location);
                    }
                }
                Ok(())
            })?;
            if self.index_bytes() > super::LOAD_BYTES_MAX {
                self.spill_index(parts)?;
            }
        }
        Ok(())
    }
}
