//! Any log, read in any way, is the same log.

use super::harness::{Seen, Source};
use super::tape::{Naming, Tape};
use crate::binlog::kind;
use proptest::prelude::*;

const TABLES: [&str; 3] = ["t", "u", "other.x"];

/// A step of a log.
#[derive(Clone, Debug)]
enum Step {
    /// A transaction: rows by table, how many, what.
    Rows(Vec<(usize, usize, u8)>),
    /// The same, compressed.
    Packed(Vec<(usize, usize, u8)>),
    /// A column more.
    Add(usize),
    Truncate(usize),
    /// Dropped, and made anew.
    Anew(usize),
    /// An XA transaction with rows of a table is prepared.
    Prepare(usize, usize),
    /// The oldest that is prepared is committed, or rolled back.
    Decide(bool),
    Rotate,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let rows = || prop::collection::vec((0usize..3, 1usize..6, 0u8..3), 1..5);
    let step = prop_oneof![
        6 => rows().prop_map(Step::Rows),
        2 => rows().prop_map(Step::Packed),
        1 => (0usize..3).prop_map(Step::Add),
        1 => (0usize..3).prop_map(Step::Truncate),
        1 => (0usize..3).prop_map(Step::Anew),
        1 => (0usize..3, 1usize..6).prop_map(|(table, count)| Step::Prepare(table, count)),
        1 => any::<bool>().prop_map(Step::Decide),
        1 => Just(Step::Rotate),
    ];
    prop::collection::vec(step, 1..14)
}

/// Writes a log, with other values in each row.
struct Writer {
    tape: Tape,
    columns: [usize; 3],
    value: i32,
    prepared: Vec<u8>,
    named: u8,
}

impl Writer {
    fn rows(tape: &mut Tape, columns: &[usize; 3], value: &mut i32, parts: &[(usize, usize, u8)]) {
        for (table, count, what) in parts {
            let width = columns[*table];
            tape.map(*table as u64 + 1, TABLES[*table], width);
            let mut image = || {
                *value += 1;
                [vec![0], (0..width).flat_map(|_| value.to_le_bytes()).collect()].concat()
            };
            let (event, bitmaps, images) = match what {
                0 => (kind::WRITE_ROWS, vec![0xff], 1),
                1 => (kind::DELETE_ROWS, vec![0xff], 1),
                _ => (kind::UPDATE_ROWS, vec![0xff, 0xff], 2),
            };
            let images: Vec<u8> = (0..count * images).flat_map(|_| image()).collect();
            tape.rows(event, *table as u64 + 1, width, &[bitmaps, images].concat());
        }
    }

    fn step(&mut self, step: &Step) {
        let Writer { tape, columns, value, .. } = self;
        match step {
            Step::Rows(parts) => tape.transaction(|tape| Writer::rows(tape, columns, value, parts)).done(),
            Step::Packed(parts) => tape.compressed(|tape| Writer::rows(tape, columns, value, parts)).done(),
            Step::Add(table) if columns[*table] < 8 => {
                columns[*table] += 1;
                tape.ddl(&format!("ALTER TABLE {} ADD COLUMN c{} INT", TABLES[*table], columns[*table]));
            }
            Step::Add(_) => {}
            Step::Truncate(table) => tape.ddl(&format!("TRUNCATE {}", TABLES[*table])).done(),
            Step::Anew(table) => {
                columns[*table] = 1;
                tape.ddl(&format!("DROP TABLE {}", TABLES[*table]));
                tape.ddl(&format!("CREATE TABLE {} (a INT NOT NULL)", TABLES[*table]));
            }
            Step::Prepare(table, count) => {
                self.named += 1;
                let xid = format!("X'{:02x}',X'',1", self.named);
                tape.begin().query(&format!("XA START {xid}"));
                Writer::rows(tape, columns, value, &[(*table, *count, 0)]);
                let body = [0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, self.named];
                tape.query(&format!("XA END {xid}")).event(kind::XA_PREPARE, 0, &body).end();
                self.prepared.push(self.named);
            }
            Step::Decide(commit) if !self.prepared.is_empty() => {
                let verb = if *commit { "COMMIT" } else { "ROLLBACK" };
                tape.begin().query(&format!("XA {verb} X'{:02x}',X'',1", self.prepared.remove(0))).end();
            }
            Step::Decide(_) => {}
            Step::Rotate => tape.rotate().done(),
        }
    }
}

fn log(naming: Naming, checksum: bool, steps: &[Step]) -> Tape {
    let tape = Tape::with(naming, checksum);
    let mut writer = Writer { tape, columns: [2, 2, 2], value: 0, prepared: Vec::new(), named: 0 };
    let mut altered = [false; 3];
    for step in steps {
        // The server does not let a table be altered that a prepared transaction holds.
        match step {
            Step::Add(table) | Step::Truncate(table) | Step::Anew(table) if altered[*table] => continue,
            Step::Prepare(table, _) => altered[*table] = true,
            _ => {}
        }
        writer.step(step);
        if writer.prepared.is_empty() {
            altered = [false; 3];
        }
    }
    writer.tape
}

fn source(naming: Naming) -> Source {
    let table = |name: &&str| format!("CREATE TABLE {name} (a INT NOT NULL, c2 INT)");
    let tables: Vec<String> = TABLES.iter().map(table).collect();
    Source::new(naming, &tables.iter().map(String::as_str).collect::<Vec<_>>())
}

/// Changes of shape depend on what was known before, and bear no number of their own.
fn counted(seen: &[Seen]) -> Vec<&Seen> {
    seen.iter().filter(|seen| !seen.text.contains(" schema ")).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// MY-07, MY-33: batches of any size; from any position on, each change once.
    #[test]
    fn every_change_comes_once(steps in steps(), limit in 1usize..9, files: bool, checksum: bool) {
        let naming = if files { Naming::Anonymous } else { Naming::Gtids };
        let tape = log(naming, checksum, &steps);
        let source = source(naming);
        let whole = source.run(&tape).unwrap();
        let limited = source.clone().limit(limit);
        let parts = limited.run(&tape).unwrap();
        prop_assert_eq!(&parts.seen, &whole.seen);
        for batch in &parts.batches {
            let again = limited.resumed(&batch.position).run(&tape).unwrap();
            let held = batch.position.mark;
            let rest: Vec<_> = again.seen.iter().filter(|seen| seen.mark > held).cloned().collect();
            prop_assert_eq!(counted(&rest), counted(&whole.seen[batch.changes..]), "from {}", &batch.position);
            prop_assert_eq!(again.last_position(), whole.last_position());
        }
    }

    /// The same change has the same mark, whatever else is captured.
    #[test]
    fn numbers_are_the_logs_own(steps in steps(), files: bool) {
        let naming = if files { Naming::Anonymous } else { Naming::Gtids };
        let tape = log(naming, false, &steps);
        let all = Source { filter: &["*.*"], snapshot: tidewire_core::SnapshotMode::Never, ..source(naming) }.run(&tape).unwrap();
        for (filter, table) in [(&["crm.t"][..], "t"), (&["crm.u"], "u"), (&["other.x"], "x")] {
            let few = Source { filter, snapshot: tidewire_core::SnapshotMode::Never, ..source(naming) }.run(&tape).unwrap();
            let ours = |seen: &&Seen| seen.text.split(' ').nth(2) == Some(table);
            let rows = |seen: &[Seen]| -> Vec<Seen> { counted(seen).into_iter().filter(ours).cloned().collect() };
            prop_assert_eq!(rows(&few.seen), rows(&all.seen), "{}", table);
            prop_assert_eq!(few.last_position(), all.last_position());
        }
    }
}
