//! Tables without a key, by what the sink is to do with them.

mod history;

use super::harness::{Harness, ID, Logical, Shape, row, text};
use crate::config::{Budget, Keyless};
use crate::layout::{Mode, SchemaChanges, Widening};
use crate::model::chance::Chance;
use crate::parts::feed::{AFTER, BEFORE, DELETED, INSERTED};
use tidewire_core::schema::KeyKind;
use tidewire_core::sink::PurgeRequest;
use tidewire_core::{ColumnSchema, DataType, Severity, Sink, TableName};

fn drop_key(h: &mut Harness) {
    h.change_schema(|schema| (schema.key_kind, schema.key) = (KeyKind::None, Vec::new()));
}

#[test]
fn a_table_without_a_key_is_a_changelog_beside_mirrors() {
    for mode in [Mode::Mirror, Mode::History] {
        let mut h = Harness::with_mode(Shape::Int, mode);
        // What is for mirrors alone does not keep it from being one.
        h.feed_changes(mode == Mode::Mirror);
        h.delete_by_vectors(mode == Mode::History);
        h.send(&[Logical::insert(1, "a", "A")]);
        h.turn_to("u");
        drop_key(&mut h);
        assert_eq!(
            h.findings().iter().map(|f| (f.code, f.severity)).collect::<Vec<_>>(),
            [("table_without_key", Severity::Warning)]
        );
        h.snapshot_start();
        h.snapshot_rows(&[(1, "x"), (1, "x")]);
        h.snapshot_end();
        h.commit_tables_only();
        h.crash();
        assert!(h.progress_at_open().is_done(&TableName::new("public", "u")), "{mode:?}");
        h.replay();
        h.send(&[Logical::insert(1, "x", "X"), Logical::Delete(1), Logical::Truncate]);
        h.commit();
        h.crash();
        h.replay();
        h.send(&[Logical::insert(2, "y", "Y")]);
        h.commit();
        let mut ops = h.texts("_op").into_iter().flatten().collect::<Vec<_>>();
        ops.sort();
        assert_eq!(ops.concat(), "ccdrrt", "{mode:?}");
        h.turn_to("t");
        assert!(h.findings().is_empty());
        h.send(&[Logical::update(1, "a2", Some("A2"))]);
        h.commit();
        match mode {
            Mode::History => assert_eq!(h.versions().len(), 2),
            _ => assert_eq!(h.rows(), [row(1, "a2", "A2")].into()),
        }
    }
}

#[test]
fn a_table_stays_what_it_was_made_as() {
    for is_restarted in [false, true] {
        let mut h = Harness::new(Shape::Int);
        drop_key(&mut h);
        h.send(&[Logical::insert(1, "a", "A")]);
        h.commit();
        if is_restarted {
            h.crash();
        }
        h.change_schema(|schema| (schema.key_kind, schema.key) = (KeyKind::Primary, vec![1]));
        assert_eq!(h.findings()[0].code, "key_changed");
        let error = h.try_send(&[Logical::insert(2, "b", "B")]).unwrap_err();
        assert_eq!(error.code(), "key_changed", "{}", error.chain());
        // Not by a snapshot either.
        h.crash();
        assert_eq!(h.try_snapshot_start().unwrap_err().code(), "key_changed");
    }
    // What was said of such tables is no way to turn one into another either.
    for (before, after) in [(Keyless::Changelog, Keyless::Rows), (Keyless::Rows, Keyless::Changelog)] {
        let mut h = Harness::new(Shape::Int);
        drop_key(&mut h);
        h.without_keys(before);
        h.send(&[Logical::whole(None, Some("a"))]);
        h.commit();
        h.without_keys(after);
        assert_eq!(h.findings()[0].code, "key_changed");
        let error = h.try_send(&[Logical::whole(None, Some("a"))]).unwrap_err();
        assert_eq!(error.code(), "key_changed", "{}", error.chain());
    }
    let mut h = Harness::new(Shape::Int);
    drop_key(&mut h);
    h.without_keys(Keyless::Refuse);
    assert_eq!(h.findings()[0].code, "table_without_key");
    assert_eq!(h.try_send(&[Logical::insert(1, "a", "A")]).unwrap_err().code(), "table_without_key");
}

