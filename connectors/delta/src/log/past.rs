//! A table as it was: what a reader sees who asks for a version. For tests; the whole log must be there.

use crate::log::load::{self, Loaded};
use crate::log::state::State;
use crate::log::{ForeignWrites, Table};
use crate::store::TableStore;

impl Table {
    pub(crate) fn open_at(store: TableStore, version: i64) -> Table {
        let mut state = State::default();
        for one in 0..=version {
            let actions = load::read_entry(&store, one).unwrap().unwrap();
            state.apply(actions, "past").unwrap();
        }
        Table::new(store, ForeignWrites::Pause, Loaded { state, version, ..Loaded::default() })
    }
}
