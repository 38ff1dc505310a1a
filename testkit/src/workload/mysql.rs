//! The workload's statements as MySQL and MariaDB take them.

use super::{Dice, Keys, maybe, pair_name};

/// The tables.
pub(super) const CREATE: &str =
    "CREATE TABLE work_items (id bigint PRIMARY KEY, name varchar(100) NOT NULL, quantity int unsigned, stock bigint unsigned,
       price decimal(12,2), ratio double, share float, note mediumtext, document json, raw varbinary(40), packed blob,
       is_open tinyint(1), flags bit(12), mood enum('calm','o''kay','s\u{fc}\u{df}','') NOT NULL, tags set('a','b','\u{20ac}','d'),
       code char(36), padded binary(9), made_at timestamp(6) NULL, local_at datetime(6), day date, lasts time(3), born year)
       DEFAULT CHARACTER SET utf8mb4;
     CREATE TABLE work_pairs (a int, b varchar(20), value decimal(20,6), PRIMARY KEY (a, b)) DEFAULT CHARACTER SET utf8mb4;
     CREATE TABLE work_log (id bigint unsigned AUTO_INCREMENT PRIMARY KEY, line text) DEFAULT CHARACTER SET utf8mb4";

/// Of a writer's session. Without locks on what lies between keys, writers do not meet.
pub(super) const SETTINGS: &str = "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED; SET time_zone = '+00:00'";

/// One operation on rows.
pub(super) fn operation(dice: &mut Dice, keys: Keys) -> String {
    let id = keys.any(dice);
    match dice.below(100) {
        0..=24 => insert(dice, "INSERT IGNORE", id),
        // A row that is there is deleted and inserted, or updated: the server's choice.
        25..=29 => insert(dice, "REPLACE", id),
        30..=44 => {
            let (quantity, price) = (dice.below(1000), dice.price());
            format!("UPDATE work_items SET quantity = {quantity}, price = {price} WHERE id = {id};\n")
        }
        45..=49 => {
            let (from, to) = (id, id + 3);
            format!("UPDATE work_items SET flags = flags ^ 5, tags = 'b,d' WHERE id BETWEEN {from} AND {to};\n")
        }
        50..=54 => {
            let note = note(dice);
            format!("UPDATE work_items SET note = {note}, document = JSON_SET(document, '$.n', 1) WHERE id = {id};\n")
        }
        55..=59 => {
            // A change of the key, to one that may be taken: then nothing happens.
            let to = keys.any(dice);
            format!("UPDATE IGNORE work_items SET id = {to} WHERE id = {id};\n")
        }
        60..=69 => format!("DELETE FROM work_items WHERE id = {id};\n"),
        70..=71 => {
            // Two tables at once.
            format!(
                "UPDATE work_items i JOIN work_pairs p ON p.a = i.id SET i.quantity = 1, p.value = 2 WHERE i.id = {id};\n"
            )
        }
        72..=84 => {
            let (name, value) = (pair_name(dice), dice.price());
            format!(
                "INSERT INTO work_pairs VALUES ({id}, {name}, {value}) ON DUPLICATE KEY UPDATE value = value + 1;\n"
            )
        }
        85..=89 => format!("DELETE FROM work_pairs WHERE a = {id};\n"),
        _ => format!(
            "INSERT INTO work_log (line) VALUES ('{} \u{1f30a}\t\\\\ line {}');\n",
            keys.number,
            dice.below(1 << 40)
        ),
    }
}

fn insert(dice: &mut Dice, verb: &str, id: u64) -> String {
    let quantity = dice.below(1 << 32).to_string();
    let quantity = maybe(dice, quantity);
    let stock = dice.any();
    let price = dice.price();
    let price = maybe(dice, price);
    let ratio = match dice.below(10) {
        0 => "-0e0".to_owned(),
        1 => "1.7976931348623157e308".to_owned(),
        _ => format!("{}e{}", dice.below(1 << 53), dice.below(40)),
    };
    let share = format!("{}.{}", dice.below(1000), dice.below(1000));
    let document = format!("'{{\"k\": {}, \"t\": \"\u{e9}\", \"list\": [1.50, null, true]}}'", dice.below(1 << 40));
    let document = maybe(dice, document);
    let raw = format!("x'{:016x}'", dice.any());
    let packed = format!("REPEAT(x'00ff{:02x}', {})", dice.below(256), dice.below(200));
    let open = ["1", "0", "-7", "NULL"].get(dice.below(4) as usize).copied().unwrap_or("NULL");
    let flags = format!("b'{:b}'", dice.below(1 << 12));
    let (mood, tags) = (1 + dice.below(4), dice.below(16));
    let code = format!("'{:08x}-0000-4000-8000-{:012x}'", dice.below(1 << 32), dice.below(1 << 48));
    // Shorter than the column, and it may end in zeros.
    let padded = format!("x'{:08x}00'", dice.below(1 << 24) << 8);
    let fraction = dice.below(1_000_000);
    let made = format!("FROM_UNIXTIME({}.{fraction:06})", 1 + dice.below(2_000_000_000));
    let local = format!("'1970-01-01 00:00:00' + INTERVAL {} MICROSECOND", dice.below(4_000_000_000_000_000));
    let local = format!("CAST({local} AS DATETIME(6))");
    let day = format!("'1970-01-01' + INTERVAL {} DAY", dice.below(40_000));
    let sign = if dice.one_in(3) { "-" } else { "" };
    let lasts =
        format!("'{sign}{}:{:02}:{:02}.{:03}'", dice.below(838), dice.below(60), dice.below(60), dice.below(1000));
    let born = if dice.one_in(9) { 0 } else { 1901 + dice.below(255) };
    let note = note(dice);
    format!(
        "{verb} INTO work_items VALUES ({id}, 'item {id} ''\u{20ac}', {quantity}, {stock}, {price}, {ratio}, {share}, {note}, \
         {document}, {raw}, {packed}, {open}, {flags}, {mood}, {tags}, {code}, {padded}, {made}, {local}, {day}, {lasts}, {born});\n"
    )
}

/// Null, short, or long.
fn note(dice: &mut Dice) -> String {
    match dice.below(6) {
        0 => "NULL".to_owned(),
        1 | 2 => format!("REPEAT('{:016x}', {})", dice.any(), 160 + dice.below(200)),
        _ => format!("'note {}'", dice.below(1 << 40)),
    }
}
