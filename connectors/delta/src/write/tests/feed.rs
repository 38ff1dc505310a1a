//! The change data feed of single commits: the net change of each key, whatever was written before the commit's end.

mod shapes;

use super::harness::{Harness, Logical, NULL, Shape, row, text};
use crate::parts::feed::{AFTER, BEFORE, CHANGE_COLUMN, DELETED, INSERTED};
use crate::typemap::parse_schema_string;
use parquet::file::reader::{FileReader, SerializedFileReader};
use std::collections::BTreeMap;

/// Key, what happened, `v`.
type Told = &'static [(i64, &'static str, &'static str)];

fn fed(shape: Shape) -> Harness {
    let mut h = Harness::new(shape);
    h.feed_changes(true);
    h
}

/// In the place of a partition column: files have other names for the columns.
const MAPPED: &str = "mapped";

fn map(h: &mut Harness) {
    h.map_columns(true);
    h.number_columns();
}

fn rename(old: i64, id: i64) -> Logical {
    Logical::Update { old: Some(old), id, v: text("moved"), big: None }
}

#[test]
fn a_commit_shows_the_net_change_of_each_key() {
    let insert = |id| Logical::insert(id, "new", "big");
    let update = |id, v| Logical::update(id, v, None);
    let table: [(&str, Vec<Logical>, Told); 10] = [
        ("rows that come need no feed", vec![insert(5)], &[]),
        ("an update", vec![update(1, "b")], &[(1, BEFORE, "a"), (1, AFTER, "b")]),
        ("two of one row", vec![update(1, "b"), update(1, "c")], &[(1, BEFORE, "a"), (1, AFTER, "c")]),
        ("a delete", vec![Logical::Delete(1)], &[(1, DELETED, "a")]),
        ("what comes and goes", vec![insert(5), Logical::Delete(5)], &[]),
        ("what goes and comes", vec![Logical::Delete(1), insert(1)], &[(1, BEFORE, "a"), (1, AFTER, "new")]),
        ("a row that is changed and goes", vec![update(1, "b"), Logical::Delete(1)], &[(1, DELETED, "a")]),
        ("a key that moves", vec![rename(1, 7)], &[(1, DELETED, "a"), (7, INSERTED, "moved")]),
        (
            "keys that are swapped",
            vec![rename(1, 9), rename(2, 1), rename(9, 2)],
            &[(1, BEFORE, "a"), (1, AFTER, "moved"), (2, BEFORE, "a"), (2, AFTER, "moved")],
        ),
        (
            "all at once",
            vec![
                update(1, "b"),
                insert(5),
                Logical::Delete(2),
                update(5, "c"),
                Logical::Delete(1),
                insert(2),
                insert(1),
            ],
            &[(1, BEFORE, "a"), (1, AFTER, "new"), (2, BEFORE, "a"), (2, AFTER, "new"), (5, INSERTED, "c")],
        ),
    ];
    let ways = [
        (Shape::Int, false, None),
        (Shape::Int, true, None),
        (Shape::Composite, true, None),
        (Shape::Int, true, Some(MAPPED)),
        // Each update goes to another partition; none does; the key holds the column.
        (Shape::Int, false, Some("v")),
        (Shape::Int, true, Some("v")),
        (Shape::Int, true, Some("big")),
        (Shape::Composite, true, Some("kind")),
    ];
    for (what, changes, expected) in table {
        for (shape, spill, by) in ways {
            let mut h = fed(shape);
            match by {
                Some(MAPPED) => map(&mut h),
                by => h.partition(by),
            }
            h.send(&[Logical::insert(1, "a", "A"), Logical::insert(2, "a", "A")]);
            h.commit();
            h.spill_always(spill);
            h.replay();
            for change in &changes {
                h.send(std::slice::from_ref(change));
            }
            h.commit();
            let mut expected: Vec<_> = expected.iter().map(|(id, word, v)| (*id, text(word), text(v))).collect();
            expected.sort();
            let way = format!("{what}, spilled: {spill}, partitioned by {by:?}");
            assert_eq!(h.changes(), expected, "{way}");
            if !expected.is_empty() {
                assert_eq!(h.changes_by_kernel(), expected, "{way}, by the kernel");
            }
        }
    }
}

