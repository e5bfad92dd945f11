//! A point in time as the whole system keeps it.

use std::fmt;
use std::time::Duration;

use chrono::{DateTime, Datelike as _, NaiveDate, NaiveDateTime, SecondsFormat, Timelike as _};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Microseconds since 1970-01-01 UTC. On the wire: RFC 3339 with `Z` and six decimals.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// From microseconds since the epoch.
    #[must_use]
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// Microseconds since the epoch.
    #[must_use]
    pub const fn micros(self) -> i64 {
        self.0
    }

    /// Milliseconds since the epoch, zero for times before it.
    #[must_use]
    pub fn unix_millis(self) -> u64 {
        u64::try_from(self.0 / 1_000).unwrap_or(0)
    }

    /// This much later.
    #[must_use]
    pub fn after(self, by: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(by.as_micros()).unwrap_or(i64::MAX)))
    }

    /// This much earlier.
    #[must_use]
    pub fn before(self, by: Duration) -> Self {
        Self(self.0.saturating_sub(i64::try_from(by.as_micros()).unwrap_or(i64::MAX)))
    }

    /// How long ago `earlier` was; zero if it is not earlier.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// From unix seconds, whole or not. None outside the years 0 to 9999.
    #[must_use]
    pub fn from_unix_seconds(seconds: f64) -> Option<Self> {
        /// Seconds of 0000-01-01 and 9999-12-31.
        const RANGE: std::ops::RangeInclusive<f64> = -62_167_219_200.0..=253_402_300_799.0;
        #[expect(clippy::cast_possible_truncation, reason = "in range by the check before it")]
        RANGE.contains(&seconds).then(|| Self((seconds * 1e6).round() as i64))
    }

    /// Reads RFC 3339, the same without an offset (then UTC), a date alone, or unix seconds.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        if let Ok(exact) = DateTime::parse_from_rfc3339(text) {
            return Some(Self(exact.timestamp_micros()));
        }
        for format in ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f"] {
            if let Ok(naive) = NaiveDateTime::parse_from_str(text, format) {
                return Some(Self(naive.and_utc().timestamp_micros()));
            }
        }
        if let Ok(date) = NaiveDate::parse_from_str(text, "%Y-%m-%d") {
            return Some(Self(date.and_hms_opt(0, 0, 0)?.and_utc().timestamp_micros()));
        }
        text.parse::<f64>().ok().and_then(Self::from_unix_seconds)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        // By hand, since it is done for every line of the log: a general formatter takes ten times as long.
        let time = DateTime::from_timestamp_micros(self.0).unwrap_or_default().naive_utc();
        let year = time.year();
        if !(0..=9999).contains(&year) {
            return out.write_str(&time.and_utc().to_rfc3339_opts(SecondsFormat::Micros, true));
        }
        let mut text = *b"0000-00-00T00:00:00.000000Z";
        let fields = [
            (0..4, year.unsigned_abs()),
            (5..7, time.month()),
            (8..10, time.day()),
            (11..13, time.hour()),
            (14..16, time.minute()),
            (17..19, time.second()),
            (20..26, time.nanosecond() / 1_000),
        ];
        for (place, mut number) in fields {
            for digit in text[place].iter_mut().rev() {
                *digit = b"0123456789"[(number % 10) as usize];
                number /= 10;
            }
        }
        out.write_str(std::str::from_utf8(&text).unwrap_or_default())
    }
}

impl utoipa::PartialSchema for Timestamp {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::Schema> {
        use utoipa::openapi::schema::{KnownFormat, ObjectBuilder, SchemaFormat, Type};
        ObjectBuilder::new()
            .schema_type(Type::String)
            .format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)))
            .description(Some("RFC 3339, UTC, to the microsecond"))
            .into()
    }
}

impl utoipa::ToSchema for Timestamp {}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom("no time"))
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::Timestamp;

    #[test]
    fn is_written_as_chrono_writes_it() {
        for step in -4_000..12_000_i64 {
            let micros = step * 24_691_357_802_461 + step;
            let theirs = chrono::DateTime::from_timestamp_micros(micros).unwrap();
            let theirs = theirs.to_rfc3339_opts(chrono::SecondsFormat::Micros, true);
            assert_eq!(Timestamp::from_micros(micros).to_string(), theirs, "{micros}");
        }
    }

    #[test]
    fn reads_every_form_and_writes_one() {
        let forms =
            ["2026-11-23T16:08:46Z", "2026-11-23T17:08:46+01:00", "2026-11-23T16:08:46", "1795450126"];
        for form in forms {
            assert_eq!(Timestamp::parse(form).unwrap().to_string(), "2026-11-23T16:08:46.000000Z", "{form}");
        }
        assert_eq!(Timestamp::parse("2026-11-23").unwrap().to_string(), "2026-11-23T00:00:00.000000Z");
        for nonsense in ["", "yesterday", "1e400", "NaN", "2026-13-01"] {
            assert_eq!(Timestamp::parse(nonsense), None, "{nonsense}");
        }
    }
}
