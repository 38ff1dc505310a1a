//! Puts a table's shape together: what its Relation message says, what the catalog adds, and how each column
//! is read. Pure, so that it can be tested without a server.

use super::older::Older;
use crate::typemap::resolve::{BareType, TypeCatalog, TypeFacts, TypeKind};
use crate::typemap::{ColumnDecoder, ValueError};
use crate::wire::pgoutput::{RelationBody, RelationColumn};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tidewire_core::schema::{KeyKind, OldRow};
use tidewire_core::{ColumnNumber, ColumnSchema, Error, Missing, Result, SchemaVersion, TableName, TableSchema};

/// A table that can be read: its shape, and a reader for each column.
#[derive(Clone, Debug)]
pub(crate) struct Described {
    /// The shape. Its version is that of a table seen for the first time; the assembler counts on from there.
    pub(crate) schema: Arc<TableSchema>,
    /// One reader per column.
    pub(crate) decoders: Vec<ColumnDecoder>,
    /// Whether each column is part of the replica identity, as the Relation message flags it.
    pub(crate) identity: Vec<bool>,
    /// Where the server kept the rows when it had the very columns of the shape; `None` where that is not certain.
    pub(crate) places: Option<Arc<[String]>>,
}

impl Described {
    /// Whether columns of it are missing in what it has become.
    pub(crate) fn has_lost(&self, now: &Described) -> bool {
        let is_there = |name: &str| now.schema.columns.iter().any(|column| &*column.name == name);
        self.schema.columns.iter().any(|column| !is_there(&column.name))
    }

    /// The error of a value that cannot be read, with its table and column; never with the value.
    pub(crate) fn unreadable(&self, column: usize, cause: ValueError) -> Error {
        let table = &self.schema.name;
        let column = self.schema.columns.get(column).map_or("?", |column| &column.name);
        let (code, remedy) = match cause {
            ValueError::NotUtf8 => (
                "invalid_utf8",
                format!(
                    "correct the bytes of column `{column}` on the server, or leave table `{table}` out of `tables`"
                ),
            ),
            ValueError::Malformed(_) => (
                "value_unreadable",
                format!("leave table `{table}` out of `tables`, and report the type of `{column}`"),
            ),
            ValueError::TooLarge => ("value_too_large", format!("leave table `{table}` out of `tables`")),
        };
        Error::operator(code, format!("read column `{column}` of table `{table}`"))
            .with_remedy(remedy)
            .with_table(table.clone())
            .with_cause(cause)
    }
}

/// What the catalog holds about a table now.
#[derive(Clone, Debug, Default)]
pub(super) struct TableFacts {
    /// Schema.
    pub(super) namespace: String,
    /// Name.
    pub(super) name: String,
    /// `relreplident`.
    pub(super) replica_identity: u8,
    /// Columns of the primary key in its order; empty without one, or when it is deferrable.
    pub(super) primary_key: Vec<String>,
    /// Columns of the index that `REPLICA IDENTITY USING INDEX` names, in its order.
    pub(super) identity_index: Vec<String>,
    /// Columns.
    pub(super) columns: Vec<TableFactsColumn>,
    /// The files of the table, or of its partitions, each as `oid:relfilenode`: writing rows anew gives them another.
    pub(super) places: Vec<String>,
    /// Whether they are the files that the tables were created with.
    pub(super) is_untouched: bool,
    /// Whether a publication has a list of its columns: one that comes to the list need not be new.
    pub(super) is_listed: bool,
}

/// A row of `pg_attribute`.
#[derive(Clone, Debug, Default)]
pub(super) struct TableFactsColumn {
    /// `attnum`.
    pub(super) number: u32,
    pub(super) name: String,
    pub(super) type_oid: u32,
    pub(super) type_modifier: i32,
    pub(super) not_null: bool,
    pub(super) generated: bool,
    pub(super) default: Option<String>,
    pub(super) held: Held,
}

/// What the catalog says of rows that were written before the column: `atthasmissing`, `attmissingval`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Held {
    /// Nothing: the column has been there from the beginning, it was added with null, or the rows have been written anew.
    #[default]
    Nothing,
    /// They have the value of this text.
    Value(String),
    /// They have values that are not all the same, or one that cannot be read.
    Unclear,
}

impl TableFactsColumn {
    fn is_same(&self, column: &RelationColumn) -> bool {
        self.name == column.name && self.type_oid == column.type_oid && self.type_modifier == column.type_modifier
    }
}

