//! Policy files as they lie in a directory: read by the server's own reader, with the place of everything that is
//! wrong.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::yaml::{self, Document, Kind, Node};
use crate::api::policies::{Draft, files};
use crate::api::problem::Placed;
use crate::cli::{Error, output};

/// Something that is wrong, or that an author should know.
#[derive(Clone, Debug)]
pub(super) struct Finding {
    /// The file.
    pub(super) file: PathBuf,
    /// Line and column, from 1.
    pub(super) at: Option<(usize, usize)>,
    /// The policy.
    pub(super) policy: Option<String>,
    /// The member, such as `guardrails.cooldown`.
    pub(super) field: Option<String>,
    /// In words.
    pub(super) message: String,
}

impl Finding {
    /// For programs.
    pub(super) fn json(&self, level: &str) -> Value {
        json!({
            "level": level, "file": self.file.display().to_string(), "line": self.at.map(|at| at.0),
            "column": self.at.map(|at| at.1), "policy": self.policy, "field": self.field, "message": self.message,
        })
    }
}

/// As compilers say it: `file:line:column: policy: field: message`.
impl std::fmt::Display for Finding {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{}", self.file.display())?;
        if let Some((line, column)) = self.at {
            write!(out, ":{line}:{column}")?;
        }
        for part in [&self.policy, &self.field].into_iter().flatten() {
            write!(out, ": {part}")?;
        }
        write!(out, ": {}", self.message)
    }
}

/// A policy of a file that may be stored.
#[derive(Debug)]
pub(super) struct Sound {
    /// Its file.
    pub(super) file: PathBuf,
    /// Where it begins.
    pub(super) at: Option<(usize, usize)>,
    /// What is written there.
    pub(super) written: Value,
    /// What it says.
    pub(super) draft: Draft,
}

/// What files and directories hold.
#[derive(Debug, Default)]
pub(super) struct Sources {
    /// The good policies, in order.
    pub(super) policies: Vec<Sound>,
    /// What is wrong.
    pub(super) faults: Vec<Finding>,
    /// What authors should know.
    pub(super) warnings: Vec<Finding>,
    /// The files that were read.
    pub(super) files: usize,
}

/// The files that `paths` name, each once, in order.
pub(super) fn files_of(paths: &[PathBuf]) -> Result<Vec<PathBuf>, Error> {
    let mut found: Vec<PathBuf> = Vec::new();
    for path in paths {
        let files = files::files(path)
            .map_err(|wrong| Error::Usage(format!("{}: {}", wrong.path.display(), wrong.why)))?;
        if files.is_empty() {
            let kinds = "no .yaml, .yml or .json file is in it";
            return Err(Error::Usage(format!("{}: {kinds}", path.display())));
        }
        for file in files {
            if !found.contains(&file) {
                found.push(file);
            }
        }
    }
    Ok(found)
}

impl Sound {
    /// Its file and line.
    pub(super) fn place(&self) -> String {
        match self.at {
            Some((line, _)) => format!("{}:{line}", self.file.display()),
            None => self.file.display().to_string(),
        }
    }
}

impl Sources {
    /// Reads them all; where anything is wrong, it is said and that is the end.
    pub(super) fn sound(paths: &[PathBuf]) -> Result<Self, Error> {
        let sources = Self::read(paths)?;
        for fault in &sources.faults {
            output::note(fault);
        }
        match sources.faults.len() {
            0 => Ok(sources),
            1 => Err(Error::Failed("1 fault in the files; nothing was changed".to_owned())),
            many => Err(Error::Failed(format!("{many} faults in the files; nothing was changed"))),
        }
    }

    /// Reads them all. What is wrong inside a file is a fault; a path that is not there is an error.
    pub(super) fn read(paths: &[PathBuf]) -> Result<Self, Error> {
        let mut sources = Self::default();
        let mut names = HashMap::new();
        for file in files_of(paths)? {
            sources.files += 1;
            sources.file(&file, &mut names);
        }
        Ok(sources)
    }

    fn file(&mut self, file: &Path, names: &mut HashMap<String, String>) {
        let mut wrong = |at, message| {
            self.faults.push(Finding { file: file.to_owned(), at, policy: None, field: None, message });
        };
        let text = match files::text(file) {
            Ok(text) => text,
            Err(unreadable) => return wrong(None, unreadable.why),
        };
        let entries = match files::parsed(&text) {
            Ok(entries) => entries,
            Err(unparsed) => return wrong(unparsed.at, first_line(&unparsed.why)),
        };
        // Places are a help: what can't be placed is still named.
        let document = yaml::read(&text).ok();
        for (at, entry) in entries.into_iter().enumerate() {
            let node = document.as_ref().and_then(|document| policy_node(document, at));
            self.entry((file, &text), node, entry, names);
        }
    }

