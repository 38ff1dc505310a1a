//! Every row of the table of decisions, and every refusal. PG-80, PG-81, PG-82.

use super::*;
use std::collections::BTreeMap;
use std::sync::Arc;
use tidewire_core::source::SinkProgress;
use tidewire_core::{ErrorKind, Mark, Progress, TableProgress, TableState};

const IDENTITY: ServerIdentity = ServerIdentity { system_id: 7, timeline: 1 };

fn table(name: &str) -> TableName {
    TableName::new("public", name)
}

fn slot(confirmed: u64) -> Slot {
    Slot {
        plugin: Some("pgoutput".to_owned()),
        slot_type: Some("logical".to_owned()),
        database: Some("shop".to_owned()),
        restart_lsn: Some(Lsn(confirmed.saturating_sub(50)).to_string()),
        confirmed_flush_lsn: Some(Lsn(confirmed).to_string()),
        wal_status: Some("reserved".to_owned()),
        ..Slot::default()
    }
}

fn server(slot: Option<Slot>) -> ServerState {
    ServerState {
        identity: IDENTITY,
        flushed: Lsn(10_000),
        switches: Vec::new(),
        database: "shop".to_owned(),
        source: "shop".to_owned(),
        slot_name: "s".to_owned(),
        slot,
    }
}

fn progress(position: Option<u64>, tables: &[(&str, TableState, u64)]) -> Progress {
    let tables = tables.iter().map(|(name, state, floor)| {
        (table(name).to_string(), TableProgress { state: *state, floor: IDENTITY.boundary(Lsn(*floor)) })
    });
    Progress {
        position: position.map(|lsn| IDENTITY.boundary(Lsn(lsn))),
        tables: tables.collect(),
        ..Progress::default()
    }
}

fn resume(sinks: Vec<Progress>) -> Resume {
    let sinks = sinks.into_iter().enumerate();
    let sinks = sinks.map(|(n, progress)| SinkProgress { sink: Arc::from(format!("k{n}")), progress });
    Resume { sinks: sinks.collect(), accept_server_position: false }
}

fn decide(resume: &Resume, server: &ServerState) -> Result<Plan> {
    plan(resume, server, &[table("a"), table("b")], SnapshotMode::Initial)
}

fn refusal(resume: &Resume, server: &ServerState) -> (&'static str, ErrorKind) {
    let error = decide(resume, server).unwrap_err();
    (error.code(), error.kind())
}

#[test]
fn a_first_start_creates_the_slot_and_reads_everything() {
    let plan = decide(&resume(vec![Progress::default()]), &server(None)).unwrap();
    let tables = vec![table("a"), table("b")];
    assert_eq!(plan, Plan { slot: SlotUse::Create, start: Start::Snapshot, tables });
}

#[test]
fn a_slot_left_by_a_killed_first_start_is_kept() {
    let plan = decide(&resume(vec![Progress::default()]), &server(Some(slot(100)))).unwrap();
    assert_eq!((plan.slot, plan.start, plan.tables.len()), (SlotUse::Keep, Start::Snapshot, 2));
    let never = super::plan(&resume(vec![]), &server(Some(slot(100))), &[table("a")], SnapshotMode::Never).unwrap();
    assert_eq!((never.start, never.tables.len()), (Start::At(Lsn(100)), 0));
}

#[test]
fn pg_18_a_restart_reads_only_what_a_sink_misses_and_starts_at_the_lowest_place() {
    use TableState::{Done, Reading};
    let one = progress(Some(300), &[("a", Done, 100), ("b", Done, 100)]);
    let other = progress(None, &[("a", Done, 100), ("b", Reading, 100)]);
    let plan = decide(&resume(vec![one.clone(), other]), &server(Some(slot(100)))).unwrap();
    assert_eq!(plan, Plan { slot: SlotUse::Keep, start: Start::At(Lsn(100)), tables: vec![table("b")] });
    let plan = decide(&resume(vec![one]), &server(Some(slot(100)))).unwrap();
    assert_eq!(plan, Plan { slot: SlotUse::Keep, start: Start::At(Lsn(300)), tables: vec![] });
}

#[test]
fn pg_67_a_slot_that_came_back_behind_is_fine() {
    let held = resume(vec![progress(Some(300), &[("a", TableState::Done, 1), ("b", TableState::Done, 1)])]);
    assert_eq!(decide(&held, &server(Some(slot(250)))).unwrap().start, Start::At(Lsn(300)));
}

#[test]
fn pg_01_pg_04_pg_61_lost_and_foreign_slots_are_refused() {
    let held = resume(vec![progress(Some(300), &[])]);
    assert_eq!(refusal(&held, &server(None)), ("slot_missing", ErrorKind::Operator));
    let mut recreated = slot(400);
    recreated.restart_lsn = Some(Lsn(350).to_string());
    assert_eq!(refusal(&held, &server(Some(recreated))).0, "slot_recreated");
    let mut advanced = slot(400);
    advanced.restart_lsn = Some(Lsn(200).to_string());
    assert_eq!(refusal(&held, &server(Some(advanced.clone()))).0, "slot_ahead_of_sink");
    let accepted = Resume { accept_server_position: true, ..held };
    assert_eq!(decide(&accepted, &server(Some(advanced))).unwrap().start, Start::At(Lsn(400)));
}

