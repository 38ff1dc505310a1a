//! Tables of every shape that a replica identity, a partition or a generated column gives them, and what happens to
//! their rows before and after the daemon starts.

use anyhow::{Result, ensure};
use serde_json::Value;
use tidewire_testkit::kafka::Record;

/// Tables compared with the source in both sinks, and what a mirror is compared with: itself, or a view where Delta
/// has no such column name; and the end of the topic's name.
pub(super) const TABLES: [(&str, &str, &str); 9] = [
    ("emptied", "emptied", "emptied"),
    ("moved", "moved", "moved"),
    ("full_row", "full_row", "full_row"),
    ("by_index", "by_index", "by_index"),
    ("parted", "parted", "parted"),
    ("generated", "generated", "generated"),
    ("toasted", "toasted", "toasted"),
    ("long_key", "long_key", "long_key"),
    ("Odd-Näme", "odd_shown", "Odd-N_me"),
];

pub(super) const CREATE: &str = r#"
    CREATE TABLE emptied (id int PRIMARY KEY, v text);
    CREATE TABLE moved (a int, b text, v text, PRIMARY KEY (a, b));
    CREATE TABLE full_row (id int PRIMARY KEY, v text, big text);
    ALTER TABLE full_row REPLICA IDENTITY FULL;
    CREATE TABLE by_index (a int NOT NULL, v text, b text NOT NULL);
    CREATE UNIQUE INDEX by_index_key ON by_index (b, a);
    ALTER TABLE by_index REPLICA IDENTITY USING INDEX by_index_key;
    CREATE TABLE parted (id int, v text, PRIMARY KEY (id)) PARTITION BY RANGE (id);
    CREATE TABLE parted_low PARTITION OF parted FOR VALUES FROM (0) TO (100);
    CREATE TABLE parted_high PARTITION OF parted FOR VALUES FROM (100) TO (200);
    CREATE TABLE generated (id int PRIMARY KEY, v int, twice int GENERATED ALWAYS AS (v * 2) STORED, w text);
    CREATE TABLE toasted (id int PRIMARY KEY, big text, note text);
    ALTER TABLE toasted ALTER COLUMN big SET STORAGE EXTERNAL;
    CREATE TABLE long_key (k text PRIMARY KEY, v text);
    ALTER TABLE long_key ALTER COLUMN k SET STORAGE EXTERNAL;
    CREATE TABLE "Odd-Näme" ("Id" int PRIMARY KEY, "some col" text, "наme" text, "select" int);
    CREATE VIEW odd_shown AS SELECT "Id", "some col" AS some_col, "наme", "select" FROM "Odd-Näme";
"#;

pub(super) const BEFORE: &str = r#"
    INSERT INTO emptied SELECT i, 'before' FROM generate_series(1, 5) i;
    INSERT INTO moved VALUES (1, 'a', 'one'), (2, 'b', 'two');
    INSERT INTO full_row VALUES (1, 'one', repeat('x', 9000)), (2, 'two', NULL);
    INSERT INTO by_index VALUES (1, 'one', 'a'), (2, NULL, 'b');
    INSERT INTO parted VALUES (1, 'low'), (101, 'high');
    INSERT INTO generated (id, v, w) VALUES (1, 10, 'one');
    INSERT INTO toasted VALUES (1, repeat('a', 9000), 'n'), (2, repeat('b', 9000), 'n');
    INSERT INTO long_key SELECT repeat(i || '-', 1100), 'n' FROM generate_series(1, 4) i;
    INSERT INTO "Odd-Näme" VALUES (1, 'a', 'b', 2);
"#;

pub(super) const AFTER: &str = r#"
    BEGIN; INSERT INTO emptied VALUES (6, 'gone'); TRUNCATE emptied; INSERT INTO emptied VALUES (1, 'after'); COMMIT;
    UPDATE moved SET b = 'moved' WHERE a = 1; UPDATE moved SET a = 3, v = NULL WHERE a = 2;
    INSERT INTO moved VALUES (2, 'b', 'again'); DELETE FROM moved WHERE a = 3;
    UPDATE full_row SET v = 'changed' WHERE id = 1; UPDATE full_row SET id = 3 WHERE id = 2;
    INSERT INTO full_row VALUES (2, 'again', repeat('y', 9000)); DELETE FROM full_row WHERE id = 3;
    UPDATE by_index SET v = 'changed' WHERE a = 1; UPDATE by_index SET b = 'moved' WHERE a = 2;
    INSERT INTO by_index VALUES (3, 'three', 'c'); DELETE FROM by_index WHERE a = 1;
    UPDATE parted SET v = 'changed'; UPDATE parted SET id = 102 WHERE id = 1;
    CREATE TABLE parted_top PARTITION OF parted FOR VALUES FROM (200) TO (300);
    INSERT INTO parted VALUES (2, 'low'), (202, 'top'); DELETE FROM parted WHERE id = 101;
    INSERT INTO parted_low VALUES (3, 'by its own name'); UPDATE parted_high SET v = 'by its own name' WHERE id = 102;
    DELETE FROM parted_low WHERE id = 2;
    UPDATE generated SET v = 11; INSERT INTO generated (id, v, w) VALUES (2, NULL, NULL);
    UPDATE toasted SET note = 'changed'; UPDATE toasted SET id = 3 WHERE id = 2;
    UPDATE long_key SET v = 'changed' WHERE k LIKE '1%'; UPDATE long_key SET k = k || 'x' WHERE k LIKE '2%';
    DELETE FROM long_key WHERE k LIKE '3%'; INSERT INTO long_key VALUES (repeat('3-', 1100), NULL);
    UPDATE "Odd-Näme" SET "наme" = 'c'; INSERT INTO "Odd-Näme" VALUES (2, NULL, '''"\', 3);
"#;

pub(super) const MESSAGES: &str = "
    SELECT pg_logical_emit_message(true, 'greeting', 'in a transaction');
    SELECT pg_logical_emit_message(false, 'greeting', 'outside')";

/// Logical messages arrive from PostgreSQL 14 on; before it the server keeps them to itself.
pub(super) fn messages_must_be(records: &[Record], major: u16) -> Result<()> {
    let mut found = Vec::new();
    for record in records {
        let value: Value = serde_json::from_slice(record.value.as_deref().unwrap_or_default())?;
        if value["message"]["prefix"] == "greeting" {
            found.push(value["message"]["content"].as_str().unwrap_or_default().to_owned());
        }
    }
    found.sort();
    let expect: &[&str] = if major < 14 { &[] } else { &["aW4gYSB0cmFuc2FjdGlvbg==", "b3V0c2lkZQ=="] };
    ensure!(found == expect, "messages {found:?} instead of {expect:?}");
    Ok(())
}
