//! Conditional requests on things with versions: the tag of an edition, and what `If-Match` and `If-None-Match`
//! say about it.

use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};

use super::problem::Problem;
use crate::store::Edition;

/// The strong tag of an edition. A thing made again under an old name has another.
pub(super) fn tag(edition: Edition) -> HeaderValue {
    HeaderValue::from_str(&text(edition)).unwrap_or_else(|_| HeaderValue::from_static("\"\""))
}

fn text(edition: Edition) -> String {
    format!("\"{}-{}\"", edition.id, edition.version)
}

/// What a client says it has seen.
pub(super) enum Seen {
    /// Nothing: it takes whatever is there.
    Anything,
    /// One of these, and no other.
    These(Vec<String>),
}

impl Seen {
    /// What `If-Match` says; `*` is any edition of a thing that is there.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        match tags(headers, &header::IF_MATCH) {
            Some(tags) if !tags.iter().any(|tag| tag == "*") => Self::These(tags),
            Some(_) | None => Self::Anything,
        }
    }

    /// 412 where that edition is none of those it has seen. Weak tags match nothing here.
    pub(super) fn check(&self, edition: Edition) -> Result<(), Problem> {
        match self {
            Self::Anything => Ok(()),
            Self::These(tags) if tags.contains(&text(edition)) => Ok(()),
            Self::These(_) => Err(stale()),
        }
    }

    /// Whether a change that met a newer edition may look again.
    pub(super) fn may_look_again(&self) -> bool {
        matches!(self, Self::Anything)
    }
}

/// 412.
pub(super) fn stale() -> Problem {
    let text = "it was changed since you read it: read it again, and send your change with its new ETag";
    Problem::new(StatusCode::PRECONDITION_FAILED, text)
}

/// Whether the client has this edition already: `If-None-Match`, where weak tags count.
pub(super) fn unchanged(headers: &HeaderMap, edition: Edition) -> bool {
    let own = text(edition);
    tags(headers, &header::IF_NONE_MATCH)
        .is_some_and(|tags| tags.iter().any(|tag| tag == "*" || tag.trim_start_matches("W/") == own))
}

/// The tags of a header that is there. Our own hold no comma.
fn tags(headers: &HeaderMap, name: &HeaderName) -> Option<Vec<String>> {
    let all = headers.get_all(name);
    all.iter().next()?;
    let texts = all.iter().filter_map(|value| value.to_str().ok());
    Some(texts.flat_map(|text| text.split(',')).map(|tag| tag.trim().to_owned()).collect())
}
