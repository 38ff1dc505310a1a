//! watermark: the lowest durable position over the sinks of a source. Only up to there may the
//! source's server forget its log.

use tidewire_core::Position;

/// Durable positions by worker.
#[derive(Debug)]
pub(crate) struct Watermark {
    durable: Vec<Option<Position>>,
    acknowledged: Option<Position>,
}

impl Watermark {
    /// For this many sinks, of which nothing is known.
    pub(crate) fn new(sinks: usize) -> Watermark {
        Watermark { durable: vec![None; sinks], acknowledged: None }
    }

    /// A sink holds everything up to here. A lower position than before is taken as it is: the sink was
    /// opened anew and is the authority.
    pub(crate) fn set(&mut self, sink: usize, position: Option<Position>) {
        if let Some(slot) = self.durable.get_mut(sink) {
            *slot = position;
        }
    }

    /// What a sink holds.
    pub(crate) fn durable(&self, sink: usize) -> Option<&Position> {
        self.durable.get(sink)?.as_ref()
    }

    /// The position to acknowledge now, if it moved. Never moves while a sink's position is unknown, and
    /// never back.
    pub(crate) fn advance(&mut self) -> Option<&Position> {
        let lowest = self.durable.iter().try_fold(None, |lowest: Option<&Position>, durable| {
            let durable = durable.as_ref()?;
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

    fn at(major: u64) -> Option<Position> {
        Some(Position::new(Mark { major, minor: 0 }, format!("t:{major}")))
    }

    #[test]
    fn only_what_every_sink_holds_is_acknowledged() {
        let mut watermark = Watermark::new(2);
        watermark.set(0, at(10));
        assert_eq!(watermark.advance(), None, "one sink is unknown");
        watermark.set(1, at(5));
        assert_eq!(watermark.advance(), at(5).as_ref());
        assert_eq!(watermark.advance(), None, "nothing moved");
        watermark.set(0, at(20));
        assert_eq!(watermark.advance(), None, "the slower one did not move");
        watermark.set(1, at(15));
        assert_eq!(watermark.advance(), at(15).as_ref());
        watermark.set(1, at(3));
        assert_eq!(watermark.advance(), None, "never back");
    }
}