#[test]
fn pg_02_pg_05_unusable_slots_are_refused() {
    let nothing = resume(vec![]);
    type Edit = fn(&mut Slot);
    let edits: [(&str, Edit); 9] = [
        ("slot_unusable", |slot| slot.plugin = Some("test_decoding".to_owned())),
        ("slot_unusable", |slot| slot.slot_type = Some("physical".to_owned())),
        ("slot_unusable", |slot| slot.database = Some("other".to_owned())),
        ("slot_unusable", |slot| slot.temporary = true),
        ("slot_unusable", |slot| slot.two_phase = true),
        ("slot_lost", |slot| slot.wal_status = Some("lost".to_owned())),
        ("slot_lost", |slot| slot.invalidation_reason = Some("idle_timeout".to_owned())),
        ("slot_lost", |slot| slot.conflicting = Some(true)),
        ("slot_lost", |slot| slot.restart_lsn = None),
    ];
    for (code, edit) in edits {
        let mut slot = slot(100);
        edit(&mut slot);
        assert_eq!(refusal(&nothing, &server(Some(slot))), (code, ErrorKind::Operator));
    }
    let mut half_made = slot(100);
    (half_made.restart_lsn, half_made.confirmed_flush_lsn) = (None, None);
    assert_eq!(refusal(&nothing, &server(Some(half_made))), ("slot_unready", ErrorKind::Retry));
}

#[test]
fn pg_06_pg_07_another_history_is_refused() {
    let held = resume(vec![progress(Some(300), &[])]);
    let mut other = server(Some(slot(100)));
    other.identity.system_id = 8;
    assert_eq!(refusal(&held, &other).0, "system_identifier_mismatch");
    let mut restored = server(Some(slot(100)));
    restored.flushed = Lsn(299);
    assert_eq!(refusal(&held, &restored).0, "server_behind");
    let mut promoted = server(Some(slot(100)));
    promoted.identity.timeline = 2;
    assert_eq!(refusal(&held, &promoted).0, "timeline_changed");
    promoted.switches = vec![(1, Lsn(299))];
    promoted.slot = Some(Slot { failover: true, synced: true, ..slot(100) });
    assert_eq!(refusal(&held, &promoted).0, "timeline_changed");
    promoted.switches = vec![(1, Lsn(300))];
    assert_eq!(decide(&held, &promoted).unwrap().start, Start::At(Lsn(300)));
}

#[test]
fn pg_81_every_place_of_a_sink_lies_before_the_promotion() {
    let mut promoted = server(Some(Slot { failover: true, synced: true, ..slot(100) }));
    (promoted.identity.timeline, promoted.switches) = (2, vec![(1, Lsn(400))]);
    let behind = |position| Progress {
        behind: BTreeMap::from([(table("a").to_string(), IDENTITY.boundary(Lsn(200)))]),
        ..progress(Some(position), &[])
    };
    let read = |position, floor| progress(position, &[("a", TableState::Done, 50), ("b", TableState::Done, floor)]);
    let cases = [
        (behind(400), true),
        (behind(401), false),
        (read(Some(300), 400), true),
        (read(Some(300), 401), false),
        (read(None, 401), false),
    ];
    for (number, (progress, is_served)) in cases.into_iter().enumerate() {
        let decided = decide(&resume(vec![progress]), &promoted);
        let code = decided.err().map(|error| error.code());
        assert_eq!(code, (!is_served).then_some("timeline_changed"), "case {number}");
    }
    // A floor of before the slot's place is long behind: nothing is compared with it.
    let mut slot = slot(250);
    (slot.failover, slot.synced) = (true, true);
    promoted.slot = Some(slot);
    assert!(decide(&resume(vec![read(Some(300), 100)]), &promoted).is_ok());
}

/// The log ends just before the commit record of a transaction of which a sink holds a part.
#[test]
fn pg_81_a_transaction_that_is_held_in_part_is_whole_on_the_server() {
    let mut inside = progress(None, &[]);
    inside.position = Some(IDENTITY.position(Mark { major: 300, minor: 17 }));
    let held = resume(vec![inside]);
    let mut restored = server(Some(slot(100)));
    let mut promoted = server(Some(Slot { failover: true, synced: true, ..slot(100) }));
    promoted.identity.timeline = 2;
    for (end, is_served) in [(300, false), (301, true)] {
        restored.flushed = Lsn(end);
        assert_eq!(decide(&held, &restored).is_ok(), is_served, "{end}");
        promoted.switches = vec![(1, Lsn(end))];
        assert_eq!(decide(&held, &promoted).is_ok(), is_served, "{end}");
    }
}

#[test]
fn pg_60_a_place_inside_a_transaction_asks_for_the_whole_transaction() {
    let mut held = progress(None, &[]);
    held.position = Some(IDENTITY.position(Mark { major: 500, minor: 17 }));
    assert_eq!(decide(&resume(vec![held]), &server(Some(slot(500)))).unwrap().start, Start::At(Lsn(500)));
}

#[test]
fn pg_82_the_remedy_follows_the_reason() {
    for (reason, conflicting, remedy) in [
        (None, false, "max_slot_wal_keep_size"),
        (Some("wal_removed"), false, "max_slot_wal_keep_size"),
        (Some("idle_timeout"), false, "idle_replication_slot_timeout"),
        (Some("rows_removed"), true, "hot_standby_feedback"),
        (Some("wal_level_insufficient"), true, "wal_level"),
        // 16 has no word for it.
        (None, true, "hot_standby_feedback"),
    ] {
        let mut lost = slot(100);
        (lost.wal_status, lost.conflicting) = (Some("lost".to_owned()), Some(conflicting));
        lost.invalidation_reason = reason.map(str::to_owned);
        let error = decide(&resume(vec![progress(None, &[])]), &server(Some(lost))).unwrap_err();
        let said = error.remedy().unwrap_or_default();
        assert!(said.contains(remedy), "{reason:?}: {said}");
        assert_eq!(said.contains("max_slot_wal_keep_size"), remedy == "max_slot_wal_keep_size", "{reason:?}: {said}");
    }
}
