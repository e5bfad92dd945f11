//! What the Go agent sends: one report of a host, which becomes one event per reading. All are stored, or none.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Api;
use super::describe::aliased;
use super::door::Principal;
use super::ingest;
use super::input::{self, Fields};
use super::problem::{self, Invalid, Problem};
use crate::domain::Timestamp;
use crate::domain::event::{Event, Mark, Series, Tags, Target};
use crate::pipeline::answer::Answer;
use crate::pipeline::ingest::Request;

/// Filesystems or interfaces of one report.
const LISTED: usize = 1_000;
/// Hosts of which it is remembered that they were warned about.
const HOSTS: usize = 10_000;
/// The version whose CPU and disk readings are constants.
const PLACEHOLDERS: &str = "1.0.0";

pub(super) fn router() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(aliased(routes!(agent), &["/ingest/agent/metrics"]))
}

/// Hosts that were warned about once.
#[derive(Clone, Debug, Default)]
pub struct Warned(Arc<Mutex<HashSet<String>>>);

impl Warned {
    /// Whether this is the first time.
    fn first(&self, host: &str) -> bool {
        let mut hosts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        hosts.len() < HOSTS && hosts.insert(host.to_owned())
    }
}

/// A report of the Go agent; or a reading as POST /api/v1/ingest takes it. Lists may be null and sections absent.
#[derive(ToSchema)]
#[expect(dead_code, reason = "it describes what `report` reads")]
struct AgentReport {
    /// When it was read, unix seconds.
    #[schema(required = false, value_type = Option<Value>)]
    timestamp: Option<Value>,
    /// The host.
    #[schema(min_length = 1, max_length = 255)]
    hostname: String,
    /// Version of the agent.
    #[schema(required = false, max_length = 255)]
    agent_version: Option<String>,
    /// `cpu`, `memory`, `disk` and `network`.
    #[schema(value_type = Object)]
    metrics: Value,
}

/// Takes a report of the Go agent, or readings as POST /api/v1/ingest takes them: a report is told by its member
/// `metrics` being an object.
#[utoipa::path(post, path = "/api/v1/ingest/agent/metrics", tag = "ingest", security(("token" = ["ingest"])),
    request_body = AgentReport,
    responses((status = 201, description = "Stored, or known already", body = Answer),
        (status = 408, description = "The body did not arrive in time", body = problem::Body),
        (status = 422, description = "Nothing was stored: each fault is named", body = problem::Body)))]
async fn agent(
    State(api): State<Api>,
    principal: Principal,
    headers: HeaderMap,
    sent: Body,
) -> Result<Response, Problem> {
    match take(&api, &principal, headers, sent).await {
        Ok(response) => Ok(response),
        Err(problem) => {
            api.metrics.ingest_rejected(problem.status().as_str());
            Err(problem)
        }
    }
}

async fn take(api: &Api, principal: &Principal, headers: HeaderMap, sent: Body) -> Result<Response, Problem> {
    let lines = matches!(input::media(&headers)?, input::Media::Lines);
    // Undone by the door, which also bounds what arrives.
    let compressed = headers.contains_key(header::CONTENT_ENCODING);
    let limit = if compressed { api.limits.ingest_decoded } else { api.limits.ingest_body };
    let bytes = input::collect(sent, limit, api.limits.body_timeout).await?;
    let key = super::params::key("ingest", principal, &headers, &bytes)?;
    let value = if lines { Value::Null } else { input::parse(&bytes)? };
    let request = if value.get("metrics").is_some_and(Value::is_object) {
        let (events, warnings) = report(&value, api)?;
        Request { events, many: true, warnings, key }
    } else {
        ingest::requested(&bytes, lines, key, (api, api.clock.now()))?
    };
    ingest::touched(principal, &request.events)?;
    let answer = api.ingest.accept(request).await?;
    let kind = [(header::CONTENT_TYPE, "application/json")];
    Ok((StatusCode::CREATED, kind, answer).into_response())
}

/// The readings of one report, being gathered.
struct Readings {
    events: Vec<Event>,
    faults: Vec<Invalid>,
    tags: Tags,
    target: Option<Target>,
    observed_at: Timestamp,
    timed: bool,
}

impl Readings {
    fn add(&mut self, name: &str, value: f64, more: &[(&str, &str)]) {
        let mut tags = self.tags.clone();
        tags.extend(more.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
        let series = Series::new(name.to_owned(), tags, self.target.clone());
        self.events.push(Event {
            series: Arc::new(series),
            value,
            observed_at: self.observed_at,
            timed: self.timed,
            mark: Mark::Real,
        });
    }

    /// A number of a section; absent: none, no number: a fault.
    fn number(&mut self, section: &Value, member: &str, at: &[Value]) -> Option<f64> {
        section.get(member).filter(|value| !value.is_null())?;
        let mut fields = Fields::new(section, at.to_vec()).ok()?;
        let number = fields.number(member);
        self.faults.append(&mut fields.faults);
        number
    }

    /// The list of a section; null and absent are empty.
    fn list<'v>(&mut self, section: &'v Value, member: &str, at: &[Value]) -> &'v [Value] {
        let mut loc = at.to_vec();
        loc.push(json!(member));
        match &section[member] {
            Value::Null => &[],
            Value::Array(items) if items.len() <= LISTED => items,
            Value::Array(items) => {
                let msg = format!("List should have at most {LISTED} items, not {}", items.len());
                self.faults.push(Invalid::new("too_long", loc, msg, Value::Null));
                &[]
            }
            other @ (Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_)) => {
                self.faults.push(Invalid::new(
                    "list_type",
                    loc,
                    "Input should be a valid list",
                    other.clone(),
                ));
                &[]
            }
        }
    }
}

