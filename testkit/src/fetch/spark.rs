//! Apache Spark with Delta Lake. Spark's jars come in its Python package; nothing else of that package is used.

use super::maven::Jar;
use super::{need, python};
use crate::{cache, process};
use anyhow::{Context, Result};
use std::path::PathBuf;
use std::process::Command;

/// Version and SHA-256 of the Python package's archive.
const SPARK: (&str, &str) = ("4.2.0", "5ad689d53570ee1674193fd4f9bda065f0db3be9363a27d2a3406cc457b70b61");

/// Delta Lake for it, and what that needs beside Spark's own jars.
const DELTA: [Jar; 7] = [
    delta("delta-spark_4.2_2.13", "27d4fd8b1f879535c573ed1c718177d6a27f24d3e626ba02e216369725721ead"),
    delta("delta-storage", "c46735481fa8e326b0957be02b4420cbcab4b325bb08009b7f2045a95133f1cc"),
    delta("delta-kernel-api", "ee9b5a14ac3b7efdff4d61a58478fe8eb0e5a3fbca43889dca7290795fe79a11"),
    delta("delta-kernel-defaults", "225c975199e4718b38ee5b7e6da7f19e9585024262b2cec2656b32151a856b0b"),
    delta("delta-kernel-unitycatalog", "cea22dfb4ac562b3cd27bf652697750e8336009d73fb06631363aaaad5345ffa"),
    catalog("unitycatalog-client", "48257499a86b801a3e2372cec55ac226ca1c1c7eabe5c118e7302f29a1fdbc19"),
    catalog("unitycatalog-hadoop", "c47b63c961c87102b9e1d63809a0915ba4c86b7652f57c8d39ca3a05b441a150"),
];

const fn delta(artifact: &'static str, sum: &'static str) -> Jar {
    Jar { group: "io.delta", artifact, version: "4.4.0", sum }
}

const fn catalog(artifact: &'static str, sum: &'static str) -> Jar {
    Jar { group: "io.unitycatalog", artifact, version: "0.6.0", sum }
}

/// The folders of Spark's jars and of Delta's, in the order of a class path; fetched when they are not in the cache.
pub fn jars() -> Result<[PathBuf; 2]> {
    need("javac", "a Java 17 development kit")?;
    let base = cache::folder()?.join("servers");
    let spark = cache::entry(&base, "spark-4.2.0", "Spark 4.2.0", |folder| {
        need("tar", "tar")?;
        let (version, sum) = SPARK;
        let mut download = Command::new(python::interpreter()?);
        download.args(["-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps", "-d"]);
        process::output(download.arg(folder).arg(format!("pyspark=={version}")))?;
        let archive = format!("pyspark-{version}.tar.gz");
        cache::verify(folder, &[(&archive, sum)])?;
        let jars = format!("pyspark-{version}/deps/jars");
        let unpack = ["xzf", &archive, "--strip-components=3", &jars];
        process::output(Command::new("tar").args(unpack).current_dir(folder))?;
        std::fs::remove_file(folder.join(&archive)).context("remove an archive")
    })?;
    let delta = cache::entry(&base, "delta-spark-4.4.0", "Delta Lake 4.4.0 for Spark", |folder| {
        DELTA.iter().try_for_each(|jar| jar.fetch(folder).map(|_| ()))
    })?;
    Ok([spark, delta])
}