#[test]
fn changes_lie_in_their_partitions() {
    for spill in [false, true] {
        let mut h = fed(Shape::Int);
        h.partition(Some("v"));
        h.spill_always(spill);
        h.send(&[Logical::insert(1, "a", "A"), Logical::insert(2, "b", "B"), Logical::insert(3, NULL, "C")]);
        h.commit();
        assert_eq!(h.change_files(), []);
        // `big` is not in the log: the old row is read from the old partition, and the new one shown in the new.
        h.send(&[Logical::update(1, "b", None), Logical::Delete(3), Logical::update(2, "a", None)]);
        h.commit();
        let told = |id, word: &str, v: &str| (id, text(word), text(v));
        let expected = [told(1, AFTER, "b"), told(1, BEFORE, "a"), told(2, AFTER, "a"), told(2, BEFORE, "b")];
        let changes = h.changes_by_kernel();
        assert_eq!(changes.iter().filter(|(id, ..)| *id != 3).cloned().collect::<Vec<_>>(), expected);
        assert_eq!(h.changed_texts("big").iter().flatten().filter(|text| *text == "C").count(), 1);
        for (path, partition) in h.change_files() {
            let value = partition["v"].as_deref().unwrap_or("__HIVE_DEFAULT_PARTITION__");
            let is_data = path.starts_with(&format!("v={value}/part-"));
            assert!(is_data || path.starts_with(&format!("_change_data/v={value}/cdc-")), "{path}");
        }
        h.send(&[Logical::Delete(1)]);
        h.commit();
        assert_eq!(h.change_files().iter().filter(|(path, _)| path.contains("/v=b/")).count(), 1);
    }
}

#[test]
fn old_rows_of_many_partitions_keep_few_files_open() {
    let mut h = fed(Shape::Int);
    h.partition(Some("v"));
    h.spill_always(true);
    h.send(&(0..200).map(|id| Logical::insert(id, &format!("v{id}"), "big")).collect::<Vec<_>>());
    h.commit();
    h.send(&(0..200).map(|id| Logical::update(id, &format!("v{}", 199 - id), None)).collect::<Vec<_>>());
    let open = h.sink().tables.values().map(|table| table.open_files()).sum::<usize>();
    assert!(open <= 160, "{open} files");
    h.commit();
    let changes = h.changes_by_kernel();
    assert_eq!((changes.len(), &changes), (400, &h.changes()));
    assert!(
        changes
            .iter()
            .all(|(id, word, v)| { *v == if *word == AFTER { format!("v{}", 199 - id) } else { format!("v{id}") } })
    );
}

#[test]
fn an_emptied_table_says_so_by_its_files() {
    for by in [None, Some("v")] {
        an_emptied_table(by);
    }
}

fn an_emptied_table(by: Option<&str>) {
    let mut h = fed(Shape::Int);
    h.partition(by);
    h.send(&[Logical::insert(1, "a", "A"), Logical::insert(2, "a", "A")]);
    h.commit();
    h.send(&[Logical::update(1, "b", None), Logical::Truncate, Logical::insert(2, "c", "C")]);
    h.commit();
    // With a file of changes readers would not look at those that go.
    assert_eq!((h.changes(), h.rows()), (vec![], [row(2, "c", "C")].into()));
    let told = |id, word: &str, v: &str| (id, text(word), text(v));
    assert_eq!(h.changes_by_kernel(), [told(1, DELETED, "a"), told(2, DELETED, "a"), told(2, INSERTED, "c")]);
    h.send(&[Logical::insert(1, "a", "A"), Logical::insert(3, "a", "D")]);
    h.commit();
    h.send(&[Logical::Delete(3)]);
    h.commit();
    // delta-rs forgets the deletion vectors of files that go: there it is told row by row.
    h.send(&[Logical::update(1, "b", None), Logical::Truncate, Logical::insert(2, "e", "E")]);
    h.commit();
    assert_eq!(h.changes(), [told(1, DELETED, "a"), told(2, DELETED, "c"), told(2, INSERTED, "e")]);
    assert_eq!(h.changes_by_kernel(), h.changes());
}

