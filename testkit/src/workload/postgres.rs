//! The workload's statements as PostgreSQL takes them.

use super::{Dice, Keys, maybe, pair_name};

/// The tables.
pub(super) const CREATE: &str =
    "CREATE TABLE work_items (id bigint PRIMARY KEY, name text NOT NULL, quantity int, price numeric(12,2),
       ratio double precision, share real, note text, document jsonb, raw bytea, is_open bool, code uuid,
       made_at timestamptz, local_at timestamp, day date);
     ALTER TABLE work_items ALTER note SET STORAGE EXTERNAL;
     CREATE TABLE work_pairs (a int, b varchar(20), value numeric, PRIMARY KEY (a, b));
     CREATE TABLE work_log (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, line text)";

/// One operation on rows.
pub(super) fn operation(dice: &mut Dice, keys: Keys) -> String {
    let id = keys.any(dice);
    match dice.below(100) {
        0..=29 => insert(dice, id),
        30..=49 => {
            let (quantity, price) = (dice.below(1000), dice.price());
            format!("UPDATE work_items SET quantity = {quantity}, price = {price} WHERE id = {id};\n")
        }
        50..=54 => {
            let note = note(dice);
            format!("UPDATE work_items SET note = {note}, document = document || '{{\"n\": 1}}' WHERE id = {id};\n")
        }
        55..=59 => {
            // A change of the key, to one that may be taken: then nothing happens.
            let to = keys.any(dice);
            format!(
                "UPDATE work_items SET id = {to} WHERE id = {id} AND NOT EXISTS (SELECT FROM work_items WHERE id = {to});\n"
            )
        }
        60..=71 => format!("DELETE FROM work_items WHERE id = {id};\n"),
        72..=84 => {
            let (name, value) = (pair_name(dice), dice.price());
            format!(
                "INSERT INTO work_pairs VALUES ({id}, {name}, {value}) ON CONFLICT (a, b) DO UPDATE SET value = work_pairs.value + 1;\n"
            )
        }
        85..=89 => format!("DELETE FROM work_pairs WHERE a = {id};\n"),
        _ => format!(
            "INSERT INTO work_log (line) VALUES ('{} \u{1f30a}\t\\ line {}');\n",
            keys.number,
            dice.below(1 << 40)
        ),
    }
}

fn insert(dice: &mut Dice, id: u64) -> String {
    let quantity = dice.below(1 << 31);
    let quantity = maybe(dice, quantity.to_string());
    let price = dice.price();
    let price = maybe(dice, price);
    let ratio = match dice.below(10) {
        0 => "'NaN'".to_owned(),
        1 => "'Infinity'".to_owned(),
        _ => format!("{}e{}", dice.below(1 << 53), dice.below(40)),
    };
    let share = format!("'{}.{}'::real", dice.below(1000), dice.below(1000));
    let document = format!("'{{\"k\": {}, \"t\": \"\u{e9}\"}}'", dice.below(1 << 40));
    let raw = format!("decode('{:016x}', 'hex')", dice.any());
    let code = format!("'{:08x}-0000-4000-8000-{:012x}'", dice.below(1 << 32), dice.below(1 << 48));
    let seconds = format!("{}.{:06}", dice.below(4_000_000_000), dice.below(1_000_000));
    let time = format!("timestamptz 'epoch' + interval '1 second' * {seconds}");
    let local = format!("timestamp 'epoch' + interval '1 second' * {seconds}");
    let day = format!("date '1970-01-01' + {}", dice.below(40_000));
    let open = ["true", "false", "NULL"].get(dice.below(3) as usize).copied().unwrap_or("NULL");
    let note = note(dice);
    format!(
        "INSERT INTO work_items VALUES ({id}, 'item {id} ''\u{20ac}', {quantity}, {price}, {ratio}, {share}, {note}, {document}, \
             {raw}, {open}, {code}, {time}, {local}, {day}) ON CONFLICT (id) DO NOTHING;\n"
    )
}

/// Null, short, or long enough to be stored out of line.
fn note(dice: &mut Dice) -> String {
    match dice.below(6) {
        0 => "NULL".to_owned(),
        1 | 2 => format!("repeat(md5('{}'), {})", dice.any(), 80 + dice.below(100)),
        _ => format!("'note {}'", dice.below(1 << 40)),
    }
}
