//! Where to begin, by what the sinks hold and what the server has.

use super::*;
use std::sync::Arc;
use tidewire_core::source::SinkProgress;
use tidewire_core::{Position, Progress};

const A: &str = "3e11fa47-71ca-11e1-9e33-c80aa9429562";
const B: &str = "4e11fa47-71ca-11e1-9e33-c80aa9429562";

/// Sinks that hold positions by their texts.
fn held(texts: &[&str]) -> Resume {
    let sinks = texts.iter().enumerate().map(|(index, text)| {
        let position = match text.split_once(";open=") {
            None => place_of(text).boundary(&[]),
            Some((place, open)) => {
                let (id, ordinal) = open.rsplit_once('#').unwrap();
                place_of(place).inside(&[], id, ordinal.parse().unwrap())
            }
        };
        let progress = Progress { position: Some(position.unwrap()), ..Progress::default() };
        SinkProgress { sink: format!("sink{index}").into(), progress }
    });
    Resume { sinks: sinks.collect(), accept_server_position: false }
}

fn place_of(text: &str) -> Place {
    let (kind, rest) = text.split_once(':').unwrap();
    match kind {
        "g" => Place::Gtid(gtids(rest)),
        "d" => Place::Domains(domains(rest)),
        _ => {
            let (file, offset) = rest.rsplit_once(':').unwrap();
            Place::File(FilePlace {
                server: kind.into(),
                flavour: Flavour::MySql,
                file: file.into(),
                offset: offset.parse().unwrap(),
                begun: None,
            })
        }
    }
}

fn gtids(text: &str) -> GtidSet {
    GtidSet::parse(&text.replace('A', A).replace('B', B)).unwrap()
}

fn domains(text: &str) -> DomainPositions {
    DomainPositions::parse(text).unwrap()
}

fn mysql(executed: &str, purged: &str) -> ServerLog {
    ServerLog {
        sets: Some((gtids(executed), gtids(purged))),
        ..files(&[("binlog.000003", 1000), ("binlog.000004", 200)])
    }
}

fn mariadb(end: &str, begin: &str) -> ServerLog {
    ServerLog {
        flavour: Flavour::MariaDb,
        server: "1".into(),
        domains: Some((domains(end), domains(begin))),
        ..files(&[("binlog.000003", 1000)])
    }
}

fn files(files: &[(&str, u64)]) -> ServerLog {
    let files = files.iter().map(|(name, size)| ((*name).to_owned(), *size)).collect();
    ServerLog { flavour: Flavour::MySql, server: "s".to_owned(), files, sets: None, domains: None }
}

/// The start's place and its targets, or the error's code.
fn planned(texts: &[&str], server: &ServerLog) -> Result<(Place, Vec<Place>), &'static str> {
    match plan(&held(texts), server) {
        Ok(start) => {
            let start = start.unwrap();
            Ok((start.stored.place, start.targets.into()))
        }
        Err(error) => Err(error.code()),
    }
}

#[test]
fn nothing_held_is_no_start() {
    assert!(plan(&Resume::default(), &mysql("A:1-9", "")).unwrap().is_none());
    let empty = SinkProgress { sink: Arc::from("s"), progress: Progress::default() };
    let resume = Resume { sinks: vec![empty], accept_server_position: false };
    assert!(plan(&resume, &mysql("A:1-9", "")).unwrap().is_none());
}

