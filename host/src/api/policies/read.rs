//! A policy as authors write it, over HTTP or in a file, to a checked one.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::promote::{Said, terms};
use super::steps::steps;
use super::{fleet, pace};

use crate::api::input::Fields;
use crate::api::problem::{Invalid, Problem};
use crate::cel::Program;
use crate::domain::approval::Terms;
use crate::domain::guardrails::Guardrails;
use crate::domain::ladder::{self, ATTEMPTS, TRIES};
use crate::domain::policy::{Mode, Pattern, Severity, Spec};
use crate::domain::spelling::did_you_mean;
use crate::engine::{Fault as ConditionFault, parse_condition};

/// Members of a policy that are read.
const MEMBERS: [&str; 17] = [
    "name",
    "description",
    "severity",
    "target",
    "enabled",
    "auto_remediate",
    "mode",
    "condition",
    "clear",
    "action",
    "params",
    "guardrails",
    "steps",
    "approval",
    "cooldown",
    "match_metric",
    "threshold",
];
/// Members whose meaning this version does not have yet: refused, never ignored.
const NOT_YET: [&str; 2] = ["verify", "equivalence"];
/// Guardrails whose meaning this version does not have yet.
const RAILS_NOT_YET: [&str; 7] =
    ["storm", "opposites", "verdict", "verify", "max_concurrent", "failure_domain", "equivalence"];
/// What stands after `/api/v1/policies/` otherwise: a policy of that name could be made and never read.
const ROUTES: [&str; 3] = ["evaluate", "reload", "backtest"];
pub(super) const RAILS: [&str; 19] = [
    "for",
    "keep",
    "cooldown",
    "max_actions",
    "window",
    "max_event_age",
    "settle",
    "tries",
    "attempts",
    "timeout",
    "relapse",
    "breaker",
    "rest",
    "blast_radius",
    "mass_failure",
    "flapping",
    "ramp",
    "group",
    "effectiveness",
];
/// The most failures in a row that a breaker may wait for.
const BREAKER: u32 = 100;
/// The longest duration a guardrail may have: 30 days.
const LONGEST: Duration = Duration::from_hours(720);

/// A policy that may be stored.
#[derive(Debug)]
pub struct Draft {
    /// What it says.
    pub spec: Spec,
    /// What its author said of its mode: a policy that stands already may have to be raised step by step.
    pub said: Said,
    /// Whether it is in force at once.
    pub enabled: bool,
    /// What its author should know.
    pub warnings: Vec<String>,
}

/// Why it may not.
pub type Fault = Problem;

/// Reads and checks a whole policy. It takes milliseconds where there is CEL to compile.
pub fn draft(value: &Value) -> Result<Draft, Fault> {
    let mut fields =
        Fields::new(value, vec![json!("body")]).map_err(|fault| Problem::invalid(vec![fault]))?;
    let mut warnings = Vec::new();
    let name = fields.text("name", 1..=255, true);
    if name.as_deref().is_some_and(|name| ROUTES.contains(&name)) {
        fields.fault("value_error", "name", "Value error, a route of this API has that name; choose another");
    }
    if name.as_deref().is_some_and(|name| name.contains('/') || name.chars().any(char::is_control)) {
        fields.fault(
            "value_error",
            "name",
            "Value error, a policy's name holds no slash and no control characters",
        );
    }
    let description = fields.text("description", 0..=4096, false).unwrap_or_default();
    let severity = severity(&mut fields).unwrap_or_default();
    let target = target(&mut fields).unwrap_or_else(|| "all".to_owned());
    let enabled = fields.flag("enabled").unwrap_or(true);
    let said = said(&mut fields);
    let approval = approval(&mut fields);
    let action = fields.text("action", 1..=255, true);
    let params = fields.object("params").unwrap_or_default();
    let guardrails = guardrails(&mut fields, &params);
    strangers(&mut fields, &mut warnings);
    let steps = steps(&mut fields);
    let condition = condition(&mut fields, &mut warnings)?;
    let clear = clear(&mut fields, &mut warnings)?;
    match (name, action, condition) {
        (Some(name), Some(action), Some(condition)) if fields.faults.is_empty() => Ok(Draft {
            spec: Spec {
                name,
                description,
                severity,
                target,
                mode: match said {
                    Said::Nothing | Said::Auto(false) => Mode::Observe,
                    Said::Auto(true) => Mode::Auto,
                    Said::Mode(mode) => mode,
                },
                condition,
                clear,
                action,
                params,
                steps,
                guardrails,
                approval,
            },
            said,
            enabled,
            warnings,
        }),
        _ => Err(Problem::invalid(fields.faults)),
    }
}

/// Members that are none, or not yet.
fn strangers(fields: &mut Fields<'_>, warnings: &mut Vec<String>) {
    for member in NOT_YET {
        if fields.get(member).is_some() {
            fields.fault("not_supported_yet", member, format!("`{member}` is not supported yet"));
        }
    }
    for stranger in fields.strangers(&MEMBERS).into_iter().filter(|name| !NOT_YET.contains(&name.as_str())) {
        let absent = MEMBERS.into_iter().filter(|member| fields.get(member).is_none());
        let hint = did_you_mean(&stranger, absent);
        warnings.push(format!("unknown member `{stranger}` is ignored{hint}"));
    }
}

