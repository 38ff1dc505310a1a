//! Positions as text, and their order.

use super::*;
use proptest::prelude::*;

const UUID: &str = "3e11fa47-71ca-11e1-9e33-c80aa9429562";

fn file(name: &str, offset: u64) -> Place {
    Place::File(FilePlace { server: UUID.into(), flavour: Flavour::MySql, file: name.into(), offset, begun: None })
}

fn prepared(global: &[u8], branch: &[u8], format: i64, origin: &str) -> Prepared {
    Prepared { xid: Xid { format, global: global.to_vec(), branch: branch.to_vec() }, origin: origin.into() }
}

#[test]
fn texts_are_stable() {
    let set = GtidSet::parse(&format!("{UUID}:1-5:7")).unwrap();
    let domains = DomainPositions::parse("0-1-100,1-2-50").unwrap();
    let Place::File(known) = file("binlog.000003", 1234) else { panic!() };
    let xa = [prepared(b"g", b"", 1, "0-1-7>0-1-8"), prepared(&[0xff], b"b", -1, "9")];
    for (position, text, major, minor) in [
        (Place::Gtid(set.clone()).boundary(&[]), format!("mysql-gtid:{UUID}:1-5:7"), 6, 0),
        (Place::Domains(domains.clone()).boundary(&[]), "mariadb-gtid:0-1-100,1-2-50".to_owned(), 150, 0),
        (
            Place::Domains(domains).inside(&xa, "0-1-101", 8192),
            "mariadb-gtid:0-1-100,1-2-50;open=0-1-101#8192;xa=67..1@0-1-7>0-1-8,ff.62.-1@9".to_owned(),
            150,
            8192,
        ),
        (file("binlog.000003", 1234).boundary(&[]), format!("mysql-file:{UUID}/binlog.000003:1234"), 3 << 40 | 1234, 0),
        (
            file("binlog.000003", 5 << 32).inside(&[], "binlog.000003:21474836480", 1),
            format!("mysql-file:{UUID}/binlog.000003:21474836480;open=binlog.000003:21474836480#1"),
            3 << 40 | 5 << 32,
            1,
        ),
        (
            Place::File(FilePlace { begun: Some(1_795_434_214), ..known }).inside(&[], "binlog.000003:1234", 7),
            format!("mysql-file:{UUID}/binlog.000003:1234;begun=1795434214;open=binlog.000003:1234#7"),
            3 << 40 | 1234,
            7,
        ),
        (Place::Gtid(GtidSet::default()).boundary(&[]), "mysql-gtid:".to_owned(), 0, 0),
        (
            Place::Domains(DomainPositions::default()).boundary(&xa[..1]),
            "mariadb-gtid:;xa=67..1@0-1-7>0-1-8".to_owned(),
            0,
            0,
        ),
    ] {
        let position = position.unwrap();
        assert_eq!((&*position.text, position.mark), (&*text, Mark { major, minor }));
        let stored = StoredPosition::parse(&position).unwrap();
        let again = match &stored.open {
            Some((id, ordinal)) => stored.place.inside(&stored.prepared, id, *ordinal),
            None => stored.place.boundary(&stored.prepared),
        };
        assert_eq!(again.unwrap(), position);
    }
}

#[test]
fn damaged_positions_are_refused() {
    for text in [
        "",
        "mysql-gtid",
        "mysql-gtid:x",
        "pg:0/1",
        "mysql-file:server:binlog.000001:4",
        "mysql-file:s/binlog.000001:-4",
        "mysql-file:s/binlog:4",
        "mariadb-gtid:0-1",
        "mysql-gtid:;open=x",
        "mysql-gtid:;begun=1",
        "mysql-file:s/binlog.000001:4;begun=-1",
        "mysql-file:s/binlog.000001:4;begun=1;begun=1",
        "mysql-gtid:;open=x#y",
        "mysql-gtid:;open=x#1;open=x#1",
        "mysql-gtid:;xa=zz..1@o",
        "mysql-gtid:;xa=6..1@o",
        "mysql-gtid:;xa=66.1@o",
        "mysql-gtid:;xa=66..1.1@o",
        "mysql-gtid:;xa=é..1@o",
        "mysql-gtid:;other=1",
    ] {
        let position = Position::new(Mark::default(), text);
        assert_eq!(StoredPosition::parse(&position).unwrap_err().code(), "position_unreadable", "{text}");
    }
    // Text and mark must agree.
    let position = Position::new(Mark { major: 1, minor: 0 }, "mysql-gtid:");
    assert!(StoredPosition::parse(&position).is_err());
}

#[test]
fn my_10_places_that_cannot_be_stored_are_refused() {
    for (name, offset, fits) in [
        ("binlog.000001", (1 << 40) - 1, true),
        ("binlog.000001", 1 << 40, false),
        ("binlog.16777215", 4, true),
        ("binlog.16777216", 4, false),
        ("a.b.000001", 4, true),
        ("binlog", 4, false),
        ("binlog.", 4, false),
        ("binlog.0x1", 4, false),
        ("bin;log.000001", 4, false),
        ("bin,log.000001", 4, false),
    ] {
        let place = file(name, offset);
        match place.boundary(&[]) {
            Ok(position) => {
                assert!(fits, "{name} {offset}");
                assert_eq!(StoredPosition::parse(&position).unwrap().place, place);
            }
            Err(error) => assert_eq!((error.code(), fits), ("file_unusable", false), "{name} {offset}"),
        }
    }
}

proptest! {
    /// File and offset order as the log does.
    #[test]
    fn my_08_marks_of_files_rise(a in (0u64..1 << 24, 0u64..1 << 40), b in (0u64..1 << 24, 0u64..1 << 40)) {
        let major = |(number, offset): (u64, u64)| file(&format!("binlog.{number:06}"), offset).major().unwrap();
        prop_assert_eq!(major(a).cmp(&major(b)), a.cmp(&b));
    }

    #[test]
    fn positions_come_back(
        global in prop::collection::vec(any::<u8>(), 1..64),
        branch in prop::collection::vec(any::<u8>(), 0..64),
        format: i64,
        number in 1u64..1 << 40,
        ordinal in prop::option::of(1u64..),
    ) {
        let xa = [prepared(&global, &branch, format, &format!("{UUID}:tag:{number}"))];
        let place = Place::Gtid(GtidSet::parse(&format!("{UUID}:tag:1-{number}")).unwrap());
        let position = match ordinal {
            Some(ordinal) => place.inside(&xa, &format!("{UUID}:tag:{}", number + 1), ordinal).unwrap(),
            None => place.boundary(&xa).unwrap(),
        };
        let stored = StoredPosition::parse(&position).unwrap();
        prop_assert_eq!((stored.place, stored.prepared, stored.mark), (place, xa.to_vec(), position.mark));
        prop_assert_eq!(stored.open.map(|(_, ordinal)| ordinal), ordinal);
    }

    #[test]
    fn any_text_is_read_or_refused(text: String) {
        let _ = StoredPosition::parse(&Position::new(Mark::default(), text));
    }
}
