//! Programs as published for Maven: a few dependencies and their closure become a folder of jars, or one jar alone is a
//! parcel of something else.

use super::need;
use crate::{cache, process};
use anyhow::{Context, Result};
use std::path::{Path, PathBuf};
use std::process::Command;

/// What is asked for, and every jar that must come of it.
pub(super) struct Jars {
    /// The entry's name in the cache.
    pub(super) name: &'static str,
    /// What is shown while it is fetched.
    pub(super) what: &'static str,
    /// Group, artifact, version.
    pub(super) dependencies: &'static [(&'static str, &'static str, &'static str)],
    /// File and SHA-256 of every jar of the closure.
    pub(super) pinned: &'static [(&'static str, &'static str)],
}

/// One file, without what it depends on.
pub(super) struct Jar {
    pub(super) group: &'static str,
    pub(super) artifact: &'static str,
    pub(super) version: &'static str,
    /// Its SHA-256.
    pub(super) sum: &'static str,
}

impl Jar {
    /// Puts it into `folder`; its name there.
    pub(super) fn fetch(&self, folder: &Path) -> Result<String> {
        need("mvn", "Apache Maven")?;
        let artifact = format!("-Dartifact={}:{}:{}:jar", self.group, self.artifact, self.version);
        let target = format!("-DoutputDirectory={}", folder.display());
        process::output(
            Command::new("mvn").args(["-q", "-B", "dependency:copy", &artifact, &target]).current_dir(folder),
        )?;
        let name = format!("{}-{}.jar", self.artifact, self.version);
        cache::verify(folder, &[(&name, self.sum)])?;
        Ok(name)
    }
}

impl Jars {
    /// Their folder, fetched when it is not in the cache.
    pub(super) fn fetch(&self) -> Result<PathBuf> {
        let base = cache::folder()?.join("servers");
        cache::entry(&base, self.name, self.what, |folder| {
            need("mvn", "Apache Maven")?;
            let pom = folder.join("pom.xml");
            std::fs::write(&pom, self.pom()).context("write the list of dependencies")?;
            let target = format!("-DoutputDirectory={}", folder.display());
            process::output(
                Command::new("mvn").args(["-q", "-B", "-f"]).arg(&pom).arg("dependency:copy-dependencies").arg(target),
            )?;
            cache::verify(folder, self.pinned)
        })
    }

    fn pom(&self) -> String {
        let dependency = |(group, artifact, version): &(&str, &str, &str)| {
            format!(
                "<dependency><groupId>{group}</groupId><artifactId>{artifact}</artifactId><version>{version}</version></dependency>"
            )
        };
        format!(
            "<project xmlns=\"http://maven.apache.org/POM/4.0.0\"><modelVersion>4.0.0</modelVersion>\
             <groupId>tidewire</groupId><artifactId>{}</artifactId><version>1</version><packaging>pom</packaging>\
             <dependencies>{}</dependencies></project>\n",
            self.name,
            self.dependencies.iter().map(dependency).collect::<String>()
        )
    }
}
