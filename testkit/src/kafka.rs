//! A throw-away Kafka broker (KRaft, one node) on free ports, ready when it answers. Its plain listener is always
//! there for the tests' own reads; a SASL_SSL listener and one behind a proxy come beside it when asked for. Where leaders
//! are to change there are three nodes (`cluster`).

mod cluster;
mod node;
mod ready;
mod records;
mod stranger;

pub use cluster::Cluster;
pub use ready::{PASSWORD, USER, prepare};
pub use records::{Isolation, Record, Tail};
pub use stranger::Stranger;

use crate::certificate::{self, Certificates};
use crate::process;
use crate::proxy::Proxy;
use anyhow::{Context, Result};
use node::{Node, Setting};
use ready::Ready;
use rustix::process::Signal;
use std::path::PathBuf;

/// How it is set up.
#[derive(Clone, Debug, Default)]
pub struct KafkaOptions {
    /// Whether it has a SASL_SSL listener for user `alice`, password `alice-secret`, by PLAIN, SCRAM-SHA-256 and
    /// SCRAM-SHA-512.
    pub sasl_ssl: bool,
    /// Whether clients may come by way of a proxy, which can cut them off.
    pub proxied: bool,
    /// Further lines of `server.properties`, which win over ours.
    pub settings: Vec<(String, String)>,
}

impl KafkaOptions {
    /// With one more setting.
    #[must_use]
    pub fn set(mut self, key: &str, value: &str) -> KafkaOptions {
        self.settings.push((key.to_owned(), value.to_owned()));
        self
    }
}

/// Heap in MiB.
const HEAP: u32 = 512;

/// A running broker.
#[derive(Debug)]
pub struct Kafka {
    node: Node,
    port: u16,
    secure_port: Option<u16>,
    proxy: Option<Proxy>,
    certificates: Option<Certificates>,
}

impl Kafka {
    /// Starts one; it answers when this returns.
    pub fn start(options: &KafkaOptions) -> Result<Kafka> {
        let ready = Ready::find()?;
        let mut attempts = 0;
        loop {
            attempts += 1;
            let node = Node::new(&ready)?;
            let mut broker = Kafka { node, port: 0, secure_port: None, proxy: None, certificates: None };
            match broker.prepare(options).and_then(|()| broker.launch()) {
                // Another process may have taken a port in between.
                Err(_) if attempts < 3 => {}
                result => break result.map(|()| broker),
            }
        }
    }

    fn prepare(&mut self, options: &KafkaOptions) -> Result<()> {
        self.port = process::free_port()?;
        if options.proxied {
            self.proxy = Some(Proxy::start(process::free_port()?)?);
        }
        if options.sasl_ssl {
            self.secure_port = Some(process::free_port()?);
            self.certificates = Some(certificate::generate(self.node.folder())?);
        }
        self.node.configure(&self.settings(options, process::free_port()?)?)?;
        self.node.format(1, options.sasl_ssl)
    }

    fn settings(&self, options: &KafkaOptions, controller: u16) -> Result<Vec<Setting>> {
        let mut listeners = format!("PLAINTEXT://127.0.0.1:{}", self.port);
        let mut settings: Vec<Setting> = Vec::new();
        let mut set = |key: &str, value: &str| settings.push((key.to_owned(), value.to_owned()));
        if let (Some(port), Some(files)) = (self.secure_port, &self.certificates) {
            listeners.push_str(&format!(",SASL_SSL://127.0.0.1:{port}"));
            let [key, certificate] = [&files.key, &files.certificate].map(std::fs::read_to_string);
            let keystore = self.node.folder().join("keystore.pem");
            std::fs::write(&keystore, key? + &certificate?).context("write the keystore")?;
            set("ssl.keystore.type", "PEM");
            set("ssl.keystore.location", &keystore.display().to_string());
            set("sasl.enabled.mechanisms", "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512");
            let scram = "org.apache.kafka.common.security.scram.ScramLoginModule required;";
            for mechanism in ["scram-sha-256", "scram-sha-512"] {
                set(&format!("listener.name.sasl_ssl.{mechanism}.sasl.jaas.config"), scram);
            }
            let plain =
                format!("org.apache.kafka.common.security.plain.PlainLoginModule required user_{USER}=\"{PASSWORD}\";");
            set("listener.name.sasl_ssl.plain.sasl.jaas.config", &plain);
        }
        let mut advertised = listeners.clone();
        if let Some(proxy) = &self.proxy {
            listeners.push_str(&format!(",PROXIED://127.0.0.1:{}", proxy.target()));
            advertised.push_str(&format!(",PROXIED://127.0.0.1:{}", proxy.port()));
        }
        set("controller.quorum.voters", &format!("1@127.0.0.1:{controller}"));
        set("listeners", &format!("{listeners},CONTROLLER://127.0.0.1:{controller}"));
        set("advertised.listeners", &format!("{advertised},CONTROLLER://127.0.0.1:{controller}"));
        for (key, value) in ALONE {
            set(key, value);
        }
        settings.extend(options.settings.iter().cloned());
        Ok(settings)
    }

