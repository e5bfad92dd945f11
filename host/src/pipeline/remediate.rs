//! Work for remediators: what is lent to those that ask, in their own words, and what their results mean.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::worker::effects;
use crate::domain::action::Effects;
use crate::plugin::{Plugins, Remediator};
use crate::store::{Offer, Task};

/// How remediators take part.
#[derive(Clone, Debug)]
pub struct Remediation {
    /// Where actions that no plugin serves are pushed to; none: nowhere.
    pub push: Option<Remediator>,
    /// Whether others may push to us.
    pub accept: bool,
    /// Kinds that may be carried out again when it is not known whether they were.
    pub idempotent: Vec<String>,
    /// Whether tasks are told in the Go remediator's vocabulary.
    pub translate: bool,
    /// Time for one try of a remediator's own, as it is told.
    pub task_timeout: Duration,
    /// Tries of its own, as it is told.
    pub task_retries: u32,
    /// Time that a lease holds beyond all of these.
    pub margin: Duration,
    /// This installation, so that nobody pushes to itself.
    pub installation: String,
}

impl Remediation {
    /// How long a remediator's lease holds.
    #[must_use]
    pub fn lease(&self) -> Duration {
        self.task_timeout.saturating_mul(self.task_retries).saturating_add(self.margin)
    }

    /// Whether a waiting action may be lent: a held one, or one that no plugin here serves.
    #[must_use]
    pub fn offer(&self, plugins: &Plugins, task: &Task) -> Offer {
        let route = plugins.route(&task.kind, &task.target);
        // A worker of ours finds out, and ends it.
        if super::approve::diverged(&route, self.push.is_some(), task).is_some() {
            return Offer::Keep;
        }
        // A plugin that lacks a connection serves nothing.
        let served = route.as_ref().is_ok_and(|route| route.bound() || task.approval().is_some());
        if !task.held() && (served || self.push.is_some()) {
            return Offer::Keep;
        }
        let declared = route.map(|route| effects(route.effects));
        // A key means nothing to a remediator, so a keyed kind counts as unsafe with it.
        let known = declared.is_ok_and(|effects| effects == Effects::Idempotent);
        Offer::Lend(if known || self.idempotent.contains(&task.kind) {
            Effects::Idempotent
        } else {
            Effects::Unsafe
        })
    }

    /// An action in the words of a remediator: its kind and its parameters.
    #[must_use]
    pub fn told(&self, kind: &str, target: &str, params: &Value) -> (String, Map<String, Value>) {
        let given = params.as_object().cloned().unwrap_or_default();
        let with = |name: &str, kind: &str| {
            let mut all = Map::from_iter([(name.to_owned(), json!(target))]);
            all.extend(given.clone());
            (kind.to_owned(), all)
        };
        match kind {
            "restart" | "restart-service" if self.translate => with("pod_name", "restart_pod"),
            "scale-up" | "scale-down" if self.translate && given.contains_key("replicas") => {
                with("deployment_name", "scale_deployment")
            }
            _ => (kind.to_owned(), given),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(translate: bool, kind: &str, params: &Value) -> (String, Value) {
        let remediation = Remediation {
            push: None,
            accept: false,
            idempotent: Vec::new(),
            translate,
            task_timeout: Duration::from_mins(1),
            task_retries: 3,
            margin: Duration::from_mins(1),
            installation: String::new(),
        };
        assert_eq!(remediation.lease(), Duration::from_mins(4));
        let (kind, params) = remediation.told(kind, "web-01", params);
        (kind, Value::Object(params))
    }

    #[test]
    fn tasks_are_told_in_the_vocabulary_of_the_go_remediator() {
        for kind in ["restart", "restart-service"] {
            let expected = ("restart_pod".to_owned(), json!({"pod_name": "web-01", "graceful": true}));
            assert_eq!(told(true, kind, &json!({"graceful": true})), expected);
            assert_eq!(told(false, kind, &json!({})), (kind.to_owned(), json!({})));
        }
        let scaled = ("scale_deployment".to_owned(), json!({"deployment_name": "web-01", "replicas": 3}));
        assert_eq!(told(true, "scale-up", &json!({"replicas": 3})), scaled);
        assert_eq!(told(true, "scale-up", &json!({"increment": 1})).0, "scale-up");
        let its_own = ["restart_pod", "scale_deployment", "apply_manifest", "cordon_node", "execute_command"];
        for kind in its_own.into_iter().chain(["drain-pod", "custom", "anything"]) {
            assert_eq!(told(true, kind, &json!({"a": 1})), (kind.to_owned(), json!({"a": 1})));
        }
    }
}
