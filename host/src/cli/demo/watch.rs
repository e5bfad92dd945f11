//! What is new at the server: incidents, actions and their changes, each told once.

use std::collections::HashMap;

use serde_json::Value;
use tokio::sync::mpsc::UnboundedReceiver;

use super::client::Client;
use super::voice::Voice;
use crate::cli::Error;

/// What has been told so far.
#[derive(Debug)]
pub(super) struct Watch {
    /// What the supervisor was asked to change.
    calls: UnboundedReceiver<String>,
    incidents: HashMap<String, String>,
    actions: HashMap<String, String>,
    /// The incident of this round.
    pub incident: Option<String>,
    /// It was closed as healed.
    pub healed: bool,
    /// It was closed otherwise, or its action failed for good.
    pub lost: Option<String>,
}

impl Watch {
    pub(super) fn new(calls: UnboundedReceiver<String>) -> Self {
        let (incidents, actions) = (HashMap::new(), HashMap::new());
        Self { calls, incidents, actions, incident: None, healed: false, lost: None }
    }

    /// Forgets the round, not what was told.
    pub(super) fn next_round(&mut self) {
        (self.incident, self.healed, self.lost) = (None, false, None);
    }

    /// Asks once and tells what is new, in the order in which it happens.
    pub(super) async fn look(&mut self, api: Client, voice: Voice) -> Result<(), Error> {
        let incidents = api.get("/api/v1/incidents").await?;
        let actions = api.get("/api/v1/actions?limit=10").await?;
        // The newest comes first; it is told last.
        let opened = rows(&incidents, "incidents").filter(|row| text(row, "state") == "open");
        for row in opened.collect::<Vec<_>>().into_iter().rev() {
            self.incident(row, voice);
        }
        let actions: Vec<_> = rows(&actions, "actions").collect();
        for row in actions.iter().rev() {
            self.new_action(row, voice);
        }
        self.tell_calls(voice);
        for row in actions.iter().rev() {
            self.action(row, voice);
        }
        let closed = rows(&incidents, "incidents").filter(|row| text(row, "state") != "open");
        for row in closed.collect::<Vec<_>>().into_iter().rev() {
            self.incident(row, voice);
        }
        Ok(())
    }

    fn incident(&mut self, row: &Value, voice: Voice) {
        let (id, state) = (text(row, "id"), text(row, "state"));
        let before = self.incidents.insert(id.clone(), state.clone());
        if before.as_ref() == Some(&state) {
            return;
        }
        if before.is_none() {
            let (policy, target) = (text(row, "policy_name"), text(row, "target"));
            voice.alarm("incident", &format!("#{id} opened: {policy} on {target}"));
            self.incident = Some(id.clone());
        }
        match state.as_str() {
            "open" => {}
            "healed" => {
                voice.relief("incident", &format!("#{id} closed: healed"));
                self.healed = true;
            }
            other => {
                voice.alarm("incident", &format!("#{id} {other}"));
                self.lost = Some(format!("incident {id} is {other}"));
            }
        }
    }

    fn new_action(&mut self, row: &Value, voice: Voice) {
        let id = text(row, "id");
        self.actions.entry(id).or_insert_with_key(|id| {
            voice.say("action", &format!("#{id} {} on {}", text(row, "action"), text(row, "target")));
            "pending".to_owned()
        });
    }

    fn action(&mut self, row: &Value, voice: Voice) {
        let (id, status) = (text(row, "id"), text(row, "status"));
        if self.actions.insert(id.clone(), status.clone()).as_ref() == Some(&status) {
            return;
        }
        match status.as_str() {
            "completed" => voice.relief("action", &format!("#{id} completed")),
            "failed" | "cancelled" => {
                let why = text(row, "error_message");
                voice.alarm("action", &format!("#{id} {status}: {why}"));
                self.lost = Some(format!("action {id} {status}: {why}"));
            }
            other => voice.say("action", &format!("#{id} {other}")),
        }
    }

    /// Tells which calls have reached the supervisor.
    pub(super) fn tell_calls(&mut self, voice: Voice) {
        while let Ok(call) = self.calls.try_recv() {
            voice.say("plugin", &format!("calls {call}"));
        }
    }
}

/// The rows of a list, which may stand alone or beside a count.
fn rows<'a>(answer: &'a Value, name: &str) -> impl Iterator<Item = &'a Value> {
    answer.as_array().or_else(|| answer[name].as_array()).into_iter().flatten()
}

/// A member as text: a number's digits, nothing for null.
pub(super) fn text(row: &Value, name: &str) -> String {
    match &row[name] {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other @ (Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => other.to_string(),
    }
}
