//! Whether a table is still there, and the one that was loaded: a commit into a folder that was emptied or replaced would
//! make a table without a beginning, which no reader can open (SK-3A). Knows two objects of the log, not what is in them.

use crate::error::Result;
use crate::log::{Table, load, others};
use crate::store::{Object, TableStore};
use tidewire_core::Error;

/// The two ends of what a reader needs of a log.
#[derive(Debug)]
pub(super) struct Presence {
    /// Name of the checkpoint, or of version 0, with which a reader would begin. In a bucket nothing else tells that a table
    /// is being removed, object by object, while entries are put behind those that are gone.
    begin: String,
    /// The newest entry as storage showed it; `None` when it was cleaned away after a checkpoint.
    head: Option<Object>,
}

/// What storage shows of the two now.
#[derive(Debug)]
pub(super) struct Ends {
    begin: Option<Object>,
    head: Option<Object>,
}

impl Presence {
    pub(super) fn of(begin: String) -> Presence {
        Presence { begin, head: None }
    }

    /// There is a newer checkpoint.
    pub(super) fn begins_with(&mut self, name: String) {
        self.begin = name;
    }

    /// There is a newer entry.
    pub(super) fn ends_with(&mut self, head: Option<Object>) {
        self.head = head;
    }
}

impl Table {
    /// Makes sure of it before something is written.
    pub(super) fn check_presence(&mut self) -> Result<()> {
        let ends = self.ends()?;
        self.check(&ends)
    }

    /// As `check_presence`, of what `ends` has found.
    pub(super) fn check(&mut self, Ends { begin, head }: &Ends) -> Result<()> {
        let known = self.presence.head.as_ref().map(|object| &object.identity);
        if begin.is_some() && head.is_some() && head.as_ref().map(|object| &object.identity) == known {
            return Ok(());
        }
        self.look_anew()
    }

    /// Looks at the newest entry once it was written, and makes sure that it lies on top of what it was written for: it
    /// counts for nothing in a table that was taken away meanwhile.
    pub(super) fn see_head(&mut self) -> Result<()> {
        let ends = self.ends()?;
        self.see(ends)
    }

    /// As `see_head`, of what `ends` has found.
    pub(super) fn see(&mut self, Ends { begin, head }: Ends) -> Result<()> {
        self.presence.head = head;
        if begin.is_some() { Ok(()) } else { self.look_anew() }
    }

    /// Whether nobody has put anything on top of what this writer knows: otherwise files may be live, or kept by a longer retention,
    /// that its state takes for gone. Asked before anything is removed; an entry that has gone leaves it open what came after.
    pub(super) fn is_newest(&self) -> Result<bool> {
        let (newest, next) =
            self.store.head_both(&load::entry_name(self.version), &load::entry_name(self.version + 1))?;
        Ok(newest.is_some() && next.is_none())
    }

    /// Asks for both ends.
    pub(super) fn ends(&self) -> Result<Ends> {
        let (begin, head) = self.store.head_both(&self.presence.begin, &load::entry_name(self.version))?;
        Ok(Ends { begin, head })
    }

    /// Whether all of it was taken away, which files that are missing may come of.
    pub(crate) fn is_gone(&self) -> Result<bool> {
        Ok(self.store.head(&self.presence.begin)?.is_none() && load::load(&self.store, self.others)?.is_none())
    }

    /// An entry was replaced, or others have cleaned the log, as they may behind a checkpoint of theirs: looks at the whole.
    fn look_anew(&mut self) -> Result<()> {
        let Some(now) = load::load(&self.store, self.others)? else {
            return Err(gone(&self.store));
        };
        let id = now.state.metadata.as_ref().map_or("", |metadata| &metadata.id);
        if id != self.metadata_id() {
            let message = format!("`{}` is another table now (its id changed)", self.store.place(""));
            return Err(Error::operator("delta_table_replaced", message)
                .with_remedy("give the sink a new name and location, which reads its tables anew"));
        }
        if now.version < self.version {
            return Err(rolled_back(&self.store, self.version, now.version));
        }
        // What others put in the place of our newest entry is no change on top of it.
        if others::mark(&now.state).map(|mark| mark.version) < others::mark(&self.state).map(|mark| mark.version) {
            let message = format!("an entry of this sink in the log of `{}` was overwritten", self.store.place(""));
            return Err(Error::operator("delta_commit_overwritten", message).with_remedy(
                "let only writers that create entries by a condition write to the table, and give the sink a new name and location, \
                 which reads its tables anew",
            ));
        }
        let Presence { begin, head } = now.presence;
        if now.version == self.version {
            self.presence.head = head;
        }
        self.presence.begin = begin;
        Ok(())
    }
}

const REMEDY: &str = "restore the table, or give the sink a new name and location, which reads its tables anew";

/// The refusal to go on without what a table held.
pub(crate) fn gone(store: &TableStore) -> Error {
    Error::operator("delta_table_gone", format!("the log of `{}` is gone", store.place(""))).with_remedy(REMEDY)
}

/// The refusal of an older copy of a table: what this sink committed since is in it no more, and does not come again (SK-35).
pub(crate) fn rolled_back(store: &TableStore, from: i64, to: i64) -> Error {
    let message = format!(
        "`{}` went back from version {from} to {to}: changes that were committed in between are missing",
        store.place("")
    );
    Error::operator("delta_table_rolled_back", message).with_remedy(format!(
        "put the table back as it was at version {from} or later and restart, or give the sink a new name and location, which \
         reads its tables anew"
    ))
}

/// The same of a log that has lost its beginning: there is neither version 0 nor a checkpoint before this entry.
pub(super) fn cut(store: &TableStore, entry: i64) -> Error {
    let message = format!("the log of `{}` is gone up to version {entry}", store.place(""));
    Error::operator("delta_table_gone", message).with_remedy(REMEDY)
}
