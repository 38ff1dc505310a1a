//! Reads the messages of the `pgoutput` plugin, protocol 1, out of bytes that stay where they are. Owns
//! the layout of a message and nothing else: no socket, no catalog, no meaning of a value.
//!
//! Layout: PostgreSQL manual, "Logical Replication Message Formats". Streamed and two-phase messages
//! (protocols 2 to 4) are not asked for; one that comes all the same is refused, as is any other tag.

/// Why bytes are no message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DecodeError {
    /// The message ends before its last field.
    #[error("message `{}` ends inside its {field}", char::from(*.tag))]
    Truncated {
        /// Tag of the message.
        tag: u8,
        /// The field that is cut.
        field: &'static str,
    },
    /// Bytes after the last field.
    #[error("message `{}` has {count} bytes after its end", char::from(*.tag))]
    Trailing {
        /// Tag of the message.
        tag: u8,
        /// Bytes left over.
        count: usize,
    },
    /// A message of streamed or two-phase transactions, which were not asked for.
    #[error("message `{}` belongs to streamed or two-phase transactions, which were not asked for", char::from(*.0))]
    NotAskedFor(u8),
    /// A tag that no supported server sends.
    #[error("message tag {0:#04x} is not known")]
    UnknownMessage(u8),
    /// A field holds a value that the protocol does not define.
    #[error("message `{}` has {found:#04x} as its {field}", char::from(*.tag))]
    Undefined {
        /// Tag of the message.
        tag: u8,
        /// The field.
        field: &'static str,
        /// What it holds.
        found: u8,
    },
    /// A name that is not UTF-8.
    #[error("message `{}` has a {field} that is not utf-8", char::from(*.tag))]
    NotUtf8 {
        /// Tag of the message.
        tag: u8,
        /// The field.
        field: &'static str,
    },
}

/// One message.
#[derive(Debug, PartialEq)]
pub(crate) enum Message<'a> {
    /// A committed transaction begins.
    Begin(BeginBody),
    /// It is whole.
    Commit(CommitBody),
    /// The transaction came from another server.
    Origin(OriginBody<'a>),
    /// The shape of a table, before the first row that uses it.
    Relation(RelationBody),
    /// The name of a type that is not built in.
    Type,
    /// A new row.
    Insert(InsertBody<'a>),
    /// A changed row.
    Update(UpdateBody<'a>),
    /// A removed row.
    Delete(DeleteBody<'a>),
    /// Emptied tables.
    Truncate(TruncateBody<'a>),
    /// What `pg_logical_emit_message` wrote.
    Emitted(MessageBody<'a>),
}

/// `B`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BeginBody {
    /// Where the commit record begins.
    pub(crate) final_lsn: u64,
    /// Commit time, microseconds since 2000-01-01.
    pub(crate) commit_time: i64,
    /// Transaction id, without its epoch.
    pub(crate) xid: u32,
}

/// `C`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CommitBody {
    /// Where the commit record begins.
    pub(crate) commit_lsn: u64,
    /// Where it ends.
    pub(crate) end_lsn: u64,
    /// Commit time, microseconds since 2000-01-01.
    pub(crate) commit_time: i64,
}

/// `O`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OriginBody<'a> {
    /// Name of the origin.
    pub(crate) name: &'a str,
}

/// `R`, owned: it comes once for each table and connection, and outlives its message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RelationBody {
    /// The table's oid.
    pub(crate) oid: u32,
    /// Schema; `pg_catalog` is sent as an empty name and stands here in full.
    pub(crate) namespace: String,
    /// Name.
    pub(crate) name: String,
    /// `relreplident`: `d`, `n`, `f` or `i`.
    pub(crate) replica_identity: u8,
    /// The published columns.
    pub(crate) columns: Vec<RelationColumn>,
}

/// A column of `R`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RelationColumn {
    /// Whether it is part of the replica identity.
    pub(crate) identity: bool,
    /// Name.
    pub(crate) name: String,
    /// Type.
    pub(crate) type_oid: u32,
    /// Type modifier, -1 for none.
    pub(crate) type_modifier: i32,
}

/// `I`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct InsertBody<'a> {
    /// The table's oid.
    pub(crate) relation: u32,
    /// The new row.
    pub(crate) new: Tuple<'a>,
}

/// How much of an old row a message holds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum OldTuple<'a> {
    /// `K`: the replica identity's columns; the others are sent as null and mean nothing.
    Key(Tuple<'a>),
    /// `O`: the whole row.
    Full(Tuple<'a>),
}

/// `U`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct UpdateBody<'a> {
    /// The table's oid.
    pub(crate) relation: u32,
    /// The old row, if the log has it.
    pub(crate) old: Option<OldTuple<'a>>,
    /// The new row.
    pub(crate) new: Tuple<'a>,
}

/// `D`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct DeleteBody<'a> {
    /// The table's oid.
    pub(crate) relation: u32,
    /// The old row.
    pub(crate) old: OldTuple<'a>,
}

/// `T`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TruncateBody<'a> {
    relations: &'a [[u8; 4]],
}

