//! What the server's and the connection's errors mean for the daemon. Decides by number and kind; the text counts in
//! one place only, where a number stands for many causes. Knows no connection.

use tidewire_core::{Error, ErrorKind};

/// ER_MASTER_FATAL_ERROR_READING_BINLOG, now ER_SOURCE_FATAL_ERROR_READING_BINLOG: one number for all that can keep a
/// server from sending its log.
pub(crate) const LOG_READ_REFUSED: u16 = 1236;

/// The code of an error with that number.
pub(crate) const LOG_REFUSED: &str = "log_read_refused";

/// The code of an error that says that another replica with our number or UUID has connected.
pub(crate) const REPLICA_ID_TAKEN: &str = "replica_id_taken";

/// An error as the server words it. See "ERR_Packet" in the protocol's documentation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ServerError {
    /// Number.
    pub(crate) number: u16,
    /// The sentence.
    pub(crate) message: String,
}

impl ServerError {
    /// The error at the crate's border. `act` says what was being done, in the present tense.
    pub(crate) fn into_error(self, act: &str) -> Error {
        let class = self.classify();
        let message = format!("{act}: the server answers `{}` (error {})", self.message, self.number);
        let mut error = Error::new(class.kind, class.code, message);
        if matches!(class.code, "authentication_refused" | "password_expired" | "account_locked") {
            error = error.that_may_pass();
        }
        match class.remedy {
            Some(remedy) => error.with_remedy(remedy),
            None => error,
        }
    }

    fn classify(&self) -> Class {
        if self.number == LOG_READ_REFUSED {
            return log_read_refused(&self.message);
        }
        classify(self.number)
    }
}

struct Class {
    kind: ErrorKind,
    code: &'static str,
    remedy: Option<&'static str>,
}

fn retry(code: &'static str) -> Class {
    Class { kind: ErrorKind::Retry, code, remedy: None }
}

fn operator(code: &'static str, remedy: &'static str) -> Class {
    Class { kind: ErrorKind::Operator, code, remedy: Some(remedy) }
}

/// The words of error 1236 differ by version and none can be relied upon (MY-03), so what it means is found out by
/// asking the server about its log. Of one cause nothing is left to ask for afterwards: that the other replica came.
/// MySQL words it `A slave with the same server_uuid/server_id as this slave has connected to the master`, or
/// `replica` and `source`.
fn log_read_refused(message: &str) -> Class {
    if message.contains("same server_uuid/server_id") {
        return replica_id_taken();
    }
    operator(LOG_REFUSED, "run `tidewire check` for the state of the server's log")
}

fn replica_id_taken() -> Class {
    Class {
        kind: ErrorKind::Retry,
        code: REPLICA_ID_TAKEN,
        remedy: Some("stop the other replica that has this `server_id`, or set another `server_id`"),
    }
}

