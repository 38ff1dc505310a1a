//! The demo's shop: three tables, some customers, and a trickle of orders.

use super::source::Writer;
use anyhow::{Result, anyhow};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;
use tidewire_testkit::workload::Dice;

/// The shop's tables.
pub(crate) const TABLES: [&str; 3] = ["customers", "orders", "order_items"];

/// The tables, the first customers and the publication.
pub(crate) const POSTGRES: &str =
    "CREATE TABLE customers (id bigint PRIMARY KEY, name text NOT NULL, email text, joined_at timestamptz NOT NULL);
     CREATE TABLE orders (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, customer_id bigint NOT NULL,
       state text NOT NULL, total numeric(12,2) NOT NULL, placed_at timestamptz NOT NULL, notes jsonb);
     CREATE TABLE order_items (order_id bigint, line int, product text NOT NULL, quantity int NOT NULL,
       price numeric(12,2) NOT NULL, PRIMARY KEY (order_id, line));
     INSERT INTO customers SELECT i, 'Customer ' || i, 'customer' || i || '@example.org', now() FROM generate_series(1, 500) i;
     INSERT INTO orders (customer_id, state, total, placed_at)
       SELECT 1 + i % 500, 'paid', i, now() FROM generate_series(1, 2000) i;
     CREATE PUBLICATION tidewire_shop FOR TABLE customers, orders, order_items";

/// The same tables and customers in MySQL and MariaDB.
pub(crate) const MYSQL: &str =
    "CREATE TABLE customers (id bigint PRIMARY KEY, name varchar(100) NOT NULL, email varchar(100), joined_at timestamp(6) NOT NULL);
     CREATE TABLE orders (id bigint unsigned AUTO_INCREMENT PRIMARY KEY, customer_id bigint NOT NULL,
       state enum('placed','paid','shipped') NOT NULL, total decimal(12,2) NOT NULL, placed_at timestamp(6) NOT NULL, notes json);
     CREATE TABLE order_items (order_id bigint unsigned, line int, product varchar(100) NOT NULL, quantity int NOT NULL,
       price decimal(12,2) NOT NULL, PRIMARY KEY (order_id, line));
     INSERT INTO customers WITH RECURSIVE n AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM n WHERE i < 500)
       SELECT i, CONCAT('Customer ', i), CONCAT('customer', i, '@example.org'), now(6) FROM n;
     INSERT INTO orders (customer_id, state, total, placed_at)
       SELECT 1 + (a.id * 4 + b.id) % 500, 'paid', a.id * 4 + b.id, now(6) FROM customers a, customers b WHERE b.id <= 4";

/// Whose statements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    Postgres,
    Mysql,
}

/// A thread that places orders, changes and deletes them, a few a second.
#[derive(Debug)]
pub(crate) struct Trickle {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<u64>>,
}

const PAUSE: Duration = Duration::from_millis(150);

impl Trickle {
    /// Starts it.
    pub(crate) fn start(writer: Writer) -> Result<Trickle> {
        let stop = Arc::new(AtomicBool::new(false));
        let theirs = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut dice = Dice::new(7);
            let mut written = 0;
            while !theirs.load(Ordering::Relaxed) {
                writer.execute(&transaction(&mut dice, writer.dialect()))?;
                written += 1;
                std::thread::sleep(PAUSE);
            }
            Ok(written)
        });
        Ok(Trickle { stop, thread })
    }

    /// Ends it; how many transactions it wrote.
    pub(crate) fn stop(self) -> Result<u64> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| anyhow!("the writing thread panicked"))?
    }
}

fn transaction(dice: &mut Dice, dialect: Dialect) -> String {
    let customer = 1 + dice.below(500);
    let order = 1 + dice.below(2000);
    match dice.below(10) {
        0..=4 => {
            let (items, price, gift) = (1 + dice.below(5), dice.price(), dice.one_in(2));
            match dialect {
                Dialect::Postgres => format!(
                    "BEGIN;
                     WITH o AS (INSERT INTO orders (customer_id, state, total, placed_at, notes)
                       VALUES ({customer}, 'placed', {price}, now(), '{{\"gift\": {gift}}}') RETURNING id)
                     INSERT INTO order_items SELECT o.id, i, 'product ' || i, i, {price} FROM o, generate_series(1, {items}) i;
                     COMMIT"
                ),
                Dialect::Mysql => {
                    let lines: Vec<String> =
                        (1..=items).map(|i| format!("(LAST_INSERT_ID(), {i}, 'product {i}', {i}, {price})")).collect();
                    format!(
                        "BEGIN;
                         INSERT INTO orders (customer_id, state, total, placed_at, notes)
                           VALUES ({customer}, 'placed', {price}, now(6), '{{\"gift\": {gift}}}');
                         INSERT INTO order_items VALUES {};
                         COMMIT",
                        lines.join(", ")
                    )
                }
            }
        }
        5..=7 => format!("UPDATE orders SET state = 'shipped', total = {} WHERE id = {order}", dice.price()),
        8 => format!("UPDATE customers SET email = 'new{}@example.org' WHERE id = {customer}", dice.below(1000)),
        _ => format!(
            "BEGIN; DELETE FROM order_items WHERE order_id = {order}; DELETE FROM orders WHERE id = {order}; COMMIT"
        ),
    }
}
