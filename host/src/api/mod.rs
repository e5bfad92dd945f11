//! The HTTP contract: one file per resource, its router beside its handlers. Nothing here decides; a handler
//! parses at the door, asks the pipeline or the store, and renders.

mod actions;
mod agents;
mod audit;
mod dashboard;
pub mod describe;
mod docs;
mod door;
mod etag;
mod evaluate;
mod gitops;
mod health;
mod incidents;
mod ingest;
mod input;
mod journal;
mod lax;
mod params;
mod pause;
mod plugins;
pub mod policies;
pub mod problem;
mod query;
mod queue;
mod remediate;
mod remediator;
mod settings;
mod silences;
mod simulator;
mod tester;
mod tokens;

use std::sync::{Arc, RwLock};
use std::time::Instant;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request};
use axum::http::Uri;
use axum::middleware;
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;

use crate::clock::Clock;
use crate::config::{About, Environment};
use crate::engine::PolicySet;
use crate::metrics::Metrics;
use crate::pipeline::ingest::Ingest;
use crate::pipeline::loops::Loops;
use crate::pipeline::remediate::Remediation;
use crate::pipeline::settings::Live;
use crate::pipeline::tenure::Tenures;
use crate::pipeline::worker::Running;
use crate::plugin::Plugins;
use crate::queue::Queue;
use crate::store::Store;

pub use agents::Warned;
pub use describe::Permissions;
pub use door::{Door, Peer, Principal, SharedRate, Tokens};
pub use policies::backtest_room;
pub use problem::Problem;
pub use simulator::{Orders, Simulator, run as run_simulator};

/// What the handlers work with. Cheap to clone, which is done several times for each request.
#[derive(Clone)]
pub struct Api(Arc<Parts>);

impl std::ops::Deref for Api {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

/// The parts of the program that handlers ask.
pub struct Parts {
    /// Where things are kept.
    pub store: Store,
    /// The door to the writer.
    pub ingest: Ingest,
    /// Whom to tell that an action is ready.
    pub queue: Queue,
    /// What runs actions.
    pub plugins: Plugins,
    /// The attempts running here.
    pub running: Running,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// What time it is.
    pub clock: Clock,
    /// Makes events to try things with.
    pub simulator: Simulator,
    /// The policies in force.
    pub policies: Arc<RwLock<Arc<PolicySet>>>,
    /// The settings in force.
    pub settings: Live,
    /// Samples older than this are no data.
    pub lookback: std::time::Duration,
    /// Room for back-tests.
    pub backtests: Arc<tokio::sync::Semaphore>,
    /// The background loops.
    pub loops: Loops,
    /// Where policy files are.
    pub sources: Arc<policies::files::Sources>,
    /// What this installation calls itself.
    pub about: About,
    /// Where Prometheus scrapes.
    pub metrics_path: String,
    /// Under which name this process acts.
    pub tenures: Arc<Tenures>,
    /// How remediators take part.
    pub remediation: Remediation,
    /// Hosts whose agents were found to report constants.
    pub warned: Warned,
    /// This machine's name.
    pub node: Arc<str>,
    /// What requests may carry, and from whom.
    pub limits: Limits,
    /// Who is let in, and how often.
    pub door: Arc<Door>,
    /// When the server began.
    pub started: Instant,
    /// Who may call what; filled in by [`router`].
    pub permissions: Arc<Permissions>,
    /// The OpenAPI document as text; filled in by [`router`].
    pub document: Arc<str>,
    /// Set when it is ending.
    pub ending: tokio_util::sync::CancellationToken,
}

/// What requests may carry, and who may send them.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Bytes of an ingest body.
    pub ingest_body: usize,
    /// Bytes of an ingest body once it is not compressed any more.
    pub ingest_decoded: usize,
    /// Bytes of any other body.
    pub json_body: usize,
    /// Events of one request.
    pub batch: usize,
    /// Tags of one event.
    pub tags: usize,
    /// Characters of a tag's name.
    pub tag_name: usize,
    /// Characters of a tag's value.
    pub tag_value: usize,
    /// Time for a request's body.
    pub body_timeout: std::time::Duration,
    /// Names in `Host` that are ours.
    pub hosts: Vec<String>,
    /// Values of `Origin` that may write.
    pub origins: Vec<String>,
}

/// The environment that the settings name.
fn environment(api: &Api) -> String {
    api.settings.now().environment.word().to_owned()
}

/// Whether what makes up events is switched off here.
fn production(api: &Api) -> bool {
    api.settings.now().environment == Environment::Production
}

/// All routes as they are described, before anything is served.
fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::with_openapi(OpenApi::default())
        .merge(ingest::router())
        .merge(policies::router())
        .merge(agents::router())
        .merge(gitops::router())
        .merge(query::router())
        .merge(actions::router())
        .merge(remediator::router())
        .merge(remediate::router())
        .merge(audit::router())
        .merge(dashboard::router())
        .merge(incidents::router())
        .merge(plugins::router())
        .merge(queue::router())
        .merge(settings::router())
        .merge(evaluate::router())
        .merge(simulator::router())
        .merge(tester::router())
        .merge(pause::router())
        .merge(silences::router())
        .merge(tokens::router())
        .merge(health::router())
        .merge(docs::router())
}

/// The OpenAPI document of everything that is served.
#[must_use]
pub fn document() -> OpenApi {
    describe::complete(routes().into_openapi())
}

/// What is served, and what its handlers work with.
pub fn router(mut parts: Parts) -> (Router, Api) {
    let (routes, described) = routes().split_for_parts();
    let mut document = describe::complete(described);
    document.info.title.clone_from(&parts.about.title);
    document.info.description = Some(parts.about.description.clone());
    document.info.version.clone_from(&parts.about.version);
    parts.permissions = Arc::new(Permissions::of(&document));
    if parts.metrics_path != METRICS
        && let Some(item) = document.paths.paths.remove(METRICS)
    {
        document.paths.paths.insert(parts.metrics_path.clone(), item);
    }
    parts.document = docs::text(&document);
    let api = Api(Arc::new(parts));
    let (body, path) = (DefaultBodyLimit::max(api.limits.ingest_body), api.metrics_path.clone());
    let served = routes
        .fallback(problem::not_found)
        .method_not_allowed_fallback(problem::method_not_allowed)
        .layer(body)
        .layer(middleware::from_fn_with_state(api.clone(), door::guard))
        .with_state(api.clone());
    (with_metrics_at(&path, served), api)
}

/// The metrics' path in the description; the configuration may give it another name.
const METRICS: &str = "/metrics";

/// The same routes with the metrics under `path`.
fn with_metrics_at(path: &str, routes: Router) -> Router {
    if path == METRICS {
        return routes;
    }
    let path = path.to_owned();
    let renamed = tower::util::MapRequest::new(routes, move |mut request: Request| {
        let to = match request.uri().path() {
            asked if asked == path => METRICS,
            // What was renamed is not there any more.
            METRICS => "/metrics/renamed",
            _ => return request,
        };
        *request.uri_mut() = Uri::from_static(to);
        request
    });
    Router::new().fallback_service(renamed)
}