/// The events of a report, and warnings about it.
fn report(value: &Value, api: &Api) -> Result<(Vec<Event>, Vec<String>), Problem> {
    let mut fields =
        Fields::new(value, vec![json!("body")]).map_err(|fault| Problem::invalid(vec![fault]))?;
    let host = super::actions::target(&mut fields, "hostname");
    let version = fields.text("agent_version", 0..=255, false).unwrap_or_default();
    let (now, given) = (api.clock.now(), fields.get("timestamp").and_then(input::time));
    let observed = given.filter(|at| *at <= now.after(ingest::AHEAD));
    let mut tags: Tags = BTreeMap::from([("source".to_owned(), "agent".to_owned())]);
    tags.extend(host.iter().map(|host| ("host".to_owned(), host.clone())));
    tags.extend((!version.is_empty()).then(|| ("agent_version".to_owned(), version.clone())));
    let mut readings = Readings {
        events: Vec::new(),
        faults: fields.faults,
        target: host.clone().map(|name| Target { name, kind: "host".to_owned(), namespace: None }),
        tags,
        observed_at: observed.unwrap_or(now),
        timed: observed.is_some(),
    };
    let metrics = &value["metrics"];
    let at = |section: &str| vec![json!("body"), json!("metrics"), json!(section)];
    for (section, names) in
        [("cpu", ["cpu_percent", "cpu_usage"]), ("memory", ["memory_percent", "memory_usage"])]
    {
        if let Some(percent) = readings.number(&metrics[section], "usage_percent", &at(section)) {
            for name in names {
                readings.add(name, percent, &[]);
            }
        }
    }
    disks(&mut readings, &metrics["disk"], &at("disk"));
    network(&mut readings, &metrics["network"], &at("network"));
    if readings.events.is_empty() && readings.faults.is_empty() {
        let loc = vec![json!("body"), json!("metrics")];
        let msg = "Value error, there is no reading in it";
        readings.faults.push(Invalid::new("value_error", loc, msg, metrics.clone()));
    }
    if !readings.faults.is_empty() {
        return Err(Problem::invalid(readings.faults));
    }
    let host = host.unwrap_or_default();
    Ok((readings.events, placeholders(api, metrics, &version, &host)))
}

/// Version 1.0.0 does not read CPU and disk: it reports constants. They are taken, and said once per host.
fn placeholders(api: &Api, metrics: &Value, version: &str, host: &str) -> Vec<String> {
    let disk = &metrics["disk"]["filesystems"][0];
    let constant = metrics["cpu"]["usage_percent"].as_f64() == Some(25.5)
        || (disk["total_gb"].as_f64() == Some(100.0) && disk["used_gb"].as_f64() == Some(50.0));
    if version != PLACEHOLDERS || !constant || !api.warned.first(host) {
        return Vec::new();
    }
    let text = "this version of the agent reports constants for CPU and disk, not readings";
    tracing::warn!(target_host = host, agent_version = version, "{text}");
    vec![text.to_owned()]
}

fn name_of<'v>(item: &'v Value, member: &str) -> &'v str {
    let name = item[member].as_str().unwrap_or("").trim();
    name.char_indices().nth(255).map_or(name, |(end, _)| &name[..end])
}

fn disks(readings: &mut Readings, section: &Value, at: &[Value]) {
    let mut fullest: Option<f64> = None;
    for (n, item) in readings.list(section, "filesystems", at).iter().enumerate() {
        let at = [at, &[json!("filesystems"), json!(n)]].concat();
        let total = readings.number(item, "total_gb", &at);
        let free = readings.number(item, "free_gb", &at);
        let used = readings.number(item, "used_gb", &at);
        let free = free.or_else(|| Some(total? - used?));
        let (Some(total), Some(free)) = (total.filter(|total| *total > 0.0), free) else { continue };
        let percent = (free / total * 100.0).clamp(0.0, 100.0);
        let tags = [("device", name_of(item, "device")), ("mount_point", name_of(item, "mount_point"))];
        readings.add("filesystem_free_percent", percent, &tags);
        fullest = Some(fullest.map_or(percent, |least| least.min(percent)));
    }
    if let Some(free) = fullest {
        readings.add("disk_free_percent", free, &[]);
        readings.add("disk_usage", 100.0 - free, &[]);
    }
}

fn network(readings: &mut Readings, section: &Value, at: &[Value]) {
    for (n, item) in readings.list(section, "interfaces", at).iter().enumerate() {
        let at = [at, &[json!("interfaces"), json!(n)]].concat();
        let tags = [("interface", name_of(item, "name"))];
        for (name, member) in [("network_rx_bytes", "rx_bytes"), ("network_tx_bytes", "tx_bytes")] {
            if let Some(bytes) = readings.number(item, member, &at) {
                readings.add(name, bytes, &tags);
            }
        }
    }
}
