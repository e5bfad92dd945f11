//! Who did what, and why. An entry is written in the transaction of the change it tells of.

use serde_json::Value;

/// One entry, before it has a place in the log.
#[derive(Clone, Debug)]
pub struct Entry {
    /// `system`, `worker:<boot id>`, `token:<id>:<name>`, `file`; `api` where nobody has to say who they are.
    pub actor: String,
    /// What was done, such as `incident.opened`.
    pub verb: &'static str,
    /// The kind of thing, such as `incident`.
    pub object: &'static str,
    /// Which one.
    pub object_id: String,
    /// The incident it belongs to.
    pub incident_id: Option<i64>,
    /// The action it belongs to.
    pub action_id: Option<i64>,
    /// The values that led to it.
    pub facts: Value,
}

impl Entry {
    /// An entry about an action.
    #[must_use]
    pub fn action(actor: &str, verb: &'static str, id: i64, incident_id: Option<i64>, facts: Value) -> Self {
        Self {
            actor: actor.to_owned(),
            verb,
            object: "action",
            object_id: id.to_string(),
            incident_id,
            action_id: Some(id),
            facts,
        }
    }

    /// An entry about an incident.
    #[must_use]
    pub fn incident(actor: &str, verb: &'static str, id: i64, facts: Value) -> Self {
        Self {
            actor: actor.to_owned(),
            verb,
            object: "incident",
            object_id: id.to_string(),
            incident_id: Some(id),
            action_id: None,
            facts,
        }
    }

    /// An entry about a token.
    #[must_use]
    pub fn token(actor: &str, verb: &'static str, id: i64, facts: Value) -> Self {
        Self {
            actor: actor.to_owned(),
            verb,
            object: "token",
            object_id: id.to_string(),
            incident_id: None,
            action_id: None,
            facts,
        }
    }

    /// An entry about a policy.
    #[must_use]
    pub fn policy(actor: &str, verb: &'static str, name: &str, facts: Value) -> Self {
        Self {
            actor: actor.to_owned(),
            verb,
            object: "policy",
            object_id: name.to_owned(),
            incident_id: None,
            action_id: None,
            facts,
        }
    }
}
