//! A document that is being changed. Only the containers on the way to a change are taken apart; all else stays as it
//! lies in the binary document and is printed from there.

use super::value::{Budget, Value};
use super::{JsonError, text};
use std::borrow::Cow;

/// A value that may have been changed.
#[derive(Debug)]
pub(super) enum Node<'a> {
    /// As it lies in the document or in the list of changes.
    Plain(Value<'a>),
    /// An array that was taken apart.
    Array(Vec<Node<'a>>),
    /// An object that was taken apart: members in the server's order of keys.
    Object(Vec<(Cow<'a, [u8]>, Node<'a>)>),
}

/// The server's order of keys: shorter ones first, those of one length by their bytes.
fn key_order(a: &[u8], b: &[u8]) -> std::cmp::Ordering {
    a.len().cmp(&b.len()).then_with(|| a.cmp(b))
}

/// Where a member is, or where it belongs.
pub(super) fn find(members: &[(Cow<'_, [u8]>, Node<'_>)], key: &[u8]) -> Result<usize, usize> {
    members.binary_search_by(|(other, _)| key_order(other, key))
}

impl<'a> Node<'a> {
    /// Takes a container apart; anything else stays as it is.
    pub(super) fn open(&mut self, budget: &mut Budget) -> Result<&mut Node<'a>, JsonError> {
        match self {
            Node::Plain(Value::Array(array)) => {
                let mut elements = Vec::with_capacity(array.len());
                for entry in array.entries() {
                    elements.push(Node::Plain(array.value(entry, budget)?));
                }
                *self = Node::Array(elements);
            }
            Node::Plain(Value::Object(object)) => {
                let mut members: Vec<(Cow<'a, [u8]>, Node<'a>)> = Vec::with_capacity(object.len());
                for (key, entry) in object.key_entries().zip(object.entries()) {
                    let key = object.key(key, budget)?;
                    if members.last().is_some_and(|(last, _)| key_order(last, key).is_ge()) {
                        return Err(JsonError::Diff("the keys of the document are out of order"));
                    }
                    members.push((Cow::Borrowed(key), Node::Plain(object.value(entry, budget)?)));
                }
                *self = Node::Object(members);
            }
            _ => {}
        }
        Ok(self)
    }

    /// Appends the value as text; `depth` is the number of containers around it.
    pub(super) fn write(&self, depth: usize, budget: &mut Budget, out: &mut Vec<u8>) -> Result<(), JsonError> {
        match self {
            Node::Plain(value) => text::write_value(*value, depth, budget, out),
            Node::Array(elements) => {
                let depth = text::deeper(depth)?;
                out.push(b'[');
                for (index, element) in elements.iter().enumerate() {
                    if index > 0 {
                        out.extend_from_slice(b", ");
                    }
                    element.write(depth, budget, out)?;
                }
                out.push(b']');
                Ok(())
            }
            Node::Object(members) => {
                let depth = text::deeper(depth)?;
                out.push(b'{');
                for (index, (key, value)) in members.iter().enumerate() {
                    if index > 0 {
                        out.extend_from_slice(b", ");
                    }
                    text::write_string(key, out);
                    out.extend_from_slice(b": ");
                    value.write(depth, budget, out)?;
                }
                out.push(b'}');
                Ok(())
            }
        }
    }
}
