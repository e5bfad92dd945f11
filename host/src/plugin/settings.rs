//! Settings of the plugin runtime as an operator writes them: `[plugins]` and `[[routes]]`.
//!
//! Connections are in [`super::ConnectionSettings`]. Nothing here is looked up or opened; that is
//! [`super::Plugins::open`]'s work.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::ConnectionSettings;

/// The section `[plugins]`. Every limit is finite by default.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Where plugin files are dropped; a relative path is under the data directory.
    pub dir: PathBuf,
    /// Names that a dropped file may take over from an embedded plugin.
    pub replace: Vec<String>,
    /// Bytes of linear memory of one attempt, over all of its memories: a number or `"64 MiB"`.
    #[serde(with = "size")]
    pub memory: u64,
    /// Units of fuel (about one per instruction) of one attempt.
    pub fuel: u64,
    /// The longest that one attempt may take, whatever the plugin or the caller asks for.
    #[serde(with = "humantime_serde")]
    pub timeout: Duration,
    /// How long a guest may go on after it was asked to stop.
    #[serde(with = "humantime_serde")]
    pub cancel_grace: Duration,
    /// Elements of one table.
    pub table_elements: u32,
    /// Core instances of one component.
    pub instances: u32,
    /// Bytes of log lines kept of one attempt; more are dropped and counted.
    #[serde(with = "size")]
    pub log_bytes: u64,
    /// Bytes of one answer of a plugin, over all of its fields.
    #[serde(with = "size")]
    pub output_bytes: u64,
    /// Host calls that do work (connections, configuration, state, metrics) of one attempt.
    pub host_calls: u32,
    /// Attempts running at once on this node.
    pub concurrency: u32,
    /// What a plugin from a file may use, and the configuration of any plugin.
    pub grants: Vec<Grant>,
    /// The sections `[connections.NAME]`, which stand outside of this one.
    #[serde(skip)]
    pub connections: BTreeMap<String, ConnectionSettings>,
    /// The sections `[[routes]]`, which stand outside of this one.
    #[serde(skip)]
    pub routes: Vec<RouteSettings>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            dir: PathBuf::from("plugins"),
            replace: Vec::new(),
            memory: 64 << 20,
            fuel: 20_000_000_000,
            timeout: Duration::from_secs(30),
            cancel_grace: Duration::from_secs(5),
            table_elements: 100_000,
            instances: 64,
            log_bytes: 64 << 10,
            output_bytes: 1 << 20,
            host_calls: 1_000,
            concurrency: 16,
            grants: Vec::new(),
            connections: BTreeMap::new(),
            routes: Vec::new(),
        }
    }
}

impl Settings {
    /// The first limit that cannot work, in words; none where all of them can.
    #[must_use]
    pub fn problem(&self) -> Option<String> {
        let ranges = [
            ("memory", self.memory, 64 << 10, 4 << 30),
            ("fuel", self.fuel, 1_000, u64::MAX >> 1),
            ("timeout", u64::try_from(self.timeout.as_millis()).unwrap_or(u64::MAX), 1, 86_400_000),
            ("table_elements", self.table_elements.into(), 16, 10_000_000),
            ("instances", self.instances.into(), 1, 1_000),
            ("log_bytes", self.log_bytes, 0, 64 << 20),
            ("output_bytes", self.output_bytes, 1 << 10, 256 << 20),
            ("host_calls", self.host_calls.into(), 0, 10_000_000),
            ("concurrency", self.concurrency.into(), 1, 1_000),
        ];
        ranges.into_iter().find_map(|(name, value, least, most)| {
            (value < least || value > most)
                .then(|| format!("plugins.{name} is {value}, it must be from {least} to {most}"))
        })
    }
}

/// `[[plugins.grants]]`: what one plugin may use. What is not granted does not exist for it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grant {
    /// The plugin's name, from its description.
    pub plugin: String,
    /// SHA-256 of the component, as `sha256:…` or bare hexadecimal digits. A plugin from a file has no
    /// connections without it; for an embedded plugin it is not needed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// The plugin's slot to the name of the connection that fills it.
    #[serde(default)]
    pub connections: BTreeMap<String, String>,
    /// The plugin's own configuration; it holds no secrets.
    #[serde(default)]
    pub config: serde_json::Map<String, serde_json::Value>,
}

