//! Azurite, Azure's own stand-in for its blob storage, as published for Node.js. What it needs is pinned, each package with
//! its checksum, by the lock file in `testkit/azurite`.

use super::need;
use crate::{cache, process};
use anyhow::{Context, Result};
use std::path::PathBuf;
use std::process::Command;

const PACKAGE: &str = include_str!("../../azurite/package.json");
const LOCK: &str = include_str!("../../azurite/package-lock.json");

/// The script of the blob service, to be run by `node`; fetched when it is not in the cache.
pub fn script() -> Result<PathBuf> {
    let base = cache::folder()?.join("servers");
    let entry = cache::entry(&base, "azurite-3.37.0", "Azurite 3.37.0", |folder| {
        need("node", "Node.js 20 or newer")?;
        need("npm", "npm")?;
        std::fs::write(folder.join("package.json"), PACKAGE).context("write the package")?;
        std::fs::write(folder.join("package-lock.json"), LOCK).context("write the lock file")?;
        let quiet = ["--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error"];
        process::output(Command::new("npm").arg("ci").args(quiet).current_dir(folder)).map(drop)
    })?;
    Ok(entry.join("node_modules/azurite/dist/src/blob/main.js"))
}
