//! Three nodes, each broker and voter, and three copies of each partition of which two must be in sync: one node may go
//! at any time, and others lead from then on. Knows what a node is asked for, and nothing of what topics hold.

use super::node::{Node, Setting};
use super::ready::Ready;
use super::records::{self, Isolation, Record};
use crate::process;
use crate::proxy::Proxy;
use anyhow::{Context, Result, anyhow};
use rustix::process::Signal;

/// Ids of the nodes.
const IDS: [i32; 3] = [1, 2, 3];
/// Heap of each in MiB.
const HEAP: u32 = 256;

/// What each of several nodes has. One transaction coordinator for all ids, so that its node is the one which leads the
/// only partition; sessions that a stall of a second on a busy machine does not end.
const TOGETHER: [(&str, &str); 10] = [
    ("default.replication.factor", "3"),
    ("min.insync.replicas", "2"),
    ("offsets.topic.replication.factor", "3"),
    ("offsets.topic.num.partitions", "1"),
    ("transaction.state.log.replication.factor", "3"),
    ("transaction.state.log.min.isr", "2"),
    ("transaction.state.log.num.partitions", "1"),
    ("share.coordinator.state.topic.replication.factor", "3"),
    ("share.coordinator.state.topic.min.isr", "2"),
    ("broker.session.timeout.ms", "3000"),
];

/// Three nodes, some of which run.
#[derive(Debug)]
pub struct Cluster {
    members: Vec<Member>,
}

#[derive(Debug)]
struct Member {
    id: i32,
    port: u16,
    controller: u16,
    /// Before a listener of its own.
    proxy: Option<Proxy>,
    node: Node,
}

impl Cluster {
    /// Starts all; each knows of the others when this returns.
    pub fn start() -> Result<Cluster> {
        Cluster::attempts(false)
    }

    /// As `start`, and clients may come by way of proxies, one before each node.
    pub fn start_proxied() -> Result<Cluster> {
        Cluster::attempts(true)
    }

    fn attempts(proxied: bool) -> Result<Cluster> {
        let ready = Ready::find()?;
        let mut attempts = 0;
        loop {
            attempts += 1;
            match Cluster::attempt(&ready, proxied) {
                // Another process may have taken a port in between.
                Err(_) if attempts < 3 => {}
                result => break result,
            }
        }
    }

    fn attempt(ready: &Ready, proxied: bool) -> Result<Cluster> {
        let member = |id| -> Result<Member> {
            let (port, controller) = (process::free_port()?, process::free_port()?);
            let proxy = if proxied { Some(Proxy::start(process::free_port()?)?) } else { None };
            Ok(Member { id, port, controller, proxy, node: Node::new(ready)? })
        };
        let mut members = IDS.into_iter().map(member).collect::<Result<Vec<_>>>()?;
        let voter = |member: &Member| format!("{}@127.0.0.1:{}", member.id, member.controller);
        let voters = members.iter().map(voter).collect::<Vec<_>>().join(",");
        // No node answers before a majority is there, so none can be waited for before the others are started.
        std::thread::scope(|scope| {
            let starts: Vec<_> = members
                .iter_mut()
                .map(|member| {
                    let voters = &voters;
                    scope.spawn(move || {
                        member.node.configure(&member.settings(voters))?;
                        member.node.format(member.id, false)?;
                        member.launch(&IDS)
                    })
                })
                .collect();
            starts.into_iter().try_for_each(|start| start.join().map_err(|_| anyhow!("a panic"))?)
        })?;
        Ok(Cluster { members })
    }

    /// Addresses of the brokers, whether they run or not.
    pub fn brokers(&self) -> Vec<String> {
        self.members.iter().map(Member::address).collect()
    }

    /// The ways through the proxies, when there are any.
    pub fn proxies(&self) -> Vec<&Proxy> {
        self.members.iter().filter_map(|member| member.proxy.as_ref()).collect()
    }

    fn servers(&self) -> String {
        self.brokers().join(",")
    }

    /// Ids of the nodes.
    pub fn nodes(&self) -> [i32; 3] {
        IDS
    }

    /// Sends a signal to a node, such as SIGSTOP and SIGCONT.
    pub fn signal(&self, node: i32, signal: Signal) -> Result<()> {
        self.member(node)?.node.signal(signal);
        Ok(())
    }

