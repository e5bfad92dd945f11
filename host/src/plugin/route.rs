//! Which plugin serves an action on a target.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use globset::{Glob, GlobMatcher};

use super::connections::{Connection, Connections};
use super::load::{Loaded, revision};
use super::settings::{RouteSettings, Settings};
use super::types::{Effects, Risk};
use super::{Error, catalogue::Catalogue};

/// Names that mean the same action.
const SAME: [(&str, &str); 1] = [("restart-service", "restart")];

/// The plugin that serves an action, as it was when it was looked up: a plugin that is exchanged
/// meanwhile does not change it.
#[derive(Clone)]
pub struct Route {
    /// The plugin's name.
    pub plugin: String,
    /// Its version.
    pub version: String,
    /// SHA-256 of its component in hexadecimal digits.
    pub digest: String,
    /// The plugin's own name for the action.
    pub action: String,
    /// What the host may do when the outcome of a run is unknown.
    pub effects: Effects,
    /// How much harm it can do.
    pub risk: Risk,
    /// The plugin's own idea of how long it takes, within the operator's limit.
    pub timeout: Duration,
    /// Slots and the names of the connections that fill them.
    pub bindings: BTreeMap<String, String>,
    pub(super) connections: BTreeMap<String, Arc<Connection>>,
    pub(super) loaded: Arc<Loaded>,
}

impl std::fmt::Debug for Route {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Route")
            .field("plugin", &self.plugin)
            .field("digest", &self.digest)
            .field("action", &self.action)
            .field("bindings", &self.bindings)
            .finish_non_exhaustive()
    }
}

/// Why no plugin serves an action.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RouteError {
    /// None declares it, or the route's plugin is not there.
    #[error("no plugin serves this action")]
    NoPlugin,
    /// Several declare it and no route decides: their names, in order.
    #[error("several plugins serve this action ({}), and no route decides", .0.join(", "))]
    Ambiguous(Vec<String>),
}

/// The operator's routes, ready to use.
pub(super) struct Routes(Vec<Rule>);

struct Rule {
    action: String,
    target: GlobMatcher,
    plugin: String,
    plugin_action: Option<String>,
    connections: BTreeMap<String, Arc<Connection>>,
}

impl Routes {
    /// Checks the operator's routes.
    pub(super) fn new(settings: &[RouteSettings], connections: &Connections) -> Result<Self, Error> {
        let rule = |(n, r): (usize, &RouteSettings)| {
            let bad = |why: String| Error::Settings(format!("route {}: {why}", n + 1));
            let target = Glob::new(&r.target).map_err(|e| bad(e.to_string()))?.compile_matcher();
            let find = |(slot, name): (&String, &String)| {
                let connection = connections.get(name);
                let found = connection.ok_or_else(|| bad(format!("there is no connection {name:?}")))?;
                Ok((slot.clone(), Arc::clone(found)))
            };
            Ok(Rule {
                action: r.action.clone(),
                target,
                plugin: r.plugin.clone(),
                plugin_action: r.plugin_action.clone(),
                connections: r.connections.iter().map(find).collect::<Result<_, Error>>()?,
            })
        };
        settings.iter().enumerate().map(rule).collect::<Result<_, _>>().map(Self)
    }

    /// The first route that matches decides, else the one plugin that declares the action.
    pub(super) fn find(
        &self,
        catalogue: &Catalogue,
        settings: &Settings,
        kind: &str,
        target: &str,
    ) -> Result<Route, RouteError> {
        let rule = self.0.iter().find(|r| same(&r.action, kind) && r.target.is_match(target));
        if let Some(rule) = rule {
            let plugin = catalogue.serving().find(|p| p.description.name == rule.plugin);
            let plugin = plugin.ok_or(RouteError::NoPlugin)?;
            let wanted = rule.plugin_action.as_deref().unwrap_or(kind);
            let action = declared(plugin, wanted).ok_or(RouteError::NoPlugin)?;
            return Ok(Route::new(plugin, action, settings, &rule.connections));
        }
        let mut serving: Vec<_> = catalogue.serving().filter_map(|p| Some((p, declared(p, kind)?))).collect();
        match serving.as_slice() {
            [] => Err(RouteError::NoPlugin),
            [(plugin, action)] => Ok(Route::new(plugin, action, settings, &BTreeMap::new())),
            _ => {
                serving.sort_by(|a, b| a.0.description.name.cmp(&b.0.description.name));
                let names = serving.iter().map(|(p, _)| p.description.name.clone());
                Err(RouteError::Ambiguous(names.collect()))
            }
        }
    }
}

