//! Messages inside a replication stream's CopyData, both ways. See "Streaming Replication Protocol" in the manual.

use super::message::{Body, Malformed};
use crate::position::Lsn;
use bytes::{BufMut, BytesMut};

/// Microseconds between 1970 and 2000, the server's epoch.
const SERVER_EPOCH_MICROS: i64 = 946_684_800_000_000;

/// What the server sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Replication<'a> {
    /// A message of the output plugin.
    XLogData {
        /// Where it begins in the log.
        wal_start: u64,
        /// The plugin's bytes.
        payload: &'a [u8],
    },
    /// How far the server has come.
    Keepalive {
        /// All that commits before here has been sent.
        wal_end: Lsn,
        /// Whether it wants to hear from us now.
        reply_requested: bool,
    },
}

/// Where we stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Status {
    /// Received.
    pub(crate) written: Lsn,
    /// Durable in every sink; sent as flushed and as applied.
    pub(crate) acknowledged: Lsn,
    /// Whether the server should answer at once.
    pub(crate) reply_requested: bool,
}

/// Reads the body of a CopyData.
pub(crate) fn parse(body: &[u8]) -> Result<Replication<'_>, Malformed> {
    let mut body = Body::new("replication", body);
    match body.u8()? {
        b'w' => {
            let wal_start = body.u64()?;
            let _wal_end = body.u64()?;
            let _sent_at = body.u64()?;
            Ok(Replication::XLogData { wal_start, payload: body.rest() })
        }
        b'k' => {
            let wal_end = Lsn(body.u64()?);
            let _sent_at = body.u64()?;
            Ok(Replication::Keepalive { wal_end, reply_requested: body.u8()? != 0 })
        }
        _ => Err(Malformed("replication")),
    }
}

/// Writes a Standby Status Update as a whole frame. `now_micros` counts from 1970.
pub(crate) fn status_update(status: &Status, now_micros: i64, out: &mut BytesMut) {
    out.put_u8(b'd');
    out.put_u32(4 + 34);
    out.put_u8(b'r');
    out.put_u64(status.written.0);
    out.put_u64(status.acknowledged.0);
    out.put_u64(status.acknowledged.0);
    out.put_i64(now_micros.saturating_sub(SERVER_EPOCH_MICROS));
    out.put_u8(u8::from(status.reply_requested));
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn messages_of_the_manual() {
        let mut data = vec![b'w'];
        data.extend(7u64.to_be_bytes());
        data.extend(8u64.to_be_bytes());
        data.extend(9u64.to_be_bytes());
        data.extend(b"B...");
        assert_eq!(parse(&data), Ok(Replication::XLogData { wal_start: 7, payload: b"B..." }));
        let mut data = vec![b'k'];
        data.extend(7u64.to_be_bytes());
        data.extend(9u64.to_be_bytes());
        data.push(1);
        assert_eq!(parse(&data), Ok(Replication::Keepalive { wal_end: Lsn(7), reply_requested: true }));
        data.pop();
        assert!(parse(&data).is_err());
    }

    #[test]
    fn pg_68_only_what_is_acknowledged_counts_as_flushed() {
        let mut out = BytesMut::new();
        let status = Status { written: Lsn(9), acknowledged: Lsn(5), reply_requested: false };
        status_update(&status, SERVER_EPOCH_MICROS + 1, &mut out);
        assert_eq!(out.len(), 1 + 38);
        assert_eq!(out[1..5], 38u32.to_be_bytes());
        assert_eq!(out[6..14], 9u64.to_be_bytes());
        assert_eq!(out[14..22], 5u64.to_be_bytes());
        assert_eq!(out[22..30], 5u64.to_be_bytes());
        assert_eq!(out[30..38], 1i64.to_be_bytes());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes: Vec<u8>) {
            let _ = parse(&bytes);
        }
    }
}
