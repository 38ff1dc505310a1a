//! Values of partitions through a checkpoint, which leaves null out: by the table's names, or by those of data files.

use super::*;

fn schema(name: &str) -> String {
    let mapped = r#"{"delta.columnMapping.id":1,"delta.columnMapping.physicalName":"col-1"}"#;
    format!(
        r#"{{"type":"struct","fields":[{{"name":"{name}","type":"integer","nullable":true,"metadata":{mapped}}},
            {{"name":"id","type":"long","nullable":true,"metadata":{{}}}}]}}"#
    )
}

#[test]
fn null_comes_back_from_a_checkpoint_whatever_the_column_is_called() {
    let mapping = [("delta.columnMapping.mode", "name"), ("delta.columnMapping.maxColumnId", "1")];
    let mapping = mapping.map(|(key, value)| (key.to_owned(), value.to_owned()));
    // Without mapping the note of a field's name in files means nothing.
    for (configuration, key, later) in [(BTreeMap::new(), "p", "p"), (mapping.into(), "col-1", "q")] {
        let directory = tempfile::tempdir().unwrap();
        let by = |name: &str| vec![name.to_owned()];
        let new = NewTable { schema_string: schema("p"), partition_columns: by("p"), configuration, ..new_table() };
        let mut table = Table::create(store(&directory), new, commit(0)).unwrap();
        let values = |value: Option<&str>| Partition::new([(key.to_owned(), value.map(str::to_owned))].into());
        let of = |path: &str, value: Option<&str>| NewFile { partition: values(value), ..file(path, 1) };
        let adds = vec![of("a.parquet", Some("1")), of("b.parquet", None), of("c.parquet", None)];
        table.commit(Commit { adds, ..commit(1) }).unwrap();
        let (schema_string, partition_columns) = (schema(later), by(later));
        let change = NewMetadata { schema_string, partition_columns, configuration: BTreeMap::new() };
        let removes = vec!["c.parquet".to_owned()];
        table.commit(Commit { metadata: Some(change), removes, ..commit(2) }).unwrap();
        table.checkpoint().unwrap();
        for version in 0..2 {
            table.store().delete(&load::entry_name(version)).unwrap();
        }
        let again = reopen(&directory);
        assert_eq!(again.partition_columns(), by(later));
        let found = again.files().map(|file| (&*file.path, Partition::clone(&file.partition))).collect::<Vec<_>>();
        assert_eq!(found, [("a.parquet", values(Some("1"))), ("b.parquet", values(None))]);
        let removed = again.state.actions().find_map(|action| action.remove).unwrap();
        assert_eq!(removed.partition_values, Some(values(None)));
    }
}
