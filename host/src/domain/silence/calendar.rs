//! Times that come again: days by weekday, day of the month and month, and hours of them, as a clock on the wall of a
//! time zone shows them. What that clock leaves out in spring never comes; what it shows twice in autumn is meant twice.

use std::time::Duration;

use jiff::civil::{Date, DateTime, Time};
use jiff::tz::{Offset, TimeZone};
use serde::{Deserialize, Serialize};

use crate::domain::Timestamp;

/// Most intervals of a calendar, and most entries of one list in them.
pub const ENTRIES: usize = 16;
/// A window that lasts so long has no end in sight.
pub const ENDLESS: Duration = Duration::from_hours(24 * 366);
/// Days looked ahead: 29 February on a given weekday comes again within so many.
const HORIZON: i64 = 366 * 41;
/// No clock is further from UTC, in seconds.
const FURTHEST: i64 = 26 * 3_600;
/// Minutes of a day.
const DAY: i64 = 24 * 60;

const WEEKDAYS: [&str; 7] = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];
const MONTHS: [&str; 12] = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
];

/// What people wrote.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = SilenceRecurring)]
pub struct Recurring {
    /// Whose clock: a name of the IANA time zone database, such as `Europe/Berlin`.
    pub zone: String,
    /// When; any of them.
    pub intervals: Vec<Hours>,
}

/// Days, and hours of them. A list that is empty allows everything; all of them must allow it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = SilenceInterval)]
pub struct Hours {
    /// `sat`, `monday`, `mon-fri`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub weekdays: Vec<String>,
    /// `1`, `1:7`, and counted from the end of the month `-1`, `-7:-1`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub days_of_month: Vec<String>,
    /// `december`, `jun-aug`, `3`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub months: Vec<String>,
    /// `09:00-17:30`; `22:00-06:00` goes on into the next day; `24:00` is the end of a day.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub times: Vec<String>,
}

/// What is wrong with a calendar: the members and numbers that lead there, and words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    /// Where: an interval's place, a list's name, and a place in that.
    pub at: Option<(usize, &'static str, usize)>,
    /// What.
    pub why: String,
}

/// A calendar that can be asked.
#[derive(Clone, Debug)]
pub struct Calendar {
    zone: TimeZone,
    intervals: Vec<Interval>,
}

#[derive(Clone, Debug)]
struct Interval {
    /// Bit 0 is Monday.
    weekdays: u8,
    /// Bit 1 is January.
    months: u16,
    days: Vec<(i8, i8)>,
    /// Minutes of the day; the end may lie in the next one.
    times: Vec<(i64, i64)>,
}

/// From when until when.
pub type Window = (Timestamp, Timestamp);

impl Calendar {
    /// Reads what people wrote.
    pub fn new(recurring: &Recurring) -> Result<Self, Wrong> {
        let plain = |why: String| Wrong { at: None, why };
        let zone = TimeZone::get(&recurring.zone).map_err(|_| {
            let zone = &recurring.zone;
            plain(format!("unknown time zone `{zone}`: it is a name such as Europe/Berlin or UTC"))
        })?;
        let intervals = recurring.intervals.iter().enumerate();
        let intervals: Vec<Interval> =
            intervals.map(|(at, hours)| Interval::new(at, hours)).collect::<Result<_, Wrong>>()?;
        Ok(Self { zone, intervals })
    }

