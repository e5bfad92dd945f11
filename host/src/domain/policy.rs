//! A rule: when it is met, on what, and what is done about it.

use globset::{GlobBuilder, GlobMatcher};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::Timestamp;
use super::approval::Terms;
use super::guardrails::Guardrails;
use super::ladder::Step;
use super::mutant::{Fault, holds};

/// How bad a violation is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Worth knowing.
    Info,
    /// Worth looking at.
    #[default]
    Warning,
    /// Worth waking someone.
    Critical,
}

impl Severity {
    /// All of them, in rising order.
    pub const ALL: [Self; 3] = [Self::Info, Self::Warning, Self::Critical];

    /// Its word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }

    /// The severity of that word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|severity| severity.word() == word)
    }

    /// What an action made at this severity is queued as: 0 runs first.
    #[must_use]
    pub fn priority(self) -> Priority {
        match self {
            Self::Critical => Priority::High,
            Self::Warning => Priority::Medium,
            Self::Info => Priority::Low,
        }
    }
}

/// The order in which ready actions are claimed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Priority {
    /// First.
    High,
    /// Second.
    #[default]
    Medium,
    /// Last.
    Low,
}

impl Priority {
    /// All of them, first to last: the order of the queue's lists.
    pub const ALL: [Self; 3] = [Self::High, Self::Medium, Self::Low];

    /// Its number in the database: 0 is claimed first.
    #[must_use]
    pub fn number(self) -> i64 {
        match self {
            Self::High => 0,
            Self::Medium => 1,
            Self::Low => 2,
        }
    }

    /// Its word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::High => "high",
            Self::Medium => "medium",
            Self::Low => "low",
        }
    }

    /// The priority of that word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|priority| priority.word() == word)
    }

    /// The priority of that number; what we never wrote counts as low.
    #[must_use]
    pub fn from_number(number: i64) -> Self {
        Self::ALL.into_iter().find(|priority| priority.number() == number).unwrap_or(Self::Low)
    }
}

/// What a policy may do by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Report violations, act on none.
    #[default]
    Observe,
    /// Ask people before each action, within the guardrails.
    Approve,
    /// Act within the guardrails.
    Auto,
}

impl Mode {
    /// All of them, in the order in which a policy is promoted.
    pub const ALL: [Self; 3] = [Self::Observe, Self::Approve, Self::Auto];

    /// Its word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Observe => "observe",
            Self::Approve => "approve",
            Self::Auto => "auto",
        }
    }

    /// The mode of that word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mode| mode.word() == word)
    }

    /// Whether it makes actions, be it by itself or after a person's yes.
    #[must_use]
    pub fn acts(self) -> bool {
        match self {
            Self::Observe => false,
            Self::Approve | Self::Auto => true,
        }
    }
}

/// Where a policy came from: a sync of files leaves those made over the API alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = PolicySource)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// Made over the API.
    #[default]
    Api,
    /// Read from a policy file.
    File,
}

impl Source {
    /// Its word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Api => "api",
            Self::File => "file",
        }
    }
}

/// What an author wrote, already checked. This is what is stored, as JSON.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Spec {
    /// Unique, 1 to 255 characters, no slash, no control characters.
    pub name: String,
    /// For people.
    pub description: String,
    /// How bad a violation is.
    pub severity: Severity,
    /// The pattern of targets.
    pub target: String,
    /// What it may do by itself.
    pub mode: Mode,
    /// As the author wrote it.
    pub condition: Value,
    /// When it is over, as the author wrote it; none: when the condition is not met.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clear: Option<Value>,
    /// The kind of action.
    pub action: String,
    /// Given to the plugin as they are.
    pub params: Map<String, Value>,
    /// What is done after that, while nothing helps.
    #[serde(default)]
    pub steps: Vec<Step>,
    /// What holds its actions back.
    pub guardrails: Guardrails,
    /// Who must say yes where it asks.
    #[serde(default)]
    pub approval: Terms,
}