pub(super) fn severity(fields: &mut Fields<'_>) -> Option<Severity> {
    let word = fields.text("severity", 1..=32, false)?;
    let severity = Severity::from_word(&word);
    if severity.is_none() {
        fields.fault("value_error", "severity", "Value error, severity is one of info, warning, critical");
    }
    severity
}

pub(super) fn target(fields: &mut Fields<'_>) -> Option<String> {
    let text = fields.text("target", 1..=255, false)?;
    match Pattern::new(&text) {
        Ok(_) => Some(text),
        Err(why) => {
            fields.fault(
                "value_error",
                "target",
                format!("Value error, the target pattern can't be used: {why}"),
            );
            None
        }
    }
}

/// What is said of the mode; `mode` goes before `auto_remediate`.
pub(super) fn said(fields: &mut Fields<'_>) -> Said {
    let auto = fields.flag("auto_remediate");
    let Some(word) = fields.text("mode", 1..=32, false) else {
        return auto.map_or(Said::Nothing, Said::Auto);
    };
    if let Some(mode) = Mode::from_word(&word) {
        return Said::Mode(mode);
    }
    fields.fault("value_error", "mode", "Value error, mode is observe, approve or auto");
    Said::Nothing
}

fn approval(fields: &mut Fields<'_>) -> Terms {
    let given = fields.object("approval").unwrap_or_default();
    terms(&given).unwrap_or_else(|(member, kind, why)| {
        let mut loc = fields.at("approval");
        loc.push(json!(member));
        let msg = if kind == "value_error" { format!("Value error, {why}") } else { why };
        let input = given.get(&member).cloned().unwrap_or_default();
        fields.faults.push(Invalid::new(kind, loc, msg, input));
        Terms::default()
    })
}

fn guardrails(fields: &mut Fields<'_>, params: &Map<String, Value>) -> Guardrails {
    let mut rails = Guardrails::default();
    // The seed's two places for a cooldown, in seconds; the guardrail proper wins.
    for seconds in [params.get("cooldown_seconds"), fields.get("cooldown")].into_iter().flatten() {
        match duration(seconds) {
            Some(cooldown) => rails.cooldown = cooldown,
            None => fields.fault(
                "value_error",
                "cooldown",
                "Value error, a cooldown is a number of seconds, at most 30 days",
            ),
        }
    }
    let Some(given) = fields.object("guardrails") else { return rails };
    for (name, value) in &given {
        let mut loc = fields.at("guardrails");
        loc.push(json!(name));
        let mut wrong =
            |kind, msg: String| fields.faults.push(Invalid::new(kind, loc.clone(), msg, value.clone()));
        if RAILS_NOT_YET.contains(&name.as_str()) {
            wrong("not_supported_yet", format!("`{name}` is not supported yet"));
        } else if !RAILS.contains(&name.as_str()) {
            wrong("extra_forbidden", format!("unknown guardrail `{name}`; known are {}", RAILS.join(", ")));
        } else if let Err((kind, msg)) = set(&mut rails, name, value) {
            wrong(kind, msg);
        }
    }
    rails
}

/// Sets a guardrail that is known by that name; else how it is wrong.
fn set(rails: &mut Guardrails, name: &str, value: &Value) -> Result<(), (&'static str, String)> {
    let whole = |least: u32, most: u32| {
        let count = value.as_u64().and_then(|count| u32::try_from(count).ok());
        let range =
            if most == u32::MAX { "0 for none".to_owned() } else { format!("from {least} to {most}") };
        let wrong = || ("int_parsing", format!("{name} is a whole number, {range}"));
        count.filter(|count| (least..=most).contains(count)).ok_or_else(wrong)
    };
    let said = |why| ("value_error", why);
    match name {
        "max_actions" => rails.max_actions = whole(0, u32::MAX)?,
        "breaker" => rails.breaker = whole(1, BREAKER)?,
        "tries" => rails.tries = Some(whole(1, TRIES)?),
        "attempts" => rails.attempts = Some(whole(1, ATTEMPTS)?),
        "timeout" => rails.timeout = Some(timeout(value).ok_or_else(|| said(TIMEOUT.to_owned()))?),
        "blast_radius" => rails.blast_radius = fleet::blast_radius(value).map_err(said)?,
        "flapping" => rails.flapping = fleet::flapping(value).map_err(said)?,
        "mass_failure" => rails.mass_failure = fleet::mass_failure(value).map_err(said)?,
        "ramp" => rails.ramp = pace::ramp(value).map_err(said)?,
        "group" => rails.group = pace::group(value).map_err(said)?,
        "effectiveness" => rails.effectiveness = pace::effectiveness(value).map_err(said)?,
        _ => {
            let wrong = || said(format!("{name} is a duration like \"10m\", at most 30 days"));
            *rail(rails, name) = duration(value).ok_or_else(wrong)?;
        }
    }
    Ok(())
}

