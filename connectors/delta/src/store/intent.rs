//! The intent list of a table: names of files that are about to be written and that no commit names yet. It lies in the
//! state directory, so that the next start finds what a killed process left behind (SK-32). Knows names only; which of
//! them are orphans is the log's to say.
//!
//! The file begins with the table's address; then come lines `+NAME` and `-NAME`. Lines are appended before the file
//! is created and never synced: they outlive the process, and a power cut costs no more than space. Whoever opens the
//! list writes it anew under its name, so that an earlier owner which is still alive writes to a file that nobody reads.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Size, in bytes, from which a list is written anew when most of its lines are struck off.
const REWRITE_BYTES: usize = 64 << 10;

/// The list of one table.
#[derive(Debug)]
pub(crate) struct Intents {
    path: PathBuf,
    heading: String,
    /// `None` until it is asked for the first time.
    list: Mutex<Option<List>>,
}

#[derive(Debug, Default)]
struct List {
    /// Open once something was written.
    file: Option<File>,
    bytes: usize,
    /// Names that an earlier owner left.
    earlier: BTreeSet<String>,
    /// Names of this owner.
    own: BTreeSet<String>,
    /// Bytes of a list of both, which a snapshot of thousands of files asks for with each of them.
    named_bytes: usize,
    is_told: bool,
}

impl Intents {
    /// The list at `path` of the table at `place`; reads and writes nothing yet.
    pub(super) fn new(path: PathBuf, place: &str) -> Intents {
        Intents { path, heading: format!("{}\n", place.escape_debug()), list: Mutex::new(None) }
    }

    /// The folder that the list lies in: the table's own in the state directory.
    pub(crate) fn directory(&self) -> &Path {
        self.path.parent().unwrap_or(&self.path)
    }

    /// Notes a name before its file is created. Without a list that can be written the sink goes on: it only guards
    /// space.
    pub(crate) fn record(&self, name: &str) {
        let mut list = self.lock();
        let list = list.get_or_insert_with(|| self.load());
        if list.own.insert(name.to_owned()) {
            list.named_bytes += line_bytes(name);
            let written = list.append(&format!("+{name}\n"), self);
            list.tell(&self.path, written);
        }
    }

    /// Takes names off the list: a commit names them, or their files are gone.
    pub(crate) fn strike<'a>(&self, names: impl IntoIterator<Item = &'a str>) {
        let mut list = self.lock();
        let list = list.get_or_insert_with(|| self.load());
        let mut lines = String::new();
        for name in names {
            let times = usize::from(list.own.remove(name)) + usize::from(list.earlier.remove(name));
            list.named_bytes -= times * line_bytes(name);
            if times > 0 {
                lines.push_str(&format!("-{name}\n"));
            }
        }
        if !lines.is_empty() {
            let written = list.append(&lines, self);
            list.tell(&self.path, written);
        }
    }

    /// The names that an earlier owner left.
    pub(crate) fn earlier(&self) -> Vec<String> {
        self.lock().get_or_insert_with(|| self.load()).earlier.iter().cloned().collect()
    }

    /// Whether a name is on the list.
    pub(crate) fn holds(&self, name: &str) -> bool {
        let mut list = self.lock();
        let list = list.get_or_insert_with(|| self.load());
        list.own.contains(name) || list.earlier.contains(name)
    }

    fn lock(&self) -> MutexGuard<'_, Option<List>> {
        // Nothing in it is torn by a panic.
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn load(&self) -> List {
        let text = match fs::read_to_string(&self.path) {
            Ok(text) => text,
            Err(error) => {
                if error.kind() != io::ErrorKind::NotFound {
                    tracing::debug!(list = %self.path.display(), %error, "an intent list could not be read");
                }
                return List::default();
            }
        };
        // A list of another place says nothing of this one.
        let lines = text.strip_prefix(&self.heading).unwrap_or_default();
        let mut list = List::default();
        // The last line of a process that was killed may be cut off; its file was not created then.
        for line in lines.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n')) {
            match line.split_at_checked(1) {
                Some(("+", name)) => drop(list.earlier.insert(name.to_owned())),
                Some(("-", name)) => drop(list.earlier.remove(name)),
                _ => {}
            }
        }
        list.named_bytes = list.earlier.iter().map(|name| line_bytes(name)).sum();
        list
    }
}