/// See "Server Error Message Reference" of MySQL and "MariaDB Error Codes". What is not known halts: going on without
/// understanding could lose changes.
fn classify(number: u16) -> Class {
    match number {
        1045 | 1698 => operator(
            "authentication_refused",
            "give the right `password`, and see that the login may come from this machine",
        ),
        1130 => operator("authentication_refused", "create the login for the machine that the daemon runs on"),
        1820 | 1862 => {
            operator("password_expired", "set a new password for the login: ALTER USER ... IDENTIFIED BY ...")
        }
        3118 | 4151 => operator("account_locked", "ALTER USER ... ACCOUNT UNLOCK;"),
        3159 | 3955 => operator("tls_required", "set `ssl-mode=VERIFY_IDENTITY` in `url`"),
        1129 => operator("host_blocked", "FLUSH HOSTS; or TRUNCATE TABLE performance_schema.host_cache;"),
        1251 | 1524 => operator(
            "authentication_unsupported",
            "create the login with `caching_sha2_password` (MySQL) or `ed25519` (MariaDB)",
        ),
        1044 | 1142 | 1143 | 1227 | 1370 => {
            operator("permission_denied", "run `tidewire setup` for the grants that the login still needs")
        }
        1046 | 1049 => operator("database_missing", "name databases that exist in `tables`"),
        1051 | 1109 | 1146 => operator("table_missing", "take the table out of `tables`, or create it again"),
        1054 => operator("column_missing", "see who alters the table that the message names, and start again"),
        1064 => {
            operator("request_not_understood", "let `url` lead to a MySQL or MariaDB server itself and not to a proxy")
        }
        // MySQL's answer to XA RECOVER without XA_RECOVER_ADMIN, among others.
        1401 => operator("xa_refused", "grant XA_RECOVER_ADMIN to the login"),
        // ER_SLAVE_SAME_ID of MariaDB.
        4052 => replica_id_taken(),
        1381 => operator("log_off", "start the server with `log_bin`"),
        1153 | 1301 => operator("packet_too_large", "raise `max_allowed_packet` on the server"),
        1290 | 1836 | 1792 => {
            operator("server_read_only", "run it on the primary, or turn off the option that the message names")
        }
        1040 | 1203 | 1226 => retry("server_full"),
        1205 | 3572 => retry("lock_timeout"),
        // Of a consistent read: the table was altered or emptied after the state that is read.
        1412 => retry("snapshot_table_changed"),
        1213 => retry("deadlock"),
        1053 | 1077 | 1079 => retry("server_stopping"),
        1317 | 1969 | 3024 => retry("query_canceled"),
        1927 | 4031 | 1152 | 1158 | 1159 | 1160 | 1161 | 1184 => retry("connection_lost"),
        1037 | 1038 | 1041 | 1021 | 1135 => retry("server_out_of_resources"),
        _ => Class { kind: ErrorKind::Operator, code: "server_error", remedy: None },
    }
}

/// The connection broke.
pub(crate) fn connection_lost(act: &str, cause: std::io::Error) -> Error {
    Error::retry("connection_lost", act.to_owned()).with_cause(cause)
}

/// What the server sent does not follow the protocol.
pub(crate) fn protocol(message: impl Into<String>) -> Error {
    Error::operator("protocol_violation", message.into())
        .with_remedy("make sure that `url` leads to a MySQL or MariaDB server itself and not to a proxy")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(number: u16, message: &str) -> Error {
        ServerError { number, message: message.to_owned() }.into_error("read the log")
    }

    #[test]
    fn the_number_decides_what_happens_next() {
        for (number, kind, code) in [
            (1040, ErrorKind::Retry, "server_full"),
            (1045, ErrorKind::Operator, "authentication_refused"),
            (1053, ErrorKind::Retry, "server_stopping"),
            (1054, ErrorKind::Operator, "column_missing"),
            (1142, ErrorKind::Operator, "permission_denied"),
            (1205, ErrorKind::Retry, "lock_timeout"),
            (1227, ErrorKind::Operator, "permission_denied"),
            (1236, ErrorKind::Operator, "log_read_refused"),
            (4052, ErrorKind::Retry, "replica_id_taken"),
            (1862, ErrorKind::Operator, "password_expired"),
            (4031, ErrorKind::Retry, "connection_lost"),
            (9999, ErrorKind::Operator, "server_error"),
            (0, ErrorKind::Operator, "server_error"),
        ] {
            let error = error(number, "x");
            assert_eq!((error.kind(), error.code()), (kind, code), "{number}");
        }
    }

    #[test]
    fn my_57_another_replica_with_our_number_is_told_apart() {
        for text in [
            "A slave with the same server_uuid/server_id as this slave has connected to the master; the first event ...",
            "A replica with the same server_uuid/server_id as this replica has connected to the source; ...",
        ] {
            assert_eq!(error(LOG_READ_REFUSED, text).code(), REPLICA_ID_TAKEN);
        }
        assert_eq!(error(4052, "A slave with the same server_id is already connected").code(), REPLICA_ID_TAKEN);
    }

    #[test]
    fn the_servers_words_appear_once() {
        let chain = error(1053, "Server shutdown in progress").chain();
        assert_eq!(chain, "read the log: the server answers `Server shutdown in progress` (error 1053)");
    }
}