/// A policy as it is in force.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Its id, which is also the order of registration.
    pub id: i64,
    /// Counts accepted changes, from 1.
    pub version: i64,
    /// Disabled policies are kept and not evaluated.
    pub enabled: bool,
    /// What its file said of `enabled` when it was last read.
    pub declared: Option<bool>,
    /// What its file said of the rest then, if that is not what it says now.
    pub filed: Option<Box<Spec>>,
    /// Where it came from.
    pub source: Source,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// What it says.
    pub spec: Spec,
}

impl Policy {
    /// The members that somebody has changed since its file was last read, sorted; none for one that is in no file.
    #[must_use]
    pub fn drifted(&self) -> Vec<String> {
        let mut members = match &self.filed {
            Some(filed) => filed.differs(&self.spec),
            None => Vec::new(),
        };
        if self.source == Source::File && self.declared.is_some_and(|declared| declared != self.enabled) {
            members.push("enabled".to_owned());
            members.sort();
        }
        members
    }
}

impl Spec {
    /// The members in which two specs differ, sorted.
    #[must_use]
    pub fn differs(&self, other: &Self) -> Vec<String> {
        let members = |spec: &Self| match serde_json::to_value(spec) {
            Ok(Value::Object(members)) => members,
            Ok(_) | Err(_) => Map::new(),
        };
        let (mine, theirs) = (members(self), members(other));
        let mut names: Vec<String> = mine.keys().chain(theirs.keys()).cloned().collect();
        names.sort();
        names.dedup();
        names.retain(|name| mine.get(name) != theirs.get(name));
        names
    }
}

impl std::ops::Deref for Policy {
    type Target = Spec;
    fn deref(&self) -> &Spec {
        &self.spec
    }
}

/// Which targets a policy is for.
#[derive(Clone, Debug)]
pub enum Pattern {
    /// `all` or `*`.
    Everything,
    /// No star in it: this name and no other.
    Exactly(String),
    /// A shell pattern over the whole name, in which `*` also matches `/` and `.`.
    Glob(Box<GlobMatcher>),
}

impl Pattern {
    /// Compiles a pattern, or says why it is none.
    pub fn new(text: &str) -> Result<Self, String> {
        match text {
            "" if holds(Fault::EmptyPattern) => Err("must not be blank".to_owned()),
            "" | "all" | "*" => Ok(Self::Everything),
            literal if !literal.contains('*') => Ok(Self::Exactly(literal.to_owned())),
            glob => {
                // Braces are ordinary characters in a shell pattern, alternatives in globset.
                let escaped = glob.replace('{', "[{]").replace('}', "[}]");
                GlobBuilder::new(&escaped)
                    .literal_separator(false)
                    .backslash_escape(false)
                    .build()
                    .map(|glob| Self::Glob(Box::new(glob.compile_matcher())))
                    .map_err(|wrong| wrong.kind().to_string())
            }
        }
    }

    /// Whether `target` is one of them.
    #[must_use]
    pub fn matches(&self, target: &str) -> bool {
        match self {
            Self::Everything => true,
            Self::Exactly(name) => name == target,
            Self::Glob(glob) => glob.is_match(target),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Pattern;

    #[test]
    fn patterns_match_as_a_shell_does_over_the_whole_name() {
        let table = [
            ("all", "anything", true),
            ("*", "a/b.c", true),
            ("web-*", "web-01", true),
            ("web-*", "Web-01", false),
            ("web-*", "my-web-01", false),
            ("*-[0-9][!0]", "a/x-07", true),
            ("*-[0-9][!0]", "a/x-10", false),
            ("web-?", "web-1", false),
            ("web-?", "web-?", true),
            ("w?b*", "wab", true),
            ("{a,b}*", "a1", false),
            ("{a,b}*", "{a,b}1", true),
        ];
        for (pattern, target, expected) in table {
            assert_eq!(Pattern::new(pattern).unwrap().matches(target), expected, "{pattern} on {target}");
        }
        assert!(Pattern::new("").is_err());
        assert!(Pattern::new("a*[").is_err());
    }
}
