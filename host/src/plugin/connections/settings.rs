//! `[connections.NAME]` as an operator writes it.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize, de};

use super::super::settings::size;

/// A system that plugins may reach, and which requests to it are allowed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConnectionSettings {
    /// `http://…`, `https://…` or `unix:///path/of/a/socket`. It may have a path, under which the
    /// plugin's paths lie, but no user, query or fragment.
    pub url: String,
    /// What may be sent; the first rule that fits a request decides. Empty: nothing.
    #[serde(default)]
    pub allow: Vec<RuleSettings>,
    /// How the host authenticates itself; none: it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials: Option<CredentialSettings>,
    /// The longest that one call may take.
    #[serde(default = "timeout", with = "humantime_serde")]
    pub timeout: Duration,
    /// An answer's body is cut there.
    #[serde(default = "max_response_bytes", with = "size")]
    pub max_response_bytes: u64,
    /// Certificate authorities in PEM form to trust instead of the system's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
    /// Whether the host *name* in `url` may resolve to a private or loopback address. An address written
    /// in `url` itself, or `localhost`, needs no such leave.
    #[serde(default)]
    pub private: bool,
}

fn timeout() -> Duration {
    Duration::from_secs(10)
}

fn max_response_bytes() -> u64 {
    4 << 20
}

impl Default for ConnectionSettings {
    fn default() -> Self {
        Self {
            url: String::new(),
            allow: Vec::new(),
            credentials: None,
            timeout: timeout(),
            max_response_bytes: max_response_bytes(),
            ca_file: None,
            private: false,
        }
    }
}

/// Where a connection's secret comes from. Files are read again when they change; environment variables
/// are read once, at the start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum CredentialSettings {
    /// `Authorization: Bearer`, from a file.
    BearerFile(PathBuf),
    /// `Authorization: Bearer`, from an environment variable.
    BearerEnv(String),
    /// `Authorization: Basic`.
    Basic {
        /// The user's name.
        user: String,
        /// The file that holds the password.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        password_file: Option<PathBuf>,
        /// The environment variable that holds the password.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        password_env: Option<String>,
    },
    /// A header field of its own.
    Header {
        /// The field's name.
        name: String,
        /// The file that holds its value.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        file: Option<PathBuf>,
        /// The environment variable that holds its value.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        env: Option<String>,
    },
}

/// Whether a request changes anything on the other side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EffectSetting {
    /// It changes nothing.
    Read,
    /// It may change something.
    Write,
}

/// One rule of `allow`: a table, or text such as `"GET,HEAD /containers/*/json"`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RuleSettings {
    /// HTTP methods.
    pub methods: Vec<String>,
    /// Matched against the decoded path, segment by segment: `*` within a segment stands for any text,
    /// `**` for any number of segments.
    pub path: String,
    /// Names of query parameters that may be given; `*` for any.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub query: Vec<String>,
    /// XML-RPC methods of which the body must be a call, `*` standing for any text; `system.multicall` is
    /// looked into. None: any body.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<Vec<String>>,
    /// By default GET and HEAD read, and all else writes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub effect: Option<EffectSetting>,
    /// What plan mode answers in place of a call that writes; none: 202 without a body.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plan: Option<AnswerSettings>,
}

/// An answer that the host gives in plan mode.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AnswerSettings {
    /// Its status code, 200 to 599.
    #[serde(default = "accepted")]
    pub status: u16,
    /// Its `Content-Type`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    /// Its body.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub body: String,
}

fn accepted() -> u16 {
    202
}

impl RuleSettings {
    fn from_text(text: &str) -> Option<Self> {
        let (methods, rest) = text.trim().split_once(char::is_whitespace)?;
        let (path, query) = rest.trim().split_once('?').unwrap_or((rest.trim(), ""));
        Some(Self {
            methods: methods.split(',').map(str::to_owned).collect(),
            path: path.to_owned(),
            query: query.split('&').filter(|q| !q.is_empty()).map(str::to_owned).collect(),
            body: None,
            effect: None,
            plan: None,
        })
    }
}

/// The table form; apart from [`RuleSettings`] so that either form gives errors of its own.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleTable {
    methods: Vec<String>,
    path: String,
    #[serde(default)]
    query: Vec<String>,
    #[serde(default)]
    body: Option<Vec<String>>,
    #[serde(default)]
    effect: Option<EffectSetting>,
    #[serde(default)]
    plan: Option<AnswerSettings>,
}

impl<'de> Deserialize<'de> for RuleSettings {
    fn deserialize<D: de::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Rule;
        impl<'de> de::Visitor<'de> for Rule {
            type Value = RuleSettings;
            fn expecting(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
                f.write_str("a rule: a table with `methods` and `path`, or text such as \"POST /RPC2\"")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<RuleSettings, E> {
                RuleSettings::from_text(text)
                    .ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))
            }
            fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<RuleSettings, A::Error> {
                let t = RuleTable::deserialize(de::value::MapAccessDeserializer::new(map))?;
                Ok(RuleSettings {
                    methods: t.methods,
                    path: t.path,
                    query: t.query,
                    body: t.body,
                    effect: t.effect,
                    plan: t.plan,
                })
            }
        }
        from.deserialize_any(Rule)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_text_or_tables() {
        let c: ConnectionSettings = toml::from_str(
            r#"
            url = "http://127.0.0.1:9001"
            allow = [
              "POST /RPC2",
              "GET,HEAD /logs/*?offset&length",
              { methods = ["POST"], path = "/RPC2", body = ["supervisor.get*"], effect = "read" },
              { methods = ["PUT"], path = "/x", plan = { status = 200, body = "{}" } },
            ]
            credentials = { basic = { user = "vigil", password_env = "PASSWORD" } }
            timeout = "2s"
            "#,
        )
        .unwrap();
        assert_eq!(c.allow[0].methods, ["POST"]);
        assert_eq!(c.allow[1].query, ["offset", "length"]);
        assert_eq!(c.allow[2].effect, Some(EffectSetting::Read));
        let answer = AnswerSettings { status: 200, content_type: None, body: "{}".to_owned() };
        assert_eq!(c.allow[3].plan, Some(answer));
        assert_eq!(c.timeout, Duration::from_secs(2));
        let again: ConnectionSettings = toml::from_str(&toml::to_string(&c).unwrap()).unwrap();
        assert_eq!(again, c);
    }

    #[test]
    fn mistakes_are_named() {
        let bad = |text: &str| toml::from_str::<ConnectionSettings>(text).unwrap_err().to_string();
        assert!(bad("url = \"http://x\"\nallow = [\"POST\"]").contains("a rule: a table"));
        assert!(
            bad("url = \"http://x\"\nallow = [{methods=[\"GET\"], path=\"/\", verb=1}]").contains("verb")
        );
        assert!(bad("url = \"http://x\"\npassword = \"p\"").contains("password"));
        assert!(bad("allow = []").contains("url"));
    }
}
