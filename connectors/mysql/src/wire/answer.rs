//! What the server answers to a request. See "Generic Response Packets", "Text Resultset" and "Column Definition" in the
//! protocol's documentation.

use crate::error::ServerError;

/// Most columns of a result: the server allows 4096 in a table and in a result.
const COLUMNS_MAX: u64 = 4096;

/// A message that does not follow the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AnswerError {
    /// It ends too early.
    #[error("{0} is cut off")]
    Short(&'static str),
    /// It cannot be what it says it is.
    #[error("{0} makes no sense")]
    Nonsense(&'static str),
}

/// Reads a message from its front.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fields<'a> {
    rest: &'a [u8],
    what: &'static str,
}

impl<'a> Fields<'a> {
    /// Of a message; `what` names it in errors.
    pub(crate) fn new(what: &'static str, message: &'a [u8]) -> Fields<'a> {
        Fields { rest: message, what }
    }

    /// What has not been read.
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// The next `count` bytes.
    pub(crate) fn bytes(&mut self, count: usize) -> Result<&'a [u8], AnswerError> {
        let (bytes, rest) = self.rest.split_at_checked(count).ok_or(AnswerError::Short(self.what))?;
        self.rest = rest;
        Ok(bytes)
    }

    /// A little-endian number of `count` bytes, 8 at most.
    fn number(&mut self, count: usize) -> Result<u64, AnswerError> {
        let bytes = self.bytes(count)?;
        Ok(bytes.iter().rev().fold(0, |number, byte| (number << 8) | u64::from(*byte)))
    }

    /// A byte.
    pub(crate) fn u8(&mut self) -> Result<u8, AnswerError> {
        let (first, rest) = self.rest.split_first().ok_or(AnswerError::Short(self.what))?;
        self.rest = rest;
        Ok(*first)
    }

    /// Two bytes.
    pub(crate) fn u16(&mut self) -> Result<u16, AnswerError> {
        u16::try_from(self.number(2)?).map_err(|_| AnswerError::Nonsense(self.what))
    }

    /// Four bytes.
    pub(crate) fn u32(&mut self) -> Result<u32, AnswerError> {
        u32::try_from(self.number(4)?).map_err(|_| AnswerError::Nonsense(self.what))
    }

    /// A number with a length of its own; `None` is the mark of null.
    pub(crate) fn length_encoded(&mut self) -> Result<Option<u64>, AnswerError> {
        match self.u8()? {
            0xFB => Ok(None),
            0xFC => self.number(2).map(Some),
            0xFD => self.number(3).map(Some),
            0xFE => self.number(8).map(Some),
            0xFF => Err(AnswerError::Nonsense(self.what)),
            small => Ok(Some(u64::from(small))),
        }
    }

    /// Bytes with their length in front; `None` is null.
    pub(crate) fn nullable(&mut self) -> Result<Option<&'a [u8]>, AnswerError> {
        let Some(length) = self.length_encoded()? else { return Ok(None) };
        let length = usize::try_from(length).map_err(|_| AnswerError::Short(self.what))?;
        self.bytes(length).map(Some)
    }

    /// As [`Fields::nullable`], where null is not allowed.
    pub(crate) fn string(&mut self) -> Result<&'a [u8], AnswerError> {
        self.nullable()?.ok_or(AnswerError::Nonsense(self.what))
    }

    /// Bytes up to a zero, or to the end.
    pub(crate) fn zero_ended(&mut self) -> &'a [u8] {
        let (bytes, rest) = match memchr::memchr(0, self.rest) {
            Some(end) => (self.rest.get(..end).unwrap_or_default(), self.rest.get(end + 1..).unwrap_or_default()),
            None => (self.rest, <&[u8]>::default()),
        };
        self.rest = rest;
        bytes
    }
}

/// Reads an ERR packet; what is missing in it stays empty, because it is only told to people.
pub(crate) fn server_error(message: &[u8]) -> ServerError {
    let mut fields = Fields::new("an error", message.get(1..).unwrap_or_default());
    let number = fields.u16().unwrap_or_default();
    // The mark and SQLSTATE, which is missing before the login.
    let message = match fields.rest().split_first_chunk::<6>() {
        Some(([b'#', ..], message)) => message,
        _ => fields.rest(),
    };
    ServerError { number, message: String::from_utf8_lossy(message).into_owned() }
}

/// Whether a message is the mark that ends column definitions or rows: short, so that it cannot be a row whose first
/// value has a length of 8 bytes.
pub(crate) fn is_end(message: &[u8]) -> bool {
    message.first() == Some(&0xFE) && message.len() < 9
}

/// Whether a message is an ERR packet.
pub(crate) fn is_error(message: &[u8]) -> bool {
    message.first() == Some(&0xFF)
}

/// The server's status flag that says that another result follows.
const MORE_RESULTS: u16 = 8;

/// Refuses an end mark that announces another result: we never ask for two at a time.
pub(crate) fn check_last(end: &[u8]) -> Result<(), AnswerError> {
    let mut fields = Fields::new("the end of a result", end);
    fields.bytes(3)?;
    match fields.u16()? & MORE_RESULTS {
        0 => Ok(()),
        _ => Err(AnswerError::Nonsense("a second result")),
    }
}

/// The first answer to a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum QueryStart {
    /// Done, and there are no rows.
    Done,
    /// So many columns; their definitions and rows follow.
    Columns(usize),
}

