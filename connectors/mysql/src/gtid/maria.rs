//! MariaDB's identifiers: one position in each domain.

use super::GtidError;
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

/// A transaction of MariaDB, `domain-server-sequence`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct MariaGtid {
    /// Replication domain: only within one do numbers rise.
    pub(crate) domain: u32,
    /// Server that wrote it first.
    pub(crate) server: u32,
    /// Number within the domain.
    pub(crate) sequence: u64,
}

impl fmt::Display for MariaGtid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{}", self.domain, self.server, self.sequence)
    }
}

impl FromStr for MariaGtid {
    type Err = GtidError;

    fn from_str(text: &str) -> Result<MariaGtid, GtidError> {
        let error = |problem| GtidError::Maria { part: text.chars().take(80).collect(), problem };
        let mut parts = text.trim().split('-');
        let (Some(domain), Some(server), Some(sequence), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(error("is not three numbers joined by dashes"));
        };
        // `parse` alone would take a plus sign.
        if [domain, server, sequence].iter().any(|part| !part.bytes().all(|byte| byte.is_ascii_digit())) {
            return Err(error("is not three numbers joined by dashes"));
        }
        Ok(MariaGtid {
            domain: domain.parse().map_err(|_| error("has a domain that is no number of 32 bits"))?,
            server: server.parse().map_err(|_| error("has a server that is no number of 32 bits"))?,
            sequence: sequence.parse().map_err(|_| error("has a sequence that is no number of 64 bits"))?,
        })
    }
}

/// Where a replica stands: the last transaction of each domain (MY-0C).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct DomainPositions {
    domains: BTreeMap<u32, MariaGtid>,
}

impl DomainPositions {
    /// Reads `0-1-100,1-2-50`, as in `gtid_binlog_pos`. Blanks may stand around the parts; a domain may come once.
    pub(crate) fn parse(text: &str) -> Result<DomainPositions, GtidError> {
        let mut positions = DomainPositions::default();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let gtid: MariaGtid = part.parse()?;
            if positions.domains.insert(gtid.domain, gtid).is_some() {
                return Err(GtidError::Maria { part: part.to_owned(), problem: "is the second one of its domain" });
            }
        }
        Ok(positions)
    }

    /// Whether there is no domain.
    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.domains.is_empty()
    }

    /// Number of domains.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.domains.len()
    }

    /// The last transaction of a domain.
    pub(crate) fn get(&self, domain: u32) -> Option<MariaGtid> {
        self.domains.get(&domain).copied()
    }

    /// The positions in the order of their domains.
    pub(crate) fn iter(&self) -> impl ExactSizeIterator<Item = MariaGtid> {
        self.domains.values().copied()
    }

    /// Whether a transaction has been seen: its number is not above the last one of its domain. By number alone, as
    /// numbers rise within a domain whatever the server.
    pub(crate) fn covers(&self, gtid: &MariaGtid) -> bool {
        self.get(gtid.domain).is_some_and(|last| gtid.sequence <= last.sequence)
    }

    /// Goes on to a transaction. An error when its number does not rise in its domain: then the order of the log is
    /// not the order of numbers, and a restart could not tell what has been seen.
    pub(crate) fn advance(&mut self, gtid: MariaGtid) -> Result<(), GtidError> {
        match self.get(gtid.domain) {
            Some(last) if gtid.sequence <= last.sequence => Err(GtidError::NotRising { last, next: gtid }),
            _ => {
                self.domains.insert(gtid.domain, gtid);
                Ok(())
            }
        }
    }

    /// Sets the position of a domain whatever was there: from a list of the server.
    pub(crate) fn set(&mut self, gtid: MariaGtid) {
        self.domains.insert(gtid.domain, gtid);
    }

    /// Whether another position is at or beyond this one in every domain of this one.
    pub(crate) fn is_reached_by(&self, other: &DomainPositions) -> bool {
        self.domains.values().all(|gtid| other.covers(gtid))
    }

    /// Sum of the numbers: rises with every transaction. Stays at the greatest number when that is passed.
    pub(crate) fn sum(&self) -> u64 {
        self.domains.values().fold(0, |sum: u64, gtid| sum.saturating_add(gtid.sequence))
    }
}

impl FromStr for DomainPositions {
    type Err = GtidError;

    fn from_str(text: &str) -> Result<DomainPositions, GtidError> {
        DomainPositions::parse(text)
    }
}

impl FromIterator<MariaGtid> for DomainPositions {
    /// The last one of a domain counts.
    fn from_iter<T: IntoIterator<Item = MariaGtid>>(gtids: T) -> DomainPositions {
        DomainPositions { domains: gtids.into_iter().map(|gtid| (gtid.domain, gtid)).collect() }
    }
}

/// Sorted by domain, joined by commas.
impl fmt::Display for DomainPositions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, gtid) in self.domains.values().enumerate() {
            write!(f, "{}{gtid}", if index == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}