impl TruncateBody<'_> {
    /// Oids of the tables.
    pub(crate) fn relations(&self) -> impl ExactSizeIterator<Item = u32> {
        self.relations.iter().map(|bytes| u32::from_be_bytes(*bytes))
    }
}

/// `M`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MessageBody<'a> {
    /// Whether it belongs to the open transaction.
    pub(crate) transactional: bool,
    /// Its place in the log.
    pub(crate) lsn: u64,
    /// Prefix.
    pub(crate) prefix: &'a str,
    /// Content.
    pub(crate) content: &'a [u8],
}

/// A row whose layout has been checked.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Tuple<'a> {
    count: u16,
    bytes: &'a [u8],
}

/// One column of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Datum<'a> {
    /// SQL null.
    Null,
    /// A TOASTed value that did not change and is not in the log.
    Unchanged,
    /// Text of the type's output function.
    Text(&'a [u8]),
    /// Bytes of the type's send function; not asked for.
    Binary(&'a [u8]),
}

impl<'a> Tuple<'a> {
    /// Number of columns.
    pub(crate) fn len(&self) -> usize {
        usize::from(self.count)
    }

    /// The columns.
    pub(crate) fn iter(&self) -> Datums<'a> {
        Datums { rest: Fields { tag: 0, rest: self.bytes } }
    }
}

/// The columns of a row, in order.
#[derive(Clone, Debug)]
pub(crate) struct Datums<'a> {
    rest: Fields<'a>,
}

impl<'a> Iterator for Datums<'a> {
    type Item = Datum<'a>;

    #[inline]
    fn next(&mut self) -> Option<Datum<'a>> {
        if self.rest.rest.is_empty() { None } else { self.rest.datum().ok() }
    }
}

/// Reads one message. Touches every byte, so that what is returned cannot fail later.
pub(crate) fn parse(payload: &[u8]) -> Result<Message<'_>, DecodeError> {
    let Some((&tag, rest)) = payload.split_first() else {
        return Err(DecodeError::Truncated { tag: b' ', field: "tag" });
    };
    let mut fields = Fields { tag, rest };
    let message = match tag {
        b'I' => Message::Insert(fields.insert()?),
        b'U' => Message::Update(fields.update()?),
        b'D' => Message::Delete(fields.delete()?),
        b'B' => Message::Begin(BeginBody {
            final_lsn: fields.u64("final lsn")?,
            commit_time: fields.u64("commit time")? as i64,
            xid: fields.u32("xid")?,
        }),
        b'C' => Message::Commit(fields.commit()?),
        b'R' => Message::Relation(fields.relation()?),
        b'T' => Message::Truncate(fields.truncate()?),
        b'M' => Message::Emitted(fields.message()?),
        b'O' => {
            fields.u64("commit lsn")?;
            Message::Origin(OriginBody { name: fields.string("name")? })
        }
        b'Y' => {
            fields.u32("type oid")?;
            fields.string("namespace")?;
            fields.string("name")?;
            Message::Type
        }
        b'S' | b'E' | b'c' | b'A' | b'b' | b'P' | b'K' | b'r' | b'p' => return Err(DecodeError::NotAskedFor(tag)),
        unknown => return Err(DecodeError::UnknownMessage(unknown)),
    };
    match fields.rest.len() {
        0 => Ok(message),
        count => Err(DecodeError::Trailing { tag, count }),
    }
}

