//! A throw-away Azure blob store (Azurite, one process) on a free port of 127.0.0.1, ready when it has made its container.
//! It holds everything in memory, so it is never killed and started again.

use crate::folder::RunFolder;
use crate::server::Server;
use crate::{fetch, http, process};
use anyhow::{Context, Result};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// The container that is there from the beginning.
pub const CONTAINER: &str = "lake";
/// The account that every Azurite has.
pub const ACCOUNT: &str = "devstoreaccount1";
/// Its key, the same everywhere and published.
pub const KEY: &str = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

/// A start takes 2 s, 12 s when its files have not been read before.
const START_LIMIT: Duration = Duration::from_secs(60);
const CREATE: &str = include_str!("../azurite/create_container.py");

/// A running store.
#[derive(Debug)]
pub struct Azurite {
    // Dropped in this order: the process before its folder.
    server: Server,
    port: u16,
    folder: RunFolder,
}

impl Azurite {
    /// Starts one with an empty container; it answers when this returns.
    pub fn start() -> Result<Azurite> {
        let mut attempts = 0;
        loop {
            attempts += 1;
            let server = Server::new("Azurite");
            let mut store = Azurite { server, port: process::free_port()?, folder: RunFolder::new("azurite")? };
            match store.launch() {
                // Another process may have taken the port in between.
                Err(_) if attempts < 3 => {}
                result => break result.map(|()| store),
            }
        }
    }

    fn launch(&mut self) -> Result<()> {
        let log = std::fs::File::create(self.log_path()).context("open a log")?;
        let mut command = process::guarded(Path::new("node"));
        command.arg(fetch::azurite::script()?).args(["--blobHost", "127.0.0.1", "--blobPort", &self.port.to_string()]);
        command.args(["--inMemoryPersistence", "--disableTelemetry", "--skipApiVersionCheck", "--silent"]);
        command.current_dir(self.folder.path()).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let (port, log) = (self.port, self.log_path());
        // Whatever it answers to a stranger, it is there.
        self.server.launch(command, START_LIMIT, &log, || http::get(port, "/").is_ok())?;
        let mut create = Command::new(fetch::python::interpreter()?);
        create.args(["-c", CREATE, &self.port.to_string(), ACCOUNT, KEY, CONTAINER]);
        process::output(&mut create).map(drop)
    }

    /// What a Delta client needs to know, in the names that delta-rs and Polars use as well.
    pub fn options(&self) -> Vec<(String, String)> {
        let endpoint = format!("http://127.0.0.1:{}/{ACCOUNT}", self.port);
        [
            ("azure_storage_endpoint", endpoint.as_str()),
            ("azure_allow_http", "true"),
            ("azure_storage_account_name", ACCOUNT),
            ("azure_storage_account_key", KEY),
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .to_vec()
    }

    /// The server's log.
    pub fn log_path(&self) -> PathBuf {
        self.folder.path().join("azurite.log")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_container_is_there_and_shut_to_strangers() {
        let store = Azurite::start().unwrap();
        let page = |name: &str| http::get(store.port, &format!("/{ACCOUNT}/{name}?restype=container")).unwrap();
        assert!([403, 404].contains(&page(CONTAINER).status), "no access without a key");
        let again = Command::new(fetch::python::interpreter().unwrap())
            .args(["-c", CREATE, &store.port.to_string(), ACCOUNT, KEY, CONTAINER])
            .output()
            .unwrap();
        assert!(String::from_utf8_lossy(&again.stderr).contains("ContainerAlreadyExists"), "{again:?}");
    }
}
