//! Who may do what: the five roles, and the permissions that routes ask for.

use globset::{Glob, GlobMatcher};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What a route asks of its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Permission {
    /// None: signs of life.
    Public,
    /// Send metrics.
    Ingest,
    /// Take tasks as a remediator and report their results.
    Pull,
    /// See everything but secrets.
    Read,
    /// Make, queue, cancel, approve and resolve actions; pause.
    Operate,
    /// Change policies.
    Author,
    /// Tokens, settings, plugins.
    Admin,
}

impl Permission {
    /// Every permission that a token can give.
    pub const ALL: [Self; 6] =
        [Self::Ingest, Self::Pull, Self::Read, Self::Operate, Self::Author, Self::Admin];

    /// Its word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Ingest => "ingest",
            Self::Pull => "pull",
            Self::Read => "read",
            Self::Operate => "operate",
            Self::Author => "author",
            Self::Admin => "admin",
        }
    }

    /// The permission of that word; being public is none.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|permission| permission.word() == word)
    }
}

/// What a token is for. From viewer to admin each may what the one before may, and more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// A program that sends metrics or carries out tasks; it sees nothing else.
    Agent,
    /// Reads.
    Viewer,
    /// Acts by hand, too.
    Operator,
    /// Writes policies, too.
    Author,
    /// Everything.
    Admin,
}

impl Role {
    /// All of them, the weakest first.
    pub const ALL: [Self; 5] = [Self::Agent, Self::Viewer, Self::Operator, Self::Author, Self::Admin];

    /// Its word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Author => "author",
            Self::Admin => "admin",
        }
    }

    /// The role of that word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.word() == word)
    }

    /// Whether it has a permission.
    #[must_use]
    pub fn may(self, permission: Permission) -> bool {
        match permission {
            Permission::Public => true,
            Permission::Ingest | Permission::Pull => matches!(self, Self::Agent | Self::Admin),
            Permission::Read => self != Self::Agent,
            Permission::Operate => matches!(self, Self::Operator | Self::Author | Self::Admin),
            Permission::Author => matches!(self, Self::Author | Self::Admin),
            Permission::Admin => self == Self::Admin,
        }
    }
}

/// The targets that a token may touch: names, in which `*` stands for anything. None at all: every target.
///
/// Only `*` is special, so that a policy's own pattern can be compared as if it were a name: where `web-*` takes the
/// text of a pattern, it takes every name that the pattern takes.
#[derive(Clone, Debug, Default)]
pub struct Scope {
    texts: Vec<String>,
    globs: Vec<GlobMatcher>,
}

impl Scope {
    /// Patterns in one scope.
    pub const MOST: usize = 50;

    /// The scope of these patterns, or the one that can't be used and why.
    pub fn new(texts: Vec<String>) -> Result<Self, (usize, &'static str)> {
        let mut globs = Vec::with_capacity(texts.len());
        for (at, text) in texts.iter().enumerate() {
            if text.is_empty() || text.chars().count() > 255 || text.chars().any(char::is_control) {
                return Err((at, "a pattern has 1 to 255 characters and no control characters"));
            }
            if text.contains(['?', '[', ']', '{', '}', '!', ',', '\\']) {
                return Err((at, "only `*` is special in a token's pattern; ? [ ] { } ! , \\ can't be used"));
            }
            let glob = Glob::new(text).map_err(|_| (at, "is no pattern"))?;
            globs.push(glob.compile_matcher());
        }
        Ok(Self { texts, globs })
    }

    /// The patterns.
    #[must_use]
    pub fn texts(&self) -> &[String] {
        &self.texts
    }

    /// Whether a target of this name may be touched.
    #[must_use]
    pub fn takes(&self, target: &str) -> bool {
        self.globs.is_empty() || self.globs.iter().any(|glob| glob.is_match(target))
    }

    /// Whether everything that a policy's pattern takes may be touched; `all` means every target.
    #[must_use]
    pub fn takes_pattern(&self, pattern: &str) -> bool {
        let pattern = if pattern == "all" { "*" } else { pattern };
        self.takes(pattern)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_grow_and_agents_stand_aside() {
        let may = |role: Role| {
            Permission::ALL.map(|permission| u8::from(role.may(permission)).to_string()).concat()
        };
        let table = Role::ALL.map(may);
        assert_eq!(table, ["110000", "001000", "001100", "001110", "111111"]);
    }

    #[test]
    fn a_scope_takes_names_and_what_patterns_take() {
        let scope = Scope::new(vec!["web-*".into(), "db".into()]).unwrap();
        for (target, takes) in
            [("web-1", true), ("web-", true), ("db", true), ("db1", false), ("all", false), ("", false)]
        {
            assert_eq!(scope.takes(target), takes, "{target}");
        }
        for (pattern, takes) in [
            ("web-*", true),
            ("web-?[ab]", true),
            ("*", false),
            ("all", false),
            ("w*", false),
            ("db*", false),
        ] {
            assert_eq!(scope.takes_pattern(pattern), takes, "{pattern}");
        }
        assert!(!Scope::new(vec!["a*".into()]).unwrap().takes_pattern("all"), "`all` is no name here");
        assert!(Scope::new(vec!["*".into()]).unwrap().takes_pattern("all"));
        assert!(Scope::default().takes("anything") && Scope::default().takes_pattern("all"));
        for wrong in ["", "a?", "[a]", "{a,b}", "a\n", "a,b"] {
            assert!(Scope::new(vec![wrong.into()]).is_err(), "{wrong:?}");
        }
    }
}
