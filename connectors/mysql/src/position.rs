//! Places in the binary log: the text form of a position, and its order. Knows no server.
//!
//! # What is stored
//!
//! A position is the state *between* two transactions (a GTID set, MariaDB's domains, or a file and an offset); when
//! it lies inside a transaction, the number of that transaction's changes that lie before it comes on top. The open
//! transaction is never part of the state (MY-07): the log is asked for from its start again.
//!
//! ```text
//! mysql-gtid:3e11fa47-71ca-11e1-9e33-c80aa9429562:1-5
//! mariadb-gtid:0-1-100,1-2-50;open=0-1-101#8192
//! mysql-file:3e11fa47-71ca-11e1-9e33-c80aa9429562/binlog.000003:1234;begun=1795434214
//! ```
//!
//! A file is known again by when it was begun: after `RESET MASTER` another one has its name.
//!
//! # Order
//!
//! `Mark::major` is a number that every transaction raises, and that the state alone gives: how many GTIDs the set
//! holds, the sum of MariaDB's sequence numbers, or file number and offset. So the places of a snapshot, of sinks and
//! of the stream compare, also after a failover. Changes of a transaction bear the number from before it.
//!
//! # Prepared XA transactions
//!
//! Their rows are in the log where they were prepared, and take effect where they are committed, maybe much later.
//! A position names those that are prepared and not decided, and where each can be read again (MY-33).

use crate::ddl::Xid;
use crate::gtid::{DomainPositions, GtidSet};
use crate::model::Flavour;
use std::fmt;
use std::sync::Arc;
use tidewire_core::{Error, Mark, Position, Result};

/// Bits of a mark for the offset in a file: 1 TiB. 24 bits are left for the file's number.
const OFFSET_BITS: u32 = 40;

/// A state between two transactions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// MySQL: every transaction that lies before.
    Gtid(GtidSet),
    /// MariaDB: the last transaction of each domain.
    Domains(DomainPositions),
    /// A file of one server, without GTIDs.
    File(FilePlace),
}

/// A place in a file of one server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FilePlace {
    /// Whose files: MySQL's `server_uuid`, MariaDB's `server_id`. They mean nothing to another server (MY-09).
    pub(crate) server: Arc<str>,
    /// `mysql` or `mariadb`, for people.
    pub(crate) flavour: Flavour,
    /// Name of the file.
    pub(crate) file: Arc<str>,
    /// Offset, 64 bits: a transaction may carry a file beyond 4 GiB (MY-10).
    pub(crate) offset: u64,
    /// When the file was begun, as its FORMAT_DESCRIPTION says, once that was read: seconds since 1970.
    pub(crate) begun: Option<u32>,
}

impl FilePlace {
    /// File number and offset in one number. `None` when they do not fit, or the name has no number.
    fn major(&self) -> Option<u64> {
        let number = file_number(&self.file)?;
        let fits =
            number < 1 << (64 - OFFSET_BITS) && self.offset < 1 << OFFSET_BITS && !self.file.contains([';', ',']);
        fits.then_some((number << OFFSET_BITS) | self.offset)
    }
}

/// The number that a binary log file's name ends in.
pub(crate) fn file_number(name: &str) -> Option<u64> {
    let (_, digits) = name.rsplit_once('.')?;
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    digits.parse().ok()
}

impl Place {
    /// The order of the state; see the module.
    pub(crate) fn major(&self) -> Result<u64> {
        match self {
            Place::Gtid(set) => Ok(set.count()),
            Place::Domains(domains) => Ok(domains.sum()),
            Place::File(file) => file.major().ok_or_else(|| {
                Error::operator(
                    "file_unusable",
                    format!("`{}` at {} is no place that can be stored", file.file, file.offset),
                )
                .with_remedy(
                    "turn on GTIDs; a file's number must lie below 16,777,216, its size below 1 TiB, and its name must have \
                     neither commas nor semicolons",
                )
            }),
        }
    }

    /// The position between transactions.
    pub(crate) fn boundary(&self, prepared: &[Prepared]) -> Result<Position> {
        let mark = Mark { major: self.major()?, minor: 0 };
        let mut text = self.to_string();
        self.write_begun(&mut text);
        write_prepared(&mut text, prepared);
        Ok(Position::new(mark, text))
    }

    fn write_begun(&self, text: &mut String) {
        if let Place::File(FilePlace { begun: Some(begun), .. }) = self {
            text.push_str(&format!(";begun={begun}"));
        }
    }

    /// The position inside the transaction that follows: `ordinal` of its changes lie before it.
    pub(crate) fn inside(&self, prepared: &[Prepared], id: &str, ordinal: u64) -> Result<Position> {
        let mark = Mark { major: self.major()?, minor: ordinal };
        let mut text = self.to_string();
        self.write_begun(&mut text);
        text.push_str(&format!(";open={id}#{ordinal}"));
        write_prepared(&mut text, prepared);
        Ok(Position::new(mark, text))
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Gtid(set) => write!(f, "mysql-gtid:{set}"),
            Place::Domains(domains) => write!(f, "mariadb-gtid:{domains}"),
            Place::File(place) => {
                write!(f, "{}-file:{}/{}:{}", place.flavour.connector(), place.server, place.file, place.offset)
            }
        }
    }
}

