//! A store that fails at a chosen call, before or after the call has had its effect, or that is gone from that call on.
//! Wraps any other; knows nothing of what is stored.

use super::{Created, DataFile, Object, TableStore};
use crate::error::Result;
use bytes::Bytes;
use std::fmt;
use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tidewire_core::Error;

/// What is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    /// An entry of a log is created.
    Entry,
    /// Anything else is created.
    Create,
    /// A hint is replaced.
    Replace,
    /// A data file gets bytes.
    Write,
    /// A data file gets its name.
    Finish,
    /// Something is read, looked up or listed.
    Read,
    /// Something is removed.
    Remove,
}

/// How a call fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It has no effect.
    Before,
    /// It has its effect, and the answer is lost.
    After,
    /// The answer is lost, and the effect comes so many calls later (creating only).
    Late(u32),
    /// The answer is lost, and a second try finds the name taken (creating only).
    Twice,
    /// Neither it nor any later call has an effect.
    Gone,
}

/// One fault to come.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// Calls that count.
    pub(crate) calls: Vec<Call>,
    /// So many of them succeed first.
    pub(crate) after: u32,
    pub(crate) fault: Fault,
    /// Whether the error waits for a person, as a failed sync does.
    pub(crate) is_final: bool,
}

/// The faults of one store, from all of its directories. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Faults(Arc<Mutex<Inner>>);

type Effect = Box<dyn FnOnce() + Send>;

#[derive(Default)]
struct Inner {
    plan: Option<Plan>,
    is_gone: bool,
    /// Where the last planned fault struck.
    struck: Option<String>,
    /// An effect that is still on its way, and the calls before it.
    late: Option<(u32, Effect)>,
    fetched: Fetched,
}

/// Requests for parts of objects, and the bytes that they gave.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Fetched {
    pub(crate) requests: u32,
    pub(crate) bytes: u64,
}

impl fmt::Debug for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Faults").field(&self.inner().plan).finish()
    }
}

impl Faults {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Plans a fault, in place of one that has not struck yet.
    pub(crate) fn plan(&self, plan: Plan) {
        self.inner().plan = Some(plan);
    }

    /// Where the planned fault has struck, if it has since the last asking.
    pub(crate) fn take_struck(&self) -> Option<String> {
        self.inner().struck.take()
    }

    /// What parts of objects were asked for since the last asking.
    pub(crate) fn take_fetched(&self) -> Fetched {
        std::mem::take(&mut self.inner().fetched)
    }

    /// The store answers again; what has not struck will not. An effect on its way stays on its way.
    pub(crate) fn clear(&self) {
        let mut inner = self.inner();
        (inner.plan, inner.is_gone) = (None, false);
    }

    /// Nothing is on its way any more.
    pub(crate) fn settle(&self) {
        let late = self.inner().late.take();
        if let Some((_, effect)) = late {
            effect();
        }
    }

    /// What becomes of this call; `None` when nothing is amiss.
    fn strike(&self, call: Call, place: &str) -> Option<(Fault, Error)> {
        let mut inner = self.inner();
        let error = |is_final: bool| match is_final {
            true => Error::operator("storage_fsync", format!("{call:?} `{place}`: injected")).with_remedy("none"),
            false => Error::retry("storage_request", format!("{call:?} `{place}`: injected")),
        };
        if inner.is_gone {
            return Some((Fault::Gone, error(false)));
        }
        let plan = inner.plan.as_mut().filter(|plan| plan.calls.contains(&call))?;
        if plan.after > 0 {
            plan.after -= 1;
            return None;
        }
        let (fault, is_final) = (plan.fault, plan.is_final);
        inner.plan = None;
        inner.struck = Some(format!("{fault:?} at {call:?} {place}"));
        inner.is_gone = fault == Fault::Gone;
        Some((fault, error(is_final)))
    }

    /// One call nearer to the effect that is on its way.
    fn pass(&self) {
        let mut inner = self.inner();
        match inner.late.take() {
            Some((0, effect)) => {
                drop(inner);
                effect();
            }
            Some((left, effect)) => inner.late = Some((left - 1, effect)),
            None => {}
        }
    }

