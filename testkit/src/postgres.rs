//! A throw-away PostgreSQL: a clone of an initialised template on a free port, ready when it answers, killed and
//! restarted at will, gone when dropped.

mod client;
mod standby;

pub use client::{Client, Row};

use crate::certificate::{self, Certificates};
use crate::folder::RunFolder;
use crate::{cache, fetch, process, wait};
use anyhow::{Context, Result, bail};
use rustix::process::Signal;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Which server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// The pinned one of a major version, 13 to 18.
    Major(u16),
    /// The newest that is installed on this machine.
    Installed,
}

impl Version {
    /// `TIDEWIRE_TEST_POSTGRES` (a major version or `installed`), else 17.
    pub fn from_environment() -> Result<Version> {
        match std::env::var("TIDEWIRE_TEST_POSTGRES").as_deref() {
            Err(_) | Ok("") => Ok(Version::Major(17)),
            Ok("installed") => Ok(Version::Installed),
            Ok(major) => Ok(Version::Major(major.parse().context("TIDEWIRE_TEST_POSTGRES")?)),
        }
    }
}

/// How it is set up.
#[derive(Clone, Debug, Default)]
pub struct PostgresOptions {
    /// Which server; `None` asks the environment.
    pub version: Option<Version>,
    /// Whether it offers TLS, with a certificate for 127.0.0.1.
    pub tls: bool,
    /// Whether commits reach the disk. Off by default: a killed process loses nothing that the kernel holds.
    pub fsync: bool,
    /// Whether it has a system identifier of its own. Clones share their template's.
    pub own_identity: bool,
    /// Further settings, which win over ours.
    pub settings: Vec<(String, String)>,
}

impl PostgresOptions {
    /// A server of a major version.
    pub fn version(major: u16) -> PostgresOptions {
        PostgresOptions { version: Some(Version::Major(major)), ..PostgresOptions::default() }
    }

    /// With one more setting.
    #[must_use]
    pub fn set(mut self, key: &str, value: &str) -> PostgresOptions {
        self.settings.push((key.to_owned(), value.to_owned()));
        self
    }

    /// With TLS.
    #[must_use]
    pub fn tls(mut self) -> PostgresOptions {
        self.tls = true;
        self
    }
}

/// A running server.
#[derive(Debug)]
pub struct Postgres {
    child: Option<Child>,
    port: u16,
    programs: PathBuf,
    certificates: Option<Certificates>,
    folder: RunFolder,
}

const ADMINISTRATOR: &str = "postgres";
const START_LIMIT: Duration = Duration::from_secs(60);
/// PostgreSQL counts its workers' start in this; longer means that it hangs and is killed.
const STOP_LIMIT: Duration = Duration::from_secs(20);

impl Postgres {
    /// Starts one; it answers when this returns.
    pub fn start(options: &PostgresOptions) -> Result<Postgres> {
        let version = options.version.map_or_else(Version::from_environment, Ok)?;
        let programs = match version {
            Version::Major(major) => fetch::postgres::distribution(major)?,
            Version::Installed => fetch::postgres::installed()
                .context("no PostgreSQL is installed: install the package postgresql, or use a pinned version")?,
        }
        .join("bin");
        let folder = RunFolder::new("postgres")?;
        let data = folder.path().join("data");
        if options.own_identity {
            std::fs::create_dir(&data).context("make the data folder")?;
            initialise(&programs, &data)?;
        } else {
            process::output(Command::new("cp").arg("-a").arg(template(&programs)?).arg(&data))?;
        }
        let certificates = options.tls.then(|| certificates(folder.path())).transpose()?;
        let mut server = Postgres { child: None, port: 0, programs, certificates, folder };
        server.configure(options)?;
        process::give_to_server(server.folder.path())?;
        let mut attempts = 0;
        loop {
            attempts += 1;
            server.port = process::free_port()?;
            match server.launch() {
                // Another process may have taken the port in between.
                Err(_) if attempts < 3 => {}
                result => break result.map(|()| server),
            }
        }
    }

    fn configure(&self, options: &PostgresOptions) -> Result<()> {
        let on = |flag: bool| if flag { "on" } else { "off" };
        let mut settings = vec![
            ("listen_addresses", "127.0.0.1".to_owned()),
            ("unix_socket_directories", self.folder.path().display().to_string()),
            ("wal_level", "logical".to_owned()),
            ("max_connections", "60".to_owned()),
            ("max_replication_slots", "20".to_owned()),
            ("max_wal_senders", "20".to_owned()),
            ("shared_buffers", "32MB".to_owned()),
            ("fsync", on(options.fsync).to_owned()),
            ("password_encryption", "scram-sha-256".to_owned()),
            ("ssl", on(options.tls).to_owned()),
        ];
        if let Some(files) = &self.certificates {
            settings.push(("ssl_cert_file", files.certificate.display().to_string()));
            settings.push(("ssl_key_file", files.key.display().to_string()));
            settings.push(("ssl_ca_file", files.authority.display().to_string()));
        }
        let more = options.settings.iter().map(|(key, value)| (key.as_str(), value.clone()));
        let line = |(key, value): (&str, String)| format!("{key} = '{}'\n", value.replace('\'', "''"));
        let text: String = settings.into_iter().chain(more).map(line).collect();
        std::fs::write(self.folder.path().join("data/postgresql.auto.conf"), text).context("write the settings")?;
        // The administrator and the socket need no password; everybody else does, and nobody may take a physical copy.
        let access =
            "local all all trust\nhost all postgres 127.0.0.1/32 trust\nhost all all 127.0.0.1/32 scram-sha-256\n";
        std::fs::write(self.folder.path().join("data/pg_hba.conf"), access).context("write the access rules")
    }