fn same(a: &str, b: &str) -> bool {
    plain(a) == plain(b)
}

fn plain(name: &str) -> &str {
    SAME.iter().find(|(alias, _)| *alias == name).map_or(name, |(_, plain)| plain)
}

/// The plugin's own name of an action, if it declares it; its exact name goes before an alias.
fn declared<'a>(plugin: &'a Loaded, kind: &str) -> Option<&'a str> {
    let names = || plugin.description.actions.iter().map(|a| a.name.as_str());
    names().find(|n| *n == kind).or_else(|| names().find(|n| same(n, kind)))
}

impl Route {
    fn new(
        plugin: &Arc<Loaded>,
        action: &str,
        settings: &Settings,
        more: &BTreeMap<String, Arc<Connection>>,
    ) -> Self {
        let mut connections = plugin.bindings.clone();
        if plugin.granted {
            // A route chooses among connections; it does not grant a slot that nobody asked for.
            let asked = |slot: &String| plugin.description.slots.iter().any(|s| s.name == *slot);
            let chosen = more.iter().filter(|(slot, _)| asked(slot));
            connections.extend(chosen.map(|(slot, c)| (slot.clone(), Arc::clone(c))));
        }
        let found = plugin.description.action(action);
        Self {
            plugin: plugin.description.name.clone(),
            version: plugin.description.version.clone(),
            digest: plugin.digest.clone(),
            action: action.to_owned(),
            // An action that is not described cannot be reached; the strictest is right for it.
            effects: found.map_or(Effects::Unsafe, |a| a.effects),
            risk: found.map_or(Risk::High, |a| a.risk),
            timeout: found.map_or(settings.timeout, |a| a.timeout.min(settings.timeout)),
            bindings: connections.iter().map(|(slot, c)| (slot.clone(), c.name().to_owned())).collect(),
            connections,
            loaded: Arc::clone(plugin),
        }
    }

    /// The revision of what the operator has granted the plugin; none: no connections at all.
    #[must_use]
    pub fn grant(&self) -> Option<String> {
        let config = serde_json::to_vec(&*self.loaded.config).unwrap_or_default();
        self.loaded.granted.then(|| revision(&config))
    }

    /// The plugin's slots, and what fills each: the connection's name and the revision of its settings.
    #[must_use]
    pub fn bound_to(&self) -> BTreeMap<String, String> {
        let named = |c: &Connection| format!("{}@{}", c.name(), c.revision());
        self.connections.iter().map(|(slot, connection)| (slot.clone(), named(connection))).collect()
    }

    /// Whether plan mode foretells all of the action, by the word of the plugin's author.
    #[must_use]
    pub fn foretold(&self) -> bool {
        self.loaded.description.action(&self.action).is_some_and(|action| action.foretold)
    }

    /// Whether every connection that the plugin cannot do without is there.
    #[must_use]
    pub fn bound(&self) -> bool {
        let slots = &self.loaded.description.slots;
        slots.iter().all(|slot| slot.optional || self.bindings.contains_key(&slot.name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aliases_are_the_same_action() {
        assert!(same("restart", "restart-service") && same("restart-service", "restart"));
        assert!(same("scale", "scale") && !same("restart", "scale"));
    }

    #[test]
    fn routes_name_connections_that_exist() {
        let route = RouteSettings {
            action: "restart".to_owned(),
            target: "*".to_owned(),
            plugin: "supervisor".to_owned(),
            plugin_action: None,
            connections: BTreeMap::from([("supervisor".to_owned(), "nowhere".to_owned())]),
        };
        let Err(error) = Routes::new(&[route], &Connections::new()) else { panic!("it passed") };
        assert_eq!(error.to_string(), "route 1: there is no connection \"nowhere\"");
    }
}
