//! What each fault does to a site, and how it is made good again. Which come, and when, the seed says.

use super::brokers::Brokers;
use super::fault::{Done, Fault, Which};
use super::lake::{Bucket, Lake};
use super::site::Site;
use super::watch::Watch;
use crate::Proxy;
use crate::proxy::Direction;
use crate::shim::Disk;
use crate::workload::Dice;
use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use std::time::{Duration, Instant};

/// Places at which a daemon may end itself.
const PLACES: [&str; 19] = [
    "before_write",
    "after_write",
    "before_commit",
    "after_commit",
    "before_acknowledge",
    "after_acknowledge",
    "slot_created",
    "definitions_before_commit",
    "definitions_after_commit",
    "kafka_before_commit",
    "kafka_after_commit",
    "delta_store_written",
    "delta_store_synced",
    "delta_store_linked",
    "delta_files_written",
    "delta_committed",
    "delta_table_committed",
    "delta_checkpoint_written",
    "delta_compaction_committed",
];

/// The replica takes over within so many faults.
const FAILOVER: u64 = 12;

/// Places at which a step may fail.
const STEPS: [&str; 16] = [
    "before_write",
    "after_write",
    "before_commit",
    "after_commit",
    "definitions_before_commit",
    "definitions_after_commit",
    "kafka_before_commit",
    "kafka_after_commit",
    "delta_store_written",
    "delta_store_synced",
    "delta_files_written",
    "delta_committed",
    "delta_table_committed",
    "delta_checkpoint_written",
    "delta_compaction_copied",
    "delta_compaction_committed",
];

/// In seconds.
const DAY: i64 = 86_400;

/// Does what the seed says.
pub(super) struct Nemesis {
    dice: Dice,
    /// Each as often as it is likely.
    faults: Vec<Fault>,
    /// An older state directory, once there is one.
    kept_state: Option<tempfile::TempDir>,
    /// The last sync that was made to fail was of the state directory.
    spares_lake: bool,
    /// Faults until the replica takes over.
    until_failover: Option<u64>,
    /// What was done so far.
    pub(super) done: Done,
    /// Times that the daemon ended by itself with exit code 1, as it may when nothing can go on.
    pub(super) own_ends: u64,
}

impl Nemesis {
    pub(super) fn new(seed: u64, which: Which, site: &Site) -> Nemesis {
        let mut dice = Dice::new(seed);
        let faults = Fault::of_round(which, site, &mut dice);
        let until_failover = site.replica.is_some().then(|| Dice::new(!seed).below(FAILOVER));
        Nemesis { dice, faults, kept_state: None, spares_lake: false, until_failover, done: Done::new(), own_ends: 0 }
    }

    /// Lets the site live for a moment, then does the next fault, if there are any, and makes it good. The daemon runs
    /// afterwards.
    pub(super) fn strike(&mut self, site: &mut Site, watch: &Watch) -> Result<()> {
        let longest = if self.dice.one_in(8) { 4_000 } else { 900 };
        self.live(site, watch, longest)?;
        if self.faults.is_empty() {
            return Ok(());
        }
        let place = self.dice.below(self.faults.len() as u64) as usize;
        let mut fault = self.faults.get(place).copied().unwrap_or(Fault::KillDaemon);
        self.until_failover = match self.until_failover {
            Some(0) => {
                fault = Fault::FailOver;
                None
            }
            left => left.map(|left| left - 1),
        };
        watch.excuse(true);
        *self.done.entry(fault).or_default() += 1;
        self.begin(fault, site, watch).with_context(|| format!("at the fault `{}`", fault.name()))?;
        if fault.leaves_daemon() && self.dice.one_in(5) {
            // One in the midst of another.
            *self.done.entry(Fault::KillDaemon).or_default() += 1;
            self.end(site, watch)?;
            self.start(site, watch)?;
        }
        self.heal(fault, site, watch).with_context(|| format!("after the fault `{}`", fault.name()))?;
        watch.excuse(false);
        Ok(())
    }

