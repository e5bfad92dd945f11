//! What a plugin says about itself.

use serde_json::Value;

/// How much harm an action can do when it is the wrong one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Risk {
    /// Reads or notifies.
    Low,
    /// Interrupts one target for a moment.
    Medium,
    /// Loses data or capacity.
    High,
}

/// What a second run of the same request does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effects {
    /// Run it again: the result is the same.
    Idempotent,
    /// Run it again with the same execution id, which the other side
    /// deduplicates.
    Keyed,
    /// Never again without a human.
    Unsafe,
}

/// One action that a plugin offers.
#[derive(Clone, Debug, PartialEq)]
pub struct Action {
    /// `[a-z][a-z0-9_-]*`, unique in the plugin.
    pub name: String,
    /// A few words for people.
    pub title: String,
    /// A few sentences for people.
    pub description: String,
    /// JSON Schema (2020-12) of the parameters.
    pub params_schema: Value,
    /// Target kinds it applies to; empty: any.
    pub target_kinds: Vec<String>,
    /// How much harm it can do.
    pub risk: Risk,
    /// What the host may do when the outcome of a run is unknown.
    pub effects: Effects,
    /// The host shortens it to the operator's limit.
    pub default_timeout_ms: u64,
    /// Further facts.
    pub attributes: Vec<(String, String)>,
}

impl Action {
    /// An action that takes any object as parameters, medium risk, 60 s, and
    /// the given effects: what may be repeated is never guessed.
    #[must_use]
    pub fn new(name: &str, title: &str, effects: Effects) -> Self {
        Self {
            name: name.to_owned(),
            title: title.to_owned(),
            description: title.to_owned(),
            params_schema: serde_json::json!({ "type": "object" }),
            target_kinds: Vec::new(),
            risk: Risk::Medium,
            effects,
            default_timeout_ms: 60_000,
            attributes: Vec::new(),
        }
    }

    /// Sets the description.
    #[must_use]
    pub fn description(mut self, text: &str) -> Self {
        text.clone_into(&mut self.description);
        self
    }

    /// Sets the JSON Schema of the parameters.
    #[must_use]
    pub fn params(mut self, schema: Value) -> Self {
        self.params_schema = schema;
        self
    }

    /// Adds a target kind.
    #[must_use]
    pub fn target_kind(mut self, kind: &str) -> Self {
        self.target_kinds.push(kind.to_owned());
        self
    }

    /// Sets the risk.
    #[must_use]
    pub fn risk(mut self, risk: Risk) -> Self {
        self.risk = risk;
        self
    }

    /// Sets the default time limit.
    #[must_use]
    pub fn timeout_ms(mut self, ms: u64) -> Self {
        self.default_timeout_ms = ms;
        self
    }
}

/// A capability that a plugin asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capability {
    /// `connection`, `kv` or `metrics`.
    pub kind: String,
    /// The slot's name for a connection.
    pub name: String,
    /// One line for the operator who decides.
    pub reason: String,
    /// Whether the plugin works without it.
    pub optional: bool,
}

/// What a plugin is.
#[derive(Clone, Debug, PartialEq)]
pub struct Description {
    /// `[a-z][a-z0-9_-]*`, unique on a host.
    pub name: String,
    /// Semantic version.
    pub version: String,
    /// One line for people.
    pub summary: String,
    /// Its actions.
    pub actions: Vec<Action>,
    /// What it needs to work.
    pub capabilities: Vec<Capability>,
    /// JSON Schema of its own configuration.
    pub config_schema: Option<Value>,
    /// Further facts.
    pub attributes: Vec<(String, String)>,
}

impl Description {
    /// A plugin without actions yet.
    #[must_use]
    pub fn new(name: &str, version: &str, summary: &str) -> Self {
        Self {
            name: name.to_owned(),
            version: version.to_owned(),
            summary: summary.to_owned(),
            actions: Vec::new(),
            capabilities: Vec::new(),
            config_schema: None,
            attributes: Vec::new(),
        }
    }

    /// Adds an action.
    #[must_use]
    pub fn action(mut self, action: Action) -> Self {
        self.actions.push(action);
        self
    }

    /// Asks for a connection in the slot `name`, without which the plugin
    /// cannot work.
    #[must_use]
    pub fn connection(mut self, name: &str, reason: &str) -> Self {
        self.capabilities.push(Capability {
            kind: "connection".to_owned(),
            name: name.to_owned(),
            reason: reason.to_owned(),
            optional: false,
        });
        self
    }

    /// Sets the JSON Schema of the plugin's own configuration.
    #[must_use]
    pub fn config(mut self, schema: Value) -> Self {
        self.config_schema = Some(schema);
        self
    }
}
