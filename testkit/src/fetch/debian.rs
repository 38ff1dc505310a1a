//! Servers as Debian packs them: packages of any suite with all that they need, libc included, unpacked side by side
//! into a folder. Nothing is installed. Where the packages are is what this machine's own list of sources says; their
//! index is signed, and each package is in it with its checksum.

use super::{need, need_platform};
use crate::{cache, process};
use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Packages of one suite, some with their closure.
pub(super) struct Packages {
    /// Debian's name of the suite.
    pub(super) suite: &'static str,
    /// Taken with everything that they depend on.
    pub(super) closed: &'static [&'static str],
    /// Taken alone.
    pub(super) alone: &'static [&'static str],
    /// Beginning of the version that what is pinned must have, without its epoch: `9.7.`.
    pub(super) series: &'static str,
    /// File and SHA-256 of what was tried. A suite moves: a file of another name is a newer one of the same series, which
    /// the signed index vouches for; one of the same name must be the same.
    pub(super) pinned: &'static [(&'static str, &'static str)],
}

/// Signs what Debian publishes.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
/// The suite that is never released: its index may be older than it says it should ever be.
const UNRELEASED: &str = "sid";
/// Folders of the unpacked closure that no server reads.
const NEEDLESS: [&str; 7] = [
    "usr/share/doc",
    "usr/share/man",
    "usr/share/locale",
    "usr/share/perl",
    "usr/share/zoneinfo",
    "usr/share/lintian",
    "var",
];

impl Packages {
    /// Downloads and unpacks them into `folder`, which becomes the root of a file system.
    pub(super) fn unpack(&self, folder: &Path) -> Result<()> {
        need_platform()?;
        need("apt-get", "apt, and take Debian's package sources")?;
        need("dpkg-deb", "dpkg")?;
        let downloads = folder.join(".apt");
        let result = self.download(&downloads).and_then(|files| {
            self.verify(&files)?;
            for file in &files {
                process::output(Command::new("dpkg-deb").arg("-x").arg(file).arg(folder))?;
            }
            Ok(())
        });
        result.with_context(|| {
            format!("fetch {} of Debian {}", [self.closed, self.alone].concat().join(", "), self.suite)
        })?;
        std::fs::remove_dir_all(&downloads).context("remove what was downloaded")?;
        for needless in NEEDLESS.map(|name| folder.join(name)).iter().filter(|place| place.is_dir()) {
            std::fs::remove_dir_all(needless).context("remove what no server reads")?;
        }
        process::output(Command::new("chmod").args(["-R", "a+rX", "."]).current_dir(folder)).map(drop)
    }

    fn download(&self, downloads: &Path) -> Result<Vec<PathBuf>> {
        for name in ["lists/partial", "archives/partial", "preferences.d", "conf.d", "alone"] {
            std::fs::create_dir_all(downloads.join(name)).context("make apt's folders")?;
        }
        // An empty list of what is installed, so that the closure is whole.
        std::fs::write(downloads.join("status"), "").context("write apt's list of packages")?;
        let mirror = mirror()?;
        let main = format!("deb [signed-by={KEYRING}] {} {} main\n", mirror.main, self.suite);
        let fixes = format!("deb [signed-by={KEYRING}] {} {}-security main\n", mirror.security, self.suite);
        let list = if self.suite == UNRELEASED { main } else { main + &fixes };
        std::fs::write(downloads.join("sources.list"), list).context("write apt's sources")?;
        let config = downloads.join("apt.conf");
        std::fs::write(&config, self.config(downloads)).context("write apt's settings")?;
        let apt = |arguments: &[&str], names: &[&str], within: &Path| {
            let mut command = Command::new("apt-get");
            command.args(["-qq", "-y"]).args(arguments).args(names).env("APT_CONFIG", &config).current_dir(within);
            process::output(&mut command).map(drop)
        };
        apt(&["update"], &[], downloads)?;
        if !self.closed.is_empty() {
            apt(&["--download-only", "--no-install-recommends", "install"], self.closed, downloads)?;
        }
        let alone = downloads.join("alone");
        if !self.alone.is_empty() {
            apt(&["download"], self.alone, &alone)?;
        }
        let mut files = Vec::new();
        for folder in [downloads.join("archives"), alone] {
            let found = std::fs::read_dir(folder).context("look at what apt brought")?;
            let found = found.flatten().map(|entry| entry.path());
            files.extend(found.filter(|path| path.extension().is_some_and(|ending| ending == "deb")));
        }
        files.sort();
        Ok(files)
    }

