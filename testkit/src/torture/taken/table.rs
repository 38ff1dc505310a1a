//! A topic or a table is taken away, or written by another, under the running daemon: its table halts in that sink, and all
//! else goes on.

use super::halt::{self, Halt};
use super::{Act, Scene};
use crate::kafka::Isolation;
use crate::oracle::{self, Origin};
use crate::readers::{Reader, Table};
use crate::torture::load::KEYED;
use crate::torture::site::Site;
use crate::torture::source::Session;
use crate::torture::topic::{Terms, Topic};
use crate::wait::{self, PATIENCE};
use crate::{spark, workload::Dice};
use anyhow::{Context, Result, bail, ensure};
use std::collections::{BTreeMap, HashMap};

/// Tables whose rows are looked at beside the one concerned.
const OTHERS: usize = 3;

/// The table that is concerned: one that the load changes too, or, where Spark is the other writer, one that it leaves alone,
/// since Spark does not notice on a local disk whose entry it writes over.
#[derive(Clone, Copy, Debug)]
pub(super) struct Victim {
    table: &'static str,
    /// The `n`-th change that we make to it.
    touch: fn(u64) -> String,
    /// A value that is in the table from then on.
    mark: fn(u64) -> String,
}

const VICTIMS: [Victim; 4] = [
    Victim {
        table: "ledger",
        touch: |n| format!("INSERT INTO ledger VALUES ({}, 1, 0)", 900_000 + n),
        mark: |n| (900_000 + n).to_string(),
    },
    Victim {
        table: "entries",
        touch: |n| format!("INSERT INTO entries (line) VALUES ('mark {n}')"),
        mark: |n| format!("mark {n}"),
    },
    Victim {
        table: "words",
        touch: |n| format!("INSERT INTO words VALUES ('mark {n}', 0)"),
        mark: |n| format!("mark {n}"),
    },
    Victim {
        table: "bulk",
        touch: |n| format!("INSERT INTO bulk VALUES ({}, 0, 'mark {n}')", 900_000_000 + n),
        mark: |n| format!("mark {n}"),
    },
];

/// A row that Spark deletes is the source's again when that changes it.
const DIGITS: Victim = Victim {
    table: "digits",
    touch: |_| "BEGIN; DELETE FROM digits WHERE d = 7; INSERT INTO digits VALUES (7); COMMIT".to_owned(),
    mark: |_| "7".to_owned(),
};

/// Where partitions of topics end.
pub(super) type Ends = BTreeMap<(String, i32), i64>;

