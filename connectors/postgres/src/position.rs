//! Places in PostgreSQL's log: the LSN, the server's identity, and the text form of a position. Knows no server.
//!
//! A position is `pg:<system id>/<timeline>/<X/Y>/<ordinal>`. Its LSN is the end of a commit record with ordinal
//! 0 when it lies between transactions, and the start of the commit record with the number of changes already
//! handed out when it lies inside one. The server sends a transaction again exactly when its commit record starts
//! at or after the LSN asked for, so both forms can be asked for as they are. Order is by commit, never by the LSN
//! of a message (PG-60, PG-63, PG-64).

use std::fmt;
use std::str::FromStr;
use tidewire_core::{Error, Mark, Position, Result};

/// A byte position in the log, printed as the server prints it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(crate) struct Lsn(pub(crate) u64);

impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:X}/{:X}", self.0 >> 32, self.0 & 0xFFFF_FFFF)
    }
}

/// A text that is no LSN.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a log position of the form `16/B374D848`")]
pub(crate) struct LsnError;

impl FromStr for Lsn {
    type Err = LsnError;

    fn from_str(text: &str) -> Result<Lsn, LsnError> {
        let (high, low) = text.split_once('/').ok_or(LsnError)?;
        let part = |digits: &str| {
            let plain = (1..=8).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_hexdigit());
            if plain { u64::from_str_radix(digits, 16).map_err(|_| LsnError) } else { Err(LsnError) }
        };
        Ok(Lsn((part(high)? << 32) | part(low)?))
    }
}

/// Which history of the log a position belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ServerIdentity {
    /// The cluster's system identifier.
    pub(crate) system_id: u64,
    /// The timeline.
    pub(crate) timeline: u32,
}

impl ServerIdentity {
    /// The position on this history.
    pub(crate) fn position(self, mark: Mark) -> Position {
        let text = format!("pg:{}/{}/{}/{}", self.system_id, self.timeline, Lsn(mark.major), mark.minor);
        Position::new(mark, text)
    }

    /// The position between transactions at `lsn`.
    pub(crate) fn boundary(self, lsn: Lsn) -> Position {
        self.position(Mark { major: lsn.0, minor: 0 })
    }
}

/// A stored position, read back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StoredPosition {
    /// Its history.
    pub(crate) identity: ServerIdentity,
    /// Its place.
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
        let mut parts = text.strip_prefix("pg:")?.splitn(3, '/');
        let (system_id, timeline, place) = (parts.next()?, parts.next()?, parts.next()?);
        let (lsn, ordinal) = place.rsplit_once('/')?;
        let lsn: Lsn = lsn.parse().ok()?;
        let identity = ServerIdentity { system_id: system_id.parse().ok()?, timeline: timeline.parse().ok()? };
        let stored = StoredPosition { identity, mark: Mark { major: lsn.0, minor: ordinal.parse().ok()? } };
        Some(stored)
    }

    /// The LSN to ask the server for.
    pub(crate) fn lsn(&self) -> Lsn {
        Lsn(self.mark.major)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn positions_round_trip(system_id: u64, timeline: u32, major: u64, minor: u64) {
            let identity = ServerIdentity { system_id, timeline };
            let mark = Mark { major, minor };
            let stored = StoredPosition::parse(&identity.position(mark)).unwrap();
            prop_assert_eq!(stored, StoredPosition { identity, mark });
        }

        #[test]
        fn lsns_round_trip(lsn: u64) {
            prop_assert_eq!(Lsn(lsn).to_string().parse::<Lsn>(), Ok(Lsn(lsn)));
        }
    }

    #[test]
    fn damaged_positions_are_refused() {
        for text in
            ["", "pg:", "pg:1/2/3", "pg:1/2/0/3", "pg:x/1/0/1/0", "my:1/1/0/1/0", "pg:1/1/0/+1/0", "pg:1/1/0/1/0/0"]
        {
            let position = Position::new(Mark { major: 1, minor: 0 }, text);
            assert!(StoredPosition::parse(&position).is_err(), "{text}");
        }
        let other_mark = Position::new(Mark { major: 2, minor: 0 }, "pg:1/1/0/1/0");
        assert!(StoredPosition::parse(&other_mark).is_err());
    }

    #[test]
    fn lsn_text_is_the_servers() {
        assert_eq!(Lsn(0x16_B374_D848).to_string(), "16/B374D848");
        assert_eq!("0/0".parse(), Ok(Lsn(0)));
    }
}
