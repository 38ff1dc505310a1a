//! Sets against a naive model and against what a server says; positions of MariaDB.

use super::set::Interval;
use super::*;
use proptest::prelude::*;
use std::collections::BTreeSet;

const A: &str = "3e11fa47-71ca-11e1-9e33-c80aa9429562";
const B: &str = "aaaaaaaa-aaaa-aaaa-aaaa-aaaaaaaaaaaa";

fn set(text: &str) -> GtidSet {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn gtid(sid: u8, tag: Option<&str>, number: u64) -> Gtid {
    Gtid { sid: [sid; 16], tag: tag.map(Arc::from), number }
}

/// Text and what MySQL 9.7 makes of it with `GTID_SUBTRACT(text, '')` (MY-0B).
#[test]
fn text_is_as_the_server_writes_it() {
    for (text, expected) in [
        (String::new(), String::new()),
        (" ,\n , ".to_owned(), String::new()),
        (format!("{A}:1"), format!("{A}:1")),
        (format!("{A}:1-3:11:47-49"), format!("{A}:1-3:11:47-49")),
        (format!("{A}:5:3-4:1-2"), format!("{A}:1-5")),
        (format!("{}:1", A.to_uppercase()), format!("{A}:1")),
        (format!("{}:1", A.replace('-', "")), format!("{A}:1")),
        (format!("{B}:1-2,\n{A}:3"), format!("{A}:3,\n{B}:1-2")),
        (format!(" {A} : 1 - 3 : 5 , {A}:4 "), format!("{A}:1-5")),
        (format!("{A}:1-3:tag_b:1-5:7:Tag_A:9"), format!("{A}:1-3:tag_a:9:tag_b:1-5:7")),
        (format!("{A}:_x:2,{A}:1"), format!("{A}:1:_x:2")),
        (format!("{A}:9223372036854775806"), format!("{A}:9223372036854775806")),
        (A.to_owned(), String::new()),
    ] {
        let found = set(&text);
        assert_eq!(found.to_string(), expected, "{text}");
        assert_eq!(format!("{found:#}"), expected.replace('\n', ""), "{text}");
        assert_eq!(set(&expected), found);
    }
}

#[test]
fn text_that_is_none_is_refused() {
    for text in [
        "x",
        &format!("{A}:0"),
        &format!("{A}:9223372036854775807"),
        &format!("{A}:3-2"),
        &format!("{A}:1-"),
        &format!("{A}:-1"),
        &format!("{A}:"),
        &format!("{A}:1 2"),
        &format!("{A}:1,x"),
        &format!("{A}:1x"),
        &format!("{A}:ü:1"),
        &format!("{A}:{}:1", "t".repeat(33)),
        &format!("{A}a:1"),
        A.trim_end_matches('2'),
        &A.replacen('-', "", 1),
    ] {
        assert!(GtidSet::parse(text).is_err(), "{text}");
    }
}

/// MY-02: a gap stays a gap.
#[test]
fn gaps_are_kept() {
    let mut seen = set(&format!("{A}:1-100:150-200"));
    let next = |number| Gtid { sid: seen_sid(), tag: None, number };
    assert_eq!(seen.count(), 151);
    assert!(seen.contains(&next(100)) && !seen.contains(&next(101)) && !seen.contains(&next(149)));
    assert!(seen.insert(&next(101)) && !seen.insert(&next(101)) && !seen.insert(&next(150)));
    assert_eq!(seen.to_string(), format!("{A}:1-101:150-200"));
    assert!(seen.insert(&next(201)));
    for number in 102..150 {
        assert!(seen.insert(&next(number)));
    }
    assert_eq!(seen.to_string(), format!("{A}:1-201"));
    assert!(!seen.insert(&next(0)), "an anonymous transaction is none");
}

fn seen_sid() -> [u8; 16] {
    set(&format!("{A}:1")).sources[0].sid
}

#[test]
fn transactions_show_as_the_server_shows_them() {
    let plain = gtid(0xab, None, 7);
    assert_eq!(plain.to_string(), "abababab-abab-abab-abab-abababababab:7");
    assert_eq!(gtid(1, Some("t"), 9).to_string(), "01010101-0101-0101-0101-010101010101:t:9");
    for (text, expected) in [("a", true), ("_9z", true), ("9a", false), ("", false), ("A", false), ("a-b", false)] {
        assert_eq!(is_tag(text), expected, "{text}");
    }
}

/// Bytes of the protocol, of either form; the plain one is what servers before 8.3 know.
#[test]
fn encoding_is_that_of_the_protocol() {
    let mut bytes = Vec::new();
    set(&format!("{A}:1-3:5")).encode_dump(&mut bytes);
    let sid = seen_sid();
    let numbers = |numbers: &[u64]| numbers.iter().flat_map(|number| number.to_le_bytes()).collect::<Vec<_>>();
    assert_eq!(bytes, [numbers(&[1]), sid.to_vec(), numbers(&[2, 1, 4, 5, 6])].concat());
    bytes.clear();
    set(&format!("{A}:2:ab:1")).encode_dump(&mut bytes);
    let head = vec![1, 2, 0, 0, 0, 0, 0, 1];
    let plain = [sid.to_vec(), vec![0], numbers(&[1, 2, 3])].concat();
    let tagged = [sid.to_vec(), vec![4, b'a', b'b'], numbers(&[1, 1, 2])].concat();
    assert_eq!(bytes, [head, plain, tagged].concat());
    for cut in 0..bytes.len() {
        assert!(GtidSet::decode(&bytes[..cut]).is_err(), "cut to {cut}");
    }
    assert!(GtidSet::decode(&[&bytes[..], &[0]].concat()).is_err());
    for broken in [
        numbers(&[2 << 56]),
        numbers(&[u64::MAX >> 8]),
        [numbers(&[1]), sid.to_vec(), numbers(&[u64::MAX])].concat(),
        [numbers(&[1]), sid.to_vec(), numbers(&[1, 0, 1])].concat(),
        [numbers(&[1]), sid.to_vec(), numbers(&[1, 5, 5])].concat(),
        [numbers(&[1]), sid.to_vec(), numbers(&[2, 5, 9, 3, 4])].concat(),
        [numbers(&[1]), sid.to_vec(), numbers(&[1, 5, u64::MAX])].concat(),
    ] {
        assert!(GtidSet::decode(&broken).is_err(), "{broken:?}");
    }
    assert_eq!(GtidSet::decode(&numbers(&[0])), Ok(GtidSet::default()));
}

/// MY-0C.
#[test]
fn maria_positions_are_one_for_each_domain() {
    let mut positions = DomainPositions::parse(" 1-2-50,0-1-100 ").unwrap();
    assert_eq!((positions.to_string(), positions.sum(), positions.len()), ("0-1-100,1-2-50".to_owned(), 150, 2));
    let next = |text: &str| text.parse::<MariaGtid>().unwrap();
    assert!(positions.covers(&next("0-9-100")) && !positions.covers(&next("0-1-101")));
    assert!(!positions.covers(&next("2-1-1")), "a new domain begins at its begin");
    positions.advance(next("0-9-101")).unwrap();
    positions.advance(next("2-1-7")).unwrap();
    assert_eq!(positions.get(0), Some(next("0-9-101")));
    let error = positions.advance(next("0-1-101")).unwrap_err();
    assert_eq!(error.to_string(), "0-1-101 does not come after 0-9-101 in domain 0");
    assert!(DomainPositions::parse("0-1-100").unwrap().is_reached_by(&positions));
    assert!(!positions.is_reached_by(&DomainPositions::parse("0-1-200,1-1-200").unwrap()));
    assert!(DomainPositions::default().is_reached_by(&DomainPositions::default()));
    for text in
        ["x", "1-2", "1-2-3-4", "+1-2-3", "1--3", "4294967296-1-1", "0-4294967296-1", "0-1-18446744073709551616"]
    {
        assert!(DomainPositions::parse(text).is_err(), "{text}");
    }
    assert!(DomainPositions::parse("0-1-1,0-2-2").is_err(), "a domain twice");
    assert!(DomainPositions::parse("").unwrap().is_empty());
}

/// Few sources and small numbers, so that intervals meet.
fn transactions() -> impl Strategy<Value = Vec<Gtid>> {
    let tag = prop::sample::select(vec![None, Some("a"), Some("b_1")]);
    prop::collection::vec((0..3_u8, tag, 1..40_u64).prop_map(|(sid, tag, number)| gtid(sid, tag, number)), 0..60)
}

fn both(gtids: &[Gtid]) -> (GtidSet, BTreeSet<Gtid>) {
    let (mut ours, mut model) = (GtidSet::default(), BTreeSet::new());
    for gtid in gtids {
        assert_eq!(ours.insert(gtid), model.insert(gtid.clone()));
    }
    (ours, model)
}

/// Every transaction of a set, and that its form is the canonical one.
fn members(set: &GtidSet) -> BTreeSet<Gtid> {
    let mut members = BTreeSet::new();
    for source in &set.sources {
        assert!(!source.intervals.is_empty());
        for pair in source.intervals.windows(2) {
            assert!(pair[0].last + 1 < pair[1].first, "{set}");
        }
        for Interval { first, last } in &source.intervals {
            members.extend((*first..=*last).map(|number| Gtid { sid: source.sid, tag: source.tag.clone(), number }));
        }
    }
    assert!(set.sources.is_sorted_by(|a, b| (a.sid, &a.tag) < (b.sid, &b.tag)));
    members
}

proptest! {
    #[test]
    fn algebra_is_that_of_sets(a in transactions(), b in transactions()) {
        let ((a, a_model), (b, b_model)) = (both(&a), both(&b));
        prop_assert_eq!(&members(&a), &a_model);
        prop_assert_eq!(a.count(), a_model.len() as u64);
        prop_assert_eq!(a.is_empty(), a_model.is_empty());
        prop_assert_eq!(members(&a.subtract(&b)), &a_model - &b_model);
        prop_assert_eq!(members(&a.subtract(&a.subtract(&b))), &a_model & &b_model);
        prop_assert_eq!(a.is_subset_of(&b), a_model.is_subset(&b_model));
        prop_assert!(a.subtract(&b).is_subset_of(&a) && a.subtract(&a).is_empty());
        let mut union = a.clone();
        union.union(&b);
        prop_assert_eq!(members(&union), &a_model | &b_model);
        prop_assert!(a.is_subset_of(&union) && b.is_subset_of(&union));
        for gtid in &b_model {
            prop_assert_eq!(a.contains(gtid), a_model.contains(gtid));
        }
    }

    #[test]
    fn text_and_bytes_keep_a_set(gtids in transactions()) {
        let (set, _) = both(&gtids);
        prop_assert_eq!(&GtidSet::parse(&set.to_string()).unwrap(), &set);
        let mut bytes = Vec::new();
        set.encode_dump(&mut bytes);
        prop_assert_eq!(GtidSet::decode(&bytes).unwrap(), set);
    }

    #[test]
    fn nothing_from_outside_panics(text in "\\PC{0,60}", bytes in prop::collection::vec(any::<u8>(), 0..80)) {
        let _ = GtidSet::parse(&text);
        let _ = GtidSet::parse(&format!("{A}:{text}"));
        let _ = DomainPositions::parse(&text);
        let _ = GtidSet::decode(&bytes);
    }
}