/// MY-01, MY-02, MY-04, MY-05, MY-06, MY-13, MY-0C.
#[test]
fn a_place_is_served_or_refused() {
    let set = |text: &str| Ok((place_of(text), vec![]));
    for (text, server, expected) in [
        ("g:A:1-5", mysql("A:1-9", ""), set("g:A:1-5")),
        ("g:A:1-5", mysql("A:1-9", "A:1-5"), set("g:A:1-5")),
        ("g:A:1-5", mysql("A:1-9", "A:1-6"), Err("binlog_purged")),
        // The gap stays one, and what lies in it must be there.
        ("g:A:1-5:8", mysql("A:1-9", "A:1-5"), set("g:A:1-5:8")),
        ("g:A:1-5:8", mysql("A:1-9", "A:1-7"), Err("binlog_purged")),
        ("g:A:1-5", mysql("A:1-4", ""), Err("errant_gtid")),
        ("g:A:1-5,B:1", mysql("A:1-9", ""), Err("errant_gtid")),
        ("g:A:1-5", mysql("A:1-9,B:1-3", "B:1"), Err("binlog_purged")),
        ("g:A:1-5", mysql("A:1-9,B:1-3", ""), set("g:A:1-5")),
        // Reset, then used again.
        ("g:A:1-5", mysql("", ""), Err("errant_gtid")),
        ("g:A:1-5", mariadb("0-1-9", ""), Err("position_of_other_server")),
        ("g:A:1-5", files(&[]), Err("position_of_other_server")),
        ("d:0-1-5", mysql("A:1-9", ""), Err("position_of_other_server")),
        ("d:0-1-5", mariadb("0-1-9", ""), set("d:0-1-5")),
        ("d:0-1-5", mariadb("0-2-9", "0-1-5"), set("d:0-1-5")),
        ("d:0-1-5", mariadb("0-1-9", "0-1-6"), Err("binlog_purged")),
        ("d:0-1-5", mariadb("0-1-4", ""), Err("errant_gtid")),
        ("d:0-1-5", mariadb("0-2-5", ""), Err("errant_gtid")),
        ("d:0-1-5,1-1-3", mariadb("0-1-9", ""), Err("errant_gtid")),
        // A new domain: from its begin, if that is still there.
        ("d:0-1-5", mariadb("0-1-9,1-1-3", ""), set("d:0-1-5")),
        ("d:0-1-5", mariadb("0-1-9,1-1-3", "1-1-2"), Err("binlog_purged")),
    ] {
        assert_eq!(planned(&[text], &server), expected, "{text} of {server:?}");
    }
}

/// MY-01, MY-06, MY-08, MY-09, MY-10.
#[test]
fn a_place_in_a_file_is_served_or_refused() {
    let big = 5 << 32;
    let at = |text: &str| Ok((place_of(text), vec![]));
    let log = [("binlog.000003", big + 44), ("binlog.000004", 200)];
    for (text, log, expected) in [
        ("s:binlog.000003:4".to_owned(), &log[..], at("s:binlog.000003:4")),
        ("s:binlog.000004:200".to_owned(), &log, at("s:binlog.000004:200")),
        ("s:binlog.000004:201".to_owned(), &log, Err("server_behind")),
        ("s:binlog.000002:4".to_owned(), &log, Err("binlog_purged")),
        ("x:binlog.000003:4".to_owned(), &log, Err("server_changed")),
        // Behind the last transaction of a long file comes the next one: the server cannot be asked otherwise.
        (format!("s:binlog.000003:{big}"), &log, at("s:binlog.000004:4")),
        (format!("s:binlog.000003:{}", big + 44), &log, at("s:binlog.000004:4")),
        // A transaction fits in between.
        (format!("s:binlog.000003:{}", big - 100), &log, at(&format!("s:binlog.000003:{}", big - 100))),
        (format!("s:binlog.000003:{big}"), &log[..1], at(&format!("s:binlog.000003:{big}"))),
        ("s:binlog.000003:900".to_owned(), &[("binlog.000003", 944), log[1]], at("s:binlog.000003:900")),
    ] {
        assert_eq!(planned(&[&text], &files(log)), expected, "{text}");
    }
    let other = ServerLog { flavour: Flavour::MariaDb, ..files(&log) };
    assert_eq!(planned(&["s:binlog.000003:4"], &other), Err("server_changed"));
}