impl List {
    /// Adds lines that the two sets follow already.
    fn append(&mut self, lines: &str, intents: &Intents) -> io::Result<()> {
        let is_long = self.bytes > REWRITE_BYTES && self.bytes > 4 * self.named_bytes;
        let Some(file) = self.file.as_mut().filter(|_| !is_long) else {
            let names = self.earlier.iter().chain(&self.own);
            let text: String = names.map(|name| format!("+{name}\n")).collect();
            let text = intents.heading.clone() + &text;
            self.file = None;
            self.file = Some(replace(&intents.path, &text)?);
            self.bytes = text.len();
            return Ok(());
        };
        if self.earlier.is_empty() && self.own.is_empty() {
            self.bytes = intents.heading.len();
            return file.set_len(intents.heading.len() as u64);
        }
        self.bytes += lines.len();
        file.write_all(lines.as_bytes())
    }

    /// Tells of a list that cannot be written, once.
    fn tell(&mut self, path: &Path, written: io::Result<()>) {
        let Err(error) = written else { return };
        // The next line writes the list as a whole.
        self.file = None;
        if !std::mem::replace(&mut self.is_told, true) {
            let list = path.display();
            tracing::warn!(%list, %error, "intent list not written: files of commits that fail may stay in the table");
        }
    }
}

/// Bytes of the line that records a name.
fn line_bytes(name: &str) -> usize {
    name.len() + 2
}

/// A new file with this text in the place of the one at `path`, open at its end.
fn replace(path: &Path, text: &str) -> io::Result<File> {
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory)?;
    }
    let fresh = path.with_extension("new");
    match fs::remove_file(&fresh) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().append(true).create_new(true).open(&fresh)?;
    file.write_all(text.as_bytes())?;
    fs::rename(&fresh, path)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn what_is_recorded_and_not_struck_is_found_again() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("shop/public/orders/intent");
        let open = || Intents::new(path.clone(), "/lake/orders");
        let first = open();
        assert_eq!(first.earlier(), names(&[]));
        assert!(!path.exists(), "nothing is written before there is a name");
        for name in ["a", "b", "c"] {
            first.record(name);
        }
        first.strike(["b", "unknown"]);
        assert_eq!(first.earlier(), names(&[]), "its own names are no earlier owner's");
        let second = open();
        assert_eq!(second.earlier(), names(&["a", "c"]));
        second.record("d");
        // The first owner is still alive: what it writes reaches nobody.
        first.record("e");
        first.strike(["a", "c", "e"]);
        let third = open();
        assert_eq!(third.earlier(), names(&["a", "c", "d"]));
        third.strike(["a", "c", "d"]);
        assert_eq!(open().earlier(), names(&[]));
        assert_eq!(fs::read_to_string(&path).unwrap(), "/lake/orders\n");
    }

    #[test]
    fn a_cut_off_or_foreign_list_is_read_as_far_as_it_counts() {
        for (content, expect) in [
            ("/lake/orders\n+a\n+b", &["a"][..]),
            ("/lake/orders\n+a\n-a\n+b\n", &["b"]),
            ("/lake/orders\n\n*a\n+b\n", &["b"]),
            ("/lake/orders", &[]),
            ("/other/orders\n+a\n", &[]),
            ("", &[]),
        ] {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("intent");
            fs::write(&path, content).unwrap();
            assert_eq!(Intents::new(path, "/lake/orders").earlier(), names(expect), "{content:?}");
        }
    }

    #[test]
    fn a_list_does_not_grow_with_the_commits() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("intent");
        let intents = Intents::new(path.clone(), "/lake/orders");
        // A file that is written for long is never struck, so the list is never empty.
        intents.record("open");
        for number in 0..10_000 {
            let name = format!("part-{number:036}.zstd.parquet");
            intents.record(&name);
            intents.strike([name.as_str()]);
        }
        assert!(fs::metadata(&path).unwrap().len() < 2 * REWRITE_BYTES as u64);
        assert_eq!(Intents::new(path, "/lake/orders").earlier(), names(&["open"]));
    }

    #[test]
    fn a_list_that_cannot_be_written_stops_nobody() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("file"), "").unwrap();
        let path = directory.path().join("file/intent");
        let intents = Intents::new(path.clone(), "/lake/orders");
        intents.record("a");
        fs::remove_file(directory.path().join("file")).unwrap();
        intents.record("b");
        assert_eq!(Intents::new(path, "/lake/orders").earlier(), names(&["a", "b"]), "it is made up for");
    }
}
