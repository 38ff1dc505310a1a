//! Log messages (`pg_logical_emit_message`) as records of a topic of their own. Knows how they look and
//! nothing of transactions.

use super::connect_type::{ConnectType, field};
use super::json::{write_base64, write_hex, write_int, write_string};
use super::source_block::{Place, SourceBlock, SourceNames};
use super::table::{TopicId, open};
use super::transaction::block_schema;
use crate::format::{BinaryMode, FormatSettings};
use std::sync::Arc;

/// What is constant for the messages of a source.
pub(crate) struct MessagePlan {
    pub(crate) topic: TopicId,
    /// What transaction metadata counts them under.
    pub(crate) collection: Arc<str>,
    names: SourceNames,
    key_open: Box<[u8]>,
    value_open: Box<[u8]>,
    binary: BinaryMode,
}

impl MessagePlan {
    pub(crate) fn new(topic: TopicId, settings: &FormatSettings, source: &SourceBlock) -> MessagePlan {
        let (key_open, value_open) = match settings.schemas {
            false => (Box::default(), Box::default()),
            true => (open(&key_schema(source)), open(&value_schema(source, settings.binary))),
        };
        let names = source.names("", "");
        MessagePlan { topic, collection: "message".into(), names, key_open, value_open, binary: settings.binary }
    }

    /// Writes `{"prefix":...}`.
    pub(crate) fn write_key(&self, out: &mut Vec<u8>, prefix: &[u8]) {
        out.extend_from_slice(&self.key_open);
        out.extend_from_slice(b"{\"prefix\":");
        write_string(out, prefix);
        out.extend_from_slice(if self.key_open.is_empty() { b"}" } else { b"}}" });
    }

    /// Writes the value; `transaction` is the member's JSON.
    pub(crate) fn write_value(
        &self,
        out: &mut Vec<u8>,
        source: &SourceBlock,
        place: Place<'_>,
        received_micros: i64,
        transaction: &[u8],
        (prefix, content): (&[u8], &[u8]),
    ) {
        out.extend_from_slice(&self.value_open);
        out.extend_from_slice(b"{\"op\":\"m\",\"ts_ms\":");
        write_int(out, received_micros.div_euclid(1_000));
        out.extend_from_slice(b",\"source\":");
        source.write(out, &self.names, place);
        out.extend_from_slice(b",\"transaction\":");
        out.extend_from_slice(transaction);
        out.extend_from_slice(b",\"message\":{\"prefix\":");
        write_string(out, prefix);
        out.extend_from_slice(b",\"content\":");
        match self.binary {
            BinaryMode::Base64 | BinaryMode::Bytes => write_base64(out, content),
            BinaryMode::Hex => write_hex(out, content),
        }
        out.extend_from_slice(if self.value_open.is_empty() { b"}}" } else { b"}}}" });
    }
}

fn name(source: &SourceBlock, part: &str) -> String {
    format!("io.debezium.connector.{}.{part}", source.descriptor().connector)
}

fn key_schema(source: &SourceBlock) -> String {
    ConnectType::structure(&name(source, "MessageKey"), 1, &[field("string", true, "prefix")]).schema(false, None, None)
}

fn value_schema(source: &SourceBlock, binary: BinaryMode) -> String {
    let content = if binary == BinaryMode::Bytes { "bytes" } else { "string" };
    let message = [field("string", true, "prefix"), field(content, true, "content")];
    let message = ConnectType::structure(&name(source, "Message"), 1, &message);
    let fields = [
        field("string", false, "op"),
        field("int64", true, "ts_ms"),
        source.schema(),
        block_schema(),
        message.schema(false, None, Some("message")),
    ];
    ConnectType::structure(&name(source, "MessageValue"), 1, &fields).schema(false, None, None)
}
