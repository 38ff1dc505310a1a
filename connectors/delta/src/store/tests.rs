//! One contract, every backend: create-only, whole or absent, listed in order.

use super::*;
use std::cell::Cell;
use std::fs::File;
use std::io::Write;
use std::process::Command;
use std::rc::Rc;
use tempfile::TempDir;
use tidewire_core::ErrorKind;

fn backends() -> Vec<(TempDir, TableStore)> {
    let local = || {
        let directory = tempfile::tempdir().unwrap();
        let url = Url::from_directory_path(directory.path()).unwrap();
        let store = Store::open(&url, &BTreeMap::new()).unwrap().table("a b/100%25/t");
        (directory, store)
    };
    let bucket = || {
        let prefix = bucket::BucketPrefix::in_memory("pre/fix");
        (tempfile::tempdir().unwrap(), Store::new(Backend::Bucket(prefix)).table("a b/100%25/t"))
    };
    vec![local(), bucket()]
}

fn names(store: &TableStore, prefix: &str, after: &str) -> Vec<String> {
    store.list(prefix, after).unwrap().into_iter().map(|object| object.name).collect()
}

#[test]
fn a_taken_name_keeps_its_content_sk_36() {
    for (_directory, store) in backends() {
        assert_eq!(store.put_new("_delta_log/0.json", "first".into()).unwrap(), Created::Yes);
        assert_eq!(store.put_new("_delta_log/0.json", "second".into()).unwrap(), Created::Exists);
        assert_eq!(store.put_new_in_place("_delta_log/0.json", "second".into()).unwrap(), Created::Exists);
        assert_eq!(store.get("_delta_log/0.json").unwrap().unwrap(), "first");
        store.probe_create_only().unwrap();
    }
}

#[test]
fn objects_are_read_listed_and_removed() {
    for (_directory, store) in backends() {
        assert_eq!(store.get("x").unwrap(), None);
        assert_eq!(store.get_range("x", 0..1).unwrap(), None);
        assert_eq!(store.head("x").unwrap(), None);
        assert!(names(&store, "_delta_log", "").is_empty());
        store.delete("x").unwrap();
        for name in ["2.json", "10.json", "1.json"] {
            store.put_new(&format!("_delta_log/{name}"), name.as_bytes().to_vec().into()).unwrap();
        }
        store.put_new("_delta_log/deeper/1.json", "".into()).unwrap();
        store.put_new("part", "0123456789".into()).unwrap();
        assert_eq!(names(&store, "_delta_log", ""), ["1.json", "10.json", "2.json"]);
        assert_eq!(names(&store, "_delta_log", "1.json"), ["10.json", "2.json"]);
        assert_eq!(names(&store, "", ""), ["part"]);
        assert_eq!(store.get_range("part", 3..5).unwrap().unwrap(), "34");
        assert_eq!(store.get_range("part", 8..20).unwrap().unwrap(), "89");
        let before = store.head("part").unwrap().unwrap();
        assert_eq!((before.name.as_str(), before.size), ("part", 10));
        store.put("part", "abc".into()).unwrap();
        assert_ne!(store.head("part").unwrap().unwrap().identity, before.identity);
        store.delete("part").unwrap();
        assert_eq!(store.get("part").unwrap(), None);
    }
}

#[test]
fn objects_are_shown_until_enough_are_seen() {
    for (_directory, store) in backends() {
        for name in ["3.json", "1.json", "2.json", "deeper/9.json", "4.json"] {
            store.put_new(&format!("_delta_log/{name}"), "text".into()).unwrap();
        }
        let shown = |after: &str, enough: usize| {
            let mut seen = Vec::new();
            let more = &mut |object: &Object| {
                seen.push((object.name.clone(), object.size));
                seen.len() < enough
            };
            store.show("_delta_log", after, more).unwrap();
            seen
        };
        let of = |names: &[&str]| names.iter().map(|name| ((*name).to_owned(), 4)).collect::<Vec<_>>();
        assert_eq!(shown("", 9), of(&["1.json", "2.json", "3.json", "4.json"]));
        assert_eq!(shown("", 2), of(&["1.json", "2.json"]));
        assert_eq!(shown("2.", 9), of(&["2.json", "3.json", "4.json"]));
        assert_eq!(shown("4.json", 9), of(&[]));
        store.show("nowhere", "", &mut |_| panic!("nothing is there")).unwrap();
    }
}

