use super::*;
use crate::wire::pgoutput::RelationColumn;
use tidewire_core::{ColumnNumber, DataType};

fn facts(kind: TypeKind) -> TypeFacts {
    TypeFacts {
        name: "citext".to_owned(),
        built_in: true,
        kind,
        element: None,
        delimiter: b',',
        base: None,
        labels: Arc::from([]),
    }
}

/// Every type is built in, but 50,000 (an extension's) and 50,001 (its array).
fn described(relation: &RelationBody, table: Option<&TableFacts>) -> Described {
    described_after(relation, table, None)
}

fn described_after(relation: &RelationBody, table: Option<&TableFacts>, known: Option<&Described>) -> Described {
    let mut types = HashMap::new();
    for column in &relation.columns {
        types.insert(column.type_oid, facts(TypeKind::Base));
    }
    types.insert(50_000, TypeFacts { built_in: false, ..facts(TypeKind::Base) });
    types.insert(50_001, TypeFacts { element: Some(50_000), built_in: false, ..facts(TypeKind::Base) });
    let types = TypeCatalog::new(types);
    let mut names = TypeNames::default();
    for bare in bare_types(relation, &types) {
        let plain = format!("type{}", bare.oid);
        let full = if bare.modifier < 0 { plain.clone() } else { format!("{plain}({})", bare.modifier) };
        names.insert(&types, bare, &full, &plain);
    }
    describe(relation, table, known, &types, &names).unwrap()
}

fn column(name: &str, identity: bool, type_oid: u32) -> RelationColumn {
    RelationColumn { identity, name: name.to_owned(), type_oid, type_modifier: -1 }
}

fn relation(replica_identity: u8, columns: Vec<RelationColumn>) -> RelationBody {
    RelationBody { oid: 7, namespace: "public".to_owned(), name: "t".to_owned(), replica_identity, columns }
}

fn table(primary_key: &[&str], identity_index: &[&str]) -> TableFacts {
    let own = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    let columns = [("a", 1), ("b", 3), ("c", 4)].map(|(name, number)| TableFactsColumn {
        number,
        name: name.to_owned(),
        type_oid: 23,
        type_modifier: -1,
        not_null: name != "c",
        generated: false,
        default: (name == "b").then(|| "7".to_owned()),
        held: Held::Nothing,
    });
    TableFacts {
        primary_key: own(primary_key),
        identity_index: own(identity_index),
        columns: columns.into(),
        ..TableFacts::default()
    }
}

#[test]
fn pg_28_the_key_is_the_replica_identity_in_its_own_order() {
    let columns = |flags: [bool; 3]| {
        ["a", "b", "c"].iter().zip(flags).map(|(name, flag)| column(name, flag, 23)).collect::<Vec<_>>()
    };
    let both = [true, true, false];
    for (identity, flags, facts, key, kind, old_row) in [
        (b'd', both, Some(table(&["b", "a"], &[])), vec![1, 0], KeyKind::Primary, OldRow::Key),
        (b'd', [false; 3], Some(table(&[], &[])), vec![], KeyKind::None, OldRow::Nothing),
        (b'i', both, Some(table(&["c"], &["b", "a"])), vec![1, 0], KeyKind::UniqueIndex, OldRow::Key),
        (b'f', [true; 3], Some(table(&["b"], &[])), vec![1], KeyKind::Primary, OldRow::Full),
        (b'f', [true; 3], Some(table(&[], &[])), vec![], KeyKind::None, OldRow::Full),
        (b'n', [false; 3], Some(table(&["a"], &[])), vec![], KeyKind::None, OldRow::Nothing),
        // The table has gone, or its key has since been renamed or moved: the message alone decides.
        (b'd', both, None, vec![0, 1], KeyKind::Primary, OldRow::Key),
        (b'd', both, Some(table(&["x", "a"], &[])), vec![0, 1], KeyKind::Primary, OldRow::Key),
        (b'd', both, Some(table(&["c"], &[])), vec![0, 1], KeyKind::Primary, OldRow::Key),
        // PG-38: a column list without part of the key.
        (b'd', [true, false, false], Some(table(&["a", "x"], &[])), vec![], KeyKind::None, OldRow::Nothing),
    ] {
        let schema = described(&relation(identity, columns(flags)), facts.as_ref()).schema;
        assert_eq!(
            (schema.key.clone(), schema.key_kind, schema.old_row),
            (key, kind, old_row),
            "{}",
            char::from(identity)
        );
    }
}

#[test]
fn the_catalog_adds_only_what_still_matches() {
    let columns = vec![column("a", true, 23), column("b", false, 23), column("c", false, 25), column("d", false, 23)];
    let schema = described(&relation(b'd', columns), Some(&table(&["a"], &[]))).schema;
    let seen: Vec<(bool, Option<&str>)> =
        schema.columns.iter().map(|column| (column.nullable, column.default.as_deref())).collect();
    // `c` has another type by now and `d` is no more.
    assert_eq!(seen, [(false, None), (false, Some("7")), (true, None), (true, None)]);
    assert_eq!(schema.native_id, 7);
}

