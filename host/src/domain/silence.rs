//! Silences: what matches one is left alone for a time. Violations of it open incidents and are decided about; they start
//! nothing.

mod calendar;
mod matcher;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use serde::Serialize;

use super::Timestamp;
use super::mutant::{Fault, holds};
pub use calendar::{Calendar, ENDLESS, ENTRIES, Hours, Recurring, Window, Wrong};
pub use matcher::{Field, LENGTH, Matcher, Operator, Subject};

/// Most silences that are not over.
pub const MOST: i64 = 1_000;
/// Most matchers of one.
pub const MATCHERS: usize = 16;

/// What people want left alone, when and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wish {
    /// Matchers as texts; all of them must match.
    pub matchers: Vec<String>,
    /// From when on.
    pub starts_at: Timestamp,
    /// Until when; none only where it is recurring.
    pub ends_at: Option<Timestamp>,
    /// Between these, only then.
    pub recurring: Option<Recurring>,
    /// Why.
    pub comment: String,
}

/// A silence as it is kept.
#[derive(Clone, Debug)]
pub struct Silence {
    /// Its number.
    pub id: i64,
    /// Counts its changes, from 1.
    pub version: i64,
    /// What it says.
    pub wish: Wish,
    /// Who made it.
    pub author: String,
    /// When.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// When somebody ended it.
    pub expired_at: Option<Timestamp>,
}

/// How a silence stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[schema(as = SilenceState)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It holds later, or again.
    Pending,
    /// It holds.
    Active,
    /// It is over for good.
    Expired,
}

impl State {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Pending, Self::Active, Self::Expired];

    /// Its word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Active => "active",
            Self::Expired => "expired",
        }
    }

    /// How a silence stands whose next window is that one.
    #[must_use]
    pub fn of(next: Option<Window>, now: Timestamp) -> Self {
        match next {
            Some((from, to)) if from <= now && now < to => Self::Active,
            Some(_) => Self::Pending,
            // One whose days do not come again before its end is over, too.
            None => Self::Expired,
        }
    }

    /// The state of that word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.word() == word)
    }
}

impl Silence {
    /// Whether it is over for good.
    #[must_use]
    pub fn over(&self, now: Timestamp) -> bool {
        self.expired_at.is_some() || self.wish.ends_at.is_some_and(|end| end <= now)
    }

    /// The next `count` times that it holds and that end after `now`, by its own calendar; the first may have begun.
    #[must_use]
    pub fn windows(&self, calendar: Option<&Calendar>, now: Timestamp, count: usize) -> Vec<Window> {
        if self.over(now) {
            return Vec::new();
        }
        let starts = self.wish.starts_at;
        let last = self.wish.ends_at.unwrap_or(Timestamp::from_micros(i64::MAX));
        let Some(calendar) = calendar else { return vec![(starts, last)] };
        let windows = calendar.upcoming(now.max(starts), count).into_iter();
        windows.map(|(from, to)| (from.max(starts), to.min(last))).filter(|(from, to)| from < to).collect()
    }
}

/// Reads matchers; what is wrong comes with the place of the matcher, or none where it is all of them together.
pub fn matchers(texts: &[String]) -> Result<Vec<Matcher>, (Option<usize>, String)> {
    let one = |(at, text): (usize, &String)| Matcher::parse(text).map_err(|why| (Some(at), why));
    let all: Vec<Matcher> = texts.iter().enumerate().map(one).collect::<Result<_, _>>()?;
    if all.len() > MATCHERS {
        return Err((None, format!("a silence has at most {MATCHERS} matchers")));
    }
    if all.iter().all(|matcher| matcher.takes("")) && holds(Fault::EmptyMatchers) {
        let why = "an empty selector selects nothing: at least one matcher must not match the empty text";
        return Err((None, why.to_owned()));
    }
    Ok(all)
}

/// A silence that can be asked.
#[derive(Debug)]
pub struct Compiled {
    /// What it is.
    pub silence: Silence,
    matchers: Vec<Matcher>,
    calendar: Option<Calendar>,
}

impl Compiled {
    /// Compiles a silence, or says what is wrong with it.
    pub fn new(silence: Silence) -> Result<Self, String> {
        let matchers = matchers(&silence.wish.matchers).map_err(|(_, why)| why)?;
        let calendar = silence.wish.recurring.as_ref().map(Calendar::new).transpose();
        Ok(Self { matchers, calendar: calendar.map_err(|wrong| wrong.why)?, silence })
    }

    /// Whether it is about this.
    #[must_use]
    pub fn matches(&self, subject: &Subject<'_>) -> bool {
        self.matchers.iter().all(|matcher| matcher.matches(subject))
    }

    /// Its matchers.
    #[must_use]
    pub fn matchers(&self) -> &[Matcher] {
        &self.matchers
    }

    /// See [`Silence::windows`].
    #[must_use]
    pub fn windows(&self, now: Timestamp, count: usize) -> Vec<Window> {
        self.silence.windows(self.calendar.as_ref(), now, count)
    }
}

/// A silence that holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[schema(as = SilenceHeld)]
pub struct Held {
    /// Its number.
    pub id: i64,
    /// Who made it.
    pub author: String,
    /// Why.
    pub comment: String,
    /// Until when it holds.
    pub until: Timestamp,
}

impl Held {
    /// Which silence it is, whose and why.
    #[must_use]
    pub fn words(&self) -> String {
        let Self { id, author, comment, until } = self;
        format!("silence {id} of {author} holds it back until {until}: {comment}")
    }
}

/// A silence that holds, and until when.
pub type Holding = (Arc<Compiled>, Timestamp);

/// The silences that hold at one moment.
#[derive(Clone, Debug, Default)]
pub struct Active(Option<Arc<Vec<Holding>>>);

impl Active {
    /// These hold, each until then.
    #[must_use]
    pub fn new(list: Vec<Holding>) -> Self {
        Self((!list.is_empty()).then(|| Arc::new(list)))
    }

    /// The one that holds this back, and of several the one that does longest.
    #[must_use]
    pub fn holding(&self, subject: &Subject<'_>) -> Option<Held> {
        let matching = self.0.iter().flat_map(|list| list.iter()).filter(|(one, _)| one.matches(subject));
        let (one, until) = matching.max_by_key(|(one, until)| (*until, -one.silence.id))?;
        let Silence { id, author, wish, .. } = &one.silence;
        Some(Held { id: *id, author: author.clone(), comment: wish.comment.clone(), until: *until })
    }
}