    fn entry(
        &mut self,
        (file, text): (&Path, &str),
        node: Option<&Node>,
        entry: Value,
        names: &mut HashMap<String, String>,
    ) {
        let at = node.map(|node| node.at);
        let name = entry.get("name").and_then(Value::as_str).map(|name| name.trim().to_owned());
        let finding =
            |at, field, message| Finding { file: file.to_owned(), at, policy: name.clone(), field, message };
        if let Some(name) = &name {
            let here = at.map_or_else(
                || file.display().to_string(),
                |(line, column)| format!("{}:{line}:{column}", file.display()),
            );
            if let Some(before) = names.insert(name.clone(), here) {
                let message = format!("a policy of that name stands before it, at {before}");
                self.faults.push(finding(at, Some("name".to_owned()), message));
                return;
            }
        }
        match files::checked(&entry) {
            Ok(draft) => {
                // What is nearly a member was meant to be one: a policy without it may act on everything.
                let (meant, warned): (Vec<&String>, Vec<&String>) =
                    draft.warnings.iter().partition(|warning| warning.contains("; did you mean `"));
                self.warnings.extend(warned.into_iter().map(|warning| finding(at, None, warning.clone())));
                if !meant.is_empty() {
                    let said = |text: &String| finding(at, None, text.replace(" is ignored;", ";"));
                    self.faults.extend(meant.into_iter().map(said));
                    return;
                }
                self.policies.push(Sound { file: file.to_owned(), at, written: entry, draft });
            }
            Err(problem) => {
                let faults = problem.faults().into_iter().map(|fault| {
                    let fault = located(fault);
                    let field = fault.loc.iter().map(plain).collect::<Vec<_>>().join(".");
                    let at = node.map(|node| place(node, text, &fault)).or(at);
                    finding(at, Some(field).filter(|field| !field.is_empty()), fault.msg)
                });
                self.faults.extend(faults);
            }
        }
    }
}

fn plain(part: &Value) -> String {
    part.as_str().map_or_else(|| part.to_string(), str::to_owned)
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}

/// The policy of that number in the file.
pub(super) fn policy_node(document: &Document, at: usize) -> Option<&Node> {
    let list = match &document.root.kind {
        Kind::List(_) => &document.root,
        Kind::Map(_) => &document.root.member("policies")?.value,
        Kind::Scalar(_) | Kind::Alias => return None,
    };
    list.entries().get(at).map(|entry| &entry.value)
}

/// A typed condition's fault says its place in words: `conditions.0: …`.
fn located(mut fault: Placed) -> Placed {
    const TYPED: &str = "Invalid condition configuration: ";
    if let (true, Some(rest)) = (fault.loc.is_empty(), fault.msg.strip_prefix(TYPED)) {
        fault.loc.push(json!("condition"));
        let parts = rest.split_once(": ").map_or("", |(path, _)| path);
        for part in parts.split('.').take_while(|part| *part == "conditions" || part.parse::<usize>().is_ok())
        {
            fault.loc.push(part.parse::<usize>().map_or_else(|_| json!(part), |at| json!(at)));
        }
        fault.msg = rest.strip_prefix(&format!("{parts}: ")).unwrap_or(rest).to_owned();
    }
    fault
}

/// The place of a fault: as deep as the file has what its path names, and inside an expression as deep as the text
/// shows it unchanged.
fn place(policy: &Node, text: &str, fault: &Placed) -> (usize, usize) {
    let (mut node, mut at) = (policy, policy.at);
    for part in &fault.loc {
        let next = match (part.as_str(), part.as_u64()) {
            (Some(name), _) => node.member(name),
            (None, Some(number)) => usize::try_from(number).ok().and_then(|at| node.entries().get(at)),
            (None, None) => None,
        };
        let Some(entry) = next else { return at };
        at = entry.at();
        node = &entry.value;
    }
    match (&node.kind, fault.within) {
        (Kind::Scalar(expression), Some(within)) => inside(text, node.at, expression, within).unwrap_or(at),
        _ => at,
    }
}

/// Where a place of an expression stands in the file, if its line stands there as it is.
fn inside(
    text: &str,
    at: (usize, usize),
    expression: &str,
    (line, column): (usize, usize),
) -> Option<(usize, usize)> {
    let wanted = expression.lines().nth(line.checked_sub(1)?)?.trim_start();
    let indent = expression.lines().nth(line - 1)?.chars().count() - wanted.chars().count();
    let column = column.checked_sub(1 + indent)?;
    let lines = text.lines().enumerate().skip(at.0.checked_sub(1)?).take(expression.lines().count() + 1);
    for (number, written) in lines {
        let from = if number + 1 == at.0 { at.1 - 1 } else { 0 };
        let tail: String = written.chars().skip(from).collect();
        if let Some(found) = tail.find(wanted).filter(|_| !wanted.is_empty()) {
            let before = tail[..found].chars().count();
            return Some((number + 1, from + before + column + 1));
        }
    }
    None
}
