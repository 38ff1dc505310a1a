//! What the crate takes from around it: the time, names that nobody else has, and limits as they stand. The process has
//! one of each; a test may give its own thread others, so that one run is like the next and small tables meet large
//! tables' limits. Knows nothing of what they are used for.

use uuid::Uuid;

/// A limit that tests may lower; its value and its reasons stand where it is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Limit {
    /// Bytes of rows in memory.
    RowsBytes,
    /// Bytes of rows that wait for more of their partition.
    HeldBytes,
    /// Bytes of rows that wait for that on disk.
    SpilledBytes,
    /// Bytes of a partition's there that are worth a file.
    SpilledFileBytes,
    /// Bytes of open row groups.
    RowGroupsBytes,
    /// Bytes that wait for an upload.
    UploadsBytes,
    /// Open files.
    Files,
    /// Bytes of key indexes in memory.
    IndexBytes,
    /// Bytes of a file of an index that may be mapped as a whole.
    MappedBytes,
    /// Bytes of larger files that may be, of all tables together.
    ClaimedBytes,
    /// Rows of a data file.
    PartRows,
    /// Ordinals of files that a key index uses up before it is built anew.
    Ordinals,
    /// Rows of a row group.
    RowGroupRows,
    /// Bytes of a row group's rows before they are encoded.
    RowGroupRawBytes,
    /// Values that are filled in at a time.
    FillHoles,
    /// Deletion vectors of a file.
    PackVectors,
    /// Entries until a checkpoint.
    CheckpointEntries,
    /// Seconds between two clean-ups.
    CleanSeconds,
    /// Tables that are committed at once, and threads that share the work of one.
    CommitThreads,
    /// Files removed in one clean-up.
    CleanFiles,
    /// Tables that have house-keeping between two commits.
    KeptTables,
    /// Bytes that may be rewritten in a day for readers' comfort, besides as many as a table has.
    ReaderBytes,
}

/// The limit as it stands.
#[cfg(not(test))]
pub(crate) fn limit<T>(_: Limit, value: T) -> T {
    value
}

/// A new random name.
#[cfg(not(test))]
pub(crate) fn uuid() -> Uuid {
    Uuid::new_v4()
}

/// A new name that tells when it was given, a UUID of version 7.
/// <https://www.rfc-editor.org/rfc/rfc9562#name-uuid-version-7>
pub(crate) fn timed_uuid() -> Uuid {
    let [a, b, c, d, e, f, .., m, n, o, p] = uuid().into_bytes();
    let millis = u64::try_from(now_millis()).unwrap_or(0);
    uuid::Builder::from_unix_timestamp_millis(millis, &[a, b, c, d, e, f, m, n, o, p]).into_uuid()
}

/// When such a name was given, in milliseconds since 1970; `None` for any other.
pub(crate) fn millis_of(uuid: &Uuid) -> Option<i64> {
    let millis = || i64::try_from(uuid.as_u128() >> 80).ok();
    (uuid.get_version_num() == 7).then(millis).flatten()
}

/// Milliseconds since 1970.
#[cfg(not(test))]
pub(crate) fn now_millis() -> i64 {
    clock_millis()
}

/// What a thread of this one's takes over from it.
#[cfg(not(test))]
pub(crate) fn branch() -> Own {
    Own
}

/// Nothing.
#[cfg(not(test))]
pub(crate) struct Own;

#[cfg(not(test))]
impl Own {
    /// Makes it the present thread's.
    pub(crate) fn enter(self) {}
}

fn clock_millis() -> i64 {
    use std::time::{SystemTime, UNIX_EPOCH};
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
pub(crate) use own::{Own, branch, by_real_time, limit, now_millis, take, uuid};

/// What a test gives its thread.
#[cfg(test)]
mod own {
    use super::{Limit, Uuid, clock_millis};
    use std::cell::RefCell;
    use std::collections::BTreeMap;

    /// The surroundings of one thread; what it does not say is the process's.
    #[derive(Clone, Debug, Default)]
    pub(crate) struct Own {
        pub(crate) limits: BTreeMap<Limit, u64>,
        /// Milliseconds since 1970; each asking is one later.
        pub(crate) clock: Option<i64>,
        /// Where random names start.
        pub(crate) names: Option<u64>,
    }

    thread_local! {
        static OWN: RefCell<Own> = RefCell::default();
    }

    impl Own {
        /// Makes them the present thread's.
        pub(crate) fn enter(self) {
            take(self);
        }
    }

    /// Surroundings for a thread of this one's, with names of their own.
    pub(crate) fn branch() -> Own {
        let first = OWN.with_borrow(|own| own.names.is_some()).then(|| uuid().as_u64_pair().0);
        OWN.with_borrow(|own| Own { names: first, ..own.clone() })
    }

    /// Gives this thread surroundings, and returns those that it had.
    pub(crate) fn take(own: Own) -> Own {
        OWN.replace(own)
    }

    /// Does something by the process's clock: what a thread with a clock that is ahead opens beside itself would take files
    /// in the making for leftovers.
    pub(crate) fn by_real_time<T>(act: impl FnOnce() -> T) -> T {
        let clock = OWN.with_borrow_mut(|own| own.clock.take());
        let done = act();
        OWN.with_borrow_mut(|own| own.clock = clock);
        done
    }

    pub(crate) fn limit<T: TryFrom<u64>>(limit: Limit, value: T) -> T {
        let own = OWN.with_borrow(|own| own.limits.get(&limit).copied());
        own.and_then(|own| T::try_from(own).ok()).unwrap_or(value)
    }

    pub(crate) fn uuid() -> Uuid {
        let next = |own: &mut Own| {
            let names = own.names.as_mut()?;
            *names += 1;
            let mixed = names.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            Some(u128::from(mixed ^ mixed >> 29) << 64 | u128::from(*names))
        };
        OWN.with_borrow_mut(next).map_or_else(Uuid::new_v4, Uuid::from_u128)
    }

    pub(crate) fn now_millis() -> i64 {
        let next = |own: &mut Own| {
            let clock = own.clock.as_mut()?;
            *clock += 1;
            Some(*clock)
        };
        OWN.with_borrow_mut(next).unwrap_or_else(clock_millis)
    }
}
