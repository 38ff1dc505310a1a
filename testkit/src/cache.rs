//! The cache of fetched programs: each entry is built once, by one process at a time, and appears whole or not at
//! all. Knows nothing of what the entries are.

use crate::process;
use anyhow::{Context, Result, bail};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

/// `$XDG_CACHE_HOME/tidewire`, else `~/.cache/tidewire`.
pub fn folder() -> Result<PathBuf> {
    let base = std::env::var_os("XDG_CACHE_HOME").filter(|v| !v.is_empty()).map(PathBuf::from);
    let base = base.or_else(|| std::env::home_dir().map(|home| home.join(".cache")));
    Ok(base.context("set $HOME or $XDG_CACHE_HOME: there is no place for the cache")?.join("tidewire"))
}

/// Where fetched servers are. For root, whose home is usually closed to the user that servers run as, it is
/// `/var/cache/tidewire/servers` when the cache folder cannot be reached by that user.
pub fn servers() -> Result<PathBuf> {
    let servers = folder()?.join("servers");
    if process::server_can_reach(&servers)? {
        return Ok(servers);
    }
    Ok(PathBuf::from("/var/cache/tidewire/servers"))
}

/// The entry `name` under `base`. Built by `build` into an empty folder when it is not there yet, then renamed to its
/// place; processes that come meanwhile wait. `what` is shown on stderr with the size and the time taken.
pub fn entry(base: &Path, name: &str, what: &str, build: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
    let place = base.join(name);
    if place.is_dir() {
        return Ok(place);
    }
    std::fs::create_dir_all(base).with_context(|| format!("make {}", base.display()))?;
    let lock = File::create(base.join(format!(".{name}.lock"))).context("make a lock file in the cache")?;
    lock.lock().context("lock an entry of the cache")?;
    if place.is_dir() {
        return Ok(place);
    }
    let partial = base.join(format!(".{name}.partial"));
    if partial.exists() {
        std::fs::remove_dir_all(&partial).context("remove a part of an interrupted fetch")?;
    }
    std::fs::create_dir(&partial).context("make a folder in the cache")?;
    eprintln!("{what}: preparing");
    let begin = Instant::now();
    build(&partial).with_context(|| format!("prepare {what}"))?;
    std::fs::rename(&partial, &place).context("put a finished entry in its place")?;
    eprintln!("{what}: {} MB in {:.1} s", size(&place) / 1_000_000, begin.elapsed().as_secs_f64());
    Ok(place)
}

/// Compares files with their SHA-256, given as (name, hexadecimal sum) within `folder`.
pub fn verify(folder: &Path, sums: &[(&str, &str)]) -> Result<()> {
    for (name, expected) in sums {
        let output = process::output(Command::new("sha256sum").arg(name).current_dir(folder))?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let actual = text.split_whitespace().next().unwrap_or_default();
        if actual != *expected {
            bail!("{name} is not what was pinned: its sha256 is `{actual}`, expected `{expected}`");
        }
    }
    Ok(())
}

fn size(path: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(path) else { return 0 };
    let of = |entry: std::fs::DirEntry| match entry.file_type() {
        Ok(kind) if kind.is_dir() => size(&entry.path()),
        Ok(kind) if kind.is_file() => entry.metadata().map_or(0, |data| data.len()),
        _ => 0,
    };
    entries.flatten().map(of).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_built_once_and_never_seen_in_part() {
        let base = tempfile::tempdir().unwrap();
        let fail = entry(base.path(), "thing", "thing", |folder| {
            std::fs::write(folder.join("half"), "")?;
            bail!("interrupted")
        });
        assert!(fail.is_err() && !base.path().join("thing").exists());
        let build = |folder: &Path| Ok(std::fs::write(folder.join("whole"), "x")?);
        let place = entry(base.path(), "thing", "thing", build).unwrap();
        assert!(place.join("whole").exists() && !place.join("half").exists());
        entry(base.path(), "thing", "thing", |_| bail!("built twice")).unwrap();
    }

    #[test]
    fn a_wrong_sum_is_refused() {
        let base = tempfile::tempdir().unwrap();
        std::fs::write(base.path().join("f"), "abc").unwrap();
        let right = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        verify(base.path(), &[("f", right)]).unwrap();
        assert!(verify(base.path(), &[("f", "00")]).unwrap_err().to_string().contains("pinned"));
    }
}
