//! From what a statement says to a definition: types under their character set, what is implied, hidden columns.
//!
//! Sources: MySQL manual, "Silent Column Specification Changes", "The BLOB and TEXT Types", "Automatic Initialization and
//! Updating for TIMESTAMP and DATETIME"; MariaDB's, "System-Versioned Tables"; `mysql_prepare_create_table` of both.

use super::charset::character_width;
use super::{ApplyError, ColumnSpec, Context, DefaultSpec, KeyKind, KeyPart, KeySpec, TableOptions, default, indexes};
use crate::model::{
    Charset, ColumnDef, ColumnKind, DefaultValue, Flavour, Generated, GeometryKind, TableDef, UniqueKey, same_name,
};
use std::sync::Arc;
use tidewire_core::TableName;

/// Bytes of the longest `VARCHAR` and `VARBINARY`; beyond, the server makes a text of it where `sql_mode` is not strict.
const VARCHAR_BYTES: u64 = 65_535;

/// Bytes of a key in InnoDB; MariaDB makes a unique key beyond out of a hash.
const KEY_BYTES: u64 = 3072;

/// The same in MyISAM.
const MYISAM_KEY_BYTES: u64 = 1000;

/// Begins the name of the hidden column that holds the hash of such a key.
const HASH: &str = "DB_ROW_HASH_";

/// What the definition depends on besides the statement.
#[derive(Clone, Copy)]
pub(super) struct Rules<'a> {
    pub(super) context: &'a Context<'a>,
    /// `explicit_defaults_for_timestamp`.
    pub(super) explicit_timestamps: bool,
}

/// A table of columns and keys as said. `above` is the default character set of its database.
pub(super) fn table(
    name: &TableName,
    columns: &[ColumnSpec],
    keys: &[KeySpec],
    options: &TableOptions,
    above: &Charset,
    rules: Rules<'_>,
) -> Result<TableDef, ApplyError> {
    let charset = options.charset.resolve(above, rules.context);
    let mut table = TableDef {
        name: name.clone(),
        columns: Vec::with_capacity(columns.len()),
        primary_key: Vec::new(),
        unique_keys: Vec::new(),
        indexes: Vec::new(),
        charset,
        engine: if options.sequence { Some(Arc::from("SEQUENCE")) } else { options.engine.clone() },
        comment: options.comment.clone(),
        numbering: None,
    };
    for spec in columns {
        let built = column(spec, &table.charset, &table.name, rules)?;
        if table.position(&built.name).is_some() {
            return Err(ApplyError::ColumnExists { table: name.clone(), column: built.name });
        }
        table.columns.push(built);
    }
    for spec in columns.iter().flat_map(|column| column_keys(column, rules)).chain(keys.iter().cloned()) {
        add_key(&mut table, &spec)?;
    }
    let is_versioned = options.versioned || columns.iter().any(|column| column.versioned);
    if is_versioned && !columns.iter().any(|column| column.row_time) {
        table.columns.extend(row_times());
    }
    finish(&mut table, keys.iter(), rules);
    Ok(table)
}

/// Adds a key to a table.
pub(super) fn add_key(table: &mut TableDef, spec: &KeySpec) -> Result<(), ApplyError> {
    indexes::add(table, spec).map_err(|column| ApplyError::ColumnMissing { table: table.name.clone(), column })
}

/// The keys that are said at a column.
pub(super) fn column_keys(spec: &ColumnSpec, rules: Rules<'_>) -> Vec<KeySpec> {
    let key = |kind| KeySpec {
        kind,
        name: None,
        parts: vec![KeyPart::Column { name: Arc::clone(&spec.name), prefix: None }],
        hash: false,
        if_not_exists: false,
        or_replace: false,
    };
    // To MariaDB `UNIQUE PRIMARY KEY` at a column is one key.
    let unique = spec.unique && !(spec.primary && rules.context.flavour == Flavour::MariaDb);
    let said = [(spec.primary, KeyKind::Primary), (unique, KeyKind::Unique), (spec.references, KeyKind::Foreign)];
    said.into_iter().filter(|(said, _)| *said).map(|(_, kind)| key(kind)).collect()
}