impl TableFacts {
    /// Whether a Relation message would flag the column, see `logicalrep_write_attrs` of the server.
    pub(super) fn identifies(&self, column: &str) -> bool {
        match self.replica_identity {
            b'f' => true,
            b'i' => self.identity_index.iter().any(|name| name == column),
            b'd' => self.primary_key.iter().any(|name| name == column),
            _ => false,
        }
    }

    /// How long it is worth to wait until the catalog may have the columns of a message: longer when it lacks one of them, a
    /// moment when it has others beside them, as it always does for a publication with a column list.
    pub(super) fn patience_for(&self, relation: &RelationBody) -> Duration {
        let has = |column: &RelationColumn| self.columns.iter().any(|fact| fact.is_same(column));
        match (self.is_of(relation), relation.columns.iter().all(has)) {
            (true, _) => Duration::ZERO,
            (false, true) => Duration::from_millis(50),
            (false, false) => Duration::from_millis(250),
        }
    }

    /// Whether the catalog still has the very columns of a Relation message, as far as they are published. It shows the table as
    /// it is now and the message is from the log: where they differ, a name may stand for two columns.
    pub(super) fn is_of(&self, relation: &RelationBody) -> bool {
        let agree = |with_generated: bool| {
            let facts = || self.columns.iter().filter(|fact| with_generated || !fact.generated);
            facts().count() == relation.columns.len()
                && facts().zip(&relation.columns).all(|(fact, column)| fact.is_same(column))
        };
        agree(false) || agree(true)
    }
}

/// Names of types as the server prints them.
#[derive(Debug, Default)]
pub(crate) struct TypeNames(HashMap<BareType, Arc<str>>);

impl TypeNames {
    /// Adds a type. `full` is its name with the modifier, `plain` without. A base type that an extension
    /// brought goes by its own name: which schema it was installed in says nothing about its values.
    pub(super) fn insert(&mut self, types: &TypeCatalog, bare: BareType, full: &str, plain: &str) {
        let facts = types.facts(bare.oid).filter(|facts| facts.kind == TypeKind::Base && !facts.built_in);
        let name = match (facts, full.strip_prefix(plain)) {
            (Some(facts), Some(modifier)) if facts.element.is_none() => format!("{}{modifier}", facts.name).into(),
            _ => Arc::from(full),
        };
        self.0.insert(bare, name);
    }

    fn get(&self, bare: BareType) -> Option<Arc<str>> {
        self.0.get(&bare).cloned()
    }
}

/// The types whose names a table needs: those of its columns below domains, and of their elements.
pub(super) fn bare_types(relation: &RelationBody, types: &TypeCatalog) -> Vec<BareType> {
    let mut wanted = Vec::new();
    for column in &relation.columns {
        let bare = types.bare(column.type_oid, column.type_modifier);
        let element = bare.and_then(|bare| types.element(bare));
        wanted.extend(bare);
        wanted.extend(element);
    }
    wanted.sort_unstable_by_key(|bare| (bare.oid, bare.modifier));
    wanted.dedup();
    wanted
}

/// Puts the shape together.
pub(super) fn describe(
    relation: &RelationBody,
    facts: Option<&TableFacts>,
    known: Option<&Described>,
    types: &TypeCatalog,
    names: &TypeNames,
) -> Result<Described> {
    let name = TableName::new(relation.namespace.as_str(), relation.name.as_str());
    let mut columns = Vec::with_capacity(relation.columns.len());
    let mut decoders = Vec::with_capacity(relation.columns.len());
    let are_numbered = facts.is_some_and(|facts| facts.is_of(relation));
    let older = facts.filter(|_| are_numbered).and_then(|facts| Older::of(facts, known));
    for column in &relation.columns {
        let unknown = || {
            let message = format!(
                "column `{}` of table `{name}` has type oid `{}`, which no longer exists",
                column.name, column.type_oid
            );
            Error::operator("type_missing", message)
                .with_remedy("give its sinks new names (and a Delta sink a new location), which reads the tables anew")
                .with_table(name.clone())
        };
        let bare = types.bare(column.type_oid, column.type_modifier).ok_or_else(unknown)?;
        let (data_type, decoder) = types.resolve(bare, |bare| names.get(bare)).ok_or_else(unknown)?;
        let native_type = native(bare, types, names).ok_or_else(unknown)?;
        let fact = facts.and_then(|facts| {
            facts.columns.iter().find(|fact| {
                fact.name == column.name
                    && fact.type_oid == column.type_oid
                    && fact.type_modifier == column.type_modifier
            })
        });
        columns.push(ColumnSchema {
            name: column.name.as_str().into(),
            data_type,
            native_type,
            nullable: fact.is_none_or(|fact| !fact.not_null),
            default: fact.and_then(|fact| fact.default.as_deref()).map(Arc::from),
            missing: older.zip(fact).map_or(Missing::Unknown, |(older, fact)| older.missing(fact, &decoder)),
            number: fact
                .filter(|_| are_numbered)
                .map(|fact| ColumnNumber { within: u64::from(relation.oid), number: fact.number }),
        });
        decoders.push(decoder);
    }
    let identity: Vec<bool> = relation.columns.iter().map(|column| column.identity).collect();
    let (key, key_kind, old_row) = key(relation, facts);
    let schema = TableSchema {
        name,
        version: SchemaVersion(1),
        native_id: u64::from(relation.oid),
        columns,
        key,
        key_kind,
        old_row,
    };
    let places = older.map(|older| older.places());
    Ok(Described { schema: Arc::new(schema), decoders, identity, places })
}

