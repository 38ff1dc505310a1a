//! Where the tables of a round are: a folder, or a bucket of a store of objects behind a proxy. Knows how a daemon and a
//! reader find them, what lies there, and how a table is taken away; not what is in them.

use crate::folder::RunFolder;
use crate::gcs::{BUCKET, Contents, Gcs, Trouble};
use crate::readers::Location;
use crate::workload::Dice;
use crate::{Proxy, gcs};
use anyhow::{Context, Result};
use std::fmt::Write;
use std::path::{Path, PathBuf};

/// Where the tables are.
#[derive(Debug)]
pub(super) enum Lake {
    Folder(RunFolder),
    Bucket(Bucket),
}

/// A bucket, and the daemon's line to it; readers have one of their own.
#[derive(Debug)]
pub(super) struct Bucket {
    pub(super) line: Proxy,
    store: Gcs,
}

impl Lake {
    /// An empty one.
    pub(super) fn new(is_bucket: bool) -> Result<Lake> {
        if !is_bucket {
            return RunFolder::new("lake").map(Lake::Folder);
        }
        let store = Gcs::start()?;
        let line = Proxy::start(store.port())?;
        Ok(Lake::Bucket(Bucket { line, store }))
    }

    /// Its URL, for the daemon.
    pub(super) fn url(&self) -> String {
        match self {
            Lake::Folder(folder) => format!("file://{}", folder.path().display()),
            Lake::Bucket(_) => format!("gs://{BUCKET}"),
        }
    }

    /// What the daemon must be told of the store: a table of the sink's configuration; nothing for a folder.
    pub(super) fn storage(&self, sink: &str) -> String {
        let Lake::Bucket(bucket) = self else { return String::new() };
        let mut text = format!("[sinks.{sink}.delta.storage]\n");
        for (key, value) in gcs::options(bucket.line.port()) {
            // Writing into a text cannot fail.
            let _ = writeln!(text, "{key} = '{value}'");
        }
        text
    }

    /// For readers: what lies at a path within it.
    pub(super) fn at(&self, path: &str) -> Location {
        match self {
            Lake::Folder(folder) => (&folder.path().join(path)).into(),
            Lake::Bucket(bucket) => {
                Location { address: format!("gs://{BUCKET}/{path}"), options: gcs::options(bucket.store.port()) }
            }
        }
    }

    /// Its folder, if it is one.
    pub(super) fn folder(&self) -> Option<&Path> {
        match self {
            Lake::Folder(folder) => Some(folder.path()),
            Lake::Bucket(_) => None,
        }
    }

    /// Its bucket, if it is one.
    pub(super) fn bucket(&self) -> Option<&Bucket> {
        match self {
            Lake::Folder(_) => None,
            Lake::Bucket(bucket) => Some(bucket),
        }
    }

    /// The files of a folder at a path within it, whatever becomes of the lake.
    pub(super) fn files(&self, path: &str) -> Files {
        match self {
            Lake::Folder(folder) => Files::Folder(folder.path().join(path)),
            Lake::Bucket(bucket) => Files::Bucket(bucket.store.contents(), format!("{path}/")),
        }
    }

    /// Moves all that lies at a path into a folder that is not there yet.
    pub(super) fn take_away(&self, path: &str, to: &Path) -> Result<()> {
        match self {
            Lake::Folder(folder) => rename(&folder.path().join(path), to),
            Lake::Bucket(bucket) => {
                let (contents, prefix) = (bucket.store.contents(), format!("{path}/"));
                for key in contents.names(&prefix) {
                    let object = contents.take(&key).with_context(|| format!("take {key} away"))?;
                    write(&to.join(key.strip_prefix(&prefix).unwrap_or(&key)), &object)?;
                }
                Ok(())
            }
        }
    }

    /// As a backup is restored. A file that was on its way when the table went may lie there, which no log names.
    pub(super) fn put_back(&self, from: &Path, path: &str) -> Result<()> {
        match self {
            Lake::Folder(folder) => move_into(from, &folder.path().join(path)),
            Lake::Bucket(bucket) => put_into(&bucket.store.contents(), from, path),
        }
    }

    /// Leaves everything for a person to look at.
    pub(super) fn keep(&mut self) {
        match self {
            Lake::Folder(folder) => folder.keep(),
            Lake::Bucket(bucket) => match RunFolder::new("bucket") {
                Ok(mut folder) => {
                    let contents = bucket.store.contents();
                    for key in contents.names("") {
                        // What cannot be kept cannot be looked at; the round has failed already.
                        let object = contents.get(&key).unwrap_or_default();
                        let _ = write(&folder.path().join(&key), &object);
                    }
                    folder.keep();
                }
                Err(error) => eprintln!("the bucket is not kept: {error:#}"),
            },
        }
    }
}

