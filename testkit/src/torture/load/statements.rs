//! The tables of the load but `items`, and the statements that change them: one text for both dialects, where they
//! agree.

use super::super::source::Kind;
use super::items;
use crate::workload::Dice;

/// What a statement does. Each run leaves some out: what is common hides what is rare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Act {
    /// Money goes from one account to another; the sum stays.
    Transfer,
    /// A number that grows by one.
    Count,
    InsertItems,
    UpdateItem,
    DeleteItem,
    MoveItem,
    /// A row goes and comes again in one transaction.
    Renew,
    /// Two rows take each other's key.
    Swap,
    Pair,
    Word,
    MoveWord,
    Code,
    Price,
    Moment,
    /// A large value that an update leaves alone, and a key change too.
    Body,
    MoveBody,
    /// Rows of a table without a key.
    Loose,
    Line,
    Range,
    /// Nothing changes; some servers log it all the same.
    Nothing,
    Shift,
}

/// With how often each comes.
const ACTS: [(Act, u64); 21] = [
    (Act::Transfer, 14),
    (Act::Count, 12),
    (Act::InsertItems, 12),
    (Act::UpdateItem, 10),
    (Act::DeleteItem, 6),
    (Act::MoveItem, 4),
    (Act::Renew, 4),
    (Act::Swap, 4),
    (Act::Pair, 6),
    (Act::Word, 5),
    (Act::MoveWord, 2),
    (Act::Code, 4),
    (Act::Price, 4),
    (Act::Moment, 4),
    (Act::Body, 6),
    (Act::MoveBody, 2),
    (Act::Loose, 3),
    (Act::Line, 5),
    (Act::Range, 4),
    (Act::Nothing, 2),
    (Act::Shift, 4),
];

/// Tables with a key, which are compared row by row.
pub(crate) const KEYED: [&str; 14] = [
    "ledger", "accounts", "counters", "items", "swaps", "pairs", "words", "codes", "prices", "moments", "bodies",
    "entries", "bulk", "shifting",
];
/// The table without a key.
pub(crate) const LOOSE: &str = "loose";
/// Accounts, and what is in all of them together.
pub(crate) const ACCOUNTS: u64 = 100;
/// Money of all accounts.
pub(crate) const MONEY: u64 = ACCOUNTS * 1_000;

const ITEMS: u64 = 600;
const COUNTERS: u64 = 1_000;
const BODIES: u64 = 120;
const SWAPS: u64 = 40;
/// Ids of `bulk` that each session has for itself.
const BULK: u64 = 1_000_000;

const WORDS: [&str; 18] = [
    "",
    " ",
    "a",
    "A",
    "\u{e4}",
    "\u{c4}",
    "a\u{308}",
    "ss",
    "\u{df}",
    "trailing ",
    "it's",
    "back\\slash",
    "tab\there",
    "null",
    "%_",
    "\u{65e5}\u{672c}",
    "\u{1f30a}",
    "line\nbreak",
];

/// The text that makes all tables.
pub(super) fn create(kind: Kind) -> String {
    let is_postgres = kind == Kind::Postgres;
    let pick = |postgres: &'static str, mysql: &'static str| if is_postgres { postgres } else { mysql };
    let mut all = vec![
        "digits (d int PRIMARY KEY)".to_owned(),
        "ledger (session int, number bigint, statements int, PRIMARY KEY (session, number))".to_owned(),
        "accounts (id int PRIMARY KEY, balance bigint NOT NULL, session int, number bigint)".to_owned(),
        "counters (id int PRIMARY KEY, n bigint NOT NULL)".to_owned(),
        "swaps (id int PRIMARY KEY, v varchar(60))".to_owned(),
        "pairs (a int, b varchar(40), value decimal(20,6), PRIMARY KEY (a, b))".to_owned(),
        "words (word varchar(120) PRIMARY KEY, n int)".to_owned(),
        format!("codes (code {} PRIMARY KEY, n int)", pick("uuid", "binary(16)")),
        format!("prices (price {} PRIMARY KEY, n int)", pick("numeric", "decimal(30,10)")),
        format!("moments (at {}, n int, v double precision, PRIMARY KEY (at, n))", pick("timestamptz", "datetime(6)")),
        format!("bodies (id int PRIMARY KEY, n int, body {0}, note {0})", pick("text", "mediumtext")),
        format!(
            "entries (id bigint {} PRIMARY KEY, line text)",
            pick("GENERATED ALWAYS AS IDENTITY", "AUTO_INCREMENT")
        ),
        "bulk (id bigint PRIMARY KEY, n int NOT NULL, filler varchar(80))".to_owned(),
        "shifting (id int PRIMARY KEY, v varchar(40), w int)".to_owned(),
        "loose (a int, b varchar(40))".to_owned(),
    ];
    for table in &mut all {
        table.insert_str(0, "CREATE TABLE ");
    }
    all.push(items::create(kind));
    if is_postgres {
        // What is large goes out of line, so that updates leave it alone.
        all.push("ALTER TABLE bodies ALTER body SET STORAGE EXTERNAL".to_owned());
        all.push("ALTER TABLE items ALTER note SET STORAGE EXTERNAL, ALTER raw SET STORAGE EXTERNAL".to_owned());
        all.extend(["loose", "swaps"].map(|table| format!("ALTER TABLE {table} REPLICA IDENTITY FULL")));
    } else {
        for table in &mut all {
            table.push_str(" DEFAULT CHARACTER SET utf8mb4");
        }
    }
    let digits: Vec<String> = (0..10).map(|d| format!("({d})")).collect();
    let accounts: Vec<String> = (0..ACCOUNTS).map(|id| format!("({id}, {}, 0, 0)", MONEY / ACCOUNTS)).collect();
    all.push(format!("INSERT INTO digits VALUES {}", digits.join(", ")));
    all.push(format!("INSERT INTO accounts VALUES {}", accounts.join(", ")));
    let swaps: Vec<String> = (0..SWAPS).map(|id| format!("({id}, 'first {id}')")).collect();
    all.push(format!("INSERT INTO swaps VALUES {}", swaps.join(", ")));
    all.join(";\n")
}