    /// SIGKILL to a node.
    pub fn kill(&mut self, node: i32) -> Result<()> {
        self.member_mut(node)?.node.kill()
    }

    /// Stops a node when it runs and starts it on the same data and ports. It is back when this returns, which takes
    /// a majority; its copies may still lag.
    pub fn restart(&mut self, node: i32) -> Result<()> {
        let member = self.member_mut(node)?;
        member.node.stop()?;
        member.launch(&[node])
    }

    /// The node that leads a partition; an error while there is none.
    pub fn leader(&self, topic: &str, partition: i32) -> Result<i32> {
        Ok(records::leadership(&self.servers(), topic, partition)?.0)
    }

    /// The nodes whose copies of a partition are in sync, sorted; an error while none leads it.
    pub fn in_sync(&self, topic: &str, partition: i32) -> Result<Vec<i32>> {
        let mut nodes = records::leadership(&self.servers(), topic, partition)?.1;
        nodes.sort_unstable();
        Ok(nodes)
    }

    /// Makes a topic with so many partitions and further settings.
    pub fn create_topic(&self, topic: &str, partitions: i32, settings: &[(&str, &str)]) -> Result<()> {
        records::create_topic(&self.servers(), topic, partitions, -1, settings)
    }

    /// Gives a topic these settings and no others of its own.
    pub fn alter_topic(&self, topic: &str, settings: &[(&str, &str)]) -> Result<()> {
        records::alter_topic(&self.servers(), topic, settings)
    }

    /// Every record of a topic, as [`super::Kafka::consume`] gives them.
    pub fn consume(&self, topic: &str, isolation: Isolation) -> Result<Vec<Record>> {
        records::consume(&self.servers(), topic, isolation, records::MARKER_LIMIT)
    }

    /// The names of all topics, as [`super::Kafka::topics`] gives them.
    pub fn topics(&self) -> Result<Vec<String>> {
        records::topics(&self.servers())
    }

    /// The records of a topic, as [`super::Kafka::visit`] gives them.
    pub fn visit(&self, topic: &str, isolation: Isolation, act: &mut dyn FnMut(Record) -> Result<()>) -> Result<()> {
        records::visit(&self.servers(), topic, isolation, records::MARKER_LIMIT, act)
    }

    /// Deletes a topic and waits until it is gone.
    pub fn delete_topic(&self, topic: &str) -> Result<()> {
        records::delete_topic(&self.servers(), topic)
    }

    fn member(&self, node: i32) -> Result<&Member> {
        self.members.iter().find(|member| member.id == node).with_context(|| format!("no node {node}"))
    }

    fn member_mut(&mut self, node: i32) -> Result<&mut Member> {
        self.members.iter_mut().find(|member| member.id == node).with_context(|| format!("no node {node}"))
    }
}

impl Member {
    fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    fn listener(&self) -> String {
        format!("PLAINTEXT://{}", self.address())
    }

    fn settings(&self, voters: &str) -> Vec<Setting> {
        let (mut listeners, mut advertised) = (self.listener(), self.listener());
        if let Some(proxy) = &self.proxy {
            listeners.push_str(&format!(",PROXIED://127.0.0.1:{}", proxy.target()));
            advertised.push_str(&format!(",PROXIED://127.0.0.1:{}", proxy.port()));
        }
        let own = [
            ("node.id", self.id.to_string()),
            ("controller.quorum.voters", voters.to_owned()),
            ("listeners", format!("{listeners},CONTROLLER://127.0.0.1:{}", self.controller)),
            ("advertised.listeners", format!("{advertised},CONTROLLER://127.0.0.1:{}", self.controller)),
        ];
        let shared = TOGETHER.iter().map(|(key, value)| (*key, (*value).to_owned()));
        own.into_iter().chain(shared).map(|(key, value)| (key.to_owned(), value)).collect()
    }

    /// Waits until it shows all these nodes.
    fn launch(&mut self, nodes: &[i32]) -> Result<()> {
        let address = self.address();
        self.node.launch(HEAP, || {
            records::registered(&address).is_ok_and(|shown| nodes.iter().all(|node| shown.contains(node)))
        })
    }
}
