//! What statements of statement format carry along: INTVAR, RAND, USER_VAR. Read so that they can be refused by name.
//!
//! Source: MySQL `libs/mysql/binlog/event/statement_events.h`.

use super::error::DecodeError;
use super::read::Fields;
use super::{Event, kind};

/// INTVAR.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum IntVar {
    /// `LAST_INSERT_ID()`.
    LastInsertId(u64),
    /// Next value of `AUTO_INCREMENT`.
    InsertId(u64),
}

impl IntVar {
    pub(super) fn parse(body: &[u8]) -> Result<IntVar, DecodeError> {
        let mut fields = Fields::new(kind::INTVAR, body);
        let which = fields.u8("variable")?;
        let value = fields.u64("value")?;
        fields.end()?;
        match which {
            1 => Ok(IntVar::LastInsertId(value)),
            2 => Ok(IntVar::InsertId(value)),
            other => Err(fields.undefined("variable", u64::from(other))),
        }
    }
}

/// RAND: two seeds.
pub(super) fn rand(body: &[u8]) -> Result<Event<'_>, DecodeError> {
    let mut fields = Fields::new(kind::RAND, body);
    let first = fields.u64("seed")?;
    let second = fields.u64("seed")?;
    fields.end()?;
    Ok(Event::Rand { first, second })
}

/// USER_VAR.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct UserVar<'a> {
    /// Name without `@`.
    pub(crate) name: &'a [u8],
    /// Whether it is null; what the value is is not read.
    pub(crate) is_null: bool,
}

/// Name of the null variable that MariaDB puts in the place of an event too short for a comment, as much as fits.
const DUMMY: &[u8] = b"!dummyvar";

impl<'a> UserVar<'a> {
    /// Name length 4, name, null 1, then type, collation, value and flags.
    pub(super) fn parse(body: &'a [u8]) -> Result<UserVar<'a>, DecodeError> {
        let mut fields = Fields::new(kind::USER_VAR, body);
        let length = fields.u32("name length")?;
        let name = fields.bytes(length as usize, "name")?;
        let is_null = fields.u8("null")? != 0;
        if is_null && !name.is_empty() && DUMMY.starts_with(name) {
            return Err(DecodeError::Dummy { comment: format!("@{}", String::from_utf8_lossy(name)) });
        }
        Ok(UserVar { name, is_null })
    }
}