#[test]
fn many_are_removed_together() {
    for (_directory, store) in backends() {
        let all: Vec<String> = (0..100).map(|at| format!("p={}/{at}", at % 3)).collect();
        // Some are not there.
        for name in all.iter().step_by(2) {
            store.put_new(name, "x".into()).unwrap();
        }
        store.put_new("p=0/kept", "x".into()).unwrap();
        store.delete_all(&all).unwrap();
        let left = store.list_below("p=0").unwrap();
        assert_eq!(left.iter().map(|object| object.name.as_str()).collect::<Vec<_>>(), ["kept"]);
        assert!(["p=1", "p=2"].iter().all(|folder| store.list_below(folder).unwrap().is_empty()));
        assert!(store.delete_all(&["p=0/kept".to_owned(), "../out".to_owned()]).is_err());
        store.delete_all([]).unwrap();
    }
}

#[test]
fn a_folder_is_listed_with_all_that_are_in_it() {
    for (_directory, store) in backends() {
        assert!(store.list_below("_change_data").unwrap().is_empty());
        for name in ["_change_data/b", "_change_data/a=1/c=2/d", "_change_data/a=2/e", "_change_data_not", "a=1/f"] {
            store.put_new(name, "x".into()).unwrap();
        }
        let found = store.list_below("_change_data").unwrap();
        let names: Vec<&str> = found.iter().map(|object| object.name.as_str()).collect();
        assert_eq!(names, ["a=1/c=2/d", "a=2/e", "b"]);
        assert_eq!(self::names(&store, "_change_data", ""), ["b"]);
    }
}

/// Names of files as logs have them, the last as Spark spells it, and the stores' own.
const ODD: [(&str, &str); 5] = [
    ("c=New%2520York/part", "c=New%20York/part"),
    ("c=%25C3%25A9/d=%252F%252E%25/part", "c=%C3%A9/d=%2F%2E%/part"),
    ("c=a%2520b%252520/part", "c=a%20b%2520/part"),
    ("c=%E6%97%A5%20%3A%27/part", "c=日 :'/part"),
    ("c=New%20York/part", "c=New York/part"),
];

#[test]
fn files_are_called_what_logs_call_them() {
    for (directory, store) in backends() {
        let root = directory.path().join("a b/100%25/t");
        for (number, (name, stored)) in ODD.into_iter().enumerate() {
            match number % 2 {
                0 => assert_eq!(store.put_new(name, name.into()).unwrap(), Created::Yes),
                _ => store.put_file(name, name.as_bytes()).unwrap(),
            }
            assert_eq!(store.put_new(name, "again".into()).unwrap(), Created::Exists);
            assert_eq!(store.get(name).unwrap().unwrap(), name);
            assert_eq!(store.get_range(name, 0..3).unwrap().unwrap(), name.as_bytes()[..3]);
            let found = store.head_both(name, "part").unwrap();
            assert_eq!((found.0.as_ref().map(|object| &*object.name), found.1), (Some(name), None));
            let (folder, _) = name.rsplit_once('/').unwrap();
            assert_eq!((names(&store, folder, ""), names(&store, folder, "part")), (vec!["part".to_owned()], vec![]));
            assert!(store.place(name).ends_with(stored), "{}", store.place(name));
            if let Some(file) = store.local_file(name).unwrap() {
                assert!(file == root.join(stored) && file.is_file());
            }
        }
        // In the order of the store's names, by those that the log has.
        let mut expected = ODD;
        expected.sort_by_key(|(_, stored)| *stored);
        let listed = store.list_below("").unwrap().into_iter().map(|object| object.name).collect::<Vec<_>>();
        assert_eq!(listed, expected.map(|(name, _)| name));
        for (name, _) in ODD {
            store.delete(name).unwrap();
            assert_eq!(store.head(name).unwrap(), None);
        }
        assert!(store.list_below("").unwrap().is_empty());
    }
}

#[test]
fn a_name_that_leaves_the_table_is_refused() {
    for (directory, store) in backends() {
        store.put_new("part", "rows".into()).unwrap();
        std::fs::create_dir_all(directory.path().join("a b/100%25")).unwrap();
        std::fs::write(directory.path().join("a b/100%25/secret"), "x").unwrap();
        for name in [
            "../secret",
            "%2E%2E/secret",
            "..%2Fsecret",
            "/etc/passwd",
            "file:///etc/passwd",
            "./part",
            "c//part",
            "%",
            "%E9",
            "%00",
        ] {
            let refused = [
                store.get(name).map(drop),
                store.get_range(name, 0..1).map(drop),
                store.head(name).map(drop),
                store.head_both("part", name).map(drop),
                store.list(name, "").map(drop),
                store.list_below(name).map(drop),
                store.put_new(name, "x".into()).map(drop),
                store.put_new_in_place(name, "x".into()).map(drop),
                store.put(name, "x".into()),
                store.put_file(name, b"x"),
                store.local_file(name).and_then(|_| store.delete(name)),
            ];
            for (call, outcome) in refused.into_iter().enumerate() {
                assert_eq!(outcome.unwrap_err().code(), "delta_table_damaged", "{name}, call {call}");
            }
            assert!(!store.delete_unnamed(name));
            assert!(!store.place(name).is_empty());
        }
    }
}