    /// The next `count` windows that end after `from`, the first of which may have begun; windows that touch are one.
    /// One that is longer than [`ENDLESS`] is cut there.
    #[must_use]
    pub fn upcoming(&self, from: Timestamp, count: usize) -> Vec<Window> {
        let Some(mut date) = seconds(from).and_then(|at| civil(at).date().yesterday().ok()) else {
            return Vec::new();
        };
        // A range that began the day before, on a clock a day away.
        date = date.yesterday().unwrap_or(date);
        let mut found: Vec<(i64, i64)> = Vec::new();
        let from = from.micros().div_euclid(1_000_000);
        let mut pieces = Vec::new();
        for _ in 0..HORIZON {
            for interval in self.intervals.iter().filter(|interval| interval.has(date)) {
                for (begin, end) in &interval.times {
                    self.instants(date, (*begin, *end), &mut pieces);
                }
            }
            merge(&mut found, &mut pieces);
            let Ok(next) = date.tomorrow() else { break };
            date = next;
            // Whatever a later day adds begins after this.
            let safe = since_epoch(date.to_datetime(Time::midnight())) - FURTHEST;
            let over = found.iter().filter(|(_, end)| (from + 1..safe).contains(end)).count() >= count;
            let endless = found.iter().any(|(begin, end)| lasts(*begin, *end) >= ENDLESS);
            if over || endless {
                break;
            }
        }
        found.retain(|(_, end)| *end > from);
        found.truncate(count);
        let longest = i64::try_from(ENDLESS.as_secs()).unwrap_or(i64::MAX);
        let time = |at: i64| Timestamp::from_micros(at.saturating_mul(1_000_000));
        found.into_iter().map(|(begin, end)| (time(begin), time(end.min(begin + longest)))).collect()
    }

    /// When the clock shows those minutes of that day: between two changes of the clock its distance from UTC is the same.
    fn instants(&self, date: Date, (begin, end): (i64, i64), pieces: &mut Vec<(i64, i64)>) {
        let midnight = since_epoch(date.to_datetime(Time::midnight()));
        let (begin, end) = (midnight + begin * 60, midnight + end * 60);
        let (mut since, last) = (begin - FURTHEST, end + FURTHEST);
        while since < last {
            let Ok(at) = jiff::Timestamp::from_second(since) else { return };
            let offset = i64::from(self.zone.to_offset(at).seconds());
            let change = self.zone.following(at).next().map(|change| change.timestamp().as_second());
            let until = change.filter(|until| *until > since && *until < last).unwrap_or(last);
            let piece = ((begin - offset).max(since), (end - offset).min(until));
            if piece.0 < piece.1 {
                pieces.push(piece);
            }
            since = until;
        }
    }
}

impl Interval {
    fn new(at: usize, hours: &Hours) -> Result<Self, Wrong> {
        let bits = |names: &'static [&'static str], list: &'static str, texts: &[String]| {
            let mut mask = 0_u16;
            for (n, text) in texts.iter().enumerate() {
                mask |= cycle(names, text).map_err(|why| Wrong { at: Some((at, list, n)), why })?;
            }
            Ok(if texts.is_empty() { u16::MAX } else { mask })
        };
        let weekdays = bits(&WEEKDAYS, "weekdays", &hours.weekdays)?;
        let months = bits(&MONTHS, "months", &hours.months)?;
        let days = each(at, "days_of_month", &hours.days_of_month, days)?;
        let mut times = each(at, "times", &hours.times, minutes)?;
        if times.is_empty() {
            times.push((0, DAY));
        }
        Ok(Self { weekdays: (weekdays & 0x7f) as u8, months, days, times })
    }

    fn has(&self, date: Date) -> bool {
        let weekday = date.weekday().to_monday_zero_offset();
        let (day, last) = (date.day(), date.days_in_month());
        let number = |day: i8| if day < 0 { last + 1 + day } else { day };
        self.weekdays >> weekday & 1 == 1
            && self.months >> (date.month() - 1) & 1 == 1
            && (self.days.is_empty()
                || self.days.iter().any(|(from, to)| (number(*from)..=number(*to)).contains(&day)))
    }
}

fn each<T>(
    at: usize,
    list: &'static str,
    texts: &[String],
    read: impl Fn(&str) -> Result<T, String>,
) -> Result<Vec<T>, Wrong> {
    let one =
        |(n, text): (usize, &String)| read(text.trim()).map_err(|why| Wrong { at: Some((at, list, n)), why });
    texts.iter().enumerate().map(one).collect()
}

