//! A load that leaves little out: many kinds of keys and types, transactions from one row to hundreds of thousands,
//! sessions in each other's way, what is rolled back, prepared, cut off, and tables that change their shape. Equal seeds
//! give equal statements. Each session keeps a journal of what became of its transactions.

mod items;
mod statements;

pub(super) use statements::{KEYED, LOOSE, MONEY};

use super::source::{Address, Kind, Session};
use crate::workload::Dice;
use anyhow::{Context, Result, anyhow};
use statements::{Act, Pen};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// How much of it.
#[derive(Clone, Debug)]
pub(super) struct Load {
    pub(super) kind: Kind,
    pub(super) seed: u64,
    /// Sessions that write at the same time, to the same keys.
    pub(super) sessions: u64,
    /// Number of the first of them.
    pub(super) first: u64,
    /// Most statements of a transaction.
    pub(super) statements: u64,
    /// Most rows of a statement on `bulk`.
    pub(super) bulk: u64,
    /// Pause of a session between two transactions.
    pub(super) pause: Duration,
    /// Whether tables change their shape.
    pub(super) shapes: bool,
    /// Whether that includes other names of its columns, of rows that are there too. PostgreSQL's log does not tell them for certain.
    pub(super) renames: bool,
    /// Whether a table is truncated now and then.
    pub(super) truncates: bool,
    /// Whether transactions are prepared first.
    pub(super) prepares: bool,
}

/// What became of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Committed,
    RolledBack,
    /// The line was cut: only the database knows.
    Unknown,
}

/// What a session has done: its transactions by their numbers, and what became of them.
#[derive(Debug, Default)]
pub(super) struct Journal {
    pub(super) session: u64,
    pub(super) entries: Vec<(u64, Outcome)>,
    pub(super) statements: u64,
    /// The first few that the server would not take, for another reason than that two stood in each other's way.
    pub(super) refused: Vec<String>,
}

/// A load under way.
#[derive(Debug)]
pub(super) struct Running {
    writers: Vec<JoinHandle<Result<Journal>>>,
    stop: Arc<AtomicBool>,
    /// Transactions that ended so far.
    ended: Arc<AtomicU64>,
}

impl Running {
    pub(super) fn stop(self) -> Result<Vec<Journal>> {
        self.stop.store(true, Ordering::Relaxed);
        self.writers.into_iter().map(|writer| writer.join().map_err(|_| anyhow!("a session panicked"))?).collect()
    }

    /// Transactions that ended so far.
    pub(super) fn ended(&self) -> u64 {
        self.ended.load(Ordering::Relaxed)
    }
}

impl Load {
    /// Makes the tables, with a few rows.
    pub(super) fn create_tables(&self, session: &Session) -> Result<()> {
        session.execute(&statements::create(self.kind)).map(drop)
    }

    /// Rows of `bulk` that are there before anybody looks.
    pub(super) fn fill(&self, session: &Session, rows: u64) -> Result<()> {
        let mut dice = Dice::new(self.seed);
        for part in 0..rows.div_ceil(100_000) {
            let mut pen = Pen { kind: self.kind, session: 100 + part, number: 0, dice: &mut dice };
            session.execute(&pen.fill(rows.min(100_000)))?;
        }
        Ok(())
    }

    /// Starts the sessions. Each connects by itself, again and again when it is cut off, until it is told to stop.
    pub(super) fn start(&self, address: &Address) -> Running {
        let (stop, ended) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let habits = Arc::new(statements::habits(&mut Dice::new(self.seed)));
        let start = |number: u64| {
            let mut writer = Writer {
                load: self.clone(),
                address: address.clone(),
                habits: Arc::clone(&habits),
                dice: Dice::new(self.seed.wrapping_mul(1_000).wrapping_add(number)),
                journal: Journal { session: number, ..Journal::default() },
                number: 0,
                columns: 0,
                stop: Arc::clone(&stop),
                ended: Arc::clone(&ended),
            };
            std::thread::spawn(move || writer.run().map(|()| writer.journal))
        };
        Running { writers: (self.first..self.first + self.sessions).map(start).collect(), stop, ended }
    }

    /// Ends what sessions that were cut off have left prepared, of one session or of all. What became of it, only the
    /// database says.
    pub(super) fn settle(&self, session: &Session, of: Option<u64>) -> Result<()> {
        let (ask, word) = match self.kind {
            Kind::Postgres => ("SELECT gid FROM pg_prepared_xacts", "ROLLBACK PREPARED"),
            _ => ("XA RECOVER", "XA ROLLBACK"),
        };
        let start = of.map_or_else(|| NAME.to_owned(), |number| format!("{NAME}{number}-"));
        for row in session.rows(ask)? {
            let name = row.last().cloned().flatten().context("a prepared transaction without a name")?;
            if name.starts_with(&start) {
                session.execute(&format!("{word} '{name}'"))?;
            }
        }
        Ok(())
    }
}

