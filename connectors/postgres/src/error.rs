//! What the server's and the connection's errors mean for the daemon. Decides by SQLSTATE and kind, never by a
//! message's text (R9). Knows no connection.

use std::borrow::Cow;
use tidewire_core::{Error, ErrorKind};

/// An error or notice as the server words it, without the detail: that may hold row values.
/// See "Error and Notice Message Fields" in the protocol chapter of the manual.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ServerError {
    /// The untranslated severity.
    pub(crate) severity: String,
    /// SQLSTATE.
    pub(crate) code: String,
    /// The sentence; may be translated.
    pub(crate) message: String,
    /// The hint, if any.
    pub(crate) hint: Option<String>,
}

impl ServerError {
    /// The error at the crate's border. `act` says what was being done, in the present tense.
    pub(crate) fn into_error(self, act: &str) -> Error {
        let class = classify(&self.code);
        let message = format!("{act}: the server answers `{}` (SQLSTATE {})", self.message, self.code);
        let mut error = Error::new(class.kind, class.code, message);
        if let Some(remedy) = class.remedy.map(Cow::Borrowed).or(self.hint.map(Cow::Owned)) {
            error = error.with_remedy(remedy);
        }
        if class.code == "authentication_refused" { error.that_may_pass() } else { error }
    }
}

const ROW_TOO_LARGE: &str = "a row is longer than the server can send as text (1 GB, where bytes take twice their length): take its table \
    out of the publication with `ALTER PUBLICATION ... DROP TABLE ...` and out of `tables` with \"!schema.table\"; or, from PostgreSQL 15 on, \
    leave out the long column only: drop the table and add it again with `ALTER PUBLICATION ... ADD TABLE ... (columns)`. A change that is \
    in the log already cannot be sent all the same: then drop the slot and give the sinks new names (and a Delta sink a new location), which \
    reads the tables anew";

const SERVER_FAULT: &str = "the server's own log says more. Where it speaks of a memory alloc request size, a row is longer than it can send as \
    text (1 GB, where bytes take twice their length): take its table out of the publication and of `tables`, or its long column out of the \
    publication (from PostgreSQL 15 on); for a change that is in the log already, drop the slot then and give the sinks new names (and a Delta \
    sink a new location), which reads the tables anew. Else have the server looked at, and start the source again";

struct Class {
    kind: ErrorKind,
    code: &'static str,
    remedy: Option<&'static str>,
}

/// See "PostgreSQL Error Codes" in the manual's appendix A. What is not known halts: going on without
/// understanding could lose changes.
fn classify(sqlstate: &str) -> Class {
    let retry = |code| Class { kind: ErrorKind::Retry, code, remedy: None };
    let operator = |code, remedy| Class { kind: ErrorKind::Operator, code, remedy: Some(remedy) };
    match sqlstate {
        "28P01" => operator("authentication_refused", "give the right `password`"),
        "28000" => operator(
            "authentication_refused",
            "let the login in with a line in pg_hba.conf for its database, by a method for which it has what is asked; \
             if the server speaks of channel binding, someone between here and there ends the encryption",
        ),
        "22021" => operator("invalid_utf8", "correct the bytes on the server, or leave the table out of `tables`"),
        "22P05" => operator(
            "value_untranslatable",
            "the database holds a character that UTF-8 has no counterpart for: correct it, or leave the table out of `tables`",
        ),
        // PgBouncer refuses the pinned settings with the first; a pooler that drops `replication` passes the commands of
        // a replication session to an ordinary one, which answers with the second (PG-86).
        "08P01" | "42601" => operator(
            "request_not_understood",
            "let `url` lead to the PostgreSQL server itself: a pooler such as PgBouncer cannot carry replication",
        ),
        "3D000" => operator("database_missing", "name an existing database in `url`"),
        "42501" => operator("permission_denied", "run `tidewire setup` for the grants that the login still needs"),
        "42704" => operator("object_missing", "run `tidewire check` for what is missing"),
        "42P01" | "3F000" => operator("table_missing", "take the table out of `tables`, or create it again"),
        "55006" => retry("slot_active"),
        "55P03" => retry("lock_timeout"),
        // 55000 covers an invalidated slot, a wal_level that is too low and a standby that cannot decode.
        "55000" => operator("server_not_ready", "run `tidewire check` for the state of the slot and of wal_level"),
        // The server's own limit of 1 GB for a piece of memory (PG-59): a row as text is one, and bytes are twice as long
        // there. The first stands for all that it does not expect of itself.
        "XX000" => operator("server_error", SERVER_FAULT),
        "54000" => operator("row_too_large", ROW_TOO_LARGE),
        "53400" => operator("server_limit", "raise max_replication_slots or max_wal_senders on the server"),
        "53300" => retry("server_full"),
        "57014" => retry("query_canceled"),
        "57P01" | "57P02" | "57P03" | "57P05" => retry("server_stopping"),
        "25P03" | "25P04" => retry("session_timeout"),
        "58P01" => operator(
            "log_removed",
            "the server no longer has the log: drop the slot and give its sinks new names (and a Delta sink a new location)",
        ),
        _ => match sqlstate.get(..2) {
            Some("08" | "40" | "53" | "57" | "58") => retry("server_unavailable"),
            _ => Class { kind: ErrorKind::Operator, code: "server_error", remedy: None },
        },
    }
}

