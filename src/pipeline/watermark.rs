//! watermark: the lowest durable position over the sinks of a source. Only up to there may the
//! source's server forget its log.

use tidewire_core::{Position, Progress};

/// One sink, as far as it is known.
#[derive(Clone, Debug, Default)]
struct Held {
    /// Everything up to here is in the sink, but for tables that it left behind.
    holds: Option<Position>,
    /// Everything up to here is in the sink.
    lets_go: Option<Position>,
}

/// Durable positions by worker.
#[derive(Debug)]
pub(crate) struct Watermark {
    durable: Vec<Held>,
    acknowledged: Option<Position>,
}

impl Watermark {
    /// For this many sinks, of which nothing is known.
    pub(crate) fn new(sinks: usize) -> Watermark {
        Watermark { durable: vec![Held::default(); sinks], acknowledged: None }
    }

    /// What a sink holds. A lower position than before is taken as it is: the sink was opened anew and is the
    /// authority.
    pub(crate) fn set(&mut self, sink: usize, progress: &Progress) {
        if let Some(slot) = self.durable.get_mut(sink) {
            *slot = Held { holds: progress.position.clone(), lets_go: progress.lets_go().cloned() };
        }
    }

    /// How far a sink is, tables that it left behind aside.
    pub(crate) fn holds(&self, sink: usize) -> Option<&Position> {
        self.durable.get(sink)?.holds.as_ref()
    }

    /// The position to acknowledge now, if it moved. Never moves while a sink's position is unknown, never
    /// beyond a table that a sink left behind, and never back.
    pub(crate) fn advance(&mut self) -> Option<&Position> {
        let lowest = self.durable.iter().try_fold(None, |lowest: Option<&Position>, held| {
            let durable = held.lets_go.as_ref()?;
            Some(Some(lowest.map_or(durable, |l| l.min(durable))))
        })??;
        if self.acknowledged.as_ref().is_some_and(|acknowledged| lowest <= acknowledged) {
            return None;
        }
        self.acknowledged = Some(lowest.clone());
        self.acknowledged.as_ref()
    }

    /// A new connection to the server knows of no acknowledgement.
    pub(crate) fn forget_acknowledged(&mut self) {
        self.acknowledged = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidewire_core::Mark;

    fn at(major: u64) -> Position {
        Position::new(Mark { major, minor: 0 }, format!("t:{major}"))
    }

    fn held(major: u64) -> Progress {
        Progress { position: Some(at(major)), ..Progress::default() }
    }

    #[test]
    fn only_what_every_sink_holds_is_acknowledged() {
        let mut watermark = Watermark::new(2);
        watermark.set(0, &held(10));
        assert_eq!(watermark.advance(), None, "one sink is unknown");
        watermark.set(1, &held(5));
        assert_eq!(watermark.advance(), Some(&at(5)));
        assert_eq!(watermark.advance(), None, "nothing moved");
        watermark.set(0, &held(20));
        assert_eq!(watermark.advance(), None, "the slower one did not move");
        watermark.set(1, &held(15));
        assert_eq!(watermark.advance(), Some(&at(15)));
        watermark.set(1, &held(3));
        assert_eq!(watermark.advance(), None, "never back");
    }

    #[test]
    fn a_table_left_behind_holds_the_log_and_not_the_sink() {
        let mut watermark = Watermark::new(1);
        let mut progress = held(20);
        assert!(progress.leave_behind("public.t", None));
        progress.position = Some(at(50));
        watermark.set(0, &progress);
        assert_eq!((watermark.advance().cloned(), watermark.holds(0)), (Some(at(20)), Some(&at(50))));
    }
}