/// So many columns are added to `shifting` in a round.
const COLUMNS_MAX: u64 = 60;

/// So many refused statements are kept of a session.
const REFUSED_MAX: usize = 20;

/// Begins the name of a prepared transaction; session and number follow.
const NAME: &str = "torture-";

struct Writer {
    load: Load,
    address: Address,
    habits: Arc<Vec<Act>>,
    dice: Dice,
    journal: Journal,
    /// Of the transaction.
    number: u64,
    /// Columns that were added so far.
    columns: u64,
    stop: Arc<AtomicBool>,
    ended: Arc<AtomicU64>,
}

impl Writer {
    fn run(&mut self) -> Result<()> {
        let mut session = None;
        while !self.stop.load(Ordering::Relaxed) {
            let Some(client) = &session else {
                // Its server may be down for a while.
                session = self.address.connect().and_then(|session| self.begin(&session).map(|()| session)).ok();
                if session.is_none() {
                    std::thread::sleep(Duration::from_millis(50));
                }
                continue;
            };
            if self.transaction(client)? == Outcome::Unknown {
                session = None;
            }
            self.ended.fetch_add(1, Ordering::Relaxed);
            let pause = if self.dice.one_in(300) { Duration::from_millis(600) } else { self.load.pause };
            std::thread::sleep(pause);
        }
        Ok(())
    }

    /// What a session does first. What it left prepared when it was cut off would lock out the others for good.
    fn begin(&self, session: &Session) -> Result<()> {
        self.load.settle(session, Some(self.journal.session))?;
        session.execute(match self.load.kind {
            Kind::Postgres => "SET lock_timeout = '5s'",
            _ => "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED; SET time_zone = '+00:00'",
        })?;
        Ok(())
    }

    /// One transaction of whatever kind; unknown when the session is of no more use.
    fn transaction(&mut self, session: &Session) -> Result<Outcome> {
        self.number += 1;
        if self.journal.session == 0 && self.load.shapes && self.dice.one_in(60) {
            return Ok(self.shape(session));
        }
        if self.journal.session == 0 && self.load.truncates && self.dice.one_in(90) {
            return Ok(self.outcome(session, "TRUNCATE entries"));
        }
        let mut body = if self.load.bulk > 0 && self.dice.one_in(40) {
            let count = self.bulk_rows();
            self.pen().bulk(count)
        } else {
            self.statements()
        };
        body.push_str(&format!(
            "INSERT INTO ledger VALUES ({}, {}, {});\n",
            self.journal.session,
            self.number,
            body.matches(";\n").count()
        ));
        self.journal.statements += body.matches(";\n").count() as u64;
        let outcome = match self.dice.below(100) {
            0..=4 => {
                let undone = self.outcome(session, &format!("BEGIN;\n{body}ROLLBACK"));
                if undone == Outcome::Committed { Outcome::RolledBack } else { undone }
            }
            // Cut off in the midst, by the client.
            5 => {
                let cut = self.outcome(session, &format!("BEGIN;\n{body}"));
                self.note(if cut == Outcome::Unknown { cut } else { Outcome::RolledBack });
                return Ok(Outcome::Unknown);
            }
            6..=7 if self.load.prepares => self.prepared(session, &body),
            _ => self.outcome(session, &format!("BEGIN;\n{body}COMMIT")),
        };
        self.note(outcome);
        Ok(outcome)
    }

    fn note(&mut self, outcome: Outcome) {
        self.journal.entries.push((self.number, outcome));
    }

    fn outcome(&mut self, session: &Session, script: &str) -> Outcome {
        match self.execute(session, script) {
            Ok(_) => Outcome::Committed,
            // One of two that stood in each other's way, or a key that was taken: the session lives and has done nothing.
            Err(_) if session.execute("ROLLBACK").is_ok() => Outcome::RolledBack,
            Err(_) => Outcome::Unknown,
        }
    }

    /// As the session does, and what is refused is written down.
    fn execute(&mut self, session: &Session, script: &str) -> Result<u64> {
        session.execute(script).inspect_err(|error| {
            if self.journal.refused.len() < REFUSED_MAX && Session::is_refusal(error) {
                self.journal.refused.push(format!("{error:#}"));
            }
        })
    }

