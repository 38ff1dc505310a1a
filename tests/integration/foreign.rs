//! Other writers on a mirror while the daemon runs: what Spark writes halts the table, and delta-rs does not write at all. SK-35.

use crate::rig::{Rig, Sinks};
use anyhow::{Context, Result, ensure};
use std::path::Path;
use std::process::Command;
use tidewire_testkit::readers::Reader;
use tidewire_testkit::{fetch, oracle, spark};

/// Timestamps and decimals are what writers put down in different ways.
const TABLE: &str = "
    CREATE TABLE kept (id int PRIMARY KEY, v text, price numeric(12,2), at timestamptz, long text);
    ALTER TABLE kept ALTER long SET STORAGE EXTERNAL;
    INSERT INTO kept SELECT n, 'v' || n, n / 3.0, '0999-12-31 23:59:59.999999+00'::timestamptz + n * interval '7 days 1 microsecond',
      repeat(md5(n::text), 100) FROM generate_series(1, 60) n";

fn kept(rig: &Rig) -> String {
    format!("delta.`{}`", rig.table("kept").display())
}

fn delta_rs(script: &str, table: &Path) -> Result<String> {
    let mut python = Command::new(fetch::python::interpreter()?);
    let output = python.args(["-c", script]).arg(table).output().context("run delta-rs")?;
    ensure!(!output.status.success(), "delta-rs wrote to a table of ours");
    Ok(String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn a_write_of_spark_s_halts_its_table_and_delta_rs_does_not_write_sk_35() -> Result<()> {
    let mut rig = Rig::new(Sinks::Lake)?;
    let client = rig.client()?;
    client.execute(TABLE)?;
    rig.daemon.allow_log("table halted");
    rig.daemon.run()?;
    rig.catch_up()?;
    let append = "import sys,pyarrow as pa;from deltalake import write_deltalake as w;w(sys.argv[1],pa.table({'id':pa.array([7000],pa.int32())}),mode='append',schema_mode='merge')";
    let delete = "import sys;from deltalake import DeltaTable as T;T(sys.argv[1]).delete()";
    let vacuum = "import sys;from deltalake import DeltaTable as T;T(sys.argv[1]).vacuum(0,dry_run=False,enforce_retention_duration=False,full=True)";
    // Of the second change's vectors those of the first are left over, for a vacuum to find.
    for value in ["one", "two"] {
        client.execute(&format!("UPDATE kept SET v = '{value}' WHERE id < 9"))?;
        rig.catch_up()?;
    }
    for script in [append, delete, vacuum] {
        let refusal = delta_rs(script, &rig.table("kept"))?;
        ensure!(refusal.to_lowercase().contains("domainmetadata"), "{refusal}");
    }
    oracle::check_mirror(&client, "public", "kept", &rig.table("kept"), &[Reader::Deltalake])?;
    spark::run(&format!("DELETE FROM {} WHERE id = 50", kept(&rig)))?;
    client.execute("UPDATE kept SET v = 'two' WHERE id < 5; INSERT INTO work_log (line) VALUES ('on')")?;
    rig.catch_up()?;
    let log = rig.daemon.log()?;
    let line = log
        .lines()
        .find(|line| line.contains("table halted") && line.contains("public.kept"))
        .context("it is halted")?;
    for part in ["foreign_write", "operation `DELETE`"] {
        ensure!(line.contains(part), "{line} does not say {part}");
    }
    rig.check_lake(&[Reader::Deltalake])?;
    ensure!(rig.daemon.terminate()? == 0);
    Ok(())
}
