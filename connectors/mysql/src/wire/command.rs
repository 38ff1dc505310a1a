//! Requests, as bytes of one message. See "Command Phase" and "Replication Protocol" in the protocol's documentation.

/// `COM_QUIT`.
pub(crate) const QUIT: &[u8] = &[0x01];

/// `COM_QUERY`.
pub(crate) fn query(sql: &str) -> Vec<u8> {
    tagged(0x03, sql.as_bytes())
}

/// `COM_STMT_PREPARE`.
pub(crate) fn prepare(sql: &str) -> Vec<u8> {
    tagged(0x16, sql.as_bytes())
}

/// `COM_STMT_CLOSE`; the server does not answer.
pub(crate) fn close_statement(id: u32) -> Vec<u8> {
    tagged(0x19, &id.to_le_bytes())
}

/// `COM_STMT_EXECUTE` without a cursor. Parameters are texts in the session's character set, or null.
pub(crate) fn execute(id: u32, parameters: &[Option<&[u8]>]) -> Vec<u8> {
    const VAR_STRING: u8 = 0xFD;
    let mut out = tagged(0x17, &id.to_le_bytes());
    out.push(0);
    out.extend_from_slice(&1u32.to_le_bytes());
    if parameters.is_empty() {
        return out;
    }
    for part in parameters.chunks(8) {
        let nulls = part.iter().rev().fold(0u8, |bits, parameter| (bits << 1) | u8::from(parameter.is_none()));
        out.push(nulls);
    }
    out.push(1);
    for _ in parameters {
        out.extend_from_slice(&[VAR_STRING, 0]);
    }
    for value in parameters.iter().flatten() {
        push_length(value.len(), &mut out);
        out.extend_from_slice(value);
    }
    out
}

/// `COM_REGISTER_SLAVE`: shows us in the server's list of replicas, by this name.
pub(crate) fn register_replica(server_id: u32, name: &str) -> Vec<u8> {
    let mut out = tagged(0x15, &server_id.to_le_bytes());
    let length = u8::try_from(name.len()).unwrap_or(u8::MAX);
    out.push(length);
    out.extend(name.bytes().take(usize::from(length)));
    // User and password, port, rank, the server's number.
    out.extend_from_slice(&[0, 0]);
    out.extend_from_slice(&0u16.to_le_bytes());
    out.extend_from_slice(&0u32.to_le_bytes());
    out.extend_from_slice(&0u32.to_le_bytes());
    out
}

/// MariaDB's flag of a dump that asks for the statements of row changes too.
pub(crate) const SEND_ANNOTATE_ROWS: u16 = 2;

/// `COM_BINLOG_DUMP`.
pub(crate) fn dump(position: u32, flags: u16, server_id: u32, file: &str) -> Vec<u8> {
    let mut out = tagged(0x12, &position.to_le_bytes());
    out.extend_from_slice(&flags.to_le_bytes());
    out.extend_from_slice(&server_id.to_le_bytes());
    out.extend_from_slice(file.as_bytes());
    out
}

/// `COM_BINLOG_DUMP_GTID` for all that is not in an encoded set of GTIDs; `None` for a set of 4 GiB.
pub(crate) fn dump_gtid(server_id: u32, encoded: &[u8]) -> Option<Vec<u8>> {
    /// `BINLOG_THROUGH_GTID`.
    const THROUGH_GTID: u16 = 4;
    let mut out = tagged(0x1E, &THROUGH_GTID.to_le_bytes());
    out.extend_from_slice(&server_id.to_le_bytes());
    // No file name, and the position after a file's first four bytes.
    out.extend_from_slice(&0u32.to_le_bytes());
    out.extend_from_slice(&4u64.to_le_bytes());
    out.extend_from_slice(&u32::try_from(encoded.len()).ok()?.to_le_bytes());
    out.extend_from_slice(encoded);
    Some(out)
}

/// A number with a length of its own.
pub(super) fn push_length(length: usize, out: &mut Vec<u8>) {
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(small @ ..0xFB), _) => out.push(small),
        (_, Ok(number)) => {
            out.push(0xFC);
            out.extend_from_slice(&number.to_le_bytes());
        }
        _ => {
            out.push(0xFE);
            out.extend_from_slice(&(length as u64).to_le_bytes());
        }
    }
}

fn tagged(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(1 + content.len());
    out.push(tag);
    out.extend_from_slice(content);
    out
}

#[cfg(test)]
mod tests {
    use super::super::answer::Fields;
    use super::*;

    #[test]
    fn lengths_are_read_as_they_were_written() {
        for length in [0, 1, 250, 251, 255, 256, 65535, 65536, 1 << 24] {
            let mut out = Vec::new();
            push_length(length, &mut out);
            assert_eq!(Fields::new("x", &out).length_encoded(), Ok(Some(length as u64)));
        }
    }

    #[test]
    fn requests_as_bytes() {
        assert_eq!(query("SELECT 1"), b"\x03SELECT 1");
        assert_eq!(dump(4, 2, 9, "b.1"), b"\x12\x04\0\0\0\x02\0\x09\0\0\0b.1");
        let gtid = dump_gtid(9, b"set").unwrap();
        assert_eq!(gtid, b"\x1E\x04\0\x09\0\0\0\0\0\0\0\x04\0\0\0\0\0\0\0\x03\0\0\0set");
        assert_eq!(register_replica(7, "me"), b"\x15\x07\0\0\0\x02me\0\0\0\0\0\0\0\0\0\0\0\0");
        let values: [Option<&[u8]>; 3] = [Some(b"a"), None, Some(b"")];
        assert_eq!(execute(1, &values), b"\x17\x01\0\0\0\0\x01\0\0\0\x02\x01\xFD\0\xFD\0\xFD\0\x01a\0");
        assert_eq!(execute(1, &[]), b"\x17\x01\0\0\0\0\x01\0\0\0");
    }
}
