//! The runner itself, on a stand-in program: what it passes on, what it reports, what it refuses.

use super::*;
use std::os::unix::fs::PermissionsExt;

fn stand_in(folder: &Path, script: &str) -> PathBuf {
    let path = folder.join("tidewire");
    std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
    path
}

#[test]
fn the_configuration_is_completed_and_the_failpoint_armed() {
    let folder = tempfile::tempdir().unwrap();
    let script = "echo \"{\\\"level\\\":\\\"INFO\\\",\\\"f\\\":\\\"$TIDEWIRE_FAILPOINT $*\\\"}\"; exit 7";
    let mut daemon = Daemon::new(stand_in(folder.path(), script), "[sources.a]\n").unwrap();
    let text = std::fs::read_to_string(daemon.config_path()).unwrap();
    assert!(text.starts_with("state_dir = '") && text.contains("[admin]\nlisten = \"127.0.0.1:"), "{text}");
    daemon.set_failpoint(Some("before_commit:2"));
    daemon.run().unwrap();
    assert_eq!(daemon.wait_exit().unwrap().code(), Some(7));
    assert!(daemon.log().unwrap().contains("before_commit:2 run --config"));
    assert_eq!(daemon.unexpected().unwrap(), Vec::<String>::new());
    assert!(!String::from_utf8(daemon.check().unwrap().stdout).unwrap().contains("before_commit"));
}

#[test]
fn an_unexpected_warning_is_found_unless_allowed() {
    let folder = tempfile::tempdir().unwrap();
    let script = "echo '{\"level\":\"WARN\",\"code\":\"slot_lagging\"}' >&2; echo 'thread main panicked' >&2; exit 0";
    let mut daemon = Daemon::start(stand_in(folder.path(), script), "").unwrap();
    daemon.wait_exit().unwrap();
    assert_eq!(daemon.unexpected().unwrap().len(), 2);
    daemon.allow_log("slot_lagging");
    daemon.allow_log("panicked");
    assert_eq!(daemon.unexpected().unwrap().len(), 0);
}

#[test]
fn an_early_end_is_told_with_the_log() {
    let folder = tempfile::tempdir().unwrap();
    let mut daemon = Daemon::start(stand_in(folder.path(), "echo broken >&2; exit 78"), "").unwrap();
    daemon.allow_log("broken");
    let error = format!("{:#}", daemon.wait_for("anything", |_| true).unwrap_err());
    assert!(error.contains("78") && error.contains("broken"), "{error}");
}

#[test]
fn a_stop_gives_the_exit_code() {
    let folder = tempfile::tempdir().unwrap();
    let script = "trap 'exit 5' TERM; echo '{\"level\":\"INFO\"}'; while :; do sleep 0.01; done";
    let mut daemon = Daemon::start(stand_in(folder.path(), script), "").unwrap();
    wait::until("the first line", wait::PATIENCE, || Ok(daemon.log()?.contains("INFO").then_some(()))).unwrap();
    assert_eq!(daemon.terminate().unwrap(), 5);
}

/// A status page of a daemon whose sink has moved once more after every third question, `moves` times in all.
fn moving_page(daemon: &Daemon, moves: usize) {
    let page = std::net::TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, daemon.port)).unwrap();
    std::thread::spawn(move || {
        for (asked, stream) in page.incoming().enumerate() {
            let Ok(mut stream) = stream else { return };
            let mut head = std::io::BufReader::new(&stream);
            let mut line = String::new();
            while std::io::BufRead::read_line(&mut head, &mut line).is_ok_and(|length| length > 2) {
                line.clear();
            }
            let sink = serde_json::json!({ "changes_committed": (asked / 3).min(moves), "position": "p" });
            let body = serde_json::json!({ "sources": { "a": { "sinks": { "b": sink } } } }).to_string();
            // The daemon is gone by then when nobody reads it.
            let _ = std::io::Write::write_all(
                &mut stream,
                format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()).as_bytes(),
            );
        }
    });
}

#[test]
fn a_daemon_that_moves_is_waited_for_and_one_that_stands_still_is_not() {
    let patience = Duration::from_secs(1);
    let folder = tempfile::tempdir().unwrap();
    // Four hundred moves take longer than the patience.
    for (moves, longest, expected) in [
        (400, Duration::from_secs(60), "done"),
        (3, Duration::from_secs(60), "last status"),
        (usize::MAX, Duration::from_millis(300), "waited 0 s in vain for the end"),
    ] {
        let script = "while :; do sleep 0.01; done";
        let mut daemon = Daemon::new(stand_in(folder.path(), script), "").unwrap();
        daemon.set_patience(patience);
        moving_page(&daemon, moves);
        daemon.run().unwrap();
        let begin = Instant::now();
        let is_done = |status: &Value| status["sources"]["a"]["sinks"]["b"]["changes_committed"] == 400;
        let told = match daemon.wait_while_moving("the end", longest, is_done) {
            Ok(_) => "done".to_owned(),
            Err(error) => format!("{error:#}"),
        };
        assert!(told.contains(expected), "{moves} moves: {told}");
        assert!(begin.elapsed() > patience || longest < patience, "{moves} moves: {told}");
    }
}

#[test]
fn what_goes_on_with_an_allowed_line_is_allowed() {
    let allowed = ["state_unusable".to_owned(), "retried".to_owned()];
    let warning = r#"{"level":"WARN","message":"source retried"}"#;
    let quiet = r#"{"level":"INFO","message":"runs"}"#;
    for (log, odd) in [
        (&["tidewire: lock it [state_unusable]", "    free some space"][..], &[][..]),
        (&["tidewire: lock it [state_unusable]", "    free some", "    more of it", quiet], &[]),
        (&["    free some space"], &["    free some space"]),
        (&[quiet, "    free some space"], &["    free some space"]),
        (&[warning, "thread panicked", "   0: here"], &["thread panicked", "   0: here"]),
        (&["tidewire: [other]", "    do that"], &["tidewire: [other]", "    do that"]),
    ] {
        assert_eq!(odd_lines(&log.join("\n"), &allowed), odd, "{log:?}");
    }
}
