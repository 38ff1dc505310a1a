//! Doors for fuzz targets and benchmarks: the readers of outside bytes, without a server. Not part of the
//! crate's face; nothing else may use them.

use crate::assemble::{Applied, Assembler, PROVENANCE};
use crate::catalog::{Described, described_without_server};
use crate::copy::{CopyFormat, SnapshotRows};
use crate::position::ServerIdentity;
use crate::typemap::Scratch;
use crate::wire::frame::{BODY_MAX, Frame, FrameBuffer, LOGIN_BODY_MAX};
use crate::wire::pgoutput::{self, RelationBody, RelationColumn};
use crate::wire::{message, replication};
use std::sync::Arc;
use tidewire_core::batch::BatchBuilder;
use tidewire_core::{Batch, BatchLimits, Phase, Result, SourceDescriptor, TableFilter};

fn descriptor() -> Arc<SourceDescriptor> {
    Arc::new(SourceDescriptor {
        name: "probe".into(),
        connector: "postgresql",
        database: "probe".into(),
        provenance: PROVENANCE,
        has_sequence: true,
        snapshot_floor: None,
    })
}

fn described(types: &[u32]) -> Described {
    let columns = types.iter().enumerate().map(|(index, type_oid)| RelationColumn {
        identity: index == 0,
        name: index.to_string(),
        type_oid: *type_oid,
        type_modifier: -1,
    });
    described_without_server(&RelationBody {
        oid: 1,
        namespace: "public".to_owned(),
        name: "probe".to_owned(),
        replica_identity: b'd',
        columns: columns.collect(),
    })
}

/// Reads one `pgoutput` message.
pub fn pgoutput(payload: &[u8]) -> bool {
    pgoutput::parse(payload).is_ok()
}

/// Cuts a server's bytes into frames, as they come in portions of at most `portion` bytes, and reads each body by
/// its tag; a frame that cannot be is the end. Hands out tag and length of every frame.
pub fn frames(bytes: &[u8], portion: usize) -> Vec<(u8, usize)> {
    let mut buffer = FrameBuffer::new(LOGIN_BODY_MAX);
    let mut seen = Vec::new();
    let mut rest = bytes;
    loop {
        let logged_in = match buffer.next_frame() {
            Ok(Some(frame)) => {
                seen.push((frame.tag, frame.body.len()));
                read_body(frame);
                frame.tag == b'Z'
            }
            Ok(None) if !rest.is_empty() => {
                let spare = buffer.spare();
                let count = rest.len().min(spare.len()).min(portion.max(1));
                let (now, later) = rest.split_at(count);
                spare.iter_mut().zip(now).for_each(|(to, from)| *to = *from);
                buffer.filled(count);
                rest = later;
                false
            }
            Ok(None) | Err(_) => return seen,
        };
        if logged_in {
            buffer.set_limit(BODY_MAX);
        }
    }
}

fn read_body(frame: Frame<'_>) -> bool {
    match frame.tag {
        b'R' => message::authentication(frame.body).is_ok(),
        b'S' => message::parameter_status(frame.body).is_ok(),
        b'D' => message::data_row(frame.body).is_ok(),
        b'E' | b'N' => message::server_error(frame.body).code.is_empty(),
        b'd' => match replication::parse(frame.body) {
            Ok(replication::Replication::XLogData { payload, .. }) => pgoutput(payload),
            other => other.is_ok(),
        },
        _ => false,
    }
}

/// Reads one value of a built-in type.
pub fn value(type_oid: u32, text: &[u8]) -> bool {
    let mut builder = BatchBuilder::new(descriptor(), Phase::Stream, BatchLimits::default());
    let described = described(&[type_oid]);
    let mut decoders = described.decoders.iter();
    decoders.next().is_some_and(|decoder| decoder.decode(text, &mut builder, &mut Scratch::default()).is_ok())
}

/// Reads one line of `COPY`, of columns with these types.
pub fn copy_line(types: &[u32], line: &[u8]) -> bool {
    let mut builder = BatchBuilder::new(descriptor(), Phase::Snapshot, BatchLimits::default());
    let mut rows = SnapshotRows::new(Arc::new(described(types)), CopyFormat::Text, 0, 1);
    rows.push_copy_data(line, &mut builder).is_ok()
}

/// Reads messages of a binary `COPY`, of columns with these types.
pub fn copy_binary(types: &[u32], messages: &[&[u8]]) -> bool {
    let mut builder = BatchBuilder::new(descriptor(), Phase::Snapshot, BatchLimits::default());
    let mut rows = SnapshotRows::new(Arc::new(described(types)), CopyFormat::Binary, 0, 1);
    messages.iter().all(|message| rows.push_copy_data(message, &mut builder).is_ok()) && rows.finish().is_ok()
}

/// Turns messages into batches; every type is taken for the built-in one of its oid.
pub struct Stream(Assembler);

impl Stream {
    /// From the start.
    #[expect(clippy::new_without_default, reason = "a stream has no natural default")]
    pub fn new() -> Stream {
        let identity = ServerIdentity { system_id: 1, timeline: 1 };
        Stream(Assembler::new(descriptor(), identity, BatchLimits::default(), TableFilter::all()))
    }

    /// Takes one message, and hands out a batch when it is full.
    pub fn apply(&mut self, wal_start: u64, payload: &[u8]) -> Result<Option<Batch>> {
        loop {
            match self.0.apply(wal_start, payload)? {
                Applied::NeedsCatalog(relation) => self.0.define(described_without_server(&relation))?,
                Applied::NarrowLeaf { .. } => {}
                Applied::Nothing | Applied::Changed | Applied::TransactionEnd => break,
            }
        }
        Ok(self.0.is_full().then(|| self.0.finish(0)))
    }
}
