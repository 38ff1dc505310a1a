//! Exact decimals of any precision. A decimal travels as its plain ASCII digits, which is at once
//! an unscaled integer and a scale; this module reads that form. Never touches binary floats.

/// A decimal in plain notation: an optional `-`, digits, and optionally `.` and more digits; or one
/// of the special values `NaN`, `Infinity`, `-Infinity`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decimal<'a>(&'a [u8]);

/// A value that no finite decimal has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Special {
    /// Not a number.
    NaN,
    /// Larger than every number.
    Infinity,
    /// Smaller than every number.
    NegInfinity,
}

impl<'a> Decimal<'a> {
    /// Takes text that is in plain notation or special; `None` for anything else (an exponent, for
    /// example, or no digit at all).
    pub fn parse(text: &'a [u8]) -> Option<Decimal<'a>> {
        let decimal = Decimal(text);
        if decimal.special().is_some() {
            return Some(decimal);
        }
        let digits = text.strip_prefix(b"-").unwrap_or(text);
        let mut seen_digit = false;
        let mut seen_point = false;
        for byte in digits {
            match byte {
                b'0'..=b'9' => seen_digit = true,
                b'.' if !seen_point => seen_point = true,
                _ => return None,
            }
        }
        seen_digit.then_some(decimal)
    }

    /// Wraps text already known to be in the form `parse` accepts.
    pub(crate) fn trusted(text: &'a [u8]) -> Decimal<'a> {
        Decimal(text)
    }

    /// The plain notation itself.
    pub fn text(self) -> &'a [u8] {
        self.0
    }

    /// The special value this is, if it is one.
    pub fn special(self) -> Option<Special> {
        match self.0 {
            b"NaN" => Some(Special::NaN),
            b"Infinity" => Some(Special::Infinity),
            b"-Infinity" => Some(Special::NegInfinity),
            _ => None,
        }
    }

    /// Digits after the point, as written.
    pub fn scale(self) -> usize {
        self.0.iter().position(|b| *b == b'.').map_or(0, |point| self.0.len() - point - 1)
    }

    /// The unscaled integer at exactly `scale` digits after the point. `None` when special, when
    /// digits other than zero would have to be dropped, or beyond 128 bits.
    pub fn unscaled(self, scale: usize) -> Option<i128> {
        if self.special().is_some() {
            return None;
        }
        let (negative, digits) = match self.0.strip_prefix(b"-") {
            Some(rest) => (true, rest),
            None => (false, self.0),
        };
        let mut value: i128 = 0;
        let mut after_point: Option<usize> = None;
        for byte in digits {
            if *byte == b'.' {
                after_point = Some(0);
                continue;
            }
            let digit = i128::from(byte.wrapping_sub(b'0'));
            if let Some(count) = after_point.as_mut() {
                if *count == scale {
                    if digit != 0 {
                        return None;
                    }
                    continue;
                }
                *count += 1;
            }
            value = value.checked_mul(10)?.checked_sub(digit)?;
        }
        for _ in after_point.unwrap_or(0)..scale {
            value = value.checked_mul(10)?;
        }
        if negative { Some(value) } else { value.checked_neg() }
    }
}

/// Appends the two's complement big-endian bytes (shortest form) of an integer written in ASCII digits
/// with an optional `-`; a `.` is skipped, so the text of a decimal gives its unscaled value. Any length.
pub fn write_unscaled_be(out: &mut Vec<u8>, text: &[u8]) {
    let (negative, digits) = match text.strip_prefix(b"-") {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    // Little-endian base 2^32 limbs: nine digits at a time.
    let mut limbs: Vec<u32> = Vec::with_capacity(digits.len() / 9 + 1);
    let mut push = |chunk: u32, factor: u32| {
        let mut carry = u64::from(chunk);
        for limb in &mut limbs {
            let next = u64::from(*limb) * u64::from(factor) + carry;
            *limb = next as u32;
            carry = next >> 32;
        }
        if carry > 0 {
            limbs.push(carry as u32);
        }
    };
    let (mut chunk, mut factor) = (0u32, 1u32);
    for byte in digits.iter().filter(|b| b.is_ascii_digit()) {
        chunk = chunk * 10 + u32::from(byte - b'0');
        factor *= 10;
        if factor == 1_000_000_000 {
            push(chunk, factor);
            (chunk, factor) = (0, 1);
        }
    }
    push(chunk, factor);
    let start = out.len();
    out.push(0);
    for limb in limbs.iter().rev() {
        out.extend_from_slice(&limb.to_be_bytes());
    }
    let bytes = out.get_mut(start..).unwrap_or_default();
    if negative {
        let mut carry = true;
        for byte in bytes.iter_mut().rev() {
            let (next, overflow) = (!*byte).overflowing_add(u8::from(carry));
            *byte = next;
            carry = overflow;
        }
    }
    // Drop leading bytes that only repeat the sign.
    let redundant = bytes
        .windows(2)
        .take_while(|pair| {
            matches!(pair, [0, next] if next & 0x80 == 0) || matches!(pair, [0xff, next] if next & 0x80 != 0)
        })
        .count();
    out.drain(start..start + redundant);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn plain_notation_only() {
        for good in ["0", "-1.50", ".5", "1.", "NaN", "-Infinity", "00012345678901234567890123456789012345678901"] {
            assert!(Decimal::parse(good.as_bytes()).is_some(), "{good}");
        }
        for bad in ["", "-", ".", "1e5", "+1", "1.2.3", "nan", " 1"] {
            assert!(Decimal::parse(bad.as_bytes()).is_none(), "{bad}");
        }
    }

    #[test]
    fn unscaled_never_rounds() {
        for (text, scale, expect) in [
            ("1.50", 2, Some(150)),
            ("1.5", 2, Some(150)),
            ("1.505", 2, None),
            ("1.500", 2, Some(150)),
            ("-0.01", 2, Some(-1)),
            ("170141183460469231731687303715884105727", 0, Some(i128::MAX)),
            ("-170141183460469231731687303715884105728", 0, Some(i128::MIN)),
            ("170141183460469231731687303715884105728", 0, None),
            ("NaN", 0, None),
        ] {
            assert_eq!(Decimal::parse(text.as_bytes()).unwrap().unscaled(scale), expect, "{text}");
        }
    }

    proptest! {
        #[test]
        fn big_endian_bytes_are_the_shortest_twos_complement(value: i128) {
            let mut out = Vec::new();
            write_unscaled_be(&mut out, value.to_string().as_bytes());
            let sign = if value < 0 { 0xff } else { 0 };
            let mut wide = vec![sign; 16 - out.len().min(16)];
            wide.extend_from_slice(&out);
            prop_assert_eq!(i128::from_be_bytes(wide.try_into().unwrap()), value);
            prop_assert!(out.len() == 1 || !(out[0] == 0 && out[1] < 0x80 || out[0] == 0xff && out[1] >= 0x80));
        }
    }
}