impl Scene<'_> {
    /// Gives the code of the halt, and what resolved it.
    pub(super) fn take_table(&mut self) -> Result<(String, &'static str)> {
        let place = self.dice.below(VICTIMS.len() as u64) as usize;
        let victim = match self.act {
            Act::WriteTable => DIGITS,
            _ => VICTIMS.get(place).copied().context("a table")?,
        };
        let sink = if self.is_of_topics() { "events" } else { "lake" };
        let running = self.start_load();
        self.live(&running, 20)?;
        if self.act != Act::WriteTable {
            self.touch(&victim, 1)?;
        }
        self.site.catch_up()?;
        self.take(&victim)?;
        self.touch(&victim, 2)?;
        let code = self.must_halt(sink, &victim)?;
        self.live(&running, 20)?;
        self.site.catch_up().context("the others")?;
        let mut starts = 1;
        if self.dice.one_in(2) {
            // A start does not come to terms with it.
            starts += 1;
            let ended = self.site.daemon.terminate()?;
            ensure!(ended == 0, "asked to stop, the daemon ended with {ended}");
            self.site.daemon.run()?;
            self.touch(&victim, 3)?;
            self.must_halt(sink, &victim).context("after a new start")?;
        }
        self.stop_load(running)?;
        self.site.catch_up().context("the others")?;
        let halted = halt::halted(&self.site.daemon.status()?);
        ensure!(halted.len() == 1, "others are halted too: {halted:?}");
        let told = self.table_must_be_told(sink, &victim, starts)?;
        let others = self.others(&victim);
        if self.is_of_topics() {
            self.check_topics(&others, None).context("the others")?;
        } else {
            self.check_tables(&others).context("the others")?;
        }
        let ends = if self.is_of_topics() { self.ends(&others)? } else { Ends::new() };
        let ended = self.site.daemon.terminate()?;
        ensure!(ended == 0, "asked to stop, the daemon ended with {ended}");
        let remedy = self.resolve(&told, &victim)?;
        self.site.daemon.run()?;
        self.live_on(20)?;
        self.touch(&victim, 4)?;
        self.site.catch_up().context("what was halted")?;
        let halted = halt::halted(&self.site.daemon.status()?);
        ensure!(halted.is_empty(), "after `{remedy}` there are still halted: {halted:?}");
        let all: Vec<&str> = others.iter().copied().chain([victim.table]).collect();
        match (self.is_of_topics(), remedy) {
            (true, "accepted") => self.check_topics(&all, Some(&victim)),
            (true, _) => check_readings(self.site, &all, &ends),
            (false, _) => self.check_tables(&all),
        }
        .with_context(|| format!("after `{remedy}`"))?;
        Ok((code, remedy))
    }

    fn is_of_topics(&self) -> bool {
        matches!(self.act, Act::DeleteTopic | Act::RenewTopic)
    }

    fn take(&self, victim: &Victim) -> Result<()> {
        let topic = self.site.topic(victim.table);
        match self.act {
            Act::DeleteTopic => self.site.kafka()?.delete_topic(&topic),
            Act::RenewTopic => {
                self.site.kafka()?.delete_topic(&topic)?;
                self.site.kafka()?.create_topic(&topic)
            }
            Act::RemoveTable => self.site.lake()?.take_away(&self.site.path(victim.table), &self.away()),
            Act::WriteTable => {
                let delete = format!("DELETE FROM delta.`{}` WHERE d = 7", self.site.table(victim.table)?.address);
                // It gives up where files are rewritten meanwhile.
                wait::until("Spark to delete a row", PATIENCE, || Ok(spark::run(&delete).ok()))
            }
            Act::DropSlot | Act::RenewSlot | Act::PurgeLog => bail!("no table is concerned"),
        }
    }

    fn away(&self) -> std::path::PathBuf {
        self.site.daemon.folder().join("away")
    }

    /// Changes the table; the load may stand in the way for a moment.
    fn touch(&self, victim: &Victim, number: u64) -> Result<()> {
        let session = self.site.server.session()?;
        wait::until("a change of the table", PATIENCE, || {
            let done = session.execute(&(victim.touch)(number));
            if done.is_err() {
                session.execute("ROLLBACK")?;
            }
            Ok(done.ok())
        })
        .map(drop)
    }

    fn name(&self, victim: &Victim) -> String {
        format!("{}.{}", self.site.kind.schema(), victim.table)
    }

    fn must_halt(&mut self, sink: &str, victim: &Victim) -> Result<String> {
        let table = self.name(victim);
        let what = format!("{table} to be halted");
        let status = self.site.daemon.wait_for(&what, |status| halt::code_of_table(status, sink, &table).is_some())?;
        let code = halt::code_of_table(&status, sink, &table).unwrap_or_default();
        ensure!(self.act.codes().contains(&code.as_str()), "{table} is halted for {code}");
        Ok(code)
    }

    /// One line for each start in which it was halted, with all that a person must know.
    fn table_must_be_told(&self, sink: &str, victim: &Victim, starts: usize) -> Result<Halt> {
        let halts = halt::halts(&self.site.daemon, self.begin)?;
        ensure!(halts.len() == starts, "{} lines tell of a halt, after {starts} starts: {halts:?}", halts.len());
        let place = match self.is_of_topics() {
            true => self.site.topic(victim.table),
            false => self.site.table(victim.table)?.address,
        };
        for halt in &halts {
            ensure!(self.act.codes().contains(&halt.code.as_str()), "another code: {halt:?}");
            ensure!(halt.table.as_deref() == Some(&self.name(victim)), "another table: {halt:?}");
            ensure!(halt.sink.as_deref() == Some(sink), "another sink: {halt:?}");
            ensure!(halt.message.contains(&place), "`{place}` is not named: {halt:?}");
        }
        halts.into_iter().next_back().context("no line tells of the halt")
    }

    /// Does what the line says; it offers two ways.
    fn resolve(&mut self, halt: &Halt, victim: &Victim) -> Result<&'static str> {
        let is_read_anew = self.dice.one_in(2);
        let setting = |name: &str| {
            let found = halt.commands().into_iter().find(|command| command.starts_with(name)).map(str::to_owned);
            found.with_context(|| format!("the remedy names no `{name}`: {}", halt.remedy))
        };
        match (self.act, is_read_anew) {
            (Act::DeleteTopic | Act::RenewTopic, false) => {
                let setting = setting("changed_topics")?;
                let head = "[sinks.events.kafka]\n";
                self.site.configure(&[(head, &format!("{head}{setting}\n"))])?;
                Ok("accepted")
            }
            (Act::DeleteTopic | Act::RenewTopic, true) => {
                halt.must_offer(&["give the sink a new name"])?;
                self.site.rename_events()?;
                Ok("a sink of another name")
            }
            (Act::RemoveTable, false) => {
                halt.must_offer(&["restore the table"])?;
                self.site.lake()?.put_back(&self.away(), &self.site.path(victim.table))?;
                Ok("restored")
            }
            (Act::WriteTable, false) => {
                let setting = setting("foreign_writes")?;
                // The source deletes the row that Spark has deleted.
                self.site.daemon.allow_log("rows_unseen");
                let head = "[sinks.lake.delta]\n";
                self.site.configure(&[(head, &format!("{head}{setting}\n"))])?;
                Ok("adopted")
            }
            (_, _) => {
                halt.must_offer(&["give the sink a new name and location"])?;
                self.site.move_lake()?;
                Ok("a sink of another name and location")
            }
        }
    }

    /// Some tables beside it.
    fn others(&mut self, victim: &Victim) -> Vec<&'static str> {
        some_of(KEYED.into_iter().filter(|table| *table != victim.table).collect(), &mut self.dice)
    }

    fn check_tables(&self, tables: &[&str]) -> Result<()> {
        let session = self.site.server.session()?;
        for table in tables {
            let at = self.site.table(table)?;
            oracle::check_columns(&session, self.site.kind.schema(), table, at, &[Reader::Deltalake])?;
        }
        Ok(())
    }

    /// Each change that was committed is there once, and folded by key the topic is the table. Of one that went on as it was
    /// found, all is there from the change on that was made right after that.
    pub(super) fn check_topics(&self, tables: &[&str], accepted: Option<&Victim>) -> Result<()> {
        let session = self.site.server.session()?;
        let committed = self.witness.committed()?;
        let ranks: HashMap<&str, usize> = committed.order.iter().map(String::as_str).zip(0..).collect();
        for table in tables {
            let mark = accepted.filter(|victim| victim.table == *table).map(|victim| (victim.mark)(2));
            let columns = session.columns(self.site.kind.schema(), table)?;
            let is_early = self.is_early || mark.is_some();
            let terms = Terms { is_early, has_two_logs: self.site.has_two_logs };
            let mut topic = Topic::new(table, &columns, &ranks, terms);
            visit(self.site, table, &Ends::new(), &mut topic)?;
            let name = format!("{}.{table}", self.site.kind.schema());
            topic.must_be_whole(&name, &committed)?;
            match mark {
                Some(mark) => {
                    let came = topic.table().rows.iter().flatten().any(|value| value.as_str() == Some(&mark));
                    ensure!(came, "{name}: `{mark}`, which was written when the topic was gone, has not come");
                }
                None => must_be_table(&session, self.site, table, &topic.table())?,
            }
        }
        Ok(())
    }

    pub(super) fn ends(&self, tables: &[&str]) -> Result<Ends> {
        let (mut ends, there) = (Ends::new(), self.site.kafka()?.topics()?);
        for table in tables.iter().filter(|table| there.contains(&self.site.topic(table))) {
            self.site.kafka()?.visit(&self.site.topic(table), Isolation::ReadUncommitted, &mut |record| {
                ends.insert(((*table).to_owned(), record.partition), record.offset + 1);
                Ok(())
            })?;
        }
        Ok(ends)
    }
}

