use super::facts::{Facts, Names, PublicationFacts, RelationFacts, ServerFacts, SlotFacts};
use super::*;
use crate::identities::Narrow;
use tidewire_core::{Severity, TableName};

fn healthy() -> Facts {
    let relation = RelationFacts {
        oid: 1,
        name: TableName::new("public", "t"),
        kind: 'r',
        persistence: 'p',
        identity: 'd',
        root: None,
        row_security: false,
        readable: true,
        schema_usable: true,
        owned: true,
        primary_key: true,
        identity_index: false,
        toastable: false,
        generated: Vec::new(),
        folding: Vec::new(),
        column_list: false,
        row_filter: None,
    };
    Facts {
        server: ServerFacts {
            version_num: 170_006,
            wal_level: "logical".to_owned(),
            slots_max: 10,
            slots: 1,
            senders_max: 10,
            senders: 1,
            in_recovery: false,
            slot_wal_keep_mib: 1024,
            idle_slot_timeout_s: 0,
            user: "cdc".to_owned(),
            may_replicate: true,
            bypasses_row_security: false,
            may_create: true,
            database: "shop".to_owned(),
            encoding: "UTF8".to_owned(),
            standby_feedback: false,
        },
        slot: None,
        publication: Some(PublicationFacts {
            oid: 9,
            inserts: true,
            updates: true,
            deletes: true,
            truncates: true,
            via_root: true,
        }),
        published: vec![PublishedTable {
            oid: 1,
            name: TableName::new("public", "t"),
            rows_estimated: 0,
            pages_estimated: 0,
        }],
        relations: vec![relation],
        narrow: Vec::new(),
    }
}

fn codes(change: impl FnOnce(&mut Facts)) -> Vec<&'static str> {
    codes_for(&["public.*"], change)
}

fn codes_for(patterns: &[&str], change: impl FnOnce(&mut Facts)) -> Vec<&'static str> {
    let mut facts = healthy();
    change(&mut facts);
    let names = Names { slot: "tidewire_shop", publication: "tidewire_shop" };
    let mut findings = server::findings(&facts, names);
    findings.extend(tables::findings(&facts, &TableFilter::parse(patterns).unwrap(), names.publication));
    assert!(findings.iter().all(|finding| finding.remedy.as_deref().is_some_and(|remedy| !remedy.is_empty())));
    findings.iter().map(|finding| finding.code).collect()
}

fn slot() -> SlotFacts {
    SlotFacts {
        plugin: Some("pgoutput".to_owned()),
        logical: true,
        database: Some("shop".to_owned()),
        ..SlotFacts::default()
    }
}

#[test]
fn a_healthy_server_gives_no_finding() {
    assert_eq!(codes(|_| {}), Vec::<&str>::new());
    assert_eq!(codes(|facts| facts.slot = Some(slot())), Vec::<&str>::new());
}

#[test]
fn pg_17_each_lack_has_its_own_code() {
    let one = |code: &'static str, change: fn(&mut Facts)| assert_eq!(codes(change), [code]);
    one("wal_level_not_logical", |facts| facts.server.wal_level = "replica".to_owned());
    one("slots_exhausted", |facts| facts.server.slots = 10);
    one("senders_exhausted", |facts| facts.server.senders = 10);
    one("role_lacks_replication", |facts| facts.server.may_replicate = false);
    one("table_not_readable", |facts| facts.relations[0].readable = false);
    one("schema_not_usable", |facts| facts.relations[0].schema_usable = false);
    one("row_level_security", |facts| facts.relations[0].row_security = true);
    one("server_version_unsupported", |facts| facts.server.version_num = 120_022);
    one("server_outdated", |facts| facts.server.version_num = 170_005);
    one("server_is_standby", |facts| {
        facts.server.version_num = 150_018;
        facts.server.in_recovery = true;
    });
    // PG-82
    one("standby_feedback_off", |facts| facts.server.in_recovery = true);
    one("wal_retention_unlimited", |facts| facts.server.slot_wal_keep_mib = -1);
    one("idle_replication_slot_timeout", |facts| facts.server.idle_slot_timeout_s = 60);
    one("publication_lacks_operation", |facts| facts.publication.as_mut().unwrap().truncates = false);
    // Rights that row security does not need.
    assert!(
        codes(|facts| {
            facts.relations[0].row_security = true;
            facts.server.bypasses_row_security = true;
        })
        .is_empty()
    );
}

