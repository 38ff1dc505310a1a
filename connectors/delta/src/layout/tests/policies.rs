//! What a new version of the source's schema means for a table, by each policy.

use super::SchemaChanges::{Evolve, Fail, Ignore, Lenient};
use super::*;
use crate::typemap::schema_string;
use tidewire_core::{BatchBuilder, Cell};

const POLICIES: [SchemaChanges; 4] = [Evolve, Lenient, Ignore, Fail];

/// `id` is the key; `a` may not be null.
fn before() -> Vec<ColumnSchema> {
    vec![column("id", INT, false), column("a", DataType::Text, false), column("b", INT, true)]
}

fn created(columns: Vec<ColumnSchema>) -> Layout {
    Layout::create(&table(columns), rules(Mode::Mirror, Evolve)).unwrap()
}

fn fit(held: &Layout, columns: Vec<ColumnSchema>, changes: SchemaChanges) -> Result<(Layout, Evolution)> {
    held.evolve(&table(columns), rules(Mode::Mirror, changes))
}

fn evolve(columns: Vec<ColumnSchema>) -> Result<(Layout, Evolution)> {
    fit(&created(before()), columns, Evolve)
}

fn steps(evolution: &Evolution) -> String {
    evolution.steps.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// The table's columns: `name<source` where a column of the source goes there, `(name)` for those that stay null.
fn shown(layout: &Layout, columns: &[ColumnSchema]) -> String {
    let one = |(column, source): (&TableColumn, &Option<usize>)| match source {
        Some(source) => format!("{}<{}", column.name, columns[*source].name),
        None if column.dropped => format!("({})", column.name),
        None => column.name.to_string(),
    };
    layout.columns.iter().zip(&layout.sources).map(one).collect::<Vec<_>>().join(" ")
}

/// Whether a table's metadata says the same of both.
fn has_shape(layout: &Layout, other: &Layout) -> bool {
    (&layout.columns, &layout.left_out) == (&other.columns, &other.left_out)
}

/// What a table's log holds of a layout after a commit and a restart.
fn reread(layout: &Layout) -> Layout {
    let property = BTreeMap::from([(LEFT_OUT_PROPERTY.to_owned(), layout.left_out_property())]);
    let read = Layout::read(layout.mode, &schema_string(&layout.columns), &property).unwrap();
    assert!(has_shape(&read, layout));
    read
}

#[test]
fn the_same_shape_changes_nothing() {
    for changes in POLICIES {
        assert_eq!(fit(&created(before()), before(), changes).unwrap().1, Evolution::default());
    }
}

#[test]
fn added_dropped_and_reordered_columns_keep_their_places() {
    // SK-3B: `a` is gone, `c` is new, `b` stands before the key.
    let now = vec![column("b", INT, true), column("id", INT, false), column("c", INT, false)];
    let (layout, evolution) = evolve(now).unwrap();
    assert!(evolution.metadata_changed && evolution.has_other_columns() && !evolution.old_rows_forgotten);
    assert_eq!(steps(&evolution), "added `c` (x); dropped `a`");
    let names: Vec<&str> = layout.columns.iter().map(|c| &*c.name).collect();
    assert_eq!(names, ["id", "a", "b", "c"]);
    assert_eq!(layout.sources, [Some(1), None, Some(0), Some(2)]);
    assert!(layout.columns[1].dropped && layout.columns[1].nullable && layout.columns[3].nullable);
}

/// Columns of a source, as `name:type`; `!` is `NOT NULL`.
fn columns(text: &str) -> Vec<ColumnSchema> {
    let one = |text: &str| {
        let (name, word) = text.split_once(':').unwrap();
        let data_type = match word.trim_end_matches('!') {
            "short" => DataType::Int { bits: 16 },
            "int" => INT,
            "long" => DataType::Int { bits: 64 },
            "text" => DataType::Text,
            "json" => DataType::Json,
            "uuid" => DataType::Uuid,
            other => panic!("{other}"),
        };
        column(name, data_type, !word.ends_with('!'))
    };
    text.split(' ').map(one).collect()
}

/// What happens to the source's columns `id:int! a:text! b:int`, and what the table shows at the end under each policy,
/// or the code of its error.
type Case = (&'static str, &'static [&'static str], [&'static str; 4]);

#[rustfmt::skip]
const CASES: &[Case] = &[
    ("a narrower type", &["id:int! a:text! b:short"], ["id<id a<a b<b"; 4]),
    ("a column comes", &["id:int! a:text! b:int c:text"],
        ["id<id a<a b<b c<c", "id<id a<a b<b c<c", "id<id a<a b<b", REFUSED]),
    ("a column goes", &["id:int! a:text!"],
        ["id<id a<a (b)", "id<id a<a (b)", "id<id a<a (b)", REFUSED]),
    ("null is allowed", &["id:int! a:text b:int"],
        ["id<id a<a b<b", "id<id a<a b<b", "id<id a<a b<b", REFUSED]),
    ("a wider type", &["id:int! a:text! b:long"],
        [RETYPED, "id<id a<a (b) b__2<b", RETYPED, REFUSED]),
    ("a type of the same form in Delta, there and back",
        &["id:int! a:json! b:int", "id:int! a:uuid! b:int", "id:int! a:text! b:int"],
        [RETYPED, "id<id (a) b<b (a__2) (a__3) a__4<a", RETYPED, REFUSED]),
    ("the key's type", &["id:long! a:text! b:int"], [RETYPED; 4]),
    ("a column comes back", &["id:int! a:text!", "id:int! a:text! b:int"],
        ["column_returned", "id<id a<a (b) b__2<b", "id<id a<a (b)", REFUSED]),
    ("a moved column goes and comes back",
        &["id:int! a:text! b:long", "id:int! a:text!", "id:int! a:text! b:long"],
        [RETYPED, "id<id a<a (b) (b__2) b__3<b", RETYPED, REFUSED]),
    ("names that other columns of the source have", &["id:int! a:text! b:long b__2:text B__3:text"],
        [RETYPED, "id<id a<a (b) b__4<b b__2<b__2 B__3<B__3", RETYPED, REFUSED]),
    ("a name that a moved column has", &["id:int! a:text! b:long", "id:int! a:text! b:long b__2:text"],
        [RETYPED, "id<id a<a (b) b__2<b b__2__2<b__2", RETYPED, REFUSED]),
    ("another case (PG-94)", &["id:int! b:int A:text"],
        ["column_name_collision", "id<id (a) b<b A__2<A", "id<id (a) b<b", REFUSED]),
];
const RETYPED: &str = "column_type_changed";
const REFUSED: &str = "schema_change_refused";

/// Each version of the source's columns, with a restart after it.
fn outcome(case: &str, history: &[&str], changes: SchemaChanges) -> std::result::Result<String, Error> {
    let (mut held, mut last) = (created(before()), String::new());
    for version in history {
        let (layout, evolution) = fit(&held, columns(version), changes)?;
        assert_eq!(evolution.metadata_changed, !has_shape(&layout, &held), "{case}, {changes:?}");
        last = shown(&layout, &columns(version));
        held = reread(&layout);
        let (again, nothing) = fit(&held, columns(version), changes)?;
        assert_eq!((again.sources, nothing), (layout.sources, Evolution::default()), "{case}, {changes:?}");
    }
    Ok(last)
}

#[test]
fn each_policy_has_its_way() {
    for (case, history, expected) in CASES {
        for (changes, expected) in POLICIES.into_iter().zip(expected) {
            let shown = outcome(case, history, changes).unwrap_or_else(|error| {
                assert!(error.remedy().is_some() && error.table().is_some(), "{case}, {changes:?}");
                error.code().to_owned()
            });
            assert_eq!(shown, *expected, "{case}, {changes:?}");
        }
    }
}

#[test]
fn a_column_that_older_rows_have_a_value_in_is_told() {
    let default = ColumnSchema { default: Some("5".into()), ..column("c", INT, true) };
    let five = BatchBuilder::constant(|_| Ok::<_, ()>(Cell::int(5))).unwrap();
    let told = |missing| ColumnSchema { missing, ..column("c", INT, true) };
    for (added, expected) in [
        (default.clone(), true),
        (column("c", INT, false), true),
        (column("c", INT, true), false),
        (told(five.into()), true),
        // The default came later than the column.
        (ColumnSchema { missing: Missing::Null, ..default }, false),
    ] {
        let (_, evolution) = evolve([before(), vec![added]].concat()).unwrap();
        let is_told = |step: &Step| matches!(step, Step::Added { is_filled: true, .. });
        assert_eq!(evolution.steps.iter().any(is_told), expected);
    }
}

#[test]
fn a_refusal_says_what_changed_and_what_to_run() {
    let wider = || {
        let native = ColumnSchema { native_type: "bigint".into(), ..column("b", DataType::Int { bits: 64 }, true) };
        vec![column("id", INT, false), column("a", DataType::Text, false), native]
    };
    let other = vec![column("id", INT, false), column("b", INT, true), column("c", INT, true)];
    let cases = [
        (wider(), Evolve, "from integer, Delta's `integer`, to integer `bigint`, Delta's `long`", "\"lenient\""),
        (wider(), Ignore, "from integer, Delta's `integer`, to integer `bigint`, Delta's `long`", "\"lenient\""),
        (
            wider(),
            Fail,
            "retyped `b` from integer, Delta's `integer`, to integer `bigint`, Delta's `long`",
            "\"lenient\"",
        ),
        (other, Fail, "added `c` (x); dropped `a`", "\"evolve\""),
    ];
    for (columns, changes, what, how) in cases {
        let error = fit(&created(before()), columns, changes).unwrap_err();
        assert!(error.to_string().contains(what), "{error}");
        assert!(error.remedy().unwrap().contains(&format!("schema_changes = {how}")), "{:?}", error.remedy());
    }
}

#[test]
fn a_partition_column_grows_where_the_texts_in_the_log_stay_as_they_are() {
    const STUCK: &str = "partition_column_type";
    let decimal = |precision, scale| DataType::Decimal { precision: Some(precision), scale: Some(scale) };
    let with = |data_type: &DataType| vec![column("id", INT, false), column("b", data_type.clone(), true)];
    for (narrow, wider, expected) in [
        (INT, DataType::Int { bits: 64 }, Ok("id<id b<b")),
        (INT, decimal(12, 0), Ok("id<id b<b")),
        (decimal(5, 2), decimal(7, 2), Ok("id<id b<b")),
        // Readers want as many digits of a fraction as the type has.
        (decimal(5, 2), decimal(7, 3), Err(STUCK)),
        (INT, decimal(12, 2), Err(STUCK)),
        (INT, DataType::Float64, Err(STUCK)),
        (DataType::Date, DataType::Timestamp { precision: 6 }, Err(STUCK)),
        // No growth at all.
        (INT, DataType::Text, Err(RETYPED)),
    ] {
        for (widening, changes) in [Widening::Types, Widening::Rewrite]
            .into_iter()
            .flat_map(|widening| [Evolve, Lenient].map(|changes| (widening, changes)))
        {
            let what = format!("{narrow:?} {wider:?} {widening:?} {changes:?}");
            let rules = Rules { widening, ..rules(Mode::Mirror, changes) };
            let held = Layout::create(&table(with(&narrow)), rules).unwrap();
            let fitted = held.partitioned_by(&["b".to_owned()]).evolve(&table(with(&wider)), rules);
            let fitted = fitted.map(|(layout, _)| shown(&layout, &with(&wider))).map_err(|error| error.code());
            // Elsewhere its values go on in a column that tells no partition.
            let expected = if changes == Lenient { expected.or(Ok("id<id (b) b__2<b")) } else { expected };
            assert_eq!(fitted, expected.map(str::to_owned), "{what}");
        }
    }
}

#[test]
fn a_key_that_would_lose_a_column_is_refused() {
    let mut schema = table([before(), vec![column("part", INT, false)]].concat());
    schema.key = vec![0, 3];
    for (mode, is_refused) in [(Mode::Mirror, true), (Mode::Changelog, false)] {
        let held = Layout::create(&table(before()), rules(mode, Ignore)).unwrap();
        assert_eq!(
            held.evolve(&schema, rules(mode, Ignore)).map(|_| ()).map_err(|error| error.code()),
            match is_refused {
                true => Err("key_changed"),
                false => Ok(()),
            }
        );
    }
}

#[test]
fn what_rows_hold_of_a_column_that_was_left_out_is_not_known() {
    let as_null = |data_type| ColumnSchema { missing: Missing::Null, ..column("c", data_type, true) };
    let now = || [before(), vec![as_null(INT)]].concat();
    let added = |layout: &Layout| layout.columns.iter().find(|column| &*column.name == "c").unwrap().added_as_null;
    // The table sees it come: its rows have null.
    let (seen, _) = evolve(now()).unwrap();
    assert!(added(&seen));
    // Its type changes: what stays in the old column is not null.
    let (moved, _) = fit(&seen, [before(), vec![as_null(DataType::Text)]].concat(), Lenient).unwrap();
    assert!(!moved.columns.last().unwrap().added_as_null);
    // The table went on without it.
    let (without, _) = fit(&created(before()), now(), Ignore).unwrap();
    for changes in [Evolve, Lenient] {
        let (layout, _) = fit(&reread(&without), now(), changes).unwrap();
        assert!(!added(&layout) && layout.left_out.is_empty());
    }
    // It is no change that the next policy could refuse.
    let (still, evolution) = fit(&reread(&without), now(), Fail).unwrap();
    assert_eq!((still.left_out, evolution), (without.left_out, Evolution::default()));
}

#[test]
fn a_table_that_is_read_anew_keeps_its_columns_where_they_are_to_stay() {
    let now = vec![column("id", INT, false), column("c", INT, true)];
    for (changes, expected) in [
        (Evolve, Ok("id<id c<c")),
        (Lenient, Ok("id<id c<c")),
        (Ignore, Ok("id<id (a) (b)")),
        (Fail, Err("schema_change_refused")),
    ] {
        let layout = created(before()).read_anew(&table(now.clone()), rules(Mode::Mirror, changes));
        let shown = layout.map(|(layout, _)| shown(&layout, &now)).map_err(|error| error.code());
        assert_eq!(shown, expected.map(str::to_owned), "{changes:?}");
    }
}
