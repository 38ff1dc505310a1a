//! What every node begins with, made once and kept in the cache: what its folder holds when it is formatted, and the classes
//! that a node loads, as the JVM has them once loaded (class data sharing). Both took a node longer than to start.

use super::node::{Node, Setting};
use super::records;
use crate::{cache, fetch, process};
use anyhow::{Context, Result};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use std::path::{Path, PathBuf};

/// The user of the SASL_SSL listener.
pub const USER: &str = "alice";
/// The user's password.
pub const PASSWORD: &str = "alice-secret";

/// The entry's name in the cache; to be changed with what is made.
const NAME: &str = "kafka-4.3.1-ready-1";
/// Every node is of this cluster.
const CLUSTER: &str = "dGlkZXdpcmUtdGVzdGtpdA";
/// Heap of the node whose classes are kept, in MiB.
const HEAP: u32 = 256;
/// The file that says which features a new cluster has, and which users.
const CHECKPOINT: &str = "bootstrap.checkpoint";

/// The place of all of it, and of the broker's jars.
#[derive(Clone, Debug)]
pub(super) struct Ready {
    pub(super) jars: PathBuf,
    folder: PathBuf,
}

/// Makes it when it is not in the cache.
pub fn prepare() -> Result<PathBuf> {
    Ready::find().map(|ready| ready.folder)
}

impl Ready {
    /// Makes it when it is not in the cache.
    pub(super) fn find() -> Result<Ready> {
        let jars = fetch::kafka::jars()?;
        let base = cache::folder()?.join("servers");
        let folder = cache::entry(&base, NAME, "Kafka's first folder and classes", |folder| {
            Ready { jars: jars.clone(), folder: folder.to_path_buf() }.make()
        })?;
        Ok(Ready { jars, folder })
    }

    /// Formats a folder by Kafka's own tool, without users and with one, then starts a node on what came of it.
    fn make(&self) -> Result<()> {
        let mut node = Node::new(self)?;
        let (port, controller) = (process::free_port()?, process::free_port()?);
        node.configure(&alone(port, controller))?;
        let scram = ["SCRAM-SHA-256", "SCRAM-SHA-512"]
            .map(|mechanism| format!("{mechanism}=[name={USER},password={PASSWORD}]"))
            .map(|credential| ["--add-scram".to_owned(), credential]);
        for (has_user, more) in [(false, Vec::new()), (true, scram.concat())] {
            let data = node.data();
            node.tool(&["format", "-t", CLUSTER], &more)?;
            std::fs::copy(data.join(CHECKPOINT), self.checkpoint(has_user)).context("keep a formatted folder")?;
            std::fs::remove_dir_all(&data).context("remove a formatted folder")?;
        }
        node.format(1, false)?;
        let broker = format!("127.0.0.1:{port}");
        let answers = || records::registered(&broker).is_ok_and(|nodes| !nodes.is_empty());
        node.launch_first(HEAP, answers)?;
        node.stop()
    }

    /// Makes the data folder of a node that has not run yet.
    pub(super) fn format(&self, data: &Path, node: i32, has_user: bool) -> Result<()> {
        std::fs::create_dir(data).context("make a data folder")?;
        let directory = URL_SAFE_NO_PAD.encode(format!("tidewire-node{node:03}"));
        let text = format!("version=1\ncluster.id={CLUSTER}\nnode.id={node}\ndirectory.id={directory}\n");
        std::fs::write(data.join("meta.properties"), text).context("write the names of a node")?;
        std::fs::copy(self.checkpoint(has_user), data.join(CHECKPOINT)).context("copy a formatted folder").map(drop)
    }

    fn checkpoint(&self, has_user: bool) -> PathBuf {
        self.folder.join(if has_user { "with-a-user" } else { "without-users" })
    }

    /// The file of the classes. A JVM for which it is not does without.
    pub(super) fn classes(&self) -> PathBuf {
        self.folder.join("classes.jsa")
    }
}

/// The settings that a node without others needs.
fn alone(port: u16, controller: u16) -> Vec<Setting> {
    let listeners = format!("PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}");
    let voters = format!("1@127.0.0.1:{controller}");
    [("node.id", "1"), ("controller.quorum.voters", &voters), ("listeners", &listeners)]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into()
}
