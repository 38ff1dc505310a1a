//! A server that follows another by global ids, and takes over from it.

use super::{Mysql, MysqlOptions, MysqlVersion};
use anyhow::{Result, ensure};

/// Seconds that a replica may need to come level.
const LEVEL_LIMIT_S: u32 = 60;

impl Mysql {
    /// A server of the same version that follows `source` from its first transaction on. It may not be level yet.
    pub fn replica_of(source: &Mysql, options: &MysqlOptions) -> Result<Mysql> {
        let options = MysqlOptions { version: Some(source.version()), ..options.clone() };
        let replica = Mysql::start_empty(&options)?;
        replica.follow(source)?;
        Ok(replica)
    }

    /// Follows `source` from where it stands.
    pub fn follow(&self, source: &Mysql) -> Result<()> {
        let port = source.port();
        let statement = if self.version().is_mariadb() {
            format!(
                "CHANGE MASTER TO MASTER_HOST='127.0.0.1', MASTER_PORT={port}, MASTER_USER='root', MASTER_USE_GTID=slave_pos, \
                 MASTER_SSL=0, MASTER_SSL_VERIFY_SERVER_CERT=0, MASTER_CONNECT_RETRY=1; START SLAVE"
            )
        } else {
            format!(
                "CHANGE REPLICATION SOURCE TO SOURCE_HOST='127.0.0.1', SOURCE_PORT={port}, SOURCE_USER='root', \
                 SOURCE_AUTO_POSITION=1, GET_SOURCE_PUBLIC_KEY=1, SOURCE_CONNECT_RETRY=1; START REPLICA"
            )
        };
        self.client_of("")?.execute(&statement).map(drop)
    }

    /// Waits until this replica has everything that `source` has now.
    pub fn level_with(&self, source: &Mysql) -> Result<()> {
        let (ask, wait): (&str, fn(&str) -> String) = if self.version().is_mariadb() {
            ("SELECT @@gtid_binlog_pos", |set| format!("SELECT MASTER_GTID_WAIT('{set}', {LEVEL_LIMIT_S})"))
        } else {
            ("SELECT @@gtid_executed", |set| format!("SELECT WAIT_FOR_EXECUTED_GTID_SET('{set}', {LEVEL_LIMIT_S})"))
        };
        let set = source.client_of("")?.value(ask)?.replace('\n', "");
        let answer = self.client_of("")?.value(&wait(&set))?;
        ensure!(answer == "0", "the replica did not come to {set} within {LEVEL_LIMIT_S} s: {answer}");
        Ok(())
    }

    /// Stops following and forgets whom it followed.
    pub fn promote(&self) -> Result<()> {
        let word = if self.version().is_mariadb() { "SLAVE" } else { "REPLICA" };
        self.client_of("")?.execute(&format!("STOP {word}; RESET {word} ALL")).map(drop)
    }
}

impl MysqlVersion {
    /// Whether transactions carry tags (MySQL 8.3 and newer).
    pub fn has_tags(self) -> bool {
        self == MysqlVersion::MySql97
    }
}
