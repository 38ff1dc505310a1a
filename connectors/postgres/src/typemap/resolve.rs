//! From a type of the server's catalog to the neutral type and the reader of its text. Built-in types are
//! known by their fixed oids, all others by what `pg_type` says of them; a type that nobody knows is exact
//! text under its own name.

use super::binary::Form;
use super::{ColumnDecoder, Kind};
use std::collections::HashMap;
use std::sync::Arc;
use tidewire_core::DataType;
use tidewire_core::cell::Tag;

/// `pg_type.typtype`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TypeKind {
    /// `b`, and `p`, which no column has.
    Base,
    /// `c`.
    Composite,
    /// `d`.
    Domain,
    /// `e`.
    Enum,
    /// `r` and `m`.
    Range,
}

impl TypeKind {
    /// From `typtype`.
    pub(crate) fn from_letter(letter: &str) -> TypeKind {
        match letter {
            "c" => TypeKind::Composite,
            "d" => TypeKind::Domain,
            "e" => TypeKind::Enum,
            "r" | "m" => TypeKind::Range,
            _ => TypeKind::Base,
        }
    }
}

/// A row of `pg_type`.
#[derive(Clone, Debug)]
pub(crate) struct TypeFacts {
    /// Its name, without its schema.
    pub(crate) name: String,
    /// Whether it lies in `pg_catalog`.
    pub(crate) built_in: bool,
    /// What sort of type it is.
    pub(crate) kind: TypeKind,
    /// Type of the elements, when it is an array.
    pub(crate) element: Option<u32>,
    /// What stands between elements of this type in an array.
    pub(crate) delimiter: u8,
    /// Type and modifier below a domain.
    pub(crate) base: Option<(u32, i32)>,
    /// Labels of an enum, in its order.
    pub(crate) labels: Arc<[Arc<str>]>,
}

impl TypeFacts {
    /// A built-in base type, or an array of one.
    pub(crate) fn built_in(element: Option<u32>) -> TypeFacts {
        TypeFacts {
            name: String::new(),
            built_in: true,
            kind: TypeKind::Base,
            element,
            delimiter: b',',
            base: None,
            labels: Arc::from([]),
        }
    }
}

/// The types that a table's columns need, with those below and inside them.
#[derive(Clone, Debug, Default)]
pub(crate) struct TypeCatalog {
    types: HashMap<u32, TypeFacts>,
}

/// A type below its domains.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct BareType {
    /// Oid, of no domain.
    pub(crate) oid: u32,
    /// Modifier, -1 for none.
    pub(crate) modifier: i32,
}

/// How deep domains may lie over each other.
const DOMAIN_DEPTH_MAX: usize = 32;

impl TypeCatalog {
    /// From the rows.
    pub(crate) fn new(types: HashMap<u32, TypeFacts>) -> TypeCatalog {
        TypeCatalog { types }
    }

    /// Facts about one type.
    pub(crate) fn facts(&self, oid: u32) -> Option<&TypeFacts> {
        self.types.get(&oid)
    }

    /// The type below the domains of a column's type. `None` when the catalog does not hold it.
    pub(crate) fn bare(&self, oid: u32, modifier: i32) -> Option<BareType> {
        let mut bare = BareType { oid, modifier };
        for _ in 0..DOMAIN_DEPTH_MAX {
            let facts = self.facts(bare.oid)?;
            if facts.kind != TypeKind::Domain {
                return Some(bare);
            }
            let (oid, modifier) = facts.base?;
            bare = BareType { oid, modifier };
        }
        None
    }

    /// The element type below the domains, when the type is an array.
    pub(crate) fn element(&self, bare: BareType) -> Option<BareType> {
        self.bare(self.facts(bare.oid)?.element?, bare.modifier)
    }

    /// Neutral type and reader. `native` names a type as the server prints it.
    pub(crate) fn resolve(
        &self,
        bare: BareType,
        native: impl Fn(BareType) -> Option<Arc<str>>,
    ) -> Option<(DataType, ColumnDecoder)> {
        let Some(element) = self.facts(bare.oid)?.element else {
            let (data_type, kind) = self.scalar(bare)?;
            return Some((data_type, ColumnDecoder { kind, binary: self.binary(bare) }));
        };
        let element = self.bare(element, bare.modifier)?;
        let element_facts = self.facts(element.oid)?;
        // An array of a domain over an array: the elements stay text.
        let (element_type, kind) = match element_facts.element {
            Some(_) => (DataType::Other, Kind::Plain(Tag::Other)),
            None => self.scalar(element)?,
        };
        let data_type = DataType::Array { element: Box::new(element_type), element_native: native(element)? };
        let delimiter = element_facts.delimiter;
        let kind = Kind::Array { element: Box::new(kind), delimiter };
        Some((data_type, ColumnDecoder { kind, binary: None }))
    }