impl Grant {
    /// Whether this grant is for the component with that digest.
    #[must_use]
    pub fn names_digest(&self, digest: &str) -> bool {
        self.digest.as_deref().is_some_and(|d| d.trim_start_matches("sha256:").eq_ignore_ascii_case(digest))
    }
}

/// `[[routes]]`: which plugin serves an action on a target. The first that matches wins.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RouteSettings {
    /// The action's kind, such as `restart`.
    pub action: String,
    /// A glob over target names; `*` matches any name.
    #[serde(default = "any_target")]
    pub target: String,
    /// The plugin's name.
    pub plugin: String,
    /// The plugin's own name for the action, where it differs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plugin_action: Option<String>,
    /// Other connections than the grant's for some of the slots.
    #[serde(default)]
    pub connections: BTreeMap<String, String>,
}

fn any_target() -> String {
    "*".to_owned()
}

/// Sizes in bytes: a number, or text such as `"64 KiB"`, `"64MiB"`, `"1 GB"`.
pub(super) mod size {
    use serde::{Deserializer, Serializer, de};

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's `with` gives a reference")]
    pub(crate) fn serialize<S: Serializer>(bytes: &u64, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_u64(*bytes)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
        struct Size;
        impl de::Visitor<'_> for Size {
            type Value = u64;
            fn expecting(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
                f.write_str("a number of bytes or a size such as \"64 MiB\"")
            }
            fn visit_u64<E: de::Error>(self, v: u64) -> Result<u64, E> {
                Ok(v)
            }
            fn visit_i64<E: de::Error>(self, v: i64) -> Result<u64, E> {
                u64::try_from(v).map_err(|_| E::invalid_value(de::Unexpected::Signed(v), &self))
            }
            fn visit_str<E: de::Error>(self, v: &str) -> Result<u64, E> {
                parse(v).ok_or_else(|| E::invalid_value(de::Unexpected::Str(v), &self))
            }
        }
        from.deserialize_any(Size)
    }

    fn parse(text: &str) -> Option<u64> {
        let text = text.trim();
        let unit_at = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (digits, unit) = text.split_at(unit_at);
        let factor: u64 = match unit.trim().to_ascii_lowercase().as_str() {
            "" | "b" => 1,
            "kb" => 1_000,
            "mb" => 1_000_000,
            "gb" => 1_000_000_000,
            "k" | "kib" => 1 << 10,
            "m" | "mib" => 1 << 20,
            "g" | "gib" => 1 << 30,
            _ => return None,
        };
        digits.parse::<u64>().ok()?.checked_mul(factor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_finite_and_survive_a_round_trip() {
        let defaults = Settings::default();
        assert_eq!(defaults.problem(), None);
        let text = toml::to_string(&defaults).unwrap();
        assert_eq!(toml::from_str::<Settings>(&text).unwrap(), defaults);
        assert_eq!(toml::from_str::<Settings>("").unwrap(), defaults);
    }

    #[test]
    fn sizes_and_durations_are_text_or_numbers() {
        let s: Settings = toml::from_str("memory = \"32 MiB\"\nlog_bytes = 1000\ntimeout = \"5s\"").unwrap();
        assert_eq!((s.memory, s.log_bytes, s.timeout), (32 << 20, 1000, Duration::from_secs(5)));
        assert!(toml::from_str::<Settings>("memory = \"much\"").is_err());
        assert!(toml::from_str::<Settings>("memroy = 1").is_err());
        let tiny: Settings = toml::from_str("concurrency = 0").unwrap();
        assert!(tiny.problem().unwrap().contains("plugins.concurrency is 0"));
    }

    #[test]
    fn a_grant_names_its_digest_in_either_form() {
        let grant: Grant =
            toml::from_str("plugin = \"x\"\ndigest = \"sha256:AB\"\n[connections]\napi = \"prod\"").unwrap();
        assert!(grant.names_digest("ab"));
        assert!(!grant.names_digest("cd"));
        assert!(!Grant::default().names_digest(""));
    }

    #[test]
    fn a_route_matches_any_target_by_default() {
        let route: RouteSettings = toml::from_str("action = \"restart\"\nplugin = \"supervisor\"").unwrap();
        assert_eq!(route.target, "*");
        assert!(toml::from_str::<RouteSettings>("action = \"a\"\nplugin = \"b\"\nurl = \"c\"").is_err());
    }
}