    fn config(&self, downloads: &Path) -> String {
        let place = |key: &str, name: &str| format!("{key} \"{}\";\n", downloads.join(name).display());
        let mut text = [
            ("Dir::State::status", "status"),
            ("Dir::State::lists", "lists"),
            ("Dir::Cache::archives", "archives"),
            ("Dir::Etc::sourcelist", "sources.list"),
            ("Dir::Etc::sourceparts", "none"),
            ("Dir::Etc::preferencesparts", "preferences.d"),
            ("Dir::Etc::parts", "conf.d"),
        ]
        .map(|(key, name)| place(key, name))
        .concat();
        text.push_str("Dir::Cache::pkgcache \"\";\nDir::Cache::srcpkgcache \"\";\n");
        text.push_str("APT::Architecture \"amd64\";\nAcquire::Languages \"none\";\nDebug::NoLocking \"1\";\n");
        if rustix::process::geteuid().is_root() {
            text.push_str("APT::Sandbox::User \"root\";\n");
        }
        if self.suite == UNRELEASED {
            text.push_str("Acquire::Check-Valid-Until \"false\";\n");
        }
        text
    }

    /// That the series is the one asked for, and that files which were tried before are the same.
    fn verify(&self, files: &[PathBuf]) -> Result<()> {
        let names: Vec<&str> = files.iter().filter_map(|file| file.file_name()?.to_str()).collect();
        for (pinned, _) in self.pinned {
            let package = pinned.split('_').next().unwrap_or_default();
            let found = names.iter().find(|name| name.split('_').next() == Some(package));
            let found = found.with_context(|| format!("the suite has no {package} any more"))?;
            let version = found.split('_').nth(1).unwrap_or_default();
            let version = version.split_once("%3a").map_or(version, |(_, rest)| rest);
            if !version.starts_with(self.series) {
                bail!(
                    "the suite has {package} {version} now and no {}x: pin another suite or series in testkit/src/fetch",
                    self.series
                );
            }
            if found != pinned {
                eprintln!("{found} came in place of {pinned}, which was tried: pin it anew in testkit/src/fetch");
            }
        }
        for (name, sum) in self.pinned.iter().filter(|(name, _)| names.contains(name)) {
            let place = files.iter().find(|file| file.ends_with(name)).and_then(|file| file.parent());
            cache::verify(place.context("a file without a folder")?, &[(name, sum)])?;
        }
        Ok(())
    }
}

/// Where Debian's suites are.
struct Mirror {
    main: String,
    security: String,
}

/// By this machine's own sources: the place of a suite, and that of a suite's security fixes.
fn mirror() -> Result<Mirror> {
    if !Path::new(KEYRING).is_file() {
        bail!("{KEYRING} is missing: install debian-archive-keyring");
    }
    let about = std::fs::read_to_string("/etc/os-release").context("read /etc/os-release")?;
    let codename = about.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME=")).unwrap_or_default();
    // What an update would read, whether there has been one or not.
    let asked = process::output(Command::new("apt-get").args(["update", "--print-uris"]))?;
    let text = String::from_utf8_lossy(&asked.stdout).into_owned();
    let find = |suite: &str| {
        let end = format!("/dists/{suite}/");
        text.lines().find_map(|line| Some(line.strip_prefix('\'')?.split_once(&end)?.0.to_owned()))
    };
    let main = find(codename).with_context(|| {
        format!("apt has no source for Debian `{codename}` here: MySQL and MariaDB are fetched from where that is")
    })?;
    let security = find(&format!("{codename}-security")).unwrap_or_else(|| main.clone());
    Ok(Mirror { main, security })
}

/// The loader of an unpacked root and the folders of its libraries, as `--library-path` wants them.
pub(super) fn loader(root: &Path) -> Result<(PathBuf, String)> {
    let folders = ["usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu"].map(|name| root.join(name));
    let names = ["ld-linux-x86-64.so.2", "ld-2.31.so"];
    let found = folders.iter().flat_map(|folder| names.map(|name| folder.join(name))).find(|path| path.exists());
    let loader = found.with_context(|| format!("no loader in {}", root.display()))?;
    let libraries = folders.map(|folder| folder.display().to_string()).join(":");
    Ok((loader, libraries))
}