impl Bucket {
    /// From now on requests are refused, denied, late, done without an answer, or answered by half.
    pub(super) fn trouble(&self, dice: &mut Dice) {
        let mut one_in = |most: u64| 4 + dice.below(most);
        let (refused, lost, halved, late) = (one_in(20), one_in(30), one_in(40), one_in(20));
        // The client asks again itself after all else; after this the sink begins anew, which takes a hundred requests.
        let denied = 100 + dice.below(400);
        self.store.trouble(Trouble { seed: dice.any(), refused, denied, lost, halved, late });
    }

    /// All goes well.
    pub(super) fn heal(&self) {
        self.store.trouble(Trouble::default());
        self.line.resume();
    }
}

/// The files of one folder of a lake.
#[derive(Debug)]
pub(super) enum Files {
    Folder(PathBuf),
    Bucket(Contents, String),
}

impl Files {
    /// Sorted; none while there is no such folder.
    pub(super) fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = match self {
            Files::Folder(folder) => {
                let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
                entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect()
            }
            Files::Bucket(contents, prefix) => {
                let names = contents.names(prefix);
                names.iter().filter_map(|name| name.strip_prefix(prefix.as_str()).map(str::to_owned)).collect()
            }
        };
        names.sort_unstable();
        names
    }

    /// A file's text; none when it has gone meanwhile.
    pub(super) fn text(&self, name: &str) -> Option<String> {
        match self {
            Files::Folder(folder) => std::fs::read_to_string(folder.join(name)).ok(),
            Files::Bucket(contents, prefix) => String::from_utf8(contents.get(&format!("{prefix}{name}"))?).ok(),
        }
    }
}

fn write(path: &Path, content: &[u8]) -> Result<()> {
    let folder = path.parent().context("a file has a folder")?;
    std::fs::create_dir_all(folder).with_context(|| format!("make {}", folder.display()))?;
    std::fs::write(path, content).with_context(|| format!("write {}", path.display()))
}

fn put_into(contents: &Contents, from: &Path, prefix: &str) -> Result<()> {
    for entry in std::fs::read_dir(from).context("look at what was taken away")? {
        let entry = entry?;
        let key = format!("{prefix}/{}", entry.file_name().to_string_lossy());
        match entry.path().is_dir() {
            true => put_into(contents, &entry.path(), &key)?,
            false => contents.put(&key, std::fs::read(entry.path()).context("read what was taken away")?),
        }
    }
    Ok(())
}

fn move_into(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to).context("make the table's folder")?;
    for entry in std::fs::read_dir(from).context("look at what was taken away")? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        match target.is_dir() {
            true => move_into(&entry.path(), &target)?,
            false => rename(&entry.path(), &target)?,
        }
    }
    Ok(())
}

fn rename(from: &Path, to: &Path) -> Result<()> {
    std::fs::rename(from, to).with_context(|| format!("move {} to {}", from.display(), to.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    /// Puts a file where the daemon would have put it.
    fn place(lake: &Lake, path: &str, text: &str) {
        match lake {
            Lake::Folder(folder) => write(&folder.path().join(path), text.as_bytes()).unwrap(),
            Lake::Bucket(bucket) => bucket.store.contents().put(path, text.as_bytes().to_vec()),
        }
    }

    #[test]
    fn what_was_taken_away_comes_back_beside_what_lies_there() {
        for is_bucket in [false, true] {
            let lake = Lake::new(is_bucket).unwrap();
            let folder = tempfile::tempdir().unwrap();
            let away = folder.path().join("away");
            for (path, text) in [("t/_delta_log/0.json", "0"), ("t/p=1/a.parquet", "a"), ("t/p=2/b.parquet", "b")] {
                place(&lake, path, text);
            }
            place(&lake, "tt/other.parquet", "o");
            lake.take_away("t", &away).unwrap();
            assert!(lake.files("t/_delta_log").names().is_empty());
            assert_eq!(fs::read_to_string(away.join("p=1/a.parquet")).unwrap(), "a");
            assert_eq!(lake.files("tt").names(), ["other.parquet"]);
            place(&lake, "t/p=1/on-its-way.parquet", "c");
            lake.put_back(&away, "t").unwrap();
            for (folder, name, text) in [
                ("t/_delta_log", "0.json", "0"),
                ("t/p=1", "a.parquet", "a"),
                ("t/p=2", "b.parquet", "b"),
                ("t/p=1", "on-its-way.parquet", "c"),
            ] {
                assert_eq!(lake.files(folder).text(name).as_deref(), Some(text), "{folder}/{name}");
            }
            assert_eq!(lake.files("t/p=1").names(), ["a.parquet", "on-its-way.parquet"]);
            assert_eq!(lake.files("t/p=1").text("b.parquet"), None);
        }
    }
}
