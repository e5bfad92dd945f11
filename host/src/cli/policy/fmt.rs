//! `vigil policy fmt`: files in one form, with the same meaning.
//!
//! What a file says is read, put in the order in which people look for it, and written again; the result is read back and
//! must be the same to the last member. What would be lost (comments, anchors, tags) leaves a file as it is.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use clap::Args;
use serde::ser::{Serialize, SerializeMap as _, Serializer};
use serde_json::Value;

use super::check::counted;
use super::source::files_of;
use super::yaml;
use crate::api::policies::files;
use crate::cli::{Error, output};

/// Which files, and whether to write them.
#[derive(Args, Debug)]
pub struct Options {
    /// Policy files, or directories of them
    #[arg(required = true, value_name = "FILE|DIR")]
    paths: Vec<PathBuf>,
    /// Write nothing; end with 1 if a file would change
    #[arg(long)]
    check: bool,
}

/// What becomes of a file.
enum Form {
    /// It has it.
    Kept,
    /// It is to be this.
    Other(String),
    /// It can't be written without a loss, of what.
    Left(String),
}

/// Writes each file in its form, and names those that were changed.
pub(super) fn run(options: &Options) -> Result<(), Error> {
    let (mut changed, mut wrong) = (0, 0);
    for file in files_of(&options.paths)? {
        match formed(&file) {
            Ok(Form::Kept) => {}
            Ok(Form::Left(what)) => {
                output::note(format_args!("{}: left as it is: it has {what}", file.display()));
            }
            Ok(Form::Other(text)) => {
                changed += 1;
                output::line(file.display());
                if !options.check {
                    write(&file, &text)?;
                }
            }
            Err(why) => {
                wrong += 1;
                output::note(format_args!("{}: {why}", file.display()));
            }
        }
    }
    if wrong > 0 {
        return Err(Error::Failed(format!("{} can't be read", counted(wrong, "file"))));
    }
    if options.check && changed > 0 {
        return Err(Error::Failed(format!(
            "{} not in form; vigil policy fmt writes it",
            counted(changed, "file")
        )));
    }
    Ok(())
}

fn formed(file: &Path) -> Result<Form, String> {
    let text = files::text(file).map_err(|unreadable| unreadable.why)?;
    // Only what is a policy file is touched.
    files::parsed(&text).map_err(|unparsed| unparsed.why)?;
    let value: Value = serde_saphyr::from_str(&text).map_err(|why| why.to_string())?;
    if let Some(what) = yaml::read(&text)?.odd {
        return Ok(Form::Left(what.to_owned()));
    }
    let json = file.extension().is_some_and(|kind| kind == "json");
    let form = if json {
        serde_json::to_string_pretty(&Ordered(&value))
            .map(|text| text + "\n")
            .map_err(|why| why.to_string())?
    } else {
        serde_saphyr::to_string(&Ordered(&value)).map_err(|why| why.to_string())?
    };
    let back = serde_saphyr::from_str::<Value>(&form).ok();
    if back.as_ref() != Some(&value) {
        return Ok(Form::Left("a value that can't be written again as it is".to_owned()));
    }
    Ok(if form == text { Form::Kept } else { Form::Other(form) })
}

/// In the place of the old one, whole or not at all, with its permissions.
fn write(file: &Path, text: &str) -> Result<(), Error> {
    let wrong = |why: std::io::Error| Error::Failed(format!("{}: {why}", file.display()));
    // Behind a link lies the file that is meant.
    let file = file.canonicalize().map_err(wrong)?;
    let permissions = std::fs::metadata(&file).map_err(wrong)?.permissions();
    let directory = file.parent().unwrap_or(Path::new("."));
    let mut part = tempfile::NamedTempFile::new_in(directory).map_err(wrong)?;
    part.write_all(text.as_bytes()).map_err(wrong)?;
    part.as_file().set_permissions(permissions).map_err(wrong)?;
    part.as_file().sync_all().map_err(wrong)?;
    part.persist(&file).map_err(|why| wrong(why.error))?;
    Ok(())
}

/// Members in the order in which people look for them; others follow, sorted.
const ORDER: [&str; 23] = [
    "name",
    "description",
    "severity",
    "target",
    "enabled",
    "mode",
    "auto_remediate",
    "type",
    "metric",
    "threshold",
    "expression",
    "match_metric",
    "condition",
    "conditions",
    "clear",
    "action",
    "params",
    "tries",
    "settle",
    "steps",
    "guardrails",
    "approval",
    "cooldown",
];

/// A value whose members are written in that order.
struct Ordered<'a>(&'a Value);

impl Serialize for Ordered<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Array(items) => to.collect_seq(items.iter().map(Ordered)),
            Value::Object(members) => {
                let rank = |name: &str| ORDER.iter().position(|known| *known == name).unwrap_or(ORDER.len());
                let mut names: Vec<&String> = members.keys().collect();
                names.sort_by_key(|name| (rank(name), *name));
                let mut map = to.serialize_map(Some(names.len()))?;
                for name in names {
                    map.serialize_entry(name, &Ordered(&members[name]))?;
                }
                map.end()
            }
            plain @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_)) => {
                plain.serialize(to)
            }
        }
    }
}
