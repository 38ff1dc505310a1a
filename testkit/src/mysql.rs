//! A throw-away MySQL or MariaDB: a clone of an initialised template on a free port, with a binary log of rows, ready
//! when it answers, killed and restarted at will, gone when dropped.

mod client;
mod dump;
mod replica;
mod template;
mod version;

pub(crate) use client::ServerError;
pub use client::{Client, Row};
pub use dump::Dump;
pub use version::MysqlVersion;

use crate::certificate::{self, Certificates};
use crate::fetch::mysql::Distribution;
use crate::folder::RunFolder;
use crate::process;
use crate::server::Server;
use crate::wait::{self, PATIENCE};
use anyhow::{Context, Result, bail};
use rustix::process::Signal;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// How it is set up.
#[derive(Clone, Debug)]
pub struct MysqlOptions {
    /// Which server; `None` asks the environment.
    pub version: Option<MysqlVersion>,
    /// Whether MySQL gives its transactions global ids. MariaDB always does.
    pub gtid: bool,
    /// `binlog_row_image`: `FULL`, `MINIMAL` or `NOBLOB`.
    pub row_image: &'static str,
    /// `binlog_row_metadata`: `FULL`, or `MINIMAL`, and in MariaDB `NO_LOG`.
    pub row_metadata: &'static str,
    /// Whether the log is compressed: whole transactions in MySQL, events in MariaDB.
    pub compression: bool,
    /// Whether it shows a certificate of our authority for 127.0.0.1. Without, it does what it does by itself.
    pub tls: bool,
    /// Whether the log is encrypted on disk. MariaDB 11.8 alone.
    pub encryption: bool,
    /// Further settings, which win over ours.
    pub settings: Vec<(String, String)>,
}

impl Default for MysqlOptions {
    fn default() -> MysqlOptions {
        MysqlOptions {
            version: None,
            gtid: true,
            row_image: "FULL",
            row_metadata: "FULL",
            compression: false,
            tls: false,
            encryption: false,
            settings: Vec::new(),
        }
    }
}

impl MysqlOptions {
    /// A server of a version.
    pub fn version(version: MysqlVersion) -> MysqlOptions {
        MysqlOptions { version: Some(version), ..MysqlOptions::default() }
    }

    /// With one more setting.
    #[must_use]
    pub fn set(mut self, key: &str, value: &str) -> MysqlOptions {
        self.settings.push((key.to_owned(), value.to_owned()));
        self
    }

    /// With a certificate of ours.
    #[must_use]
    pub fn tls(mut self) -> MysqlOptions {
        self.tls = true;
        self
    }

    /// With a log that is encrypted on disk.
    #[must_use]
    pub fn encrypted(mut self) -> MysqlOptions {
        self.encryption = true;
        self
    }

    /// Without global ids: places are files and offsets.
    #[must_use]
    pub fn without_gtid(mut self) -> MysqlOptions {
        self.gtid = false;
        self
    }

    /// With another row image.
    #[must_use]
    pub fn row_image(mut self, image: &'static str) -> MysqlOptions {
        self.row_image = image;
        self
    }

    /// With other metadata of rows.
    #[must_use]
    pub fn row_metadata(mut self, metadata: &'static str) -> MysqlOptions {
        self.row_metadata = metadata;
        self
    }

    /// With a compressed log.
    #[must_use]
    pub fn compressed(mut self) -> MysqlOptions {
        self.compression = true;
        self
    }
}

/// A running server.
#[derive(Debug)]
pub struct Mysql {
    server: Server,
    version: MysqlVersion,
    port: u16,
    distribution: Distribution,
    arguments: Vec<String>,
    certificates: Option<Certificates>,
    folder: RunFolder,
}

/// May do everything, from this machine, without a password.
const ADMINISTRATOR: &str = "root";
/// The database of the tests' tables.
pub const DATABASE: &str = "work";
const START_LIMIT: Duration = Duration::from_secs(120);
const STOP_LIMIT: Duration = Duration::from_secs(60);

impl Mysql {
    /// Starts one; it answers when this returns, and has the empty database [`DATABASE`].
    pub fn start(options: &MysqlOptions) -> Result<Mysql> {
        let mysql = Mysql::start_empty(options)?;
        mysql.client_of("")?.execute(&format!("CREATE DATABASE {DATABASE}"))?;
        Ok(mysql)
    }

