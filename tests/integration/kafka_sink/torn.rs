//! What would tear a Kafka transaction: half of a change that is refused, a transaction that the brokers gave up on, and
//! requests that arrive after their sender was given up. PG-13, SK-06, SK-07, SK-09, VER-14.

use super::{Bench, noise, shown};
use anyhow::{Context, Result, anyhow, ensure};
use std::time::Duration;
use tidewire_core::sink::Selection;
use tidewire_core::{ErrorKind, Progress};
use tidewire_testkit::kafka::Isolation;
use tidewire_testkit::{KafkaOptions, wait};

/// The ids of a table's committed records.
fn ids(bench: &Bench, table: &str) -> Result<Vec<u64>> {
    let number = |key: &str| key.chars().filter(char::is_ascii_digit).collect::<String>().parse().ok();
    bench.committed(table)?.iter().map(|(key, _)| number(key).with_context(|| format!("no id in {key}"))).collect()
}

/// A change of a key is a delete, its tombstone and a create: all of it is seen, or nothing.
#[test]
fn sk_06_a_change_of_a_key_is_never_torn() -> Result<()> {
    let mut bench = Bench::new()?;
    bench.kafka.create_topic("shop.public.narrow", 1, &[("max.message.bytes", "20000")])?;
    let (mut sink, _) = bench.open("")?;
    bench.must_ship(sink.as_mut(), &[("narrow", 1, b"x")])?;
    // Of three records the last is refused: by the broker when it comes to the commit, by the client at once.
    let held = bench.progress();
    for size in [30_000, 20_000_000] {
        let moved = bench.moved("narrow", 1, 2, &noise(size));
        let error = bench.ship(sink.as_mut(), &moved).err().context("it was shipped")?;
        ensure!(error.code() == "record_too_large", "{}", shown(&error));
        drop(sink);
        let progress;
        (sink, progress) = bench.open("")?;
        ensure!(progress == held, "the place has not moved: {progress:?}");
        ensure!(ids(&bench, "narrow")? == [1], "{size}: {:?}", ids(&bench, "narrow")?);
    }
    // Written whole and never committed.
    let moved = bench.moved("narrow", 1, 2, b"fits");
    sink.write(&moved, Selection::All).map_err(|error| anyhow!("{}", shown(&error)))?;
    drop(sink);
    ensure!(ids(&bench, "narrow")? == [1]);
    let (mut sink, _) = bench.open("")?;
    bench.ship(sink.as_mut(), &moved).map_err(|error| anyhow!("{}", shown(&error)))?;
    ensure!(ids(&bench, "narrow")? == [1, 1, 1, 2], "{:?}", ids(&bench, "narrow")?);
    Ok(())
}

/// Without a successor this is a reason to try again, not to halt; and never to go on as if nothing were.
#[test]
fn sk_07_a_transaction_that_the_brokers_gave_up_on_is_sent_again() -> Result<()> {
    let often = KafkaOptions::default().set("transaction.abort.timed.out.transaction.cleanup.interval.ms", "200");
    let mut bench = Bench::with(&often)?;
    let hasty = r#", "transaction_timeout": "5s", "commit_interval": "1s""#;
    // Either of the two producers may be the one that is slow.
    for turns in [0, 1] {
        let (mut sink, _) = bench.open(hasty)?;
        for id in 0..turns {
            bench.must_ship(sink.as_mut(), &[("orders", id, b"before")])?;
        }
        let (held, before) = (bench.progress(), bench.committed("orders")?.len());
        let slow = bench.batch(&[("orders", 100, b"slow"), ("orders", 101, b"slow")]);
        sink.write(&slow, Selection::All).map_err(|error| anyhow!("{}", shown(&error)))?;
        // Readers of committed records pass an open transaction only when the brokers have ended it.
        let seen = |isolation| bench.kafka.consume("shop.public.orders", isolation).map(|records| records.len());
        wait::until("the records to be sent", wait::PATIENCE, || {
            Ok((seen(Isolation::ReadUncommitted)? >= before + 2).then_some(()))
        })?;
        wait::until("the brokers to give up", wait::PATIENCE, || {
            Ok(bench.kafka.all_ended("shop.public.orders")?.then_some(()))
        })?;
        let error = sink.commit(&bench.progress()).err().context("a commit long after its time succeeded")?;
        let told = error.kind() == ErrorKind::Retry && error.code() == "transaction_expired";
        ensure!(told && error.remedy().is_some_and(|text| text.contains("`commit_interval`")), "{}", shown(&error));
        drop(sink);
        ensure!(bench.committed("orders")?.len() == before, "nothing of it is seen");
        let (mut sink, progress) = bench.open(hasty)?;
        let expected = if turns == 0 && before == 0 { Progress::default() } else { held };
        ensure!(progress == expected, "{progress:?}");
        bench.ship(sink.as_mut(), &slow).map_err(|error| anyhow!("{}", shown(&error)))?;
        ensure!(bench.committed("orders")?.len() == before + 2);
    }
    Ok(())
}

