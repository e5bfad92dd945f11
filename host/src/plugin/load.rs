//! From bytes to a plugin that can run: compiled code from the cache or the child, linked, asked what it
//! is, checked. Nothing is served before all of it has worked.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;
use wasmtime::Engine;
use wasmtime::component::{Component, Linker};

use super::bindings::PluginPre;
use super::cache::{self, Cache};
use super::compile::Compiler;
use super::connections::{Connection, Connections};
use super::description::Description;
use super::report::words;
use super::runtime::Runtime;
use super::settings::Grant;
use super::state::Sandbox;
use super::{Settings, precheck};

/// Compilers at once.
const COMPILERS: usize = 2;

/// A plugin that can run.
pub(super) struct Loaded {
    /// What it says about itself.
    pub(super) description: Description,
    /// SHA-256 of its component in hexadecimal digits.
    pub(super) digest: String,
    /// Bytes of its component.
    pub(super) size: u64,
    /// Unix microseconds.
    pub(super) since: i64,
    /// Interfaces that its component imports.
    pub(super) imports: Vec<String>,
    /// Linked, short of a store.
    pub(super) pre: PluginPre<Sandbox>,
    /// Its slots and what fills them.
    pub(super) bindings: BTreeMap<String, Arc<Connection>>,
    /// Its configuration.
    pub(super) config: Arc<Map<String, Value>>,
    /// Whether it may use connections at all.
    pub(super) granted: bool,
    /// What the operator should know though it is served.
    pub(super) note: Option<String>,
}

/// Loads plugins.
pub(super) struct Loader {
    pub(super) engine: Engine,
    pub(super) linker: Linker<Sandbox>,
    pub(super) cache: Cache,
    pub(super) compiler: Compiler,
    pub(super) settings: Arc<Settings>,
    pub(super) connections: Connections,
    pub(super) now: fn() -> i64,
    pub(super) compilers: Semaphore,
    pub(super) compiled: AtomicU64,
    pub(super) cached: AtomicU64,
}

/// SHA-256 in hexadecimal digits.
pub(super) fn digest(bytes: &[u8]) -> String {
    // Each call's body is hashed: without a text for each digit.
    let digits =
        |byte: &u8| [byte >> 4, byte & 15].map(|digit| char::from(b"0123456789abcdef"[usize::from(digit)]));
    Sha256::digest(bytes).iter().flat_map(digits).collect()
}

/// A short name for settings as they are now: the beginning of their digest.
pub(super) fn revision(settings: &[u8]) -> String {
    digest(settings).chars().take(16).collect()
}

impl Loader {
    /// A place for each compiler that may run at once.
    pub(super) fn compilers() -> Semaphore {
        Semaphore::new(COMPILERS)
    }

    /// Does everything there is to do with a component; the error says in words that follow "it" why it
    /// is refused.
    pub(super) async fn load(
        &self,
        runtime: &Runtime,
        bytes: &[u8],
        embedded: bool,
    ) -> Result<Loaded, String> {
        if let Some(why) = precheck::shape(bytes) {
            return Err(why);
        }
        let digest = digest(bytes);
        let component = self.component(&digest, bytes).await?;
        let types = component.component_type();
        let imports = types.imports(&self.engine).map(|(name, _)| name.to_owned()).collect();
        let misfit = |e: wasmtime::Error| format!("does not fit the contract: {e:#}");
        let pre = self.linker.instantiate_pre(&component).and_then(PluginPre::new).map_err(misfit)?;
        let given = runtime
            .describe(&pre)
            .await
            .map_err(|ended| format!("could not be asked what it is: {}", words(&ended)))?;
        let description = Description::new(given)?;
        let grant = self.grant(&description, &digest, embedded);
        let config = grant.given.map(|g| g.config.clone()).unwrap_or_default();
        if let Some(schema) = &description.config {
            let problems = schema.check(&Value::Object(config.clone()));
            if let Some(p) = problems.err().and_then(|p| p.into_iter().next()) {
                return Err(format!(
                    "has a configuration that does not fit it: {:?} {}",
                    p.pointer, p.message
                ));
            }
        }
        Ok(Loaded {
            bindings: self.bindings(&description, &grant, embedded),
            granted: embedded || grant.given.is_some(),
            note: grant.note,
            description,
            size: bytes.len() as u64,
            since: (self.now)(),
            imports,
            pre,
            config: Arc::new(config),
            digest,
        })
    }

    /// Compiled code: from the cache, or else from the compiler, and then it is kept.
    async fn component(&self, digest: &str, bytes: &[u8]) -> Result<Component, String> {
        if let Some(artefact) = self.cache.get(digest) {
            match cache::deserialize(&self.engine, &artefact) {
                Ok(component) => {
                    self.cached.fetch_add(1, Ordering::Relaxed);
                    return Ok(component);
                }
                Err(error) => tracing::warn!(digest, %error, "cached code does not fit, compiling again"),
            }
        }
        let _place = self.compilers.acquire().await.map_err(|e| format!("could not be compiled: {e}"))?;
        let artefact = self.compiler.compile(bytes).await?;
        self.compiled.fetch_add(1, Ordering::Relaxed);
        let component = cache::deserialize(&self.engine, &artefact)
            .map_err(|e| format!("cannot be run within the limits: {e:#}"))?;
        if let Err(error) = self.cache.put(digest, &artefact) {
            tracing::warn!(digest, %error, "compiled code could not be kept");
        }
        Ok(component)
    }

    /// The grant that is for this component, and what to tell the operator where there is none.
    fn grant(&self, description: &Description, digest: &str, embedded: bool) -> Granted<'_> {
        let named: Vec<&Grant> =
            self.settings.grants.iter().filter(|g| g.plugin == description.name).collect();
        let given =
            named.iter().copied().find(|g| g.names_digest(digest) || (embedded && g.digest.is_none()));
        let needs = description.slots.iter().any(|s| !s.optional);
        let note = if given.is_some() || embedded {
            None
        } else if named.is_empty() {
            needs.then(|| {
                let name = &description.name;
                format!(
                    "no grant names it: [[plugins.grants]] plugin = {name:?}, digest = \"sha256:{digest}\""
                )
            })
        } else {
            Some(format!("its grant names another digest or none; this one is sha256:{digest}"))
        };
        Granted { given, note }
    }

    fn bindings(
        &self,
        description: &Description,
        grant: &Granted<'_>,
        embedded: bool,
    ) -> BTreeMap<String, Arc<Connection>> {
        let bound = |slot: &str| {
            let name = grant.given.and_then(|g| g.connections.get(slot)).map(String::as_str);
            let name = name.or(embedded.then_some(slot))?;
            self.connections.get(name).map(Arc::clone)
        };
        description.slots.iter().filter_map(|s| Some((s.name.clone(), bound(&s.name)?))).collect()
    }
}

struct Granted<'a> {
    given: Option<&'a Grant>,
    note: Option<String>,
}
