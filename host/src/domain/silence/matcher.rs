//! One matcher of a silence: `policy`, `target`, `severity`, `action` or `tags.NAME`, one of the operators `=`, `!=`,
//! `=~`, `!~`, and a value. Regular expressions match the whole text. What an event does not have is the empty text.

use std::fmt;

use regex::{Regex, RegexBuilder};
use unicode_normalization::UnicodeNormalization as _;

use crate::domain::event::Tags;

/// Most characters of a matcher.
pub const LENGTH: usize = 512;
/// Most bytes of a compiled regular expression, and of what it remembers while it matches.
const COMPILED: usize = 64 * 1024;
/// Deepest nesting of one.
const NESTING: u32 = 32;

/// What a matcher looks at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Field {
    /// The policy's name.
    Policy,
    /// The target's name.
    Target,
    /// The word of the policy's severity.
    Severity,
    /// The kind of the action that would be made.
    Action,
    /// A tag of the event.
    Tag(String),
}

/// How it compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    /// `=`
    Is,
    /// `!=`
    IsNot,
    /// `=~`
    Matches,
    /// `!~`
    MatchesNot,
}

/// What is looked at.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The policy's name; empty for what people do.
    pub policy: &'a str,
    /// The target's name.
    pub target: &'a str,
    /// The word of the policy's severity; empty for what people do.
    pub severity: &'a str,
    /// The kind of action.
    pub action: &'a str,
    /// The event's tags.
    pub tags: &'a Tags,
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Matcher {
    /// What it looks at.
    pub field: Field,
    /// How it compares.
    pub operator: Operator,
    /// With what.
    pub value: String,
    regex: Option<Regex>,
}

impl Matcher {
    /// Reads `target=~web-.*` or `tags.env = "prod"`, or says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.chars().count() > LENGTH {
            return Err(format!("a matcher has at most {LENGTH} characters"));
        }
        let at = text.find(['=', '!']).ok_or("write NAME=VALUE, or with !=, =~ or !~")?;
        let (name, rest) = text.split_at(at);
        let (operator, value) = operator(rest).ok_or("after the name stands one of =, !=, =~, !~")?;
        let field = field(name.trim())?;
        let value: String = unquoted(value.trim())?.nfc().collect();
        let regex = match operator {
            Operator::Is | Operator::IsNot => None,
            Operator::Matches | Operator::MatchesNot => Some(compiled(&value)?),
        };
        Ok(Self { field, operator, value, regex })
    }

    /// Whether it lets this through.
    #[must_use]
    pub fn matches(&self, subject: &Subject<'_>) -> bool {
        self.takes(match &self.field {
            Field::Policy => subject.policy,
            Field::Target => subject.target,
            Field::Severity => subject.severity,
            Field::Action => subject.action,
            Field::Tag(name) => subject.tags.get(name.as_str()).map_or("", String::as_str),
        })
    }

    /// Whether it lets a text through.
    #[must_use]
    pub fn takes(&self, text: &str) -> bool {
        let regex = |text| self.regex.as_ref().is_some_and(|regex| regex.is_match(text));
        match self.operator {
            Operator::Is => text == self.value,
            Operator::IsNot => text != self.value,
            Operator::Matches => regex(text),
            Operator::MatchesNot => !regex(text),
        }
    }
}

impl fmt::Display for Matcher {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match &self.field {
            Field::Policy => "policy",
            Field::Target => "target",
            Field::Severity => "severity",
            Field::Action => "action",
            Field::Tag(name) => {
                return write!(out, "tags.{name}{}{}", self.operator.sign(), quoted(&self.value));
            }
        };
        write!(out, "{name}{}{}", self.operator.sign(), quoted(&self.value))
    }
}

impl Operator {
    fn sign(self) -> &'static str {
        match self {
            Self::Is => "=",
            Self::IsNot => "!=",
            Self::Matches => "=~",
            Self::MatchesNot => "!~",
        }
    }
}

fn operator(text: &str) -> Option<(Operator, &str)> {
    // The longer ones first: `=~` begins with `=`.
    let all = [Operator::Matches, Operator::MatchesNot, Operator::IsNot, Operator::Is];
    all.into_iter().find_map(|operator| Some((operator, text.strip_prefix(operator.sign())?)))
}

fn field(name: &str) -> Result<Field, String> {
    match name {
        "policy" => Ok(Field::Policy),
        "target" => Ok(Field::Target),
        "severity" => Ok(Field::Severity),
        "action" => Ok(Field::Action),
        _ => match name.strip_prefix("tags.").filter(|tag| !tag.is_empty()) {
            Some(tag) => Ok(Field::Tag(tag.nfc().collect())),
            None => {
                Err(format!("unknown name `{name}`: it is policy, target, severity, action or tags.NAME"))
            }
        },
    }
}

/// A value between quotes, in which `\"` is a quote and `\\` a backslash; any other as it stands.
fn unquoted(text: &str) -> Result<String, String> {
    let Some(inner) = text.strip_prefix('"') else { return Ok(text.to_owned()) };
    let (mut value, mut rest) = (String::with_capacity(inner.len()), inner.chars());
    while let Some(letter) = rest.next() {
        match letter {
            '"' if rest.as_str().is_empty() => return Ok(value),
            '"' => return Err("there is more after the closing quote".to_owned()),
            '\\' => match rest.next() {
                Some(letter @ ('"' | '\\')) => value.push(letter),
                Some(other) => value.extend(['\\', other]),
                None => break,
            },
            other => value.push(other),
        }
    }
    Err("the closing quote is missing".to_owned())
}

/// A value so that it is read as itself again.
fn quoted(value: &str) -> String {
    if value.starts_with(['"', '~']) || value.trim() != value {
        return format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\""));
    }
    value.to_owned()
}

fn compiled(pattern: &str) -> Result<Regex, String> {
    let build = |text: &str| {
        let mut builder = RegexBuilder::new(text);
        builder.size_limit(COMPILED).dfa_size_limit(COMPILED).nest_limit(NESTING).build()
    };
    // By itself first: what only makes sense inside of our brackets is none.
    build(pattern).and_then(|_| build(&format!("^(?:{pattern})$"))).map_err(|wrong| {
        #[expect(clippy::wildcard_enum_match_arm, reason = "an enum of regex, which may grow")]
        match wrong {
            regex::Error::CompiledTooBig(_) => {
                format!("the regular expression takes more than {COMPILED} bytes when compiled")
            }
            other => {
                let text = other.to_string();
                let last = text.lines().next_back().unwrap_or_default();
                format!("no regular expression: {}", last.trim_start_matches("error: "))
            }
        }
    })
}
