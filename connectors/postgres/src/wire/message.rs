//! Bodies of the backend's messages outside the log itself. See "Message Formats" in the protocol chapter.

use crate::error::ServerError;
use memchr::memchr;

/// A body that does not have the form the manual gives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a message of kind `{0}` is malformed")]
pub(crate) struct Malformed(pub(crate) &'static str);

/// What the server asks for at login.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Authentication<'a> {
    /// The login is through.
    Ok,
    /// The password as it is.
    Cleartext,
    /// MD5 of password and user, salted.
    Md5([u8; 4]),
    /// One of these mechanisms.
    Sasl(Vec<&'a str>),
    /// The exchange goes on.
    SaslContinue(&'a [u8]),
    /// The server's proof.
    SaslFinal(&'a [u8]),
    /// Something we do not speak.
    Other(u32),
}

/// Reads a body from its front.
pub(crate) struct Body<'a> {
    rest: &'a [u8],
    kind: &'static str,
}

impl<'a> Body<'a> {
    /// Over the whole body.
    pub(crate) fn new(kind: &'static str, body: &'a [u8]) -> Body<'a> {
        Body { rest: body, kind }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (array, rest) = self.rest.split_first_chunk::<N>().ok_or(Malformed(self.kind))?;
        self.rest = rest;
        Ok(*array)
    }

    /// One byte.
    pub(crate) fn u8(&mut self) -> Result<u8, Malformed> {
        self.array::<1>().map(|[byte]| byte)
    }

    /// Two bytes.
    pub(crate) fn u16(&mut self) -> Result<u16, Malformed> {
        self.array().map(u16::from_be_bytes)
    }

    /// Four bytes.
    pub(crate) fn u32(&mut self) -> Result<u32, Malformed> {
        self.array().map(u32::from_be_bytes)
    }

    /// Eight bytes.
    pub(crate) fn u64(&mut self) -> Result<u64, Malformed> {
        self.array().map(u64::from_be_bytes)
    }

    /// So many bytes.
    pub(crate) fn bytes(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let (bytes, rest) = self.rest.split_at_checked(count).ok_or(Malformed(self.kind))?;
        self.rest = rest;
        Ok(bytes)
    }

    /// Text up to a zero byte.
    pub(crate) fn text(&mut self) -> Result<&'a str, Malformed> {
        let end = memchr(0, self.rest).ok_or(Malformed(self.kind))?;
        let text = self.bytes(end)?;
        self.u8()?;
        std::str::from_utf8(text).map_err(|_| Malformed(self.kind))
    }

    /// What is left.
    pub(crate) fn rest(self) -> &'a [u8] {
        self.rest
    }
}

/// An `R`.
pub(crate) fn authentication(body: &[u8]) -> Result<Authentication<'_>, Malformed> {
    let mut body = Body::new("authentication", body);
    Ok(match body.u32()? {
        0 => Authentication::Ok,
        3 => Authentication::Cleartext,
        5 => Authentication::Md5(body.array()?),
        10 => {
            let mut mechanisms = Vec::new();
            loop {
                let mechanism = body.text()?;
                if mechanism.is_empty() {
                    break Authentication::Sasl(mechanisms);
                }
                mechanisms.push(mechanism);
            }
        }
        11 => Authentication::SaslContinue(body.rest()),
        12 => Authentication::SaslFinal(body.rest()),
        other => Authentication::Other(other),
    })
}

/// An `E` or `N`. Lossy on purpose: an error before the client's encoding is set may come in any encoding.
pub(crate) fn server_error(body: &[u8]) -> ServerError {
    let mut error = ServerError::default();
    for field in body.split(|byte| *byte == 0) {
        let Some((kind, text)) = field.split_first() else { break };
        let text = || String::from_utf8_lossy(text).into_owned();
        match kind {
            b'V' => error.severity = text(),
            b'C' => error.code = text(),
            b'M' => error.message = text(),
            b'H' => error.hint = Some(text()),
            _ => {}
        }
    }
    error
}

/// A `S`: name and value of a parameter.
pub(crate) fn parameter_status(body: &[u8]) -> Result<(&str, &str), Malformed> {
    let mut body = Body::new("parameter status", body);
    Ok((body.text()?, body.text()?))
}

/// A `D` of a simple query: every value as text.
pub(crate) fn data_row(body: &[u8]) -> Result<Vec<Option<String>>, Malformed> {
    let mut body = Body::new("data row", body);
    let count = body.u16()?;
    let mut row = Vec::with_capacity(usize::from(count));
    for _ in 0..count {
        let length = body.u32()?;
        if length == u32::MAX {
            row.push(None);
            continue;
        }
        let bytes = body.bytes(length as usize)?;
        row.push(Some(std::str::from_utf8(bytes).map_err(|_| Malformed("data row"))?.to_owned()));
    }
    Ok(row)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn bodies_of_the_manual() {
        assert_eq!(authentication(&[0, 0, 0, 0]), Ok(Authentication::Ok));
        assert_eq!(authentication(&[0, 0, 0, 5, 1, 2, 3, 4]), Ok(Authentication::Md5([1, 2, 3, 4])));
        let sasl = b"\0\0\0\x0aSCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0";
        let mechanisms = vec!["SCRAM-SHA-256-PLUS", "SCRAM-SHA-256"];
        assert_eq!(authentication(sasl), Ok(Authentication::Sasl(mechanisms)));
        assert_eq!(parameter_status(b"server_version\x0015.4\0"), Ok(("server_version", "15.4")));
        let row = b"\0\x02\0\0\0\x01a\xff\xff\xff\xff";
        assert_eq!(data_row(row), Ok(vec![Some("a".to_owned()), None]));
        let error = server_error(b"SFEHLER\0VERROR\0C42501\0Mnope\0Hask\0\0");
        assert_eq!((&*error.severity, &*error.code, &*error.message), ("ERROR", "42501", "nope"));
        assert_eq!(error.hint.as_deref(), Some("ask"));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes: Vec<u8>) {
            let _ = authentication(&bytes);
            let _ = server_error(&bytes);
            let _ = parameter_status(&bytes);
            let _ = data_row(&bytes);
        }
    }
}
