//! A seeded stream of transactions against PostgreSQL, MySQL or MariaDB: inserts, updates, deletes, changes of keys, rare
//! truncates, several tables in one transaction, large values that stay untouched, savepoints rolled back, transactions
//! from one row to a thousand. The seed and the number of writers give the same statements again.

mod dialect;
mod mysql;
mod postgres;

pub use crate::dice::Dice;
use crate::session::Session;
pub use crate::session::Target;
use anyhow::{Context, Result, anyhow};
pub use dialect::Database;
use std::ops::AddAssign;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// How much of it, and how fast.
#[derive(Clone, Debug)]
pub struct Workload {
    /// Equal seeds give equal statements.
    pub seed: u64,
    /// Sessions that write at the same time, each to keys of its own.
    pub writers: u64,
    /// Transactions of all writers together, those that are rolled back included.
    pub transactions: u64,
    /// The largest transaction, in row operations.
    pub largest: u64,
    /// Whether one of the tables is truncated now and then.
    pub truncates: bool,
    /// Pause of a writer between two transactions: the rate of a trickle.
    pub pause: Duration,
}

impl Default for Workload {
    fn default() -> Workload {
        Workload { seed: 1, writers: 2, transactions: 200, largest: 1000, truncates: true, pause: Duration::ZERO }
    }
}

/// What was done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Transactions committed.
    pub committed: u64,
    /// Transactions rolled back on purpose.
    pub rolled_back: u64,
    /// Row operations sent, rolled back ones included.
    pub operations: u64,
}

impl AddAssign for Report {
    fn add_assign(&mut self, other: Report) {
        self.committed += other.committed;
        self.rolled_back += other.rolled_back;
        self.operations += other.operations;
    }
}

/// A workload under way.
#[derive(Debug)]
pub struct Running {
    writers: Vec<JoinHandle<Result<Report>>>,
    stop: Arc<AtomicBool>,
}

impl Running {
    /// Waits for the end of all writers.
    pub fn join(self) -> Result<Report> {
        let mut report = Report::default();
        for writer in self.writers {
            report += writer.join().map_err(|_| anyhow!("a writer panicked"))??;
        }
        Ok(report)
    }

    /// Lets each writer finish its transaction, then waits.
    pub fn stop(self) -> Result<Report> {
        self.stop.store(true, Ordering::Relaxed);
        self.join()
    }

    /// Whether all writers have ended.
    pub fn is_finished(&self) -> bool {
        self.writers.iter().all(JoinHandle::is_finished)
    }
}

/// The tables it writes to: in `public`, or in MySQL's and MariaDB's database `work`.
pub const TABLES: [&str; 3] = ["work_items", "work_pairs", "work_log"];

/// Each writer keeps to so many keys, so that writers never wait for one another in a circle.
const KEYS: u64 = 400;
const PAIR_NAMES: [&str; 5] = ["north", "s\u{fc}d", "o'st", "w\u{20ac}st", ""];
/// How often a transaction is tried that the server gives up for another's sake.
const ATTEMPTS: u32 = 20;

impl Workload {
    /// Makes the tables: one with a simple key and many types, one with a key of two columns, one that is appended to
    /// and truncated.
    pub fn create_tables(database: &impl Database) -> Result<()> {
        database.create_tables()
    }

    /// Starts the writers, each with a session of its own.
    pub fn start(&self, target: impl Into<Target>) -> Result<Running> {
        let target = target.into();
        let stop = Arc::new(AtomicBool::new(false));
        let mut writers = Vec::new();
        for number in 0..self.writers.max(1) {
            let share =
                self.transactions / self.writers.max(1) + u64::from(number < self.transactions % self.writers.max(1));
            let session = dialect::connect(&target)?;
            let dice = Dice::new(self.seed.wrapping_mul(1000).wrapping_add(number));
            let mut writer = Writer { workload: self.clone(), number, dice, report: Report::default() };
            let stop = Arc::clone(&stop);
            writers.push(std::thread::spawn(move || writer.run(&session, share, &stop)));
        }
        Ok(Running { writers, stop })
    }

    /// Starts it and waits for its end.
    pub fn run(&self, target: impl Into<Target>) -> Result<Report> {
        self.start(target)?.join()
    }
}

struct Writer {
    workload: Workload,
    number: u64,
    dice: Dice,
    report: Report,
}

impl Writer {
    fn run(&mut self, session: &Session, transactions: u64, stop: &AtomicBool) -> Result<Report> {
        for count in 0..transactions {
            if stop.load(Ordering::Relaxed) {
                break;
            }
            let (script, commits) = self.transaction(session);
            let attempt = || session.execute(&script);
            let mut result = attempt();
            for _ in 1..ATTEMPTS {
                // MySQL ends one of two that wait for each other's gaps between keys; the same statements do again.
                if !result.as_ref().is_err_and(dialect::is_deadlock) {
                    break;
                }
                session.execute("ROLLBACK")?;
                result = attempt();
            }
            result.with_context(|| format!("writer {}, transaction {count}", self.number))?;
            if commits {
                self.report.committed += 1;
            } else {
                self.report.rolled_back += 1;
            }
            if !self.workload.pause.is_zero() {
                std::thread::sleep(self.workload.pause);
            }
        }
        Ok(self.report)
    }

    /// The text of a transaction, and whether it commits.
    fn transaction(&mut self, session: &Session) -> (String, bool) {
        if self.workload.truncates && self.number == 0 && self.dice.one_in(50) {
            return ("TRUNCATE work_log".to_owned(), true);
        }
        let largest = self.workload.largest.max(1);
        let size = match self.dice.below(20) {
            0 => 1 + self.dice.below(largest),
            1..=5 => 1 + self.dice.below(largest.min(50)),
            _ => 1 + self.dice.below(largest.min(5)),
        };
        let mut script = "BEGIN;\n".to_owned();
        for _ in 0..size {
            if self.dice.one_in(15) {
                let undone = self.operation(session);
                script.push_str(&format!("SAVEPOINT s;\n{undone}ROLLBACK TO s;\n"));
            }
            let done = self.operation(session);
            script.push_str(&done);
        }
        let commits = !self.dice.one_in(12);
        script.push_str(if commits { "COMMIT" } else { "ROLLBACK" });
        (script, commits)
    }

    fn operation(&mut self, session: &Session) -> String {
        self.report.operations += 1;
        let keys = Keys { number: self.number, first: self.number * KEYS };
        dialect::operation(session, &mut self.dice, keys)
    }
}

/// A writer's number, and the first of its [`KEYS`] keys.
#[derive(Clone, Copy, Debug)]
struct Keys {
    number: u64,
    first: u64,
}

impl Keys {
    fn any(self, dice: &mut Dice) -> u64 {
        self.first + dice.below(KEYS)
    }
}

/// An SQL literal of one of the pairs' names.
fn pair_name(dice: &mut Dice) -> String {
    let place = dice.below(PAIR_NAMES.len() as u64);
    let name = PAIR_NAMES.get(place as usize).copied().unwrap_or_default();
    format!("'{}'", name.replace('\'', "''"))
}

/// A value, or null now and then.
fn maybe(dice: &mut Dice, text: String) -> String {
    if dice.one_in(8) { "NULL".to_owned() } else { text }
}

#[cfg(test)]
mod tests;
