//! Which tables of a sink have their files rewritten, and when: many small rewritings at once and one large one, each table in its
//! turn. With a lake of a thousand tables each has few files all the same. Knows nothing of files.

use super::DeltaSink;
use super::committing::COMMIT_THREADS;
use super::table::TableWriter;
use crate::ambient::{Limit, limit};
use crate::compact::{Lane, SMALL_BYTES};
use crate::error::{Result, of_table};
use crate::job::side_by_side;
use std::collections::VecDeque;
use std::sync::Arc;
use tidewire_core::TableName;

/// Small rewritings that are begun between two commits: what they come to is shown between two others.
const SMALL_MAX: usize = 16;

/// Whose turn it is.
pub(super) struct Turns {
    pub(super) lane: Arc<Lane>,
    /// The table that had a small one last; where each is waited for, the last one that had any.
    last: Option<TableName>,
    /// Tables that wait for a large one to end, in the order in which they came.
    waiting: VecDeque<TableName>,
}

/// What may be begun.
#[derive(Clone, Copy, Debug)]
pub(super) struct Room {
    small: usize,
    large: bool,
}

impl Turns {
    pub(super) fn new(bytes_per_second: Option<u64>) -> Turns {
        Turns { lane: Arc::new(Lane::new(bytes_per_second)), last: None, waiting: VecDeque::new() }
    }

    /// Tables in the order of their turns: those that wait, then those after the last one, then the others.
    fn order<'a, T>(&self, tables: impl Iterator<Item = (&'a TableName, T)>) -> Vec<(&'a TableName, T)> {
        let mut order: Vec<_> = tables.collect();
        order.sort_by_key(|(name, _)| {
            let place = self.waiting.iter().position(|waiting| waiting == *name).unwrap_or(usize::MAX);
            (place, Some(*name) <= self.last.as_ref())
        });
        order
    }

    /// The table has its turn, which `counts` for the order of the others: a large one beside them does not.
    fn begun(&mut self, name: &TableName, counts: bool) {
        self.is_in_order(name);
        if counts {
            self.last = Some(name.clone());
        }
    }

    /// There was no room for what the table needs; `is_large` says which.
    fn put_off(&mut self, name: &TableName, is_large: bool) {
        if is_large && !self.waiting.contains(name) {
            self.waiting.push_back(name.clone());
        }
    }

    fn is_in_order(&mut self, name: &TableName) {
        self.waiting.retain(|waiting| waiting != name);
    }
}

impl Room {
    /// Whether files of so many bytes may be rewritten.
    pub(super) fn has(self, bytes: u64) -> bool {
        if bytes <= SMALL_BYTES { self.small > 0 } else { self.large }
    }

    fn is_left(self) -> bool {
        self.small > 0 || self.large
    }

    fn take(&mut self, bytes: u64) {
        if bytes <= SMALL_BYTES {
            self.small = self.small.saturating_sub(1);
        } else {
            self.large = false;
        }
    }
}

/// What came of a table's turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Begun {
    /// Its files are in order.
    Nothing,
    /// Files of so many bytes are to be rewritten, and there is no room.
    PutOff(u64),
    /// Files of so many bytes are being rewritten.
    Yes(u64),
}

impl DeltaSink {
    /// Takes over data files that were rewritten and starts rewriting others.
    pub(super) fn compact(&mut self) -> Result<()> {
        let done = self.tables.iter_mut().filter(|(_, table)| table.has_copies()).collect();
        side_by_side(done, limit(Limit::CommitThreads, COMMIT_THREADS), |(name, table)| {
            table.finish_compaction().map_err(|error| of_table(error, name))
        })?;
        self.go_on_resting()?;
        // Without deletion vectors each is waited for.
        let is_waited_for = !self.settings.deletion_vectors;
        let mut room = Room { small: SMALL_MAX, large: true };
        self.tables.values().filter_map(TableWriter::compacting_bytes).for_each(|bytes| room.take(bytes));
        let turns = &mut self.turns;
        let due = self.tables.iter_mut().filter(|(_, table)| table.may_compact());
        for (name, table) in turns.order(due) {
            if !room.is_left() {
                break;
            }
            match table.start_compaction(&turns.lane, room).map_err(|error| of_table(error, name))? {
                Begun::Nothing => turns.is_in_order(name),
                Begun::PutOff(bytes) => turns.put_off(name, bytes > SMALL_BYTES),
                Begun::Yes(bytes) => {
                    turns.begun(name, is_waited_for || bytes <= SMALL_BYTES);
                    room.take(bytes);
                    if is_waited_for {
                        break;
                    }
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LARGE: u64 = SMALL_BYTES + 1;

    /// Plays rounds in which each table wants to be rewritten whenever it is not, and the large one goes on for some rounds.
    fn play(sizes: &[(&str, u64)], rounds: usize, large_rounds: usize, is_waited_for: bool) -> Vec<usize> {
        let names: Vec<TableName> = sizes.iter().map(|(name, _)| TableName::new("s", *name)).collect();
        let (mut turns, mut had) = (Turns::new(None), vec![0; sizes.len()]);
        let mut running: Option<(usize, usize)> = None;
        for round in 0..rounds {
            running = running.filter(|(_, until)| *until > round);
            let mut room = Room { small: 2, large: running.is_none() };
            let due = names.iter().zip(0..).filter(|(_, at)| running.is_none_or(|(busy, _)| busy != *at));
            for (name, at) in turns.order(due) {
                let bytes = sizes[at].1;
                if !room.is_left() {
                    break;
                }
                if !room.has(bytes) {
                    turns.put_off(name, bytes > SMALL_BYTES);
                    continue;
                }
                turns.begun(name, is_waited_for || bytes <= SMALL_BYTES);
                room.take(bytes);
                had[at] += 1;
                if is_waited_for {
                    break;
                }
                if bytes > SMALL_BYTES {
                    running = Some((at, round + large_rounds));
                }
            }
        }
        had
    }

    #[test]
    fn every_table_has_its_turn() {
        let small = ["c", "d", "e", "f", "g"].map(|name| (name, 1));
        assert_eq!(play(&small, 50, 0, false), [20; 5], "two a round");
        let mixed: Vec<(&str, u64)> =
            [("a", LARGE), ("b", LARGE)].into_iter().chain(small).chain([("h", LARGE)]).collect();
        assert_eq!(play(&mixed, 80, 4, true), [10; 8], "one a round, large or small");
        let had = play(&mixed, 60, 4, false);
        assert_eq!(had[2..7].iter().sum::<usize>(), 120, "small ones go on beside large ones: {had:?}");
        assert!(had[2..7].iter().all(|times| *times == 24), "{had:?}");
        assert!([had[0], had[1], had[7]].iter().all(|times| *times == 5), "{had:?}");
    }
}