#[test]
fn columns_are_numbered_where_the_catalog_still_has_the_very_same() {
    let int = |name| column(name, false, 23);
    let generated = TableFactsColumn { generated: true, ..table(&[], &[]).columns[1].clone() };
    let [a, b, c] = [0, 1, 2].map(|at| table(&[], &[]).columns[at].clone());
    for (what, columns, facts, expect) in [
        ("as it is", vec![int("a"), int("b"), int("c")], vec![&a, &b, &c], vec![Some(1), Some(3), Some(4)]),
        ("renamed since, maybe", vec![int("a"), int("x")], vec![&a, &b], vec![None, None]),
        ("added since", vec![int("a"), int("b")], vec![&a, &b, &c], vec![None, None]),
        ("dropped since", vec![int("a"), int("b")], vec![&a], vec![None, None]),
        ("in another order", vec![int("b"), int("a")], vec![&a, &b], vec![None, None]),
        ("of another type", vec![int("a"), column("b", false, 20)], vec![&a, &b], vec![None, None]),
        ("a generated one is left out", vec![int("a"), int("c")], vec![&a, &generated, &c], vec![Some(1), Some(4)]),
        ("or published", vec![int("a"), int("b")], vec![&a, &generated], vec![Some(1), Some(3)]),
    ] {
        let facts = TableFacts { columns: facts.into_iter().cloned().collect(), ..table(&[], &[]) };
        let schema = described(&relation(b'n', columns.clone()), Some(&facts)).schema;
        assert_eq!(schema.columns.iter().map(|c| schema.catalog_number(c)).collect::<Vec<_>>(), expect, "{what}");
        // Only what does not agree is worth waiting for.
        let patience = facts.patience_for(&relation(b'n', columns.clone()));
        assert_eq!(!patience.is_zero(), expect.contains(&None), "{what}");
    }
    let gone = described(&relation(b'n', vec![int("a")]), None).schema;
    assert_eq!(gone.columns[0].number, None);
}

/// PG-48: `c` is the column that came last, with the number 4.
#[test]
fn older_rows_have_what_the_catalog_proves() {
    let int = |name| column(name, false, 23);
    let (without, with) = (relation(b'n', vec![int("a"), int("b")]), relation(b'n', ["a", "b", "c"].map(int).into()));
    let places = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let facts = |held: Held, at: &[&str]| {
        let mut facts = TableFacts { places: places(at), ..table(&[], &[]) };
        facts.columns[2].held = held;
        facts
    };
    let known = |at: &[&str]| {
        let columns = table(&[], &[]).columns[..2].to_vec();
        described(&without, Some(&TableFacts { columns, places: places(at), ..table(&[], &[]) }))
    };
    let missing = |facts: &TableFacts, known: Option<&Described>| {
        let schema = described_after(&with, Some(facts), known).schema;
        match &schema.columns[2].missing {
            Missing::Value(constant) => format!("{:?}", constant.value()),
            other => format!("{other:?}"),
        }
    };
    let five = || Held::Value("5".to_owned());
    let untouched = TableFacts { is_untouched: true, ..facts(Held::Nothing, &["7:7"]) };
    let of_partitions = known(&["8:8", "9:9"]);
    for (what, facts, known, expect) in [
        ("the catalog keeps the value", facts(five(), &["7:9"]), None, "Int(5)"),
        ("as it was known before", facts(five(), &["7:9"]), Some(known(&["7:7"])), "Int(5)"),
        ("partitions differ", facts(Held::Unclear, &["8:8", "9:9"]), Some(of_partitions.clone()), "Unknown"),
        ("not of the type", facts(Held::Value("x".to_owned()), &["7:7"]), None, "Unknown"),
        ("no row has ever been written anew", untouched, None, "Null"),
        ("some may have been, with any value", facts(Held::Nothing, &["7:9"]), None, "Unknown"),
        ("none since it came", facts(Held::Nothing, &["7:9"]), Some(known(&["7:9"])), "Null"),
        ("some since it came", facts(Held::Nothing, &["7:9"]), Some(known(&["7:7"])), "Unknown"),
        ("a partition more", facts(Held::Nothing, &["9:9", "6:6", "8:8"]), Some(of_partitions.clone()), "Null"),
        ("a partition written anew", facts(Held::Nothing, &["9:10", "8:8"]), Some(of_partitions), "Unknown"),
    ] {
        assert_eq!(missing(&facts, known.as_ref()), expect, "{what}");
        // A column that comes to a publication's list, or is computed, may have had values all along.
        let mut computed = facts.clone();
        computed.columns[2].generated = true;
        for doubtful in [TableFacts { is_listed: true, ..facts }, computed] {
            assert_eq!(missing(&doubtful, known.as_ref()), "Unknown", "{what}");
        }
    }
    // The log tells of columns that the catalog does not have any more.
    let described = described(&without, Some(&facts(five(), &["7:7"])));
    assert!(described.places.is_none() && described.schema.columns.iter().all(|c| c.missing == Missing::Unknown));
    // The column has been there under another name.
    let renamed = known(&["7:9"]);
    let mut schema = (*renamed.schema).clone();
    schema.columns[1].number = Some(ColumnNumber { within: schema.native_id, number: 4 });
    let renamed = Described { schema: Arc::new(schema), ..renamed };
    assert_eq!(missing(&facts(Held::Nothing, &["7:9"]), Some(&renamed)), "Unknown");
}

#[test]
fn types_of_extensions_go_by_their_own_name() {
    let schema = described(&relation(b'd', vec![column("a", true, 50_000), column("b", false, 50_001)]), None).schema;
    let natives: Vec<&str> = schema.columns.iter().map(|column| &*column.native_type).collect();
    assert_eq!(natives, ["citext", "citext[]"]);
    let element = DataType::Array { element: Box::new(DataType::Text), element_native: "citext".into() };
    assert_eq!(schema.columns[1].data_type, element);
}
