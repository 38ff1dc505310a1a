//! The character sets of several bytes: Chinese, Japanese, Korean. The tables of `encoding_rs`, which follow the WHATWG
//! Encoding Standard, and what MySQL and MariaDB do otherwise. The differences were found by converting every code in
//! the servers (`CONVERT(... USING utf8mb4)`), which agree with each other; the tests hold a checksum of the outcome.

use super::{Fault, push_char, push_unit};
use encoding_rs::Encoding;
use std::sync::OnceLock;

/// First and last code of a range that the servers do not have.
type Missing = &'static [(u16, u16)];

/// First code, number of codes, and first character of codes that the servers convert in their own way.
type Runs = &'static [(u16, u16, u16)];

/// How a character set differs from an encoding of the standard.
struct Spec {
    base: &'static Encoding,
    /// The lowest second byte.
    trail: u8,
    missing: Missing,
    runs: Runs,
    /// Half-width katakana as single bytes 0xa1 to 0xdf.
    katakana: bool,
    /// Codes of three bytes, the first of them 0x8f: how they differ.
    three: Option<Runs>,
    /// Private characters in the rows from 0xf5 on (EUC).
    private: bool,
    /// The extensions of IBM from 0x8ff3f3 on.
    ibm: bool,
    /// Codes of four bytes (GB 18030).
    four: bool,
}

/// The codes of a character set; built when first needed.
pub(super) struct Pairs {
    katakana: bool,
    /// Characters of the codes from 0x8000 on, 0 for none.
    two: Box<[u16]>,
    /// Characters of the codes after 0x8f, in the same way.
    three: Option<Box<[u16]>>,
    four: bool,
}

/// A character set that may not have been built yet.
pub(super) struct Lazy {
    spec: Spec,
    pairs: OnceLock<Pairs>,
}

/// A set with the codes of a standard encoding.
const fn plain(base: &'static Encoding) -> Spec {
    Spec {
        base,
        trail: 0x40,
        missing: &[],
        runs: &[],
        katakana: false,
        three: None,
        private: false,
        ibm: false,
        four: false,
    }
}

const fn lazy(spec: Spec) -> Lazy {
    Lazy { spec, pairs: OnceLock::new() }
}

/// The servers' Big5 is that of the Unicode consortium's table, without the extensions of Hong Kong. The table has
/// U+FFFD for seven codes that have no character of their own (a15a, a1c3, a1c5, a1fe, a240, a2cc, a2ce), and the
/// servers hand on just that: it is what these codes convert to, not a failure to convert.
pub(super) static BIG5: Lazy = lazy(Spec { missing: BIG5_MISSING, runs: BIG5_RUNS, ..plain(&encoding_rs::BIG5_INIT) });
pub(super) static GBK: Lazy = lazy(Spec { missing: GBK_MISSING, ..plain(&encoding_rs::GBK_INIT) });
pub(super) static GB2312: Lazy =
    lazy(Spec { trail: 0xa1, missing: GB2312_MISSING, runs: GB2312_RUNS, ..plain(&encoding_rs::GBK_INIT) });
/// GB 18030-2005: only MySQL has it.
pub(super) static GB18030: Lazy = lazy(Spec { runs: GB18030_RUNS, four: true, ..plain(&encoding_rs::GB18030_INIT) });
/// JIS X 0201 and 0208 without any vendor's extensions; a full-width reverse solidus becomes the ASCII one.
pub(super) static SJIS: Lazy =
    lazy(Spec { missing: SJIS_MISSING, runs: SJIS_RUNS, katakana: true, ..plain(&encoding_rs::SHIFT_JIS_INIT) });
pub(super) static CP932: Lazy = lazy(Spec { katakana: true, ..plain(&encoding_rs::SHIFT_JIS_INIT) });
pub(super) static UJIS: Lazy = lazy(Spec {
    trail: 0xa1,
    missing: UJIS_MISSING,
    runs: UJIS_RUNS,
    three: Some(UJIS_THREE),
    private: true,
    ..plain(&encoding_rs::EUC_JP_INIT)
});
pub(super) static EUCJPMS: Lazy = lazy(Spec {
    trail: 0xa1,
    three: Some(EUCJPMS_THREE),
    private: true,
    ibm: true,
    ..plain(&encoding_rs::EUC_JP_INIT)
});
pub(super) static EUCKR: Lazy = lazy(plain(&encoding_rs::EUC_KR_INIT));