    fn launch(&mut self) -> Result<()> {
        let log = self.log_path();
        let file = std::fs::File::options().create(true).append(true).open(&log).context("open the server's log")?;
        let mut command = process::guarded_as_server(&self.programs.join("postgres"))?;
        command.arg("-D").arg(self.folder.path().join("data")).args(["-c", &format!("port={}", self.port)]);
        command.current_dir(self.folder.path()).stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
        let mut child = process::spawn(command)?;
        let ready = wait::until("PostgreSQL to answer", START_LIMIT, || {
            if let Some(status) = child.try_wait()? {
                bail!("PostgreSQL ended with {status}: {}", process::tail(&std::fs::read_to_string(&log)?));
            }
            Ok(Client::connect(&self.url(ADMINISTRATOR)).ok().map(drop))
        });
        if let Err(error) = ready {
            process::kill_tree(&mut child)?;
            return Err(error);
        }
        self.child = Some(child);
        Ok(())
    }

    /// SIGKILL to the server and all its workers, as a power cut would.
    pub fn kill(&mut self) -> Result<()> {
        self.child.take().map_or(Ok(()), |mut child| process::kill_tree(&mut child))
    }

    /// Sends a signal to it and all its workers, such as SIGSTOP and SIGCONT.
    pub fn signal(&self, signal: Signal) {
        if let Some(child) = &self.child {
            process::signal_tree(child, signal);
        }
    }

    /// A fast shutdown: sessions are ended, walsenders may finish.
    pub fn stop(&mut self) -> Result<()> {
        let Some(mut child) = self.child.take() else { return Ok(()) };
        process::end(&mut child, Signal::INT, STOP_LIMIT).map(drop)
    }

    /// Stops it when it runs and starts it on the same data and port.
    pub fn restart(&mut self) -> Result<()> {
        self.stop()?;
        self.launch()
    }

    /// A session of the administrator in the database `postgres`.
    pub fn client(&self) -> Result<Client> {
        self.client_of(ADMINISTRATOR)
    }

    /// A session of the administrator in another database.
    pub fn client_of(&self, database: &str) -> Result<Client> {
        Client::connect(&self.url_of(ADMINISTRATOR, database))
    }

    /// A URL for a user in the database `postgres`; a user's password is the user's name.
    pub fn url(&self, user: &str) -> String {
        self.url_of(user, "postgres")
    }

    /// A URL for a user in a database.
    pub fn url_of(&self, user: &str, database: &str) -> String {
        format!("postgres://{user}:{user}@127.0.0.1:{}/{database}", self.port)
    }

    /// The port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The folder of the unix socket.
    pub fn socket_folder(&self) -> &Path {
        self.folder.path()
    }

    /// The data folder.
    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// The server's log.
    pub fn log_path(&self) -> PathBuf {
        self.folder.path().join("postgres.log")
    }

    /// The files of its TLS, when it has any.
    pub fn certificates(&self) -> Option<&Certificates> {
        self.certificates.as_ref()
    }

    /// The role that a careful administrator gives to a change data capture tool, and nothing more (PG-98): log in,
    /// REPLICATION, CONNECT, USAGE and SELECT. Its password is its name. Publications are the administrator's.
    pub fn create_limited_role(&self, role: &str, database: &str, schemas: &[&str]) -> Result<()> {
        let client = self.client_of(database)?;
        client.execute(&format!(
            "CREATE ROLE {role} LOGIN REPLICATION PASSWORD '{role}'; GRANT CONNECT ON DATABASE {database} TO {role}"
        ))?;
        for schema in schemas {
            client.execute(&format!(
                "REVOKE CREATE ON SCHEMA {schema} FROM PUBLIC; GRANT USAGE ON SCHEMA {schema} TO {role};
                 GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO {role};
                 ALTER DEFAULT PRIVILEGES IN SCHEMA {schema} GRANT SELECT ON TABLES TO {role}"
            ))?;
        }
        Ok(())
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if let Err(error) = self.kill() {
            eprintln!("PostgreSQL on port {}: {error:#}", self.port);
        }
    }
}

/// An initialised data folder of these programs, made once and kept in the cache.
fn template(programs: &Path) -> Result<PathBuf> {
    let asked = process::output(Command::new(programs.join("postgres")).arg("--version"))?;
    let text = String::from_utf8_lossy(&asked.stdout).into_owned();
    let version = text.split_whitespace().find(|word| word.starts_with(|c: char| c.is_ascii_digit()));
    let version = version.with_context(|| format!("no version in `{}`", text.trim()))?;
    let place = cache::entry(
        &cache::servers()?,
        &format!("postgres-template-{version}"),
        &format!("PostgreSQL {version} template"),
        |folder| {
            let data = folder.join("data");
            std::fs::create_dir(&data).context("make the data folder")?;
            initialise(programs, &data)
        },
    )?;
    Ok(place.join("data"))
}

fn initialise(programs: &Path, data: &Path) -> Result<()> {
    process::give_to_server(data)?;
    let mut initdb = process::guarded_as_server(&programs.join("initdb"))?;
    initdb.arg("-D").arg(data).args(["-U", ADMINISTRATOR, "-A", "trust", "--no-sync", "--encoding=UTF8"]);
    process::output(initdb.arg("--locale=C").current_dir("/")).map(drop)
}

fn certificates(folder: &Path) -> Result<Certificates> {
    let tls = folder.join("tls");
    std::fs::create_dir(&tls).context("make a folder for certificates")?;
    let made = certificate::generate(&tls)?;
    // PostgreSQL refuses a key that others may read.
    std::fs::set_permissions(&made.key, PermissionsExt::from_mode(0o600)).context("close the key to others")?;
    Ok(made)
}

#[cfg(test)]
mod tests;