/// What is left of a message.
#[derive(Clone, Debug)]
struct Fields<'a> {
    tag: u8,
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    #[inline]
    fn chunk<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], DecodeError> {
        let Some((chunk, rest)) = self.rest.split_first_chunk::<N>() else {
            return Err(DecodeError::Truncated { tag: self.tag, field });
        };
        self.rest = rest;
        Ok(*chunk)
    }

    #[inline]
    fn bytes(&mut self, length: u32, field: &'static str) -> Result<&'a [u8], DecodeError> {
        let Some((bytes, rest)) = self.rest.split_at_checked(length as usize) else {
            return Err(DecodeError::Truncated { tag: self.tag, field });
        };
        self.rest = rest;
        Ok(bytes)
    }

    #[inline]
    fn u8(&mut self, field: &'static str) -> Result<u8, DecodeError> {
        self.chunk::<1>(field).map(|[byte]| byte)
    }

    #[inline]
    fn u16(&mut self, field: &'static str) -> Result<u16, DecodeError> {
        self.chunk(field).map(u16::from_be_bytes)
    }

    #[inline]
    fn u32(&mut self, field: &'static str) -> Result<u32, DecodeError> {
        self.chunk(field).map(u32::from_be_bytes)
    }

    #[inline]
    fn u64(&mut self, field: &'static str) -> Result<u64, DecodeError> {
        self.chunk(field).map(u64::from_be_bytes)
    }

    fn string(&mut self, field: &'static str) -> Result<&'a str, DecodeError> {
        let end = memchr::memchr(0, self.rest).ok_or(DecodeError::Truncated { tag: self.tag, field })?;
        let (text, rest) = self.rest.split_at_checked(end).ok_or(DecodeError::Truncated { tag: self.tag, field })?;
        self.rest = rest.get(1..).unwrap_or_default();
        simdutf8::basic::from_utf8(text).map_err(|_| DecodeError::NotUtf8 { tag: self.tag, field })
    }

    fn undefined(&self, field: &'static str, found: u8) -> DecodeError {
        DecodeError::Undefined { tag: self.tag, field, found }
    }

    #[inline]
    fn datum(&mut self) -> Result<Datum<'a>, DecodeError> {
        match self.u8("column kind")? {
            b't' => {
                let length = self.u32("column length")?;
                Ok(Datum::Text(self.bytes(length, "column")?))
            }
            b'n' => Ok(Datum::Null),
            b'u' => Ok(Datum::Unchanged),
            b'b' => {
                let length = self.u32("column length")?;
                Ok(Datum::Binary(self.bytes(length, "column")?))
            }
            other => Err(self.undefined("column kind", other)),
        }
    }

    #[inline]
    fn tuple(&mut self) -> Result<Tuple<'a>, DecodeError> {
        let count = self.u16("column count")?;
        let start = self.rest;
        for _ in 0..count {
            self.datum()?;
        }
        let length = start.len() - self.rest.len();
        Ok(Tuple { count, bytes: start.get(..length).unwrap_or_default() })
    }

    fn new_tuple(&mut self) -> Result<Tuple<'a>, DecodeError> {
        match self.u8("tuple kind")? {
            b'N' => self.tuple(),
            other => Err(self.undefined("tuple kind", other)),
        }
    }

    fn insert(&mut self) -> Result<InsertBody<'a>, DecodeError> {
        Ok(InsertBody { relation: self.u32("relation")?, new: self.new_tuple()? })
    }

    fn update(&mut self) -> Result<UpdateBody<'a>, DecodeError> {
        let relation = self.u32("relation")?;
        let old = match self.rest.first() {
            Some(b'N') => None,
            _ => Some(self.old_tuple()?),
        };
        Ok(UpdateBody { relation, old, new: self.new_tuple()? })
    }

    fn old_tuple(&mut self) -> Result<OldTuple<'a>, DecodeError> {
        match self.u8("tuple kind")? {
            b'K' => self.tuple().map(OldTuple::Key),
            b'O' => self.tuple().map(OldTuple::Full),
            other => Err(self.undefined("tuple kind", other)),
        }
    }

    fn delete(&mut self) -> Result<DeleteBody<'a>, DecodeError> {
        Ok(DeleteBody { relation: self.u32("relation")?, old: self.old_tuple()? })
    }

    fn commit(&mut self) -> Result<CommitBody, DecodeError> {
        match self.u8("flags")? {
            0 => {}
            other => return Err(self.undefined("flags", other)),
        }
        Ok(CommitBody {
            commit_lsn: self.u64("commit lsn")?,
            end_lsn: self.u64("end lsn")?,
            commit_time: self.u64("commit time")? as i64,
        })
    }

    fn relation(&mut self) -> Result<RelationBody, DecodeError> {
        let oid = self.u32("relation")?;
        let namespace = match self.string("namespace")? {
            "" => "pg_catalog",
            name => name,
        };
        let namespace = namespace.to_owned();
        let name = self.string("name")?.to_owned();
        let replica_identity = self.u8("replica identity")?;
        if !matches!(replica_identity, b'd' | b'n' | b'f' | b'i') {
            return Err(self.undefined("replica identity", replica_identity));
        }
        let count = self.u16("column count")?;
        // A column takes ten bytes at least: what is not there is not reserved.
        let mut columns = Vec::with_capacity(usize::from(count).min(self.rest.len() / 10));
        for _ in 0..count {
            columns.push(RelationColumn {
                identity: self.u8("column flags")? & 1 != 0,
                name: self.string("column name")?.to_owned(),
                type_oid: self.u32("column type")?,
                type_modifier: self.u32("column type modifier")? as i32,
            });
        }
        Ok(RelationBody { oid, namespace, name, replica_identity, columns })
    }

    fn truncate(&mut self) -> Result<TruncateBody<'a>, DecodeError> {
        let count = self.u32("relation count")?;
        self.u8("options")?;
        let length = count.checked_mul(4).ok_or(DecodeError::Truncated { tag: self.tag, field: "relations" })?;
        let (relations, _) = self.bytes(length, "relations")?.as_chunks::<4>();
        Ok(TruncateBody { relations })
    }

    fn message(&mut self) -> Result<MessageBody<'a>, DecodeError> {
        let transactional = match self.u8("flags")? {
            0 => false,
            1 => true,
            other => return Err(self.undefined("flags", other)),
        };
        let lsn = self.u64("lsn")?;
        let prefix = self.string("prefix")?;
        let length = self.u32("content length")?;
        Ok(MessageBody { transactional, lsn, prefix, content: self.bytes(length, "content")? })
    }
}

#[cfg(test)]
mod tests;