/// What was read anew since, folded by key, is the table.
pub(super) fn check_readings(site: &Site, tables: &[&str], since: &Ends) -> Result<()> {
    let session = site.server.session()?;
    for table in tables {
        let columns = session.columns(site.kind.schema(), table)?;
        let mut topic = Topic::read_anew(&columns);
        visit(site, table, since, &mut topic)?;
        must_be_table(&session, site, table, &topic.table())?;
    }
    Ok(())
}

fn visit(site: &Site, table: &str, since: &Ends, topic: &mut Topic<'_>) -> Result<()> {
    let name = site.topic(table);
    // A topic comes with its first record: a table without rows that is read anew has none.
    if !site.kafka()?.topics()?.contains(&name) {
        return Ok(());
    }
    let visited = site.kafka()?.visit(&name, Isolation::ReadCommitted, &mut |record| {
        let begin = since.get(&(table.to_owned(), record.partition)).copied().unwrap_or(0);
        if record.offset < begin { Ok(()) } else { topic.add(&record) }
    });
    visited.with_context(|| format!("topic {name}"))
}

fn must_be_table(session: &Session, site: &Site, table: &str, folded: &Table) -> Result<()> {
    let schema = site.kind.schema();
    let what = format!("{schema}.{table} in the source, and its topic folded by key");
    session.table(schema, table)?.must_equal(folded, &what)
}

/// A few of them.
fn some_of(mut tables: Vec<&'static str>, dice: &mut Dice) -> Vec<&'static str> {
    while tables.len() > OTHERS {
        tables.remove(dice.below(tables.len() as u64) as usize);
    }
    tables
}