fn rail<'a>(rails: &'a mut Guardrails, name: &str) -> &'a mut Duration {
    match name {
        "for" => &mut rails.hold,
        "keep" => &mut rails.keep,
        "cooldown" => &mut rails.cooldown,
        "window" => &mut rails.window,
        "settle" => &mut rails.settle,
        "relapse" => &mut rails.relapse,
        "rest" => &mut rails.rest,
        _ => &mut rails.max_event_age,
    }
}

/// What a timeout is.
pub(super) const TIMEOUT: &str = "timeout is a duration like \"30s\", above zero, at most an hour";

/// How long an attempt may take.
pub(super) fn timeout(value: &Value) -> Option<Duration> {
    duration(value).filter(|timeout| !timeout.is_zero() && *timeout <= ladder::LONGEST)
}

/// `"10m"`, or seconds.
pub(in crate::api) fn duration(value: &Value) -> Option<Duration> {
    #[derive(serde::Deserialize)]
    struct Text(#[serde(with = "humantime_serde")] Duration);
    let duration = match value {
        Value::Number(seconds) => Duration::try_from_secs_f64(seconds.as_f64()?).ok()?,
        Value::String(text) => match text.trim().parse::<f64>() {
            Ok(seconds) => Duration::try_from_secs_f64(seconds).ok()?,
            Err(_) => serde_json::from_value::<Text>(json!(text)).ok()?.0,
        },
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => return None,
    };
    (duration <= LONGEST).then_some(duration)
}

/// The condition, compiled to see whether it can be; typed faults are 400, the rest 422.
fn condition(fields: &mut Fields<'_>, warnings: &mut Vec<String>) -> Result<Option<Value>, Problem> {
    let given = match (fields.get("condition"), fields.get("match_metric")) {
        (Some(condition), _) => condition.clone(),
        // The seed's second dialect.
        (None, Some(metric)) => {
            json!({"type": "metric_exceeds", "metric": metric, "threshold": fields.get("threshold")})
        }
        (None, None) => {
            fields.need("condition");
            return Ok(None);
        }
    };
    compiled(fields, "condition", given, warnings)
}

/// When it is over, where the author says so.
fn clear(fields: &mut Fields<'_>, warnings: &mut Vec<String>) -> Result<Option<Value>, Problem> {
    let Some(given) = fields.get("clear").cloned() else { return Ok(None) };
    compiled(fields, "clear", given, warnings)
}

/// What is a condition, as it was given.
fn compiled(
    fields: &mut Fields<'_>,
    member: &str,
    given: Value,
    warnings: &mut Vec<String>,
) -> Result<Option<Value>, Problem> {
    if !given.is_object() {
        fields.fault("dict_type", member, "Input should be a valid dictionary");
        return Ok(None);
    }
    let what = if member == "clear" { "clear condition" } else { "condition" };
    let invalid = |why: String| Problem::bad(format!("Invalid {what} configuration: {why}"));
    match parse_condition(&given)
        .and_then(|parsed| Program::from_condition(&parsed).map_err(ConditionFault::Compile))
    {
        Ok(program) => {
            if program.reads().is_empty() && !is_empty_list(&given) {
                let msg =
                    format!("Value error, the {what} reads no metric, so nothing would ever evaluate it");
                fields.fault("value_error", member, &msg);
                return Ok(None);
            }
            if is_empty_list(&given) {
                warnings.push(format!("the {what} is an empty list: it is never met"));
            }
            Ok(Some(given))
        }
        Err(ConditionFault::Typed(why)) => Err(invalid(why)),
        Err(ConditionFault::Unknown(path)) => {
            let mut loc = fields.at(member);
            loc.extend(
                path.iter().map(|part| part.parse::<u64>().map_or_else(|_| json!(part), |at| json!(at))),
            );
            let msg = format!("`{}` is no member of this condition", path.last().map_or("", String::as_str));
            fields.faults.push(Invalid::new("extra_forbidden", loc, msg, given));
            Ok(None)
        }
        Err(ConditionFault::Compile(errors)) if !holds_cel(&given) => Err(invalid(errors.to_string())),
        Err(ConditionFault::Compile(errors)) => {
            for error in errors.0 {
                let mut loc = fields.at(member);
                for at in &error.path {
                    loc.extend([json!("conditions"), json!(at)]);
                }
                loc.push(json!("expression"));
                let ctx = json!({"line": error.line, "column": error.column});
                fields.faults.push(Invalid::new("cel_invalid", loc, error.message, given.clone()).ctx(ctx));
            }
            Ok(None)
        }
    }
}

fn is_empty_list(condition: &Value) -> bool {
    condition.get("conditions").and_then(Value::as_array).is_some_and(Vec::is_empty)
}

fn holds_cel(condition: &Value) -> bool {
    condition.get("type").and_then(Value::as_str) == Some("cel")
        || condition
            .get("conditions")
            .and_then(Value::as_array)
            .is_some_and(|list| list.iter().any(holds_cel))
}