#[test]
fn check_asks_of_a_table_that_is_there_what_its_opening_asks() {
    let mut h = Harness::new(Shape::Int);
    h.follow_schema(SchemaChanges::Lenient);
    h.send(&[Logical::insert(1, "a", "A")]);
    h.commit();
    h.change_schema(|schema| schema.columns[2].data_type = DataType::Date);
    assert!(h.findings().is_empty(), "it goes on in another column");
    h.follow_schema(SchemaChanges::Evolve);
    assert_eq!(h.findings()[0].code, "column_type_changed");
    h.change_schema(|schema| {
        schema.columns[2].data_type = DataType::Text;
        let twin = schema.columns[2].clone();
        schema.columns.push(ColumnSchema { name: "V".into(), ..twin });
    });
    assert_eq!(h.findings()[0].code, "column_name_collision");
    h.follow_schema(SchemaChanges::Lenient);
    assert!(h.findings().is_empty(), "it goes on as `V__2`");
    h.send(&[Logical::insert(2, "b", "B")]);
    h.commit();
    h.rename_sink("other");
    assert_eq!(h.findings()[0].code, "foreign_table");
}

/// A table of `v` alone, whose rows are found by their values, and what it should hold.
struct Bag {
    h: Harness,
    rows: Vec<String>,
    /// Versions that have ended, where it is a history.
    ended: usize,
    /// Chooses what happens.
    chance: Chance,
}

impl Bag {
    fn new() -> Bag {
        Bag::of(Harness::new(Shape::Int))
    }

    fn of(mut h: Harness) -> Bag {
        drop_key(&mut h);
        h.without_keys(Keyless::Rows);
        Bag { h, rows: Vec::new(), ended: 0, chance: Chance::new(1) }
    }

    /// Its files are written in one of sixteen ways, and other things happen.
    fn vary(&mut self, case: u64) {
        self.chance = Chance::new(case);
        self.h.delete_by_vectors(case & 1 == 0);
        self.h.partition(Some("v").filter(|_| case & 2 != 0));
        self.h.spill_always(case & 4 != 0);
        if case & 8 != 0 {
            self.h.compact_by(budget());
        }
    }

    /// Sends changes, of which the table has every old row.
    fn send(&mut self, changes: &[(Option<&str>, Option<&str>)]) {
        for (old, new) in changes {
            if let Some(old) = old {
                let at = self.rows.iter().position(|row| row == old).unwrap();
                self.rows.remove(at);
                self.ended += 1;
            }
            self.rows.extend(new.map(str::to_owned));
        }
        self.h.send(&changes.iter().map(|(old, new)| Logical::whole(*old, *new)).collect::<Vec<_>>());
    }

    /// A transaction of some changes of rows that have many equals.
    fn send_some(&mut self) {
        let mut changes = Vec::new();
        let mut rows = self.rows.clone();
        for _ in 0..1 + self.chance.below(12) {
            let fresh = ["a", "b", "c"][self.chance.below(3)].to_owned();
            let at = self.chance.below(rows.len().max(1));
            let (has_old, has_new) = [(false, true), (false, true), (true, true), (true, false)][self.chance.below(4)];
            let old = (has_old && at < rows.len()).then(|| rows.remove(at));
            let new = (has_new || old.is_none()).then_some(fresh);
            rows.extend(new.clone());
            changes.push((old, new));
        }
        let changes = changes.iter().map(|(old, new)| (old.as_deref(), new.as_deref())).collect::<Vec<_>>();
        self.send(&changes);
    }

    fn commit(&mut self, case: &str) {
        self.h.commit();
        self.check(case);
    }

    fn check(&mut self, case: &str) {
        let mut seen = match self.h.is_history() {
            true => {
                let (open, ended): (Vec<_>, Vec<_>) = self.h.versions().into_iter().partition(|one| one.to.is_none());
                assert_eq!(ended.len(), self.ended, "{case}");
                open.into_iter().map(|version| version.v).collect()
            }
            false => self.h.texts("v").into_iter().flatten().collect::<Vec<_>>(),
        };
        seen.sort();
        self.rows.sort();
        assert_eq!(seen, self.rows, "{case}");
    }

    /// Each row goes, so that each is found.
    fn drain(&mut self, case: &str) {
        while let Some(last) = self.rows.last().cloned() {
            self.send(&[(Some(&last), None)]);
            if self.rows.len().is_multiple_of(8) {
                self.commit(case);
            }
        }
        self.commit(case);
    }
}

fn budget() -> Budget {
    Budget {
        target_bytes: 1 << 20,
        deleted_percent: 1,
        deleted_age: None,
        bytes_per_second: None,
        vector_files: 2,
        vector_bytes: 100,
    }
}

