//! What may be changed while Vigil runs: the settings clients see under `/api/v1/settings`. Their defaults are the
//! configuration's values; overrides made over HTTP are laid on top of them.

use std::time::Duration;

use serde::{Deserialize, Serialize, Serializer};
use serde_json::Value;
use utoipa::ToSchema;

use super::{Backoff, Config, LogLevel, Rate};

/// Where this installation stands: `production` switches off the simulator and injected tasks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Environment {
    /// On somebody's machine.
    #[default]
    Development,
    /// Before it is let loose.
    Staging,
    /// For real.
    Production,
}

/// All settings that may be changed while Vigil runs. Intervals, delays and periods are seconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Settings {
    /// Least severe level that is logged.
    pub log_level: LogLevel,
    /// Where this installation stands.
    pub environment: Environment,
    /// Logs at DEBUG whatever `log_level` says.
    pub debug: bool,
    /// Whether `/metrics` answers.
    pub metrics_enabled: bool,
    /// Whether each request leaves an `Audit log entry` in the log; the audit trail itself is always kept.
    pub audit_logging_enabled: bool,
    /// Shown to agents; nothing of ours runs on it.
    #[serde(serialize_with = "whole")]
    pub agent_interval: f64,
    /// Shown to gitopsd; nothing of ours runs on it.
    #[serde(serialize_with = "whole")]
    pub gitopsd_interval: f64,
    /// Who carries actions out, and how many at once.
    pub remediation: Remediation,
    /// Attempts of one action.
    pub retry: Retry,
    /// What one client may ask.
    pub rate_limit: RateLimit,
    /// The scheduled evaluation.
    pub policy: Runner,
}

/// `remediation`: null means the built-in value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = RemediationSettings)]
pub struct Remediation {
    /// Where a remediator would be pushed to; push is off unless the configuration switches it on.
    pub remediator_url: String,
    /// Attempts at once on each node.
    #[schema(required = true)]
    pub max_concurrent: Option<usize>,
    /// Stored and shown; the queue is the database and has no such bound.
    #[schema(required = true)]
    pub task_queue_size: Option<u64>,
    /// Longest wait of an idle worker between two looks at the queue.
    #[schema(required = true)]
    pub interval: Option<u64>,
}

/// `retry`: policy and plugin values go before these.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = RetrySettings)]
pub struct Retry {
    /// Attempts in all.
    pub max_attempts: u32,
    /// How the delay grows.
    pub backoff: Backoff,
    /// Before the first retry.
    pub base_delay: f64,
    /// The longest.
    pub max_delay: f64,
}

/// `rate_limit`: fixed windows per client and route.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = RateLimitSettings)]
pub struct RateLimit {
    /// Whether anything is limited at all.
    pub enabled: bool,
    /// Requests of one window on other routes.
    pub requests: u32,
    /// Requests of one window on ingest routes.
    pub ingest_requests: u32,
    /// Requests of one window on action routes.
    pub actions_requests: u32,
    /// The window of other routes.
    pub period: u64,
    /// The window of ingest routes.
    pub ingest_period: u64,
    /// The window of action routes.
    pub actions_period: u64,
}

/// `policy`: the scheduled evaluation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = PolicySettings)]
pub struct Runner {
    /// Whether it runs.
    pub enabled: bool,
    /// Between two evaluations of a target.
    #[serde(serialize_with = "whole")]
    pub interval: f64,
    /// Rows of one database read; it bounds no evaluation.
    pub batch_size: u32,
}

impl Environment {
    /// Its word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Development => "development",
            Self::Staging => "staging",
            Self::Production => "production",
        }
    }
}

impl RateLimit {
    fn of(rate: &Rate) -> Self {
        Self {
            enabled: rate.enabled,
            requests: rate.requests,
            ingest_requests: rate.ingest_requests,
            actions_requests: rate.actions_requests,
            period: rate.period.as_secs(),
            ingest_period: rate.ingest_period.as_secs(),
            actions_period: rate.actions_period.as_secs(),
        }
    }

    /// As the door counts; what tokens may do stays as configured.
    #[must_use]
    pub fn on(&self, configured: Rate) -> Rate {
        Rate {
            enabled: self.enabled,
            requests: self.requests,
            ingest_requests: self.ingest_requests,
            actions_requests: self.actions_requests,
            period: Duration::from_secs(self.period),
            ingest_period: Duration::from_secs(self.ingest_period),
            actions_period: Duration::from_secs(self.actions_period),
            ..configured
        }
    }
}

/// Where the seed's remediator would be; shown while none is configured.
const REMEDIATOR: &str = "http://127.0.0.1:8081/remediate";

impl Settings {
    /// What the configuration says.
    #[must_use]
    pub fn of(config: &Config) -> Self {
        let run = &config.run;
        Self {
            log_level: config.log.level,
            environment: run.environment,
            debug: run.debug,
            metrics_enabled: run.metrics,
            audit_logging_enabled: run.audit,
            agent_interval: run.agent_interval.as_secs_f64(),
            gitopsd_interval: run.gitopsd_interval.as_secs_f64(),
            remediation: Remediation {
                remediator_url: run.remediator_url.clone().unwrap_or_else(|| REMEDIATOR.to_owned()),
                max_concurrent: None,
                task_queue_size: None,
                interval: None,
            },
            retry: Retry {
                max_attempts: config.retry.max_attempts,
                backoff: config.retry.backoff,
                base_delay: config.retry.base_delay.as_secs_f64(),
                max_delay: config.retry.max_delay.as_secs_f64(),
            },
            rate_limit: RateLimit::of(&config.limits.rate),
            policy: Runner {
                enabled: run.runner,
                interval: config.policies.tick.as_secs_f64(),
                batch_size: run.batch_size,
            },
        }
    }

    /// These with `overrides`, an object of the same shape that names only what differs. What production forbids is
    /// not relaxed by it. Fails where the overrides are not of that shape.
    pub fn with(&self, overrides: &Value) -> Result<Self, serde_json::Error> {
        let mut whole = serde_json::to_value(self)?;
        lay(&mut whole, overrides);
        let mut settings: Self = serde_json::from_value(whole)?;
        if self.environment == Environment::Production {
            settings.environment = Environment::Production;
        }
        Ok(settings)
    }

    /// The level that is logged at.
    #[must_use]
    pub fn level(&self) -> LogLevel {
        if self.debug { LogLevel::Debug } else { self.log_level }
    }
}

/// Seconds as clients know them: without a fraction where there is none.
pub fn whole<S: Serializer>(seconds: &f64, to: S) -> Result<S::Ok, S::Error> {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "in range by the guard")]
    match *seconds {
        exact if exact.fract() == 0.0 && (0.0..1e15).contains(&exact) => to.serialize_u64(exact as u64),
        other => to.serialize_f64(other),
    }
}

/// Lays the members of `over` onto `under`, member by member.
pub fn lay(under: &mut Value, over: &Value) {
    match (under, over) {
        (Value::Object(under), Value::Object(over)) => {
            for (name, value) in over {
                lay(under.entry(name.clone()).or_insert(Value::Null), value);
            }
        }
        (under, over) => *under = over.clone(),
    }
}