/// The connection broke.
pub(crate) fn connection_lost(act: &str, cause: std::io::Error) -> Error {
    Error::retry("connection_lost", act.to_owned()).with_cause(cause)
}

/// What the server sent does not follow the protocol.
pub(crate) fn protocol(message: impl Into<String>) -> Error {
    Error::operator("protocol_violation", message.into())
        .with_remedy("make sure that `url` leads to a PostgreSQL server itself and not to a pooler or proxy")
}

/// An error of the control connection.
pub(crate) fn control(act: &str, cause: tokio_postgres::Error) -> Error {
    if let Some(db) = cause.as_db_error() {
        let server = ServerError {
            severity: db.severity().to_owned(),
            code: db.code().code().to_owned(),
            message: db.message().to_owned(),
            hint: db.hint().map(str::to_owned),
        };
        return server.into_error(act);
    }
    Error::retry("connection_lost", act.to_owned()).with_cause(cause)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pg_76_the_code_decides_what_happens_next() {
        for (sqlstate, kind) in [
            ("57P01", ErrorKind::Retry),
            ("57P03", ErrorKind::Retry),
            ("08006", ErrorKind::Retry),
            ("53300", ErrorKind::Retry),
            ("55006", ErrorKind::Retry),
            ("22021", ErrorKind::Operator),
            ("08P01", ErrorKind::Operator),
            ("42601", ErrorKind::Operator),
            ("28P01", ErrorKind::Operator),
            ("3D000", ErrorKind::Operator),
            ("42501", ErrorKind::Operator),
            ("XX000", ErrorKind::Operator),
            ("", ErrorKind::Operator),
        ] {
            assert_eq!(classify(sqlstate).kind, kind, "{sqlstate}");
        }
    }

    #[test]
    fn pg_59_a_row_that_the_server_cannot_send_has_a_remedy() {
        for (sqlstate, code) in [("XX000", "server_error"), ("54000", "row_too_large")] {
            let class = classify(sqlstate);
            assert_eq!((class.kind, class.code), (ErrorKind::Operator, code));
            assert!(
                class.remedy.is_some_and(|remedy| remedy.contains("publication") && remedy.contains("drop the slot"))
            );
        }
    }

    #[test]
    fn the_servers_words_appear_once() {
        let server = ServerError {
            severity: "ERROR".to_owned(),
            code: "57P01".to_owned(),
            message: "terminating".to_owned(),
            hint: None,
        };
        let chain = server.into_error("read the log").chain();
        assert_eq!(chain, "read the log: the server answers `terminating` (SQLSTATE 57P01)");
    }
}
