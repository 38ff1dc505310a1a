//! Z85: four bytes as five printable characters. <https://rfc.zeromq.org/spec/32/>

const DIGITS: &[u8; 85] = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#";

/// Encodes bytes; a last group of fewer than four is padded with zeros.
pub(super) fn encode(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(4) * 5);
    for chunk in bytes.chunks(4) {
        let mut group = [0u8; 4];
        group.iter_mut().zip(chunk).for_each(|(to, from)| *to = *from);
        let value = u32::from_be_bytes(group);
        for power in [85u32.pow(4), 85u32.pow(3), 85u32.pow(2), 85, 1] {
            let digit = DIGITS.get((value / power % 85) as usize);
            text.extend(digit.map(|digit| char::from(*digit)));
        }
    }
    text
}

/// Decodes text; `None` when it is no Z85.
pub(super) fn decode(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(5) {
        return None;
    }
    let mut bytes = Vec::with_capacity(text.len() / 5 * 4);
    for group in text.as_bytes().chunks(5) {
        let mut value = 0u32;
        for character in group {
            let digit = DIGITS.iter().position(|digit| digit == character)?;
            value = value.checked_mul(85)?.checked_add(u32::try_from(digit).ok()?)?;
        }
        bytes.extend_from_slice(&value.to_be_bytes());
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn uuids_as_in_the_protocol() {
        for (uuid, text) in [
            ("d2c639aa-8816-431a-aaf6-d3fe2512ff61", "^-aqEH.-t@S}K{vb[*k^"),
            ("61d16c75-6994-46b7-a15b-8b538852e50e", "vBn[lx{q8@P<9BNH/isA"),
        ] {
            let uuid: uuid::Uuid = uuid.parse().unwrap();
            assert_eq!(encode(uuid.as_bytes()), text);
            assert_eq!(decode(text).as_deref(), Some(&uuid.as_bytes()[..]));
        }
        assert_eq!(decode("abc"), None);
        assert_eq!(decode("ab cd"), None);
        assert_eq!(decode("#####"), None, "more than 32 bits");
    }

    proptest! {
        #[test]
        fn round_trip(words: Vec<u32>) {
            let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_be_bytes()).collect();
            prop_assert_eq!(decode(&encode(&bytes)), Some(bytes));
        }
    }
}