#[rustfmt::skip]
static BIG5_MISSING: Missing = &[
    (0x8740, 0xa13f), (0xa3c0, 0xa43f), (0xc7fd, 0xc93f), (0xf9dd, 0xffff),
];

#[rustfmt::skip]
static BIG5_RUNS: Runs = &[
    (0xa145, 1, 0x2022), (0xa14e, 1, 0xff64), (0xa15a, 1, 0xfffd), (0xa1c2, 1, 0x203e), (0xa1c3, 1, 0xfffd),
    (0xa1c5, 1, 0xfffd), (0xa1e3, 1, 0x223c), (0xa1f2, 1, 0x2641), (0xa1f3, 1, 0x2609), (0xa1fe, 1, 0xfffd),
    (0xa240, 1, 0xfffd), (0xa241, 1, 0xff0f), (0xa242, 1, 0xff3c), (0xa244, 1, 0x00a5), (0xa246, 2, 0x00a2),
    (0xa2cc, 1, 0xfffd), (0xa2ce, 1, 0xfffd), (0xc6a1, 1, 0x30fe), (0xc6a2, 2, 0x309d), (0xc6a4, 1, 0x3005),
    (0xc6a5, 83, 0x3041), (0xc6f8, 7, 0x30a1), (0xc740, 63, 0x30a8), (0xc7a1, 16, 0x30e7), (0xc7b1, 2, 0x0414),
    (0xc7b3, 1, 0x0401), (0xc7b4, 7, 0x0416), (0xc7bb, 19, 0x0423), (0xc7ce, 1, 0x0451), (0xc7cf, 26, 0x0436),
    (0xc7e9, 10, 0x2460), (0xc7f3, 10, 0x2474),
];

#[rustfmt::skip]
static GBK_MISSING: Missing = &[
    (0xa140, 0xa1a0), (0xa240, 0xa2a0), (0xa2ab, 0xa2b0), (0xa2e3, 0xa2e4), (0xa2ef, 0xa2f0), (0xa2fd, 0xa3a0),
    (0xa440, 0xa4a0), (0xa4f4, 0xa5a0), (0xa5f7, 0xa6a0), (0xa6b9, 0xa6c0), (0xa6d9, 0xa6df), (0xa6ec, 0xa6ed),
    (0xa6f3, 0xa6f3), (0xa6f6, 0xa7a0), (0xa7c2, 0xa7d0), (0xa7f2, 0xa83f), (0xa896, 0xa8a0), (0xa8bc, 0xa8bc),
    (0xa8bf, 0xa8bf), (0xa8c1, 0xa8c4), (0xa8ea, 0xa93f), (0xa958, 0xa958), (0xa95b, 0xa95b), (0xa95d, 0xa95f),
    (0xa989, 0xa995), (0xa997, 0xa9a3), (0xa9f0, 0xaa3f), (0xaaa1, 0xab3f), (0xaba1, 0xac3f), (0xaca1, 0xad3f),
    (0xada1, 0xae3f), (0xaea1, 0xaf3f), (0xafa1, 0xb03f), (0xd7fa, 0xd83f), (0xf8a1, 0xf93f), (0xf9a1, 0xfa3f),
    (0xfaa1, 0xfb3f), (0xfba1, 0xfc3f), (0xfca1, 0xfd3f), (0xfda1, 0xfe3f), (0xfe50, 0xffff),
];

#[rustfmt::skip]
static GB2312_MISSING: Missing = &[
    (0x8140, 0xa1a0),
    (0xa240, 0xa2b0), (0xa2e3, 0xa2e4), (0xa2ef, 0xa2f0), (0xa2fd, 0xa3a0), (0xa4f4, 0xa5a0), (0xa5f7, 0xa6a0),
    (0xa6b9, 0xa6c0), (0xa6d9, 0xa7a0), (0xa7c2, 0xa7d0), (0xa7f2, 0xa8a0), (0xa8bb, 0xa8c4), (0xa8ea, 0xa9a3),
    (0xa9f0, 0xb0a0), (0xd7fa, 0xd8a0), (0xf840, 0xffff),
];

static GB2312_RUNS: Runs = &[(0xa1a4, 1, 0x30fb), (0xa1aa, 1, 0x2015)];

