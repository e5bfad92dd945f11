//! What would have to change for a server to say what files say. Pure: values in, a list of changes out.

use std::collections::{HashMap, HashSet};

use serde_json::{Value, json};

use super::remote::texts;
use super::source::Sound;
use crate::cli::output::Paint;

/// One member that differs.
#[derive(Debug, PartialEq)]
pub(super) struct Field {
    /// Where, such as `guardrails.cooldown`.
    pub(super) path: String,
    /// What the server says; none: nothing.
    pub(super) old: Option<Value>,
    /// What the file says; none: nothing.
    pub(super) new: Option<Value>,
}

/// One policy that is to change.
#[derive(Debug)]
pub(super) enum Change {
    /// The server has none of that name.
    Add {
        /// What is to be sent.
        body: Value,
        /// Where it stands.
        place: String,
    },
    /// The server's says something else.
    Edit {
        /// What is to be sent.
        body: Value,
        /// Where it stands.
        place: String,
        /// The version that it was compared with.
        version: Value,
        /// In what they differ.
        fields: Vec<Field>,
    },
    /// It stands in no file.
    Remove {
        /// The version that was seen.
        version: Value,
    },
}

/// All of it.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// By the policies' names.
    pub(super) changes: Vec<(String, Change)>,
    /// How many are alike.
    pub(super) unchanged: usize,
    /// What people should know.
    pub(super) notes: Vec<String>,
}

/// Compares files with a server's policies. With `prune`, what stands in no file is to be removed.
pub(super) fn plan(files: &[Sound], server: &[Value], prune: bool) -> Plan {
    let by_name: HashMap<&str, &Value> =
        server.iter().filter_map(|policy| Some((policy["name"].as_str()?, policy))).collect();
    let mut plan = Plan::default();
    for sound in files {
        plan.compare(sound, by_name.get(sound.draft.spec.name.as_str()).copied());
    }
    let named: HashSet<&str> = files.iter().map(|sound| sound.draft.spec.name.as_str()).collect();
    let mut others = 0;
    for (name, policy) in server.iter().filter_map(|policy| Some((policy["name"].as_str()?, policy))) {
        if named.contains(name) {
            continue;
        }
        if !prune {
            others += 1;
        } else if policy["source"] == "file" {
            plan.notes.push(format!("{name}: stands in one of the server's own files, and is not removed"));
        } else {
            let change = Change::Remove { version: policy["version"].clone() };
            plan.changes.push((name.to_owned(), change));
        }
    }
    if others > 0 {
        let what = if others == 1 { "policy of the server stands" } else { "policies of the server stand" };
        plan.notes.push(format!("{others} {what} in none of these files; --prune would remove those"));
    }
    plan
}

impl Plan {
    fn compare(&mut self, sound: &Sound, known: Option<&Value>) {
        let name = sound.draft.spec.name.clone();
        let mut body = sound.written.clone();
        let place = sound.place();
        let Some(known) = known else {
            self.changes.push((name, Change::Add { body, place }));
            return;
        };
        let mut wanted = serde_json::to_value(&sound.draft.spec).unwrap_or_default();
        // What the file leaves out is not the file's: a switch by hand is not undone by the next apply.
        let enabled = match body.get("enabled") {
            Some(said) if !said.is_null() => json!(sound.draft.enabled),
            Some(_) | None => known["enabled"].clone(),
        };
        wanted["enabled"] = enabled.clone();
        body["enabled"] = enabled;
        let mut fields = Vec::new();
        for (member, new) in wanted.as_object().into_iter().flatten() {
            differences(member.clone(), known.get(member), Some(new), &mut fields);
        }
        if fields.is_empty() {
            self.unchanged += 1;
        } else {
            let version = known["version"].clone();
            self.changes.push((name.clone(), Change::Edit { body, place, version, fields }));
        }
        if known["source"] == "file" {
            let mut note = format!("{name}: stands in one of the server's own files, too");
            let drifted = texts(&known["drifted"]);
            if !drifted.is_empty() {
                note = format!("{note}; since that was read, somebody changed {}", drifted.join(", "));
            }
            self.notes.push(note);
        }
    }

    /// Whether the policy of that name is to be changed so.
    pub(super) fn is(&self, name: &str, so: impl Fn(&Change) -> bool) -> bool {
        self.changes.iter().any(|(known, change)| known == name && so(change))
    }

    /// For programs.
    pub(super) fn json(&self) -> Value {
        let changes = self.changes.iter().map(|(name, change)| match change {
            Change::Add { place, .. } => json!({"change": "add", "name": name, "place": place}),
            Change::Remove { version } => json!({"change": "remove", "name": name, "version": version}),
            Change::Edit { place, version, fields, .. } => {
                let fields = fields
                    .iter()
                    .map(|field| json!({"field": field.path, "old": field.old, "new": field.new}));
                json!({"change": "edit", "name": name, "place": place, "version": version,
                    "fields": fields.collect::<Vec<_>>()})
            }
        });
        json!({"changes": changes.collect::<Vec<_>>(), "unchanged": self.unchanged, "notes": self.notes})
    }

    /// For people.
    pub(super) fn text(&self, paint: Paint) -> String {
        let mut lines = Vec::new();
        let said = |value: &Option<Value>| value.as_ref().map_or("(nothing)".to_owned(), Value::to_string);
        for (name, change) in &self.changes {
            match change {
                Change::Add { place, .. } => {
                    lines.push(format!("{} {name}  {}", paint.good("+ add   "), paint.dim(place)));
                }
                Change::Remove { .. } => lines.push(format!("{} {name}", paint.bad("- remove"))),
                Change::Edit { place, fields, .. } => {
                    lines.push(format!("{} {name}  {}", paint.bold("~ change"), paint.dim(place)));
                    lines.extend(fields.iter().map(|field| {
                        format!("    {}: {} -> {}", field.path, said(&field.old), said(&field.new))
                    }));
                }
            }
        }
        let count = |which: fn(&Change) -> bool| self.changes.iter().filter(|(_, one)| which(one)).count();
        let added = count(|change| matches!(change, Change::Add { .. }));
        let changed = count(|change| matches!(change, Change::Edit { .. }));
        let removed = count(|change| matches!(change, Change::Remove { .. }));
        let same = self.unchanged;
        lines.push(format!("{added} to add, {changed} to change, {removed} to remove, {same} unchanged\n"));
        lines.join("\n")
    }
}

/// Goes down as far as both are objects.
fn differences(path: String, old: Option<&Value>, new: Option<&Value>, fields: &mut Vec<Field>) {
    if old == new {
        return;
    }
    if let (Some(Value::Object(old)), Some(Value::Object(new))) = (old, new) {
        let mut names: Vec<&String> = old.keys().chain(new.keys()).collect();
        names.sort();
        names.dedup();
        for name in names {
            let inner = format!("{path}.{name}");
            differences(inner, old.get(name), new.get(name), fields);
        }
        return;
    }
    fields.push(Field { path, old: old.cloned(), new: new.cloned() });
}