/// Several sinks: the lowest is the start, the others are reached one after another, each in its own order.
#[test]
fn sinks_at_different_places() {
    let server = mysql("A:1-9,B:1-9", "");
    let gtids =
        |start: &str, targets: &[&str]| Ok((place_of(start), targets.iter().map(|text| place_of(text)).collect()));
    let own = |number: u32, ordinal: u32| format!(";open={A}:{number}#{ordinal}");
    for (sinks, expected) in [
        (vec!["g:A:1-5".to_owned(), "g:A:1-5".to_owned()], gtids("g:A:1-5", &[])),
        (vec!["g:A:1-7".to_owned(), "g:A:1-5".to_owned()], gtids("g:A:1-5", &["g:A:1-7"])),
        (
            vec!["g:A:1-5,B:1".to_owned(), "g:A:1-5".to_owned(), "g:A:1-6,B:1-2".to_owned()],
            gtids("g:A:1-5", &["g:A:1-5,B:1", "g:A:1-6,B:1-2"]),
        ),
        (vec!["g:A:1-5,B:1".to_owned(), "g:A:1-6".to_owned()], Err("positions_diverged")),
        (vec!["g:A:1-5,B:1".to_owned(), "g:A:1-8".to_owned()], Err("positions_diverged")),
        // Inside a transaction: that one comes next.
        (vec![format!("g:A:1-5{}", own(6, 3))], gtids("g:A:1-5", &["g:A:1-6"])),
        (vec![format!("g:A:1-5{}", own(8, 3))], gtids("g:A:1-5", &["g:A:1-5:8"])),
        (
            vec![format!("g:A:1-5{}", own(6, 3)), format!("g:A:1-5{}", own(6, 5)), "g:A:1-5".to_owned()],
            gtids("g:A:1-5", &["g:A:1-6"]),
        ),
        (
            vec![format!("g:A:1-5{}", own(6, 3)), format!("g:A:1-5{}", own(6, 3)), "g:A:1-6".to_owned()],
            gtids("g:A:1-5", &["g:A:1-6"]),
        ),
        (
            vec![format!("g:A:1-5{}", own(6, 3)), format!("g:A:1-7{}", own(8, 1))],
            gtids("g:A:1-5", &["g:A:1-6", "g:A:1-7", "g:A:1-8"]),
        ),
        (vec![format!("g:A:1-5{}", own(6, 3)), format!("g:A:1-5{}", own(7, 5))], Err("positions_diverged")),
        (vec![format!("g:A:1-5{}", own(6, 3)), "g:A:1-5:7".to_owned()], Err("positions_diverged")),
        // The transaction that a sink is in has gone with a failover.
        (vec![format!("g:A:1-9{}", own(10, 3))], Err("errant_gtid")),
        (vec!["g:A:1-5".to_owned(), "g:A:1-10".to_owned()], Err("errant_gtid")),
        (vec!["g:A:1-5;open=x#3".to_owned()], Err("position_unreadable")),
    ] {
        let sinks: Vec<&str> = sinks.iter().map(String::as_str).collect();
        assert_eq!(planned(&sinks, &server), expected, "{sinks:?}");
    }
}

