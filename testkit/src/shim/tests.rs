//! The library under small programs: what fails, what does not, and what is counted.

use super::*;
use std::process::Output;

struct Bench {
    shim: Shim,
    inside: PathBuf,
    outside: PathBuf,
    _folder: tempfile::TempDir,
}

impl Bench {
    fn new() -> Bench {
        let folder = tempfile::tempdir().unwrap();
        let (inside, outside) = (folder.path().join("in"), folder.path().join("in_no_way"));
        for path in [&inside, &outside] {
            std::fs::create_dir(path).unwrap();
        }
        Bench { shim: Shim::new(folder.path()).unwrap(), inside, outside, _folder: folder }
    }

    /// Runs a script in the folder that may fail; `$OUT` is one beside it.
    fn run(&self, script: &str) -> Output {
        let mut command = Command::new("sh");
        command.args(["-c", script]).current_dir(&self.inside).env("OUT", &self.outside).env("LC_ALL", "C");
        command.envs(self.shim.environment()).output().unwrap()
    }
}

#[test]
fn a_disk_fails_as_it_is_told_and_nothing_else_does() {
    let sync = "sync f || sync f && sync f";
    let write = "dd if=/dev/zero of=f bs=8 count=1 status=none";
    let write_sync = "dd if=/dev/zero of=f bs=8 count=1 conv=fsync status=none";
    for (what, fault, script, expect, injected) in [
        ("unarmed", None, "echo x > f && sync f", "", 0),
        ("full", Some(Disk::FULL), write, "No space left", 1),
        ("a name on a full disk", Some(Disk::FULL), "ln $OUT/there f", "No space left", 1),
        ("a file of another folder", Some(Disk::FULL), "echo x > $OUT/f && mv $OUT/f $OUT/g", "", 0),
        ("the log", Some(Disk::FULL), "sh -c 'echo x; echo y >&2' > log", "y", 0),
        ("reads", Some(Disk::FULL), "cat $OUT/there", "", 0),
        ("a sync", Some(Disk::SYNC_FAILS), write_sync, "Input/output error", 1),
        ("fdatasync", Some(Disk::SYNC_FAILS), ": > f; sync -d f", "Input/output error", 1),
        ("no sync", Some(Disk::SYNC_FAILS), write, "", 0),
        // Each of these opens the file anew.
        ("a second file", Some(Disk::SYNC_FAILS), sync, "Input/output error", 2),
        ("what has room", Some(Disk::full_after(8)), write, "", 0),
        ("what has none", Some(Disk::full_after(7)), write, "No space left", 2),
        (
            "combined",
            Some(Disk::FULL.and(Disk::SYNC_FAILS)),
            "sync f; dd if=/dev/zero of=f count=1 status=none",
            "No space left",
            2,
        ),
        ("one in many", Some(Disk::FULL.one_in(1 << 40, 7)), write, "", 0),
    ] {
        let bench = Bench::new();
        for folder in [&bench.inside, &bench.outside] {
            std::fs::write(folder.join("there"), "").unwrap();
        }
        if script.starts_with("sync") {
            std::fs::write(bench.inside.join("f"), "x").unwrap();
        }
        if let Some(fault) = fault {
            bench.shim.disk(fault, &[&bench.inside]).unwrap();
        }
        let output = bench.run(script);
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(told.contains(expect) && told.is_empty() == expect.is_empty(), "{what}: {output:?}");
        assert_eq!(bench.shim.injected().unwrap(), injected, "{what}: {output:?}");
        bench.shim.heal().unwrap();
        assert!(bench.run("echo y > f && sync f").status.success(), "{what}: healed");
        assert_eq!(std::fs::read_to_string(bench.inside.join("f")).unwrap(), "y\n", "{what}");
    }
}

#[test]
fn a_short_write_is_gone_on_with_by_whoever_looks_at_its_answer() {
    let bench = Bench::new();
    bench.shim.disk(Disk::SHORT_WRITES, &[&bench.inside]).unwrap();
    let output =
        bench.run("dd if=/dev/urandom of=$OUT/f bs=64 count=1 status=none && dd if=$OUT/f of=f bs=64 status=none");
    assert!(output.status.success(), "{output:?}");
    let [whole, pieced] = [&bench.outside, &bench.inside].map(|folder| std::fs::read(folder.join("f")).unwrap());
    assert!(whole.len() == 64 && whole == pieced);
    // 64 bytes in halves are 7 writes, the last of a byte that has no half.
    assert_eq!(bench.shim.injected().unwrap(), 6);
}

#[test]
fn a_sync_after_one_that_failed_succeeds_and_is_counted() {
    let script = "import os, sys
f = os.open('f', os.O_WRONLY | os.O_CREAT)
for _ in range(3):
    try:
        os.fsync(f)
        print('ok')
    except OSError as error:
        print(error.errno)
os.close(f)
f = os.open('g', os.O_WRONLY | os.O_CREAT)
try:
    os.fdatasync(f)
except OSError as error:
    print(error.errno)
";
    let bench = Bench::new();
    bench.shim.disk(Disk::SYNC_FAILS, &[&bench.inside]).unwrap();
    let output = bench.run(&format!("exec python3 -c \"{script}\""));
    assert_eq!(String::from_utf8_lossy(&output.stdout), "5\nok\nok\n5\n", "{output:?}");
    assert_eq!((bench.shim.injected().unwrap(), bench.shim.resynced().unwrap()), (2, 2));
}

#[test]
fn only_the_wall_clock_jumps() {
    let script = "import time
print(int(time.time()))
print(int(time.clock_gettime(time.CLOCK_REALTIME)))
print(int(time.monotonic()))";
    let bench = Bench::new();
    for offset in [0, 86_400, -86_400, 1, 0] {
        bench.shim.clock_offset(offset).unwrap();
        let output = bench.run(&format!("date +%s && exec python3 -c \"{script}\""));
        let numbers: Vec<i64> =
            String::from_utf8_lossy(&output.stdout).lines().map(|line| line.parse().unwrap()).collect();
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() as i64;
        let up = std::fs::read_to_string("/proc/uptime").unwrap();
        let up = up.split('.').next().unwrap().parse::<i64>().unwrap();
        for wall in &numbers[..3] {
            // A second for the rounding, and what the programs took; 20 s tell a jump from a slow machine.
            assert!((wall - now - offset).abs() <= 20, "{offset}: {output:?}");
        }
        assert!(numbers[3].abs_diff(up) <= 20, "{output:?}");
    }
}

#[test]
fn faults_come_and_go_while_a_program_runs() {
    let bench = Bench::new();
    let script = "while :; do (echo x > f) 2> $OUT/none && echo whole || echo broken; done";
    let mut command = process::guarded(Path::new("sh"));
    let log = File::create(bench.outside.join("log")).unwrap();
    command
        .args(["-c", script])
        .current_dir(&bench.inside)
        .env("OUT", &bench.outside)
        .envs(bench.shim.environment())
        .stdout(log);
    let mut child = process::spawn(command).unwrap();
    let last = |word: &str| {
        crate::wait::until(word, crate::wait::PATIENCE, || {
            let log = std::fs::read_to_string(bench.outside.join("log"))?;
            Ok((log.lines().rev().nth(1) == Some(word)).then_some(()))
        })
    };
    for _ in 0..3 {
        last("whole").unwrap();
        bench.shim.disk(Disk::FULL, &[&bench.inside]).unwrap();
        last("broken").unwrap();
        bench.shim.heal().unwrap();
    }
    process::kill_tree(&mut child).unwrap();
}