/// PG-45, PG-87: the last minor of each major that leaves changes out, and the first that does not; of 13 there is none.
#[test]
fn pg_45_servers_that_lose_changes_themselves_are_named() {
    for (version_num, outdated) in [
        (130_021, true),
        (130_023, true),
        (140_018, true),
        (140_019, false),
        (150_013, true),
        (150_014, false),
        (160_009, true),
        (160_010, false),
        (170_000, true),
        (170_005, true),
        (170_006, false),
        (180_000, false),
    ] {
        let expect: &[&str] = if outdated { &["server_outdated"] } else { &[] };
        assert_eq!(codes(|facts| facts.server.version_num = version_num), expect, "{version_num}");
    }
}

#[test]
fn pg_02_05_slots_that_cannot_be_used() {
    let one = |code: &'static str, change: fn(&mut SlotFacts)| {
        let mut facts = slot();
        change(&mut facts);
        assert_eq!(codes(|all| all.slot = Some(facts)), [code]);
    };
    one("slot_unusable", |slot| slot.plugin = Some("test_decoding".to_owned()));
    one("slot_unusable", |slot| slot.database = Some("other".to_owned()));
    one("slot_unusable", |slot| slot.logical = false);
    one("slot_unusable", |slot| slot.temporary = true);
    one("slot_unusable", |slot| slot.two_phase = true);
    one("slot_lost", |slot| slot.lost = true);
}

#[test]
fn pg_09_10b_a_publication_is_never_made_behind_a_slot() {
    let severity = |change: fn(&mut Facts)| {
        let mut facts = healthy();
        facts.publication = None;
        facts.published.clear();
        change(&mut facts);
        let findings = tables::findings(&facts, &TableFilter::all(), "p");
        findings.into_iter().find(|finding| finding.code == "publication_missing").unwrap().severity
    };
    assert_eq!(severity(|_| {}), Severity::Warning);
    assert_eq!(severity(|facts| facts.server.may_create = false), Severity::Error);
    assert_eq!(severity(|facts| facts.relations[0].owned = false), Severity::Error);
    assert_eq!(severity(|facts| facts.slot = Some(slot())), Severity::Error);
}

#[test]
fn tables_are_looked_at_one_by_one() {
    let one = |code: &'static str, change: fn(&mut RelationFacts)| {
        assert_eq!(codes(|facts| change(&mut facts.relations[0])), [code]);
    };
    one("table_without_key", |t| t.primary_key = false);
    one("table_without_key", |t| t.identity = 'n');
    one("toast_key_change", |t| t.toastable = true);
    one("generated_column_unpublished", |t| t.generated = vec!["g".to_owned()]);
    one("columns_fold_together", |t| t.folding = vec!["A".to_owned(), "a".to_owned()]);
    one("column_list", |t| t.column_list = true);
    one("row_filter", |t| t.row_filter = Some("(id > 10)".to_owned()));
    one("table_without_primary_key", |t| {
        t.identity = 'f';
        t.primary_key = false;
    });
    // PG-37.
    let on_18 = codes(|facts| {
        facts.server.version_num = 180_004;
        facts.relations[0].identity = 'f';
        facts.relations[0].generated = vec!["g".to_owned()];
    });
    assert_eq!(on_18, ["generated_column_in_identity"]);
    // PG-2A: append-only publications need no key.
    let inserts_only = codes(|facts| {
        facts.relations[0].primary_key = false;
        let publication = facts.publication.as_mut().unwrap();
        (publication.updates, publication.deletes) = (false, false);
    });
    assert_eq!(inserts_only, ["publication_lacks_operation"; 2]);
}

