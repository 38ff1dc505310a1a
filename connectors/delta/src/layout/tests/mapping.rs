//! Columns whose names in data files are their own.

use super::*;
use crate::typemap::schema_string;
use SchemaChanges::{Evolve, Fail, Ignore, Lenient};

fn mapped(changes: SchemaChanges) -> Rules<'static> {
    Rules { column_mapping: true, ..rules(Mode::Mirror, changes) }
}

/// Columns of a source, as `name`, `name:number` or `name:numbering.number`; `!` is of another type.
fn columns(text: &str) -> Vec<ColumnSchema> {
    let one = |text: &str| {
        let (name, number) = text.split_once(':').unwrap_or((text, ""));
        let data_type = if name.ends_with('!') { DataType::Text } else { INT };
        let nullable = !name.starts_with("id");
        let (within, number) = number.split_once('.').unwrap_or(("1", number));
        let number = number.parse().ok().map(|number| ColumnNumber { within: within.parse().unwrap(), number });
        ColumnSchema { number, ..column(name.trim_end_matches('!'), data_type, nullable) }
    };
    text.split(' ').map(one).collect()
}

fn reread(layout: &Layout) -> Layout {
    let mut property = BTreeMap::from_iter(layout.mapping_properties());
    property.insert(LEFT_OUT_PROPERTY.to_owned(), layout.left_out_property());
    let read = Layout::read(layout.mode, &schema_string(&layout.columns), &property).unwrap();
    assert_eq!((&read.columns, read.last_id), (&layout.columns, layout.last_id));
    read
}

/// The table's columns: `name=id<source`, or `(name=id)` for those that stay null.
fn shown(layout: &Layout, columns: &[ColumnSchema]) -> String {
    let one = |(column, source): (&TableColumn, &Option<usize>)| {
        let id = column.mapped.as_ref().unwrap().id;
        match source {
            Some(source) => format!("{}={id}<{}", column.name, columns[*source].name),
            None => format!("({}={id})", column.name),
        }
    };
    layout.columns.iter().zip(&layout.sources).map(one).collect::<Vec<_>>().join(" ")
}

/// Each version of the source's columns, with a restart after it; the table at the end, or an error's code.
fn outcome(history: &[&str], changes: SchemaChanges) -> String {
    let first = columns(history[0]);
    let mut held = Layout::create(&table(first.clone()), mapped(changes)).unwrap();
    let mut last = shown(&held, &first);
    let mut names = BTreeMap::new();
    for version in &history[1..] {
        let schema = table(columns(version));
        let (layout, evolution) = match held.evolve(&schema, mapped(changes)) {
            Ok(fitted) => fitted,
            Err(error) => return error.code().to_owned(),
        };
        last = shown(&layout, &schema.columns);
        let is_same = (&layout.columns, layout.last_id) == (&held.columns, held.last_id);
        assert!(evolution.metadata_changed || is_same, "{history:?}");
        held = reread(&layout);
        // An id always stands for one name in files.
        for column in &held.columns {
            let mapped = column.mapped.clone().unwrap();
            assert_eq!(names.entry(mapped.id).or_insert(mapped.physical.clone()), &mapped.physical, "{history:?}");
        }
        assert_eq!(names.values().collect::<BTreeSet<_>>().len(), names.len());
        let (again, nothing) = held.evolve(&schema, mapped(changes)).unwrap();
        assert_eq!((again.sources, nothing), (layout.sources, Evolution::default()), "{history:?}");
    }
    last
}