#[test]
fn old_rows_are_shown_as_the_table_had_them() {
    let mut h = fed(Shape::Int);
    h.send(&[Logical::insert(1, "a", "A")]);
    h.commit();
    h.add_column_as_null("more");
    h.send(&[Logical::update(1, "b", None)]);
    h.commit();
    h.drop_column("big");
    h.send(&[Logical::update(1, "c", None), Logical::Delete(1)]);
    h.commit();
    assert_eq!(h.changes(), [(1, text(DELETED), text("b"))]);
    assert_eq!(h.changed_texts("big"), [Some(text("A"))]);
}

#[test]
fn changes_are_told_under_the_names_of_their_version() {
    for spill in [false, true] {
        let mut h = fed(Shape::Int);
        map(&mut h);
        h.send(&[Logical::insert(1, "a", "A"), Logical::insert(2, "b", "B"), Logical::insert(3, "c", "C")]);
        h.commit();
        h.spill_always(spill);
        h.replay();
        // One commit, of changes before and after a rename, a drop and another column of the dropped one's name.
        h.send(&[Logical::update(1, "a1", None), Logical::Delete(2)]);
        h.rename_column("v", "w");
        h.drop_column("big");
        h.add_numbered("big", 9);
        h.send(&[Logical::update(1, "a2", Some("new")), Logical::update(3, "c2", Some("new"))]);
        h.commit();
        let by_kernel = h.changed_by_kernel(&["w", "big", CHANGE_COLUMN]);
        let told = |w: &str, big: Option<&str>, word: &str| vec![Some(text(w)), big.map(text), Some(text(word))];
        let expected = [
            told("a", None, BEFORE),
            told("b", None, DELETED),
            told("c", None, BEFORE),
            told("x", Some("new"), AFTER),
            told("x", Some("new"), AFTER),
        ];
        assert_eq!(by_kernel, expected, "spilled: {spill}");
        let columns = parse_schema_string(h.table().unwrap().schema_string()).unwrap();
        let mapped = columns.iter().filter_map(|column| column.mapped.as_ref());
        let ids: BTreeMap<_, _> = mapped.map(|mapped| (mapped.physical.to_string(), mapped.id as i32)).collect();
        for (path, _) in h.change_files() {
            let reader = SerializedFileReader::new(h.table().unwrap().store().get(&path).unwrap().unwrap()).unwrap();
            let fields = reader.metadata().file_metadata().schema_descr().root_schema().get_fields().to_vec();
            for field in &fields {
                let id = field.get_basic_info().has_id().then(|| field.get_basic_info().id());
                match field.name() {
                    CHANGE_COLUMN => assert_eq!(id, None),
                    name => assert!(id.is_some() && ids.get(name).is_none_or(|held| Some(*held) == id), "{name}"),
                }
            }
            assert!(fields.iter().any(|field| field.name() == CHANGE_COLUMN), "{path}");
        }
    }
}

#[test]
fn the_feed_can_be_turned_on_and_off() {
    let mut h = Harness::new(Shape::Int);
    let property = |h: &Harness| h.property("delta.enableChangeDataFeed");
    h.send(&[Logical::insert(1, "a", "A")]);
    h.commit();
    assert_eq!(property(&h), None);
    for on in [true, false, true] {
        h.feed_changes(on);
        h.replay();
        h.send(&[Logical::update(1, if on { "b" } else { "c" }, None)]);
        h.commit();
        assert_eq!((property(&h), h.changes().len()), (Some(on.to_string()), if on { 2 } else { 0 }));
    }
}

#[test]
fn a_column_of_the_feeds_name_halts_its_table() {
    let mut h = fed(Shape::Int);
    h.add_column_as_null("_Change_Type");
    let error = h.try_send(&[Logical::insert(1, "a", "A")]).unwrap_err();
    assert_eq!(error.code(), "feed_column_name");
    assert!(error.table().is_some() && error.remedy().is_some());
}
