//! Matchers against their definition, and calendars against a naive look at every minute of a year.

use jiff::tz::TimeZone;
use proptest::prelude::*;

use super::*;
use crate::domain::event::Tags;

fn text(matchers: &[&str]) -> Result<Vec<Matcher>, (Option<usize>, String)> {
    super::matchers(&matchers.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>())
}

#[test]
fn an_empty_selector_selects_nothing() {
    for empty in [
        &[][..],
        &["target=~.*"],
        &["target="],
        &["target=\"\"", "policy!=x"],
        &["tags.env!~prod", "policy=~a?", "severity=~"],
        &["target!~.+"],
    ] {
        let (_, why) = text(empty).unwrap_err();
        assert!(why.contains("an empty selector selects nothing"), "{empty:?}: {why}");
    }
    for some in [&["target=~.+"][..], &["policy!=\"\""], &["tags.env=prod", "target=~.*"]] {
        assert!(text(some).is_ok(), "{some:?}");
    }
}

#[test]
fn what_is_no_matcher_is_refused_in_words() {
    let long = format!("target={}", "x".repeat(LENGTH));
    let nested = format!("target=~{}x{}", "(".repeat(40), ")".repeat(40));
    for (wrong, says) in [
        ("target", "write NAME=VALUE"),
        ("", "write NAME=VALUE"),
        ("target!web", "one of =, !=, =~, !~"),
        ("tarhet=web", "unknown name `tarhet`"),
        ("tags.=web", "unknown name `tags.`"),
        ("=web", "unknown name ``"),
        ("target=~web-(", "no regular expression"),
        ("target=~a)(b", "no regular expression"),
        ("target=~(a{1000}){1000}", "when compiled"),
        (nested.as_str(), "nest"),
        ("target=\"web", "closing quote is missing"),
        ("target=\"we\"b", "after the closing quote"),
        (long.as_str(), "at most 512 characters"),
    ] {
        let why = Matcher::parse(wrong).unwrap_err();
        assert!(why.contains(says), "{wrong}: {why}");
    }
}

fn subject<'a>(of: &'a [String; 4], tags: &'a Tags) -> Subject<'a> {
    Subject { policy: &of[0], target: &of[1], severity: &of[2], action: &of[3], tags }
}

proptest! {
    /// Against the definition: the whole text, both ways round, what is absent being empty.
    #[test]
    fn matchers_mean_what_they_say(
        values in prop::array::uniform4("[ab]{0,2}"),
        tag in prop::option::of("[ab]{0,2}"),
        value in "[ab]{0,2}",
        which in 0..5_usize,
    ) {
        let mut tags = Tags::new();
        if let Some(tag) = &tag {
            tags.insert("t".into(), tag.as_str().into());
        }
        let subject = subject(&values, &tags);
        let name = ["policy", "target", "severity", "action", "tags.t"][which];
        let actual = values.get(which).cloned().or(tag.clone()).unwrap_or_default();
        let takes = |operator: &str, value: &str| {
            Matcher::parse(&format!("{name}{operator}{value}")).unwrap().matches(&subject)
        };
        let same = actual == value;
        prop_assert_eq!(takes("=", &value), same);
        prop_assert_eq!(takes("!=", &value), !same);
        // An expression that is a plain text matches that text alone, not what begins with it.
        prop_assert_eq!(takes("=~", &value), same);
        prop_assert_eq!(takes("!~", &value), !same);
        let either = actual == value || actual == "b";
        prop_assert_eq!(takes("=~", &format!("{value}|b")), either);
        prop_assert_eq!(takes("!~", &format!("{value}|b")), !either);
        let begins = actual.starts_with(&value);
        prop_assert_eq!(takes("=~", &format!("{value}.*")), begins);
    }

    /// What is written is read as the same again.
    #[test]
    fn a_matcher_is_read_as_it_is_written(value in "[ a\"\\\\=~!é]{0,6}", operator in 0..2_usize) {
        let sign = ["=", "!="][operator];
        let quoted = format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\""));
        let read = Matcher::parse(&format!("tags.x {sign} {quoted}")).unwrap();
        prop_assert_eq!(&read.value, &value);
        let again = Matcher::parse(&read.to_string()).unwrap();
        prop_assert_eq!((again.field, again.operator, again.value), (read.field, read.operator, read.value));
    }
}

fn recurring(zone: &str, hours: &[[&[&str]; 4]]) -> Recurring {
    let list = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
    let intervals = hours.iter().map(|[weekdays, days, months, times]| Hours {
        weekdays: list(weekdays),
        days_of_month: list(days),
        months: list(months),
        times: list(times),
    });
    Recurring { zone: zone.to_owned(), intervals: intervals.collect() }
}

