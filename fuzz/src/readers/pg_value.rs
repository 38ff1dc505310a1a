//! SEC-62, SEC-63: the text of a value; the first byte picks its type. Nothing may panic.

use tidewire_postgres::probe::value;

/// Built-in types, see `pg_type.dat` of the server; the last four are arrays.
const TYPES: [u32; 24] = [
    16, 17, 20, 21, 23, 25, 26, 114, 700, 701, 790, 1082, 1083, 1114, 1184, 1186, 1266, 1560, 1700, 2950, 1007, 1009,
    1115, 1231,
];

/// Whether it is a value of the type.
pub(crate) fn read(data: &[u8]) -> bool {
    let Some((pick, text)) = data.split_first() else { return false };
    TYPES.get(usize::from(*pick) % TYPES.len()).is_some_and(|type_oid| value(*type_oid, text))
}
