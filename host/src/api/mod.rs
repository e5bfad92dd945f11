//! The HTTP contract: one file per resource, its router beside its handlers. Nothing here decides; a handler
//! parses at the door, asks the pipeline or the store, and renders.

mod actions;
pub mod describe;
mod docs;
mod door;
mod evaluate;
mod health;
mod incidents;
mod ingest;
mod input;
mod plugins;
pub mod policies;
pub mod problem;
mod simulator;
mod tester;
mod tokens;

use std::sync::{Arc, RwLock};
use std::time::Instant;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware;
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;

use crate::clock::Clock;
use crate::engine::PolicySet;
use crate::metrics::Metrics;
use crate::pipeline::ingest::Ingest;
use crate::pipeline::worker::Running;
use crate::plugin::Plugins;
use crate::queue::Queue;
use crate::store::Store;

pub use describe::Permissions;
pub use door::{Door, Peer, Principal, SharedRate, Tokens};
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
    /// Attempts of a new action.
    pub max_attempts: i64,
}

/// The environment that the settings name.
fn environment(_api: &Api) -> String {
    "development".to_owned()
}

/// Whether what makes up events is switched off here.
fn production(api: &Api) -> bool {
    environment(api) == "production"
}

/// All routes as they are described, before anything is served.
fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::with_openapi(OpenApi::default())
        .merge(ingest::router())
        .merge(policies::router())
        .merge(actions::router())
        .merge(incidents::router())
        .merge(plugins::router())
        .merge(evaluate::router())
        .merge(simulator::router())
        .merge(tester::router())
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
    let document = describe::complete(described);
    parts.permissions = Arc::new(Permissions::of(&document));
    parts.document = docs::text(&document);
    let api = Api(Arc::new(parts));
    let body = DefaultBodyLimit::max(api.limits.ingest_body);
    let served = routes
        .fallback(problem::not_found)
        .method_not_allowed_fallback(problem::method_not_allowed)
        .layer(body)
        .layer(middleware::from_fn_with_state(api.clone(), door::guard))
        .with_state(api.clone());
    (served, api)
}