    /// In two phases.
    fn prepared(&mut self, session: &Session, body: &str) -> Outcome {
        let name = format!("{NAME}{}-{}", self.journal.session, self.number);
        let (first, second) = match self.load.kind {
            Kind::Postgres => {
                (format!("BEGIN;\n{body}PREPARE TRANSACTION '{name}'"), format!("COMMIT PREPARED '{name}'"))
            }
            _ => (
                format!("XA START '{name}';\n{body}XA END '{name}';\nXA PREPARE '{name}'"),
                format!("XA COMMIT '{name}'"),
            ),
        };
        if self.execute(session, &first).is_err() {
            let undo = match self.load.kind {
                Kind::Postgres => "ROLLBACK".to_owned(),
                _ => format!("XA END '{name}'; XA ROLLBACK '{name}'"),
            };
            // The server may have ended the branch by itself; then a new session is the simple way on.
            return if session.execute(&undo).is_ok() { Outcome::RolledBack } else { Outcome::Unknown };
        }
        match self.execute(session, &second) {
            Ok(_) => Outcome::Committed,
            Err(_) => Outcome::Unknown,
        }
    }

    fn pen(&mut self) -> Pen<'_> {
        Pen { kind: self.load.kind, session: self.journal.session, number: self.number, dice: &mut self.dice }
    }

    /// Of `bulk`: thousands now and then, mostly fewer.
    fn bulk_rows(&mut self) -> u64 {
        let scale = [1, 1, 10, 10, 100].get(self.dice.below(5) as usize).copied().unwrap_or(1);
        1 + self.dice.below(self.load.bulk) / scale
    }

    fn statements(&mut self) -> String {
        let most = self.load.statements;
        let count = match self.dice.below(20) {
            0 => 1 + self.dice.below(most),
            1..=5 => 1 + self.dice.below(most.min(40)),
            _ => 1 + self.dice.below(most.min(6)),
        };
        let habits = Arc::clone(&self.habits);
        let mut body = String::new();
        for _ in 0..count {
            let place = self.dice.below(habits.len() as u64) as usize;
            let Some(act) = habits.get(place).copied() else { continue };
            let text = self.pen().act(act);
            if self.dice.one_in(12) {
                let undone = self.pen().act(act);
                body.push_str(&format!("SAVEPOINT s;\n{undone}ROLLBACK TO SAVEPOINT s;\n"));
            }
            if self.dice.one_in(12) {
                body.push_str(&format!("SAVEPOINT t;\n{text}RELEASE SAVEPOINT t;\n"));
            } else {
                body.push_str(&text);
            }
        }
        body
    }

    /// Another shape of `shifting`, by itself or, where the database can, amid the changes of a transaction.
    fn shape(&mut self, session: &Session) -> Outcome {
        // What is there only the database knows: a change may have been cut off.
        let ask = format!(
            "SELECT column_name FROM information_schema.columns WHERE table_name = 'shifting' AND table_schema = '{}' AND \
             column_name LIKE 'c%'",
            self.load.kind.schema()
        );
        let Ok(rows) = session.rows(&ask) else { return Outcome::Unknown };
        let columns: Vec<String> = rows.into_iter().filter_map(|row| row.into_iter().next().flatten()).collect();
        let place = self.dice.below(columns.len().max(1) as u64) as usize;
        let is_renamed = self.load.renames && self.dice.one_in(3);
        let change = match columns.get(place) {
            Some(column) if is_renamed => {
                self.columns += 1;
                format!("ALTER TABLE shifting RENAME COLUMN {column} TO c{}_{};\n", self.number, self.columns)
            }
            // A mirror keeps those that are dropped, and nobody's table has thousands.
            None if self.columns > COLUMNS_MAX => return Outcome::RolledBack,
            Some(column) if self.columns > COLUMNS_MAX => format!("ALTER TABLE shifting DROP COLUMN {column};\n"),
            Some(column) if columns.len() > 3 || self.dice.one_in(3) => {
                format!("ALTER TABLE shifting DROP COLUMN {column};\n")
            }
            _ => {
                self.columns += 1;
                let types = ["int", "varchar(40)", "decimal(10,2)", "date"];
                let declared = types.get(self.dice.below(4) as usize).copied().unwrap_or("int");
                format!("ALTER TABLE shifting ADD COLUMN c{}_{} {declared} NULL;\n", self.number, self.columns)
            }
        };
        if self.load.kind != Kind::Postgres {
            return self.outcome(session, &change);
        }
        // PostgreSQL's log tells of a new column with the next row of its table; so one follows, whatever the rest of
        // the load does: the mirror is compared with what the table has in the end.
        let (before, after) = (self.pen().act(Act::Shift), self.pen().shift(false));
        self.outcome(session, &format!("BEGIN;\n{before}{change}{after};\nCOMMIT"))
    }
}

#[cfg(test)]
mod tests;