/// A listing passes over what no log can name.
#[test]
fn names_that_no_log_can_have_are_not_listed() {
    let (directory, store) = backends().swap_remove(0);
    store.put_new("c=1/part", "rows".into()).unwrap();
    let root = directory.path().join("a b/100%25/t");
    std::fs::write(root.join("line\nfeed"), "x").unwrap();
    std::fs::create_dir(root.join("c=\t")).unwrap();
    std::fs::write(root.join("c=\t/part"), "x").unwrap();
    assert!(names(&store, "", "").is_empty());
    assert_eq!(store.list_below("").unwrap().len(), 1);
}

#[test]
fn a_data_file_appears_whole_or_not_at_all_sk_32() {
    for (_directory, store) in backends() {
        for size in [0, 10, (20 << 20) + 1] {
            let name = format!("part-{size}");
            let mut file = store.data_file(&name).unwrap();
            let content: Vec<u8> = (0..size).map(|n: usize| n as u8).collect();
            content.chunks(1 << 20).for_each(|chunk| file.write_all(chunk).unwrap());
            assert_eq!(store.get(&name).unwrap(), None, "not before its end");
            assert_eq!(file.finish().unwrap(), size as u64);
            assert_eq!(store.get(&name).unwrap().unwrap(), content);
        }
        let mut dropped = store.data_file("dropped").unwrap();
        dropped.write_all(&vec![1; 9 << 20]).unwrap();
        drop(dropped);
        assert_eq!(store.get("dropped").unwrap(), None);
        assert_eq!(names(&store, "", "").len(), 3, "no temporary names are left");
    }
}

#[test]
fn a_directory_that_is_gone_is_not_made_again_sk_3a() {
    let (_directory, store) = backends().swap_remove(0);
    assert_eq!(store.put_new_in_place("_delta_log/1.json", "x".into()).unwrap_err().code(), "storage_missing");
    assert!(!store.local_path().unwrap().exists());
}

/// SK-38, SK-53: what cannot be made durable gets no name.
#[test]
fn a_name_whose_directory_cannot_be_synced_is_not_made() {
    const CHILD: &str = "TIDEWIRE_TEST_FEW_FILES";
    if std::env::var_os(CHILD).is_none() {
        // The limit of open files is the process's, so it is met in one of its own.
        let test = "store::tests::a_name_whose_directory_cannot_be_synced_is_not_made";
        let mut child = Command::new("sh");
        child.args(["-c", "ulimit -n 64 && exec \"$0\" --exact \"$1\" --test-threads 1"]);
        let output = child.arg(std::env::current_exe().unwrap()).arg(test).env(CHILD, "1").output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success() && text.contains("1 passed"), "{text}");
        return;
    }
    let (_directory, store) = backends().swap_remove(0);
    store.put_new("0", "x".into()).unwrap();
    // One file can be opened beside these: the new one, not its directory after it.
    let mut open: Vec<File> = std::iter::from_fn(|| File::open("/dev/null").ok()).collect();
    open.pop();
    let outcomes = [store.put_new("1", "x".into()).map(|_| ()), store.put("0", "y".into())];
    drop(open);
    for outcome in outcomes {
        assert_eq!(outcome.unwrap_err().kind(), ErrorKind::Retry);
    }
    assert_eq!(store.get("1").unwrap(), None);
    assert_eq!(store.get("0").unwrap().unwrap(), "x");
    assert_eq!(names(&store, "", ""), ["0"]);
}

/// A data file's name becomes durable together with others, but before an entry that tells of it: where that cannot be
/// done there is no entry.
#[test]
fn sk_38_no_entry_outlives_the_names_before_it() {
    let (directory, store) = backends().swap_remove(0);
    store.put_new("_delta_log/0.json", "0".into()).unwrap();
    let mut file = store.data_file("part/x=1/a").unwrap();
    file.write_all(b"rows").unwrap();
    file.finish().unwrap();
    store.put_file("vectors", b"bits").unwrap();
    let Backend::Local(local) = &store.backend else { panic!("the first is local") };
    assert_eq!(local.unsynced().len(), 2);
    // A directory that cannot be opened cannot be synced.
    let parent = directory.path().join("a b/100%25/t/part/x=1");
    let away = directory.path().join("away");
    std::fs::rename(&parent, &away).unwrap();
    std::os::unix::fs::symlink(&parent, &parent).unwrap();
    assert!(store.put_new("_delta_log/1.json", "1".into()).is_err());
    assert!(store.put("hint", "1".into()).is_err());
    assert_eq!(store.get("_delta_log/1.json").unwrap(), None);
    std::fs::remove_file(&parent).unwrap();
    std::fs::rename(&away, &parent).unwrap();
    assert_eq!(store.put_new("_delta_log/1.json", "1".into()).unwrap(), Created::Yes);
    assert!(local.unsynced().is_empty());
}

