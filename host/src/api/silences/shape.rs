//! A silence on the wire, and how its body is read.

use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use crate::api::input::{self, Fields};
use crate::api::policies::duration;
use crate::api::problem::{Invalid, Problem};
use crate::domain::Timestamp;
use crate::domain::silence::{
    Calendar, ENDLESS, ENTRIES, Hours, LENGTH, MATCHERS, Recurring, Silence, State, Wish, matchers,
};

/// The longest silence that is no calendar, and how far ahead one may begin.
const LONGEST: Duration = Duration::from_hours(24 * 366);
/// Most characters of a comment.
const COMMENT: usize = 500;
const MEMBERS: [&str; 6] = ["matchers", "starts_at", "ends_at", "duration", "recurring", "comment"];
const LISTS: [&str; 4] = ["weekdays", "days_of_month", "months", "times"];

/// What is to be left alone, when and why.
#[derive(ToSchema)]
#[expect(dead_code, reason = "it describes what `read` reads")]
pub(super) struct SilenceBody {
    /// 1 to 16 texts `NAME=VALUE`, or with `!=`, `=~`, `!~`, that must all match. A name is policy, target, severity, action
    /// or tags.NAME; an expression must match the whole text; what is not there is empty. At least one of them must not
    /// match the empty text.
    #[schema(min_items = 1, max_items = 16, example = json!(["target=~web-.*", "policy=cpu"]))]
    matchers: Vec<String>,
    /// From when on; absent: from now on.
    #[schema(required = false)]
    starts_at: Option<Timestamp>,
    /// Until when. This or `duration`, unless it is recurring.
    #[schema(required = false)]
    ends_at: Option<Timestamp>,
    /// How long, such as `2h`, or a number of seconds, counted from its beginning or from now, whichever is later.
    #[schema(required = false, value_type = Option<Object>)]
    duration: Option<Value>,
    /// On which days and hours.
    #[schema(required = false)]
    recurring: Option<Recurring>,
    /// Why, for those who find it.
    #[schema(min_length = 1, max_length = 500)]
    comment: String,
}

/// A silence.
#[derive(Serialize, ToSchema)]
#[schema(as = Silence)]
pub(super) struct SilenceInfo {
    /// Its number.
    pub(super) id: i64,
    /// How it stands.
    pub(super) state: State,
    /// What it is about.
    matchers: Vec<String>,
    /// From when on.
    starts_at: Timestamp,
    /// Until when; null: until somebody ends it.
    ends_at: Option<Timestamp>,
    /// On which days and hours.
    recurring: Option<Recurring>,
    /// When it holds next, or since when it does; null: never again.
    holds_from: Option<Timestamp>,
    /// Until when it does then.
    holds_until: Option<Timestamp>,
    /// Who made it.
    author: String,
    /// Why.
    comment: String,
    /// Counts its changes.
    version: i64,
    /// When it was made.
    pub(super) created_at: Timestamp,
    /// When it was last changed.
    updated_at: Timestamp,
    /// When somebody ended it.
    expired_at: Option<Timestamp>,
}

/// A page of silences.
#[derive(Serialize, ToSchema)]
#[schema(as = SilenceList)]
pub(super) struct Listed {
    /// Always true.
    pub(super) ok: bool,
    /// How many follow.
    pub(super) count: usize,
    /// How many there are.
    pub(super) total: i64,
    /// Which page.
    pub(super) page: i64,
    /// Silences of a page.
    pub(super) page_size: i64,
    /// Names the next page; null: this is the last one.
    pub(super) next_cursor: Option<String>,
    /// Them.
    pub(super) silences: Vec<SilenceInfo>,
}

/// What came of ending one.
#[derive(Serialize, ToSchema)]
#[schema(as = SilenceEnded)]
pub(super) struct Ended {
    /// Always true.
    pub(super) ok: bool,
    /// For people.
    pub(super) message: String,
    /// As it is now.
    pub(super) silence: SilenceInfo,
}