/// A name or number of a cycle, or a range of it that may go over its end: a bit for each.
fn cycle(names: &[&str], text: &str) -> Result<u16, String> {
    let place = |word: &str| {
        let word = word.trim().to_ascii_lowercase();
        let numbered = word.parse::<usize>().ok().filter(|n| names.len() == 12 && (1..=12).contains(n));
        let by_word =
            || names.iter().position(|name| *name == word || (word.len() >= 3 && name[..3] == word));
        numbered.map(|n| n - 1).or_else(by_word).ok_or_else(|| {
            let what = if names.len() == 12 { "month" } else { "weekday" };
            format!(
                "`{word}` is no {what}: write {}, {} or a range such as {}-{}",
                &names[0][..3],
                names[0],
                &names[0][..3],
                &names[4][..3]
            )
        })
    };
    let (first, last) = text.split_once(['-', ':']).unwrap_or((text, text));
    let (mut at, last) = (place(first)?, place(last)?);
    let mut mask = 1 << at;
    while at != last {
        at = (at + 1) % names.len();
        mask |= 1 << at;
    }
    Ok(mask)
}

fn days(text: &str) -> Result<(i8, i8), String> {
    let day = |text: &str| {
        let day = text.trim().parse::<i8>().ok().filter(|day| *day != 0 && (-31..=31).contains(day));
        day.ok_or_else(|| format!("`{text}` is no day of a month: 1 to 31, or -1 for the last"))
    };
    let (first, last) = text.split_once(':').unwrap_or((text, text));
    let (first, last) = (day(first)?, day(last)?);
    if (first < 0) == (last < 0) && first > last || first < 0 && last > 0 {
        return Err(format!("`{text}` ends before it begins"));
    }
    Ok((first, last))
}

fn minutes(text: &str) -> Result<(i64, i64), String> {
    let wrong = || format!("`{text}` is no range of times: write 09:00-17:30, up to 24:00");
    let clock = |text: &str| {
        let (hour, minute) = text.trim().split_once(':')?;
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if !digits(hour) || !digits(minute) {
            return None;
        }
        let (hour, minute): (i64, i64) = (hour.parse().ok()?, minute.parse().ok()?);
        let at = hour * 60 + minute;
        ((0..60).contains(&minute) && (0..=DAY).contains(&at)).then_some(at)
    };
    let (begin, end) = text.split_once('-').ok_or_else(wrong)?;
    let (begin, end) = (clock(begin).ok_or_else(wrong)?, clock(end).ok_or_else(wrong)?);
    if begin == end || begin == DAY {
        return Err(format!("`{text}` covers nothing; a whole day is 00:00-24:00"));
    }
    Ok((begin, if end < begin { end + DAY } else { end }))
}

/// Adds pieces to windows that are sorted and apart.
fn merge(found: &mut Vec<(i64, i64)>, pieces: &mut Vec<(i64, i64)>) {
    if pieces.is_empty() {
        return;
    }
    found.append(pieces);
    found.sort_unstable();
    found.dedup_by(|next, last| {
        let touches = next.0 <= last.1;
        if touches {
            last.1 = last.1.max(next.1);
        }
        touches
    });
}

fn lasts(begin: i64, end: i64) -> Duration {
    Duration::from_secs(u64::try_from(end - begin).unwrap_or(0))
}

fn seconds(at: Timestamp) -> Option<jiff::Timestamp> {
    jiff::Timestamp::from_second(at.micros().div_euclid(1_000_000)).ok()
}

fn civil(at: jiff::Timestamp) -> DateTime {
    Offset::UTC.to_datetime(at)
}

/// Seconds since the epoch, as if the clock showed UTC.
fn since_epoch(at: DateTime) -> i64 {
    Offset::UTC.to_timestamp(at).map_or(i64::MAX / 2, jiff::Timestamp::as_second)
}
