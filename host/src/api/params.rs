//! Query parameters, ids in paths, and lists by page or cursor.
//!
//! A cursor is opaque: a place in the list's order, and a digest of it together with the filters it was made
//! under. One that was changed, or is used with other filters, is refused.

use axum::http::HeaderMap;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::door::Principal;
use super::problem::{Invalid, Problem};
use crate::domain::Timestamp;
use crate::pipeline::ingest::Key;
use crate::store::{Part, Place};

/// Bytes of the digest in a cursor.
const SEAL: usize = 8;
/// Parameters that say which part of a list is wanted, not what is in it.
const OF_THE_PART: [&str; 3] = ["limit", "page", "cursor"];

/// Query parameters, decoded, with the faults they have.
pub(super) struct Params {
    pairs: Vec<(String, String)>,
    faults: Vec<Invalid>,
}

/// Which part of a list is wanted, and how to name the next one.
pub(super) struct Paging {
    /// Rows of a page.
    pub(super) limit: i64,
    /// The page's number, from 1.
    pub(super) page: i64,
    after: Option<Place>,
    question: String,
}

impl Paging {
    /// What to read: one row more than asked for, which says whether there is more.
    pub(super) fn part(&self) -> Part {
        let offset = (self.page - 1).saturating_mul(self.limit);
        Part { limit: self.limit + 1, offset, after: self.after }
    }

    /// Cuts `rows` to the page, and answers the cursor of the next one if there is one.
    pub(super) fn cut<T>(&self, rows: &mut Vec<T>, place: impl Fn(&T) -> Place) -> Option<String> {
        let limit = usize::try_from(self.limit).unwrap_or(usize::MAX);
        let more = rows.len() > limit;
        rows.truncate(limit);
        rows.last().filter(|_| more).map(|last| seal(&self.question, place(last)))
    }
}

impl Params {
    pub(super) fn new(query: Option<String>) -> Self {
        let query = query.unwrap_or_default();
        let pairs: Vec<(String, String)> = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        // No database keeps a NUL, and not every one takes it as a value to compare with.
        let nul = pairs.iter().filter(|(_, value)| value.contains('\0')).map(|(name, value)| {
            let loc = vec![json!("query"), json!(name)];
            Invalid::new("value_error", loc, "Value error, a text must not hold NUL", json!(value))
        });
        let mut faults: Vec<Invalid> = nul.collect();
        // Which of the two was meant? A filter that is not the one meant answers the wrong question.
        let mut names: Vec<&str> = pairs.iter().map(|(name, _)| name.as_str()).collect();
        names.sort_unstable();
        for twice in names.chunk_by(|one, next| one == next).filter(|same| same.len() > 1) {
            let (loc, given) = (vec![json!("query"), json!(twice[0])], json!(twice.len()));
            faults.push(Invalid::new("value_error", loc, "Value error, give it once", given));
        }
        Self { pairs, faults }
    }

    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.pairs.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// A text; absent and empty are the same.
    pub(super) fn word(&self, name: &str) -> String {
        self.text(name).unwrap_or("").to_owned()
    }

    /// Notes what is wrong with a parameter.
    pub(super) fn fault(&mut self, kind: &'static str, name: &str, msg: impl Into<String>) {
        let input = json!(self.text(name));
        self.faults.push(Invalid::new(kind, vec![json!("query"), json!(name)], msg, input));
    }

    pub(super) fn int(&mut self, name: &str, range: std::ops::RangeInclusive<i64>, default: i64) -> i64 {
        let Some(text) = self.text(name).map(str::to_owned) else { return default };
        let loc = vec![json!("query"), json!(name)];
        let Ok(number) = text.trim().parse::<i64>() else {
            let msg = "Input should be a valid integer, unable to parse string as an integer";
            self.faults.push(Invalid::new("int_parsing", loc, msg, json!(text)));
            return default;
        };
        if number < *range.start() {
            let (msg, ctx) = (
                format!("Input should be greater than or equal to {}", range.start()),
                json!({"ge": range.start()}),
            );
            self.faults.push(Invalid::new("greater_than_equal", loc, msg, json!(text)).ctx(ctx));
        } else if number > *range.end() {
            let (msg, ctx) = (
                format!("Input should be less than or equal to {}", range.end()),
                json!({"le": range.end()}),
            );
            self.faults.push(Invalid::new("less_than_equal", loc, msg, json!(text)).ctx(ctx));
        }
        number
    }

    /// A time in any of the forms that are read; absent and empty are the same.
    pub(super) fn time(&mut self, name: &str) -> Option<Timestamp> {
        let text = self.text(name).filter(|text| !text.is_empty())?.to_owned();
        let time = Timestamp::parse(&text);
        if time.is_none() {
            self.fault("datetime_from_date_parsing", name, "Input should be a valid datetime");
        }
        time
    }

