use super::super::tests::publication;
use super::*;
use crate::records::PLACE;
use tidewire_core::Mark;
use tidewire_core::definitions::StoredDefinition;
use tidewire_core::source::SinkProgress;
use tidewire_core::{Position, TableProgress, TableState};

/// A table that shows `id` and `v`.
const WHOLE: &str = r#"{"oid":5,"attnames":["id","v"]}"#;

fn shows(tables: &[(&str, &str)]) -> Publication {
    publication(1, tables)
}

fn table(name: &str) -> TableName {
    TableName::new("public", name)
}

fn filter(rules: &[&str]) -> TableFilter {
    TableFilter::parse(rules).unwrap()
}

/// Of a sink that holds rows of these tables.
fn holds(tables: &[&str]) -> Progress {
    let place = Position::new(Mark { major: 9, minor: 0 }, "there");
    let read = TableProgress { state: TableState::Done, floor: place.clone() };
    let tables = tables.iter().map(|name| (table(name).to_string(), read.clone())).collect();
    Progress { position: Some(place), tables, ..Progress::default() }
}

fn resume(sinks: &[(&str, Progress)]) -> Resume {
    let sinks =
        sinks.iter().map(|(sink, progress)| SinkProgress { sink: Arc::from(*sink), progress: progress.clone() });
    Resume { sinks: sinks.collect(), accept_server_position: false }
}

/// The code and the table of what halts, or what might be missing.
fn said(verdict: Verdict) -> String {
    let of = |code: Code, table: Option<TableName>| match table {
        Some(table) => format!("{} {table}", code.text()),
        None => code.text().to_owned(),
    };
    match verdict {
        Verdict::Again(refused) => format!("again {}", of(refused.code, refused.table())),
        Verdict::Compared(Narrowed::No) => "nothing".to_owned(),
        Verdict::Compared(Narrowed::Yes(change)) => of(change.code, change.table),
        Verdict::Compared(Narrowed::IfExisting(missing)) => {
            missing.iter().map(|missing| format!("missing {missing}")).collect::<Vec<_>>().join(", ")
        }
    }
}