/// What a person would do with a clock and a calendar on the wall, minute by minute, with the words as they stand.
fn naive(of: &Recurring, zone: &TimeZone, second: i64) -> bool {
    let wall = zone.to_datetime(jiff::Timestamp::from_second(second).unwrap());
    let minute = i64::from(wall.hour()) * 60 + i64::from(wall.minute());
    let number = |text: &str, names: [&str; 12]| {
        names
            .iter()
            .position(|name| text.starts_with(name))
            .map_or_else(|| text.parse().unwrap(), |at| at + 1)
    };
    let weekdays = ["mon", "tue", "wed", "thu", "fri", "sat", "sun", "-", "-", "-", "-", "-"];
    let months = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
    let within = |texts: &[String], names, actual: usize| {
        texts.is_empty()
            || texts.iter().any(|text| {
                let (from, to) = text.split_once('-').unwrap_or((text, text));
                let (from, to) = (number(from, names), number(to, names));
                if from <= to { (from..=to).contains(&actual) } else { actual >= from || actual <= to }
            })
    };
    let on = |hours: &Hours, date: jiff::civil::Date| {
        let day = |text: &str| {
            let day: i8 = text.parse().unwrap();
            if day < 0 { date.days_in_month() + 1 + day } else { day }
        };
        let days = hours.days_of_month.is_empty()
            || hours.days_of_month.iter().any(|text| {
                let (from, to) = text.split_once(':').unwrap_or((text, text));
                (day(from)..=day(to)).contains(&date.day())
            });
        days && within(
            &hours.weekdays,
            weekdays,
            usize::try_from(date.weekday().to_monday_one_offset()).unwrap(),
        ) && within(&hours.months, months, usize::try_from(date.month()).unwrap())
    };
    of.intervals.iter().any(|hours| {
        let clock = |text: &str| {
            let (hour, minute) = text.split_once(':').unwrap();
            hour.parse::<i64>().unwrap() * 60 + minute.parse::<i64>().unwrap()
        };
        let today = on(hours, wall.date());
        if hours.times.is_empty() {
            return today;
        }
        hours.times.iter().any(|text| {
            let (from, to) = text.split_once('-').unwrap();
            let (from, to) = (clock(from), clock(to));
            if from < to {
                return today && (from..to).contains(&minute);
            }
            // Over midnight: the day on which it began counts.
            (today && minute >= from) || (on(hours, wall.date().yesterday().unwrap()) && minute < to)
        })
    })
}

/// The windows of a year, as the calendar gives them one after the other, and as the minutes add up to.
fn year(of: &Recurring, from: i64, days: i64) {
    let calendar = Calendar::new(of).unwrap();
    let zone = TimeZone::get(&of.zone).unwrap();
    let (mut expected, mut last) = (Vec::new(), false);
    for minute in 0..days * 24 * 60 {
        let at = from + minute * 60;
        let now = naive(of, &zone, at);
        match (last, now) {
            (false, true) => expected.push((at, i64::MAX)),
            (true, false) => expected.last_mut().unwrap().1 = at,
            (true, true) | (false, false) => {}
        }
        last = now;
    }
    let seconds = |at: Timestamp| at.micros() / 1_000_000;
    let (mut found, mut at) = (Vec::new(), from);
    let end = from + days * 24 * 3_600;
    while let Some((begin, over)) = calendar.upcoming(Timestamp::from_micros(at * 1_000_000), 1).first() {
        let (begin, over) = (seconds(*begin), seconds(*over));
        if begin >= end {
            break;
        }
        found.push((begin.max(from), if over >= end { i64::MAX } else { over }));
        at = over;
        if over >= end {
            break;
        }
    }
    assert!(!expected.is_empty(), "{of:?}: a year without one proves little");
    assert_eq!(found, expected, "{of:?}");
    // All at once they are the same.
    let many: Vec<_> = calendar.upcoming(Timestamp::from_micros(from * 1_000_000), 5);
    let many: Vec<_> = many.iter().map(|(_, over)| seconds(*over)).filter(|over| *over < end).collect();
    let few: Vec<_> = expected.iter().map(|(_, over)| *over).filter(|over| *over < end).take(5).collect();
    assert_eq!(many, few, "{of:?}");
}

