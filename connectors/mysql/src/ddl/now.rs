//! What `CURRENT_TIMESTAMP` was to a statement of the log. A replica has to find the same value, so the event carries what it
//! needs: the second at which the statement began, its microseconds and the session's time zone where they were used.

use crate::model::ColumnKind;
use tidewire_core::calendar::{Fraction, Timestamp, write_timestamp};

/// Microseconds of a second.
const MICROS: i64 = 1_000_000;

/// When a statement began, as far as its event says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Now {
    /// Seconds since 1970, UTC.
    seconds: u32,
    /// Microseconds of the second.
    micros: Option<u32>,
    /// Seconds that the session's clock is ahead of UTC.
    offset: Option<i32>,
}

impl Now {
    /// From the header's time and two status variables. A zone that has a name may have changed its rules since; `SYSTEM` is
    /// the server's.
    pub(crate) fn of(seconds: u32, micros: Option<u32>, zone: Option<&[u8]>) -> Now {
        Now { seconds, micros, offset: zone.and_then(|zone| offset(std::str::from_utf8(zone).ok()?)) }
    }

    /// The value for a column of a type, as text with the column's digits of a fraction: in UTC for a timestamp, in the
    /// session's time for a datetime. `None` where the event does not say it for certain.
    pub(crate) fn text(self, kind: &ColumnKind) -> Option<String> {
        let (fsp, offset) = match kind {
            _ if self.seconds == 0 => return None,
            ColumnKind::Timestamp { fsp } => (*fsp, 0),
            ColumnKind::DateTime { fsp } => (*fsp, self.offset?),
            _ => return None,
        };
        let unit = 10_i64.checked_pow(6_u32.checked_sub(fsp.into())?)?;
        let micros = if fsp == 0 { 0 } else { i64::from(self.micros?) / unit * unit };
        let local = (i64::from(self.seconds) + i64::from(offset)) * MICROS + micros;
        let mut text = Vec::with_capacity(26);
        write_timestamp(&mut text, Timestamp::from_epoch_micros(local), b' ', Fraction::Fixed(fsp), b"");
        String::from_utf8(text).ok()
    }
}

/// `+02:00`, as sessions have it who say an offset.
fn offset(zone: &str) -> Option<i32> {
    let (sign, rest) = match zone.split_at_checked(1)? {
        ("+", rest) => (1, rest),
        ("-", rest) => (-1, rest),
        _ => return None,
    };
    let (hours, minutes) = rest.split_once(':')?;
    let number = |text: &str| text.parse::<i32>().ok().filter(|_| text.len() == 2);
    let minutes = number(minutes).filter(|minutes| *minutes < 60)?;
    Some(sign * (number(hours).filter(|hours| *hours <= 14)? * 3600 + minutes * 60))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// MY-79.
    #[test]
    fn the_time_of_a_statement_is_told_where_it_is_certain() {
        let timestamp = |fsp| ColumnKind::Timestamp { fsp };
        let datetime = |fsp| ColumnKind::DateTime { fsp };
        for (micros, zone, kind, expected) in [
            (None, None, timestamp(0), Some("2024-02-29 23:30:01")),
            (None, Some("Europe/Berlin"), timestamp(0), Some("2024-02-29 23:30:01")),
            (None, None, timestamp(3), None),
            (Some(7_999), None, timestamp(3), Some("2024-02-29 23:30:01.007")),
            (Some(7_999), None, timestamp(6), Some("2024-02-29 23:30:01.007999")),
            (Some(999_999), None, timestamp(0), Some("2024-02-29 23:30:01")),
            (None, Some("+00:30"), datetime(0), Some("2024-03-01 00:00:01")),
            (Some(500_000), Some("-05:45"), datetime(1), Some("2024-02-29 17:45:01.5")),
            (None, Some("+14:00"), datetime(0), Some("2024-03-01 13:30:01")),
            (None, None, datetime(0), None),
            (None, Some("SYSTEM"), datetime(0), None),
            (None, Some("Europe/Berlin"), datetime(0), None),
            (None, Some("+2:00"), datetime(0), None),
            (None, Some("+15:00"), datetime(0), None),
            (None, Some("+00:00"), ColumnKind::Date, None),
        ] {
            let now = Now::of(1_709_249_401, micros, zone.map(str::as_bytes));
            assert_eq!(now.text(&kind).as_deref(), expected, "{micros:?} {zone:?} {kind:?}");
        }
    }
}
