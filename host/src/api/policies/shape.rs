//! The bodies of the policy routes.

use serde::{Serialize, Serializer};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::api::Api;
use crate::api::lax::Flag;
use crate::domain::Timestamp;
use crate::domain::approval::Terms;
use crate::domain::guardrails::Guardrails;
use crate::domain::ladder::Step;
use crate::domain::policy::{Mode, Policy, Severity, Source};
use crate::engine::Compiled;

/// A policy as clients see it.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::api) struct PolicyInfo {
    /// Unique.
    name: String,
    /// For people.
    description: String,
    /// How bad a violation is.
    severity: Severity,
    /// The pattern of targets.
    target: String,
    /// Whether it is evaluated.
    enabled: bool,
    /// Given to the plugin as they are.
    #[schema(value_type = Object)]
    params: Map<String, Value>,
    /// Whether `mode` is `auto`.
    auto_remediate: bool,
    /// As its author wrote it.
    #[schema(value_type = Object)]
    condition: Value,
    /// When it is over, as its author wrote it; absent: when the condition is not met.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>, nullable = false)]
    clear: Option<Value>,
    /// The kind of action.
    action: String,
    /// What it may do by itself.
    mode: Mode,
    /// What holds its actions back.
    guardrails: Guardrails,
    /// What is done after its own action, while nothing helps.
    steps: Vec<Step>,
    /// Who must say yes where it asks.
    approval: Terms,
    /// The condition as CEL, for people; null if this version can't compile it any more.
    #[schema(required = true)]
    cel: Option<String>,
    /// Counts accepted changes, from 1.
    #[schema(minimum = 1)]
    version: i64,
    /// Where it came from.
    source: Source,
    /// The members that were changed over the API since its file was last read; what the file says of the rest counts.
    drifted: Vec<String>,
    /// What its author should know.
    warnings: Vec<String>,
    /// When it was made.
    created_at: Timestamp,
    /// When it was last changed.
    updated_at: Timestamp,
}

impl PolicyInfo {
    pub(in crate::api) fn new(api: &Api, policy: &Policy, warnings: &[String]) -> Self {
        Self {
            name: policy.name.clone(),
            description: policy.description.clone(),
            severity: policy.severity,
            target: policy.target.clone(),
            enabled: policy.enabled,
            params: policy.params.clone(),
            auto_remediate: policy.mode == Mode::Auto,
            condition: policy.condition.clone(),
            clear: policy.clear.clone(),
            action: policy.action.clone(),
            mode: policy.mode,
            guardrails: policy.guardrails.clone(),
            steps: policy.steps.clone(),
            approval: policy.approval,
            cel: cel(api, policy),
            version: policy.version,
            source: policy.source,
            drifted: policy.drifted(),
            warnings: warnings.to_vec(),
            created_at: policy.created_at,
            updated_at: policy.updated_at,
        }
    }
}

/// What the writer has compiled is not compiled again.
fn cel(api: &Api, policy: &Policy) -> Option<String> {
    if let Some(known) =
        api.in_force().by_id(policy.id).filter(|known| known.policy.version == policy.version)
    {
        return Some(known.program.source().to_owned());
    }
    Compiled::new(policy.clone()).map(|compiled| compiled.program.source().to_owned()).ok()
}

/// Policies under their names, in the order of registration: a map of ours, since JSON's own sorts.
pub(super) struct Listing(Vec<PolicyInfo>);

impl Serialize for Listing {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_map(self.0.iter().map(|policy| (&policy.name, policy)))
    }
}

/// Policies and how many there are.
#[derive(Serialize, ToSchema)]
#[schema(as = Policies)]
pub(super) struct Listed {
    /// Always true.
    ok: bool,
    /// How many there are in all, on every page.
    total: usize,
    /// How many of them are enabled.
    enabled_count: usize,
    /// Each under its name, in the order of registration.
    #[schema(value_type = std::collections::HashMap<String, PolicyInfo>)]
    policies: Listing,
    /// Where the next page begins, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    next_cursor: Option<String>,
}

impl Listed {
    pub(super) fn new(
        api: &Api,
        policies: &[Policy],
        (total, enabled_count): (usize, usize),
        next_cursor: Option<String>,
    ) -> Self {
        let infos = policies.iter().map(|policy| PolicyInfo::new(api, policy, &[])).collect();
        Self { ok: true, total, enabled_count, policies: Listing(infos), next_cursor }
    }
}

/// It was done.
#[derive(Serialize, ToSchema)]
#[schema(as = PolicyDone)]
pub(super) struct Done {
    /// Always true.
    pub(super) ok: bool,
    /// What was done, in words.
    pub(super) message: String,
}