#[test]
fn names_follow_the_sources_numbers() {
    const COLLIDES: &str = "column_name_collision";
    type Case = (&'static str, &'static [&'static str], [&'static str; 3]);
    #[rustfmt::skip]
    let cases: &[Case] = &[
        ("any name", &["id:1 a,b:2 a=b:3"], ["id=1<id a,b=2<a,b a=b=3<a=b"; 3]),
        ("a rename", &["id:1 a:2", "id:1 b:2"],
            ["id=1<id b=2<b", "id=1<id b=2<b", "id=1<id (a=2)"]),
        ("of the key", &["id:1 a:2", "id2:1 a:2"], ["id2=1<id2 a=2<a", "id2=1<id2 a=2<a", "key_changed"]),
        ("two change places", &["id:1 a:2 b:3", "id:1 b:2 a:3"],
            ["id=1<id b=2<b a=3<a", "id=1<id b=2<b a=3<a", "id=1<id a=2<a b=3<b"]),
        ("a drop", &["id:1 a:2 b:3", "id:1 b:3"],
            ["id=1<id b=3<b", "id=1<id b=3<b", "id=1<id (a=2) b=3<b"]),
        ("and back", &["id:1 a:2", "id:1", "id:1 a:3"],
            ["id=1<id a=3<a", "id=1<id a=3<a", "id=1<id (a=2)"]),
        ("and back at once", &["id:1 a:2", "id:1 a:3"],
            ["id=1<id a=3<a", "id=1<id a=3<a", "id=1<id a=2<a"]),
        ("a rename, and another takes the name", &["id:1 a:2", "id:1 b:2 a:3"],
            ["id=1<id b=2<b a=3<a", "id=1<id b=2<b a=3<a", "id=1<id a=2<a"]),
        ("without numbers a rename is another column", &["id a", "id b"],
            ["id=1<id b=3<b", "id=1<id b=3<b", "id=1<id (a=2)"]),
        ("numbers come later", &["id a", "id:1 a:2", "id:1 b:2"],
            ["id=1<id b=2<b", "id=1<id b=2<b", "id=1<id (a=2)"]),
        ("numbers stay where nothing changes", &["id:1 a:2", "id a", "id:1 b:2"],
            ["id=1<id b=2<b", "id=1<id b=2<b", "id=1<id (a=2)"]),
        ("what changed without numbers is not known", &["id:1 x:2", "id z x", "id:1 z:2 x:3"],
            ["id=1<id x=2<x z=3<z", "id=1<id x=2<x z=3<z", "id=1<id x=2<x"]),
        ("a retyped one", &["id:1 a:2", "id:1 a!:2", "id:1 b!:2"],
            ["column_type_changed", "id=1<id (a=2) b=3<b", "column_type_changed"]),
        ("a name that a retyped one left behind", &["id:1 a:2", "id:1 a!:2", "id:1 b!:2 a:3"],
            ["column_type_changed", "id=1<id (a=2) b=3<b a__2=4<a", "column_type_changed"]),
        ("counted along the log", &["id:9.1 a:9.2", "id:9.1 b:9.2 a:9.3"],
            ["id=1<id b=2<b a=3<a", "id=1<id b=2<b a=3<a", "id=1<id a=2<a"]),
        ("counted anew names decide", &["id:9.1 a:9.2 b:9.3", "id:8.1 b:8.2 a:8.3"], ["id=1<id a=2<a b=3<b"; 3]),
        ("and numbers of then go on", &["id:9.1 a:9.2", "id:8.1 a:8.2 c:8.3", "id:8.1 b:8.2 c:8.3"],
            ["id=1<id b=2<b c=3<c", "id=1<id b=2<b c=3<c", "id=1<id (a=2)"]),
        ("another case", &["id:1 a:2", "id:1 A:2"], ["id=1<id A=2<A", "id=1<id A=2<A", "id=1<id (a=2)"]),
        ("a case that is there", &["id:1 a:2 b:3", "id:1 a:2 A:3"], [COLLIDES, "id=1<id a=2<a A__2=3<A", "id=1<id a=2<a (b=3)"]),
    ];
    for (case, history, expected) in cases {
        for (changes, expected) in [Evolve, Lenient, Ignore].into_iter().zip(expected) {
            assert_eq!(outcome(history, changes), *expected, "{case}, {changes:?}");
        }
    }
}

#[test]
fn a_refusal_says_what_became_of_names() {
    let held = Layout::create(&table(columns("id:1 a:2 b:3")), mapped(Fail)).unwrap();
    let error = held.evolve(&table(columns("id:1 c:2")), mapped(Fail)).unwrap_err();
    assert!(error.to_string().contains("dropped `b`; renamed `a` to `c`"), "{error}");
    assert!(error.remedy().unwrap().contains("schema_changes = \"evolve\""), "{:?}", error.remedy());
    held.evolve(&table(columns("id:1 a:2 b:3")), mapped(Fail)).unwrap();
}

#[test]
fn a_table_made_anew_has_numbers_of_its_own() {
    // The columns of an appended table outlive it.
    let held = Layout::create(&table(columns("id:1 a:2")), mapped(Evolve)).unwrap();
    let other = TableSchema { native_id: 2, ..table(columns("id:2.1 b:2.2 a:2.3")) };
    let (layout, _) = held.evolve(&other, mapped(Evolve)).unwrap();
    assert_eq!(shown(&layout, &other.columns), "id=1<id a=2<a b=3<b");
}

#[test]
fn a_table_that_is_read_anew_never_gives_an_id_twice() {
    let held = Layout::create(&table(columns("id:1 a:2 b:3")), mapped(Evolve)).unwrap();
    // `a` has another type, `b` is another column; `c` is the one that was called `b`.
    let now = columns("id:1 a!:2 b:4 c:3");
    let (layout, _) = held.read_anew(&table(now.clone()), mapped(Evolve)).unwrap();
    assert_eq!(shown(&layout, &now), "id=1<id a=4<a b=5<b c=3<c");
    // Without mapping it stays so.
    let plain = Layout::create(&table(columns("id a")), rules(Mode::Mirror, Evolve)).unwrap();
    assert!(!plain.read_anew(&table(now), mapped(Evolve)).unwrap().0.is_mapped());
}
