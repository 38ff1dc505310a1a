//! A seeded stream of transactions against PostgreSQL: inserts, updates, deletes, changes of keys, rare truncates,
//! several tables in one transaction, TOASTed values that stay untouched, savepoints rolled back, transactions from
//! one row to a thousand. The seed and the number of writers give the same statements again.

mod dice;

use crate::postgres::Client;
use anyhow::{Context, Result, anyhow};
pub use dice::Dice;
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

/// The tables it writes to, all in `public`.
pub const TABLES: [&str; 3] = ["work_items", "work_pairs", "work_log"];

/// Each writer keeps to so many keys, so that writers never wait for one another in a circle.
const KEYS: u64 = 400;
const PAIR_NAMES: [&str; 5] = ["north", "s\u{fc}d", "o'st", "w\u{20ac}st", ""];

impl Workload {
    /// Makes the tables: one with a simple key and many types, one with a key of two columns, one that is appended to
    /// and truncated.
    pub fn create_tables(client: &Client) -> Result<()> {
        client
            .execute(
                "CREATE TABLE work_items (id bigint PRIMARY KEY, name text NOT NULL, quantity int, price numeric(12,2),
                   ratio double precision, share real, note text, document jsonb, raw bytea, is_open bool, code uuid,
                   made_at timestamptz, local_at timestamp, day date);
                 ALTER TABLE work_items ALTER note SET STORAGE EXTERNAL;
                 CREATE TABLE work_pairs (a int, b varchar(20), value numeric, PRIMARY KEY (a, b));
                 CREATE TABLE work_log (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, line text)",
            )
            .map(drop)
    }

    /// Starts the writers, each with a session of its own.
    pub fn start(&self, url: &str) -> Result<Running> {
        let stop = Arc::new(AtomicBool::new(false));
        let mut writers = Vec::new();
        for number in 0..self.writers.max(1) {
            let share =
                self.transactions / self.writers.max(1) + u64::from(number < self.transactions % self.writers.max(1));
            let client = Client::connect(url)?;
            let dice = Dice::new(self.seed.wrapping_mul(1000).wrapping_add(number));
            let mut writer = Writer { workload: self.clone(), number, dice, report: Report::default() };
            let stop = Arc::clone(&stop);
            writers.push(std::thread::spawn(move || writer.run(&client, share, &stop)));
        }
        Ok(Running { writers, stop })
    }

    /// Starts it and waits for its end.
    pub fn run(&self, url: &str) -> Result<Report> {
        self.start(url)?.join()
    }
}

struct Writer {
    workload: Workload,
    number: u64,
    dice: Dice,
    report: Report,
}

impl Writer {
    fn run(&mut self, client: &Client, transactions: u64, stop: &AtomicBool) -> Result<Report> {
        for count in 0..transactions {
            if stop.load(Ordering::Relaxed) {
                break;
            }
            let (script, commits) = self.transaction();
            client.execute(&script).with_context(|| format!("writer {}, transaction {count}", self.number))?;
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
    fn transaction(&mut self) -> (String, bool) {
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
                let undone = self.operation();
                script.push_str(&format!("SAVEPOINT s;\n{undone}ROLLBACK TO s;\n"));
            }
            let done = self.operation();
            script.push_str(&done);
        }
        let commits = !self.dice.one_in(12);
        script.push_str(if commits { "COMMIT" } else { "ROLLBACK" });
        (script, commits)
    }

    fn operation(&mut self) -> String {
        self.report.operations += 1;
        let id = self.number * KEYS + self.dice.below(KEYS);
        match self.dice.below(100) {
            0..=29 => self.insert(id),
            30..=49 => {
                let (quantity, price) = (self.dice.below(1000), self.dice.price());
                format!("UPDATE work_items SET quantity = {quantity}, price = {price} WHERE id = {id};\n")
            }
            50..=54 => {
                let note = self.note();
                format!("UPDATE work_items SET note = {note}, document = document || '{{\"n\": 1}}' WHERE id = {id};\n")
            }
            55..=59 => {
                // A change of the key, to one that may be taken: then nothing happens.
                let to = self.number * KEYS + self.dice.below(KEYS);
                format!(
                    "UPDATE work_items SET id = {to} WHERE id = {id} AND NOT EXISTS (SELECT FROM work_items WHERE id = {to});\n"
                )
            }
            60..=71 => format!("DELETE FROM work_items WHERE id = {id};\n"),
            72..=84 => {
                let (name, value) = (self.pair_name(), self.dice.price());
                format!(
                    "INSERT INTO work_pairs VALUES ({id}, {name}, {value}) ON CONFLICT (a, b) DO UPDATE SET value = work_pairs.value + 1;\n"
                )
            }
            85..=89 => format!("DELETE FROM work_pairs WHERE a = {id};\n"),
            _ => format!(
                "INSERT INTO work_log (line) VALUES ('{} \u{1f30a}\t\\ line {}');\n",
                self.number,
                self.dice.below(1 << 40)
            ),
        }
    }

    fn insert(&mut self, id: u64) -> String {
        let dice = &mut self.dice;
        let maybe = |dice: &mut Dice, text: String| if dice.one_in(8) { "NULL".to_owned() } else { text };
        let quantity = dice.below(1 << 31);
        let quantity = maybe(dice, quantity.to_string());
        let price = dice.price();
        let price = maybe(dice, price);
        let ratio = match dice.below(10) {
            0 => "'NaN'".to_owned(),
            1 => "'Infinity'".to_owned(),
            _ => format!("{}e{}", dice.below(1 << 53), dice.below(40)),
        };
        let share = format!("'{}.{}'::real", dice.below(1000), dice.below(1000));
        let document = format!("'{{\"k\": {}, \"t\": \"\u{e9}\"}}'", dice.below(1 << 40));
        let raw = format!("decode('{:016x}', 'hex')", dice.any());
        let code = format!("'{:08x}-0000-4000-8000-{:012x}'", dice.below(1 << 32), dice.below(1 << 48));
        let seconds = format!("{}.{:06}", dice.below(4_000_000_000), dice.below(1_000_000));
        let time = format!("timestamptz 'epoch' + interval '1 second' * {seconds}");
        let local = format!("timestamp 'epoch' + interval '1 second' * {seconds}");
        let day = format!("date '1970-01-01' + {}", dice.below(40_000));
        let open = ["true", "false", "NULL"].get(dice.below(3) as usize).copied().unwrap_or("NULL");
        let note = self.note();
        format!(
            "INSERT INTO work_items VALUES ({id}, 'item {id} ''\u{20ac}', {quantity}, {price}, {ratio}, {share}, {note}, {document}, \
             {raw}, {open}, {code}, {time}, {local}, {day}) ON CONFLICT (id) DO NOTHING;\n"
        )
    }

    /// Null, short, or long enough to be stored out of line.
    fn note(&mut self) -> String {
        match self.dice.below(6) {
            0 => "NULL".to_owned(),
            1 | 2 => format!("repeat(md5('{}'), {})", self.dice.any(), 80 + self.dice.below(100)),
            _ => format!("'note {}'", self.dice.below(1 << 40)),
        }
    }

    fn pair_name(&mut self) -> String {
        let place = self.dice.below(PAIR_NAMES.len() as u64);
        let name = PAIR_NAMES.get(place as usize).copied().unwrap_or_default();
        format!("'{}'", name.replace('\'', "''"))
    }
}

#[cfg(test)]
mod tests;
