//! Which requests a connection lets through, and whether they change anything. Decided without I/O.

use super::path::Path;
use super::settings::{AnswerSettings, EffectSetting, RuleSettings};
use super::{Refusal, xmlrpc};
use crate::domain::mutant::{Fault, holds};

/// HTTP methods that a plugin can use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Method {
    /// Reads.
    Get,
    /// Reads the header fields.
    Head,
    /// Does something.
    Post,
    /// Replaces.
    Put,
    /// Changes.
    Patch,
    /// Removes.
    Delete,
}

impl Method {
    const ALL: [Self; 6] = [Self::Get, Self::Head, Self::Post, Self::Put, Self::Patch, Self::Delete];

    /// As it is sent.
    pub(in super::super) fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
        }
    }

    fn from_str(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|m| m.as_str().eq_ignore_ascii_case(text))
    }

    /// What a request with it does where its rule does not say.
    pub(in super::super) fn usual_effect(self) -> Effect {
        match self {
            Self::Get | Self::Head => Effect::Read,
            Self::Post | Self::Put | Self::Patch | Self::Delete => Effect::Write,
        }
    }
}

/// Whether a request changes anything on the other side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Effect {
    /// Nothing.
    Read,
    /// Something, perhaps.
    Write,
}

/// The rules of one connection.
#[derive(Debug)]
pub(super) struct Rules(Vec<Rule>);

/// One of them.
#[derive(Debug)]
pub(super) struct Rule {
    methods: Vec<Method>,
    path: Vec<String>,
    query: Vec<String>,
    body: Option<Vec<String>>,
    effect: Option<Effect>,
    plan: Option<AnswerSettings>,
}

impl Rules {
    /// Checks the operator's rules; the error says what is wrong with which.
    pub(super) fn new(settings: &[RuleSettings]) -> Result<Self, String> {
        settings
            .iter()
            .enumerate()
            .map(|(n, rule)| Rule::new(rule).map_err(|why| format!("allow rule {}: {why}", n + 1)))
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// The rule that allows a request.
    pub(super) fn check(&self, method: Method, path: &Path<'_>, body: &[u8]) -> Result<&Rule, Refusal> {
        let mut near = None;
        for rule in &self.0 {
            if !rule.methods.contains(&method) || !matches(&rule.path, &path.segments) {
                continue;
            }
            match rule.misfit(path, body) {
                None => return Ok(rule),
                Some(why) => near = Some(why),
            }
        }
        if let (Some(any), false) = (self.0.first(), holds(Fault::Granted)) {
            return Ok(any);
        }
        let why = near.unwrap_or_else(|| "no rule allows this method and path".to_owned());
        Err(Refusal::NotAllowed(why))
    }
}

impl Rule {
    fn new(settings: &RuleSettings) -> Result<Self, String> {
        let methods = settings
            .methods
            .iter()
            .map(|m| Method::from_str(m.trim()).ok_or_else(|| format!("unknown method {m:?}")))
            .collect::<Result<Vec<_>, _>>()?;
        if methods.is_empty() {
            return Err("it names no method".to_owned());
        }
        let Some(path) = settings.path.strip_prefix('/') else {
            return Err(format!("the path {:?} does not begin with `/`", settings.path));
        };
        if settings.effect == Some(EffectSetting::Read) && settings.plan.is_some() {
            return Err("what reads is not answered by a plan".to_owned());
        }
        if settings.plan.as_ref().is_some_and(|answer| !(200..600).contains(&answer.status)) {
            return Err("the plan's answer has a status from 200 to 599".to_owned());
        }
        if path.contains("//") || path.split('/').any(|s| s == "." || s == "..") {
            return Err(format!("the path {:?} can match nothing", settings.path));
        }
        Ok(Self {
            methods,
            path: path.split('/').map(str::to_owned).collect(),
            query: settings.query.clone(),
            body: settings.body.clone(),
            effect: settings.effect.map(|e| match e {
                EffectSetting::Read => Effect::Read,
                EffectSetting::Write => Effect::Write,
            }),
            plan: settings.plan.clone(),
        })
    }

    /// What a request by that method does, which the rule allows.
    pub(super) fn effect(&self, method: Method) -> Effect {
        self.effect.unwrap_or_else(|| method.usual_effect())
    }

    /// What plan mode answers to it.
    pub(super) fn plan(&self) -> Option<&AnswerSettings> {
        self.plan.as_ref()
    }

