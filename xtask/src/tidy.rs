//! The form of the repository, checked by a test instead of by patience: sizes, heads, names, the direction of
//! dependencies, metrics and their documentation. Lengths of functions are clippy's (`too_many_lines`).

use anyhow::{Context, Result, bail};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

const MOST_LINES: usize = 600;
const MANY_LINES: usize = 500;
const BANNED_STEMS: [&str; 7] = ["util", "utils", "common", "helper", "helpers", "misc", "base"];
/// The place of a package at the time it is compiled.
const BAKED_PLACE: &str = concat!("env!(\"CARGO_", "MANIFEST_DIR");
const CONNECTORS: [&str; 4] = ["postgres", "mysql", "kafka", "delta"];
const NEEDED: [&str; 5] = ["config.example.toml", "deny.toml", "README.md", "ARCHITECTURE.md", "docs/metrics.md"];

/// Prints what is amiss; fails when anything is.
pub(crate) fn run() -> Result<()> {
    let faults = faults(&crate::root()?)?;
    for fault in &faults {
        println!("{fault}");
    }
    if !faults.is_empty() {
        bail!("{} faults of form", faults.len());
    }
    Ok(())
}

/// Everything that is amiss, one line each.
fn faults(root: &Path) -> Result<Vec<String>> {
    let mut sources = Vec::new();
    collect(root, &mut sources)?;
    let mut faults = Vec::new();
    for path in &sources {
        let text = std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
        let name = path.strip_prefix(root).unwrap_or(path);
        faults.extend(of_file(name, &text));
    }
    faults.extend(of_manifests(root)?);
    faults.extend(of_metrics(root, &sources)?);
    for page in ["docs/dangers.md", "docs/proof.md"] {
        faults.extend(of_proofs(root, page)?);
    }
    let missing = NEEDED.iter().filter(|name| !root.join(name).is_file());
    faults.extend(missing.map(|name| format!("{name} is missing")));
    Ok(faults)
}

/// All Rust files of the repository.
fn collect(folder: &Path, into: &mut Vec<PathBuf>) -> Result<()> {
    for entry in std::fs::read_dir(folder).with_context(|| format!("read {}", folder.display()))? {
        let path = entry?.path();
        let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        if path.is_dir() && name != "target" && !name.starts_with('.') {
            collect(&path, into)?;
        } else if name.ends_with(".rs") {
            into.push(path);
        }
    }
    into.sort();
    Ok(())
}

fn of_file(name: &Path, text: &str) -> Vec<String> {
    let mut faults = Vec::new();
    let shown = name.display();
    let lines = text.lines().count();
    if lines > MOST_LINES {
        faults.push(format!("{shown}: {lines} lines; split it by ideas, {MOST_LINES} is the limit"));
    } else if lines > MANY_LINES {
        eprintln!("{shown}: {lines} lines, more than {MANY_LINES}");
    }
    let stem = name.file_stem().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default();
    // The tests of a module stand under the module's own head.
    if !text.starts_with("//!") && stem != "tests" {
        faults.push(format!("{shown}: no `//!` head that says what it owns and what it must not know"));
    }
    if BANNED_STEMS.contains(&stem.as_str()) {
        faults.push(format!("{shown}: a name that fits everything attracts everything; name it by its subject"));
    }
    if stem == "mod" {
        faults.push(format!("{shown}: use `{}.rs` beside the folder", name.parent().unwrap_or(name).display()));
    }
    if code(text).any(|line| line.contains(BAKED_PLACE)) {
        faults.push(format!(
            "{shown}: a clone that shares its target folder gets programs compiled in another, with that one's place"
        ));
    }
    let is_daemon = name.starts_with("src") && name != Path::new("src/registry.rs");
    for connector in CONNECTORS.iter().filter(|_| is_daemon) {
        if code(text).any(|line| line.contains(&format!("tidewire_{connector}::"))) {
            faults.push(format!("{shown}: names the connector {connector}; only src/registry.rs may"));
        }
    }
    faults
}