/// What a table is by all its columns and keys together: columns of the primary key are not null, hashes are hidden columns.
/// `made` are the keys that the statement makes: one that is made with `USING HASH` has a hash until the next statement.
pub(super) fn finish<'a>(table: &mut TableDef, made: impl Iterator<Item = &'a KeySpec>, rules: Rules<'_>) {
    if !rules.explicit_timestamps {
        timestamp_defaults(table, true);
    }
    let primary = table.primary_key.clone();
    for name in &primary {
        if let Some(column) = table.position(name).and_then(|at| table.columns.get_mut(at)) {
            column.nullable = false;
            if column.default == Some(DefaultValue::Null) {
                column.default = None;
            }
        }
    }
    if !rules.explicit_timestamps {
        timestamp_defaults(table, false);
    }
    if rules.context.flavour == Flavour::MariaDb {
        hash_columns(table, made);
    }
}

/// Without `explicit_defaults_for_timestamp` the first timestamp has the present time as default, others the zero date; and
/// so has the first if it is the primary key that made it not null.
fn timestamp_defaults(table: &mut TableDef, promote: bool) {
    let timestamps = table.columns.iter_mut().filter(|column| matches!(column.kind, ColumnKind::Timestamp { .. }));
    for (index, column) in timestamps.enumerate() {
        let ColumnKind::Timestamp { fsp } = column.kind else { continue };
        if column.nullable || column.default.is_some() || column.generated != Generated::No {
            continue;
        }
        let now = DefaultSpec::Now(Some(fsp).filter(|fsp| *fsp != 0));
        let value = if index == 0 && promote { now } else { zero_date() };
        column.default = Some(default::value(&value, column));
    }
}

fn zero_date() -> DefaultSpec {
    DefaultSpec::Text(Arc::from("0000-00-00 00:00:00"))
}

/// MariaDB keeps a hash of a unique key over a text without prefix, or over more bytes than a key has, in a hidden last
/// column, which is in the log's rows. The memory engine has real hash indexes, Aria refuses what is too long.
fn hash_columns<'a>(table: &mut TableDef, made: impl Iterator<Item = &'a KeySpec>) {
    table.columns.retain(|column| !is_hash(column));
    let limit = match table.engine.as_deref().map(str::to_ascii_lowercase).as_deref() {
        Some("memory" | "heap") => return,
        Some("aria") => u64::MAX,
        Some("myisam") => MYISAM_KEY_BYTES,
        _ => KEY_BYTES,
    };
    let needs = |key: &&UniqueKey| {
        let columns =
            || key.columns.iter().filter_map(|name| table.position(name)).filter_map(|at| table.columns.get(at));
        let long = columns().any(|column| matches!(column.kind, ColumnKind::Text { .. } | ColumnKind::Blob { .. }));
        let spatial = columns().any(|column| match column.kind {
            ColumnKind::Geometry { subtype } => subtype != GeometryKind::Point,
            _ => false,
        });
        let bytes = columns().map(key_bytes).fold(0_u64, u64::saturating_add);
        spatial || (key.whole && (long || bytes > limit))
    };
    // The newest of that name: a statement may drop a key and make it anew.
    let said = made.filter(|key| key.hash && key.kind == KeyKind::Unique).filter(|made| {
        let parts = made.parts.iter().map(|part| match part {
            KeyPart::Column { name, .. } => name.as_ref(),
            KeyPart::Expression => "",
        });
        let is_made = |key: &&UniqueKey| {
            made.name.as_ref().is_none_or(|name| same_name(name, &key.name))
                && key.columns.len() == made.parts.len()
                && key.columns.iter().zip(parts.clone()).all(|(a, b)| same_name(a, b))
        };
        table.unique_keys.iter().rev().find(is_made).is_some_and(|key| !needs(&key))
    });
    let number = table.unique_keys.iter().filter(needs).count() + said.count();
    for number in 1..=number {
        let mut column = ColumnDef::new(format!("{HASH}{number}"), ColumnKind::BigInt);
        column.unsigned = true;
        column.invisible = true;
        column.generated = Generated::Virtual;
        table.columns.push(column);
    }
}

