//! The settings in force, as TOML, each with where it came from and without its secrets.

use std::fmt::Write;

use figment::value::Value;

use super::sources::{DEFAULTS, OPEN, Sources};
use super::values::mask_urls;
use super::{MASK, is_secret_name};

/// The merged settings in the order of the defaults; a comment names the layer of every value that is not a default.
pub(super) fn show(sources: &Sources) -> String {
    let mut text = String::new();
    if let Some(file) = &sources.file {
        let _ = writeln!(text, "# Read from {}.", file.display());
    }
    let mut section = "";
    for line in DEFAULTS.lines() {
        if let Some(header) = line.strip_prefix('[') {
            section = header.trim_end_matches(']');
            if !OPEN.contains(&section) {
                let _ = writeln!(text, "\n[{section}]");
            }
        } else if let Some((name, _)) = line.split_once('=').filter(|_| !line.starts_with('#')) {
            let key = format!("{section}.{}", name.trim());
            let Ok(value) = sources.merged.find_value(&key) else { continue };
            let from = sources.origin(value.tag());
            let comment = if from == "default" { String::new() } else { format!("  # {from}") };
            let _ = writeln!(text, "{} = {}{comment}", name.trim(), masked(&key, &value));
        }
    }
    for section in OPEN {
        open_section(sources, section, &mut text);
    }
    text
}

/// A section of another module: no order is known for it, and its keys are told apart by their names alone.
fn open_section(sources: &Sources, section: &str, text: &mut String) {
    let Ok(value) = sources.merged.find_value(section) else { return };
    let mut table = toml::Table::new();
    if matches!(&value, Value::Dict(_, dict) if dict.is_empty()) {
        return;
    }
    table.insert(section.to_owned(), masked(section, &value));
    let _ = write!(text, "\n{}", toml::to_string(&table).unwrap_or_default());
}

fn masked(key: &str, value: &Value) -> toml::Value {
    match value {
        _ if is_secret_name(key.rsplit('.').next().unwrap_or_default()) => toml::Value::from(MASK),
        Value::String(_, text) => toml::Value::from(mask_urls(text)),
        Value::Dict(_, dict) => dict
            .iter()
            .map(|(name, value)| (name.clone(), masked(name, value)))
            .collect::<toml::Table>()
            .into(),
        Value::Array(_, values) => values.iter().map(|value| masked(key, value)).collect::<Vec<_>>().into(),
        Value::Char(..) | Value::Bool(..) | Value::Num(..) | Value::Empty(..) => {
            toml::Value::try_from(value).unwrap_or_else(|_| toml::Value::from(MASK))
        }
    }
}