#[rustfmt::skip]
static GB18030_RUNS: Runs = &[
    (0xa3a0, 1, 0xe5e5), (0xa6d9, 7, 0xe78d), (0xa6ec, 2, 0xe794), (0xa6f3, 1, 0xe796), (0xfe59, 1, 0xe81e),
    (0xfe61, 1, 0xe826), (0xfe66, 2, 0xe82b), (0xfe6d, 1, 0xe832), (0xfe7e, 1, 0xe843), (0xfe90, 1, 0xe854),
    (0xfea0, 1, 0xe864),
];

static SJIS_MISSING: Missing = &[(0x8740, 0x889e), (0xed40, 0xffff)];

#[rustfmt::skip]
static SJIS_RUNS: Runs = &[
    (0x815f, 1, 0x005c), (0x8160, 1, 0x301c), (0x8161, 1, 0x2016), (0x817c, 1, 0x2212), (0x8191, 2, 0x00a2),
    (0x81ca, 1, 0x00ac),
];

static UJIS_MISSING: Missing = &[(0xada1, 0xb0a0)];

#[rustfmt::skip]
static UJIS_RUNS: Runs = &[
    (0xa1c0, 1, 0x005c), (0xa1c1, 1, 0x301c), (0xa1c2, 1, 0x2016), (0xa1dd, 1, 0x2212), (0xa1f1, 2, 0x00a2),
    (0xa2cc, 1, 0x00ac),
];

static UJIS_THREE: Runs = &[(0xa2b7, 1, 0x007e)];

static EUCJPMS_THREE: Runs = &[(0xa2c3, 1, 0xffe4)];

/// The characters of 0x8ff3f3 to 0x8ff3fe and 0x8ff4a1 to 0x8ff4fe.
#[rustfmt::skip]
static IBM: [u16; 106] = [
    0x2170, 0x2171, 0x2172, 0x2173, 0x2174, 0x2175, 0x2176, 0x2177, 0x2178, 0x2179, 0x2160, 0x2161, 0x2162, 0x2163,
    0x2164, 0x2165, 0x2166, 0x2167, 0x2168, 0x2169, 0xff07, 0xff02, 0x3231, 0x2116, 0x2121, 0x70bb, 0x4efc, 0x50f4,
    0x51ec, 0x5307, 0x5324, 0xfa0e, 0x548a, 0x5759, 0xfa0f, 0xfa10, 0x589e, 0x5bec, 0x5cf5, 0x5d53, 0xfa11, 0x5fb7,
    0x6085, 0x6120, 0x654e, 0x663b, 0x6665, 0xfa12, 0xf929, 0x6801, 0xfa13, 0xfa14, 0x6a6b, 0x6ae2, 0x6df8, 0x6df2,
    0x7028, 0xfa15, 0xfa16, 0x7501, 0x7682, 0x769e, 0xfa17, 0x7930, 0xfa18, 0xfa19, 0xfa1a, 0xfa1b, 0x7ae7, 0xfa1c,
    0xfa1d, 0x7da0, 0x7dd6, 0xfa1e, 0x8362, 0xfa1f, 0x85b0, 0xfa20, 0xfa21, 0x8807, 0xfa22, 0x8b7f, 0x8cf4, 0x8d76,
    0xfa23, 0xfa24, 0xfa25, 0x90de, 0xfa26, 0x9115, 0xfa27, 0xfa28, 0x9592, 0xf9dc, 0xfa29, 0x973b, 0x974d, 0x9751,
    0xfa2a, 0xfa2b, 0xfa2c, 0x999e, 0x9ad9, 0x9b72, 0xfa2d, 0x9ed1,
];

impl Lazy {
    /// The set, built if need be.
    pub(super) fn get(&'static self) -> &'static Pairs {
        self.pairs.get_or_init(|| Pairs::build(&self.spec))
    }
}

/// Where a code of two bytes lies in a table; `None` below 0x8000.
fn slot(lead: u8, trail: u8) -> Option<usize> {
    usize::from(u16::from_be_bytes([lead, trail])).checked_sub(0x8000)
}

impl Pairs {
    fn build(spec: &Spec) -> Pairs {
        let mut two = standard(spec.base, None, spec.trail);
        for (first, last) in spec.missing {
            (*first..=*last).for_each(|code| put(&mut two, code, 0));
        }
        apply(&mut two, spec.runs);
        if spec.katakana {
            // These bytes are characters of their own and begin no code.
            (0xa1..=0xdf)
                .for_each(|lead| (0..=0xff).for_each(|trail| put(&mut two, u16::from_be_bytes([lead, trail]), 0)));
        }
        let three = spec.three.map(|runs| {
            let mut three = standard(spec.base, Some(0x8f), spec.trail);
            apply(&mut three, runs);
            if spec.ibm {
                for (code, unit) in (0xf3f3..=0xf3fe).chain(0xf4a1..=0xf4fe).zip(IBM) {
                    put(&mut three, code, unit);
                }
            }
            three
        });
        let mut pairs = Pairs { katakana: spec.katakana, two, three, four: spec.four };
        if spec.private {
            private(&mut pairs.two, 0xe000);
            if let Some(three) = &mut pairs.three {
                private(three, 0xe3ac);
            }
        }
        pairs
    }