/// PG-34: the server takes the table's word for what its partitions have logged.
#[test]
fn pg_34_partitions_that_log_less_than_their_table_says_are_named() {
    let narrow = |table: &str, count: usize| Narrow {
        table: TableName::new("public", table),
        statements: (0..count).map(|leaf| format!("ALTER TABLE \"t_{leaf}\" REPLICA IDENTITY FULL;")).collect(),
    };
    assert_eq!(codes(|facts| facts.narrow = vec![narrow("t", 1)]), ["partition_identity"]);
    assert_eq!(codes_for(&["public.t"], |facts| facts.narrow = vec![narrow("u", 1)]), Vec::<&str>::new());
    assert_eq!(narrow("t", 2).remedy().matches("ALTER TABLE").count(), 2);
    assert!(narrow("t", 30).remedy().ends_with("-- and 10 more, which `tidewire check` names then"));
}

#[test]
fn what_is_named_must_arrive() {
    assert_eq!(codes(|facts| facts.published.clear()), ["table_not_published", "no_table_captured"]);
    assert_eq!(codes_for(&["crm.*"], |_| {}), ["no_table_captured"]);
    // PG-27.
    let view = |facts: &mut Facts| {
        let relation =
            RelationFacts { oid: 2, name: TableName::new("public", "v"), kind: 'v', ..facts.relations[0].clone() };
        facts.relations.push(relation);
    };
    assert_eq!(codes_for(&["public.*", "public.v"], view), ["unsupported_relation_kind"]);
    assert_eq!(codes(view), Vec::<&str>::new());
    // A new table under a glob does not stop those that are read already; one that is named does.
    let unpublished = |patterns: &[&str]| {
        let mut facts = healthy();
        facts.published.clear();
        let findings = tables::findings(&facts, &TableFilter::parse(patterns).unwrap(), "p");
        findings.into_iter().find(|finding| finding.code == "table_not_published").unwrap().severity
    };
    assert_eq!(unpublished(&["public.*"]), Severity::Warning);
    assert_eq!(unpublished(&["public.t"]), Severity::Error);
    // PG-24.
    let partitioned = |facts: &mut Facts| {
        facts.relations[0].kind = 'p';
        let leaf = RelationFacts {
            oid: 2,
            name: TableName::new("public", "t_1"),
            root: Some(1),
            kind: 'r',
            ..facts.relations[0].clone()
        };
        facts.relations.push(leaf);
    };
    assert_eq!(codes(partitioned), Vec::<&str>::new());
    assert_eq!(codes_for(&["public.t_1"], partitioned), ["partition_without_root", "no_table_captured"]);
    let by_leaf = |facts: &mut Facts| {
        partitioned(facts);
        facts.publication.as_mut().unwrap().via_root = false;
        facts.published[0].oid = 2;
        facts.published[0].name = TableName::new("public", "t_1");
    };
    assert_eq!(codes(by_leaf), Vec::<&str>::new());
    assert_eq!(codes_for(&["public.t"], by_leaf), ["root_without_partitions", "no_table_captured"]);
    // What a sink may hold under its own name: a partition, or the root of partitions.
    let elsewhere = |change: &dyn Fn(&mut Facts)| -> Vec<String> {
        let mut facts = healthy();
        change(&mut facts);
        tables::elsewhere(&facts, &TableFilter::all()).map(|relation| relation.name.to_string()).collect()
    };
    assert_eq!(elsewhere(&|_| {}), Vec::<String>::new());
    assert_eq!(elsewhere(&partitioned), ["public.t_1"]);
    assert_eq!(elsewhere(&by_leaf), ["public.t"]);
    assert_eq!(elsewhere(&|facts| facts.published.clear()), Vec::<String>::new());
}
