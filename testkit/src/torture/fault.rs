//! The kinds of faults: their names, how often each comes, what each needs of a site, and what the daemon's log may hold
//! after it. What they do is the nemesis's.

use super::site::Site;
use crate::workload::Dice;
use std::collections::BTreeMap;

/// Which faults come in a round.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Which {
    /// Of every kind.
    #[default]
    All,
    /// The daemon, the database and the broker are killed, one right after the other.
    Kills,
    /// None: what hours of load by themselves come to. All readers that there are read the tables in the end.
    None,
}

/// A fault. Those with a span last so long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fault {
    /// SIGKILL to the daemon.
    KillDaemon,
    /// SIGTERM: it must end with 0, and in time.
    StopDaemon,
    /// SIGSTOP, and SIGCONT.
    FreezeDaemon,
    /// The daemon ends itself at a named place, before or after a durable step.
    DieAtPlace,
    /// SIGKILL, and in the next start a step fails at a named place, before or after it was done.
    ErrorAtPlace,
    /// SIGKILL, and its state directory is gone.
    LoseState,
    /// SIGKILL, and its state directory is one of an earlier time.
    OldState,
    KillDatabase,
    RestartDatabase,
    FreezeDatabase,
    /// The database ends the daemon's sessions.
    EndSessions,
    KillBroker,
    RestartBroker,
    FreezeBroker,
    CutSource,
    CloseSource,
    /// After some more bytes, in the midst of a message.
    CutSourceLater,
    /// Nothing comes through, and nobody says so.
    StallSource,
    RefuseSource,
    DribbleSource,
    CutBroker,
    CutBrokerLater,
    StallBroker,
    SlowBroker,
    /// Nothing can be written to the state directory.
    FullState,
    /// Nothing more can be written to the lake, from some byte on.
    FullLake,
    /// Requests to the lake's store are refused, denied, late, done without an answer, or answered by half.
    StoreInTrouble,
    /// The store of the lake cannot be reached.
    RefuseStore,
    /// Nothing comes through to it, and nobody says so.
    StallStore,
    /// Its connections end amid a request or an answer.
    CutStoreLater,
    /// Each piece of what passes is late.
    SlowStore,
    /// A byte at a time.
    DribbleStore,
    /// A sync of a file fails, of the lake or the state directory.
    SyncFails,
    /// Each write takes half of what it is given.
    ShortWrites,
    /// The wall clock is a day off.
    ClockJumps,
    /// Another daemon of the same configuration, with a state directory of its own.
    SecondDaemon,
    /// The database is lost for good, and its replica takes over: once in a round, at a time of its own.
    FailOver,
}

/// With how often each comes, and what the report calls it.
const FAULTS: [(Fault, u64, &str); 37] = [
    (Fault::KillDaemon, 150, "daemon killed"),
    (Fault::StopDaemon, 3, "daemon stopped"),
    (Fault::FreezeDaemon, 3, "daemon frozen"),
    (Fault::DieAtPlace, 12, "daemon ended at a place"),
    (Fault::LoseState, 3, "state lost"),
    (Fault::OldState, 2, "state of before"),
    (Fault::KillDatabase, 6, "database killed"),
    (Fault::RestartDatabase, 1, "database restarted"),
    (Fault::FreezeDatabase, 2, "database frozen"),
    (Fault::EndSessions, 4, "sessions ended"),
    (Fault::KillBroker, 5, "broker killed"),
    (Fault::RestartBroker, 1, "broker restarted"),
    (Fault::FreezeBroker, 2, "broker frozen"),
    (Fault::CutSource, 4, "source cut"),
    (Fault::CloseSource, 2, "source closed"),
    (Fault::CutSourceLater, 4, "source cut amid a message"),
    (Fault::StallSource, 2, "source silent"),
    (Fault::RefuseSource, 2, "source refused"),
    (Fault::DribbleSource, 1, "source dribbles"),
    (Fault::CutBroker, 4, "broker cut"),
    (Fault::CutBrokerLater, 4, "broker cut amid a message"),
    (Fault::StallBroker, 2, "broker silent"),
    (Fault::SlowBroker, 2, "broker slow"),
    (Fault::FullState, 2, "state directory full"),
    (Fault::FullLake, 3, "lake full"),
    (Fault::SyncFails, 2, "sync failed"),
    (Fault::ShortWrites, 2, "short writes"),
    (Fault::ClockJumps, 2, "clock jumped"),
    (Fault::SecondDaemon, 2, "second daemon"),
    (Fault::FailOver, 0, "database failed over"),
    (Fault::ErrorAtPlace, 6, "step failed at a place"),
    (Fault::StoreInTrouble, 12, "store in trouble"),
    (Fault::RefuseStore, 3, "store refused"),
    (Fault::StallStore, 3, "store silent"),
    (Fault::CutStoreLater, 5, "store cut amid a message"),
    (Fault::SlowStore, 3, "store slow"),
    (Fault::DribbleStore, 2, "store dribbles"),
];

/// Those of a store of objects, and of the line to it.
const OF_A_STORE: [Fault; 6] = [
    Fault::StoreInTrouble,
    Fault::RefuseStore,
    Fault::StallStore,
    Fault::CutStoreLater,
    Fault::SlowStore,
    Fault::DribbleStore,
];