    /// The form of an enum is its label.
    fn binary(&self, bare: BareType) -> Option<Form> {
        Form::of_built_in(bare.oid)
            .or_else(|| (self.facts(bare.oid)?.kind == TypeKind::Enum).then_some(Form::Text(Tag::Enum)))
    }

    fn scalar(&self, bare: BareType) -> Option<(DataType, Kind)> {
        if let Some(found) = built_in(bare) {
            return Some(found);
        }
        let facts = self.facts(bare.oid)?;
        Some(match facts.kind {
            TypeKind::Enum => (DataType::Enum { labels: Arc::clone(&facts.labels) }, Kind::Plain(Tag::Enum)),
            TypeKind::Range => (DataType::Range, Kind::Plain(Tag::Range)),
            TypeKind::Composite => (DataType::Composite, Kind::Plain(Tag::Composite)),
            TypeKind::Base if facts.name == "citext" => (DataType::Text, Kind::Plain(Tag::Text)),
            TypeKind::Base | TypeKind::Domain => (DataType::Other, Kind::Plain(Tag::Other)),
        })
    }
}

fn int(bits: u8) -> (DataType, Kind) {
    let max = i64::MAX >> (64 - u32::from(bits));
    (DataType::Int { bits }, Kind::Int { min: -max - 1, max })
}

fn uint(bits: u8) -> (DataType, Kind) {
    (DataType::UInt { bits }, Kind::UInt { max: u64::MAX >> (64 - u32::from(bits)) })
}

/// Digits of a second's fraction that a modifier states; six without one.
fn precision(modifier: i32) -> u8 {
    u8::try_from(modifier).map_or(6, |digits| digits.min(6))
}

/// `make_numeric_typmod` of the server: precision above, eleven bits of signed scale below, four added.
fn decimal(modifier: i32) -> DataType {
    let packed = modifier.wrapping_sub(4);
    if modifier < 4 {
        return DataType::Decimal { precision: None, scale: None };
    }
    let scale = ((packed & 0x7ff) ^ 0x400) - 0x400;
    DataType::Decimal { precision: Some((packed >> 16) as u32 & 0xffff), scale: Some(scale) }
}

/// Types with fixed oids, see `pg_type.dat` of the server.
fn built_in(bare: BareType) -> Option<(DataType, Kind)> {
    let BareType { oid, modifier } = bare;
    let text = (DataType::Text, Kind::Plain(Tag::Text));
    let other = (DataType::Other, Kind::Plain(Tag::Other));
    let length = u32::try_from(modifier).ok();
    Some(match oid {
        16 => (DataType::Bool, Kind::Bool),
        17 => (DataType::Bytes, Kind::Bytea),
        // "char", name, text, xml, bpchar, varchar.
        18 | 19 | 25 | 142 | 1042 | 1043 => text,
        20 => int(64),
        21 => int(16),
        23 => int(32),
        // oid, xid, cid.
        26 | 28 | 29 => uint(32),
        // xid8.
        5069 => uint(64),
        114 | 3802 => (DataType::Json, Kind::Plain(Tag::Json)),
        700 => (DataType::Float32, Kind::Float32),
        701 => (DataType::Float64, Kind::Float64),
        790 => (DataType::Decimal { precision: None, scale: Some(2) }, Kind::Money),
        // cidr, macaddr8, macaddr, inet.
        650 | 774 | 829 | 869 => other,
        1082 => (DataType::Date, Kind::Date),
        1083 => (DataType::Time { precision: precision(modifier) }, Kind::Time),
        1114 => (DataType::Timestamp { precision: precision(modifier) }, Kind::Timestamp),
        1184 => (DataType::TimestampTz { precision: precision(modifier) }, Kind::TimestampTz),
        1186 => (DataType::Interval, Kind::Interval),
        1266 => (DataType::TimeTz { precision: precision(modifier) }, Kind::TimeTz),
        1560 => (DataType::Bits { length, varying: false }, Kind::Bits),
        1562 => (DataType::Bits { length, varying: true }, Kind::Bits),
        1700 => (decimal(modifier), Kind::Decimal),
        2950 => (DataType::Uuid, Kind::Uuid),
        _ => return None,
    })
}