/// A prepared XA transaction that is neither committed nor rolled back yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Prepared {
    /// Its id.
    pub(crate) xid: Xid,
    /// Where it can be read again: its GTID; for MariaDB the one before it in its domain (`before>own`); or
    /// `file:offset`.
    pub(crate) origin: Arc<str>,
}

impl Prepared {
    /// Stands for all that were prepared before the source began, none of which is about a captured table.
    pub(crate) fn earlier() -> Prepared {
        Prepared { xid: Xid { format: -1, global: Vec::new(), branch: Vec::new() }, origin: Arc::from(EARLIER) }
    }

    /// Whether it stands for those.
    pub(crate) fn is_earlier(&self) -> bool {
        *self.origin == *EARLIER
    }
}

/// The origin of [`Prepared::earlier`].
const EARLIER: &str = "*";

fn write_prepared(text: &mut String, prepared: &[Prepared]) {
    for (index, entry) in prepared.iter().enumerate() {
        text.push_str(if index == 0 { ";xa=" } else { "," });
        let Xid { format, global, branch } = &entry.xid;
        text.push_str(&format!("{}.{}.{format}@{}", hex(global), hex(branch), entry.origin));
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    if !text.is_ascii() || !text.len().is_multiple_of(2) {
        return None;
    }
    text.as_bytes()
        .as_chunks::<2>()
        .0
        .iter()
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
        .collect()
}

/// A stored position, read back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StoredPosition {
    /// The state before the open transaction.
    pub(crate) place: Place,
    /// The open transaction's id and how many of its changes lie before.
    pub(crate) open: Option<(Arc<str>, u64)>,
    /// XA transactions that are prepared.
    pub(crate) prepared: Vec<Prepared>,
    /// Its order.
    pub(crate) mark: Mark,
}

impl StoredPosition {
    /// Reads a position that this crate made. Refuses a text whose place is not the position's mark: one of the two
    /// was damaged.
    pub(crate) fn parse(position: &Position) -> Result<StoredPosition> {
        let parsed = StoredPosition::from_text(&position.text).filter(|stored| stored.mark == position.mark);
        parsed.ok_or_else(|| {
            Error::operator(
                "position_unreadable",
                format!("stored position `{}` is not one of this source", position.text),
            )
            .with_remedy("give the source the name it had when the position was stored, or a new name to start afresh")
        })
    }

    fn from_text(text: &str) -> Option<StoredPosition> {
        let mut parts = text.split(';');
        let mut place = place(parts.next()?)?;
        let (mut open, mut prepared) = (None, Vec::new());
        for part in parts {
            let (key, value) = part.split_once('=')?;
            match (key, &mut place) {
                ("begun", Place::File(file)) if file.begun.is_none() => file.begun = Some(value.parse().ok()?),
                ("open", _) if open.is_none() => {
                    let (id, ordinal) = value.rsplit_once('#')?;
                    open = Some((Arc::from(id), ordinal.parse().ok()?));
                }
                ("xa", _) if prepared.is_empty() => {
                    prepared = value.split(',').map(prepared_entry).collect::<Option<Vec<_>>>()?;
                }
                _ => return None,
            }
        }
        let major = place.major().ok()?;
        let mark = Mark { major, minor: open.as_ref().map_or(0, |(_, ordinal)| *ordinal) };
        Some(StoredPosition { place, open, prepared, mark })
    }
}

fn place(text: &str) -> Option<Place> {
    let (kind, rest) = text.split_once(':')?;
    let file = |flavour| {
        let (server, place) = rest.split_once('/')?;
        let (file, offset) = place.rsplit_once(':')?;
        let offset = offset.parse().ok()?;
        Some(Place::File(FilePlace { server: server.into(), flavour, file: file.into(), offset, begun: None }))
    };
    match kind {
        "mysql-gtid" => GtidSet::parse(rest).ok().map(Place::Gtid),
        "mariadb-gtid" => DomainPositions::parse(rest).ok().map(Place::Domains),
        "mysql-file" => file(Flavour::MySql),
        "mariadb-file" => file(Flavour::MariaDb),
        _ => None,
    }
}

fn prepared_entry(text: &str) -> Option<Prepared> {
    let (xid, origin) = text.split_once('@')?;
    let mut parts = xid.split('.');
    let (global, branch) = (unhex(parts.next()?)?, unhex(parts.next()?)?);
    let format = parts.next()?.parse().ok()?;
    parts.next().is_none().then_some(Prepared { xid: Xid { format, global, branch }, origin: origin.into() })
}

#[cfg(test)]
mod tests;