/// The lines that are not comments.
fn code(text: &str) -> impl Iterator<Item = &str> {
    text.lines().map(str::trim_start).filter(|line| !line.starts_with("//"))
}

/// Dependencies point inward: core knows nobody, a connector knows core and what it shares with other connectors, the
/// testkit knows the daemon only from outside.
fn of_manifests(root: &Path) -> Result<Vec<String>> {
    let connectors =
        CONNECTORS.iter().map(|name| (format!("connectors/{name}"), vec!["tidewire-core", "tidewire-tls"]));
    let shared = ("connectors/tls".to_owned(), vec!["tidewire-core"]);
    let others = [("core".to_owned(), Vec::new()), ("testkit".to_owned(), Vec::new()), shared];
    let rules = others.into_iter().chain(connectors);
    let mut faults = Vec::new();
    for (folder, allowed) in rules {
        let path = root.join(&folder).join("Cargo.toml");
        let text = std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
        for name in dependencies(&text).filter(|name| name.starts_with("tidewire")) {
            if !allowed.contains(&name) {
                faults.push(format!("{folder}/Cargo.toml: depends on {name}"));
            }
        }
    }
    Ok(faults)
}

/// The names under `[dependencies]`, without those of tests.
fn dependencies(manifest: &str) -> impl Iterator<Item = &str> {
    let section = manifest.lines().skip_while(|line| line.trim() != "[dependencies]").skip(1);
    let lines = section.take_while(|line| !line.starts_with('['));
    lines.filter_map(|line| line.split(['.', '=', ' ']).next()).filter(|name| !name.is_empty())
}

/// Each metric is documented, and each documented one exists.
fn of_metrics(root: &Path, sources: &[PathBuf]) -> Result<Vec<String>> {
    let mut defined = BTreeSet::new();
    for path in sources.iter().filter(|path| path.file_stem().is_some_and(|s| s == "metrics" || s == "telemetry")) {
        let text = std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
        defined.extend(code(&text).flat_map(|line| metric_names(line, '"')).map(str::to_owned).collect::<Vec<_>>());
    }
    let page = root.join("docs/metrics.md");
    let text = std::fs::read_to_string(&page).with_context(|| format!("read {}", page.display()))?;
    let documented: BTreeSet<String> =
        text.lines().flat_map(|line| metric_names(line, '`')).map(str::to_owned).collect();
    let unexplained = defined.difference(&documented).map(|name| format!("{name} is not in docs/metrics.md"));
    let unknown =
        documented.difference(&defined).map(|name| format!("docs/metrics.md names {name}, which does not exist"));
    Ok(unexplained.chain(unknown).collect())
}

/// Each test that a page of proofs names exists, and each ID of a row is cited by a file of that row.
fn of_proofs(root: &Path, page: &str) -> Result<Vec<String>> {
    let text = std::fs::read_to_string(root.join(page)).with_context(|| format!("read {page}"))?;
    let mut faults = Vec::new();
    let mut named = 0;
    for line in text.lines() {
        let mut sources = String::new();
        for (file, test) in line.split('`').skip(1).step_by(2).filter_map(|piece| piece.split_once("::")) {
            named += 1;
            let source = std::fs::read_to_string(root.join(file)).unwrap_or_default();
            if !has_test(&source, test) {
                faults.push(format!("{page} names {test} in {file}, which does not exist"));
            }
            sources.push_str(&source);
        }
        let uncited = identifiers(line).filter(|id| !sources.is_empty() && !cites(&sources, id));
        faults.extend(uncited.map(|id| format!("{page}: no file that shows {id} cites it")));
    }
    if named == 0 {
        faults.push(format!("{page} names no test"));
    }
    Ok(faults)
}

fn has_test(source: &str, name: &str) -> bool {
    ["#[test]\nfn", "    fn", "\nasync fn"].iter().any(|head| source.contains(&format!("{head} {name}(")))
}

