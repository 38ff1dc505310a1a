//! Tables that were made anew, and an operator who accepted it.

use super::leaves::{described, insert, told};
use super::*;
use crate::wire::pgoutput::Message;

/// Where transactions of the recording begin and end.
const TRANSACTIONS: [(usize, usize); 2] = [(0, 5), (6, 10)];

/// What comes of two transactions with rows of tables that all have the same name; `today` is the oid of the one that has it
/// when the source is opened.
fn run(rows: [&[u32]; 2], today: u32, accepted_until: u64) -> Result<Vec<String>> {
    let mut assembler = assembler(&[], 100);
    assembler.accept_until(Lsn(accepted_until));
    let Message::Relation(body) = pgoutput::parse(&told(today, "t", b'd', &[0])).unwrap() else { unreachable!() };
    assembler.define(described(&body))?;
    let messages = recorded();
    for ((begin, commit), rows) in TRANSACTIONS.into_iter().zip(rows) {
        let rows = rows.iter().flat_map(|oid| [told(*oid, "t", b'd', &[0]), insert(*oid)]);
        for message in [messages[begin].1.clone()].into_iter().chain(rows).chain([messages[commit].1.clone()]) {
            while let Applied::NeedsCatalog(relation) = assembler.apply(1, &message)? {
                assembler.define(described(&relation))?;
            }
        }
    }
    Ok(shown(&[assembler.finish(0)]))
}

/// Up to the place that was accepted a name may stand for any table, and afterwards for that of today; each change of the
/// table is one of the schema, with a version of its own.
#[test]
fn pg_49_a_table_made_anew_is_taken_where_the_operator_accepted_it() {
    let code = |rows, accepted_until| run(rows, 2, accepted_until).err().map(|error| error.code());
    // Between the two commits.
    let between = 0x1DE_5EA9;
    for (rows, accepted_until, expected) in [
        ([&[2][..], &[2][..]], 0, None),
        ([&[1, 2], &[2]], 0, Some("table_recreated")),
        ([&[1, 2], &[2]], between, None),
        ([&[1], &[2]], between, None),
        ([&[1, 3, 2], &[2]], between, None),
        ([&[2], &[3]], between, Some("table_recreated")),
        ([&[1], &[1, 3]], between, Some("table_recreated")),
        ([&[1], &[3, 2]], between + 0x1000, None),
    ] {
        assert_eq!(code(rows, accepted_until), expected, "{rows:?} {accepted_until:#x}");
    }
    let expected = [
        "0 Schema t v2",
        "1 Insert t v2 ['1', 'b', 'n']",
        "1 Schema t v3",
        "2 Insert t v3 ['1', 'b', 'n']",
        "1 Insert t v3 ['1', 'b', 'n']",
    ];
    assert_eq!(run([&[1, 2], &[2]], 2, between).unwrap(), expected);
}
