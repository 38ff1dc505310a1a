//! Tables that are ahead of the progress: what comes again meets a table that has gone on.

use super::harness::{Harness, Logical, Shape};
use crate::layout::Mode;

#[test]
fn a_schema_that_the_table_has_left_behind_changes_nothing() {
    // SK-33, SK-3B: the table has seen the column come or go, the progress has not.
    type Alter = fn(&mut Harness);
    let some = |text| Some(String::from(text));
    let cases: [(&str, Alter, _); 2] = [
        ("extra", |h| h.add_column("extra"), [(1, None), (2, None), (3, some("x")), (4, some("x"))]),
        ("v", |h| h.drop_column("v"), [(1, some("a")), (2, some("b")), (3, None), (4, None)]),
    ];
    for mode in [Mode::Mirror, Mode::Changelog] {
        for (column, alter, expect) in cases.clone() {
            let mut h = Harness::with_mode(Shape::Int, mode);
            h.send(&[Logical::insert(1, "a", "A")]);
            h.commit();
            h.send(&[Logical::insert(2, "b", "B")]);
            alter(&mut h);
            h.send(&[Logical::insert(3, "c", "C")]);
            h.commit_tables_only();
            let shown = h.table().unwrap().schema_string().to_owned();
            // Each time the source comes as far as one more transaction before the daemon ends.
            for transactions in 1..=3 {
                h.crash();
                h.replay_first(transactions);
                h.commit();
                assert_eq!(h.table().unwrap().schema_string(), shown, "{column}, {mode:?}");
            }
            h.send(&[Logical::insert(4, "d", "D")]);
            h.commit();
            assert_eq!(h.physical_rows(), 4, "{column}, {mode:?}");
            assert_eq!(h.texts_by_id(column), expect.into(), "{column}, {mode:?}");
        }
    }
}
