//! Builds events, and walks recorded files.

use crate::binlog::file::Walk;
use crate::binlog::payload::reader::PayloadReader;
use crate::binlog::{
    CHECKSUM_LENGTH, DecodeError, Event, FLAG_IN_USE, Format, HEADER_LENGTH, Inflater, RawEvent, RowsKind, TableMap,
    count_rows_in, kind, parse, split,
};
use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;

/// Most that any event of a test becomes.
pub(super) const LIMIT: usize = 1 << 24;

/// A body built field by field.
#[derive(Clone, Default)]
pub(crate) struct Body(pub(crate) Vec<u8>);

impl Body {
    pub(crate) fn new() -> Body {
        Body::default()
    }

    pub(crate) fn bytes(mut self, bytes: &[u8]) -> Body {
        self.0.extend_from_slice(bytes);
        self
    }

    pub(crate) fn u8(self, value: u8) -> Body {
        self.bytes(&[value])
    }

    pub(crate) fn u16(self, value: u16) -> Body {
        self.bytes(&value.to_le_bytes())
    }

    pub(crate) fn u32(self, value: u32) -> Body {
        self.bytes(&value.to_le_bytes())
    }

    pub(crate) fn u48(self, value: u64) -> Body {
        self.bytes(&value.to_le_bytes()[..6])
    }

    pub(super) fn u56(self, value: u64) -> Body {
        self.bytes(&value.to_le_bytes()[..7])
    }

    pub(crate) fn u64(self, value: u64) -> Body {
        self.bytes(&value.to_le_bytes())
    }
}

/// A whole event with header and, where the format asks for it, checksum.
pub(super) fn event(kind: u8, flags: u16, body: &[u8], checksum: bool) -> Vec<u8> {
    let length = HEADER_LENGTH + body.len() + if checksum { CHECKSUM_LENGTH } else { 0 };
    let head = Body::new().u32(1_700_000_000).u8(kind).u32(77).u32(length as u32).u32(4242).u16(flags);
    let mut bytes = head.bytes(body).0;
    if checksum {
        bytes.extend_from_slice(&crc32fast::hash(&bytes).to_le_bytes());
    }
    bytes
}

/// Body of a FORMAT_DESCRIPTION without its checksum.
pub(crate) fn description(version: &str, types: usize, algorithm: u8) -> Vec<u8> {
    let mut text = [0; 50];
    text[..version.len()].copy_from_slice(version.as_bytes());
    let mut lengths = vec![0; types];
    for (kind, length) in [
        (kind::QUERY, 13),
        (kind::ROTATE, 8),
        (kind::TABLE_MAP, 8),
        (kind::WRITE_ROWS_V1, 8),
        (kind::UPDATE_ROWS_V1, 8),
        (kind::DELETE_ROWS_V1, 8),
        (kind::WRITE_ROWS, 10),
        (kind::UPDATE_ROWS, 10),
        (kind::DELETE_ROWS, 10),
        (kind::PARTIAL_UPDATE_ROWS, 10),
        (kind::QUERY_COMPRESSED, 13),
        (kind::WRITE_ROWS_COMPRESSED_V1, 8),
        (kind::UPDATE_ROWS_COMPRESSED_V1, 8),
        (kind::DELETE_ROWS_COMPRESSED_V1, 8),
        (kind::WRITE_ROWS_COMPRESSED, 10),
        (kind::UPDATE_ROWS_COMPRESSED, 10),
        (kind::DELETE_ROWS_COMPRESSED, 10),
    ] {
        if let Some(slot) = lengths.get_mut(usize::from(kind) - 1) {
            *slot = length;
        }
    }
    Body::new().u16(4).bytes(&text).u32(5).u8(19).bytes(&lengths).u8(algorithm).0
}

/// Layout of a MySQL or a MariaDB, without checksums.
pub(super) fn format(maria: bool) -> Format {
    layout(maria, 0)
}

/// The same with checksums.
pub(super) fn checked(maria: bool) -> Format {
    layout(maria, 1)
}

fn layout(maria: bool, algorithm: u8) -> Format {
    let (version, types) = if maria { ("11.8.9-MariaDB-log", 172) } else { ("9.7.4", 42) };
    Format::parse(&[description(version, types, algorithm), vec![0; 4]].concat()).unwrap()
}