#[test]
fn pg_11_a_start_is_judged_by_what_the_sink_was_shown_last() {
    let of_table = |oid: u32, columns: &str, filter: &str| {
        format!(r#"{{"oid":{oid},"attnames":[{columns}],"rowfilter":{filter}}}"#)
    };
    let both = "\"id\",\"v\"";
    // What is shown now of `t`, and whether the sink has begun it; which tables are captured.
    let (t, none) = (&["t"][..], &[][..]);
    for (case, now, begun, captured, expected) in [
        ("the same", of_table(5, both, "null"), t, none, "nothing"),
        ("more columns", of_table(5, "\"id\",\"v\",\"w\"", "null"), t, none, "nothing"),
        ("a shorter list", of_table(5, "\"id\"", "null"), t, none, "missing column `v` of table `public.t`"),
        ("a filter", of_table(5, both, "\"(id > 1)\""), t, none, "publication_changed public.t"),
        ("made anew", of_table(6, both, "null"), t, none, "table_recreated public.t"),
        ("made anew, and never read", of_table(6, both, "null"), none, none, "table_recreated public.t"),
        ("captured no more", of_table(6, both, "null"), t, &["!public.t"][..], "nothing"),
    ] {
        let record = Record::new(&shows(&[("t", WHOLE), ("u", r#"{"oid":8}"#)]));
        let now = shows(&[("t", &now), ("u", r#"{"oid":8}"#), ("new", r#"{"oid":9}"#)]);
        assert_eq!(said(record.judge(&now, &holds(begun), &filter(captured))), expected, "{case}");
        // Of a table that the sink had nothing of, nothing is missing until it has.
        let fresh = Record { fresh: BTreeSet::from([5]), ..record };
        let expected = if begun.is_empty() { "nothing" } else { expected };
        assert_eq!(said(fresh.judge(&now, &holds(begun), &filter(captured))), expected, "{case}, fresh");
    }
    let without = shows(&[("x", r#"{"oid":5,"attnames":["id"]}"#)]);
    let record = Record::new(&shows(&[("t", WHOLE)]));
    let expected = "missing table `public.t`, missing column `v` of table `public.x`";
    assert_eq!(said(record.judge(&without, &holds(&["t"]), &filter(&[]))), expected, "under another name");
}

#[test]
fn pg_11_what_halted_once_halts_until_it_is_accepted() {
    let now = shows(&[("t", WHOLE)]);
    let refused = |name: Option<&str>| {
        let error = Error::operator("publication_changed", "it shows less");
        Refused::of(&match name {
            Some(name) => error.with_table(table(name)),
            None => error,
        })
    };
    for (name, begun, captured, expected) in [
        (None, &["t"][..], &[][..], "again publication_changed"),
        (None, &[], &["!public.t"], "again publication_changed"),
        (Some("t"), &["t"], &[], "again publication_changed public.t"),
        (Some("t"), &["t"], &["!public.t"], "nothing"),
        (Some("t"), &[], &[], "nothing"),
    ] {
        let fresh = BTreeSet::from([5]);
        let record = Record { refused: refused(name), fresh, ..Record::new(&now) };
        assert_eq!(said(record.judge(&now, &holds(begun), &filter(captured))), expected, "{name:?} {captured:?}");
        assert_eq!(said(record.settle().judge(&now, &holds(begun), &filter(captured))), "nothing");
    }
    assert_eq!(Refused::of(&Error::operator("slot_missing", "another matter")), None);
}

/// A name whose table was dropped while the log was read is remembered, whatever bears it later.
#[test]
fn pg_49_a_name_is_known_by_its_first_table() {
    let all = filter(&[]);
    let (whole, anew) = (shows(&[("t", WHOLE)]), shows(&[("t", r#"{"oid":6,"attnames":["id","v"]}"#)]));
    let none = shows(&[]);
    for fresh in [BTreeSet::new(), BTreeSet::from([5])] {
        let mut record = Record { fresh, ..Record::new(&whole) };
        for seen in [&none, &anew, &none, &anew] {
            record = record.succeed(seen, &all, |_, oid| oid == 6);
            assert_eq!(record.gone, [("public".to_owned(), "t".to_owned(), 5)]);
        }
        assert_eq!(said(record.judge(&anew, &holds(&["t"]), &all)), "table_recreated public.t");
        let expected = if record.fresh.contains(&5) { "nothing" } else { "table_recreated public.t" };
        assert_eq!(said(record.judge(&anew, &holds(&[]), &all)), expected);
        assert_eq!(said(record.clone().settle().judge(&anew, &holds(&["t"]), &all)), "nothing");
        // It has its name again.
        assert_eq!(record.succeed(&whole, &all, |_, _| false).gone, []);
        assert_eq!(record.succeed(&none, &filter(&["!public.*"]), |_, _| false).gone, []);
    }
}

#[derive(Default)]
struct Store(Mutex<BTreeMap<String, StoredDefinition>>);

impl DefinitionStore for Store {
    fn covered(&self) -> Result<Option<Position>> {
        Ok(None)
    }

    fn at(&self, _place: Mark) -> Result<Vec<StoredDefinition>> {
        Ok(self.0.lock().unwrap().values().cloned().collect())
    }

    fn record(&self, definitions: &[StoredDefinition]) -> Result<()> {
        let named = definitions.iter().map(|definition| (definition.table.clone(), definition.clone()));
        self.0.lock().unwrap().extend(named);
        Ok(())
    }

    fn rewind(&self, _: &Position, _: &[(String, Mark)], _: &[StoredDefinition]) -> Result<()> {
        Ok(())
    }

    fn cover(&self, _: &Position, _: Mark) -> Result<()> {
        Ok(())
    }

    fn clear(&self) -> Result<()> {
        Ok(())
    }
}

#[test]
fn pg_11_records_belong_to_sinks_and_outlive_the_process() {
    let store = Arc::new(Store::default());
    let kept = || Kept::new(Some(Arc::clone(&store) as Arc<dyn DefinitionStore>));
    let compared = |accepted| Compared { kept: kept(), before: kept().load().unwrap(), accepted };
    let (all, read, end) = (filter(&[]), BTreeSet::from([5, 8]), Lsn(70));
    let was = shows(&[("t", WHOLE), ("u", r#"{"oid":8}"#)]);
    let (old, new) = (("old", holds(&["t"])), ("new", Progress::default()));

    let both = resume(&[old.clone(), new.clone()]);
    let watched = compared(false).keep(&both, &was, &all, &read, end).unwrap();
    assert_eq!(watched.accepted_until(), Lsn(0));
    let records = kept().load().unwrap();
    assert_eq!(records["old"].fresh, BTreeSet::from([8]), "it has begun the other");
    assert_eq!(records["new"].fresh, read);

    // What comes while the log is read is kept, and what halts it.
    let wider = shows(&[("t", WHOLE), ("u", r#"{"oid":8}"#), ("late", r#"{"oid":9}"#)]);
    watched.see(&wider).unwrap();
    watched.refuse(&Error::retry("server_silent", "it says nothing"));
    let records = kept().load().unwrap();
    assert!(records.values().all(|record| record.publication == wider && record.refused.is_none()));
    assert_eq!(records["old"].fresh, BTreeSet::from([8, 9]));
    watched.refuse(&recreated_error());
    watched.see(&was).unwrap();
    kept().refuse(&both, &Error::operator("publication_changed", "a later one"));
    let records = kept().load().unwrap();
    assert!(records.values().all(|record| record.refused.as_ref().unwrap().code == Code::TableRecreated));

    // Who begins anew has no past; who is away keeps it, until the operator speaks for all.
    let anew = resume(&[("new", Progress::default())]);
    drop(compared(false).keep(&anew, &was, &all, &read, end).unwrap());
    let records = kept().load().unwrap();
    assert!(records["new"].refused.is_none() && records["old"].refused.is_some());
    let accepted = compared(true).keep(&anew, &was, &all, &read, end).unwrap();
    assert_eq!(accepted.accepted_until(), end);
    let records = kept().load().unwrap();
    assert!(records.values().all(|record| record.refused.is_none() && record.accepted_until == end.0));

    // Without a state nothing is known, and what cannot be read is no record.
    assert_eq!(Kept::default().load().unwrap(), BTreeMap::new());
    let text = Some("no JSON".to_owned());
    store.record(&[StoredDefinition { table: format!("{RECORD}old"), since: PLACE, text }]).unwrap();
    assert_eq!(kept().load().unwrap().keys().collect::<Vec<_>>(), ["new"]);
}

fn recreated_error() -> Error {
    super::super::recreated(&table("t"), "shop")
}
