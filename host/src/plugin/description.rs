//! What a plugin says about itself, checked.

use std::collections::BTreeSet;
use std::time::Duration;

use super::bindings::exports::vigil::remediator::remediator as guest;
use super::schema::Schema;
use super::types::{Effects, Risk};

/// The most actions and capabilities of one plugin.
const MAX_ITEMS: usize = 64;
/// The longest name.
const MAX_NAME: usize = 64;
/// The longest text for people.
const MAX_TEXT: usize = 4 << 10;

/// A description that keeps the contract.
#[derive(Debug)]
pub(super) struct Description {
    /// Unique on a host.
    pub(super) name: String,
    /// Semantic version.
    pub(super) version: String,
    /// One line for people.
    pub(super) summary: String,
    /// At least one.
    pub(super) actions: Vec<Action>,
    /// Connection slots that it asks for.
    pub(super) slots: Vec<Slot>,
    /// Other capabilities that it asks for, by kind.
    pub(super) others: Vec<String>,
    /// Of its own configuration.
    pub(super) config: Option<Schema>,
}

/// One action that a plugin offers.
#[derive(Debug)]
pub(super) struct Action {
    pub(super) name: String,
    pub(super) title: String,
    pub(super) description: String,
    pub(super) schema: Schema,
    pub(super) target_kinds: Vec<String>,
    pub(super) risk: Risk,
    pub(super) effects: Effects,
    pub(super) timeout: Duration,
    /// Plan mode foretells all of it, by its author's word: the attribute `plan` is `whole`.
    pub(super) foretold: bool,
}

/// A connection that a plugin asks for.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) name: String,
    pub(super) reason: String,
    pub(super) optional: bool,
}

impl Description {
    /// Checks what a plugin gave; the error is in words that follow "it".
    pub(super) fn new(given: guest::Description) -> Result<Self, String> {
        name("the plugin's name", &given.name)?;
        version(&given.version)?;
        text("the summary", &given.summary)?;
        if given.actions.is_empty() {
            return Err("describes no action".to_owned());
        }
        if given.actions.len() > MAX_ITEMS || given.capabilities.len() > MAX_ITEMS {
            return Err(format!("describes more than {MAX_ITEMS} actions or capabilities"));
        }
        let mut seen = BTreeSet::new();
        if let Some(twice) = given.actions.iter().find(|a| !seen.insert(&a.name)) {
            return Err(format!("describes the action {:?} twice", twice.name));
        }
        let (mut slots, mut others) = (Vec::new(), Vec::new());
        for c in given.capabilities {
            text("a capability's reason", &c.reason)?;
            match c.kind.as_str() {
                "connection" => {
                    name("a slot's name", &c.name)?;
                    slots.push(Slot { name: c.name, reason: c.reason, optional: c.optional });
                }
                "kv" | "metrics" => others.push(c.kind),
                _ if c.optional => {}
                other => return Err(format!("needs the capability {other:?}, which the host does not know")),
            }
        }
        let config = given.config_schema.as_deref().map(Schema::new).transpose();
        Ok(Self {
            actions: given.actions.into_iter().map(Action::new).collect::<Result<_, _>>()?,
            config: config.map_err(|why| format!("has a bad config-schema: {why}"))?,
            name: given.name,
            version: given.version,
            summary: given.summary,
            slots,
            others,
        })
    }

    /// The action of that name.
    pub(super) fn action(&self, name: &str) -> Option<&Action> {
        self.actions.iter().find(|a| a.name == name)
    }
}

impl Action {
    fn new(given: guest::ActionInfo) -> Result<Self, String> {
        name("an action's name", &given.name)?;
        text("an action's title", &given.title)?;
        text("an action's description", &given.description)?;
        let schema = Schema::new(&given.params_schema)
            .map_err(|why| format!("has a bad params-schema for the action {:?}: {why}", given.name))?;
        if given.default_timeout_ms == 0 {
            return Err(format!("gives the action {:?} no time", given.name));
        }
        Ok(Self {
            schema,
            name: given.name,
            title: given.title,
            description: given.description,
            target_kinds: given.target_kinds,
            risk: match given.risk {
                guest::Risk::Low => Risk::Low,
                guest::Risk::Medium => Risk::Medium,
                guest::Risk::High => Risk::High,
            },
            effects: match given.effects {
                guest::Effects::Idempotent => Effects::Idempotent,
                guest::Effects::Keyed => Effects::Keyed,
                guest::Effects::Unsafe => Effects::Unsafe,
            },
            timeout: Duration::from_millis(given.default_timeout_ms),
            foretold: given.attributes.iter().any(|(name, value)| name == "plan" && value == "whole"),
        })
    }
}

