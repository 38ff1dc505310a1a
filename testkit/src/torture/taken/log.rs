//! The log that the sinks still need is taken away: the slot is dropped, or made anew at a later place, or the files of the log
//! are purged. The source halts as a whole; nothing is made in silence.

use super::halt::{self, Halt};
use super::table::{Ends, check_readings};
use super::{Act, Scene};
use crate::oracle;
use crate::readers::Reader;
use crate::torture::load::KEYED;
use crate::torture::source::{Kind, Server};
use crate::wait::{self, PATIENCE};
use anyhow::{Context, Result, bail, ensure};

const SLOT: &str = "tidewire_shop";

impl Scene<'_> {
    /// Gives the code of the halt, and what resolved it.
    pub(super) fn take_log(&mut self) -> Result<(String, &'static str)> {
        // Whoever vouches for it that nothing was lost must be right: then the load rests meanwhile.
        let vouches = self.site.kind == Kind::Postgres && self.dice.one_in(2);
        let running = self.start_load();
        self.live(&running, 20)?;
        let running = if vouches {
            self.stop_load(running)?;
            self.site.catch_up()?;
            None
        } else {
            Some(running)
        };
        match self.act {
            Act::DropSlot => self.drop_slot()?,
            Act::RenewSlot => {
                // Before the daemon has seen that it is gone.
                self.site.line.refuse();
                self.site.line.cut();
                self.drop_slot()?;
                if let Some(running) = &running {
                    self.live(running, 10)?;
                }
                let make = format!("SELECT pg_create_logical_replication_slot('{SLOT}', 'pgoutput')");
                self.site.server.session()?.execute(&make).context("make the slot anew")?;
                self.site.line.resume();
            }
            _ => {
                let ended = self.site.daemon.terminate()?;
                ensure!(ended == 0, "asked to stop, the daemon ended with {ended}");
                if let Some(running) = &running {
                    self.live(running, 20)?;
                }
                self.purge()?;
                self.site.daemon.run()?;
            }
        }
        let ended = self.site.daemon.wait_exit().context("no source is left that can run")?;
        ensure!(ended.code() == Some(1), "with nothing left that can run the daemon ended with {ended}");
        if let Some(running) = running {
            self.live(&running, 10)?;
            self.stop_load(running)?;
        }
        let told = self.log_must_tell()?;
        let (remedy, since) = self.resolve_log(&told, vouches)?;
        self.live_on(40).with_context(|| format!("after `{remedy}`"))?;
        let halted = halt::halted(&self.site.daemon.status()?);
        ensure!(halted.is_empty(), "after `{remedy}` there are halted: {halted:?}");
        self.check_all(vouches, &since).with_context(|| format!("after `{remedy}`"))?;
        Ok((told.code, remedy))
    }

    /// The walsender keeps it until it is ended.
    fn drop_slot(&self) -> Result<()> {
        let session = self.site.server.session()?;
        let end = format!(
            "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = '{SLOT}' AND active_pid IS NOT NULL"
        );
        wait::until("the slot to be dropped", PATIENCE, || {
            session.execute(&end)?;
            Ok(session.execute(&format!("SELECT pg_drop_replication_slot('{SLOT}')")).ok().map(drop))
        })
    }

    fn purge(&self) -> Result<()> {
        let Server::Mysql(server, _) = &self.site.server else { bail!("a server of another kind") };
        server.purge_log()
    }

    /// By one line, and nothing else is halted.
    fn log_must_tell(&self) -> Result<Halt> {
        let halts = halt::halts(&self.site.daemon, self.begin)?;
        ensure!(halts.len() == 1, "{} lines tell of a halt: {halts:?}", halts.len());
        let halt = halts.into_iter().next().context("no line tells of the halt")?;
        ensure!(self.act.codes().contains(&halt.code.as_str()), "another code: {halt:?}");
        ensure!(halt.table.is_none() && halt.sink.is_none(), "it is about the source: {halt:?}");
        let names = if self.site.kind == Kind::Postgres { SLOT } else { "log" };
        ensure!(halt.message.contains(names), "`{names}` is not named: {halt:?}");
        Ok(halt)
    }

    /// Does what the line says, and starts the daemon. Gives where the topics end of which the rest is read anew.
    fn resolve_log(&mut self, halt: &Halt, vouches: bool) -> Result<(&'static str, Ends)> {
        if vouches {
            let mut command = None;
            for text in halt.commands() {
                match text.strip_prefix("tidewire run ") {
                    Some(arguments) => command = Some(arguments.split(' ').collect::<Vec<_>>()),
                    None => drop(self.site.server.session()?.execute(text)?),
                }
            }
            let arguments = command.with_context(|| format!("the remedy names no start: {}", halt.remedy))?;
            self.site.daemon.run_with(&arguments)?;
            return Ok(("vouched for", Ends::new()));
        }
        halt.must_offer(&["give the sinks new names", "a Delta sink a new location"])?;
        let mut since = Ends::new();
        if self.site.kafka.is_some() {
            since = self.ends(&KEYED)?;
            self.site.rename_events()?;
        }
        if self.site.lake.is_some() {
            self.site.move_lake()?;
        }
        self.site.daemon.run()?;
        Ok(("sinks of other names", since))
    }

    fn check_all(&self, vouches: bool, since: &Ends) -> Result<()> {
        let session = self.site.server.session()?;
        for table in KEYED.iter().filter(|_| self.site.lake.is_some()) {
            let at = self.site.table(table)?;
            oracle::check_columns(&session, self.site.kind.schema(), table, at, &[Reader::Deltalake])?;
        }
        match &self.site.kafka {
            Some(_) if vouches => self.check_topics(&KEYED, None),
            Some(_) => check_readings(self.site, &KEYED, since),
            None => Ok(()),
        }
    }
}