#[test]
fn pg_29b_my_23_equal_rows_come_and_go_one_at_a_time() {
    for case in 0..16 {
        let name = format!("{case:b}");
        let mut bag = Bag::new();
        if case > 0 {
            bag.h.move_to_bucket();
        }
        bag.vary(case);
        for round in 0..18 {
            bag.send_some();
            if round % 3 == 0 {
                bag.send_some();
            }
            match round % 6 {
                0 | 3 => bag.commit(&name),
                1 => {
                    // What no commit has shown comes again.
                    bag.h.crash();
                    bag.h.replay();
                    bag.commit(&name);
                }
                2 => {
                    // The tables are ahead of the progress.
                    bag.h.commit_tables_only();
                    bag.h.crash();
                    bag.h.replay();
                    bag.commit(&name);
                }
                4 => {
                    bag.commit(&name);
                    bag.h.lose_state();
                }
                _ => {
                    bag.commit(&name);
                    if case & 8 != 0 {
                        bag.h.finish_compaction();
                        bag.check(&name);
                    }
                }
            }
        }
        bag.drain(&name);
    }
}

#[test]
fn what_nobody_told_apart_nobody_sees() {
    let mut bag = Bag::new();
    bag.send(&[(None, Some("a")), (None, Some("a"))]);
    bag.commit("");
    let table = bag.h.table().unwrap();
    assert!(!table.schema_string().contains("tidewire_number"), "{}", table.schema_string());
    assert_eq!(bag.h.property("tidewire.key").as_deref(), Some("[]"));
    assert_eq!(bag.h.property("delta.dataSkippingStatsColumns"), None);
    // Of columns that have other names in files it has neither a name nor a number.
    let mut mapped = Bag::new();
    mapped.h.map_columns(true);
    mapped.send(&[(None, Some("a"))]);
    mapped.commit("mapped");
    assert_eq!(mapped.h.property("delta.columnMapping.maxColumnId").as_deref(), Some("4"));
    bag.h.change_schema(|schema| schema.columns[2].name = "_Tidewire_number".into());
    bag.h.turn_to("u");
    assert_eq!(bag.h.try_send(&[Logical::whole(None, Some("a"))]).unwrap_err().code(), "column_name_collision");
}

#[test]
fn a_snapshot_that_begins_again_doubles_nothing() {
    let mut bag = Bag::new();
    let many = vec![(ID, "a"); 5_000];
    for is_last in [false, true] {
        bag.h.snapshot_start();
        bag.h.snapshot_rows(&many);
        bag.h.snapshot_rows(&[(ID, "b"), (ID, "a")]);
        if !is_last {
            bag.h.commit();
            bag.h.crash();
        }
    }
    bag.h.snapshot_end();
    bag.rows = [vec!["a".to_owned(); 5_001], vec!["b".to_owned()]].concat();
    bag.commit("read");
    // Shown, and the progress does not say so yet.
    for lose in [false, true] {
        bag.send(&[(Some("a"), None), (Some("b"), Some("a")), (None, Some("b")), (Some("a"), Some("c"))]);
        bag.send(&[(Some("a"), None), (Some("a"), None), (Some("c"), None), (None, Some("a"))]);
        bag.h.commit_tables_only();
        if lose {
            bag.h.lose_state();
        } else {
            bag.h.crash();
        }
        bag.h.replay();
        bag.commit("again");
    }
    bag.send(&vec![(Some("a"), None); 4_990]);
    bag.commit("most of them");
    bag.drain("the rest");
}

#[test]
fn changes_that_come_while_copies_are_written_are_kept() {
    let mut bag = Bag::new();
    bag.h.compact_by(Budget { deleted_percent: 90, vector_files: 1_000, vector_bytes: 1 << 20, ..budget() });
    for file in 0..16 {
        bag.send(&[(None, Some("a")), (None, Some(if file % 2 == 0 { "a" } else { "b" })), (None, Some("c"))]);
        bag.h.commit_tables_only();
    }
    bag.h.sink().maintain().unwrap();
    bag.h.wait_for_copies();
    bag.send(&[(Some("a"), None), (Some("b"), Some("a")), (Some("c"), None), (None, Some("b")), (Some("c"), None)]);
    bag.h.commit_tables_only();
    bag.send(&[(None, Some("c")), (Some("a"), Some("b"))]);
    bag.commit("meanwhile");
    bag.h.finish_compaction();
    bag.check("after it");
    bag.send_some();
    bag.commit("found again");
    bag.drain("all of them");
}

