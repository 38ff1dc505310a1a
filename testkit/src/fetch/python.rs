//! The readers that people really use on Delta tables, in a Python environment of their own; and how such an environment
//! is made.

use super::{need, need_platform};
use crate::{cache, process};
use anyhow::{Context, Result};
use std::path::PathBuf;
use std::process::Command;

/// Package, version, SHA-256 of its archive for CPython 3.11 on x86-64. Other interpreters get other archives of the
/// same versions, so there the versions alone are pinned.
const PINNED: [(&str, &str, &str); 10] = [
    ("arro3-core", "0.9.1", "2b0dd4f5a064c05304c3027e999bbc194015719f499a2b9d01bfa71f4ed57795"),
    ("deltalake", "1.6.6", "802db1ae734295c7b947bddd228b9e6b5df702846b085be91ad593840f72e36c"),
    ("deprecated", "1.3.1", "597bfef186b6f60181535a29fbe44865ce137a5079f295b479886c82729d5f3f"),
    ("duckdb", "1.5.5", "b9b6f86ed85d4ef5e0211eaebf75d057bd8bb520bba438a95dd0f4e42234bbfe"),
    ("duckdb-extension-delta", "1.5.5", "43d11090ddcf03ee8f516968b005a086a9b0fa45064dd4ef8cb11e1aecaf1a63"),
    ("polars", "2.1.0", "63c50ce3533f5a03d17c3a2a24f1d0e0c7eda98fbde4268a3cba900d34060e67"),
    ("polars-runtime-32", "2.1.0", "0b838056cf365d7497971d9d9825c547766923338771c48c545b86ead2ebc572"),
    ("pyarrow", "26.0.1", "39cb0f2418282c24bea6ceda77b03e5a8f0a5766b63a8bf194d4e2a2c423548c"),
    ("typing-extensions", "4.16.0", "481caa481374e813c1b176ada14e97f1f67a4539ce9cfeb3f350d78d6370c2e8"),
    ("wrapt", "2.5.2", "0743950d3dda9940e56f81f5334ba051c4fe2e1421e4e4a4ef8eb8fb86a90894"),
];

/// The interpreter of the readers' environment, made when it is not in the cache.
pub fn interpreter() -> Result<PathBuf> {
    let list = |exact| PINNED.iter().map(|package| line(*package, exact)).collect();
    Ok(environment("readers-1", "Delta readers (deltalake, polars, duckdb)", list)?.join("bin/python"))
}

/// A line of pip's list of requirements, with its checksum where that holds.
pub(super) fn line((name, version, sum): (&str, &str, &str), with_sum: bool) -> String {
    if with_sum { format!("{name}=={version} --hash=sha256:{sum}\n") } else { format!("{name}=={version}\n") }
}

/// A Python environment of its own in the cache, with the packages that `list` names; it is asked with whether the
/// interpreter is the one that archives were pinned for.
pub(super) fn environment(name: &str, what: &str, list: impl FnOnce(bool) -> String) -> Result<PathBuf> {
    need_platform()?;
    // Environments cannot be moved, so the environment lies beside the folder that marks it complete.
    let base = cache::folder()?.join("servers");
    let environment = base.join(name);
    let inner = environment.clone();
    cache::entry(&base, &format!("{name}-ready"), what, move |_| {
        need("python3", "Python 3.10 or newer with its venv module")?;
        if inner.exists() {
            std::fs::remove_dir_all(&inner).context("remove a part of an interrupted fetch")?;
        }
        process::output(Command::new("python3").args(["-m", "venv"]).arg(&inner))?;
        let asked = process::output(
            Command::new(inner.join("bin/python"))
                .args(["-c", "import sys,platform;print(sys.version_info[:2]==(3,11),platform.machine())"]),
        )?;
        let text = list(String::from_utf8_lossy(&asked.stdout).trim() == "True x86_64");
        let requirements = inner.join("requirements.txt");
        std::fs::write(&requirements, &text).context("write the list of packages")?;
        let mut install = Command::new(inner.join("bin/python"));
        install.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]);
        if text.contains("--hash=") {
            install.arg("--require-hashes");
        }
        process::output(install.arg("--only-binary=:all:").arg("-r").arg(&requirements))?;
        Ok(())
    })?;
    Ok(environment)
}
