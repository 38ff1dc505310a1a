//! The demo's shop: three tables, some customers, and a trickle of orders.

use anyhow::{Result, anyhow};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;
use tidewire_testkit::postgres::Client;
use tidewire_testkit::workload::Dice;

/// The shop's tables, all in `public`.
pub(crate) const TABLES: [&str; 3] = ["customers", "orders", "order_items"];

/// Makes the tables, the first customers and the publication.
pub(crate) fn create(client: &Client) -> Result<()> {
    client
        .execute(
            "CREATE TABLE customers (id bigint PRIMARY KEY, name text NOT NULL, email text, joined_at timestamptz NOT NULL);
             CREATE TABLE orders (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, customer_id bigint NOT NULL,
               state text NOT NULL, total numeric(12,2) NOT NULL, placed_at timestamptz NOT NULL, notes jsonb);
             CREATE TABLE order_items (order_id bigint, line int, product text NOT NULL, quantity int NOT NULL,
               price numeric(12,2) NOT NULL, PRIMARY KEY (order_id, line));
             INSERT INTO customers SELECT i, 'Customer ' || i, 'customer' || i || '@example.org', now() FROM generate_series(1, 500) i;
             INSERT INTO orders (customer_id, state, total, placed_at)
               SELECT 1 + i % 500, 'paid', i, now() FROM generate_series(1, 2000) i;
             CREATE PUBLICATION tidewire_shop FOR TABLE customers, orders, order_items",
        )
        .map(drop)
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
    pub(crate) fn start(url: &str) -> Result<Trickle> {
        let client = Client::connect(url)?;
        let stop = Arc::new(AtomicBool::new(false));
        let theirs = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut dice = Dice::new(7);
            let mut written = 0;
            while !theirs.load(Ordering::Relaxed) {
                client.execute(&transaction(&mut dice))?;
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

fn transaction(dice: &mut Dice) -> String {
    let customer = 1 + dice.below(500);
    let order = 1 + dice.below(2000);
    match dice.below(10) {
        0..=4 => {
            let items = 1 + dice.below(5);
            format!(
                "BEGIN;
                 WITH o AS (INSERT INTO orders (customer_id, state, total, placed_at, notes)
                   VALUES ({customer}, 'placed', {price}, now(), '{{\"gift\": {gift}}}') RETURNING id)
                 INSERT INTO order_items SELECT o.id, i, 'product ' || i, i, {price} FROM o, generate_series(1, {items}) i;
                 COMMIT",
                price = dice.price(),
                gift = dice.one_in(2),
            )
        }
        5..=7 => format!("UPDATE orders SET state = 'shipped', total = {} WHERE id = {order}", dice.price()),
        8 => format!("UPDATE customers SET email = 'new{}@example.org' WHERE id = {customer}", dice.below(1000)),
        _ => format!(
            "BEGIN; DELETE FROM order_items WHERE order_id = {order}; DELETE FROM orders WHERE id = {order}; COMMIT"
        ),
    }
}