#[test]
fn a_truncate_and_a_purge_leave_the_numbers_in_order() {
    let mut bag = Bag::new();
    bag.send(&[(None, Some("a")), (None, Some("a"))]);
    bag.commit("before");
    bag.h.send(&[Logical::whole(None, Some("a")), Logical::Truncate, Logical::whole(None, Some("a"))]);
    bag.rows = vec!["a".to_owned()];
    bag.commit("emptied");
    bag.send(&[(None, Some("a")), (None, Some("a")), (None, Some("b"))]);
    bag.commit("filled");
    bag.send(&[(Some("a"), None), (Some("b"), Some("a"))]);
    bag.commit("some went");
    let name = || Some("public.t".to_owned());
    let request = |key: Option<&str>| PurgeRequest { table: name(), key: key.map(str::to_owned), now: true };
    let error = bag.h.purge(&request(Some("a"))).unwrap_err();
    assert_eq!(error.code(), "purge_key");
    assert!(error.to_string().contains("no key"), "{error}");
    assert!(bag.h.purge(&request(None)).unwrap().0);
    assert!(bag.h.table().unwrap().files().all(|file| file.deletion_vector.is_none()));
    bag.h.replay();
    bag.check("purged");
    bag.send(&[(None, Some("a"))]);
    bag.commit("goes on");
    bag.drain("all of them");
}

#[test]
fn rows_that_cannot_be_found_halt_the_table() {
    let mut bag = Bag::new();
    bag.send(&[(None, Some("a"))]);
    bag.commit("");
    let cases: [(&str, Vec<Logical>); 5] = [
        ("row_missing", vec![Logical::whole(Some("b"), None)]),
        ("row_missing", vec![Logical::whole(Some("b"), Some("c"))]),
        ("row_missing", vec![Logical::whole(Some("a"), None), Logical::whole(Some("a"), None)]),
        // Only some of the old row is told, or nothing of it.
        ("row_not_whole", vec![Logical::Delete(ID)]),
        ("row_not_whole", vec![Logical::update(ID, "b", Some("B"))]),
    ];
    for (code, changes) in cases {
        let error = bag.h.try_send(&changes).unwrap_err();
        assert_eq!(error.code(), code, "{}", error.chain());
        assert!(error.table().is_some() && error.remedy().is_some_and(|remedy| remedy.contains("new name")));
        bag.h.forget_last();
        bag.h.crash();
        bag.h.replay();
        bag.commit(code);
    }
}

#[test]
fn rows_are_found_for_as_long_as_the_source_tells_them_alike() {
    type Change = fn(&mut Harness);
    let filled = |h: &mut Harness| {
        h.add_column("later");
        h.change_schema(|schema| schema.columns[4].nullable = false);
    };
    let has_key = |h: &mut Harness| h.change_schema(|s| (s.key, s.key_kind) = (vec![1], KeyKind::Primary));
    let plain = |h: &mut Harness| h.follow_schema(SchemaChanges::Evolve);
    let ignoring = |h: &mut Harness| h.follow_schema(SchemaChanges::Ignore);
    let lenient = |h: &mut Harness| h.follow_schema(SchemaChanges::Lenient);
    let mapped = |h: &mut Harness| {
        h.map_columns(true);
        h.number_columns();
    };
    let typed = |h: &mut Harness| {
        h.widen(Widening::Types);
        h.type_column("id", DataType::Int { bits: 32 });
    };
    let rewritten = |h: &mut Harness| {
        h.widen(Widening::Rewrite);
        h.type_column("id", DataType::Int { bits: 32 });
    };
    let wider = |h: &mut Harness| h.type_column("id", DataType::Int { bits: 64 });
    let exact = |h: &mut Harness| h.type_column("id", DataType::Decimal { precision: Some(12), scale: Some(0) });
    // What the table is like, what happens to it, and what comes of that.
    let cases: [(&str, Change, Change, Option<&str>); 13] = [
        ("a new column", plain, |h| h.add_column("later"), None),
        ("one that is left out", ignoring, |h| h.add_column("later"), None),
        ("one with a value", plain, filled, Some("rows_changed")),
        ("a column less", plain, |h| h.drop_column("kind"), Some("rows_changed")),
        ("a column less, mapped", mapped, |h| h.drop_column("kind"), Some("rows_changed")),
        ("another name", plain, |h| h.rename_column("id", "number"), Some("rows_changed")),
        ("another name, mapped", mapped, |h| h.rename_column("id", "number"), None),
        ("another type", lenient, |h| h.type_column("kind", DataType::Json), Some("rows_changed")),
        ("a wider type", typed, wider, None),
        ("a wider type, files anew", rewritten, wider, None),
        ("a type of other values", typed, exact, Some("rows_changed")),
        ("a type of other values, files anew", rewritten, exact, Some("rows_changed")),
        ("a key", plain, has_key, Some("key_changed")),
    ];
    for (case, prepare, change, expect) in cases {
        for is_restarted in [false, true] {
            let mut bag = Bag::new();
            prepare(&mut bag.h);
            bag.send(&[(None, Some("a")), (None, Some("a"))]);
            bag.commit(case);
            if is_restarted {
                bag.h.crash();
            }
            change(&mut bag.h);
            let Some(code) = expect else {
                bag.send(&[(Some("a"), Some("b")), (None, Some("a"))]);
                bag.commit(case);
                bag.h.lose_state();
                bag.h.replay();
                bag.send(&[(Some("a"), None), (Some("b"), Some("a")), (Some("a"), None)]);
                bag.commit(case);
                bag.drain(case);
                continue;
            };
            if is_restarted {
                assert_eq!(bag.h.findings()[0].code, code, "{case}");
            }
            let error = bag.h.try_send(&[Logical::whole(Some("a"), None)]).unwrap_err();
            assert_eq!(error.code(), code, "{case}: {}", error.chain());
        }
    }
    // A table without a row has nothing to find.
    let mut bag = Bag::new();
    bag.send(&[(None, Some("a"))]);
    bag.commit("");
    bag.h.send(&[Logical::Truncate]);
    bag.rows.clear();
    bag.h.drop_column("kind");
    bag.send(&[(None, Some("a")), (None, Some("a"))]);
    bag.commit("dropped in an empty table");
    bag.drain("dropped in an empty table");
}