impl SilenceInfo {
    /// A silence as it stands now.
    pub(super) fn of(silence: Silence, now: Timestamp) -> Self {
        let calendar = silence.wish.recurring.as_ref().map(Calendar::new).transpose();
        let next = calendar.ok().and_then(|of| silence.windows(of.as_ref(), now, 1).first().copied());
        let state = State::of(next, now);
        let Silence { id, version, wish, author, created_at, updated_at, expired_at } = silence;
        Self {
            id,
            state,
            matchers: wish.matchers,
            starts_at: wish.starts_at,
            ends_at: wish.ends_at,
            recurring: wish.recurring,
            holds_from: next.map(|(from, _)| from),
            holds_until: next.map(|(_, until)| until),
            author,
            comment: wish.comment,
            version,
            created_at,
            updated_at,
            expired_at,
        }
    }
}

/// Reads a body, or every fault it has. `since`: when it begins if it does not say so; `told`: it must say why.
pub(super) fn read(
    value: &Value,
    (since, told): (Option<Timestamp>, bool),
    now: Timestamp,
) -> Result<Wish, Problem> {
    let mut fields =
        Fields::new(value, vec![json!("body")]).map_err(|fault| Problem::invalid(vec![fault]))?;
    let matchers = selector(&mut fields);
    let recurring = fields.get("recurring").and_then(|value| calendar(&mut fields, value, now));
    let comment = fields.text("comment", usize::from(told)..=COMMENT, told).unwrap_or_default();
    let starts_at = time(&mut fields, "starts_at").or(since).unwrap_or(now);
    if starts_at > now.after(LONGEST) {
        fields.fault("value_error", "starts_at", "Value error, a silence begins within a year");
    }
    let ends_at = end(&mut fields, starts_at, now);
    never(&mut fields, recurring.as_ref(), (starts_at.max(now), ends_at));
    for stranger in fields.strangers(&MEMBERS) {
        fields.fault("extra_forbidden", &stranger, "Extra inputs are not permitted");
    }
    if !fields.faults.is_empty() {
        return Err(Problem::invalid(fields.faults));
    }
    Ok(Wish { matchers, starts_at, ends_at, recurring, comment })
}

/// A calendar whose days do not come before the end.
fn never(fields: &mut Fields<'_>, recurring: Option<&Recurring>, (from, to): (Timestamp, Option<Timestamp>)) {
    let Some(calendar) = recurring.and_then(|recurring| Calendar::new(recurring).ok()) else { return };
    let first = calendar.upcoming(from, 1).first().map(|(from, _)| *from);
    if let (Some(first), Some(to)) = (first, to)
        && first >= to
    {
        let msg = format!("Value error, it would never hold: its days begin at {first}, after it has ended");
        fields.fault("value_error", "ends_at", msg);
    }
}

/// The matchers, each in its one form.
fn selector(fields: &mut Fields<'_>) -> Vec<String> {
    let Some(value) = fields.need("matchers") else { return Vec::new() };
    let Some(texts) = texts(value, MATCHERS, LENGTH) else {
        let msg =
            format!("Input should be a list of at most {MATCHERS} strings of at most {LENGTH} characters");
        fields.fault("list_type", "matchers", msg);
        return Vec::new();
    };
    match matchers(&texts) {
        Ok(read) => read.iter().map(ToString::to_string).collect(),
        Err((at, why)) => {
            let (mut loc, mut input) = (fields.at("matchers"), value.clone());
            if let Some(at) = at {
                loc.push(json!(at));
                input = value[at].clone();
            }
            fields.faults.push(Invalid::new("value_error", loc, format!("Value error, {why}"), input));
            Vec::new()
        }
    }
}

/// A list of texts, if it is one and neither too long nor its texts are.
fn texts(value: &Value, most: usize, length: usize) -> Option<Vec<String>> {
    let items = value.as_array().filter(|items| items.len() <= most)?;
    let text = |item: &Value| item.as_str().filter(|text| text.chars().count() <= length).map(str::to_owned);
    items.iter().map(text).collect()
}

fn time(fields: &mut Fields<'_>, member: &str) -> Option<Timestamp> {
    let read = input::time(fields.get(member)?);
    if read.is_none() {
        fields.fault("datetime_from_date_parsing", member, "Input should be a valid datetime");
    }
    read
}

