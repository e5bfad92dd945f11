//! The settings: embedded documented defaults, a file, the environment, the command line, in this order of authority.
//!
//! [`Config::load`] answers either settings that can work or every problem at once. Nothing else in the program reads
//! the environment or a settings file. What a key means stands beside its default in `config.default.toml`.

mod access;
mod problem;
mod read;
mod run;
mod seed;
mod settings;
mod show;
mod sources;
mod values;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::domain::guardrails::Everywhere;
pub use crate::domain::secret::{MASK, is_secret_name};
use serde::{Deserialize, Serialize};

pub use problem::{Problem, Problems};
pub use run::{About, Run};
pub use settings::{Environment, RateLimit, Settings, lay, whole};
pub use sources::{DEFAULTS, Inputs, environment};
pub use values::{Secret, SecretUrl, mask_urls};

/// All settings.
#[derive(Clone, Debug)]
pub struct Config {
    /// `[server]`.
    pub server: Server,
    /// `[database]`.
    pub database: Database,
    /// `[redis]`.
    pub redis: Redis,
    /// `[queue]`.
    pub queue: Queue,
    /// `[retry]`.
    pub retry: Retry,
    /// `[remediation]`.
    pub remediation: Remediation,
    /// `[policies]`.
    pub policies: Policies,
    /// `[guardrails]`: what limits all actions together.
    pub guardrails: Everywhere,
    /// `[auth]`.
    pub auth: Auth,
    /// `[limits]` and `[limits.rate]`.
    pub limits: Limits,
    /// `[log]`.
    pub log: Log,
    /// `[retention]`.
    pub retention: Retention,
    /// `[plugins]`, `[connections.NAME]` and `[[routes]]`.
    pub plugins: crate::plugin::Settings,
    /// The defaults of what may be changed while running.
    pub run: Run,
    /// The file that was read, if any.
    pub file: Option<PathBuf>,
    /// What the operator should know and the start does not depend on.
    pub notes: Vec<String>,
}

/// `[server]`: how clients reach us.
#[derive(Clone, Debug)]
pub struct Server {
    /// Address and port to listen on.
    pub listen: SocketAddr,
    /// Directory of everything that is kept.
    pub data_dir: PathBuf,
    /// How long attempts may run on after SIGTERM.
    pub drain_timeout: Duration,
    /// Names in `Host` that are ours, besides the loopback's; lower case.
    pub allowed_hosts: Vec<String>,
    /// Values of `Origin` that may write.
    pub allowed_origins: Vec<String>,
    /// Networks whose forwarding headers are believed.
    pub trusted_proxies: Vec<ipnet::IpNet>,
    /// Certificate and key, if TLS is spoken.
    pub tls: Option<Tls>,
    /// Connections served at once.
    pub max_connections: usize,
    /// Connections of one peer address.
    pub max_connections_per_peer: usize,
    /// Time for a request's head.
    pub header_timeout: Duration,
    /// Time for a request's body.
    pub body_timeout: Duration,
    /// Time for a client to take some of an answer.
    pub write_timeout: Duration,
}

/// `[server.tls]`: files in PEM.
#[derive(Clone, Debug)]
pub struct Tls {
    /// The certificate and its chain.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// `[auth]`: who may ask.
#[derive(Clone, Copy, Debug)]
pub struct Auth {
    /// Whether tokens are asked for.
    pub mode: AuthMode,
}

/// Whether tokens are asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AuthMode {
    /// No: whoever reaches the port may do everything.
    #[default]
    None,
    /// Yes.
    Token,
}

/// `[database]`: where everything is kept.
#[derive(Clone, Debug)]
pub struct Database {
    /// Which database.
    pub place: DatabasePlace,
    /// What an acknowledged write survives.
    pub durability: Durability,
    /// Connections in the pool.
    pub max_connections: u32,
}

/// A database's kind and place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DatabasePlace {
    /// A file.
    Sqlite(PathBuf),
    /// A `postgres://` URL.
    Postgres(SecretUrl),
}

/// What an acknowledged write survives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Durability {
    /// A power failure.
    #[default]
    Sync,
    /// A crash of the process.
    Process,
}

/// `[redis]`: wake-up hints.
#[derive(Clone, Debug)]
pub struct Redis {
    /// Where, or nowhere.
    pub url: Option<SecretUrl>,
}

/// `[queue]`: who works on what, and for how long.
#[derive(Clone, Debug)]
pub struct Queue {
    /// Silence after which an attempt is taken away.
    pub lease: Duration,
    /// Wait after that.
    pub grace: Duration,
    /// Time between signs of life.
    pub heartbeat: Duration,
    /// Time between looks for what was missed.
    pub sweep: Duration,
    /// Attempts at once.
    pub workers: usize,
}