/// Text as both dialects read it.
fn text(kind: Kind, words: &str) -> String {
    let words = words.replace('\'', "''");
    format!("'{}'", if kind == Kind::Postgres { words } else { words.replace('\\', "\\\\") })
}

/// One session's way of writing.
pub(super) struct Pen<'a> {
    pub(super) kind: Kind,
    pub(super) session: u64,
    /// Of the transaction.
    pub(super) number: u64,
    pub(super) dice: &'a mut Dice,
}

impl Pen<'_> {
    /// A few statements of one kind, each ended.
    pub(super) fn act(&mut self, act: Act) -> String {
        let kind = self.kind;
        let mut all = match act {
            Act::Transfer => self.transfer(),
            Act::Count => {
                let id = self.hot(COUNTERS);
                format!("INSERT INTO counters VALUES ({id}, 1) {}", self.or("id", "n = counters.n + 1", "n = n + 1"))
            }
            Act::InsertItems => {
                let ids: Vec<u64> = (0..1 + self.dice.below(3)).map(|_| self.dice.below(ITEMS)).collect();
                let rows = items::rows(kind, self.dice, &ids);
                self.insert_new(&rows)
            }
            Act::UpdateItem => {
                let id = self.hot(ITEMS);
                items::update(kind, self.dice, id)
            }
            Act::DeleteItem => format!("DELETE FROM items WHERE id = {}", self.dice.below(ITEMS)),
            Act::MoveItem => {
                let (from, to) = (self.dice.below(ITEMS), self.dice.below(ITEMS));
                self.update_key("items", &format!("id = {to}"), &format!("id = {from}"), &format!("id = {to}"))
            }
            Act::Renew => self.renew(),
            Act::Swap => self.swap(),
            Act::Pair => self.pair(),
            Act::Word => {
                let word = self.word();
                if self.dice.one_in(4) {
                    format!("DELETE FROM words WHERE word = {word}")
                } else {
                    let or = self.or("word", "n = words.n + 1", "n = n + 1");
                    format!("INSERT INTO words VALUES ({word}, 1) {or}")
                }
            }
            Act::MoveWord => {
                // Where capitals or accents do not count it may be the same key in other letters.
                let (from, to) = (self.word(), self.word());
                self.update_key("words", &format!("word = {to}"), &format!("word = {from}"), &format!("word = {to}"))
            }
            Act::Code => {
                let number = self.dice.below(200);
                let digits = format!("{number:08x}00004000800000000000ffff");
                let code = if kind == Kind::Postgres { format!("'{digits}'") } else { format!("x'{digits}'") };
                self.come_or_go("codes", "code", &code)
            }
            Act::Price => {
                // Of one value in several scales.
                let zeros = "0".repeat(self.dice.below(4) as usize);
                let price = format!("{}.5{zeros}", self.dice.below(120) as i64 - 60);
                self.come_or_go("prices", "price", &price)
            }
            Act::Moment => self.moment(),
            Act::Body => self.body(),
            Act::MoveBody => {
                let (from, to) = (self.dice.below(BODIES), self.dice.below(BODIES));
                self.update_key("bodies", &format!("id = {to}"), &format!("id = {from}"), &format!("id = {to}"))
            }
            Act::Loose => self.loose(),
            Act::Line => format!("INSERT INTO entries (line) VALUES ('{} \u{1f30a} {}')", self.session, self.number),
            Act::Range => {
                let from = self.dice.below(ITEMS);
                format!("UPDATE items SET whole = {} WHERE id BETWEEN {from} AND {}", self.dice.below(99), from + 20)
            }
            Act::Nothing => format!("UPDATE items SET price = price WHERE id = {}", self.dice.below(ITEMS)),
            Act::Shift => self.shift(true),
        };
        all.push_str(";\n");
        all
    }

    /// A change of `shifting`, which finds nothing to change only where it may delete.
    pub(super) fn shift(&mut self, deletes: bool) -> String {
        let id = self.dice.below(150);
        let (v, w) = (self.dice.below(1 << 40), self.dice.below(1 << 31));
        if self.dice.one_in(4) && deletes {
            return format!("DELETE FROM shifting WHERE id = {id}");
        }
        let or = self.or("id", "v = excluded.v, w = excluded.w", "v = VALUES(v), w = VALUES(w)");
        format!("INSERT INTO shifting (id, v, w) VALUES ({id}, 'v{v}', {w}) {or}")
    }

    /// Rows that nothing tells apart.
    fn loose(&mut self) -> String {
        let (a, b) = (self.dice.below(30), self.dice.below(5));
        match self.dice.below(4) {
            0 => format!("DELETE FROM loose WHERE a = {a} AND b = 'b{b}'"),
            1 => format!("UPDATE loose SET b = 'b{b}' WHERE a = {a}"),
            _ => format!("INSERT INTO loose VALUES ({a}, 'b{b}'), ({a}, 'b{b}')"),
        }
    }

    /// Few of the keys have most of the changes.
    fn hot(&mut self, count: u64) -> u64 {
        if self.dice.one_in(3) { self.dice.below(count) } else { self.dice.below(count / 20) }
    }

    fn word(&mut self) -> String {
        let place = self.dice.below(WORDS.len() as u64 + 3) as usize;
        match WORDS.get(place) {
            Some(word) => text(self.kind, word),
            None => format!("REPEAT('w{}', 40)", self.dice.below(9)),
        }
    }

    /// What becomes of a row that is there.
    fn or(&self, key: &str, postgres: &str, mysql: &str) -> String {
        match self.kind {
            Kind::Postgres => format!("ON CONFLICT ({key}) DO UPDATE SET {postgres}"),
            _ => format!("ON DUPLICATE KEY UPDATE {mysql}"),
        }
    }

    /// An insert of rows that leaves those that are there.
    fn insert_new(&self, rows: &str) -> String {
        match self.kind {
            Kind::Postgres => format!("INSERT INTO {rows} ON CONFLICT DO NOTHING"),
            _ => format!("INSERT IGNORE INTO {rows}"),
        }
    }

    /// A change of a key, to one that may be taken: then nothing happens, or the transaction is over.
    fn update_key(&self, table: &str, set: &str, from: &str, taken: &str) -> String {
        match self.kind {
            Kind::Postgres => {
                format!("UPDATE {table} SET {set} WHERE {from} AND NOT EXISTS (SELECT FROM {table} WHERE {taken})")
            }
            _ => format!("UPDATE IGNORE {table} SET {set} WHERE {from}"),
        }
    }

    fn come_or_go(&mut self, table: &str, key: &str, value: &str) -> String {
        if self.dice.one_in(3) {
            return format!("DELETE FROM {table} WHERE {key} = {value}");
        }
        let or = self.or(key, &format!("n = {table}.n + 1"), "n = n + 1");
        format!("INSERT INTO {table} VALUES ({value}, 1) {or}")
    }

    fn transfer(&mut self) -> String {
        let (from, amount) = (self.hot(ACCOUNTS), 1 + self.dice.below(50));
        // Another one, in either order: two sessions may wait for each other.
        let to = (from + 1 + self.dice.below(ACCOUNTS - 1)) % ACCOUNTS;
        let (session, number) = (self.session, self.number);
        format!(
            "UPDATE accounts SET balance = balance - {amount}, session = {session}, number = {number} WHERE id = {from};\n\
             UPDATE accounts SET balance = balance + {amount}, session = {session}, number = {number} WHERE id = {to}"
        )
    }

    fn renew(&mut self) -> String {
        let id = self.dice.below(ITEMS);
        let first = items::rows(self.kind, self.dice, &[id]);
        let again = items::rows(self.kind, self.dice, &[id]);
        let (first, again) = (self.insert_new(&first), self.insert_new(&again));
        format!("{first};\nDELETE FROM items WHERE id = {id};\n{again}")
    }

    fn swap(&mut self) -> String {
        let a = self.dice.below(SWAPS);
        let b = (a + 1 + self.dice.below(SWAPS - 1)) % SWAPS;
        let between = 1_000 + self.session;
        format!(
            "UPDATE swaps SET id = {between} WHERE id = {a};\nUPDATE swaps SET id = {a} WHERE id = {b};\n\
             UPDATE swaps SET id = {b}, v = 'of {}-{}' WHERE id = {between}",
            self.session, self.number
        )
    }

    fn pair(&mut self) -> String {
        let (a, b) = (self.dice.below(40), ["north", "s\u{fc}d", "o'st", "w\u{20ac}st", ""]);
        let b = text(self.kind, b.get(self.dice.below(5) as usize).copied().unwrap_or_default());
        match self.dice.below(4) {
            0 => format!("DELETE FROM pairs WHERE a = {a}"),
            1 => {
                let to = self.dice.below(40);
                self.update_key(
                    "pairs",
                    &format!("a = {to}"),
                    &format!("a = {a} AND b = {b}"),
                    &format!("a = {to} AND b = {b}"),
                )
            }
            _ => {
                let price = self.dice.price();
                let or = self.or("a, b", "value = pairs.value + 1", "value = value + 1");
                format!("INSERT INTO pairs VALUES ({a}, {b}, {price}) {or}")
            }
        }
    }

    fn moment(&mut self) -> String {
        let (day, fraction, n) = (1 + self.dice.below(28), self.dice.below(3), self.dice.below(4));
        let at = format!("'1969-12-{day:02} 23:59:59.{:06}'", fraction * 499_999);
        if self.dice.one_in(3) {
            return format!("DELETE FROM moments WHERE at = {at} AND n = {n}");
        }
        let or = self.or("at, n", "v = excluded.v", "v = VALUES(v)");
        let v = format!("{}e-3", self.dice.below(1 << 50));
        format!("INSERT INTO moments VALUES ({at}, {n}, {v}) {or}")
    }

    fn body(&mut self) -> String {
        let id = self.dice.below(BODIES);
        match self.dice.below(8) {
            0 => format!("DELETE FROM bodies WHERE id = {id}"),
            1 | 2 => {
                let body = format!("REPEAT('{:016x}', {})", self.dice.any(), 140 + self.dice.below(400));
                let or = self.or("id", "body = excluded.body, n = bodies.n + 1", "body = VALUES(body), n = n + 1");
                format!("INSERT INTO bodies VALUES ({id}, 1, {body}, 'note') {or}")
            }
            3 => format!("UPDATE bodies SET note = REPEAT('n{}', 900) WHERE id = {id}", self.dice.below(9)),
            4 => format!("UPDATE bodies SET body = NULL WHERE id = {id}"),
            _ => format!("UPDATE bodies SET n = n + 1 WHERE id = {id}"),
        }
    }

    /// Very many rows at once, in the part of `bulk` that is this session's.
    pub(super) fn bulk(&mut self, count: u64) -> String {
        let first = self.session * BULK + self.dice.below(4) * (BULK / 10);
        let last = first + count - 1;
        match self.dice.below(5) {
            0 | 1 => self.insert_bulk(first, count),
            2 => format!("DELETE FROM bulk WHERE id BETWEEN {first} AND {last};\n"),
            _ => format!("UPDATE bulk SET n = n + 1 WHERE id BETWEEN {first} AND {last};\n"),
        }
    }

    /// The first rows of this session's part.
    pub(super) fn fill(&mut self, count: u64) -> String {
        self.insert_bulk(self.session * BULK, count)
    }

    fn insert_bulk(&self, first: u64, count: u64) -> String {
        let places = ["a.d", "10 * b.d", "100 * c.d", "1000 * e.d", "10000 * f.d", "100000 * g.d"];
        let names = ["a", "b", "c", "e", "f", "g"];
        // As few tables as give so many numbers.
        let width = (count.max(2) - 1).to_string().len().min(places.len());
        let sum = places.iter().take(width).copied().collect::<Vec<_>>().join(" + ");
        let from: Vec<String> = names.iter().take(width).map(|name| format!("digits {name}")).collect();
        let rows = format!(
            "bulk SELECT {first} + {sum}, {}, CONCAT('row ', {first} + {sum}) FROM {} WHERE {sum} < {count}",
            self.number,
            from.join(", ")
        );
        self.insert_new(&rows) + ";\n"
    }
}

/// What a run does, chosen by its seed: three of four acts, and always those that others are checked by.
pub(super) fn habits(dice: &mut Dice) -> Vec<Act> {
    let mut habits = Vec::new();
    for (act, weight) in ACTS {
        if matches!(act, Act::Transfer | Act::Count) || !dice.one_in(4) {
            habits.extend(std::iter::repeat_n(act, weight as usize));
        }
    }
    habits
}
