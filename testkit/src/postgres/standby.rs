//! A physical standby: a copy of a server's data that follows it by streaming.

use super::Postgres;
use crate::folder::RunFolder;
use crate::process;
use anyhow::{Context, Result};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

impl Postgres {
    /// A hot standby of this server, which is stopped for a moment to be copied. It answers when this returns, and
    /// follows over the server's socket.
    pub fn standby(&mut self) -> Result<Postgres> {
        self.stop()?;
        let folder = RunFolder::new("standby")?;
        let data = folder.path().join("data");
        process::output(Command::new("cp").arg("-a").arg(self.data()).arg(&data))?;
        // Slots stay where they are, as with a base backup.
        let slots = data.join("pg_replslot");
        std::fs::remove_dir_all(&slots).and_then(|()| std::fs::create_dir(&slots)).context("leave the slots out")?;
        std::fs::set_permissions(&slots, PermissionsExt::from_mode(0o700)).context("close the folder to others")?;
        // Socket and administrator are trusted with everything else already.
        let mut access = std::fs::File::options().append(true).open(self.data().join("pg_hba.conf"))?;
        access.write_all(b"local replication all trust\n").context("let the standby in")?;
        self.restart()?;
        let settings = format!(
            "unix_socket_directories = '{}'\nprimary_conninfo = 'host={} port={} user=postgres'\n",
            folder.path().display(),
            self.socket_folder().display(),
            self.port
        );
        let mut file = std::fs::File::options().append(true).open(data.join("postgresql.auto.conf"))?;
        file.write_all(settings.as_bytes()).context("write the standby's settings")?;
        std::fs::write(data.join("standby.signal"), "").context("make it a standby")?;
        process::give_to_server(folder.path())?;
        let mut standby = Postgres {
            child: None,
            port: process::free_port()?,
            programs: self.programs.clone(),
            certificates: None,
            folder,
        };
        standby.launch()?;
        Ok(standby)
    }

    /// A standby that can copy slots with failover (PostgreSQL 17 and newer): it follows by the slot `standby`, keeps what
    /// they need, and says often how far it is.
    pub fn standby_with_slots(&mut self) -> Result<Postgres> {
        let standby = self.standby()?;
        self.client()?.execute("SELECT pg_create_physical_replication_slot('standby', true)")?;
        let way = format!(
            "host={} port={} user=postgres dbname=postgres application_name=standby",
            self.socket_folder().display(),
            self.port
        );
        let follower = standby.client()?;
        for (key, value) in [
            ("hot_standby_feedback", "on"),
            ("wal_receiver_status_interval", "1s"),
            ("primary_slot_name", "standby"),
            ("primary_conninfo", &way),
        ] {
            follower.execute(&format!("ALTER SYSTEM SET {key} = '{value}'"))?;
        }
        follower.execute("SELECT pg_reload_conf()")?;
        Ok(standby)
    }
}