    /// `limit`, `page` and `cursor` of the list of that name.
    pub(super) fn paging(&mut self, list: &str) -> Paging {
        let limit = self.int("limit", 1..=500, 50);
        let page = self.int("page", 1..=i64::MAX / 1_000, 1);
        let question = self.question(list);
        let mut after = None;
        if let Some(cursor) = self.text("cursor").filter(|cursor| !cursor.is_empty()) {
            after = open(&question, cursor);
            if after.is_none() {
                let msg = "Value error, this cursor was not made for this list with these filters";
                self.fault("value_error", "cursor", msg);
            } else if page > 1 {
                self.fault("value_error", "page", "Value error, give a page or a cursor, not both");
            }
        }
        Paging { limit, page, after, question }
    }

    /// The list and its filters in one text, whatever their order.
    fn question(&self, list: &str) -> String {
        let mut filters: Vec<(&str, &str)> = self
            .pairs
            .iter()
            .filter(|(name, value)| !OF_THE_PART.contains(&name.as_str()) && !value.is_empty())
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        filters.sort_unstable();
        json!([list, filters]).to_string()
    }

    pub(super) fn done(self) -> Result<(), Problem> {
        if self.faults.is_empty() { Ok(()) } else { Err(Problem::invalid(self.faults)) }
    }
}

fn digest(question: &str, place: &[u8]) -> Vec<u8> {
    let whole = Sha256::new().chain_update(question).chain_update(place).finalize();
    whole.iter().take(SEAL).copied().collect()
}

fn seal(question: &str, place: Place) -> String {
    let mut bytes = [place.at.to_be_bytes(), place.id.to_be_bytes()].concat();
    bytes.extend(digest(question, &bytes));
    URL_SAFE_NO_PAD.encode(bytes)
}

fn open(question: &str, cursor: &str) -> Option<Place> {
    let bytes = URL_SAFE_NO_PAD.decode(cursor).ok()?;
    let (place, sealed) = bytes.split_at_checked(16)?;
    if sealed != digest(question, place) {
        return None;
    }
    let number = |range: std::ops::Range<usize>| Some(i64::from_be_bytes(place.get(range)?.try_into().ok()?));
    Some(Place { at: number(0..8)?, id: number(8..16)? })
}

/// An id in a path: an integer that no row has is 404, anything else 422.
pub(super) fn id(text: &str, what: &str) -> Result<i64, Problem> {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        let loc = vec![json!("path"), json!(format!("{what}_id"))];
        let msg = "Input should be a valid integer, unable to parse string as an integer";
        return Err(Problem::invalid(vec![Invalid::new("int_parsing", loc, msg, json!(text))]));
    }
    text.parse().map_err(|_| absent(what, text))
}

pub(super) fn absent(what: &str, id: &str) -> Problem {
    let mut name = what.to_owned();
    if let Some(first) = name.get_mut(0..1) {
        first.make_ascii_uppercase();
    }
    Problem::missing(format!("{name} with id {id} not found"))
}

/// Longest idempotency key.
const KEY_LENGTH: usize = 255;

/// The idempotency key of a request to `route`, if it has one.
pub(super) fn key(
    route: &str,
    principal: &Principal,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<Option<Key>, Problem> {
    let Some(value) = headers.get("idempotency-key") else { return Ok(None) };
    let text = value.to_str().ok().filter(|text| (1..=KEY_LENGTH).contains(&text.len()));
    let Some(text) = text else {
        let loc = vec![json!("header"), json!("Idempotency-Key")];
        let msg = format!("Value error, an idempotency key has 1 to {KEY_LENGTH} visible characters");
        return Err(Problem::invalid(vec![Invalid::new("value_error", loc, msg, Value::Null)]));
    };
    Ok(Some(Key {
        scope: format!("{}/{route}", principal.key()),
        key: text.to_owned(),
        body_hash: hex(body),
    }))
}

/// The members of a JSON body that nobody reads, in words.
pub(super) fn unknown(strangers: Vec<String>) -> Vec<String> {
    let cut = |name: String| name.chars().take(64).collect::<String>();
    strangers.into_iter().take(100).map(|name| format!("unknown member `{}` is ignored", cut(name))).collect()
}

/// The digest of a value.
pub(super) fn hash(parts: &Value) -> String {
    hex(parts.to_string().as_bytes())
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    Sha256::digest(bytes).iter().fold(String::with_capacity(64), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_opens_only_the_list_it_was_made_for() {
        let ask = |query: &str| Params::new(Some(query.to_owned())).question("actions");
        let place = Place { at: 1_795_450_126_000_000, id: 42 };
        let cursor = seal(&ask("status=failed&target=a"), place);
        assert_eq!(open(&ask("target=a&status=failed&limit=7&cursor=x&origin="), &cursor), Some(place));
        for other in ["", "status=failed", "status=failed&target=b", "status=failed&target=a&action=x"] {
            assert_eq!(open(&ask(other), &cursor), None, "{other}");
        }
        let question = ask("status=failed&target=a");
        for at in 0..cursor.len() {
            let mut forged = cursor.clone().into_bytes();
            forged[at] = if forged[at] == b'A' { b'B' } else { b'A' };
            let forged = String::from_utf8(forged).unwrap();
            assert_eq!(open(&question, &forged), None, "{forged}");
        }
        for nonsense in ["", "abc", "!", &"A".repeat(32), &"A".repeat(4_000)] {
            assert_eq!(open(&question, nonsense), None, "{nonsense}");
        }
    }
}
