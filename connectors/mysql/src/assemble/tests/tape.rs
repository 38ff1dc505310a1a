//! A log, event by event in bytes, and the server that sends it.

use crate::binlog::kind;
use crate::binlog::tests::support::{Body, description};
use crate::gtid::{Gtid, MariaGtid};
use crate::position::Place;
use std::sync::Arc;

/// `server_uuid` of the log.
pub(super) const SID: [u8; 16] =
    [0x3e, 0x11, 0xfa, 0x47, 0x71, 0xca, 0x11, 0xe1, 0x9e, 0x33, 0xc8, 0x0a, 0xa9, 0x42, 0x95, 0x62];
/// The same as text.
pub(super) const UUID: &str = "3e11fa47-71ca-11e1-9e33-c80aa9429562";

/// What transactions are called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Naming {
    /// MySQL with GTIDs.
    Gtids,
    /// MySQL without.
    Anonymous,
    /// MariaDB.
    Domains,
}

/// A value of a row of `INT` columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum V {
    /// Not in the image.
    Absent,
    /// Null.
    Null,
    /// A number.
    Int(i32),
}

/// `V::Int`s.
pub(super) fn ints<const N: usize>(values: [i32; N]) -> [V; N] {
    values.map(V::Int)
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Name {
    MySql(Gtid),
    Maria(MariaGtid),
    Anonymous,
}

#[derive(Clone, Debug)]
struct Entry {
    file: Arc<str>,
    start: u64,
    bytes: Vec<u8>,
    /// The transaction that it is part of.
    name: Option<Name>,
}

/// A log in the making.
#[derive(Clone)]
pub(super) struct Tape {
    naming: Naming,
    file: Arc<str>,
    pub(super) offset: u64,
    number: u64,
    entries: Vec<Entry>,
    open: Option<Name>,
    /// Of the next table map: bytes of optional metadata by number of columns.
    full: bool,
    /// Ends every event, as `binlog_checksum` says.
    checksum: bool,
    /// Inside a compressed transaction: events have no place.
    inner: Option<Vec<u8>>,
}

impl Tape {
    pub(super) fn new(naming: Naming) -> Tape {
        Tape::with(naming, false)
    }

    pub(super) fn with(naming: Naming, checksum: bool) -> Tape {
        let mut tape = Tape {
            naming,
            file: "binlog.000001".into(),
            offset: 4,
            number: 0,
            entries: Vec::new(),
            open: None,
            full: false,
            checksum,
            inner: None,
        };
        tape.format();
        tape
    }

    /// A file as it is.
    pub(super) fn recorded(file: &[u8]) -> Tape {
        let mut tape = Tape::new(Naming::Anonymous);
        tape.entries.clear();
        tape.offset = 4;
        let mut rest = &file[4..];
        while let Some(length) = rest.get(9..13) {
            let (bytes, left) = rest.split_at(u32::from_le_bytes(length.try_into().unwrap()) as usize);
            let entry = Entry { file: Arc::clone(&tape.file), start: tape.offset, bytes: bytes.to_vec(), name: None };
            tape.checksum = tape.checksum || bytes[4] == kind::FORMAT_DESCRIPTION && bytes[bytes.len() - 5] == 1;
            tape.entries.push(entry);
            tape.offset += bytes.len() as u64;
            rest = left;
        }
        tape
    }

    fn format(&mut self) {
        let (version, types) = if self.naming == Naming::Domains { ("11.8.9-MariaDB-log", 172) } else { ("9.7.4", 42) };
        let body = description(version, types, u8::from(self.checksum));
        let body = if self.checksum { body } else { [body, vec![0; 4]].concat() };
        self.event(kind::FORMAT_DESCRIPTION, 0, &body);
    }

    /// Adds an event of any type.
    pub(super) fn event(&mut self, kind: u8, flags: u16, body: &[u8]) -> &mut Tape {
        let log_pos = self.offset + Tape::length(body, self.checksum);
        self.event_at(kind, flags, body, log_pos as u32, 77)
    }

    fn length(body: &[u8], checksum: bool) -> u64 {
        19 + body.len() as u64 + if checksum { 4 } else { 0 }
    }

    /// The same with any place in its header, and any server.
    pub(super) fn event_at(&mut self, kind: u8, flags: u16, body: &[u8], log_pos: u32, server: u32) -> &mut Tape {
        if let Some(inner) = &mut self.inner {
            inner.extend_from_slice(&framed(kind, flags, body, 0, server, false));
            return self;
        }
        let bytes = framed(kind, flags, body, log_pos, server, self.checksum);
        let start = self.offset;
        self.offset += bytes.len() as u64;
        self.entries.push(Entry { file: Arc::clone(&self.file), start, bytes, name: self.open.clone() });
        self
    }

    /// Goes on in the next file.
    pub(super) fn rotate(&mut self) -> &mut Tape {
        let number = self.file.rsplit_once('.').and_then(|(_, number)| number.parse::<u32>().ok()).unwrap() + 1;
        let next = format!("binlog.{number:06}");
        self.event(kind::ROTATE, 0, &Body::new().u64(4).bytes(next.as_bytes()).0);
        self.file = next.into();
        self.offset = 4;
        self.format();
        self
    }

    /// The file goes on as if it were longer: nothing lies in between that anybody reads.
    pub(super) fn skip_to(&mut self, offset: u64) -> &mut Tape {
        self.offset = offset;
        self
    }

    /// Whether table maps name their columns from here on.
    pub(super) fn full_metadata(&mut self, full: bool) -> &mut Tape {
        self.full = full;
        self
    }

    /// Begins a transaction, without a BEGIN.
    pub(super) fn begin(&mut self) -> &mut Tape {
        self.begin_with(0)
    }

    /// The same with flags of MariaDB's event, and what they need.
    pub(super) fn begin_with(&mut self, flags: u8) -> &mut Tape {
        self.number += 1;
        self.begin_as(self.number, flags)
    }

    /// The same with a number of its own.
    pub(super) fn begin_as(&mut self, number: u64, flags: u8) -> &mut Tape {
        let clock = |body: Body| body.u8(2).u64(0).u64(1).0;
        match self.naming {
            Naming::Gtids => {
                self.open = Some(Name::MySql(Gtid { sid: SID, tag: None, number }));
                self.event(kind::GTID, 0, &clock(Body::new().u8(1).bytes(&SID).u64(number)))
            }
            Naming::Anonymous => {
                self.open = Some(Name::Anonymous);
                self.event(kind::ANONYMOUS_GTID, 0, &clock(Body::new().u8(1).bytes(&[0; 16]).u64(0)))
            }
            Naming::Domains => self.domain(0, 77, number, flags, &[]),
        }
    }

    /// Begins a transaction of a domain of MariaDB; `more` is what the flags need.
    pub(super) fn domain(&mut self, domain: u32, server: u32, sequence: u64, flags: u8, more: &[u8]) -> &mut Tape {
        self.open = Some(Name::Maria(MariaGtid { domain, server, sequence }));
        let mut body = Body::new().u64(sequence).u32(domain).u8(flags).bytes(more).0;
        body.resize(body.len().max(19), 0);
        let log_pos = self.offset + Tape::length(&body, self.checksum);
        self.event_at(kind::MARIA_GTID, 0, &body, log_pos as u32, server)
    }

    /// A statement in database `crm`.
    pub(super) fn query(&mut self, text: &str) -> &mut Tape {
        self.failed(text, 0)
    }

    /// The same with an error.
    pub(super) fn failed(&mut self, text: &str, error: u16) -> &mut Tape {
        let body = Body::new().u32(9).u32(0).u8(3).u16(error).u16(0).bytes(b"crm\0").bytes(text.as_bytes());
        self.event(kind::QUERY, 0, &body.0)
    }

    /// A statement that is a transaction of its own.
    pub(super) fn ddl(&mut self, text: &str) -> &mut Tape {
        self.begin_with(1).query(text).end()
    }

    /// The transaction has ended with what was added last.
    pub(super) fn end(&mut self) -> &mut Tape {
        self.open = None;
        self
    }

    /// For where nothing is handed back.
    pub(super) fn done(&mut self) {}

    /// Ends a transaction of InnoDB.
    pub(super) fn xid(&mut self) -> &mut Tape {
        self.event(kind::XID, 0, &7u64.to_le_bytes()).end()
    }

    /// A whole transaction around what `fill` adds.
    pub(super) fn transaction(&mut self, fill: impl FnOnce(&mut Tape)) -> &mut Tape {
        self.begin();
        if self.naming != Naming::Domains {
            self.query("BEGIN");
        }
        fill(self);
        self.xid()
    }

    /// The same, compressed.
    pub(super) fn compressed(&mut self, fill: impl FnOnce(&mut Tape)) -> &mut Tape {
        self.begin();
        self.inner = Some(Vec::new());
        self.query("BEGIN");
        fill(self);
        self.event(kind::XID, 0, &7u64.to_le_bytes());
        let plain = self.inner.take().unwrap();
        let packed = zstd::bulk::compress(&plain, 3).unwrap();
        let size = |value: usize| Body::new().u8(3).u8(0xfc).u16(u16::try_from(value).unwrap()).0;
        let body = Body::new().u8(2).u8(1).u8(0).u8(1).bytes(&size(packed.len())).u8(3).bytes(&size(plain.len())).u8(0);
        self.event(kind::TRANSACTION_PAYLOAD, 0, &body.bytes(&packed).0).end()
    }

    /// A map of `columns` columns `INT`, the first of which is not null; names and key `a`, `b`, ... with full metadata.
    pub(super) fn map(&mut self, id: u64, table: &str, columns: usize) -> &mut Tape {
        let names: Vec<String> = (b'a'..).take(columns).map(|name| char::from(name).to_string()).collect();
        self.map_named(id, table, &names.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// The same with names.
    pub(super) fn map_named(&mut self, id: u64, table: &str, names: &[&str]) -> &mut Tape {
        let mut nulls = bits(names.len(), |_| true);
        nulls[0] &= !1;
        let (database, table) = table.split_once('.').unwrap_or(("crm", table));
        let mut body = Body::new().u48(id).u16(1);
        for name in [database, table] {
            body = body.u8(name.len() as u8).bytes(name.as_bytes()).u8(0);
        }
        let types = vec![3; names.len()];
        body = body.u8(names.len() as u8).bytes(&types).u8(0).bytes(&nulls);
        if self.full {
            let signs = bits(names.len(), |_| false);
            let names: Vec<u8> =
                names.iter().flat_map(|name| [&[name.len() as u8], name.as_bytes()].concat()).collect();
            body = body.u8(1).u8(signs.len() as u8).bytes(&signs).u8(4).u8(names.len() as u8).bytes(&names);
            body = body.bytes(&[8, 1, 0]);
        }
        self.event(kind::TABLE_MAP, 0, &body.0)
    }

    pub(super) fn insert<const N: usize>(&mut self, id: u64, rows: &[[V; N]]) -> &mut Tape {
        let images: Vec<u8> = rows.iter().flat_map(image).collect();
        let columns = present(&rows[0]);
        self.rows(kind::WRITE_ROWS, id, N, &[&columns[..], &images].concat())
    }

    pub(super) fn delete<const N: usize>(&mut self, id: u64, rows: &[[V; N]]) -> &mut Tape {
        let images: Vec<u8> = rows.iter().flat_map(image).collect();
        let columns = present(&rows[0]);
        self.rows(kind::DELETE_ROWS, id, N, &[&columns[..], &images].concat())
    }

    pub(super) fn update<const N: usize>(&mut self, id: u64, rows: &[([V; N], [V; N])]) -> &mut Tape {
        let images: Vec<u8> = rows.iter().flat_map(|(before, after)| [image(before), image(after)].concat()).collect();
        let (before, after) = (present(&rows[0].0), present(&rows[0].1));
        self.rows(kind::UPDATE_ROWS, id, N, &[&before[..], &after, &images].concat())
    }

    /// A rows event from its bitmaps on.
    pub(super) fn rows(&mut self, kind: u8, id: u64, columns: usize, rest: &[u8]) -> &mut Tape {
        self.event(kind, 0, &Body::new().u48(id).u16(1).u16(2).u8(columns as u8).bytes(rest).0)
    }

    /// Number of events.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// What the server sends from a place on.
    pub(super) fn serve(&self, place: &Place) -> Vec<Vec<u8>> {
        let rotate = |file: &str, offset: u64| {
            let body = Body::new().u64(offset).bytes(file.as_bytes()).0;
            // MariaDB does not know yet whether there are checksums.
            framed(kind::ROTATE, 0x20, &body, 0, 77, self.checksum && self.naming != Naming::Domains)
        };
        let first = &self.entries[0];
        let mut sent = Vec::new();
        let Place::File(at) = place else {
            sent.push(rotate(&first.file, 4));
            let wanted = |entry: &&Entry| match (&entry.name, place) {
                (Some(Name::MySql(gtid)), Place::Gtid(set)) => !set.contains(gtid),
                (Some(Name::Maria(gtid)), Place::Domains(domains)) => !domains.covers(gtid),
                _ => true,
            };
            sent.extend(self.entries.iter().filter(wanted).map(|entry| entry.bytes.clone()));
            return sent;
        };
        sent.push(rotate(&at.file, at.offset));
        if at.offset > 4 {
            // A copy of the file's first event, which has no place then.
            let first = self.entries.iter().find(|entry| entry.file == at.file).unwrap();
            let mut bytes = first.bytes.clone();
            bytes[13..17].fill(0);
            if self.checksum {
                let end = bytes.len() - 4;
                let sum = crc32fast::hash(&bytes[..end]);
                bytes[end..].copy_from_slice(&sum.to_le_bytes());
            }
            sent.push(bytes);
        }
        let mut file = &at.file;
        for entry in &self.entries {
            if (&entry.file, entry.start) < (&at.file, at.offset) {
                continue;
            }
            if entry.file != *file {
                file = &entry.file;
                sent.push(rotate(file, 4));
            }
            sent.push(entry.bytes.clone());
        }
        sent
    }
}

fn framed(kind: u8, flags: u16, body: &[u8], log_pos: u32, server: u32, checksum: bool) -> Vec<u8> {
    let length = Tape::length(body, checksum) as u32;
    let head = Body::new().u32(1_700_000_000).u8(kind).u32(server).u32(length).u32(log_pos).u16(flags);
    let mut bytes = head.bytes(body).0;
    if checksum {
        bytes.extend_from_slice(&crc32fast::hash(&bytes).to_le_bytes());
    }
    bytes
}

fn bits(count: usize, set: impl Fn(usize) -> bool) -> Vec<u8> {
    let mut bytes = vec![0; count.div_ceil(8)];
    (0..count).filter(|index| set(*index)).for_each(|index| bytes[index / 8] |= 1 << (index % 8));
    bytes
}

fn present<const N: usize>(row: &[V; N]) -> Vec<u8> {
    bits(N, |index| row[index] != V::Absent)
}

fn image<const N: usize>(row: &[V; N]) -> Vec<u8> {
    let there: Vec<V> = row.iter().copied().filter(|value| *value != V::Absent).collect();
    let mut bytes = bits(there.len(), |index| there[index] == V::Null);
    for value in there {
        if let V::Int(value) = value {
            bytes.extend_from_slice(&value.to_le_bytes());
        }
    }
    bytes
}