#[test]
fn a_snapshot_makes_another_table_of_it() {
    for loses_key in [true, false] {
        let mut h = Harness::new(Shape::Int);
        h.without_keys(Keyless::Rows);
        if !loses_key {
            drop_key(&mut h);
        }
        h.send(&[Logical::whole(None, Some("a"))]);
        h.commit();
        h.change_schema(|schema| {
            (schema.key_kind, schema.key) =
                if loses_key { (KeyKind::None, Vec::new()) } else { (KeyKind::Primary, vec![1]) };
        });
        h.crash();
        h.floor_at_end();
        h.snapshot_start();
        h.snapshot_rows(&[(ID, "b"), (if loses_key { ID } else { 8 }, "b")]);
        h.snapshot_end();
        h.send(&[Logical::whole(Some("b"), Some("c"))]);
        h.commit();
        h.lose_state();
        h.send(&[Logical::whole(None, Some("d"))]);
        h.commit();
        let mut seen = h.texts("v").into_iter().flatten().collect::<Vec<_>>();
        seen.sort();
        assert_eq!(seen, if loses_key { vec!["b", "c", "d"] } else { vec!["b", "d"] });
        assert_eq!(h.property("tidewire.key").as_deref(), Some(if loses_key { "[]" } else { "[\"id\"]" }));
    }
}

#[test]
fn a_feed_tells_of_each_of_equal_rows() {
    /// The old row and the new one of each; and what happened to which.
    type Case = (
        &'static str,
        &'static [(Option<&'static str>, Option<&'static str>)],
        &'static [(&'static str, &'static str)],
    );
    let cases: [Case; 6] = [
        ("one of three", &[(Some("a"), None)], &[(DELETED, "a")]),
        ("all that there are", &[(Some("a"), None); 3], &[(DELETED, "a"); 3]),
        ("other values", &[(Some("b"), Some("c"))], &[(DELETED, "b"), (INSERTED, "c")]),
        ("the same values", &[(Some("a"), Some("a"))], &[]),
        ("what comes and goes", &[(None, Some("a")), (Some("a"), None), (Some("b"), None)], &[(DELETED, "b")]),
        (
            "a row in the place of one that went",
            &[(Some("a"), None), (Some("b"), Some("a"))],
            &[(DELETED, "b"), (BEFORE, "a"), (AFTER, "a")],
        ),
    ];
    for (what, changes, expected) in cases {
        for (spill, by) in [(false, None), (true, None), (true, Some("v"))] {
            let mut bag = Bag::new();
            bag.h.feed_changes(true);
            bag.h.partition(by);
            bag.send(&[(None, Some("a")), (None, Some("a")), (None, Some("b")), (None, Some("a"))]);
            bag.commit(what);
            bag.h.spill_always(spill);
            bag.h.replay();
            for change in changes {
                bag.send(std::slice::from_ref(change));
            }
            bag.commit(what);
            let mut expected = expected.iter().map(|(word, v)| (ID, text(word), text(v))).collect::<Vec<_>>();
            expected.sort();
            if !expected.is_empty() {
                assert_eq!(bag.h.changes_by_kernel(), expected, "{what}, spilled: {spill}, partitioned by {by:?}");
            }
            bag.drain(what);
        }
    }
}
