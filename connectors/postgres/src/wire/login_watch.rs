//! Listens to what a server says during a login that another library performs, so that the password is not shown to one
//! that asks for it in clear text. Sans-IO; fed with bytes in any portions.

/// Tag and length.
const HEADER: usize = 5;
/// Tag, length and code of an authentication request.
const REQUEST: usize = 9;

/// The server asks for the password as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CleartextAsked;

/// Follows messages until the login is through.
#[derive(Clone, Debug, Default)]
pub(crate) struct LoginWatch {
    start: [u8; REQUEST],
    held: usize,
    skip: usize,
    through: bool,
}

impl LoginWatch {
    /// Takes what has arrived, before anybody else sees it.
    pub(crate) fn see(&mut self, mut bytes: &[u8]) -> Result<(), CleartextAsked> {
        while !self.through && !bytes.is_empty() {
            if self.skip > 0 {
                let passed = self.skip.min(bytes.len());
                self.skip -= passed;
                bytes = bytes.get(passed..).unwrap_or_default();
                continue;
            }
            let (Some((first, rest)), Some(place)) = (bytes.split_first(), self.start.get_mut(self.held)) else {
                break;
            };
            *place = *first;
            self.held += 1;
            bytes = rest;
            self.judge()?;
        }
        Ok(())
    }

    /// Looks at the start of a message as far as it is known.
    fn judge(&mut self) -> Result<(), CleartextAsked> {
        let [tag, a, b, c, d, code @ ..] = self.start;
        let length = u32::from_be_bytes([a, b, c, d]) as usize;
        let is_request = tag == b'R' && length >= REQUEST - 1;
        if self.held < HEADER || (is_request && self.held < REQUEST) {
            return Ok(());
        }
        match u32::from_be_bytes(code) {
            3 if is_request => return Err(CleartextAsked),
            0 if is_request => self.through = true,
            _ => {}
        }
        self.skip = (length + 1).saturating_sub(self.held);
        self.held = 0;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOTICE: &[u8] = b"N\0\0\0\x09Shi\0\0";
    const SASL: &[u8] = b"R\0\0\0\x17\0\0\0\x0aSCRAM-SHA-256\0\0";
    const CLEARTEXT: &[u8] = b"R\0\0\0\x08\0\0\0\x03";
    const THROUGH: &[u8] = b"R\0\0\0\x08\0\0\0\0";

    proptest! {
        #[test]
        fn pg_96_a_request_for_clear_text_is_found_in_any_portioning(portion in 1usize..30) {
            let asked = |messages: &[&[u8]]| {
                let mut watch = LoginWatch::default();
                messages.concat().chunks(portion).try_for_each(|bytes| watch.see(bytes)).is_err()
            };
            prop_assert!(asked(&[CLEARTEXT]));
            prop_assert!(asked(&[NOTICE, CLEARTEXT]));
            prop_assert!(asked(&[SASL, NOTICE, CLEARTEXT]));
            prop_assert!(!asked(&[SASL, THROUGH]));
            // Rows that look like it come after the login.
            prop_assert!(!asked(&[NOTICE, THROUGH, CLEARTEXT]));
        }

        #[test]
        fn any_bytes_are_seen_without_a_panic(bytes: Vec<u8>) {
            let _ = LoginWatch::default().see(&bytes);
        }
    }
}