/// Bytes of a text in a key; numbers and dates do not come near the limit.
fn key_bytes(column: &ColumnDef) -> u64 {
    let width = column.charset.as_ref().and_then(|charset| character_width(&charset.name)).unwrap_or(1);
    match column.kind {
        ColumnKind::Char { length } | ColumnKind::VarChar { length } => u64::from(length).saturating_mul(width),
        ColumnKind::Binary { length } | ColumnKind::VarBinary { length } => u64::from(length),
        _ => 8,
    }
}

fn is_hash(column: &ColumnDef) -> bool {
    column.invisible && column.name.starts_with(HASH)
}

/// Whether a column is one that MariaDB hides and keeps last: of a hash, or of implied system versioning.
pub(super) fn is_hidden(column: &ColumnDef) -> bool {
    is_hash(column) || is_row_time(column)
}

/// Whether a column is `row_start` or `row_end` of implied system versioning.
pub(super) fn is_row_time(column: &ColumnDef) -> bool {
    column.invisible
        && column.generated == Generated::RowTime
        && column.kind == ColumnKind::Timestamp { fsp: 6 }
        && matches!(&*column.name, "row_start" | "row_end")
}

/// The hidden columns of a table with system versioning that names none. They are in the log's rows, though in no catalog.
pub(super) fn row_times() -> Vec<ColumnDef> {
    let column = |name| {
        let mut column = ColumnDef::new(name, ColumnKind::Timestamp { fsp: 6 });
        column.nullable = false;
        column.invisible = true;
        column.generated = Generated::RowTime;
        column
    };
    ["row_start", "row_end"].map(column).into()
}

/// A column as the server makes it.
pub(super) fn column(
    spec: &ColumnSpec,
    table: &Charset,
    name: &TableName,
    rules: Rules<'_>,
) -> Result<ColumnDef, ApplyError> {
    let said = &spec.data_type;
    // To MariaDB `TEXT(0)` is `TEXT`, to MySQL the smallest.
    let declared = said.declared.filter(|length| *length != 0 || rules.context.flavour == Flavour::MySql);
    let mut column = ColumnDef::new(Arc::clone(&spec.name), said.kind.clone());
    if is_text(&said.kind) {
        let charset = said.charset.resolve(table, rules.context);
        settle_text(&mut column, charset, declared, name)?;
    } else {
        settle_bytes(&mut column.kind, declared);
    }
    column.unsigned = said.unsigned;
    column.zerofill = said.zerofill;
    column.width = said.width.or_else(|| if said.zerofill { zerofill_width(&said.kind) } else { None });
    column.auto_increment = spec.auto_increment;
    column.generated = if spec.row_time { Generated::RowTime } else { spec.generated };
    column.invisible = spec.invisible;
    column.compressed = spec.compressed;
    column.srid = spec.srid;
    column.comment = spec.comment.clone();
    let implied = !is_implied_timestamp(spec, rules) && !spec.auto_increment && !spec.row_time;
    column.nullable = spec.nullable.unwrap_or(implied) && !spec.row_time && !spec.primary && !spec.auto_increment;
    let is_computed = column.generated != Generated::No;
    column.default = match &spec.default {
        Some(said) => {
            Some(default::value(said, &column)).filter(|value| column.nullable || *value != DefaultValue::Null)
        }
        None if column.nullable && !is_computed => Some(DefaultValue::Null),
        None if spec.on_update && !rules.explicit_timestamps && matches!(column.kind, ColumnKind::Timestamp { .. }) => {
            Some(default::value(&zero_date(), &column))
        }
        None => None,
    };
    Ok(column)
}

