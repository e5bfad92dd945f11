//! The sections that belong to the plugin host: `[plugins]`, `[connections.NAME]`, `[[routes]]`.

use serde::Deserialize;

/// `[plugins]`, as it was read.
pub type PluginSettings = serde_json::Map<String, serde_json::Value>;
/// One `[connections.NAME]`, as it was read.
pub type ConnectionSettings = serde_json::Value;
/// One of `[[routes]]`, as it was read.
pub type RouteSettings = serde_json::Value;

/// The three sections together.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Plugins {
    /// `[plugins]`.
    #[serde(default)]
    pub plugins: PluginSettings,
    /// `[connections.NAME]` by name.
    #[serde(default)]
    pub connections: std::collections::BTreeMap<String, ConnectionSettings>,
    /// `[[routes]]` in their order.
    #[serde(default)]
    pub routes: Vec<RouteSettings>,
}