/// Data files wait to be synced together, but not for ever, and not where readers find them without an entry.
#[test]
fn what_readers_find_by_its_name_is_synced_before_it_has_one_sk_34() {
    let (_directory, store) = backends().swap_remove(0);
    store.put_new("_delta_log/0.json", "0".into()).unwrap();
    let syncs = Rc::new(Cell::new(0));
    let count = Rc::clone(&syncs);
    let finish = |name: &str| store.put_file(name, b"rows").unwrap();
    power::watch(
        move |_| count.set(count.get() + 1),
        || {
            (1..8).for_each(|number| finish(&format!("part-{number}")));
            assert_eq!(syncs.get(), 0);
            finish("_delta_log/1.checkpoint.parquet");
            assert_eq!(syncs.get(), 1);
            finish("part-8");
            assert_eq!(syncs.get(), 1 + 8);
            finish("part-9");
            store.put_new("_delta_log/1.json", "1".into()).unwrap();
            // Two files and two directories, then the entry's.
            assert_eq!(syncs.get(), 9 + 2 + 2 + 1);
        },
    );
}

#[test]
fn locations_are_checked() {
    let code = |location: &str, options: &[(&str, &str)]| {
        let options = options.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        Store::open(&Url::parse(location).unwrap(), &options).err().map(|error| error.code())
    };
    assert_eq!(code("file:///srv/lake", &[]), None);
    assert_eq!(code("ftp://host/lake", &[]), Some("location_scheme"));
    let local =
        [("aws_endpoint_url", "http://127.0.0.1:1"), ("aws_access_key_id", "a"), ("aws_secret_access_key", "b")];
    assert_eq!(code("s3://bucket/lake", &local), None);
    let unsafe_rename = [local.as_slice(), &[("AWS_S3_ALLOW_UNSAFE_RENAME", "true")]].concat();
    assert_eq!(code("s3://bucket/lake", &unsafe_rename), Some("storage_settings"));
    let azure = [("azure_storage_account_name", "account"), ("azure_storage_account_key", "a2V5")];
    for location in ["az://container/lake", "abfs://container/lake", "abfss://container@a.dfs.core.windows.net/lake"] {
        assert_eq!(code(location, &azure), None, "{location}");
    }
    assert_eq!(code("az://container/lake", &[("azure_storage_account_key", "a2V5")]), Some("storage_settings"));
    assert_eq!(code("az://container/lake", &[azure[0], ("account_key", "no base64")]), Some("storage_settings"));
    let google = r#"{"client_email": "", "private_key": "", "private_key_id": "", "disable_oauth": true}"#;
    assert_eq!(code("gs://bucket/lake", &[("google_service_account_key", google)]), None);
    assert_eq!(code("gs://bucket/lake", &[("google_service_account_key", "no JSON")]), Some("storage_settings"));
    assert_eq!(code("gs://bucket/lake", &[("google_service_account", "/no/such/file")]), Some("storage_settings"));
}

#[test]
fn places_keep_the_container_and_their_percent_signs() {
    for (location, place) in [
        ("s3://bucket/lake", "s3://bucket/lake/a%2Fb/x"),
        ("gs://bucket/lake/", "gs://bucket/lake/a%2Fb/x"),
        ("az://container", "az://container/a%2Fb/x"),
        (
            "abfss://container@account.dfs.core.windows.net/lake",
            "abfss://container@account.dfs.core.windows.net/lake/a%2Fb/x",
        ),
    ] {
        let options = [
            ("aws_region", "r"),
            ("aws_access_key_id", "a"),
            ("aws_secret_access_key", "b"),
            ("account_name", "account"),
            ("account_key", "a2V5"),
            (
                "google_service_account_key",
                r#"{"client_email": "", "private_key": "", "private_key_id": "", "disable_oauth": true}"#,
            ),
        ];
        let options = options.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let table = Store::open(&Url::parse(location).unwrap(), &options).unwrap().table("a%2Fb");
        assert_eq!(table.place("x"), place);
    }
}
