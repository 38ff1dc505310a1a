//! Changes to a document as the log writes them with `binlog_row_value_options = PARTIAL_JSON`: one after another an
//! operation (one byte), the path and, unless something is removed, the new value as a binary document, both with their
//! length before them as in the protocol (`Json_diff_vector::read_binary` and `apply_json_diffs` of MySQL's
//! `sql/json_diff.cc`). The server refuses changes that do not fit, and so do we: skipping one would leave a document
//! that no server ever had.

use super::JsonError;
use super::path::{self, Leg};
use super::tree::{self, Node};
use super::value::{Budget, Value};
use std::borrow::Cow;

const REPLACE: u8 = 0;
const INSERT: u8 = 1;
const REMOVE: u8 = 2;

/// Applies all changes in their order.
pub(super) fn apply<'a>(root: &mut Node<'a>, diffs: &'a [u8], budget: &mut Budget) -> Result<(), JsonError> {
    let mut rest = diffs;
    while let Some((operation, after)) = rest.split_first() {
        let (text, after) = counted(after)?;
        rest = after;
        let legs = path::parse(text)?;
        // A change of the whole document is logged as a whole document.
        let (last, way) = legs.split_last().ok_or(JsonError::Diff("a change of the whole document"))?;
        let parent = seek(root, way, budget)?.ok_or_else(|| misfit("no such place", text))?.open(budget)?;
        match *operation {
            REPLACE | INSERT => {
                let (document, after) = counted(rest)?;
                rest = after;
                if document.is_empty() {
                    return Err(JsonError::Diff("a value without bytes"));
                }
                let value = Node::Plain(Value::document(document, budget)?);
                if *operation == REPLACE {
                    *child(parent, last).ok_or_else(|| misfit("nothing to replace", text))? = value;
                } else {
                    insert(parent, last, value).ok_or_else(|| misfit("nowhere to insert", text))?;
                }
            }
            REMOVE => remove(parent, last).ok_or_else(|| misfit("nothing to remove", text))?,
            _ => return Err(JsonError::Diff("an unknown operation")),
        }
    }
    Ok(())
}

fn misfit(what: &'static str, path: &[u8]) -> JsonError {
    JsonError::Misfit { what, path: String::from_utf8_lossy(path).into_owned() }
}

/// The value at the end of a way; `None` when the way leads nowhere.
fn seek<'n, 'a>(
    root: &'n mut Node<'a>,
    way: &[Leg<'_>],
    budget: &mut Budget,
) -> Result<Option<&'n mut Node<'a>>, JsonError> {
    let mut node = root;
    for leg in way {
        match child(node.open(budget)?, leg) {
            Some(next) => node = next,
            None => return Ok(None),
        }
    }
    Ok(Some(node))
}

/// The member or element of a container that was taken apart.
fn child<'n, 'a>(node: &'n mut Node<'a>, leg: &Leg<'_>) -> Option<&'n mut Node<'a>> {
    match (node, leg) {
        (Node::Object(members), Leg::Member(key)) => {
            let at = tree::find(members, key).ok()?;
            members.get_mut(at).map(|(_, value)| value)
        }
        (Node::Array(elements), leg) => {
            let (at, _) = leg.position(elements.len())?;
            elements.get_mut(at?)
        }
        _ => None,
    }
}

fn insert<'a>(parent: &mut Node<'a>, leg: &Leg<'a>, value: Node<'a>) -> Option<()> {
    match (parent, leg) {
        (Node::Object(members), Leg::Member(key)) => {
            let at = tree::find(members, key).err()?;
            members.insert(at, (Cow::clone(key), value));
        }
        (Node::Array(elements), leg) => {
            let (_, at) = leg.position(elements.len())?;
            elements.insert(at, value);
        }
        _ => return None,
    }
    Some(())
}

fn remove(parent: &mut Node<'_>, leg: &Leg<'_>) -> Option<()> {
    match (parent, leg) {
        (Node::Object(members), Leg::Member(key)) => {
            let at = tree::find(members, key).ok()?;
            members.remove(at);
        }
        (Node::Array(elements), leg) => {
            let (at, _) = leg.position(elements.len())?;
            elements.remove(at?);
        }
        _ => return None,
    }
    Some(())
}

/// Bytes after their length, a length-encoded integer of the protocol.
fn counted(bytes: &[u8]) -> Result<(&[u8], &[u8]), JsonError> {
    const SHORT: JsonError = JsonError::Diff("it ends early");
    let (first, rest) = bytes.split_first().ok_or(SHORT)?;
    let width = match first {
        0..=250 => return rest.split_at_checked(usize::from(*first)).ok_or(SHORT),
        252 => 2,
        253 => 3,
        254 => 8,
        _ => return Err(JsonError::Diff("a length that is not one")),
    };
    let (length, rest) = rest.split_at_checked(width).ok_or(SHORT)?;
    let length = length.iter().rev().fold(0u64, |length, byte| length << 8 | u64::from(*byte));
    usize::try_from(length).ok().and_then(|length| rest.split_at_checked(length)).ok_or(SHORT)
}