fn name(what: &str, name: &str) -> Result<(), String> {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
    let begins = name.starts_with(|c: char| c.is_ascii_lowercase());
    if begins && name.len() <= MAX_NAME && name.chars().all(fits) {
        return Ok(());
    }
    let shown: String = name.chars().take(MAX_NAME).collect();
    Err(format!(
        "has a bad description: {what} is {shown:?}, it must match [a-z][a-z0-9_-]* and have at most 64 characters"
    ))
}

fn text(what: &str, text: &str) -> Result<(), String> {
    if text.len() > MAX_TEXT {
        return Err(format!("has a bad description: {what} is longer than 4 KiB"));
    }
    Ok(())
}

fn version(version: &str) -> Result<(), String> {
    let core = version.split(['-', '+']).next().unwrap_or_default();
    let numbers: Vec<_> = core.split('.').map(str::parse::<u64>).collect();
    let fits = |c: char| c.is_ascii_alphanumeric() || ".-+".contains(c);
    if numbers.len() == 3
        && numbers.iter().all(Result::is_ok)
        && version.len() <= MAX_NAME
        && version.chars().all(fits)
    {
        return Ok(());
    }
    let shown: String = version.chars().take(MAX_NAME).collect();
    Err(format!("has a bad description: the version {shown:?} is not semantic, such as 1.0.0"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn action(name: &str) -> guest::ActionInfo {
        guest::ActionInfo {
            name: name.to_owned(),
            title: "Restart".to_owned(),
            description: String::new(),
            params_schema: "{}".to_owned(),
            target_kinds: Vec::new(),
            risk: guest::Risk::Low,
            effects: guest::Effects::Unsafe,
            default_timeout_ms: 1_000,
            attributes: Vec::new(),
        }
    }

    fn given() -> guest::Description {
        guest::Description {
            name: "demo".to_owned(),
            version: "1.0.0-rc.1+b".to_owned(),
            summary: "A demo".to_owned(),
            actions: vec![action("restart"), action("scale_up")],
            capabilities: vec![guest::CapabilityRequest {
                kind: "connection".to_owned(),
                name: "api".to_owned(),
                reason: String::new(),
                optional: false,
            }],
            config_schema: None,
            attributes: Vec::new(),
        }
    }

    #[test]
    fn a_good_one_passes() {
        let d = Description::new(given()).unwrap();
        assert_eq!(d.action("restart").unwrap().effects, Effects::Unsafe);
        assert_eq!(d.slots[0].name, "api");
        assert!(!d.action("restart").unwrap().foretold);
        let mut given = given();
        given.actions[0].attributes.push(("plan".to_owned(), "whole".to_owned()));
        let d = Description::new(given).unwrap();
        assert!(d.action("restart").unwrap().foretold && !d.action("scale_up").unwrap().foretold);
    }

    #[test]
    fn every_rule_has_its_reason() {
        type Change = fn(&mut guest::Description);
        let cases: [(Change, &str); 9] = [
            (|d| d.name = "../../x".to_owned(), "the plugin's name"),
            (|d| d.name = "a".repeat(65), "the plugin's name"),
            (|d| d.version = "1.0".to_owned(), "the version"),
            (|d| d.actions.clear(), "describes no action"),
            (|d| d.actions[1].name = "restart".to_owned(), "twice"),
            (|d| d.actions[0].params_schema = "{\"type\": 1}".to_owned(), "bad params-schema"),
            (|d| d.actions[0].default_timeout_ms = 0, "no time"),
            (|d| d.capabilities[0].kind = "teleport".to_owned(), "the capability \"teleport\""),
            (|d| d.summary = "x".repeat(5_000), "the summary is longer"),
        ];
        for (change, reason) in cases {
            let mut bad = given();
            change(&mut bad);
            let why = Description::new(bad).unwrap_err();
            assert!(why.contains(reason), "{why}");
        }
    }
}