    fn launch(&mut self) -> Result<()> {
        let brokers = self.brokers();
        // Metadata lists the broker only when it is registered and no longer fenced.
        self.node.launch(HEAP, || records::registered(&brokers).is_ok_and(|nodes| !nodes.is_empty()))
    }

    /// Sends a signal to it and all its workers, such as SIGSTOP and SIGCONT.
    pub fn signal(&self, signal: Signal) {
        self.node.signal(signal);
    }

    /// SIGKILL.
    pub fn kill(&mut self) -> Result<()> {
        self.node.kill()
    }

    /// An orderly stop.
    pub fn stop(&mut self) -> Result<()> {
        self.node.stop()
    }

    /// Stops it when it runs and starts it on the same data and ports.
    pub fn restart(&mut self) -> Result<()> {
        self.stop()?;
        self.launch()
    }

    /// Address of the plain listener.
    pub fn brokers(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The way through the proxy, when there is one.
    pub fn proxy(&self) -> Option<&Proxy> {
        self.proxy.as_ref()
    }

    /// Address of the SASL_SSL listener, when there is one.
    pub fn secure_brokers(&self) -> Option<String> {
        self.secure_port.map(|port| format!("127.0.0.1:{port}"))
    }

    /// The files of its TLS, when it has any.
    pub fn certificates(&self) -> Option<&Certificates> {
        self.certificates.as_ref()
    }

    /// The broker's log.
    pub fn log_path(&self) -> PathBuf {
        self.node.log_path()
    }

    /// The names of all topics, sorted, without Kafka's own.
    pub fn topics(&self) -> Result<Vec<String>> {
        records::topics(&self.brokers())
    }

    /// Every record of a topic from its beginning to its end as it is now, partition by partition. A topic that does
    /// not exist has none.
    pub fn consume(&self, topic: &str, isolation: Isolation) -> Result<Vec<Record>> {
        records::consume(&self.brokers(), topic, isolation, records::MARKER_LIMIT)
    }

    /// Whether no transaction is open in a topic: readers of committed records come to its end.
    pub fn all_ended(&self, topic: &str) -> Result<bool> {
        records::all_ended(&self.brokers(), topic)
    }

    /// The records of a topic as `consume` gives them, one by one in the order of each partition. The first error ends it.
    pub fn visit(&self, topic: &str, isolation: Isolation, act: &mut dyn FnMut(Record) -> Result<()>) -> Result<()> {
        records::visit(&self.brokers(), topic, isolation, records::MARKER_LIMIT, act)
    }

    /// Gives a topic these settings and no others of its own.
    pub fn alter_topic(&self, topic: &str, settings: &[(&str, &str)]) -> Result<()> {
        records::alter_topic(&self.brokers(), topic, settings)
    }

    /// Makes a topic with so many partitions and further settings.
    pub fn create_topic(&self, topic: &str, partitions: i32, settings: &[(&str, &str)]) -> Result<()> {
        records::create_topic(&self.brokers(), topic, partitions, 1, settings)
    }

    /// Deletes a topic and waits until it is gone.
    pub fn delete_topic(&self, topic: &str) -> Result<()> {
        records::delete_topic(&self.brokers(), topic)
    }

    /// A producer that takes a transactional id from whoever holds it.
    pub fn stranger(&self, id: &str) -> Result<Stranger> {
        Stranger::register(&self.brokers(), id)
    }

    /// Gives a topic more partitions.
    pub fn add_partitions(&self, topic: &str, partitions: usize) -> Result<()> {
        records::add_partitions(&self.brokers(), topic, partitions)
    }
}

/// What a node has that has no others beside it.
const ALONE: [(&str, &str); 6] = [
    ("node.id", "1"),
    ("offsets.topic.replication.factor", "1"),
    ("transaction.state.log.replication.factor", "1"),
    ("transaction.state.log.min.isr", "1"),
    ("share.coordinator.state.topic.replication.factor", "1"),
    ("share.coordinator.state.topic.min.isr", "1"),
];

#[cfg(test)]
mod tests;
