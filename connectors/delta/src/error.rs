//! Errors of the table layer in the crate border's form. Decides what a failure of storage means for the next
//! action; never reads message texts.

use std::io;
use tidewire_core::{Error, ErrorKind, TableName};

pub(crate) use tidewire_core::Result;

/// Says which table an error concerns, so that no other need stop for it.
pub(crate) fn of_table(error: Error, table: &TableName) -> Error {
    match error.kind() {
        ErrorKind::Operator if error.table().is_none() && !is_of_location(&error) => error.with_table(table.clone()),
        _ => error,
    }
}

/// Whether every table would meet the error: a full disk, a store that overwrites.
pub(crate) fn is_of_location(error: &Error) -> bool {
    error.code().starts_with("storage_") || error.code() == "store_not_atomic"
}

/// A failed local file operation: `act` is what was being done ("write"), `place` the path.
pub(crate) fn local_io(act: &'static str, place: &str, cause: io::Error) -> Error {
    let (kind, code, remedy) = match cause.kind() {
        // Nothing is lost while the sink waits, and what it had not committed has been removed (SK-38, SK-52).
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            (ErrorKind::Retry, "storage_full", "free space where this file lies")
        }
        io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied => {
            (ErrorKind::Operator, "storage_not_writable", "let the daemon's user read and write the sink's location")
        }
        io::ErrorKind::NotFound => (ErrorKind::Operator, "storage_missing", "mount or create the sink's location"),
        _ => (ErrorKind::Retry, "storage_io", "see the cause"),
    };
    Error::new(kind, code, format!("{act} `{place}`")).with_remedy(remedy).with_cause(cause)
}

/// A failed fsync. It is never tried again: the kernel may have dropped the dirty pages, and a second fsync
/// would then report success for data that is gone (SK-38).
pub(crate) fn fsync(place: &str, cause: io::Error) -> Error {
    Error::operator("storage_fsync", format!("sync `{place}` to disk"))
        .with_remedy("check the disk and the kernel log, then restart")
        .with_cause(cause)
}

/// A failed request to an object store.
pub(crate) fn object(act: &'static str, place: &str, cause: object_store::Error) -> Error {
    let (kind, code, remedy) = match &cause {
        // It may pass by itself: a token that has expired, a role that is being changed, a clock that is off. Nothing is lost
        // while the sink waits (SK-37).
        object_store::Error::PermissionDenied { .. } | object_store::Error::Unauthenticated { .. } => (
            ErrorKind::Retry,
            "storage_not_writable",
            "check the credentials under `storage` and what they may do in the bucket or container",
        ),
        object_store::Error::NotFound { .. } => {
            (ErrorKind::Operator, "storage_missing", "create the bucket or container")
        }
        object_store::Error::UnknownConfigurationKey { .. } => {
            (ErrorKind::Configuration, "storage_settings", "correct the settings under `storage`")
        }
        // How deltalake's credential chain reports that it found none, which may pass (an instance's metadata
        // service that does not answer).
        object_store::Error::NotSupported { .. } => (
            ErrorKind::Retry,
            "storage_credentials",
            "give the store's credentials under `storage` or in the environment",
        ),
        _ => (
            ErrorKind::Retry,
            "storage_request",
            "see the cause; `tidewire check` tells a bucket that is missing from a store that is in trouble",
        ),
    };
    Error::new(kind, code, format!("{act} `{place}`")).with_remedy(remedy).with_cause(cause)
}

/// A log entry, checkpoint or deletion vector whose content is not what the protocol says.
pub(crate) fn damaged(place: &str, what: impl Into<String>) -> Error {
    Error::operator("delta_table_damaged", format!("read `{place}`: {}", what.into())).with_remedy(
        "restore the file from a backup, or give the sink a new name and location, which reads its tables anew",
    )
}

/// A log of the table at `place` calls a file what no file in the table's directory can be called.
pub(crate) fn misnamed(place: &str, name: &str) -> Error {
    damaged(place, format!("`{}` is no name of a file in it", name.escape_debug()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_store_denies_is_asked_for_again_sk_37() {
        let (path, source) = (|| "x".to_owned(), || "no".into());
        for (cause, kind, code) in [
            (
                object_store::Error::Unauthenticated { path: path(), source: source() },
                ErrorKind::Retry,
                "storage_not_writable",
            ),
            (
                object_store::Error::PermissionDenied { path: path(), source: source() },
                ErrorKind::Retry,
                "storage_not_writable",
            ),
            (object_store::Error::NotFound { path: path(), source: source() }, ErrorKind::Operator, "storage_missing"),
        ] {
            let error = object("write", "x", cause);
            assert_eq!((error.kind(), error.code()), (kind, code));
            assert!(error.remedy().is_some());
        }
    }

    #[test]
    fn a_failed_file_operation_says_what_comes_next() {
        for (cause, kind, code) in [
            (io::ErrorKind::StorageFull, ErrorKind::Retry, "storage_full"),
            (io::ErrorKind::QuotaExceeded, ErrorKind::Retry, "storage_full"),
            (io::ErrorKind::ReadOnlyFilesystem, ErrorKind::Operator, "storage_not_writable"),
            (io::ErrorKind::NotFound, ErrorKind::Operator, "storage_missing"),
            (io::ErrorKind::TimedOut, ErrorKind::Retry, "storage_io"),
        ] {
            let error = of_table(local_io("write", "x", cause.into()), &TableName::new("public", "t"));
            assert_eq!((error.kind(), error.code()), (kind, code));
            assert!(error.remedy().is_some());
            // Every table would meet it.
            assert!(error.table().is_none());
        }
    }
}
