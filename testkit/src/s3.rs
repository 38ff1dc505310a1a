//! A throw-away S3 store (SeaweedFS, one process) on free ports of 127.0.0.1, ready when it has kept a file. It honours
//! `If-None-Match` on PUT, also when several writers race, which not every stand-in for S3 does.

use crate::folder::RunFolder;
use crate::server::Server;
use crate::{fetch, http, process};
use anyhow::{Context, Result};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

/// The bucket that is there from the beginning.
pub const BUCKET: &str = "lake";
/// The only login.
pub const ACCESS_KEY: &str = "tidewire-test";
/// Its secret.
pub const SECRET_KEY: &str = "tidewire-test-secret";

/// A start takes 4 s, one on the data of a killed server 18 s.
const START_LIMIT: Duration = Duration::from_secs(90);

/// A running store.
#[derive(Debug)]
pub struct S3 {
    // Dropped in this order: the process before its folder.
    server: Server,
    ports: Ports,
    folder: RunFolder,
}

/// Each service has a port for HTTP and one for its own protocol.
#[derive(Clone, Copy, Debug)]
struct Ports {
    s3: [u16; 2],
    filer: [u16; 2],
    volume: [u16; 2],
    master: [u16; 2],
}

impl S3 {
    /// Starts one with an empty bucket; it answers when this returns.
    pub fn start() -> Result<S3> {
        let mut attempts = 0;
        loop {
            attempts += 1;
            let server = Server::new("SeaweedFS");
            let mut store = S3 { server, ports: Ports::free()?, folder: RunFolder::new("s3")? };
            match store.launch() {
                // Another process may have taken a port in between.
                Err(_) if attempts < 3 => {}
                result => break result.map(|()| store),
            }
        }
    }

    fn launch(&mut self) -> Result<()> {
        let folder = self.folder.path();
        let actions = r#"["Admin", "Read", "Write", "List", "Tagging"]"#;
        let login = format!(r#"[{{"accessKey": "{ACCESS_KEY}", "secretKey": "{SECRET_KEY}"}}]"#);
        let logins = format!(r#"{{"identities": [{{"name": "test", "credentials": {login}, "actions": {actions}}}]}}"#);
        std::fs::write(folder.join("s3.json"), logins).context("write the store's logins")?;
        let data = folder.join("data");
        std::fs::create_dir_all(&data).context("make a folder for the store")?;
        let log = std::fs::File::options().create(true).append(true).open(self.log_path()).context("open a log")?;
        let mut command = process::guarded(&fetch::seaweedfs::program()?);
        command.args(["server", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-master.telemetry=false", "-s3"]);
        command.arg(format!("-dir={}", data.display())).arg(format!("-s3.config={}", folder.join("s3.json").display()));
        command.args(["-s3.iam=false", "-s3.port.iceberg=0", "-s3.port.lance=0"]);
        command.args(["-master.volumeSizeLimitMB=64", "-volume.max=20"]);
        for (service, [port, own]) in self.ports.all() {
            command.arg(format!("-{service}.port={port}")).arg(format!("-{service}.port.grpc={own}"));
        }
        command.current_dir(folder).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let (ports, log) = (self.ports, self.log_path());
        self.server.launch(command, START_LIMIT, &log, || keeps_a_file(ports).unwrap_or(false))
    }

    /// SIGKILL.
    pub fn kill(&mut self) -> Result<()> {
        self.server.kill()
    }

    /// Kills it when it runs and starts it on the same data and ports.
    pub fn restart(&mut self) -> Result<()> {
        self.kill()?;
        self.launch()
    }

    /// Where clients find it.
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.ports.s3[0])
    }

    /// What a Delta client needs to know, in the names that delta-rs and Polars use as well.
    pub fn options(&self) -> Vec<(String, String)> {
        let endpoint = self.endpoint();
        [
            ("aws_endpoint", endpoint.as_str()),
            ("aws_allow_http", "true"),
            ("aws_region", "us-east-1"),
            ("aws_access_key_id", ACCESS_KEY),
            ("aws_secret_access_key", SECRET_KEY),
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .to_vec()
    }

    /// The server's log.
    pub fn log_path(&self) -> PathBuf {
        self.folder.path().join("weed.log")
    }
}

impl Ports {
    fn free() -> Result<Ports> {
        let pair = || Ok::<_, anyhow::Error>([process::free_port()?, process::free_port()?]);
        Ok(Ports { s3: pair()?, filer: pair()?, volume: pair()?, master: pair()? })
    }

    fn all(self) -> [(&'static str, [u16; 2]); 4] {
        [("s3", self.s3), ("filer", self.filer), ("volume", self.volume), ("master", self.master)]
    }
}

/// An open port says little: a file is written, read and removed through the store's own file service, which needs
/// all of its parts. Buckets are folders there.
fn keeps_a_file(ports: Ports) -> Result<bool> {
    let ask = |method: &str, path: &str, body: &str| http::request(ports.filer[0], method, path, body);
    if http::get(ports.s3[0], "/healthz")?.status != 200 {
        return Ok(false);
    }
    ask("POST", &format!("/buckets/{BUCKET}/"), "")?;
    let probe = format!("/buckets/{BUCKET}/.ready");
    ask("PUT", &probe, "kept")?;
    let kept = ask("GET", &probe, "")?.body == "kept";
    ask("DELETE", &probe, "")?;
    Ok(kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_it_kept_survives_a_kill() {
        let mut store = S3::start().unwrap();
        let path = format!("/buckets/{BUCKET}/kept");
        http::request(store.ports.filer[0], "PUT", &path, "x").unwrap();
        // Without a login the front door stays shut.
        assert_eq!(http::get(store.ports.s3[0], &format!("/{BUCKET}/kept")).unwrap().status, 403);
        store.restart().unwrap();
        assert_eq!(http::get(store.ports.filer[0], &path).unwrap().body, "x");
    }
}
