//! What cannot be survived: a slot, a log, a topic or a table is taken away amid a load, as the last act of a round. Expected
//! is the right halt, of nothing but what is concerned, told by one line that names what resolves it; then just that is
//! done, and in the end the sinks hold what the source holds. The seed says what is taken, and which of the remedies of the line is tried.

mod halt;
mod log;
mod table;

use super::load::{Load, Running};
use super::site::Site;
use super::source::Kind;
use crate::oracle::Witness;
use crate::wait;
use crate::workload::Dice;
use anyhow::{Context, Result, ensure};

/// What was taken away in a round's last act, and what came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// In words.
    pub what: &'static str,
    /// Of the halt.
    pub code: String,
    /// What resolved it, in words.
    pub remedy: &'static str,
}

/// What is taken away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Act {
    /// The slot is dropped.
    DropSlot,
    /// The slot is dropped and made anew, at a later place.
    RenewSlot,
    /// The log of MySQL or MariaDB that the stopped daemon has not read is purged.
    PurgeLog,
    /// A topic is deleted.
    DeleteTopic,
    /// A topic is deleted and made anew.
    RenewTopic,
    /// A table's folder is gone.
    RemoveTable,
    /// Spark deletes a row of a table.
    WriteTable,
}

/// With what the report calls it, and the codes of which one is right.
const ACTS: [(Act, &str, &[&str]); 7] = [
    (Act::DropSlot, "slot dropped", &["slot_missing"]),
    // Whether it was made anew or moved cannot be told where the log was at rest in between.
    (Act::RenewSlot, "slot made anew", &["slot_recreated", "slot_ahead_of_sink"]),
    (Act::PurgeLog, "log purged", &["binlog_purged"]),
    (Act::DeleteTopic, "topic deleted", &["topic_gone"]),
    (Act::RenewTopic, "topic made anew", &["topic_recreated"]),
    (Act::RemoveTable, "table removed", &["delta_table_gone"]),
    (Act::WriteTable, "table written by another", &["foreign_write"]),
];

impl Act {
    fn name(self) -> &'static str {
        ACTS.iter().find(|(act, ..)| *act == self).map_or("?", |(_, name, _)| name)
    }

    fn codes(self) -> &'static [&'static str] {
        ACTS.iter().find(|(act, ..)| *act == self).map_or(&[], |(.., codes)| codes)
    }

    fn of_round(kind: Kind, has: Has, dice: &mut Dice) -> Result<Act> {
        let is_possible = |act: Act| match act {
            Act::DropSlot | Act::RenewSlot => kind == Kind::Postgres,
            Act::PurgeLog => kind != Kind::Postgres,
            Act::DeleteTopic | Act::RenewTopic => has.topics,
            Act::RemoveTable => has.tables,
            Act::WriteTable => has.folder,
        };
        let possible: Vec<Act> = ACTS.iter().map(|(act, ..)| *act).filter(|act| is_possible(*act)).collect();
        possible.get(dice.below(possible.len() as u64) as usize).copied().context("nothing can be taken away")
    }
}

/// What there is to take.
#[derive(Clone, Copy, Debug)]
struct Has {
    topics: bool,
    tables: bool,
    /// The tables are in a folder: Spark knows no bucket here.
    folder: bool,
}

/// An act under way.
struct Scene<'a> {
    site: &'a mut Site,
    /// Of changes amid which it happens.
    load: Load,
    /// For the next load's sessions.
    loads: u64,
    witness: &'a Witness,
    is_early: bool,
    dice: Dice,
    act: Act,
    /// Where the daemon's log was when it began.
    begin: usize,
}

/// Of dice that have nothing to do with the round's: the same seed takes the same away whatever else a round does.
const DICE: u64 = 0x74_616b_656e;

/// Starts the daemon again, takes something away from it, and does what it says.
pub(super) fn last_act(site: &mut Site, load: &Load, witness: &Witness, is_early: bool, seed: u64) -> Result<Taken> {
    let mut dice = Dice::new(seed ^ DICE);
    let has_folder = site.lake.as_ref().is_some_and(|lake| lake.folder().is_some());
    let has = Has { topics: site.kafka.is_some(), tables: site.lake.is_some(), folder: has_folder };
    let act = Act::of_round(site.kind, has, &mut dice)?;
    site.leave_second()?;
    let begin = site.daemon.log()?.len();
    let load = Load { sessions: 2, bulk: 0, shapes: false, truncates: false, ..load.clone() };
    let scene = Scene { site, load, loads: 0, witness, is_early, dice, act, begin };
    scene.play().with_context(|| format!("the last act, `{}`", act.name()))
}

impl Scene<'_> {
    fn play(mut self) -> Result<Taken> {
        self.site.daemon.run()?;
        self.site.catch_up()?;
        let (code, remedy) = match self.act {
            Act::DropSlot | Act::RenewSlot | Act::PurgeLog => self.take_log()?,
            _ => self.take_table()?,
        };
        let ended = self.site.daemon.terminate()?;
        ensure!(ended == 0, "asked to stop, the daemon ended with {ended}");
        // The halts have been looked at, each of them.
        let accepted = ["accepted, as `changed_topics` says", "the operator accepts the server's position"];
        for line in [" halted: ", "nothing_left"].into_iter().chain(accepted) {
            self.site.daemon.allow_log(line);
        }
        let unexpected = self.site.daemon.unexpected()?;
        ensure!(unexpected.is_empty(), "the log holds lines nobody expected: {}", unexpected.join("\n"));
        Ok(Taken { what: self.act.name(), code, remedy })
    }

    /// Changes of other sessions than before.
    fn start_load(&mut self) -> Running {
        self.loads += 1;
        let (seed, first) = (self.load.seed.wrapping_add(10 + self.loads), 60 + 10 * self.loads);
        self.load = Load { seed, first, ..self.load.clone() };
        self.load.start(&self.site.address)
    }

    /// Until so many more transactions have ended.
    fn live(&self, running: &Running, transactions: u64) -> Result<()> {
        let end = running.ended() + transactions;
        wait::until("some more transactions", wait::PATIENCE, || Ok((running.ended() >= end).then_some(())))
    }

    fn stop_load(&self, running: Running) -> Result<()> {
        running.stop().context("the load")?;
        self.load.settle(&self.site.server.session()?, None)
    }

    /// Changes for a while, until all has arrived.
    fn live_on(&mut self, transactions: u64) -> Result<()> {
        let running = self.start_load();
        self.live(&running, transactions)?;
        self.stop_load(running)?;
        self.site.catch_up()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_act_comes_where_it_can() {
        let mut dice = Dice::new(1);
        for kind in Kind::ALL {
            let mut seen = Vec::new();
            for _ in 0..200 {
                let all = Has { topics: true, tables: true, folder: true };
                let act = Act::of_round(kind, all, &mut dice).unwrap();
                assert!(!act.codes().is_empty() && act.name() != "?");
                if !seen.contains(&act) {
                    seen.push(act);
                }
            }
            assert_eq!(seen.len(), if kind == Kind::Postgres { 6 } else { 5 }, "{kind:?}: {seen:?}");
            for _ in 0..50 {
                let topics = Has { topics: true, tables: false, folder: false };
                assert_ne!(Act::of_round(kind, topics, &mut dice).unwrap(), Act::RemoveTable);
                let bucket = Has { topics: true, tables: true, folder: false };
                assert_ne!(Act::of_round(kind, bucket, &mut dice).unwrap(), Act::WriteTable);
            }
        }
    }
}