    /// Starts one whose log holds nothing.
    fn start_empty(options: &MysqlOptions) -> Result<Mysql> {
        let version = options.version.map_or_else(MysqlVersion::from_environment, Ok)?;
        let distribution = version.distribution()?;
        let folder = RunFolder::new(version.name())?;
        let template = template::of(version, &distribution)?;
        process::output(Command::new("cp").arg("-a").arg(template).arg(folder.path().join("data")))?;
        let certificates = options.tls.then(|| certificates(folder.path())).transpose()?;
        let mut arguments = arguments(version, options, certificates.as_ref());
        if options.encryption {
            arguments.extend(encryption(folder.path())?);
        }
        process::give_to_server(folder.path())?;
        let server = Server::new(version.program());
        let mut mysql = Mysql { server, version, port: 0, distribution, arguments, certificates, folder };
        let mut attempts = 0;
        loop {
            attempts += 1;
            mysql.port = process::free_port()?;
            match mysql.launch() {
                // Another process may have taken the port in between.
                Err(_) if attempts < 3 => {}
                result => break result.map(|()| mysql),
            }
        }
    }

    fn launch(&mut self) -> Result<()> {
        let log = self.log_path();
        let file = std::fs::File::options().create(true).append(true).open(&log).context("open the server's log")?;
        let mut command = self.distribution.server.as_server()?;
        command.arg("--no-defaults").args(&self.distribution.places);
        for (key, value) in
            [("datadir", self.data()), ("socket", self.socket()), ("pid-file", self.folder.path().join("pid"))]
        {
            command.arg(format!("--{key}={}", value.display()));
        }
        // No two servers of a machine share a port, so none share a number.
        command.args([format!("--port={}", self.port), format!("--server-id={}", self.port)]);
        command.args(&self.arguments).current_dir(self.folder.path());
        command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
        let (data, port) = (self.data(), self.port);
        self.server.launch(command, START_LIMIT, &log, || {
            // Another server may sit on the port.
            let place = Client::connect(port, ADMINISTRATOR, "").and_then(|client| client.value("SELECT @@datadir"));
            place.is_ok_and(|place| Path::new(&place) == data)
        })
    }

    /// Sends a signal to it and all its workers, such as SIGSTOP and SIGCONT.
    pub fn signal(&self, signal: Signal) {
        self.server.signal(signal);
    }

    /// SIGKILL, as a power cut would.
    pub fn kill(&mut self) -> Result<()> {
        self.server.kill()
    }

    /// A shutdown in order.
    pub fn stop(&mut self) -> Result<()> {
        self.server.stop(Signal::TERM, STOP_LIMIT)
    }

    /// Stops it when it runs and starts it on the same data and port.
    pub fn restart(&mut self) -> Result<()> {
        self.stop()?;
        self.launch()
    }

    /// The same with one more setting from now on; an empty value is none.
    pub fn restart_with(&mut self, key: &str, value: &str) -> Result<()> {
        self.stop()?;
        self.arguments.push(if value.is_empty() { format!("--{key}") } else { format!("--{key}={value}") });
        self.launch()
    }

    /// Stops it in order and starts another version's programs on the same data and port.
    pub fn upgrade(&mut self, to: MysqlVersion) -> Result<()> {
        self.stop()?;
        (self.version, self.distribution) = (to, to.distribution()?);
        self.launch()
    }

    /// A session of the administrator in [`DATABASE`].
    pub fn client(&self) -> Result<Client> {
        self.client_of(DATABASE)
    }

    /// A session of the administrator in another database, or in none when that is empty.
    pub fn client_of(&self, database: &str) -> Result<Client> {
        Client::connect(self.port, ADMINISTRATOR, database)
    }

    /// What the daemon's `url` is for a user. A limited user's password is the user's name; the administrator has none.
    pub fn url(&self, user: &str) -> String {
        if user == ADMINISTRATOR {
            return format!("mysql://{user}@127.0.0.1:{}", self.port);
        }
        format!("mysql://{user}:{user}@127.0.0.1:{}", self.port)
    }

    /// Which server it is.
    pub fn version(&self) -> MysqlVersion {
        self.version
    }

