//! Which tables begin where, by what the sinks hold and what is kept.

use super::*;
use crate::ddl::{Defaults, Schemas};
use crate::gtid::GtidSet;
use crate::history::tests::Kept;
use crate::model::{Charset, ColumnDef, ColumnKind, Origin, OriginKind};
use crate::position::Place;
use tidewire_core::source::SinkProgress;
use tidewire_core::{Progress, TableProgress, TableState};

fn at(count: u64) -> Position {
    let set = if count == 0 { String::new() } else { format!("3e11fa47-71ca-11e1-9e33-c80aa9429562:1-{count}") };
    Place::Gtid(GtidSet::parse(&set).unwrap()).boundary(&[]).unwrap()
}

fn name(table: &str) -> TableName {
    TableName::new("crm", table)
}

fn table(table: &str, columns: usize) -> Arc<TableDef> {
    let columns = (0..columns).map(|number| ColumnDef::new(format!("c{number}"), ColumnKind::Int)).collect();
    let charset = Charset { name: "utf8mb4".into(), collation: "".into() };
    let (primary_key, unique_keys, indexes) = (Vec::new(), Vec::new(), Vec::new());
    let mut definition = TableDef {
        name: name(table),
        columns,
        primary_key,
        unique_keys,
        indexes,
        charset,
        engine: None,
        comment: None,
        numbering: None,
    };
    definition.number_columns(Origin { kind: OriginKind::Statement, micros: 1 });
    Arc::new(definition)
}

fn schemas() -> Schemas {
    let charset = Charset { name: "utf8mb4".into(), collation: "".into() };
    Schemas::new(Defaults { charset, explicit_timestamps: true })
}

/// A sink at a place, with tables and their floors.
fn sink(position: u64, floors: &[(&str, u64)]) -> SinkProgress {
    let progress = |floor| TableProgress { state: TableState::Done, floor: at(floor) };
    let tables = floors.iter().map(|(table, floor)| (name(table).to_string(), progress(*floor))).collect();
    let progress = Progress { position: Some(at(position)), tables, ..Progress::default() };
    SinkProgress { sink: format!("at {position}").into(), progress }
}

fn sorted(sinks: &[SinkProgress], wanted: &[&str], history: &History) -> (Ahead, StoredPosition) {
    let resume = Resume { sinks: sinks.to_vec(), accept_server_position: false };
    let tables =
        sinks.iter().flat_map(|sink| sink.progress.tables.keys()).map(|table| name(table.trim_start_matches("crm.")));
    let shipped: HashSet<TableName> = tables.chain(wanted.iter().map(|table| name(table))).collect();
    let first = sinks.iter().filter_map(|sink| sink.progress.resume_from()).min().unwrap();
    let first = StoredPosition::parse(first).unwrap();
    let wanted: Vec<TableName> = wanted.iter().map(|table| name(table)).collect();
    (Ahead::sort(&resume, &shipped, |table| wanted.contains(table), &first, history).unwrap(), first)
}

/// Begins at 10 or 20 with tables that are read at 30; then the table's definition, by columns, that each of them begins with.
fn settled(ahead: Ahead, first: &StoredPosition, history: &History) -> (HashMap<TableName, u64>, Known) {
    let mut known = Known { schemas: schemas(), unproven: HashSet::new(), dropped: HashSet::new() };
    known.set(&name("t"), Some(&table("t", 1)));
    let until = ahead.settle(first, None, &mut known, history).unwrap();
    (until, known)
}

/// MY-40: a table that was read at 20, while another sink was at 10, begins at 20 with the definition of there.
#[test]
fn a_table_that_was_read_beyond_the_log_s_begin() {
    let kept = Arc::new(Kept::default());
    let history = History::new(Some(Arc::clone(&kept) as _));
    history.restart(&at(5), &schemas()).unwrap();
    history.record(at(20).mark, &[(name("t"), Some(table("t", 3)))]).unwrap();
    let sinks = [sink(10, &[("t", 20)]), sink(15, &[("t", 20)])];
    let (ahead, first) = sorted(&sinks, &[], &history);
    assert!(ahead.with_log.is_empty());
    let (until, known) = settled(ahead, &first, &history);
    assert_eq!(until, HashMap::from([(name("t"), 20)]));
    assert_eq!(known.schemas.get(&name("t")), Some(table("t", 3)));
    // And again: what was recorded there has outlived the way back.
    let (ahead, _) = sorted(&sinks, &[], &history);
    assert!(ahead.with_log.is_empty());
}

/// MY-40: what is kept before the place of a table need not be what was in force there.
#[test]
fn an_older_definition_is_not_taken_for_that_of_a_place() {
    for (covered, with_log) in [(12, true), (19, true), (20, false), (25, false)] {
        let history = History::new(Some(Arc::new(Kept::default())));
        let mut known = schemas();
        known.insert(TableDef::clone(&table("t", 2)));
        history.restart(&at(5), &known).unwrap();
        history.cover(&at(covered)).unwrap();
        let (ahead, first) = sorted(&[sink(10, &[("t", 20)])], &[], &history);
        assert_eq!(ahead.with_log.contains(&name("t")), with_log, "{covered}");
        let (until, known) = settled(ahead, &first, &history);
        assert_eq!(until.is_empty(), with_log);
        assert_eq!(known.schemas.get(&name("t")).unwrap().columns.len(), if with_log { 1 } else { 2 });
        assert_eq!(history.covered().unwrap().unwrap().mark.major, 10, "nothing is known to be whole beyond the begin");
    }
    // Kept of another life: another server's transactions.
    let history = History::new(Some(Arc::new(Kept::default())));
    let other = Place::Gtid(GtidSet::parse("4e11fa47-71ca-11e1-9e33-c80aa9429562:1-30").unwrap());
    let mut known = schemas();
    known.insert(TableDef::clone(&table("t", 2)));
    history.restart(&other.boundary(&[]).unwrap(), &known).unwrap();
    history.record(at(20).mark, &[(name("t"), Some(table("t", 3)))]).unwrap();
    assert_eq!(sorted(&[sink(10, &[("t", 20)])], &[], &history).0.with_log, [name("t")]);
}

/// A table that had gone where all sinks but one are, which holds none of it.
#[test]
fn a_table_that_has_gone_by_then() {
    let history = History::new(Some(Arc::new(Kept::default())));
    let mut known = schemas();
    known.insert(TableDef::clone(&table("t", 2)));
    history.restart(&at(5), &known).unwrap();
    history.record(Mark { major: 15, minor: 1 }, &[(name("t"), None)]).unwrap();
    history.cover(&at(20)).unwrap();
    let (ahead, first) = sorted(&[sink(10, &[("t", 20)])], &[], &history);
    let (until, known) = settled(ahead, &first, &history);
    assert_eq!((until.get(&name("t")), known.schemas.get(&name("t"))), (Some(&20), None));
    assert!(known.dropped.contains(&name("t")));
}

/// Tables that are read now begin there for a sink that holds none of them, and with the log for one that does.
#[test]
fn tables_that_are_read_now() {
    let history = History::new(None);
    let (ahead, _) = sorted(&[sink(10, &[("old", 5)]), sink(12, &[])], &["new", "old"], &history);
    assert_eq!(ahead.with_log, [name("old")]);
    let mut read = ahead.read.clone();
    read.sort();
    assert_eq!(read, [(name("new"), true), (name("old"), false)]);
}