/// The IDs in the cells of a row, such as `PG-29b`, but those in the names of tests.
fn identifiers(line: &str) -> impl Iterator<Item = &str> {
    let words = line.split('`').step_by(2).flat_map(|text| text.split([' ', ',', '|', '(', ')', ';', '.']));
    words.filter(|word| ["PG-", "MY-", "SK-", "SEC-", "VER-"].iter().any(|head| word.starts_with(head)))
}

/// As `PG-29b` in a comment, or `pg_29b` in a name.
fn cites(source: &str, id: &str) -> bool {
    let ends = |rest: &str| !rest.starts_with(|c: char| c.is_ascii_alphanumeric());
    [id.to_owned(), id.to_lowercase().replace('-', "_")].iter().any(|id| source.split(id.as_str()).skip(1).any(ends))
}

/// Names in a line that stand right after `quote` and begin with the prefix of all metrics.
fn metric_names(line: &str, quote: char) -> impl Iterator<Item = &str> {
    let pieces = line.split(quote).skip(1).step_by(2);
    pieces.filter(|piece| piece.starts_with("tidewire_")).map(|piece| piece.split('{').next().unwrap_or(piece))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_repository_is_in_form() {
        let faults = faults(&crate::root().unwrap()).unwrap();
        assert!(faults.is_empty(), "{}", faults.join("\n"));
    }

    #[test]
    fn faults_are_found() {
        let check = |name: &str, text: &str, expect: &[&str]| {
            let faults = of_file(Path::new(name), text);
            assert_eq!(faults.len(), expect.len(), "{name}: {faults:?}");
            for (fault, part) in faults.iter().zip(expect) {
                assert!(fault.contains(part), "{fault}");
            }
        };
        check("core/src/batch.rs", "//! Fine.\n", &[]);
        check("core/src/batch.rs", "use x;\n", &["head"]);
        check("core/src/util.rs", "//! Bad.\n", &["attracts"]);
        check("src/pipeline/mod.rs", "//! Bad.\n", &["src/pipeline.rs"]);
        check("src/config.rs", "//! Bad.\nuse tidewire_kafka::Kafka;\n", &["connector kafka"]);
        check("src/config.rs", "//! Fine.\n// like tidewire_kafka::Kafka\n", &[]);
        check("src/config.rs", &format!("//! Bad.\nconst HERE: &str = {BAKED_PLACE}\");\n"), &["another"]);
        check("src/registry.rs", "//! Fine.\nuse tidewire_kafka::Kafka;\n", &[]);
        check("src/long.rs", &format!("//! Long.\n{}", "x\n".repeat(600)), &["600 is the limit"]);
    }

    #[test]
    fn tests_and_what_they_cite_are_found() {
        let source = "//! SK-30.\n#[test]\nfn one_pg_29b() {}\n    #[test]\n    fn two() {}\n#[tokio::test]\nasync fn three() {}\nfn four() {}";
        let found = ["one_pg_29b", "two", "three", "four", "one"].map(|name| has_test(source, name));
        assert_eq!(found, [true, true, true, false, false]);
        let row = "| PG-29b, MY-23 | clocks (SK-37); a thing | `a.rs::pg_30_x` `b.rs::y` |";
        assert_eq!(identifiers(row).collect::<Vec<_>>(), ["PG-29b", "MY-23", "SK-37"]);
        assert_eq!(["SK-30", "PG-29b", "PG-2"].map(|id| cites(source, id)), [true, true, false]);
    }

    #[test]
    fn manifests_and_names_are_read() {
        let manifest = "[package]\nname = \"x\"\n[dependencies]\ntidewire-core.workspace = true\nanyhow = \"1\"\n\n[dev-dependencies]\ntidewire-testkit = 1\n";
        assert_eq!(dependencies(manifest).collect::<Vec<_>>(), ["tidewire-core", "anyhow"]);
        let line = "| `tidewire_a_total{source}` and `tidewire_b` | tidewire_c |";
        assert_eq!(metric_names(line, '`').collect::<Vec<_>>(), ["tidewire_a_total", "tidewire_b"]);
    }
}