/// Its end, by a time or a duration; only a calendar may have none.
fn end(fields: &mut Fields<'_>, starts_at: Timestamp, now: Timestamp) -> Option<Timestamp> {
    let recurring = fields.get("recurring").is_some();
    if let Some(given) = fields.get("duration") {
        if fields.get("ends_at").is_some() {
            fields.fault("value_error", "duration", "Value error, give ends_at or duration, not both");
            return None;
        }
        let span = duration(given).filter(|span| !span.is_zero() && *span <= LONGEST);
        if span.is_none() {
            let msg = "Value error, a duration is a text such as \"2h\" or a number of seconds, more than none and \
                       at most a year";
            fields.fault("value_error", "duration", msg);
        }
        return span.map(|span| starts_at.max(now).after(span));
    }
    if fields.get("ends_at").is_none() {
        if !recurring {
            let msg = "Value error, a silence has an end: give ends_at or duration, or make it recurring";
            fields.fault("value_error", "ends_at", msg);
        }
        return None;
    }
    let end = time(fields, "ends_at")?;
    if end <= now || end <= starts_at {
        let msg =
            "Value error, it would be over before it begins: ends_at lies after now and after starts_at";
        fields.fault("value_error", "ends_at", msg);
    } else if !recurring && end.since(starts_at.max(now)) > LONGEST {
        fields.fault("value_error", "ends_at", "Value error, a silence lasts at most a year");
    }
    Some(end)
}

fn calendar(fields: &mut Fields<'_>, value: &Value, now: Timestamp) -> Option<Recurring> {
    let mut inner = match Fields::new(value, fields.at("recurring")) {
        Ok(inner) => inner,
        Err(fault) => {
            fields.faults.push(fault);
            return None;
        }
    };
    let zone = inner.text("zone", 1..=64, true);
    let intervals = intervals(&mut inner);
    for stranger in inner.strangers(&["zone", "intervals"]) {
        inner.fault("extra_forbidden", &stranger, "Extra inputs are not permitted");
    }
    let (Some(zone), Some(intervals), true) = (zone, intervals, inner.faults.is_empty()) else {
        fields.faults.append(&mut inner.faults);
        return None;
    };
    let recurring = Recurring { zone, intervals };
    let wrong = match Calendar::new(&recurring) {
        Ok(calendar) => match calendar.upcoming(now, 1).first() {
            None => (vec![json!("intervals")], "these days never come".to_owned()),
            Some((from, until)) if until.since(*from) >= ENDLESS => {
                let why = "it never stops: what is to hold all the time has an ends_at instead".to_owned();
                (vec![json!("intervals")], why)
            }
            Some(_) => return Some(recurring),
        },
        Err(wrong) => match wrong.at {
            Some((at, list, n)) => (vec![json!("intervals"), json!(at), json!(list), json!(n)], wrong.why),
            None => (vec![json!("zone")], wrong.why),
        },
    };
    let mut loc = fields.at("recurring");
    loc.extend(wrong.0);
    fields.faults.push(Invalid::new("value_error", loc, format!("Value error, {}", wrong.1), value.clone()));
    None
}

fn intervals(inner: &mut Fields<'_>) -> Option<Vec<Hours>> {
    let value = inner.need("intervals")?;
    let Some(items) = value.as_array().filter(|items| (1..=ENTRIES).contains(&items.len())) else {
        inner.fault("list_type", "intervals", format!("Input should be a list of 1 to {ENTRIES} intervals"));
        return None;
    };
    let (mut read, whole) = (Vec::new(), inner.at("intervals"));
    for (at, item) in items.iter().enumerate() {
        let mut loc = whole.clone();
        loc.push(json!(at));
        let mut fields = match Fields::new(item, loc) {
            Ok(fields) => fields,
            Err(fault) => {
                inner.faults.push(fault);
                continue;
            }
        };
        let [weekdays, days_of_month, months, times] = LISTS.map(|list| entries(&mut fields, list));
        for stranger in fields.strangers(&LISTS) {
            fields.fault("extra_forbidden", &stranger, "Extra inputs are not permitted");
        }
        inner.faults.append(&mut fields.faults);
        read.push(Hours { weekdays, days_of_month, months, times });
    }
    Some(read)
}

fn entries(fields: &mut Fields<'_>, list: &str) -> Vec<String> {
    let Some(value) = fields.get(list) else { return Vec::new() };
    texts(value, ENTRIES, 32).unwrap_or_else(|| {
        let msg = format!("Input should be a list of at most {ENTRIES} strings of at most 32 characters");
        fields.fault("list_type", list, msg);
        Vec::new()
    })
}