/// The name of a column's type; an array's is its element's with brackets.
fn native(bare: BareType, types: &TypeCatalog, names: &TypeNames) -> Option<Arc<str>> {
    match types.element(bare) {
        Some(element) => names.get(element).map(|name| format!("{name}[]").into()),
        None => names.get(bare),
    }
}

/// The key by PG-28: the replica identity, and with a full identity the primary key. Which columns are in it
/// is the message's word; the catalog gives their order.
fn key(relation: &RelationBody, facts: Option<&TableFacts>) -> (Vec<usize>, KeyKind, OldRow) {
    let place = |name: &String| relation.columns.iter().position(|column| column.name == *name);
    let primary = facts.map_or(&[][..], |facts| &facts.primary_key);
    let whole = |names: &[String]| {
        let places: Option<Vec<usize>> = names.iter().map(place).collect();
        places.filter(|places| !places.is_empty())
    };
    let flagged: Vec<usize> =
        relation.columns.iter().enumerate().filter(|(_, column)| column.identity).map(|(index, _)| index).collect();
    // A column list may leave out part of the key: what is left does not tell rows apart.
    let ordered = |names: &[String]| match whole(names) {
        Some(places) if places.len() == flagged.len() && places.iter().all(|place| flagged.contains(place)) => places,
        None if flagged.len() < names.len() => Vec::new(),
        _ => flagged.clone(),
    };
    let keyed = |places: Vec<usize>, kind| match places.is_empty() {
        true => (places, KeyKind::None, OldRow::Nothing),
        false => (places, kind, OldRow::Key),
    };
    match relation.replica_identity {
        b'f' => match whole(primary) {
            Some(places) => (places, KeyKind::Primary, OldRow::Full),
            None => (Vec::new(), KeyKind::None, OldRow::Full),
        },
        b'i' => keyed(ordered(facts.map_or(&[][..], |facts| &facts.identity_index)), KeyKind::UniqueIndex),
        b'd' => keyed(ordered(primary), KeyKind::Primary),
        _ => (Vec::new(), KeyKind::None, OldRow::Nothing),
    }
}

/// Arrays of built-in types that are known without a server, with their elements.
const ARRAYS: [(u32, u32); 4] = [(1007, 23), (1009, 25), (1115, 1114), (1231, 1700)];

/// Describes a table of built-in types by its message alone.
pub(super) fn without_server(relation: &RelationBody) -> Described {
    let mut types = HashMap::new();
    let names = relation.columns.iter().map(|column| column.type_oid);
    for oid in names.chain(ARRAYS.map(|(_, element)| element)) {
        let element = ARRAYS.iter().find(|(array, _)| *array == oid).map(|(_, element)| *element);
        types.insert(oid, TypeFacts::built_in(element));
    }
    let types = TypeCatalog::new(types);
    let mut names = TypeNames::default();
    for bare in bare_types(relation, &types) {
        names.insert(&types, bare, &bare.oid.to_string(), "");
    }
    describe(relation, None, None, &types, &names).unwrap_or_else(|_| Described {
        schema: Arc::new(empty(relation)),
        decoders: Vec::new(),
        identity: Vec::new(),
        places: None,
    })
}

fn empty(relation: &RelationBody) -> TableSchema {
    TableSchema {
        name: TableName::new(relation.namespace.as_str(), relation.name.as_str()),
        version: SchemaVersion(1),
        native_id: u64::from(relation.oid),
        columns: Vec::new(),
        key: Vec::new(),
        key_kind: KeyKind::None,
        old_row: OldRow::Nothing,
    }
}

#[cfg(test)]
mod tests;