/// What a reload of the policy files did.
#[derive(Serialize, ToSchema)]
pub(super) struct Reloaded {
    /// Always true: the good entries are in force.
    pub(super) ok: bool,
    /// How many policies there are now, in words.
    pub(super) message: String,
    /// Names of new policies.
    pub(super) added: Vec<String>,
    /// Names of changed ones.
    pub(super) updated: Vec<String>,
    /// Names of those that stand in no file any more.
    pub(super) removed: Vec<String>,
    /// Entries that were skipped, each with its file, name and reason.
    pub(super) errors: Vec<String>,
    /// What the authors of the others should know.
    pub(super) warnings: Vec<String>,
}

/// The scheduled evaluation.
#[derive(Serialize, ToSchema)]
#[schema(as = PolicyRunner)]
pub(super) struct Runner {
    /// Whether it is switched on.
    pub(super) enabled: bool,
    /// Whether some node ran it within the last three intervals.
    pub(super) running: bool,
    /// Seconds between two evaluations of a target.
    #[serde(serialize_with = "crate::config::whole")]
    pub(super) interval_seconds: f64,
    /// Rows of one database read.
    pub(super) batch_size: u32,
    /// When it last ran.
    #[schema(required = true)]
    pub(super) last_run_at: Option<Timestamp>,
    /// How long that took.
    #[schema(required = true)]
    pub(super) last_duration_ms: Option<f64>,
    /// The node that did it.
    #[schema(required = true)]
    pub(super) leader: Option<String>,
    /// Evaluations it made then.
    #[schema(required = true)]
    pub(super) evaluated: Option<i64>,
}

/// The scheduled evaluation and how it is doing.
#[derive(Serialize, ToSchema)]
#[schema(as = PolicyRunnerStatus)]
pub(super) struct RunnerStatus {
    /// Always true.
    pub(super) ok: bool,
    /// How it is doing.
    pub(super) runner: Runner,
}

/// A policy to be made. Numbers and flags may also be texts.
#[derive(ToSchema)]
#[schema(as = NewPolicy)]
#[expect(dead_code, reason = "it describes what is read member by member")]
pub(super) struct PolicyBody {
    /// Unique; no slash, no control characters.
    #[schema(min_length = 1, max_length = 255)]
    name: String,
    /// For people.
    description: Option<String>,
    /// How bad a violation is: info, warning or critical.
    severity: Option<String>,
    /// The pattern of targets: `all`, a name, or a shell pattern with `*`.
    target: Option<String>,
    /// Whether it is in force at once.
    enabled: Option<Flag>,
    /// Whether it may act by itself.
    auto_remediate: Option<Flag>,
    /// `observe`, `approve` or `auto`; goes before `auto_remediate`. A policy that stands already is raised one step at a
    /// time.
    mode: Option<String>,
    /// When it is violated: an object with `type`.
    #[schema(value_type = Object)]
    condition: Value,
    /// When it is over: an object like `condition`; absent: when that is not met. In between, an incident stays as it is.
    #[schema(value_type = Option<Object>)]
    clear: Option<Value>,
    /// The kind of action.
    #[schema(min_length = 1, max_length = 255)]
    action: String,
    /// Given to the plugin as they are; `cooldown_seconds` also sets the cooldown.
    #[schema(value_type = Option<Object>)]
    params: Option<Value>,
    /// What is done after its own action, while nothing helps: each with action, params, tries, settle, attempts and
    /// timeout. The last may be `notify`, which tells a human.
    #[schema(value_type = Option<Vec<Object>>)]
    steps: Option<Value>,
    /// What holds its actions back: for, keep, cooldown, `max_actions`, window, `max_event_age`, settle, tries, attempts,
    /// timeout, relapse, breaker, rest, `blast_radius`, `mass_failure`, flapping, ramp, group, effectiveness.
    #[schema(value_type = Option<Object>)]
    guardrails: Option<Value>,
    /// Who must say yes where it asks: within (30m), people (1) and `not_author` (false).
    #[schema(value_type = Option<Object>)]
    approval: Option<Value>,
}

/// What is to be changed; null or absent: as before.
#[derive(ToSchema)]
#[schema(as = PolicyChange)]
#[expect(dead_code, reason = "it describes what is read member by member")]
pub(super) struct ChangeBody {
    /// For people.
    description: Option<String>,
    /// info, warning or critical.
    severity: Option<String>,
    /// The pattern of targets.
    target: Option<String>,
    /// Whether it is evaluated.
    enabled: Option<Flag>,
    /// Whether it may act by itself; changes nothing where the mode is `approve`.
    auto_remediate: Option<Flag>,
    /// `observe`, `approve` or `auto`: lowered at will, raised one step at a time.
    mode: Option<String>,
    /// Raises from observe to auto at once, which is written down.
    force: Option<Flag>,
    /// Replaced whole.
    #[schema(value_type = Option<Object>)]
    params: Option<Value>,
}