/// Reads the first answer to a query, which is no error.
pub(crate) fn query_start(message: &[u8]) -> Result<QueryStart, AnswerError> {
    match message.first() {
        Some(0) => Ok(QueryStart::Done),
        // The server asks for a file of ours: nobody is entitled to one.
        Some(0xFB) => Err(AnswerError::Nonsense("a request for a local file")),
        _ => {
            let mut fields = Fields::new("the number of columns", message);
            let count = fields.length_encoded()?.filter(|count| (1..=COLUMNS_MAX).contains(count));
            let count = count.and_then(|count| usize::try_from(count).ok());
            count.map(QueryStart::Columns).ok_or(AnswerError::Nonsense("the number of columns"))
        }
    }
}

/// A column of a result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ResultColumn {
    /// Name, or alias.
    pub(crate) name: String,
    /// Collation's number; 63 is `binary`.
    pub(crate) collation: u16,
    /// Length for display, in bytes.
    pub(crate) length: u32,
    /// `MYSQL_TYPE_*`.
    pub(crate) kind: u8,
    /// Flags such as `UNSIGNED_FLAG` (32).
    pub(crate) flags: u16,
    /// Digits after the point; 31 where there is no limit.
    pub(crate) decimals: u8,
}

/// Reads a column definition.
pub(crate) fn column(message: &[u8]) -> Result<ResultColumn, AnswerError> {
    let what = "a column definition";
    let mut fields = Fields::new(what, message);
    // Catalog, schema, table as aliased, table as it is.
    for _ in 0..4 {
        fields.string()?;
    }
    let name = std::str::from_utf8(fields.string()?).map_err(|_| AnswerError::Nonsense(what))?.to_owned();
    fields.string()?;
    if fields.length_encoded()?.is_none_or(|length| length < 10) {
        return Err(AnswerError::Nonsense(what));
    }
    Ok(ResultColumn {
        name,
        collation: fields.u16()?,
        length: fields.u32()?,
        kind: fields.u8()?,
        flags: fields.u16()?,
        decimals: fields.u8()?,
    })
}

/// Reads a row of a text result.
pub(crate) fn text_row(message: &[u8], columns: usize) -> Result<Vec<Option<Vec<u8>>>, AnswerError> {
    let mut fields = Fields::new("a row", message);
    let mut row = Vec::with_capacity(columns);
    for _ in 0..columns {
        row.push(fields.nullable()?.map(<[u8]>::to_vec));
    }
    match fields.rest() {
        [] => Ok(row),
        _ => Err(AnswerError::Nonsense("a row")),
    }
}

/// The answer to a request to prepare a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Prepared {
    /// The statement's number in this session.
    pub(crate) id: u32,
    /// Columns of its result.
    pub(crate) columns: usize,
    /// Its parameters.
    pub(crate) parameters: usize,
}

/// Reads the answer to a request to prepare a statement, which is no error.
pub(crate) fn prepared(message: &[u8]) -> Result<Prepared, AnswerError> {
    let what = "the answer to a preparation";
    let mut fields = Fields::new(what, message);
    if fields.u8()? != 0 {
        return Err(AnswerError::Nonsense(what));
    }
    let (id, columns, parameters) = (fields.u32()?, fields.u16()?, fields.u16()?);
    Ok(Prepared { id, columns: usize::from(columns), parameters: usize::from(parameters) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn errors_with_and_without_a_state() {
        let error = server_error(b"\xFF\x15\x04#28000Access denied");
        assert_eq!((error.number, &*error.message), (1045, "Access denied"));
        let error = server_error(b"\xFF\x10\x04Too many connections");
        assert_eq!((error.number, &*error.message), (1040, "Too many connections"));
        assert_eq!(server_error(b"\xFF").number, 0);
    }

    #[test]
    fn lengths_of_all_widths() {
        for (bytes, number) in [
            (&b"\x05"[..], Some(5)),
            (b"\xFB", None),
            (b"\xFC\x00\x01", Some(256)),
            (b"\xFD\x00\x00\x01", Some(65536)),
            (b"\xFE\x00\x00\x00\x01\x00\x00\x00\x00", Some(1 << 24)),
        ] {
            assert_eq!(Fields::new("x", bytes).length_encoded(), Ok(number));
        }
        assert!(Fields::new("x", b"\xFF").length_encoded().is_err());
        assert!(Fields::new("x", b"\xFE\x00").length_encoded().is_err());
        // A length that no memory has.
        assert!(Fields::new("x", b"\xFE\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFFabc").nullable().is_err());
    }

    #[test]
    fn starts_of_results() {
        assert_eq!(query_start(b"\x00\x00\x00\x02\x00\x00\x00"), Ok(QueryStart::Done));
        assert_eq!(query_start(b"\x03"), Ok(QueryStart::Columns(3)));
        assert!(query_start(b"\xFB/etc/passwd").is_err(), "no file of ours is sent");
        assert!(query_start(b"\xFC\xFF\xFF").is_err());
        assert!(query_start(b"").is_err());
        assert!(check_last(b"\xFE\x00\x00\x02\x00").is_ok());
        assert!(check_last(b"\xFE\x00\x00\x0A\x00").is_err());
    }

    #[test]
    fn columns_and_rows() {
        let message = b"\x03def\x01s\x01t\x01t\x02id\x02id\x0C\x3F\x00\x0B\x00\x00\x00\x03\x20\x00\x00\x00\x00";
        let expected =
            ResultColumn { name: "id".to_owned(), collation: 63, length: 11, kind: 3, flags: 32, decimals: 0 };
        assert_eq!(column(message), Ok(expected));
        assert_eq!(text_row(b"\x011\xFB\x00", 3), Ok(vec![Some(b"1".to_vec()), None, Some(Vec::new())]));
        assert!(text_row(b"\x011\xFB\x00", 2).is_err());
        assert!(text_row(b"\x011\xFB", 3).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes: Vec<u8>) {
            let _ = (column(&bytes), text_row(&bytes, 3), prepared(&bytes), query_start(&bytes), server_error(&bytes));
            let _ = check_last(&bytes);
        }
    }
}
