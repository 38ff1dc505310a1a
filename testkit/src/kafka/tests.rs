//! The broker itself: that it starts, keeps committed records over kill -9, and refuses a wrong password; and three of
//! them, that one may go.

use super::*;
use rdkafka::config::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const WAIT: Duration = Duration::from_secs(20);

fn producer(brokers: &str, more: &[(&str, &str)]) -> BaseProducer {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", brokers).set("log_level", "0");
    for (key, value) in more {
        config.set(*key, *value);
    }
    config.create().unwrap()
}

#[test]
fn a_committed_reader_sees_no_aborted_record_and_a_kill_loses_none() {
    let mut kafka = Kafka::start(&KafkaOptions::default()).unwrap();
    kafka.create_topic("t", 2, &[]).unwrap();
    let producer = producer(&kafka.brokers(), &[("transactional.id", "x")]);
    producer.init_transactions(WAIT).unwrap();
    for (key, commit) in [("a", true), ("b", false), ("c", true)] {
        producer.begin_transaction().unwrap();
        producer.send(BaseRecord::to("t").key(key).payload("v")).unwrap();
        producer.flush(WAIT).unwrap();
        if commit {
            producer.commit_transaction(WAIT).unwrap();
        } else {
            producer.abort_transaction(WAIT).unwrap();
        }
    }
    let keys = |isolation| {
        let records = kafka.consume("t", isolation).unwrap();
        let mut keys: Vec<_> = records.into_iter().map(|r| String::from_utf8(r.key.unwrap()).unwrap()).collect();
        keys.sort();
        keys
    };
    assert_eq!(keys(Isolation::ReadCommitted), ["a", "c"]);
    assert_eq!(keys(Isolation::ReadUncommitted), ["a", "b", "c"]);
    assert_eq!(kafka.topics().unwrap(), ["t"]);
    assert_eq!(kafka.consume("absent", Isolation::ReadCommitted).unwrap(), []);
    kafka.kill().unwrap();
    kafka.restart().unwrap();
    assert_eq!(kafka.consume("t", Isolation::ReadCommitted).unwrap().len(), 2);
}

/// A topic that is written to all the while has an end for its reader: the one that it had when it was asked.
#[test]
fn a_reader_ends_although_the_writer_does_not() {
    let kafka = Kafka::start(&KafkaOptions::default()).unwrap();
    kafka.create_topic("t", 1, &[]).unwrap();
    let producer = producer(&kafka.brokers(), &[("transactional.id", "x")]);
    producer.init_transactions(WAIT).unwrap();
    let commit = || {
        producer.begin_transaction().unwrap();
        producer.send(BaseRecord::to("t").key("k").payload("v")).unwrap();
        producer.flush(WAIT).unwrap();
        producer.commit_transaction(WAIT).unwrap();
    };
    (0..20).for_each(|_| commit());
    let read = AtomicBool::new(false);
    let seen = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !read.load(Ordering::Relaxed) {
                commit();
            }
        });
        let seen = kafka.consume("t", Isolation::ReadCommitted).map(|records| records.len());
        read.store(true, Ordering::Relaxed);
        seen
    });
    assert!(seen.unwrap() >= 20);
}

/// A transaction that is never ended hides what lies behind it: a reader is told so, and does not wait for ever.
#[test]
fn an_open_transaction_is_told() {
    let kafka = Kafka::start(&KafkaOptions::default()).unwrap();
    kafka.create_topic("t", 1, &[]).unwrap();
    let producer = producer(&kafka.brokers(), &[("transactional.id", "x")]);
    producer.init_transactions(WAIT).unwrap();
    producer.begin_transaction().unwrap();
    producer.send(BaseRecord::to("t").key("k").payload("v")).unwrap();
    producer.flush(WAIT).unwrap();
    let read = |isolation| records::consume(&kafka.brokers(), "t", isolation, Duration::from_secs(1));
    let open = read(Isolation::ReadCommitted).unwrap_err();
    assert_eq!(open.to_string(), "t has transactions that are open after 1 s: partition 0 shows 0 of 1 records");
    assert_eq!(read(Isolation::ReadUncommitted).unwrap().len(), 1);
}

#[test]
fn the_secure_listener_lets_only_the_right_password_in() {
    let kafka = Kafka::start(&KafkaOptions { sasl_ssl: true, ..KafkaOptions::default() }).unwrap();
    let authority = kafka.certificates().unwrap().authority.display().to_string();
    let brokers = kafka.secure_brokers().unwrap();
    let metadata = |mechanism: &str, password: &str| {
        let security = [
            ("security.protocol", "SASL_SSL"),
            ("ssl.ca.location", authority.as_str()),
            ("sasl.mechanism", mechanism),
            ("sasl.username", USER),
            ("sasl.password", password),
        ];
        producer(&brokers, &security).client().fetch_metadata(None, Duration::from_secs(5)).map(drop)
    };
    for mechanism in ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] {
        metadata(mechanism, PASSWORD).unwrap();
    }
    assert!(metadata("SCRAM-SHA-256", "wrong").is_err());
}

/// One node of three may go, with what it leads: another leads, nothing committed is lost, and the node comes back in sync.
#[test]
fn a_node_that_goes_is_followed_by_another() {
    let mut cluster = Cluster::start().unwrap();
    let soon = |what: &str, probe: &dyn Fn(&Cluster) -> bool, cluster: &Cluster| {
        crate::wait::until(what, crate::wait::PATIENCE, || Ok(probe(cluster).then_some(()))).unwrap();
    };
    cluster.create_topic("t", 1, &[]).unwrap();
    let all = cluster.nodes().to_vec();
    soon("three copies", &|c| c.in_sync("t", 0).is_ok_and(|nodes| nodes == all), &cluster);
    let producer = producer(&cluster.brokers().join(","), &[("transactional.id", "x")]);
    producer.init_transactions(WAIT).unwrap();
    for (round, signal) in [(0, Signal::KILL), (1, Signal::STOP)] {
        producer.begin_transaction().unwrap();
        producer.send(BaseRecord::to("t").key("k").payload("v")).unwrap();
        producer.commit_transaction(WAIT).unwrap();
        let leader = cluster.leader("t", 0).unwrap();
        match signal {
            Signal::KILL => cluster.kill(leader).unwrap(),
            signal => cluster.signal(leader, signal).unwrap(),
        }
        soon("another leader", &|c| c.leader("t", 0).is_ok_and(|node| node != leader), &cluster);
        assert_eq!(cluster.consume("t", Isolation::ReadCommitted).unwrap().len(), round + 1);
        match signal {
            Signal::KILL => cluster.restart(leader).unwrap(),
            _ => cluster.signal(leader, Signal::CONT).unwrap(),
        }
        soon("the copy in sync", &|c| c.in_sync("t", 0).is_ok_and(|nodes| nodes == all), &cluster);
    }
    cluster.kill(all[0]).unwrap();
    cluster.kill(all[1]).unwrap();
    // What one copy alone has is no commit.
    producer.begin_transaction().unwrap();
    producer.send(BaseRecord::to("t").key("k").payload("v")).unwrap();
    assert!(producer.commit_transaction(Duration::from_secs(5)).is_err());
    cluster.restart(all[0]).unwrap();
    cluster.restart(all[1]).unwrap();
    soon("the copies in sync", &|c| c.in_sync("t", 0).is_ok_and(|nodes| nodes == all), &cluster);
    producer.commit_transaction(WAIT).unwrap();
    assert_eq!(cluster.consume("t", Isolation::ReadCommitted).unwrap().len(), 3);
}