#[test]
fn my_0c_sinks_in_domains_and_files() {
    let server = mariadb("0-1-9,1-1-9", "");
    let at = |start: &str, targets: &[&str]| Ok((place_of(start), targets.iter().map(|text| place_of(text)).collect()));
    for (sinks, expected) in [
        (["d:0-1-5", "d:0-1-5,1-1-2"], at("d:0-1-5", &["d:0-1-5,1-1-2"])),
        (["d:0-1-5,1-1-2", "d:0-1-7"], Err("positions_diverged")),
        (["d:0-1-5,1-1-2", "d:0-1-7,1-2-2"], Err("positions_diverged")),
        (["d:0-1-5;open=0-1-6#2", "d:0-1-5;open=0-1-6#3"], at("d:0-1-5", &["d:0-1-6"])),
        (["d:0-1-5;open=1-1-1#2", "d:0-1-5"], at("d:0-1-5", &["d:0-1-5,1-1-1"])),
        (["d:0-1-9;open=0-1-10#2", "d:0-1-9"], Err("errant_gtid")),
    ] {
        assert_eq!(planned(&sinks, &server), expected, "{sinks:?}");
    }
    let log = files(&[("binlog.000003", 1000), ("binlog.000004", 200)]);
    for (sinks, expected) in [
        (["s:binlog.000004:4", "s:binlog.000003:900"], at("s:binlog.000003:900", &[])),
        (["s:binlog.000003:900;open=binlog.000003:900#2", "s:binlog.000003:900"], at("s:binlog.000003:900", &[])),
        (["s:binlog.000003:900", "y:binlog.000003:900"], Err("server_changed")),
    ] {
        assert_eq!(planned(&sinks, &log), expected, "{sinks:?}");
    }
    // One by GTIDs, the other by file: their places do not compare.
    let both = ServerLog { sets: Some((gtids("A:1-9"), gtids(""))), ..log };
    assert_eq!(planned(&["g:A:1-5", "s:binlog.000003:900"], &both), Err("positions_diverged"));
}

#[test]
fn a_damaged_position_halts() {
    let position = Position::new(tidewire_core::Mark { major: 3, minor: 0 }, format!("mysql-gtid:{A}:1-5"));
    let progress = Progress { position: Some(position), ..Progress::default() };
    let resume = Resume { sinks: vec![SinkProgress { sink: "s".into(), progress }], accept_server_position: false };
    assert_eq!(plan(&resume, &mysql("A:1-9", "")).unwrap_err().code(), "position_unreadable");
}

/// Floors of tables and places of tables that were left behind are places as well; those that are passed are not.
#[test]
fn floors_are_places_too() {
    let server = mysql("A:1-9", "A:1-4");
    let with = |position: Option<&str>, floor: &str, behind: Option<&str>| {
        let at = |text: &str| place_of(text).boundary(&[]).unwrap();
        let mut progress = Progress { position: position.map(at), ..Progress::default() };
        let table = tidewire_core::TableProgress { state: tidewire_core::TableState::Done, floor: at(floor) };
        progress.tables.insert("crm.t".to_owned(), table);
        progress.behind.extend(behind.map(|text| ("crm.u".to_owned(), at(text))));
        let resume = Resume { sinks: vec![SinkProgress { sink: "s".into(), progress }], accept_server_position: false };
        match plan(&resume, &server) {
            Ok(start) => start.map(|start| (start.stored.place, Vec::from(start.targets))).ok_or("none"),
            Err(error) => Err(error.code()),
        }
    };
    for (position, floor, behind, expected) in [
        (Some("g:A:1-6"), "g:A:1-2", None, Ok(("g:A:1-6", vec![]))),
        (Some("g:A:1-5"), "g:A:1-7", None, Ok(("g:A:1-5", vec!["g:A:1-7"]))),
        (Some("g:A:1-8"), "g:A:1-2", Some("g:A:1-6"), Ok(("g:A:1-6", vec!["g:A:1-8"]))),
        (Some("g:A:1-8"), "g:A:1-2", Some("g:A:1-3"), Err("binlog_purged")),
        (None, "g:A:1-7", None, Ok(("g:A:1-7", vec![]))),
        (Some("g:A:1-6"), "g:A:1-5,B:1-2", None, Err("errant_gtid")),
        (Some("g:A:1-6"), "s:binlog.000003:4", None, Err("positions_diverged")),
    ] {
        let expected = expected.map(|(place, targets): (&str, Vec<&str>)| {
            (place_of(place), targets.iter().map(|text| place_of(text)).collect())
        });
        assert_eq!(with(position, floor, behind), expected, "{position:?} {floor} {behind:?}");
    }
}
