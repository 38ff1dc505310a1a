//! The load does what it says on each of the databases, and writes down what became of it.

use super::super::source::{Server, Setup};
use super::*;
use crate::{MysqlOptions, MysqlVersion, wait};
use std::collections::BTreeSet;

fn load(kind: Kind) -> Load {
    Load {
        kind,
        seed: 5,
        sessions: 3,
        first: 0,
        statements: 40,
        bulk: 2_000,
        pause: Duration::ZERO,
        shapes: true,
        renames: kind != Kind::Postgres,
        truncates: true,
        prepares: true,
    }
}

/// Every statement is one that the server takes, and the journals say what the ledger says.
fn runs_on(kind: Kind) -> Result<()> {
    let setup = match kind {
        Kind::Postgres => Setup::Postgres(17),
        Kind::Mysql => Setup::Mysql(MysqlOptions::version(MysqlVersion::MySql97)),
        Kind::MariaDb => Setup::Mysql(MysqlOptions::version(MysqlVersion::MariaDb118)),
    };
    let server = Server::start(&setup)?;
    let session = server.session()?;
    let load = load(kind);
    load.create_tables(&session)?;
    load.fill(&session, 500)?;
    let witness = server.witness()?;
    let running = load.start(&server.target().into());
    wait::until("three hundred transactions", wait::PATIENCE, || Ok((running.ended() >= 300).then_some(())))?;
    let journals = running.stop()?;
    load.settle(&session, None)?;
    let of = |wanted: Outcome| {
        let entries = journals.iter().flat_map(|journal| journal.entries.iter().map(|entry| (journal.session, *entry)));
        entries.filter(|(_, (_, outcome))| *outcome == wanted).map(|(session, (number, _))| (session, number)).collect()
    };
    let (done, undone): (BTreeSet<_>, BTreeSet<_>) = (of(Outcome::Committed), of(Outcome::RolledBack));
    // How many stood in each other's way is a matter of the machine; of what a server would not take there is nothing.
    let refused: Vec<_> = journals.iter().flat_map(|journal| &journal.refused).collect();
    assert!(refused.is_empty(), "{refused:#?}");
    assert!(done.len() > undone.len(), "{} committed and {} rolled back", done.len(), undone.len());
    let rows = session.rows(&format!("SELECT session, number FROM {}.ledger", kind.schema()))?;
    let number = |value: &Option<String>| value.as_ref().unwrap().parse::<u64>().unwrap();
    let held: BTreeSet<_> = rows.iter().map(|row| (number(&row[0]), number(&row[1]))).collect();
    let (lost, kept): (Vec<_>, Vec<_>) = (done.difference(&held).collect(), undone.intersection(&held).collect());
    assert!(lost.is_empty() && kept.is_empty(), "lost {lost:?}, kept {kept:?}");
    let sum = session.rows(&format!("SELECT SUM(balance) FROM {}.accounts", kind.schema()))?;
    assert_eq!(number(&sum[0][0]), MONEY);
    // The log's account of them.
    let committed = witness.committed()?;
    let ledger = &committed.tables[&format!("{}.ledger", kind.schema())];
    assert_eq!(ledger.values().sum::<usize>(), held.len());
    assert!(committed.tables.len() >= KEYED.len() - 4, "most tables are written to: {:?}", committed.tables.keys());
    Ok(())
}

#[test]
fn it_runs_on_postgresql() -> Result<()> {
    runs_on(Kind::Postgres)
}

#[test]
fn it_runs_on_mysql() -> Result<()> {
    runs_on(Kind::Mysql)
}

#[test]
fn it_runs_on_mariadb() -> Result<()> {
    runs_on(Kind::MariaDb)
}

#[test]
fn equal_seeds_give_equal_statements() {
    let text = |seed: u64| {
        let mut dice = Dice::new(seed);
        let acts = statements::habits(&mut dice);
        let mut pen = Pen { kind: Kind::Postgres, session: 1, number: 2, dice: &mut dice };
        acts.into_iter().map(|act| pen.act(act)).collect::<String>()
    };
    assert_eq!(text(9), text(9));
    assert_ne!(text(9), text(10));
}

/// What follows a new column is a row that has it, or the log of PostgreSQL does not tell of it (seed 104).
#[test]
fn a_row_follows_a_new_column() {
    for seed in 0..200 {
        let mut dice = Dice::new(seed);
        let change = Pen { kind: Kind::Postgres, session: 1, number: 2, dice: &mut dice }.shift(false);
        assert!(change.starts_with("INSERT INTO shifting") && change.contains("DO UPDATE"), "{change}");
    }
}