/// How often each comes where only the goal of many kills counts.
const KILLS: [(Fault, u64); 4] =
    [(Fault::KillDaemon, 150), (Fault::DieAtPlace, 6), (Fault::KillDatabase, 9), (Fault::KillBroker, 9)];

impl Fault {
    /// In words, for the report.
    pub(super) fn name(self) -> &'static str {
        FAULTS.iter().find(|(fault, ..)| *fault == self).map_or("?", |(.., name)| name)
    }

    /// Those of a round, each as often as it is likely: not all of them in every one, since what is common hides what is
    /// rare.
    pub(super) fn of_round(which: Which, site: &Site, dice: &mut Dice) -> Vec<Fault> {
        let (folder, bucket) = match &site.lake {
            Some(lake) => (lake.folder(), lake.bucket()),
            None => (None, None),
        };
        let is_possible = |fault: Fault| {
            (site.kafka.is_some() || !fault.needs_broker())
                && (folder.is_some() || !fault.needs_folder())
                && (bucket.is_some() || !fault.needs_bucket())
                && fault != Fault::FailOver
                && (site.may_lose_state || !fault.takes_state())
        };
        let all = match which {
            Which::All => FAULTS.map(|(fault, weight, _)| (fault, weight)).to_vec(),
            Which::Kills => KILLS.to_vec(),
            Which::None => Vec::new(),
        };
        let mut chosen = Vec::new();
        for (fault, weight) in all {
            let is_always = fault == Fault::KillDaemon || which == Which::Kills;
            if is_possible(fault) && (is_always || !dice.one_in(3)) {
                chosen.extend(std::iter::repeat_n(fault, weight as usize));
            }
        }
        chosen
    }

    /// Whether it is one of a broker.
    fn needs_broker(self) -> bool {
        use Fault::{CutBroker, CutBrokerLater, FreezeBroker, KillBroker, RestartBroker, SlowBroker, StallBroker};
        matches!(
            self,
            KillBroker | RestartBroker | FreezeBroker | CutBroker | CutBrokerLater | StallBroker | SlowBroker
        )
    }

    /// Whether it is one of local tables.
    fn needs_folder(self) -> bool {
        matches!(self, Fault::FullLake)
    }

    /// Whether it is one of tables in a bucket.
    pub(super) fn needs_bucket(self) -> bool {
        OF_A_STORE.contains(&self)
    }

    /// Whether the state directory is gone or another one after it.
    fn takes_state(self) -> bool {
        matches!(self, Fault::LoseState | Fault::OldState)
    }

    /// Whether the daemon runs on through it.
    pub(super) fn leaves_daemon(self) -> bool {
        use Fault::{DieAtPlace, KillDaemon, LoseState, OldState, StopDaemon};
        !matches!(self, KillDaemon | StopDaemon | DieAtPlace | LoseState | OldState)
    }
}

/// Log lines of WARN and ERROR that must come when servers die, lines are cut and the daemon is killed. All others are
/// faults of the daemon.
const EXPECTED: [&str; 4] = ["source retried", "sink retried", "slot_active", "sink_left_behind"];

/// Such as come when a disk is full or cannot sync: what is put off, and a sink or a daemon that ends until it is started
/// again.
const OF_DISKS: [&str; 6] =
    ["intent list not written", "put off", "state_unusable", "storage_fsync", "no_sink_left", "nothing_left"];

/// Such as come when a store answers wrongly, or not: what is put off, and what is removed another time.
const OF_STORES: [&str; 3] = ["intent list not written", "put off", "not removed"];

/// Such as come when rows are read by a clock that is a day ahead: brokers refuse records of tomorrow, and the table halts.
const OF_CLOCKS: [&str; 2] = ["record_refused", "timestamp_refused"];

/// Such as come when there are two.
const OF_TWO: [&str; 5] = ["fenced", "replica_id_taken", "no_sink_left", "nothing_left", "state_unusable"];

/// How often each was done.
pub(super) type Done = BTreeMap<Fault, u64>;

/// How often the daemon was killed, and how often a server was.
pub(super) fn kills(done: &Done) -> (u64, u64) {
    let count = |faults: &[Fault]| faults.iter().filter_map(|fault| done.get(fault)).sum();
    let daemon = [Fault::KillDaemon, Fault::DieAtPlace, Fault::ErrorAtPlace, Fault::LoseState, Fault::OldState];
    (count(&daemon), count(&[Fault::KillDatabase, Fault::KillBroker, Fault::FailOver]))
}

/// What the log may hold after what was done.
pub(super) fn expected(done: &Done) -> Vec<&'static str> {
    let mut lines = EXPECTED.to_vec();
    let was_done = |faults: &[Fault]| faults.iter().any(|fault| done.contains_key(fault));
    if was_done(&[Fault::FullState, Fault::FullLake, Fault::SyncFails]) {
        lines.extend(OF_DISKS);
    }
    if was_done(&OF_A_STORE) {
        lines.extend(OF_STORES);
    }
    if was_done(&[Fault::ClockJumps]) {
        lines.extend(OF_CLOCKS);
    }
    if was_done(&[Fault::SecondDaemon]) {
        lines.extend(OF_TWO);
    }
    if was_done(&[Fault::ErrorAtPlace]) {
        lines.push("`, which is armed to fail");
    }
    lines
}