/// Parses one body under a layout.
pub(super) fn body<'a>(kind: u8, body: &'a [u8], format: &Format) -> Result<Event<'a>, DecodeError> {
    flagged(kind, 0, body, format)
}

/// [`body`] with flags of the header.
pub(super) fn flagged<'a>(kind: u8, flags: u16, body: &'a [u8], format: &Format) -> Result<Event<'a>, DecodeError> {
    let whole = event(kind, flags, body, false);
    let header = crate::binlog::Header::read(&whole)?;
    parse(&RawEvent { header, body }, format)
}

/// The folder of recorded files; tests run in the folder of their package.
pub(crate) fn recorded() -> PathBuf {
    PathBuf::from("tests/recorded")
}

/// Every recorded file with its name.
pub(crate) fn recordings() -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<_> = std::fs::read_dir(recorded())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "binlog"))
        .map(|path| (path.file_stem().unwrap().to_str().unwrap().to_owned(), std::fs::read(&path).unwrap()))
        .collect();
    files.sort();
    assert!(files.len() >= 12, "recordings are missing");
    files
}

/// What a file holds.
#[derive(Default)]
pub(super) struct Contents {
    /// Number of events by type, those within compressed transactions counted as such.
    pub(super) kinds: BTreeMap<u8, usize>,
    /// Number of rows by what happened and table.
    pub(super) rows: BTreeMap<(String, String), u64>,
    /// The table maps, by name.
    pub(super) maps: BTreeMap<String, TableMap>,
    /// Statements.
    pub(super) statements: Vec<String>,
    tables: HashMap<u64, TableMap>,
}

impl Contents {
    /// Reads a whole file, every event and every value, to its end.
    pub(super) fn read(file: &[u8]) -> Result<Contents, DecodeError> {
        let mut contents = Contents::default();
        let mut walk = Walk::new(file)?;
        let mut reader = None;
        while let Some((raw, event)) = walk.next_event()? {
            *contents.kinds.entry(raw.header.kind).or_default() += 1;
            let Event::Payload(payload) = event else {
                contents.take(&event, walk.format())?;
                continue;
            };
            let inner = walk.format().inner();
            let bytes = payload.payload.to_vec();
            let reader = match &mut reader {
                None => reader.insert(PayloadReader::new(&payload, bytes, LIMIT)?),
                Some(reader) => {
                    reader.restart(&payload, bytes)?;
                    reader
                }
            };
            while let Some(bytes) = reader.next_event()? {
                let raw = split(bytes, &inner)?;
                *contents.kinds.entry(raw.header.kind).or_default() += 1;
                contents.take(&parse(&raw, &inner)?, &inner)?;
            }
        }
        Ok(contents)
    }

    fn take(&mut self, event: &Event<'_>, format: &Format) -> Result<(), DecodeError> {
        let mut inflater = Inflater::new(LIMIT);
        match event {
            Event::TableMap(map) => {
                let map = TableMap::parse(map.body, format)?;
                self.maps.insert(map.table.clone(), map.clone());
                self.tables.insert(map.id, map);
            }
            Event::Rows(rows) => {
                let problem = DecodeError::Image { problem: "no table map" };
                let map = self.tables.get(&rows.table_id).ok_or(problem)?;
                let what = match rows.kind {
                    RowsKind::Insert => "INSERT",
                    RowsKind::Update => "UPDATE",
                    RowsKind::Delete => "DELETE",
                };
                let count = count_rows_in(rows, inflater.rows(rows)?, map)?;
                *self.rows.entry((what.to_owned(), format!("{}.{}", map.database, map.table))).or_default() += count;
            }
            Event::Query(query) => self.statements.push(String::from_utf8_lossy(query.statement).into_owned()),
            Event::CompressedQuery(query) => {
                let statement = inflater.inflate(kind::QUERY_COMPRESSED, query.statement)?;
                self.statements.push(String::from_utf8_lossy(statement).into_owned());
            }
            _ => {}
        }
        Ok(())
    }
}

/// The checksum of a FORMAT_DESCRIPTION, which does not count the flag of an open file.
pub(super) fn sealed_description(flags: u16, body: &[u8]) -> Vec<u8> {
    let sum = event(kind::FORMAT_DESCRIPTION, flags & !FLAG_IN_USE, body, true);
    let mut open = event(kind::FORMAT_DESCRIPTION, flags, body, true);
    let length = open.len();
    open[length - 4..].copy_from_slice(&sum[length - 4..]);
    open
}