    /// Appends the character that begins with a byte from 0x80 on and returns the number of its bytes.
    pub(super) fn convert(&self, bytes: &[u8], out: &mut Vec<u8>) -> Result<usize, Fault> {
        let (lead, rest) = bytes.split_first().ok_or(Fault)?;
        if self.katakana && (0xa1..=0xdf).contains(lead) {
            push_unit(0xff61 + u16::from(lead - 0xa1), out)?;
            return Ok(1);
        }
        if let (0x8f, Some(three)) = (lead, &self.three) {
            let [lead, trail] = *rest.first_chunk().ok_or(Fault)?;
            push_unit(look(three, lead, trail), out)?;
            return Ok(3);
        }
        let trail = *rest.first().ok_or(Fault)?;
        if self.four && trail.is_ascii_digit() {
            return four(bytes, out);
        }
        push_unit(look(&self.two, *lead, trail), out)?;
        Ok(2)
    }
}

/// A code of four bytes of GB 18030; the standard encoding and MySQL agree on all of them.
fn four(bytes: &[u8], out: &mut Vec<u8>) -> Result<usize, Fault> {
    let code: [u8; 4] = *bytes.first_chunk().ok_or(Fault)?;
    let character = decode(&encoding_rs::GB18030_INIT, &code).ok_or(Fault)?;
    push_char(character, out);
    Ok(4)
}

fn look(table: &[u16], lead: u8, trail: u8) -> u16 {
    slot(lead, trail).and_then(|slot| table.get(slot)).copied().unwrap_or(0)
}

fn put(table: &mut [u16], code: u16, unit: u16) {
    let [lead, trail] = code.to_be_bytes();
    if let Some(entry) = slot(lead, trail).and_then(|slot| table.get_mut(slot)) {
        *entry = unit;
    }
}

fn apply(table: &mut [u16], runs: Runs) {
    for (code, count, unit) in runs {
        (0..*count).for_each(|step| put(table, code + step, unit + step));
    }
}

/// Ten rows of 94 private characters from row 0xf5 on.
fn private(table: &mut [u16], first: u16) {
    for (unit, index) in (first..).zip(0..940u16) {
        put(table, 0xf5a1 + index / 94 * 0x100 + index % 94, unit);
    }
}

/// The codes of two bytes of a standard encoding, or of two bytes after a first one.
fn standard(base: &'static Encoding, first: Option<u8>, lowest: u8) -> Box<[u16]> {
    let mut table = vec![0; 0x8000].into_boxed_slice();
    for lead in 0x81..=0xfe {
        for trail in lowest..=0xfe {
            let character = match first {
                Some(first) => decode(base, &[first, lead, trail]),
                None => decode(base, &[lead, trail]),
            };
            // Codes of the standard beyond the Basic Multilingual Plane or for two characters are in none of the sets.
            if let Some(unit) = character.and_then(|character| u16::try_from(u32::from(character)).ok()) {
                put(&mut table, u16::from_be_bytes([lead, trail]), unit);
            }
        }
    }
    table
}

/// The one character that these bytes are, if they are one.
fn decode(base: &'static Encoding, bytes: &[u8]) -> Option<char> {
    let mut text = [0u8; 16];
    let mut decoder = base.new_decoder_without_bom_handling();
    let (result, read, written) = decoder.decode_to_utf8_without_replacement(bytes, &mut text, true);
    if result != encoding_rs::DecoderResult::InputEmpty || read != bytes.len() {
        return None;
    }
    let mut characters = std::str::from_utf8(text.get(..written)?).ok()?.chars();
    characters.next().filter(|_| characters.next().is_none())
}
