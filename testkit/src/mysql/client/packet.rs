//! Packets and the login. Packets are joined and split at 16 MB less one byte.

use super::server_error;
use anyhow::{Context, Result, bail, ensure};
use std::io::{BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

/// The largest payload of one packet; one that is full is followed by another.
const FULL: usize = 0xff_ffff;
/// No statement of a test takes longer.
const ANSWER_LIMIT: Duration = Duration::from_secs(900);
/// utf8mb4_general_ci, which every server knows.
const COLLATION: u8 = 45;
/// CLIENT_LONG_PASSWORD, LONG_FLAG, PROTOCOL_41, TRANSACTIONS, SECURE_CONNECTION, MULTI_STATEMENTS, MULTI_RESULTS, PLUGIN_AUTH.
const CAPABILITIES: u32 = 0x1 | 0x4 | 0x200 | 0x2000 | 0x8000 | 0x1_0000 | 0x2_0000 | 0x8_0000;
const CONNECT_WITH_DB: u32 = 0x8;
const NATIVE: &[u8] = b"mysql_native_password";

/// A session's line.
#[derive(Debug)]
pub(in crate::mysql) struct Session {
    stream: BufReader<TcpStream>,
    sequence: u8,
}

impl Session {
    pub(super) fn open(port: u16, user: &str, database: &str) -> Result<Session> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).context("dial the server")?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(ANSWER_LIMIT))?;
        let mut session = Session { stream: BufReader::with_capacity(1 << 18, stream), sequence: 0 };
        let greeting = session.read()?;
        let plugin = greeted(&greeting)?;
        let wanted = if database.is_empty() { CAPABILITIES } else { CAPABILITIES | CONNECT_WITH_DB };
        let mut answer = wanted.to_le_bytes().to_vec();
        answer.extend((1u32 << 30).to_le_bytes());
        answer.push(COLLATION);
        answer.extend([0; 23]);
        answer.extend([user.as_bytes(), &[0, 0]].concat());
        if !database.is_empty() {
            answer.extend([database.as_bytes(), &[0]].concat());
        }
        answer.extend([plugin, &[0]].concat());
        session.write(&answer)?;
        loop {
            let packet = session.read()?;
            match packet.as_slice() {
                [0, ..] => return Ok(session),
                [0xff, ..] => return Err(server_error(&packet)),
                // Another method: no password is nothing in the old one, and a zero byte in the others.
                [0xfe, rest @ ..] => session.write(if rest.starts_with(NATIVE) { &[] } else { &[0] })?,
                // The method's own talk, such as that no password is quickly checked.
                [1, ..] => {}
                _ => bail!("a login went {packet:?}"),
            }
        }
    }

    /// Sends a command; its answer is read by [`Session::read`].
    pub(in crate::mysql) fn command(&mut self, payload: &[u8]) -> Result<()> {
        self.sequence = 0;
        self.write(payload)
    }

    fn write(&mut self, payload: &[u8]) -> Result<()> {
        let mut rest = payload;
        loop {
            let (piece, after) = rest.split_at(rest.len().min(FULL));
            let length = u32::try_from(piece.len())?.to_le_bytes();
            let header = [length[0], length[1], length[2], self.sequence];
            self.sequence = self.sequence.wrapping_add(1);
            let stream = self.stream.get_mut();
            if piece.len() < 1 << 16 {
                stream.write_all(&[&header, piece].concat())?;
            } else {
                stream.write_all(&header)?;
                stream.write_all(piece)?;
            }
            if piece.len() < FULL {
                return Ok(());
            }
            rest = after;
        }
    }

    /// The next packet, whole.
    pub(super) fn read(&mut self) -> Result<Vec<u8>> {
        let mut payload = Vec::new();
        self.read_into(&mut payload)?;
        Ok(payload)
    }

    /// The same into a buffer that is used again.
    pub(in crate::mysql) fn read_into(&mut self, payload: &mut Vec<u8>) -> Result<()> {
        payload.clear();
        loop {
            let mut header = [0; 4];
            self.stream.read_exact(&mut header).context("read from MySQL")?;
            let [a, b, c, sequence] = header;
            ensure!(sequence == self.sequence, "packet {sequence} came in place of {}", self.sequence);
            self.sequence = sequence.wrapping_add(1);
            let length = u32::from_le_bytes([a, b, c, 0]) as usize;
            let begin = payload.len();
            payload.resize(begin + length, 0);
            self.stream.read_exact(payload.get_mut(begin..).unwrap_or_default()).context("read from MySQL")?;
            if length < FULL {
                return Ok(());
            }
        }
    }
}

/// The method of login that the server's greeting (protocol version 10) names.
fn greeted(packet: &[u8]) -> Result<&[u8]> {
    match packet {
        [10, ..] => {}
        [0xff, ..] => return Err(server_error(packet)),
        _ => bail!("no MySQL answers there"),
    }
    let version = packet.iter().position(|byte| *byte == 0).context("a greeting without an end of the version")?;
    // Thread, 8 bytes of salt, zero, capabilities, collation, status, capabilities, length of the salt, 10 reserved.
    let rest = packet.get(version + 1 + 4 + 8 + 1 + 2 + 1 + 2 + 2..).context("a short greeting")?;
    let salt = rest.first().map_or(13, |length| usize::from(*length).saturating_sub(8).max(13));
    let name = rest.get(1 + 10 + salt..).context("a short greeting")?;
    Ok(name.split(|byte| *byte == 0).next().unwrap_or_default())
}

/// Reads values of the text protocol.
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn new(rest: &'a [u8]) -> Reader<'a> {
        Reader { rest }
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(length).context("a packet that is too short")?;
        self.rest = rest;
        Ok(taken)
    }

    pub(super) fn u16(&mut self) -> Result<u16> {
        Ok(u16::try_from(self.number(2)?)?)
    }

    fn number(&mut self, bytes: usize) -> Result<u64> {
        Ok(self.take(bytes)?.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    /// A length-encoded integer; `None` is the mark of null.
    pub(super) fn length(&mut self) -> Result<Option<u64>> {
        match self.number(1)? {
            0xfb => Ok(None),
            0xfc => self.number(2).map(Some),
            0xfd => self.number(3).map(Some),
            0xfe => self.number(8).map(Some),
            small => Ok(Some(small)),
        }
    }

    /// A length-encoded string; `None` is null.
    pub(super) fn text(&mut self) -> Result<Option<&'a [u8]>> {
        let Some(length) = self.length()? else { return Ok(None) };
        self.take(usize::try_from(length)?).map(Some)
    }
}
