//! Every code of every character set must become what the servers make of it. The checksums are of the answers of
//! MySQL 8.0.31 and 9.7.4 and of MariaDB 10.5, 10.11, 11.4 and 11.8 to `CONVERT(CONVERT(code USING set) USING utf8mb4)`, which are
//! the same on all of them (`gb18030` is in MySQL only).

use super::*;
use crate::model::Flavour;
use proptest::prelude::*;

/// Set, number of codes, number of those that are characters, checksum.
const ANSWERS: &[(&str, usize, usize, u32)] = &[
    ("armscii8", 256, 256, 0xfb249316),
    ("ascii", 256, 128, 0x7ed16892),
    ("cp1250", 256, 251, 0x00171479),
    ("cp1251", 256, 255, 0x5e690c0f),
    ("cp1256", 256, 248, 0xac136cd2),
    ("cp1257", 256, 244, 0x50aeafeb),
    ("cp850", 256, 256, 0xda6b85cd),
    ("cp852", 256, 256, 0xc25133ce),
    ("cp866", 256, 256, 0x2c8bffb8),
    ("dec8", 256, 242, 0xbc25b826),
    ("geostd8", 256, 215, 0x968fb58c),
    ("greek", 256, 250, 0x47fd13f6),
    ("hebrew", 256, 220, 0x01a4e0b8),
    ("hp8", 256, 255, 0x06447a24),
    ("keybcs2", 256, 256, 0xbd5b32ba),
    ("koi8r", 256, 256, 0x1cf9e789),
    ("koi8u", 256, 256, 0xa06b3ae7),
    ("latin1", 256, 256, 0x1ec73b5f),
    ("latin2", 256, 256, 0x7ca3c1f7),
    ("latin5", 256, 256, 0x88e16feb),
    ("latin7", 256, 256, 0xd7834e33),
    ("macce", 256, 256, 0x797cc90f),
    ("macroman", 256, 256, 0xad6d3063),
    ("swe7", 256, 127, 0x1918c0ff),
    ("tis620", 256, 256, 0xc07a4f94),
    ("big5", 33024, 13845, 0x6d3148bd),
    ("cp932", 33024, 21828, 0x4dfe33b9),
    ("eucjpms", 65792, 15206, 0xebaf6e1c),
    ("euckr", 33024, 17176, 0xe0e52777),
    ("gb18030", 109224, 78864, 0x3a7314e5),
    ("gb2312", 33024, 7573, 0x5e2ce4d4),
    ("gbk", 33024, 21919, 0x3bf3f6d9),
    ("sjis", 33024, 19103, 0x831a66b8),
    ("ujis", 65792, 15017, 0x87872423),
];

fn converted(charset: &str, bytes: &[u8]) -> Result<String, ConvertError> {
    let mut out = b"kept".to_vec();
    let result = Converter::for_charset(charset).unwrap().convert(bytes, &mut out);
    let written = out.strip_prefix(b"kept").unwrap().to_vec();
    assert!(result.is_ok() || written.is_empty(), "what failed leaves nothing behind");
    result.map(|()| String::from_utf8(written).unwrap())
}

/// The codes the servers were asked for: all single bytes; all pairs from 0x8000 on; with three bytes 0x8f before such
/// pairs; with four those of GB 18030 that begin with some first bytes.
fn codes(charset: &str) -> Vec<Vec<u8>> {
    let multi = Converter::for_charset(charset).unwrap().kind;
    let mut codes: Vec<Vec<u8>> = (0..=0xff).map(|byte| vec![byte]).collect();
    let pairs = (0x8000..=0xffffu16).map(|code| code.to_be_bytes().to_vec());
    if matches!(multi, Kind::Multi(_)) {
        codes.extend(pairs.clone());
    }
    if matches!(charset, "ujis" | "eucjpms") {
        codes.extend(pairs.map(|pair| [&[0x8f], &pair[..]].concat()));
    }
    if charset == "gb18030" {
        for first in [0x81, 0x82, 0x83, 0x84, 0x90, 0xe3] {
            let (digits, high) = (0x30..=0x39, 0x81..=0xff);
            for second in digits.clone() {
                for third in high.clone() {
                    codes.extend(digits.clone().map(|fourth| vec![first, second, third, fourth]));
                }
            }
        }
    }
    codes
}

