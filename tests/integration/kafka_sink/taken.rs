//! Transactional ids that are taken from a running sink by nobody who goes on with its work: a request of a dead instance
//! that came late, or brokers that forgot. SK-07, SK-61.

use super::{Bench, shown};
use anyhow::{Context, Result, anyhow, ensure};
use tidewire_core::sink::Selection;
use tidewire_core::{ErrorKind, Progress};

/// The ids of the two producers.
const FIRST: &str = "tidewire-events.shop";
const SECOND: &str = "tidewire-events.shop.2";
/// Whatever readers of it wait for, a reader of the progress does.
const PROGRESS: &str = "tidewire-progress";

#[test]
fn sk_07_a_lost_id_without_a_successor_is_taken_back() -> Result<()> {
    let mut bench = Bench::new()?;
    let mut held = Progress::default();
    let mut shipped = 0;
    // Either producer may have its turn; and whether there is a successor may be hidden from us.
    for (turns, lost, hidden) in [(0, &[FIRST][..], false), (1, &[FIRST, SECOND], false), (2, &[FIRST, SECOND], true)] {
        let (mut sink, progress) = bench.open("")?;
        ensure!(progress == held, "{turns}: {progress:?}");
        for id in 0..turns {
            bench.must_ship(sink.as_mut(), &[("orders", id, b"before")])?;
            shipped += 1;
            held = bench.progress();
        }
        let batch = bench.batch(&[("orders", 100, b"refused")]);
        sink.write(&batch, Selection::All).map_err(|error| anyhow!("{}", shown(&error)))?;
        let takers = lost.iter().map(|id| bench.kafka.stranger(id)).collect::<Result<Vec<_>>>()?;
        let other = bench.kafka.stranger("another")?;
        if hidden {
            other.hold_open(PROGRESS)?;
        }
        let error = sink.commit(&bench.progress()).err().context("an id that was taken could still commit")?;
        ensure!(error.kind() == ErrorKind::Retry && error.code() == "producer_lost", "{turns}: {}", shown(&error));
        if hidden {
            other.give_up()?;
        }
        drop((sink, takers));
        ensure!(bench.committed("orders")?.len() == shipped, "{turns}: nothing of it is seen");
        let (mut sink, progress) = bench.open("")?;
        ensure!(progress == held, "{turns}: {progress:?}");
        bench.ship(sink.as_mut(), &batch).map_err(|error| anyhow!("{}", shown(&error)))?;
        shipped += 1;
        held = bench.progress();
        ensure!(bench.committed("orders")?.len() == shipped);
    }
    Ok(())
}