/// Each request takes its time, so that the patience with a commit ends at another step of it each time; what is still under way
/// arrives when a successor writes. The successor asks what is held and sends the rest: every row is there once, and none
/// without the others of its transaction.
#[test]
fn sk_09_ver_14_requests_that_come_late_tear_no_transaction() -> Result<()> {
    let mut bench = Bench::with(&KafkaOptions { proxied: true, ..KafkaOptions::default() })?;
    let hasty = r#", "transaction_timeout": "5s", "commit_interval": "1s""#;
    let mut expected = Vec::new();
    let mut given_up = 0;
    for (round, delay) in (1..).zip([0, 700, 1_300, 2_300, 4_000]) {
        let address = format!("127.0.0.1:{}", bench.kafka.proxy().context("a proxy")?.port());
        let (mut first, _) =
            bench.connector_by(&address, hasty)?.open(super::SOURCE).map_err(|e| anyhow!("{}", shown(&e)))?;
        // The producers take turns.
        for turn in 0..round % 2 {
            let id = round * 100 + turn;
            bench.must_ship(first.as_mut(), &[("orders", id, b"before")])?;
            expected.push(id as u64);
        }
        let rows: Vec<(&str, i64, &[u8])> = (10..15).map(|id| ("orders", round * 100 + id, &b"late"[..])).collect();
        let late = bench.batch(&rows);
        let target = bench.progress();
        bench.kafka.proxy().context("a proxy")?.delay(Duration::from_millis(delay));
        let outcome = bench.ship(first.as_mut(), &late);
        given_up += usize::from(outcome.is_err());
        // Whatever the first one was told, the second one asks.
        let (mut second, held) = bench.open("")?;
        if held != target {
            ensure!(outcome.is_err(), "{delay} ms: told as committed, and not held");
            bench.ship(second.as_mut(), &late).map_err(|error| anyhow!("{}", shown(&error)))?;
        }
        bench.must_ship(second.as_mut(), &[("orders", round * 100 + 20, b"after")])?;
        expected.extend((10..15).chain([20]).map(|id| (round * 100 + id) as u64));
        drop(first);
        wait::until("all that was under way to have arrived", wait::PATIENCE, || {
            Ok((bench.kafka.proxy().context("a proxy")?.connections() == 0).then_some(()))
        })?;
        bench.must_ship(second.as_mut(), &[("orders", round * 100 + 21, b"after")])?;
        expected.push((round * 100 + 21) as u64);
        drop(second);
        bench.kafka.proxy().context("a proxy")?.resume();
        ensure!(ids(&bench, "orders")? == expected, "{delay} ms: {:?} and not {expected:?}", ids(&bench, "orders")?);
    }
    ensure!(given_up > 1, "some commits took too long");
    Ok(())
}
