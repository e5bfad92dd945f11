//! Where settings come from, which one wins, and how to say where one came from.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use figment::value::{Dict, Map, Tag, Value};
use figment::{Figment, Metadata, Profile, Provider};

use super::problem::Problem;
use super::seed;

/// The embedded defaults, which are also the documentation of every key.
pub const DEFAULTS: &str = include_str!("../config.default.toml");

/// Sections whose keys belong to another module, which checks them itself.
pub(super) const OPEN: [&str; 4] = ["plugins", "connections", "routes", "guardrails.plugins"];

/// A variable of this process's environment: a connection's credential may stand in one.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "the configuration is where settings enter")]
pub fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// What the process was given, as values, so that a test can give something else.
#[derive(Clone, Debug, Default)]
pub struct Inputs {
    /// `--config`: a file that must exist.
    pub file: Option<PathBuf>,
    /// Files of which the first that exists is read when `file` is not given.
    pub candidates: Vec<PathBuf>,
    /// A file of variables that is read if it is there, is ours and nobody else may write it.
    pub dotenv: Option<PathBuf>,
    /// The environment.
    pub env: BTreeMap<String, String>,
    /// Settings of the command line by key, `server.listen`.
    pub flags: BTreeMap<&'static str, String>,
}

impl Inputs {
    /// What this process was started with.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "the configuration is where settings enter")]
    pub fn of_process(file: Option<PathBuf>, flags: BTreeMap<&'static str, String>) -> Self {
        let candidates = vec![PathBuf::from("vigil.toml"), PathBuf::from("/etc/vigil/vigil.toml")];
        // Of the environment only what is text: the rest cannot be meant for us.
        let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
        let env = names.filter_map(|name| std::env::var(&name).ok().map(|value| (name, value))).collect();
        Self { file, candidates, dotenv: Some(PathBuf::from(".env")), env, flags }
    }

    fn file(&self) -> Option<&Path> {
        self.file
            .as_deref()
            .or_else(|| self.candidates.iter().map(PathBuf::as_path).find(|file| file.exists()))
    }
}

/// All layers, merged.
pub(super) struct Sources {
    pub merged: Figment,
    pub file: Option<PathBuf>,
    /// The file at `CONFIG_PATH`, if there is one.
    pub config_path: Option<PathBuf>,
    /// What the operator should know.
    pub notes: Vec<String>,
}

impl Sources {
    /// Reads every layer. Only a file that cannot be read or is no TOML is an error here.
    pub(super) fn read(inputs: &Inputs) -> Result<Self, Problem> {
        let defaults =
            toml::from_str(DEFAULTS).map_err(|error| Problem::file("the defaults", &error.to_string()))?;
        let mut merged = Figment::new().merge(Layer { name: "default".into(), dict: defaults });
        let mut notes = Vec::new();
        let dotenv = seed::dotenv(inputs.dotenv.as_deref(), &mut notes);
        let config_path = seed::config_path(&inputs.env, &dotenv);
        if let Some(path) = &config_path {
            let variables = seed::yaml(path, &mut notes)?;
            merged = seed::layers(merged, &variables, &format!("{}: ", path.display()));
        }
        let file = inputs.file().map(Path::to_path_buf);
        if let Some(path) = &file {
            let name = path.display().to_string();
            let text = fs::read_to_string(path).map_err(|error| Problem::file(&name, &error.to_string()))?;
            let dict =
                toml::from_str(&text).map_err(|error| Problem::file(&name, error.to_string().trim_end()))?;
            merged = merged.merge(Layer { name, dict });
        }
        for (variables, from) in [(&dotenv, ".env: "), (&inputs.env, "")] {
            merged = seed::layers(merged, variables, from);
            merged = own(merged, variables, from);
        }
        for (key, text) in &inputs.flags {
            let dict = nest(key, Value::from(text.as_str()));
            merged = merged.merge(Layer { name: "the command line".into(), dict });
        }
        Ok(Self { merged, file, config_path, notes })
    }

    /// The name of the layer a value came from.
    pub(super) fn origin(&self, tag: Tag) -> String {
        self.merged.get_metadata(tag).map_or_else(|| "default".to_owned(), |layer| layer.name.to_string())
    }

    /// Where the value of a key came from.
    pub(super) fn origin_of(&self, key: &str) -> String {
        self.merged.find_value(key).map_or_else(|_| "default".to_owned(), |value| self.origin(value.tag()))
    }

    /// Everything, merged.
    pub(super) fn all(&self) -> Dict {
        self.merged.extract().unwrap_or_default()
    }
}

/// What a key is for and what follows from it: the comment above it in the defaults.
pub(super) fn documentation(key: &str) -> Option<String> {
    let (section, name) = key.rsplit_once('.')?;
    let (mut current, mut comment) = ("", Vec::new());
    for line in DEFAULTS.lines() {
        if let Some(text) = line.strip_prefix('#') {
            comment.push(text.trim());
        } else if let Some(header) = line.strip_prefix('[') {
            current = header.trim_end_matches(']');
            comment.clear();
        } else if let Some((left, _)) = line.split_once('=') {
            if current == section && left.trim() == name {
                return Some(comment.join(" "));
            }
            comment.clear();
        } else {
            comment.clear();
        }
    }
    None
}

/// Our own variables, `VIGIL_SECTION__KEY`.
fn own(mut merged: Figment, variables: &BTreeMap<String, String>, from: &str) -> Figment {
    for (name, value) in variables {
        // One underscore more than a word: VIGIL_TOKEN and its like belong to the command line's client.
        let Some(key) = name.strip_prefix("VIGIL_").filter(|key| key.contains("__")) else { continue };
        let key = key.to_lowercase().replace("__", ".");
        let Ok(value) = value.parse::<Value>();
        merged = merged.merge(Layer { name: format!("{from}{name}"), dict: nest(&key, value) });
    }
    merged
}

/// One source of values.
pub(super) struct Layer {
    pub(super) name: String,
    pub(super) dict: Dict,
}

impl Provider for Layer {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.name.clone())
    }

    fn data(&self) -> figment::error::Result<Map<Profile, Dict>> {
        Ok(Profile::Default.collect(self.dict.clone()))
    }
}

pub(super) fn nest(key: &str, value: Value) -> Dict {
    match figment::util::nest(key, value) {
        Value::Dict(_, dict) => dict,
        Value::String(..)
        | Value::Char(..)
        | Value::Bool(..)
        | Value::Num(..)
        | Value::Empty(..)
        | Value::Array(..) => Dict::new(),
    }
}
