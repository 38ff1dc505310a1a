//! Doubles as the server prints them in JSON: `my_gcvt` of MySQL's `strings/dtoa.cc` with its widest field, and `.0`
//! behind whole numbers so that they do not look like integers.

use super::JsonError;

/// Plain notation is used while the point is no further than this from the first digit
/// (`MAX_DECPT_FOR_F_FORMAT`), and beyond it while there are digits on both sides of the point.
const PLAIN: i32 = 15;

/// Most digits a double needs to be told from its neighbours.
const DIGITS: usize = 17;

/// Appends the shortest digits that mean this number.
///
/// # Errors
/// [`JsonError::NotFinite`].
pub(super) fn write(number: f64, out: &mut Vec<u8>) -> Result<(), JsonError> {
    if !number.is_finite() {
        return Err(JsonError::NotFinite);
    }
    if number.is_sign_negative() {
        out.push(b'-');
    }
    let mut buffer = zmij::Buffer::new();
    let text = buffer.format_finite(number.abs()).as_bytes();
    // Nearly always the text is the server's already: plain, and if whole, then with a point near enough.
    let near = text.strip_suffix(b".0").is_none_or(|whole| whole.len() <= PLAIN as usize);
    if near && !text.contains(&b'e') {
        out.extend_from_slice(text);
        return Ok(());
    }
    let (digits, length, point) = shortest(text);
    let digits = digits.get(..length).unwrap_or_default();
    let whole = usize::try_from(point).unwrap_or(0);
    if point <= -PLAIN || (point > PLAIN && length <= whole) {
        // One digit, the others behind a point, and an exponent without plus or leading zeros.
        let (first, rest) = digits.split_at_checked(1).unwrap_or_default();
        out.extend_from_slice(first);
        if !rest.is_empty() {
            out.push(b'.');
            out.extend_from_slice(rest);
        }
        out.push(b'e');
        out.extend_from_slice(itoa::Buffer::new().format(point - 1).as_bytes());
    } else if point <= 0 {
        out.extend_from_slice(b"0.");
        out.extend((point..0).map(|_| b'0'));
        out.extend_from_slice(digits);
    } else if let Some((before, after)) = digits.split_at_checked(whole)
        && !after.is_empty()
    {
        out.extend_from_slice(before);
        out.push(b'.');
        out.extend_from_slice(after);
    } else {
        out.extend_from_slice(digits);
        out.extend((length..whole).map(|_| b'0'));
        out.extend_from_slice(b".0");
    }
    Ok(())
}

/// The digits of a number that is not negative, without zeros at either end, how many they are, and where the point
/// lies counted from before the first digit: 12.5 is `125` and 2, 0.0125 is `125` and -1. Zero is `0` and 1.
fn shortest(text: &[u8]) -> ([u8; DIGITS], usize, i32) {
    let mut digits = [0u8; DIGITS];
    let (mut length, mut kept) = (0usize, 0usize);
    let (mut point, mut exponent) = (None, 0i32);
    let mut seen = 0i32;
    let mut bytes = text.iter();
    for byte in bytes.by_ref() {
        match byte {
            b'.' => point = Some(seen),
            b'e' => break,
            digit => {
                if length == 0 && *digit == b'0' {
                    // A leading zero moves the point instead of being a digit.
                    if point.is_some() {
                        exponent -= 1;
                    }
                    continue;
                }
                seen += 1;
                if let Some(slot) = digits.get_mut(length) {
                    *slot = *digit;
                    length += 1;
                }
                if *digit != b'0' {
                    kept = length;
                }
            }
        }
    }
    let (mut scale, mut negative) = (0i32, false);
    for byte in bytes {
        match byte {
            b'-' => negative = true,
            b'+' => {}
            digit => scale = scale * 10 + i32::from(digit.wrapping_sub(b'0')),
        }
    }
    if kept == 0 {
        digits = [b'0'; DIGITS];
        return (digits, 1, 1);
    }
    let place = point.unwrap_or(seen) + exponent + if negative { -scale } else { scale };
    (digits, kept, place)
}