fn is_implied_timestamp(spec: &ColumnSpec, rules: Rules<'_>) -> bool {
    matches!(spec.data_type.kind, ColumnKind::Timestamp { .. })
        && !rules.explicit_timestamps
        && spec.nullable.is_none()
        && spec.generated == Generated::No
        && spec.default != Some(DefaultSpec::Null)
}

/// Whether a type has a character set.
fn is_text(kind: &ColumnKind) -> bool {
    matches!(
        kind,
        ColumnKind::Char { .. }
            | ColumnKind::VarChar { .. }
            | ColumnKind::Text { .. }
            | ColumnKind::Enum { .. }
            | ColumnKind::Set { .. }
    )
}

/// What a character set makes of a text: bytes if it is `binary`, a width if a length in characters was said.
fn settle_text(
    column: &mut ColumnDef,
    charset: Charset,
    declared: Option<u64>,
    table: &TableName,
) -> Result<(), ApplyError> {
    if &*charset.name == "binary" {
        match column.kind {
            ColumnKind::Char { length } => column.kind = ColumnKind::Binary { length },
            ColumnKind::VarChar { length } => column.kind = ColumnKind::VarBinary { length },
            ColumnKind::Text { width } => column.kind = ColumnKind::Blob { width },
            _ => column.charset = Some(charset),
        }
        settle_bytes(&mut column.kind, declared);
        return Ok(());
    }
    let width = || {
        character_width(&charset.name)
            .ok_or_else(|| ApplyError::CharsetUnknown { table: table.clone(), charset: Arc::clone(&charset.name) })
    };
    match column.kind {
        ColumnKind::Text { .. } => {
            if let Some(declared) = declared {
                column.kind = ColumnKind::Text { width: blob_width(declared.saturating_mul(width()?)) };
            }
        }
        ColumnKind::VarChar { length } => {
            let bytes = u64::from(length).saturating_mul(width()?);
            if bytes > VARCHAR_BYTES {
                column.kind = ColumnKind::Text { width: blob_width(bytes) };
            }
        }
        _ => {}
    }
    column.charset = Some(charset);
    Ok(())
}

/// `BLOB(n)`, and what is too long for `VARBINARY`.
fn settle_bytes(kind: &mut ColumnKind, declared: Option<u64>) {
    match *kind {
        ColumnKind::Blob { .. } => {
            if let Some(declared) = declared {
                *kind = ColumnKind::Blob { width: blob_width(declared) };
            }
        }
        ColumnKind::VarBinary { length } if u64::from(length) > VARCHAR_BYTES => {
            *kind = ColumnKind::Blob { width: blob_width(u64::from(length)) };
        }
        _ => {}
    }
}

/// Bytes of the length of the smallest blob that holds so many.
fn blob_width(bytes: u64) -> u8 {
    match bytes {
        0..=0xff => 1,
        0x100..=0xffff => 2,
        0x1_0000..=0xff_ffff => 3,
        _ => 4,
    }
}

/// `CONVERT TO CHARACTER SET` for a column: a text holds as many characters as before, in a wider type if it must.
pub(super) fn convert(column: &mut ColumnDef, to: &Charset, table: &TableName) -> Result<(), ApplyError> {
    let Some(from) = column.charset.take() else { return Ok(()) };
    if &*from.name == "binary" {
        column.charset = Some(from);
        return Ok(());
    }
    let declared = match (&column.kind, character_width(&from.name)) {
        (ColumnKind::Text { width }, Some(characters)) if from.name != to.name => {
            let bytes = 1_u64.checked_shl(u32::from(*width) * 8).map_or(u64::MAX, |beyond| beyond - 1);
            Some(bytes / characters)
        }
        _ => None,
    };
    settle_text(column, to.clone(), declared, table)
}

/// Digits that an integer is filled up to when no width was said.
fn zerofill_width(kind: &ColumnKind) -> Option<u32> {
    Some(match kind {
        ColumnKind::TinyInt => 3,
        ColumnKind::SmallInt => 5,
        ColumnKind::MediumInt => 8,
        ColumnKind::Int => 10,
        ColumnKind::BigInt => 20,
        _ => return None,
    })
}