/// `[retry]`: attempts of one action.
#[derive(Clone, Debug)]
pub struct Retry {
    /// Attempts in all.
    pub max_attempts: u32,
    /// First delay.
    pub base_delay: Duration,
    /// Longest delay.
    pub max_delay: Duration,
    /// How it grows between them.
    pub backoff: Backoff,
}

/// How the delay between attempts grows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Backoff {
    /// 1 2 4 8 …
    #[default]
    Exponential,
    /// 1 2 3 4 …
    Linear,
    /// 1 1 1 1 …
    Constant,
}

/// `[remediation]`: who carries out what no plugin serves.
#[derive(Clone, Debug)]
pub struct Remediation {
    /// Whether actions are pushed.
    pub push: bool,
    /// Where to.
    pub url: String,
    /// How long an answer is waited for.
    pub timeout: Duration,
    /// Whether others may push to us.
    pub accept: bool,
    /// Kinds of action that may be repeated when their outcome is unknown.
    pub idempotent: Vec<String>,
    /// Whether tasks are told in the Go remediator's vocabulary.
    pub translate: bool,
    /// Time for one try of a remediator, as it is told.
    pub task_timeout: Duration,
    /// Tries of a remediator, as it is told.
    pub task_retries: u32,
    /// Time a remediator's lease holds beyond its tries.
    pub lease_margin: Duration,
}

/// `[policies]`: where they come from and when they are looked at.
#[derive(Clone, Debug)]
pub struct Policies {
    /// Files and directories.
    pub paths: Vec<PathBuf>,
    /// Directories that relative paths are looked for in, before the working directory.
    pub bases: Vec<PathBuf>,
    /// The file at `CONFIG_PATH`, which may hold policies.
    pub config_path: Option<PathBuf>,
    /// Time between scheduled evaluations.
    pub tick: Duration,
    /// Age at which a sample is no data.
    pub lookback: Duration,
}

/// `[limits]`: what one request may carry.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Bytes of an ingest body.
    pub ingest_body: usize,
    /// Bytes of an ingest body once it is not compressed any more.
    pub ingest_decoded: usize,
    /// Bytes of any other body.
    pub json_body: usize,
    /// Events per request.
    pub batch: usize,
    /// Tags per event.
    pub tags: usize,
    /// Characters of a tag's name.
    pub tag_name: usize,
    /// Characters of a tag's value.
    pub tag_value: usize,
    /// Ingest requests at once.
    pub ingest_in_flight: usize,
    /// Other requests at once.
    pub in_flight: usize,
    /// Bytes of all bodies at once.
    pub bodies: usize,
    /// `[limits.rate]`.
    pub rate: Rate,
}

/// `[limits.rate]`: how often a client may ask. The settings endpoint changes the first five while the server runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Whether requests are counted.
    pub enabled: bool,
    /// Per client, route and period, where nothing below says otherwise.
    pub requests: u32,
    /// The same for ingest.
    pub ingest_requests: u32,
    /// The same for actions.
    pub actions_requests: u32,
    /// Length of the window.
    pub period: Duration,
    /// Length of the window of ingest.
    pub ingest_period: Duration,
    /// Length of the window of actions.
    pub actions_period: Duration,
    /// Per second and class of routes, with a token.
    pub token_requests: u32,
    /// At once, with a token.
    pub token_burst: u32,
}

/// `[log]`: what is written to stderr.
#[derive(Clone, Copy, Debug, Default)]
pub struct Log {
    /// In which form.
    pub format: LogFormat,
    /// From which severity on.
    pub level: LogLevel,
}

/// The form of a log line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Text on a terminal, else JSON.
    #[default]
    Auto,
    /// One JSON object per line.
    Json,
    /// For people.
    Text,
}

/// The severity of a log line; names in any case are read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum LogLevel {
    /// Several lines per event.
    Debug,
    /// What happened.
    #[default]
    Info,
    /// What may need a look.
    Warning,
    /// What failed.
    Error,
    /// What needs a person at once.
    Critical,
}

/// `[retention]`: how long samples are kept.
#[derive(Clone, Debug)]
pub struct Retention {
    /// Greatest age.
    pub samples: Duration,
    /// Greatest size in bytes.
    pub size: u64,
}

impl Config {
    /// Merges and checks everything.
    pub fn load(inputs: &Inputs) -> Result<Self, Problems> {
        read::config(inputs).map(|(config, _)| config)
    }

    /// Like [`Config::load`], answering the settings in force as TOML, without secrets, for people to read.
    pub fn show(inputs: &Inputs) -> Result<String, Problems> {
        read::config(inputs).map(|(_, sources)| show::show(&sources))
    }

    /// A file or directory inside the data directory.
    #[must_use]
    pub fn data_path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.server.data_dir.join(name)
    }
}

#[cfg(test)]
mod tests;
