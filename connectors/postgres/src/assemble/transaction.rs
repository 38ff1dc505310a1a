//! The open transaction: where it begins and ends, and the numbers of its changes.

use super::{Applied, Assembler};
use crate::position::Lsn;
use crate::wire::pgoutput::{BeginBody, CommitBody, MessageBody};
use std::sync::Arc;
use tidewire_core::batch::{ChangeHead, Provenance};
use tidewire_core::{Error, Mark, Op, Result, Transaction};

/// Seconds from 1970-01-01 to 2000-01-01, where the server's clock starts.
const EPOCH_MICROS: i64 = 946_684_800 * 1_000_000;

/// A transaction whose commit has not been read yet.
#[derive(Debug)]
pub(super) struct Open {
    begin: BeginBody,
    id: Arc<str>,
    origin: Provenance,
    /// Changes so far, also those that are passed over.
    pub(super) ordinal: u64,
    /// Whether the batch in the making has it.
    pub(super) in_batch: bool,
    /// Whether any batch has had it.
    pub(super) shipped: bool,
}

impl Open {
    /// The place right after its last change so far.
    pub(super) fn mark(&self) -> Mark {
        Mark { major: self.begin.final_lsn, minor: self.ordinal }
    }

    fn commit_micros(&self) -> i64 {
        self.begin.commit_time.saturating_add(EPOCH_MICROS)
    }

    fn in_batch(&self, previous_commit: Option<u64>) -> Transaction {
        Transaction {
            id: Arc::clone(&self.id),
            commit: self.begin.final_lsn,
            commit_time_micros: self.commit_micros(),
            previous_commit,
            provenance: vec![Provenance::Int(i64::from(self.begin.xid)), self.origin.clone()],
        }
    }
}

impl Assembler {
    pub(super) fn begin(&mut self, body: &BeginBody) -> Result<Applied> {
        if self.open.is_some() {
            return Err(out_of_order("a transaction begins inside another", body.final_lsn));
        }
        // Order is by commit, or the marks of sinks mean nothing.
        if self.boundary.is_some_and(|boundary| boundary > body.final_lsn) {
            return Err(out_of_order("a transaction comes after one that was committed later", body.final_lsn));
        }
        let id = body.xid.to_string().into();
        let origin = Provenance::Absent;
        self.open = Some(Open { begin: *body, id, origin, ordinal: 0, in_batch: false, shipped: false });
        Ok(Applied::Nothing)
    }

    pub(super) fn commit(&mut self, body: &CommitBody) -> Result<Applied> {
        let open = self.open.take().ok_or_else(|| out_of_order("a commit without a transaction", body.commit_lsn))?;
        if open.begin.final_lsn != body.commit_lsn || body.end_lsn <= body.commit_lsn {
            return Err(out_of_order("a commit that is not the one announced", body.commit_lsn));
        }
        self.previous_commit = Some(body.end_lsn);
        self.previous_commit_micros = open.commit_micros();
        self.boundary = Some(body.end_lsn);
        Ok(Applied::TransactionEnd)
    }

    pub(super) fn origin(&mut self, name: &str) -> Result<Applied> {
        let open = self.open.as_mut().ok_or_else(|| out_of_order("an origin without a transaction", 0))?;
        open.origin = Provenance::Text(name.into());
        Ok(Applied::Nothing)
    }

    /// The open transaction, made part of the batch.
    pub(super) fn open_transaction(&mut self) -> Result<&mut Open> {
        let open = self.open.as_mut().ok_or_else(|| out_of_order("a change without a transaction", 0))?;
        if !open.in_batch {
            self.builder.transaction(open.in_batch(self.previous_commit));
            (open.in_batch, open.shipped) = (true, true);
        }
        Ok(open)
    }

    /// Counts a change and makes its head.
    #[inline]
    pub(super) fn next_change(&mut self, op: Op, offset: u64) -> Result<ChangeHead> {
        let open = self.open_transaction()?;
        open.ordinal += 1;
        Ok(ChangeHead { op, ordinal: open.ordinal, offset, row: 0 })
    }

    /// Counts a change that is passed over.
    #[inline]
    pub(super) fn count_passed(&mut self) -> Result<Applied> {
        let open = self.open.as_mut().ok_or_else(|| out_of_order("a change without a transaction", 0))?;
        open.ordinal += 1;
        Ok(Applied::Nothing)
    }

    /// A message outside of transactions (PG-65). It is in the log from its own place on, whatever becomes of
    /// the transaction it was written in, and comes in the order of the log between the commits: it stands as
    /// a transaction of its own, just before that place. The log has no time for it: it bears that of the last
    /// commit.
    pub(super) fn free_message(&mut self, body: &MessageBody<'_>) -> Result<Applied> {
        if self.open.is_some() {
            return Err(out_of_order("a message of its own inside a transaction", body.lsn));
        }
        if self.boundary.is_some_and(|boundary| boundary >= body.lsn) {
            return Err(out_of_order("a message comes after a later commit", body.lsn));
        }
        self.builder.transaction(Transaction {
            id: format!("message-{}", Lsn(body.lsn)).into(),
            commit: body.lsn.saturating_sub(1),
            commit_time_micros: self.previous_commit_micros,
            previous_commit: self.previous_commit,
            provenance: vec![Provenance::Absent, Provenance::Absent],
        });
        let head = ChangeHead { op: Op::Message, ordinal: 1, offset: body.lsn, row: 0 };
        self.builder.push_message(head, body.prefix.as_bytes(), body.content);
        self.boundary = Some(body.lsn);
        Ok(Applied::TransactionEnd)
    }
}

fn out_of_order(what: &str, lsn: u64) -> Error {
    Error::operator("log_out_of_order", format!("{what}, at `{}`", Lsn(lsn)))
        .with_remedy("report the server's version; nothing was acknowledged past this place")
}
