//! A second server that follows a site's database, and takes over from it in the midst of everything else. What a session
//! was told to be committed, and what the daemon was sent, is on the second one before the first one goes: so careful
//! operators set it up, and all the rest is the daemon's to prove. Knows nothing of the load and the other faults.

use super::source::{Server, Setup, settled};
use crate::oracle::Witness;
use crate::postgres::{Client, Postgres};
use crate::{Mysql, wait};
use anyhow::{Context, Result, ensure};

/// PostgreSQL's slots that are copied: the daemon's and the witness's.
const SLOTS: [&str; 2] = ["tidewire_shop", "witness"];

/// A server that follows.
#[derive(Debug)]
pub(super) struct Replica {
    server: Server,
    /// Of its own log, where that is not a copy of the first server's.
    witness: Option<Witness>,
}

impl Replica {
    /// Whether a server of this kind can have one from which a daemon may go on: PostgreSQL copies slots from 17 on, and
    /// without global ids a place of MySQL means nothing to another server.
    pub(super) fn is_possible(setup: &Setup) -> bool {
        match setup {
            Setup::Postgres(major) => *major >= 17,
            Setup::Mysql(options) => options.gtid,
        }
    }

    /// Follows a server that has just been started.
    pub(super) fn of(server: &mut Server, setup: &Setup) -> Result<Replica> {
        let server = match (server, setup) {
            (Server::Postgres(primary), _) => Server::Postgres(Box::new(standby(primary)?)),
            (Server::Mysql(primary, has_ids), Setup::Mysql(options)) => {
                Server::Mysql(Box::new(Mysql::replica_of(primary, &settled(options))?), *has_ids)
            }
            (Server::Mysql(..), Setup::Postgres(_)) => anyhow::bail!("a setup of another server"),
        };
        Ok(Replica { server, witness: None })
    }

    /// One that sees every change from now on, on whichever server.
    pub(super) fn witness(&mut self, first: &Server) -> Result<Witness> {
        match (first, &self.server) {
            (Server::Postgres(primary), Server::Postgres(standby)) => {
                let [_, slot] = SLOTS;
                let witness = Witness::start_with_failover(primary.client()?, slot)?;
                copied(&primary.client()?, &standby.client()?, slot)?;
                return Ok(witness);
            }
            (Server::Mysql(primary, _), Server::Mysql(replica, _)) => {
                // Its log holds all that it follows, in files of its own.
                replica.level_with(primary)?;
                self.witness = Some(Witness::of_log(replica)?);
            }
            _ => {}
        }
        first.witness()
    }

    /// Ends the server that this one follows, which has then all that anybody was told.
    pub(super) fn outlive(&self, first: &mut Server) -> Result<()> {
        match (&mut *first, &self.server) {
            // No commit is told to a session, and no change to the daemon, before the standby has it: any moment will do.
            (Server::Postgres(_), Server::Postgres(standby)) => {
                let follower = standby.client()?;
                for slot in SLOTS {
                    ensure!(is_copied(&follower, slot)?, "the standby has lost its copy of slot {slot}");
                }
                first.kill()
            }
            // These send their log to all at once, so that a daemon may have what no replica has. The change is one in
            // order: nobody writes any more, the replica comes level, and only then the first one goes.
            (Server::Mysql(primary, _), Server::Mysql(replica, _)) => {
                let holder = primary.client_of("")?;
                holder.execute("FLUSH TABLES WITH READ LOCK").context("stop all writing")?;
                replica.level_with(primary)?;
                first.kill()
            }
            _ => anyhow::bail!("a replica of another server"),
        }
    }

    /// It is the one that is written to from now on. With the account of its log, where that is one of its own.
    pub(super) fn take_over(self) -> Result<(Server, Option<Witness>)> {
        match &self.server {
            Server::Postgres(standby) => {
                let promoted = standby.client()?.value("SELECT pg_promote()")?;
                ensure!(promoted == "t", "the standby was not promoted in time");
            }
            Server::Mysql(replica, _) => replica.promote()?,
        }
        Ok((self.server, self.witness))
    }
}

/// A standby that has everything first: commits wait for it, and so does the log that is sent for slots which it copies.
fn standby(primary: &mut Postgres) -> Result<Postgres> {
    let standby = primary.standby_with_slots()?;
    let follower = standby.client()?;
    // The first server is killed now and then before it is lost.
    for setting in ["sync_replication_slots = on", "wal_retrieve_retry_interval = '100ms'"] {
        follower.execute(&format!("ALTER SYSTEM SET {setting}"))?;
    }
    follower.execute("SELECT pg_reload_conf()")?;
    let client = primary.client()?;
    let [slot, _] = SLOTS;
    // Whoever makes the slot makes the publication first.
    client.execute(&format!("CREATE PUBLICATION {slot} FOR ALL TABLES"))?;
    client.execute(&format!("SELECT pg_create_logical_replication_slot('{slot}', 'pgoutput', failover => true)"))?;
    for setting in ["synchronized_standby_slots", "synchronous_standby_names"] {
        client.execute(&format!("ALTER SYSTEM SET {setting} = 'standby'"))?;
    }
    client.execute("SELECT pg_reload_conf()")?;
    copied(&client, &follower, slot)?;
    Ok(standby)
}

/// Waits until the standby keeps a copy of a slot that nobody uses yet. It does once the slot needs nothing from before the
/// standby began to follow: that moves only with a list of the transactions that run.
fn copied(primary: &Client, follower: &Client, slot: &str) -> Result<()> {
    wait::until(&format!("slot {slot} to be copied"), wait::PATIENCE, || {
        if is_copied(follower, slot)? {
            return Ok(Some(()));
        }
        primary.execute("SELECT pg_log_standby_snapshot()")?;
        primary.execute(&format!("SELECT pg_replication_slot_advance('{slot}', pg_current_wal_lsn())"))?;
        Ok(None)
    })
}

fn is_copied(follower: &Client, slot: &str) -> Result<bool> {
    let kept = format!(
        "SELECT count(*) FROM pg_replication_slots
         WHERE slot_name = '{slot}' AND synced AND NOT temporary AND invalidation_reason IS NULL"
    );
    Ok(follower.value(&kept)? == "1")
}
