//! The keys behind what may be changed while Vigil runs, and what it calls itself.

use std::time::Duration;

use super::read::Reader;
use super::settings::Environment;
use super::values::Span;

/// Defaults of the settings that have no other home.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a key of its own")]
pub struct Run {
    /// `server.environment`.
    pub environment: Environment,
    /// `server.debug`.
    pub debug: bool,
    /// `metrics.enabled`.
    pub metrics: bool,
    /// `metrics.path`.
    pub metrics_path: String,
    /// `log.audit`.
    pub audit: bool,
    /// `agents.interval`.
    pub agent_interval: Duration,
    /// `agents.gitops_interval`.
    pub gitopsd_interval: Duration,
    /// `remediation.url`.
    pub remediator_url: Option<String>,
    /// `policies.runner`.
    pub runner: bool,
    /// `policies.batch_size`.
    pub batch_size: u32,
    /// `[api]` and `log.service`.
    pub about: About,
}

/// What this installation calls itself.
#[derive(Clone, Debug)]
pub struct About {
    /// `log.service`.
    pub service: String,
    /// `api.title`.
    pub title: String,
    /// `api.description`.
    pub description: String,
    /// `api.version`.
    pub version: String,
}

pub(super) fn run(reader: &mut Reader) -> Run {
    Run {
        environment: reader.get("server.environment"),
        debug: reader.get("server.debug"),
        metrics: reader.get("metrics.enabled"),
        metrics_path: metrics_path(reader),
        audit: reader.get("log.audit"),
        agent_interval: seconds(reader, "agents.interval", 1..=3600),
        gitopsd_interval: seconds(reader, "agents.gitops_interval", 1..=3600),
        remediator_url: remediator_url(reader),
        runner: reader.get("policies.runner"),
        batch_size: count(reader, "policies.batch_size", 1_000),
        about: About {
            service: reader.get("log.service"),
            title: reader.get("api.title"),
            description: reader.get("api.description"),
            version: reader.get("api.version"),
        },
    }
}

/// A number of things from 1 to `most`.
fn count(reader: &mut Reader, key: &str, most: u32) -> u32 {
    let before = reader.problems.len();
    let number: u32 = reader.get(key);
    let fits = (1..=most).contains(&number) || reader.problems.len() > before;
    reader.require(fits, key, &format!("must be from 1 to {most}"));
    number
}

/// A duration within a range of seconds.
pub(super) fn seconds(reader: &mut Reader, key: &str, range: std::ops::RangeInclusive<u64>) -> Duration {
    let before = reader.problems.len();
    let span = reader.get::<Span>(key).0;
    let within = span >= Duration::from_secs(*range.start()) && span <= Duration::from_secs(*range.end());
    let what = format!("must be from {} s to {} s", range.start(), range.end());
    reader.require(within || reader.problems.len() > before, key, &what);
    span
}

fn metrics_path(reader: &mut Reader) -> String {
    let path: String = reader.get("metrics.path");
    let plain = path.starts_with('/')
        && path.len() > 1
        && !path.ends_with('/')
        && path.chars().all(|c| c.is_ascii_alphanumeric() || "/._-".contains(c));
    reader.require(plain, "metrics.path", "must be a plain path such as /metrics");
    path
}

/// Used as it is; a URL without a path gets `/remediate`.
fn remediator_url(reader: &mut Reader) -> Option<String> {
    let url: String = reader.get("remediation.url");
    if url.is_empty() {
        return None;
    }
    let Some((scheme, rest)) = url.split_once("://").filter(|(_, rest)| !rest.is_empty()) else {
        reader.require(false, "remediation.url", "must begin with http:// or https://");
        return None;
    };
    reader.require(
        ["http", "https"].contains(&scheme),
        "remediation.url",
        "must begin with http:// or https://",
    );
    Some(if rest.trim_end_matches('/').contains('/') {
        url
    } else {
        format!("{}/remediate", url.trim_end_matches('/'))
    })
}