    /// Why the rule, whose method and path fit, does not allow the request; none if it does.
    fn misfit(&self, path: &Path<'_>, body: &[u8]) -> Option<String> {
        let unknown = |name: &&String| !self.query.iter().any(|q| q == "*" || q == *name);
        if let Some(name) = path.query_names.iter().find(unknown) {
            return Some(format!("no rule allows the query parameter {name:?} here"));
        }
        let patterns = self.body.as_ref()?;
        let methods = match xmlrpc::methods(body) {
            Ok(methods) => methods,
            Err(why) => return Some(format!("the body is no XML-RPC call: {why}")),
        };
        let refused = methods.iter().find(|m| !patterns.iter().any(|p| wildcard(p, m)));
        refused.map(|m| format!("no rule allows the XML-RPC method {m:?}"))
    }
}

/// Segment by segment; `**` stands for any number of segments.
fn matches(pattern: &[String], segments: &[String]) -> bool {
    match pattern.split_first() {
        None => segments.is_empty(),
        Some((first, rest)) if first == "**" => {
            (0..=segments.len()).any(|skip| matches(rest, &segments[skip..]))
        }
        Some((first, rest)) => segments.split_first().is_some_and(|(segment, left)| {
            // A lone `*` is one real segment, so that `/a/*` does not allow `/a/`.
            (first != "*" || !segment.is_empty()) && wildcard(first, segment) && matches(rest, left)
        }),
    }
}

/// `*` stands for any text.
fn wildcard(pattern: &str, text: &str) -> bool {
    let Some((head, tail)) = pattern.split_once('*') else { return pattern == text };
    let Some(mut rest) = text.strip_prefix(head) else { return false };
    let parts: Vec<&str> = tail.split('*').collect();
    let Some((last, middle)) = parts.split_last() else { return true };
    for part in middle {
        // The leftmost fit leaves the most for the others.
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(text: &str) -> Rules {
        #[derive(serde::Deserialize)]
        struct Allow {
            allow: Vec<RuleSettings>,
        }
        Rules::new(&toml::from_str::<Allow>(text).unwrap().allow).unwrap()
    }

    fn check(rules: &Rules, method: Method, path: &str) -> Result<Effect, Refusal> {
        rules.check(method, &Path::parse(path)?, b"").map(|rule| rule.effect(method))
    }

    #[test]
    fn only_what_a_rule_names_passes() {
        let rules = rules(
            r#"allow = ["GET /containers/*/json?size", "POST /containers/web-*/restart?t", "DELETE /tmp/**"]"#,
        );
        assert_eq!(check(&rules, Method::Get, "/containers/a/json"), Ok(Effect::Read));
        assert_eq!(check(&rules, Method::Get, "/containers/a/json?size=1"), Ok(Effect::Read));
        assert_eq!(check(&rules, Method::Post, "/containers/web-1/restart?t=5"), Ok(Effect::Write));
        assert_eq!(check(&rules, Method::Delete, "/tmp/a/b/c"), Ok(Effect::Write));
        for (method, path) in [
            (Method::Post, "/containers/a/json"),
            (Method::Head, "/containers/a/json"),
            (Method::Get, "/containers/a/json?filters=x"),
            (Method::Get, "/containers//json"),
            (Method::Get, "/containers/a/b/json"),
            (Method::Post, "/containers/db/restart"),
            (Method::Post, "/containers/web-1/restart/"),
            (Method::Get, "/"),
        ] {
            assert!(check(&rules, method, path).is_err(), "{method:?} {path} passed");
        }
    }

    #[test]
    fn a_lone_star_is_one_segment() {
        let rules = rules(r#"allow = ["GET /a/*"]"#);
        assert!(check(&rules, Method::Get, "/a/b").is_ok());
        assert!(check(&rules, Method::Get, "/a/").is_err());
        assert!(check(&rules, Method::Get, "/a").is_err());
    }

    #[test]
    fn the_first_rule_that_fits_decides_the_effect() {
        let rules = rules(
            r#"allow = [
            { methods = ["POST"], path = "/RPC2", body = ["supervisor.get*"], effect = "read" },
            { methods = ["POST"], path = "/RPC2", body = ["supervisor.startProcess"] }]"#,
        );
        let call = |method: &str| format!("<methodCall><methodName>{method}</methodName></methodCall>");
        let check = |m: &str| {
            let rule = rules.check(Method::Post, &Path::parse("/RPC2").unwrap(), call(m).as_bytes())?;
            Ok(rule.effect(Method::Post))
        };
        assert_eq!(check("supervisor.getState"), Ok(Effect::Read));
        assert_eq!(check("supervisor.startProcess"), Ok(Effect::Write));
        let Err(Refusal::NotAllowed(why)) = check("supervisor.shutdown") else { panic!() };
        assert!(why.contains("supervisor.shutdown"), "{why}");
        let junk = rules.check(Method::Post, &Path::parse("/RPC2").unwrap(), b"{}");
        assert!(matches!(junk, Err(Refusal::NotAllowed(why)) if why.contains("no XML-RPC call")));
    }

    #[test]
    fn wildcards_match_greedily_enough() {
        for (pattern, text, fits) in [
            ("*", "", true),
            ("a*", "abc", true),
            ("a*c", "abcbc", true),
            ("a*b*c", "a1b2c", true),
            ("a*b*c", "a1c2b", false),
            ("*a*", "bab", true),
            ("a*a", "a", false),
            ("abc", "abcd", false),
        ] {
            assert_eq!(wildcard(pattern, text), fits, "{pattern} {text}");
        }
    }

    #[test]
    fn bad_rules_are_refused_at_the_start() {
        for text in [
            r#""FETCH /x""#,
            r#""GET x""#,
            r#""GET /a//b""#,
            r#""GET /a/../b""#,
            r#"{ methods = ["POST"], path = "/x", plan = { status = 99 } }"#,
            r#"{ methods = ["POST"], path = "/x", effect = "read", plan = {} }"#,
        ] {
            let toml = format!("url = \"http://x\"\nallow = [{text}]");
            let c: super::super::ConnectionSettings = toml::from_str(&toml).unwrap();
            assert!(Rules::new(&c.allow).unwrap_err().starts_with("allow rule 1: "), "{text}");
        }
    }
}
