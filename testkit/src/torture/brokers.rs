//! The brokers of a site: one, or three of which any may go while the others lead. Knows how to take them away and bring them
//! back, and nothing of what topics hold.

use crate::kafka::{Cluster, Isolation, Record};
use crate::workload::Dice;
use crate::{Kafka, KafkaOptions, Proxy};
use anyhow::Result;
use rustix::process::Signal;

/// Partitions whose leaders a commit needs: the decision, the progress.
const LED: [(&str, i32); 2] = [("__transaction_state", 0), ("tidewire-progress", 0)];

/// Brokers behind proxies, and which of them are gone or frozen.
#[derive(Debug)]
pub(super) struct Brokers {
    nodes: Nodes,
    away: Vec<i32>,
}

#[derive(Debug)]
enum Nodes {
    One(Box<Kafka>),
    Three(Cluster),
}

impl Brokers {
    /// One broker or three; they answer when this returns.
    pub(super) fn start(three: bool) -> Result<Brokers> {
        let nodes = match three {
            true => Nodes::Three(Cluster::start_proxied()?),
            false => Nodes::One(Box::new(Kafka::start(&KafkaOptions { proxied: true, ..KafkaOptions::default() })?)),
        };
        Ok(Brokers { nodes, away: Vec::new() })
    }

    /// Addresses that no fault of a line is on, with commas between them.
    pub(super) fn addresses(&self) -> String {
        match &self.nodes {
            Nodes::One(kafka) => kafka.brokers(),
            Nodes::Three(cluster) => cluster.brokers().join(","),
        }
    }

    /// The ways by which the daemon comes.
    pub(super) fn proxies(&self) -> Vec<&Proxy> {
        match &self.nodes {
            Nodes::One(kafka) => kafka.proxy().into_iter().collect(),
            Nodes::Three(cluster) => cluster.proxies(),
        }
    }

    /// SIGKILL to the broker; of three, to one or two.
    pub(super) fn kill(&mut self, dice: &mut Dice) -> Result<()> {
        self.choose(dice);
        match &mut self.nodes {
            Nodes::One(kafka) => kafka.kill(),
            Nodes::Three(cluster) => self.away.iter().try_for_each(|node| cluster.kill(*node)),
        }
    }

    /// As `kill`, with SIGSTOP.
    pub(super) fn freeze(&mut self, dice: &mut Dice) -> Result<()> {
        self.choose(dice);
        self.signal(Signal::STOP)
    }

    /// Those that were frozen wake up.
    pub(super) fn thaw(&mut self) -> Result<()> {
        let thawed = self.signal(Signal::CONT);
        self.away.clear();
        thawed
    }

    /// Starts those that were killed; with none away one is stopped in order before.
    pub(super) fn restart(&mut self, dice: &mut Dice) -> Result<()> {
        if self.away.is_empty() {
            self.choose(dice);
        }
        match &mut self.nodes {
            Nodes::One(kafka) => kafka.restart()?,
            Nodes::Three(cluster) => self.away.iter().try_for_each(|node| cluster.restart(*node))?,
        }
        self.away.clear();
        Ok(())
    }

    /// Which of three it hits: one that leads what a commit needs, or any; now and then one more, so that too few are left.
    fn choose(&mut self, dice: &mut Dice) {
        let Nodes::Three(cluster) = &self.nodes else { return };
        let mut nodes = cluster.nodes().to_vec();
        let any = dice.below(nodes.len() as u64) as usize;
        let leads =
            LED.get(dice.below(3) as usize).and_then(|(topic, partition)| cluster.leader(topic, *partition).ok());
        let first = leads.and_then(|node| nodes.iter().position(|other| *other == node)).unwrap_or(any);
        nodes.rotate_left(first);
        nodes.truncate(if dice.one_in(4) { 2 } else { 1 });
        self.away = nodes;
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        match &self.nodes {
            Nodes::One(kafka) => {
                kafka.signal(signal);
                Ok(())
            }
            Nodes::Three(cluster) => self.away.iter().try_for_each(|node| cluster.signal(*node, signal)),
        }
    }

    /// As [`Kafka::topics`].
    pub(super) fn topics(&self) -> Result<Vec<String>> {
        match &self.nodes {
            Nodes::One(kafka) => kafka.topics(),
            Nodes::Three(cluster) => cluster.topics(),
        }
    }

    /// As [`Kafka::visit`].
    pub(super) fn visit(
        &self,
        topic: &str,
        isolation: Isolation,
        act: &mut dyn FnMut(Record) -> Result<()>,
    ) -> Result<()> {
        match &self.nodes {
            Nodes::One(kafka) => kafka.visit(topic, isolation, act),
            Nodes::Three(cluster) => cluster.visit(topic, isolation, act),
        }
    }

    /// As [`Kafka::create_topic`], with one partition.
    pub(super) fn create_topic(&self, topic: &str) -> Result<()> {
        match &self.nodes {
            Nodes::One(kafka) => kafka.create_topic(topic, 1, &[]),
            Nodes::Three(cluster) => cluster.create_topic(topic, 1, &[]),
        }
    }

    /// As [`Kafka::delete_topic`].
    pub(super) fn delete_topic(&self, topic: &str) -> Result<()> {
        match &self.nodes {
            Nodes::One(kafka) => kafka.delete_topic(topic),
            Nodes::Three(cluster) => cluster.delete_topic(topic),
        }
    }
}