    /// The port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The unix socket.
    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("sock")
    }

    /// The data folder; the log's files are in it.
    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// The server's log of errors.
    pub fn log_path(&self) -> PathBuf {
        self.folder.path().join("mysql.log")
    }

    /// The files of its TLS, when it has any of ours.
    pub fn certificates(&self) -> Option<&Certificates> {
        self.certificates.as_ref()
    }

    /// The programs that came with it.
    pub fn distribution(&self) -> &Distribution {
        &self.distribution
    }

    /// The account that a careful administrator gives to a change data capture tool, and nothing more: reading the log,
    /// reading and briefly locking the tables of some databases. Its password is its name.
    pub fn create_limited_user(&self, user: &str, databases: &[&str]) -> Result<()> {
        let client = self.client_of("")?;
        client.execute(&format!("CREATE USER '{user}'@'%' IDENTIFIED BY '{user}'"))?;
        let lock = if self.version.is_mariadb() { "RELOAD" } else { "RELOAD, BACKUP_ADMIN, XA_RECOVER_ADMIN" };
        client.execute(&format!("GRANT {lock}, REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO '{user}'@'%'"))?;
        for database in databases {
            client.execute(&format!("GRANT SELECT, LOCK TABLES ON `{database}`.* TO '{user}'@'%'"))?;
        }
        Ok(())
    }

    /// The newest place of the log: file and offset.
    pub fn log_place(&self) -> Result<(String, u64)> {
        self.client_of("")?.log_place(self.version)
    }

    /// The log's files, oldest first, with their sizes.
    pub fn log_files(&self) -> Result<Vec<(String, u64)>> {
        let rows = self.client_of("")?.rows("SHOW BINARY LOGS")?;
        rows.into_iter()
            .map(|row| match row.as_slice() {
                [Some(name), Some(size), ..] => Ok((name.clone(), size.parse().context("a file's size")?)),
                other => bail!("SHOW BINARY LOGS answered {other:?}"),
            })
            .collect()
    }

    /// Ends the log's newest file and removes all before the next. A statement alone does not do it: MariaDB skips a
    /// file, without a word, that its engine still needs for a recovery, which it does for a moment after the file's end.
    pub fn purge_log(&self) -> Result<()> {
        let client = self.client_of("")?;
        client.execute("FLUSH LOGS")?;
        let (last, _) = self.log_place()?;
        wait::until("the log to be purged", PATIENCE, || {
            client.execute(&format!("PURGE BINARY LOGS TO '{last}'"))?;
            let files = self.log_files()?;
            Ok(files.first().is_some_and(|(first, _)| *first == last).then_some(()))
        })
    }
}

/// What does not change from start to start, ours first: the last of two wins.
fn arguments(version: MysqlVersion, options: &MysqlOptions, certificates: Option<&Certificates>) -> Vec<String> {
    let mut settings: Vec<(&str, String)> = [
        ("bind-address", "127.0.0.1"),
        ("skip-name-resolve", "ON"),
        ("log-bin", "binlog"),
        ("binlog-format", "ROW"),
        ("binlog-row-image", options.row_image),
        ("binlog-row-metadata", options.row_metadata),
        ("sync-binlog", "1"),
        ("innodb-flush-log-at-trx-commit", "1"),
        ("innodb-buffer-pool-size", "32M"),
        ("performance-schema", "OFF"),
        ("max-connections", "100"),
    ]
    .map(|(key, value)| (key, value.to_owned()))
    .to_vec();
    // Said in both cases: what MySQL does by itself differs between versions.
    let gtid = if options.gtid { "ON" } else { "OFF" };
    let more: &[(&str, &str)] = if version.is_mariadb() {
        &[("gtid-domain-id", "0"), ("log-slave-updates", "ON"), ("innodb-log-file-size", "32M")]
    } else {
        &[("mysqlx", "OFF"), ("secure-file-priv", "NULL"), ("gtid-mode", gtid), ("enforce-gtid-consistency", gtid)]
    };
    settings.extend(more.iter().map(|(key, value)| (*key, (*value).to_owned())));
    if options.compression {
        let more: &[(&str, &str)] = if version.is_mariadb() {
            &[("log-bin-compress", "ON"), ("log-bin-compress-min-len", "10")]
        } else {
            &[("binlog-transaction-compression", "ON")]
        };
        settings.extend(more.iter().map(|(key, value)| (*key, (*value).to_owned())));
    }
    if let Some(files) = certificates {
        let file = |path: &Path| path.display().to_string();
        settings.push(("ssl-ca", file(&files.authority)));
        settings.push(("ssl-cert", file(&files.certificate)));
        settings.push(("ssl-key", file(&files.key)));
    }
    settings.extend(options.settings.iter().map(|(key, value)| (key.as_str(), value.clone())));
    settings.into_iter().map(|(key, value)| format!("--{key}={value}")).collect()
}

/// A key of our own for what lies on disk.
fn encryption(folder: &Path) -> Result<[String; 3]> {
    let keys = folder.join("keys");
    std::fs::write(&keys, format!("1;{}\n", "5a".repeat(32))).context("write the server's key")?;
    Ok([
        "--plugin-load-add=file_key_management".to_owned(),
        format!("--file-key-management-filename={}", keys.display()),
        "--encrypt-binlog=ON".to_owned(),
    ])
}

fn certificates(folder: &Path) -> Result<Certificates> {
    let tls = folder.join("tls");
    std::fs::create_dir(&tls).context("make a folder for certificates")?;
    certificate::generate(&tls)
}

#[cfg(test)]
mod tests;
