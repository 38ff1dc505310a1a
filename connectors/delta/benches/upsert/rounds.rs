//! Which rows a round of changes touches, by arithmetic alone: any round can be told without those before it, and what
//! the table holds in the end needs one bit a row. Knows ids and rounds; neither values nor batches.
//!
//! Ids lie on a circle in the order in which they are deleted. A window of it holds those that are not in the table. A
//! round moves the window on: what it leaves behind is inserted, what it enters is deleted, and the table keeps its size.
//! Updates fall anywhere outside of it.

use std::collections::HashSet;

/// An id is deleted and comes back after so many rounds.
const ROUNDS_AWAY: u64 = 40;
/// One change in so many is a delete, and one an insert.
const DELETE_EVERY: u64 = 20;

/// What happens to a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// It comes.
    Insert,
    /// It gets new values.
    Update,
    /// It goes.
    Delete,
}

/// A table of `rows` rows, and rounds of `changes` changes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rounds {
    rows: u64,
    changes: u64,
    factor: u64,
    inverse: u64,
}

impl Rounds {
    /// `None` when the table is too small for such rounds, or larger than the arithmetic: `rows` must be above four
    /// rounds and below 2^32, `changes` a multiple of 20.
    pub(crate) fn new(rows: u64, changes: u64) -> Option<Rounds> {
        let fits =
            changes > 0 && changes.is_multiple_of(DELETE_EVERY) && rows > changes.checked_mul(4)? && rows < 1 << 32;
        // Steps of the golden ratio spread deletes over the whole table.
        let golden = (rows as f64 * 0.618_033_988_749) as u64;
        let (factor, inverse) = (golden.max(1)..rows).find_map(|factor| Some((factor, inverse(factor, rows)?)))?;
        fits.then_some(Rounds { rows, changes, factor, inverse })
    }

    /// Rows of the table, before the first round and after each.
    pub(crate) fn rows(&self) -> u64 {
        self.rows
    }

    /// Ids are below this; those below `rows` are in the table at first.
    pub(crate) fn ids(&self) -> u64 {
        self.rows + self.away()
    }

    /// The changes of a round, counted from 0. No id comes twice.
    pub(crate) fn changes(&self, round: u64) -> Vec<(Kind, u64)> {
        let (each, start) = (self.changes / DELETE_EVERY, round * (self.changes / DELETE_EVERY));
        let mut dice = Dice(mix(round ^ 0x7469_6465_7769_7265));
        let mut taken = HashSet::with_capacity(self.changes as usize);
        let mut update = || loop {
            let id = dice.below(self.ids());
            if self.place_in_window(id, start) >= self.away() + each && taken.insert(id) {
                return id;
            }
        };
        let change = |number: u64| match (number % DELETE_EVERY, number / DELETE_EVERY) {
            (0, nth) => (Kind::Delete, self.id(start + self.away() + nth)),
            (10, nth) => (Kind::Insert, self.id(start + nth)),
            _ => (Kind::Update, update()),
        };
        (0..self.changes).map(change).collect()
    }

    /// Calls back once for each row of the table after so many rounds: its id, and the round that wrote it last, counted
    /// from 1; 0 is the snapshot.
    pub(crate) fn for_each_row(&self, rounds: u64, mut each: impl FnMut(u64, u64)) {
        let mut seen = vec![0_u64; (self.ids() / 64 + 1) as usize];
        let mut is_first = |id: u64| {
            let (bit, word) = (1 << (id % 64), seen.get_mut((id / 64) as usize));
            word.is_some_and(|word| std::mem::replace(word, *word | bit) & bit == 0)
        };
        // From the end, the first change of an id that is met is the one that counts.
        for round in (0..rounds).rev() {
            for (kind, id) in self.changes(round) {
                if is_first(id) && kind != Kind::Delete {
                    each(id, round + 1);
                }
            }
        }
        (0..self.rows).filter(|id| is_first(*id)).for_each(|id| each(id, 0));
    }

    /// Ids that are not in the table.
    fn away(&self) -> u64 {
        ROUNDS_AWAY * (self.changes / DELETE_EVERY)
    }

    /// The id at a place of the circle. The first ones to come are new.
    fn id(&self, place: u64) -> u64 {
        let (place, away) = (place % self.ids(), self.away());
        if place < away { self.rows + place } else { (place - away) * self.factor % self.rows }
    }

    /// Places from the window's start to an id.
    fn place_in_window(&self, id: u64, start: u64) -> u64 {
        let place = if id >= self.rows { id - self.rows } else { self.away() + id * self.inverse % self.rows };
        (place + self.ids() - start % self.ids()) % self.ids()
    }
}

/// The number that undoes a multiplication by `factor` modulo `modulus`, if there is one.
fn inverse(factor: u64, modulus: u64) -> Option<u64> {
    let (mut a, mut b) = (factor as i128, modulus as i128);
    let (mut x, mut next) = (1_i128, 0_i128);
    while b != 0 {
        let quotient = a / b;
        (a, b) = (b, a - quotient * b);
        (x, next) = (next, x - quotient * next);
    }
    (a == 1).then(|| x.rem_euclid(modulus as i128) as u64)
}

/// A number that looks random (SplitMix64, by Steele, Lea and Flood). Different for different numbers.
pub(crate) fn mix(number: u64) -> u64 {
    let mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(1);
        ((u128::from(mix(self.0)) * u128::from(limit)) >> 64) as u64
    }
}