    fn run<T>(&self, call: Call, place: &str, effect: impl FnOnce() -> Result<T>) -> Result<T> {
        self.pass();
        match self.strike(call, place) {
            None => effect(),
            Some((Fault::Before | Fault::Late(_) | Fault::Gone, error)) => Err(error),
            Some((Fault::After | Fault::Twice, error)) => effect().and(Err(error)),
        }
    }
}

/// A directory of a store with faults.
#[derive(Clone, Debug)]
pub(crate) struct FaultyDirectory {
    pub(super) within: Box<TableStore>,
    pub(super) faults: Faults,
}

impl FaultyDirectory {
    pub(super) fn create(
        &self,
        name: &str,
        content: Bytes,
        create: fn(&TableStore, &str, Bytes) -> Result<Created>,
    ) -> Result<Created> {
        let is_entry = name.starts_with("_delta_log/") && name.ends_with(".json");
        let call = if is_entry { Call::Entry } else { Call::Create };
        self.faults.pass();
        match self.faults.strike(call, name) {
            None => create(&self.within, name, content),
            Some((Fault::Before | Fault::Gone, error)) => Err(error),
            Some((Fault::After, error)) => create(&self.within, name, content).and(Err(error)),
            Some((Fault::Twice, _)) => create(&self.within, name, content).map(|_| Created::Exists),
            Some((Fault::Late(calls), error)) => {
                let (within, name) = (self.within.clone(), name.to_owned());
                let effect = move || drop(create(&within, &name, content));
                self.faults.inner().late = Some((calls, Box::new(effect)));
                Err(error)
            }
        }
    }

    pub(super) fn put(&self, name: &str, content: Bytes) -> Result<()> {
        self.faults.run(Call::Replace, name, || self.within.put(name, content))
    }

    pub(super) fn get(&self, name: &str) -> Result<Option<Bytes>> {
        self.faults.run(Call::Read, name, || self.within.get(name))
    }

    pub(super) fn get_range(&self, name: &str, range: Range<u64>) -> Result<Option<Bytes>> {
        let content = self.faults.run(Call::Read, name, || self.within.get_range(name, range));
        let fetched = &mut self.faults.inner().fetched;
        fetched.requests += 1;
        fetched.bytes += content.as_ref().ok().and_then(Option::as_ref).map_or(0, |bytes| bytes.len() as u64);
        content
    }

    pub(super) fn head(&self, name: &str) -> Result<Option<Object>> {
        self.faults.run(Call::Read, name, || self.within.head(name))
    }

    pub(super) fn list(&self, prefix: &str, start_after: &str) -> Result<Vec<Object>> {
        self.faults.run(Call::Read, prefix, || self.within.list(prefix, start_after))
    }

    pub(super) fn show(&self, prefix: &str, start_after: &str, more: &mut dyn FnMut(&Object) -> bool) -> Result<()> {
        self.faults.run(Call::Read, prefix, || self.within.show(prefix, start_after, more))
    }

    pub(super) fn list_below(&self, prefix: &str) -> Result<Vec<Object>> {
        self.faults.run(Call::Read, prefix, || self.within.list_below(prefix))
    }

    pub(super) fn delete(&self, name: &str) -> Result<()> {
        self.faults.run(Call::Remove, name, || self.within.delete(name))
    }

    pub(super) fn data_file(&self, name: &str) -> Result<FaultyFile> {
        Ok(FaultyFile {
            within: Box::new(self.within.data_file(name)?),
            faults: self.faults.clone(),
            name: name.into(),
        })
    }
}

/// A data file of a store with faults.
#[derive(Debug)]
pub(super) struct FaultyFile {
    pub(super) within: Box<DataFile>,
    faults: Faults,
    name: String,
}

impl FaultyFile {
    pub(super) fn finish(self) -> Result<u64> {
        let FaultyFile { within, faults, name } = self;
        faults.run(Call::Finish, &name, || within.finish())
    }
}

impl io::Write for FaultyFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.faults.strike(Call::Write, &self.name) {
            None => self.within.write(bytes),
            Some((_, error)) => Err(io::Error::other(error)),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.within.flush()
    }
}
