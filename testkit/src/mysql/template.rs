//! An initialised data folder of each version, made once and kept in the cache. It was stopped in order and has no
//! identity of its own: a clone makes its own at its first start.

use super::MysqlVersion;
use crate::fetch::mysql::Distribution;
use crate::{cache, process};
use anyhow::{Context, Result, bail};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Without a password: it only takes connections from this machine.
const MYSQL_ACCOUNTS: &str = "CREATE USER 'root'@'127.0.0.1';
GRANT ALL ON *.* TO 'root'@'127.0.0.1' WITH GRANT OPTION;
";

/// One statement a line, or the server stops reading.
const MARIADB_BEGIN: &str = "CREATE DATABASE IF NOT EXISTS mysql;
USE mysql;
SET @auth_root_socket=NULL;
";
/// Nobody without a name, who would shadow others.
const MARIADB_END: &str = "DELETE FROM mysql.global_priv WHERE User='';
";

/// MariaDB's scripts in their order, without the beginning of their names; those that exist count.
const SCRIPTS: [&str; 5] =
    ["system_tables.sql", "performance_tables.sql", "system_tables_data.sql", "gis_sp_bootstrap.sql", "sys_schema.sql"];

/// The data folder to clone.
pub(super) fn of(version: MysqlVersion, distribution: &Distribution) -> Result<PathBuf> {
    let name = version.name();
    let asked = process::output(distribution.server.guarded().args(["--no-defaults", "--version"]))?;
    let text = String::from_utf8_lossy(&asked.stdout).into_owned();
    let full = text.split_once("Ver ").and_then(|(_, rest)| rest.split_whitespace().next());
    let full = full.with_context(|| format!("no version in `{}`", text.trim()))?.replace('/', "_");
    let entry = format!("mysql-template-{full}");
    let place = cache::entry(&cache::servers()?, &entry, &format!("{name} template"), |folder| {
        let data = folder.join("data");
        std::fs::create_dir(&data).context("make the data folder")?;
        let log = folder.join("log");
        let made = if version.is_mariadb() {
            mariadb(distribution, folder, &data, &log)
        } else {
            mysql(distribution, folder, &data, &log)
        };
        made.with_context(|| process::tail(&std::fs::read_to_string(&log).unwrap_or_default()))?;
        match std::fs::remove_file(data.join("auto.cnf")) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error).context("remove the identity"),
            _ => Ok(()),
        }
    })?;
    Ok(place.join("data"))
}

fn mysql(distribution: &Distribution, folder: &Path, data: &Path, log: &Path) -> Result<()> {
    let accounts = folder.join("accounts.sql");
    std::fs::write(&accounts, MYSQL_ACCOUNTS).context("write the accounts")?;
    process::give_to_server(folder)?;
    let mut command = initialise(distribution, data)?;
    command.args(["--initialize-insecure", "--mysqlx=OFF", "--secure-file-priv=NULL", "--innodb-redo-log-capacity=8M"]);
    command.arg(format!("--init-file={}", accounts.display()));
    run(command, Stdio::null(), log)
}

fn mariadb(distribution: &Distribution, folder: &Path, data: &Path, log: &Path) -> Result<()> {
    std::fs::create_dir(data.join("mysql")).context("make the first database")?;
    let mut script = MARIADB_BEGIN.as_bytes().to_vec();
    for name in SCRIPTS {
        // Named after MariaDB in newer versions, after MySQL in older ones.
        let names = ["mariadb_", "mysql_", "maria_add_"].map(|begin| distribution.share.join(format!("{begin}{name}")));
        if let Some(found) = names.iter().find(|path| path.is_file()) {
            script.extend(std::fs::read(found).context("read one of the server's scripts")?);
        }
    }
    script.extend(MARIADB_END.as_bytes());
    let file = folder.join("bootstrap.sql");
    std::fs::write(&file, script).context("write the first statements")?;
    process::give_to_server(folder)?;
    let mut command = initialise(distribution, data)?;
    command.args(["--bootstrap", "--log-warnings=0", "--enforce-storage-engine=", "--innodb-log-file-size=32M"]);
    run(command, Stdio::from(File::open(&file).context("read the first statements")?), log)
}

fn initialise(distribution: &Distribution, data: &Path) -> Result<Command> {
    let mut command = distribution.server.as_server()?;
    command.arg("--no-defaults").args(&distribution.places).arg(format!("--datadir={}", data.display()));
    // Nobody needs a template that survives a power cut.
    command.args(["--skip-log-bin", "--innodb-flush-method=nosync"]).current_dir("/");
    Ok(command)
}

fn run(mut command: Command, input: Stdio, log: &Path) -> Result<()> {
    let file = File::create(log).context("make a log")?;
    command.stdin(input).stdout(file.try_clone()?).stderr(file);
    let status = process::spawn(command)?.wait().context("wait for the server")?;
    if !status.success() {
        bail!("initialising ended with {status}");
    }
    Ok(())
}