#[test]
fn every_code_is_what_the_servers_say() {
    for (charset, number, valid, checksum) in ANSWERS {
        let codes = codes(charset);
        assert_eq!(codes.len(), *number, "{charset}");
        let converter = Converter::for_charset(charset).unwrap();
        let (mut answers, mut good) = (Vec::new(), 0);
        for code in codes {
            match converter.convert(&code, &mut answers) {
                Ok(()) => good += 1,
                Err(_) => answers.push(0xff),
            }
            answers.push(b'\n');
        }
        assert_eq!((good, crc32fast::hash(&answers)), (*valid, *checksum), "{charset}");
    }
}

#[test]
fn texts() {
    let cases: &[(&str, &[u8], &str)] = &[
        ("latin1", b"caf\xe9 \x80 \x81", "caf\u{e9} \u{20ac} \u{81}"),
        ("LATIN1", b"", ""),
        ("utf8", "日本 \u{e9}".as_bytes(), "日本 \u{e9}"),
        ("utf8mb4", "😀\0".as_bytes(), "😀\0"),
        ("swe7", b"[\\]@ a", "ÄÖÅÉ a"),
        ("sjis", b"\x93\xfa\xb1a\x81\x5f", "日ｱa\\"),
        ("cp932", b"\x93\xfa\xb1a\x81\x5f\xf0\x40", "日ｱa＼\u{e000}"),
        ("ujis", b"\xc6\xfc\x8e\xb1\x8f\xb0\xa1x", "日ｱ丂x"),
        ("gbk", b"\xc8\xd5a\xa9\x96", "日a〇"),
        ("gb18030", b"\xc8\xd5\x94\x39\xfc\x36a\x81\x30\x81\x30", "日😀a\u{80}"),
        ("big5", b"\xa4\xe9\xa1\x45", "日•"),
        ("euckr", b"\xc7\xd1\x81\x41", "한갂"),
        ("ucs2", b"\0a\x65\xe5", "a日"),
        ("utf16", b"\0a\xd8\x3d\xde\x00", "a😀"),
        ("utf16le", b"a\0\x3d\xd8\x00\xde", "a😀"),
        ("utf32", b"\0\0\0a\0\x01\xf6\x00", "a😀"),
        ("binary", b"plain", "plain"),
    ];
    for (charset, bytes, text) in cases {
        assert_eq!(converted(charset, bytes).as_deref(), Ok(*text), "{charset}");
    }
}

#[test]
fn faults_are_named_with_their_place() {
    let cases: &[(&str, &[u8], usize, &[u8])] = &[
        ("ascii", b"ab\x80cdef", 2, b"\x80cde"),
        ("cp1251", b"\xe0\x98", 1, b"\x98"),
        ("utf8mb4", b"a\xed\xa0\x80", 1, b"\xed"),
        ("utf8mb4", b"\xf0\x9f\x98", 0, b"\xf0\x9f\x98"),
        ("gbk", b"\xc8\xd5\xc8", 2, b"\xc8"),
        ("gbk", b"\x80", 0, b"\x80"),
        ("ujis", b"\x8f\xb0", 0, b"\x8f\xb0"),
        ("gb18030", b"a\x81\x30\x81", 1, b"\x81\x30\x81"),
        ("gb18030", b"\xff\x30\x81\x30", 0, b"\xff\x30\x81\x30"),
        ("ucs2", b"\0a\xd8\x3d\xde\x00", 2, b"\xd8\x3d"),
        ("ucs2", b"\0a\0", 2, b"\0"),
        ("utf16", b"\0a\xd8\x3d", 2, b"\xd8\x3d"),
        ("utf16le", b"\x3d\xd8\x3d\xd8\x00\xde", 0, b"\x3d\xd8"),
        ("utf32", b"\0\x11\0\0", 0, b"\0\x11\0\0"),
        ("utf32", b"\0\0\xd8\0", 0, b"\0\0\xd8\0"),
        ("swe7", b"a\x7f", 1, b"\x7f"),
    ];
    for (charset, bytes, offset, wrong) in cases {
        let error = converted(charset, bytes).unwrap_err();
        assert_eq!((error.offset, error.bytes()), (*offset, *wrong), "{charset} {bytes:02x?}");
    }
    let error = converted("cp1251", b"a\x98").unwrap_err();
    assert_eq!(error.to_string(), "bytes 98 at offset 1 are no character of cp1251");
}