    /// A moment of the seed's choice: it must not follow from anything the daemon does.
    fn live(&mut self, site: &mut Site, watch: &Watch, longest: u64) -> Result<()> {
        let end = Instant::now() + Duration::from_millis(30 + self.dice.below(longest));
        while Instant::now() < end {
            ensure!(!watch.has_ended(), "the watch has found something");
            self.mind(site, watch)?;
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    /// Starts a daemon that ended by itself again, as a supervisor does where it may.
    fn mind(&mut self, site: &mut Site, watch: &Watch) -> Result<()> {
        if site.daemon.pid().is_none() || !site.daemon.has_ended()? {
            return Ok(());
        }
        let status = site.daemon.wait_exit()?;
        ensure!(status.code() == Some(1), "the daemon ended by itself with {status}");
        self.own_ends += 1;
        self.start(site, watch)
    }

    fn start(&mut self, site: &mut Site, watch: &Watch) -> Result<()> {
        site.daemon.run()?;
        watch.daemon(site.daemon.pid());
        Ok(())
    }

    /// SIGKILL.
    fn end(&mut self, site: &mut Site, watch: &Watch) -> Result<()> {
        watch.daemon(None);
        site.daemon.kill9()
    }

    fn begin(&mut self, fault: Fault, site: &mut Site, watch: &Watch) -> Result<()> {
        let bytes = 1 + self.dice.below(60_000);
        match fault {
            Fault::KillDaemon | Fault::LoseState | Fault::OldState => self.end(site, watch)?,
            Fault::StopDaemon => {
                watch.daemon(None);
                if site.daemon.has_ended()? {
                    return Ok(());
                }
                let code = site.daemon.terminate()?;
                ensure!(code == 0, "asked to stop, the daemon ended with {code}");
            }
            Fault::DieAtPlace => {
                self.end(site, watch)?;
                let place = self.dice.below(PLACES.len() as u64) as usize;
                let place = PLACES.get(place).copied().unwrap_or("before_commit");
                site.daemon.set_failpoint(Some(&format!("{place}:{}", 1 + self.dice.below(6))));
                self.start(site, watch)?;
            }
            Fault::ErrorAtPlace => {
                self.end(site, watch)?;
                let place = self.dice.below(STEPS.len() as u64) as usize;
                let place = STEPS.get(place).copied().unwrap_or("before_commit");
                site.daemon.set_failpoint(Some(&format!("{place}:{}:error", 1 + self.dice.below(9))));
                self.start(site, watch)?;
            }
            Fault::FreezeDaemon => site.daemon.signal(Signal::STOP),
            Fault::KillDatabase => site.server.kill()?,
            Fault::RestartDatabase => {}
            Fault::FreezeDatabase => site.server.signal(Signal::STOP),
            Fault::EndSessions => site.server.end_sessions()?,
            Fault::KillBroker => brokers(site)?.kill(&mut self.dice)?,
            Fault::RestartBroker => {}
            Fault::FreezeBroker => brokers(site)?.freeze(&mut self.dice)?,
            Fault::CutSource => site.line.cut(),
            Fault::CloseSource => site.line.close(),
            Fault::CutSourceLater => site.line.cut_after(Direction::ToClient, bytes),
            Fault::StallSource => site.line.stall(),
            Fault::RefuseSource => {
                site.line.refuse();
                site.line.cut();
            }
            Fault::DribbleSource => site.line.split(1),
            Fault::CutBroker => each_way(site, Proxy::cut)?,
            Fault::CutBrokerLater => {
                let way = if self.dice.one_in(2) { Direction::ToServer } else { Direction::ToClient };
                each_way(site, |proxy| proxy.cut_after(way, bytes))?;
            }
            Fault::StallBroker => each_way(site, Proxy::stall)?,
            Fault::SlowBroker => {
                let delay = Duration::from_millis(1 + self.dice.below(300));
                each_way(site, |proxy| proxy.delay(delay))?;
            }
            Fault::FullState | Fault::FullLake | Fault::SyncFails | Fault::ShortWrites => {
                self.begin_at_disk(fault, site, bytes)?;
            }
            Fault::StoreInTrouble
            | Fault::RefuseStore
            | Fault::StallStore
            | Fault::CutStoreLater
            | Fault::SlowStore
            | Fault::DribbleStore => self.begin_at_store(fault, bucket(site)?, bytes),
            Fault::ClockJumps => {
                let offset = if self.dice.one_in(2) { DAY } else { -DAY };
                site.shim.clock_offset(offset)?;
            }
            Fault::SecondDaemon => self.compete(site)?,
            Fault::FailOver => site.lose_database()?,
        }
        Ok(())
    }

    /// A fault of the disk, after so many bytes if it is one that has a place.
    fn begin_at_disk(&mut self, fault: Fault, site: &Site, bytes: u64) -> Result<()> {
        let (state, lake) = (site.daemon.state_folder(), site.lake.as_ref().and_then(Lake::folder));
        match fault {
            Fault::FullState => site.shim.disk(Disk::FULL, &[&state]),
            Fault::FullLake => {
                site.shim.disk(Disk::full_after(bytes), &[lake.context("this site's tables are in no folder")?])
            }
            Fault::SyncFails => {
                self.spares_lake = self.dice.one_in(4) || lake.is_none();
                let folder = lake.filter(|_| !self.spares_lake).unwrap_or(&state);
                let fault = Disk::SYNC_FAILS.one_in(1 + self.dice.below(30), self.dice.any());
                site.shim.disk(fault, &[folder])
            }
            _ => site.shim.disk(Disk::SHORT_WRITES, &[lake.unwrap_or(&state), &state]),
        }
    }

    /// A fault of the store of objects, or of the line to it.
    fn begin_at_store(&mut self, fault: Fault, bucket: &Bucket, bytes: u64) {
        match fault {
            Fault::RefuseStore => {
                bucket.line.refuse();
                bucket.line.cut();
            }
            Fault::StallStore => bucket.line.stall(),
            Fault::CutStoreLater => {
                let way = if self.dice.one_in(2) { Direction::ToServer } else { Direction::ToClient };
                bucket.line.cut_after(way, bytes);
            }
            Fault::SlowStore => bucket.line.delay(Duration::from_millis(1 + self.dice.below(300))),
            Fault::DribbleStore => bucket.line.split(1),
            _ => bucket.trouble(&mut self.dice),
        }
    }

    /// Two want the same: at most one may have it at a time, and the sinks must not show that there were two.
    fn compete(&mut self, site: &Site) -> Result<()> {
        let mut other = site.another_daemon()?;
        other.allow_log("");
        other.run()?;
        self.wait(3_000);
        other.kill9()
    }

    fn heal(&mut self, fault: Fault, site: &mut Site, watch: &Watch) -> Result<()> {
        if fault.needs_bucket() {
            self.wait(4_000);
            bucket(site)?.heal();
            return Ok(());
        }
        match fault {
            Fault::KillDaemon | Fault::StopDaemon => self.start(site, watch),
            Fault::LoseState => {
                remove(&site.daemon.state_folder())?;
                self.start(site, watch)
            }
            Fault::OldState => {
                self.exchange(site)?;
                self.start(site, watch)
            }
            Fault::DieAtPlace => self.outlive_place(site, watch),
            Fault::ErrorAtPlace => {
                self.wait(2_500);
                // The daemon that has it goes on by itself; the next start has it no more.
                site.daemon.set_failpoint(None);
                Ok(())
            }
            Fault::FreezeDaemon => {
                // Now and then longer than the brokers wait for a word (SK-07).
                let span = if self.dice.one_in(10) { 13_000 } else { 3_000 };
                self.wait(span);
                site.daemon.signal(Signal::CONT);
                Ok(())
            }
            Fault::KillDatabase => {
                self.wait(800);
                site.server.restart()
            }
            Fault::RestartDatabase => site.server.restart(),
            Fault::FreezeDatabase => {
                self.wait(3_000);
                site.server.signal(Signal::CONT);
                Ok(())
            }
            Fault::KillBroker | Fault::RestartBroker => {
                self.wait(500);
                brokers(site)?.restart(&mut self.dice)
            }
            Fault::FreezeBroker => {
                // Others lead once a session of three seconds has passed.
                self.wait(6_000);
                brokers(site)?.thaw()
            }
            Fault::CutSourceLater | Fault::StallSource | Fault::RefuseSource | Fault::DribbleSource => {
                self.wait(2_500);
                site.line.resume();
                Ok(())
            }
            Fault::CutBrokerLater | Fault::StallBroker | Fault::SlowBroker => {
                self.wait(4_000);
                each_way(site, Proxy::resume)
            }
            Fault::FullState | Fault::FullLake | Fault::ShortWrites => {
                self.wait(2_500);
                site.shim.heal()
            }
            Fault::SyncFails => {
                self.wait(1_500);
                // SQLite, which keeps the state, takes a commit back whose sync failed, and syncs that. It has nothing that
                // cannot be found again.
                let again = site.shim.resynced()? > 0 && !self.spares_lake;
                ensure!(!again, "a file of the lake was synced again whose sync had failed");
                site.shim.heal()?;
                self.start_anew(site, watch)
            }
            Fault::ClockJumps => {
                self.wait(2_000);
                site.shim.clock_offset(0)?;
                self.start_anew(site, watch)
            }
            Fault::SecondDaemon => self.start_anew(site, watch),
            Fault::FailOver => {
                self.wait(800);
                site.turn_to_replica()
            }
            _ => Ok(()),
        }
    }

    /// Waits for the daemon to end at its place; it may never come there, and the moment is over then.
    fn outlive_place(&mut self, site: &mut Site, watch: &Watch) -> Result<()> {
        let end = Instant::now() + Duration::from_millis(500 + self.dice.below(2_500));
        while Instant::now() < end && !site.daemon.has_ended()? {
            std::thread::sleep(Duration::from_millis(5));
        }
        self.end(site, watch)?;
        site.daemon.set_failpoint(None);
        self.start(site, watch)
    }

    /// What an operator does with a daemon that has given something up, rightly.
    fn start_anew(&mut self, site: &mut Site, watch: &Watch) -> Result<()> {
        self.end(site, watch)?;
        self.start(site, watch)
    }

    /// The span is the stimulus itself.
    fn wait(&mut self, longest: u64) {
        std::thread::sleep(Duration::from_millis(20 + self.dice.below(longest)));
    }

    /// Puts the state directory of an earlier time in the place of this one, and keeps one for the next time.
    fn exchange(&mut self, site: &Site) -> Result<()> {
        let state = site.daemon.state_folder();
        let older = self.kept_state.take();
        if older.is_none() || self.dice.one_in(2) {
            let keep = tempfile::tempdir().context("make a folder for the state")?;
            copy(&state, &keep.path().join("state"))?;
            self.kept_state = Some(keep);
        }
        let Some(older) = older else { return Ok(()) };
        remove(&state)?;
        copy(&older.path().join("state"), &state)
    }

    /// Makes everything good that may still be amiss.
    pub(super) fn heal_all(&mut self, site: &mut Site, watch: &Watch) -> Result<()> {
        site.line.resume();
        site.shim.heal()?;
        site.shim.clock_offset(0)?;
        if site.kafka.is_some() {
            each_way(site, Proxy::resume)?;
        }
        if let Some(bucket) = site.lake.as_ref().and_then(Lake::bucket) {
            bucket.heal();
        }
        site.daemon.set_failpoint(None);
        self.mind(site, watch)
    }
}

fn brokers(site: &mut Site) -> Result<&mut Brokers> {
    site.kafka.as_mut().context("this site has no broker")
}

fn bucket(site: &Site) -> Result<&Bucket> {
    site.lake()?.bucket().context("this site's tables are in no bucket")
}

fn each_way(site: &Site, act: impl Fn(&Proxy)) -> Result<()> {
    site.kafka()?.proxies().into_iter().for_each(act);
    Ok(())
}

fn remove(folder: &std::path::Path) -> Result<()> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error).context("remove the state"),
        _ => Ok(()),
    }
}

fn copy(from: &std::path::Path, to: &std::path::Path) -> Result<()> {
    crate::process::output(std::process::Command::new("cp").arg("-a").arg(from).arg(to)).map(drop)
}