const TABLE: [(&str, [&[&str]; 4]); 14] = [
    ("Europe/Berlin", [&["sat", "sun"], &[], &[], &["00:00-06:00"]]),
    // In the hour that spring leaves out, and in the one that autumn shows twice.
    ("Europe/Berlin", [&[], &[], &[], &["02:15-02:45"]]),
    ("Europe/Berlin", [&[], &[], &[], &["01:30-02:30"]]),
    ("Europe/Berlin", [&["sat"], &[], &[], &["22:00-06:00"]]),
    ("America/New_York", [&["mon-fri"], &[], &[], &["09:00-12:00", "13:30-17:00", "23:00-01:00"]]),
    ("America/New_York", [&["fri-mon"], &[], &["nov-mar"], &["20:00-24:00", "00:00-04:00"]]),
    ("UTC", [&[], &["1", "-1"], &[], &[]]),
    ("Asia/Kathmandu", [&[], &["-7:-1"], &["feb", "apr"], &["18:00-17:59"]]),
    // Half an hour of summer time; and midnight itself is left out in spring.
    ("Australia/Lord_Howe", [&[], &[], &[], &["01:40-02:10"]]),
    ("Africa/Cairo", [&["fri"], &[], &[], &["00:00-00:30"]]),
    ("America/Santiago", [&["sun"], &[], &[], &[]]),
    ("Pacific/Kiritimati", [&["wed"], &["10:20"], &[], &["05:00-05:01"]]),
    ("Pacific/Pago_Pago", [&["wed"], &[], &[], &["23:59-00:01"]]),
    ("Africa/Casablanca", [&[], &[], &["1-12"], &["02:00-03:00"]]),
];

#[test]
fn calendars_are_what_the_clock_on_the_wall_shows() {
    // 2026-01-01 UTC.
    for (zone, hours) in TABLE {
        year(&recurring(zone, &[hours]), 1_767_225_600, 365);
    }
    let both = [TABLE[0].1, TABLE[3].1, TABLE[6].1];
    year(&recurring("Europe/Berlin", &both), 1_767_225_600, 365);
    // Samoa had no 30 December 2011.
    year(&recurring("Pacific/Apia", &[[&[], &[], &[], &["10:00-09:00"]]]), 1_323_000_000, 60);
    year(&recurring("Pacific/Apia", &[[&["fri"], &[], &[], &[]]]), 1_323_000_000, 60);
}

#[test]
fn days_that_never_come_and_calendars_without_an_end_are_told_apart() {
    let at = Timestamp::from_micros(1_767_225_600_000_000);
    let first = |hours| Calendar::new(&recurring("Europe/Berlin", &[hours])).unwrap().upcoming(at, 1);
    assert_eq!(first([&[], &["31"], &["feb", "apr"], &[]]), []);
    let [(begin, end)] = first([&["sat"], &["29"], &["feb"], &[]])[..] else { panic!("it comes in 2048") };
    assert_eq!(begin.to_string(), "2048-02-28T23:00:00.000000Z");
    assert_eq!(end.since(begin).as_secs(), 24 * 3_600);
    let [(begin, end)] = first([&[], &[], &[], &["10:00-09:00", "08:00-11:00"]])[..] else {
        panic!("always")
    };
    assert_eq!(end.since(begin), ENDLESS);
}

#[test]
fn what_is_no_calendar_is_refused_with_its_place() {
    for (hours, list, says) in [
        ([&["someday"][..], &[], &[], &[]], "weekdays", "is no weekday"),
        ([&["1"], &[], &[], &[]], "weekdays", "is no weekday"),
        ([&["mon-"], &[], &[], &[]], "weekdays", "is no weekday"),
        ([&[], &["0"], &[], &[]], "days_of_month", "no day of a month"),
        ([&[], &["32"], &[], &[]], "days_of_month", "no day of a month"),
        ([&[], &["5:1"], &[], &[]], "days_of_month", "ends before it begins"),
        ([&[], &["-1:3"], &[], &[]], "days_of_month", "ends before it begins"),
        ([&[], &[], &["13"], &[]], "months", "is no month"),
        ([&[], &[], &[], &["9-10"]], "times", "no range of times"),
        ([&[], &[], &[], &["09:60-10:00"]], "times", "no range of times"),
        ([&[], &[], &[], &["+9:00-10:00"]], "times", "no range of times"),
        ([&[], &[], &[], &["10:00-24:01"]], "times", "no range of times"),
        ([&[], &[], &[], &["10:00-10:00"]], "times", "covers nothing"),
        ([&[], &[], &[], &["24:00-01:00"]], "times", "covers nothing"),
    ] {
        let wrong = Calendar::new(&recurring("UTC", &[[&[], &[], &[], &[]], hours])).unwrap_err();
        assert_eq!(wrong.at, Some((1, list, 0)), "{hours:?}");
        assert!(wrong.why.contains(says), "{hours:?}: {}", wrong.why);
    }
    for zone in ["", "Europe/Bielefeld", "CET0", "../../etc/passwd", "+01:00"] {
        let wrong = Calendar::new(&recurring(zone, &[[&[], &[], &[], &[]]])).unwrap_err();
        assert!(wrong.at.is_none() && wrong.why.contains("unknown time zone"), "{zone}: {}", wrong.why);
    }
}
