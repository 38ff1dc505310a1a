//! Two sources of one sink with tables that would share a topic.

use super::{Bench, SOURCE, must_name, shown};
use anyhow::{Result, anyhow, ensure};
use tidewire_core::{Sink, SinkConnector};
use tidewire_testkit::kafka::Isolation;

/// The second source.
pub(super) const OTHER: &str = "crm";

const TEMPLATE: &str = r#", "topic": "{schema}.{table}""#;

fn open(connector: &dyn SinkConnector, source: &str) -> Result<Box<dyn Sink>> {
    connector.open(source).map(|(sink, _)| sink).map_err(|error| anyhow!("{}", shown(&error)))
}

/// The one that wrote first goes on, whichever starts first later; the other's other tables do as well.
#[test]
fn a_topic_is_never_shared_by_two_sources() -> Result<()> {
    let mut bench = Bench::new()?;
    let connector = bench.connector(TEMPLATE)?;
    let [mut shop, mut crm] = [open(connector.as_ref(), SOURCE)?, open(connector.as_ref(), OTHER)?];
    bench.must_ship(shop.as_mut(), &[("orders", 1, b"shop")])?;
    bench.source = OTHER;
    let error = bench.must_fail(crm.as_mut(), &[("orders", 1, b"crm"), ("leads", 1, b"crm")])?;
    must_name(&error, "topic_collision", "orders", &["source `crm`", "source `shop`", "topic `public.orders`"])?;
    drop(crm);
    let mut crm = open(connector.as_ref(), OTHER)?;
    bench.must_ship(crm.as_mut(), &[("leads", 1, b"crm")])?;
    drop((shop, crm, connector));

    // The other one is first now.
    let connector = bench.connector(TEMPLATE)?;
    let mut crm = open(connector.as_ref(), OTHER)?;
    let error = bench.must_fail(crm.as_mut(), &[("orders", 2, b"crm")])?;
    must_name(&error, "topic_collision", "orders", &["source `crm`", "source `shop`", "topic `public.orders`"])?;
    let mut shop = open(connector.as_ref(), SOURCE)?;
    bench.source = SOURCE;
    bench.must_ship(shop.as_mut(), &[("orders", 2, b"shop")])?;
    let records = bench.kafka.consume("public.orders", Isolation::ReadCommitted)?;
    ensure!(records.len() == 2, "{} records", records.len());
    Ok(())
}