#[test]
fn names() {
    for (name, utf8, binary) in
        [("utf8mb4", true, false), ("UTF8", true, false), ("binary", false, true), ("big5", false, false)]
    {
        let converter = Converter::for_charset(name).unwrap();
        assert_eq!((converter.is_utf8(), converter.is_binary()), (utf8, binary), "{name}");
    }
    assert_eq!(Converter::for_charset("utf8").unwrap().name(), "utf8mb3");
    for name in ["", "utf-8", "latin9", "a name that is far longer than any"] {
        assert!(Converter::for_charset(name).is_none(), "{name}");
    }
}

/// Ids that the servers list, at the borders of each rule.
#[test]
fn collations() {
    use Flavour::{MariaDb, MySql};
    let both: &[(u32, Option<&str>)] = &[
        (0, None),
        (1, Some("big5")),
        (5, Some("latin1")),
        (8, Some("latin1")),
        (17, None),
        (33, Some("utf8mb3")),
        (45, Some("utf8mb4")),
        (46, Some("utf8mb4")),
        (56, Some("utf16le")),
        (63, Some("binary")),
        (83, Some("utf8mb3")),
        (98, Some("eucjpms")),
        (100, None),
        (101, Some("utf16")),
        (128, Some("ucs2")),
        (159, Some("ucs2")),
        (160, Some("utf32")),
        (192, Some("utf8mb3")),
        (223, Some("utf8mb3")),
        (224, Some("utf8mb4")),
        (247, Some("utf8mb4")),
        (255, Some("utf8mb4")),
        (305, Some("utf8mb4")),
        (309, Some("utf8mb4")),
        (4000, None),
        (u32::MAX, None),
    ];
    for (id, charset) in both {
        assert_eq!(charset_of_collation(*id, MySql), *charset, "{id}");
        assert_eq!(charset_of_collation(*id, MariaDb), *charset, "{id}");
    }
    let differing: &[(u32, Option<&str>, Option<&str>)] = &[
        (76, Some("utf8mb3"), None),
        (248, Some("gb18030"), None),
        (323, Some("utf8mb4"), None),
        (576, None, Some("utf8mb3")),
        (608, None, Some("utf8mb4")),
        (640, None, Some("ucs2")),
        (672, None, Some("utf16")),
        (736, None, Some("utf32")),
        (1032, None, Some("latin1")),
        (1057, None, Some("utf8mb3")),
        (1069, None, Some("utf8mb4")),
        (1270, None, Some("utf8mb4")),
        (2048, None, Some("utf8mb3")),
        (2308, None, Some("utf8mb4")),
        (2560, None, Some("ucs2")),
        (2816, None, Some("utf16")),
        (3271, None, Some("utf32")),
    ];
    for (id, mysql, mariadb) in differing {
        assert_eq!(charset_of_collation(*id, MySql), *mysql, "{id}");
        assert_eq!(charset_of_collation(*id, MariaDb), *mariadb, "{id}");
    }
}

/// Every collation's character set can be converted.
#[test]
fn collations_lead_to_converters() {
    for id in 0..4000 {
        for flavour in [Flavour::MySql, Flavour::MariaDb] {
            if let Some(charset) = charset_of_collation(id, flavour) {
                assert!(Converter::for_charset(charset).is_some(), "{id} {charset}");
            }
        }
    }
}

proptest! {
    /// Whatever the bytes, the outcome is UTF-8 or an error that points into them.
    #[test]
    fn random_bytes_do_no_harm(which in 0..ANSWERS.len() + 5, bytes in prop::collection::vec(any::<u8>(), 0..40)) {
        let others = ["utf8mb4", "ucs2", "utf16", "utf16le", "utf32"];
        let charset = ANSWERS.get(which).map_or_else(|| others[which - ANSWERS.len()], |(name, ..)| name);
        if let Err(error) = converted(charset, &bytes) {
            prop_assert!(error.offset < bytes.len() && !error.bytes().is_empty());
            prop_assert!(converted(charset, &bytes[..error.offset]).is_ok(), "all before the fault is sound");
        }
    }
}
