//! The description of the API: valid, complete and true. That answers are as described is seen by every test, see
//! `support/conform.rs`.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use regex::Regex;
use serde_json::{Map, Value, json};

use crate::support::conform::{DOCUMENT, validator};
use crate::support::{Options, Request, Vigil};

const METHODS: [&str; 5] = ["get", "put", "post", "delete", "patch"];

/// Every operation: its template, its method, and what is said of it.
fn operations() -> Vec<(String, String, Value)> {
    let paths = DOCUMENT["paths"].as_object().unwrap();
    let mut all = Vec::new();
    for (template, item) in paths {
        for (method, operation) in item.as_object().unwrap() {
            assert!(METHODS.contains(&method.as_str()), "{template} has {method}");
            all.push((template.clone(), method.clone(), operation.clone()));
        }
    }
    all
}

fn parameters(template: &str) -> BTreeSet<String> {
    let name = Regex::new(r"\{(\w+)\}").unwrap();
    name.captures_iter(template).map(|found| found[1].to_owned()).collect()
}

#[test]
fn it_is_a_valid_openapi_3_1_document() {
    let mut faults = Vec::new();
    let mut say = |fault: String| faults.push(fault);
    if !DOCUMENT["openapi"].as_str().unwrap_or_default().starts_with("3.1.") {
        say(format!("openapi is {}", DOCUMENT["openapi"]));
    }
    for member in ["title", "version", "description"] {
        if DOCUMENT["info"][member].as_str().is_none_or(str::is_empty) {
            say(format!("info.{member} is missing"));
        }
    }
    let mut ids = BTreeMap::new();
    for (template, method, operation) in operations() {
        let here = format!("{method} {template}");
        match operation["operationId"].as_str() {
            Some(id) => {
                if let Some(other) = ids.insert(id.to_owned(), here.clone()) {
                    say(format!("{here} and {other} are both {id}"));
                }
            }
            None => say(format!("{here} has no operationId")),
        }
        for fault in operation_faults(&template, &operation) {
            say(format!("{here}: {fault}"));
        }
    }
    for (name, schema) in DOCUMENT["components"]["schemas"].as_object().unwrap() {
        if let Err(why) = validator(schema) {
            say(format!("the schema {name}: {why}"));
        }
    }
    let used = references(&DOCUMENT);
    let known: BTreeSet<String> = DOCUMENT["components"]["schemas"]
        .as_object()
        .unwrap()
        .keys()
        .map(|name| format!("#/components/schemas/{name}"))
        .collect();
    for lost in used.difference(&known) {
        say(format!("{lost} leads nowhere"));
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

fn operation_faults(template: &str, operation: &Value) -> Vec<String> {
    let mut faults = Vec::new();
    if operation["summary"].as_str().or(operation["description"].as_str()).is_none_or(str::is_empty) {
        faults.push("nobody says what it does".to_owned());
    }
    if operation["tags"].as_array().is_none_or(Vec::is_empty) {
        faults.push("it has no tag".to_owned());
    }
    let mut in_path = BTreeSet::new();
    for parameter in operation["parameters"].as_array().into_iter().flatten() {
        let name = parameter["name"].as_str().unwrap_or_default();
        match parameter["in"].as_str() {
            Some("path") => {
                in_path.insert(name.to_owned());
                if parameter["required"] != true {
                    faults.push(format!("the path parameter {name} is not required"));
                }
            }
            Some("query" | "header") => {}
            other => faults.push(format!("the parameter {name} is in {other:?}")),
        }
        faults
            .extend(validator(&parameter["schema"]).err().map(|why| format!("the parameter {name}: {why}")));
    }
    if in_path != parameters(template) {
        faults.push(format!("it declares {in_path:?} in its path"));
    }
    let responses = operation["responses"].as_object().cloned().unwrap_or_default();
    if !responses.keys().any(|status| status.starts_with('2') || status.starts_with('3')) {
        faults.push("it never succeeds".to_owned());
    }
    for (status, response) in &responses {
        if !status.parse::<u16>().is_ok_and(|status| (200..600).contains(&status)) {
            faults.push(format!("{status} is no status"));
        }
        if response["description"].as_str().is_none_or(str::is_empty) {
            faults.push(format!("nobody says what {status} means"));
        }
        faults.extend(
            content_faults(&response["content"]).into_iter().map(|fault| format!("{status}: {fault}")),
        );
    }
    faults.extend(
        content_faults(&operation["requestBody"]["content"])
            .into_iter()
            .map(|fault| format!("the body: {fault}")),
    );
    let security = operation["security"].as_array().cloned().unwrap_or_default();
    if security.len() != 1 {
        faults.push(format!("it asks for {security:?}"));
    }
    for scheme in security.iter().filter_map(Value::as_object).flat_map(Map::keys) {
        if DOCUMENT["components"]["securitySchemes"].get(scheme).is_none() {
            faults.push(format!("{scheme} is no security scheme"));
        }
    }
    faults
}

fn content_faults(content: &Value) -> Vec<String> {
    let kinds = content.as_object().cloned().unwrap_or_default();
    kinds
        .iter()
        .filter_map(|(kind, media)| match media.get("schema") {
            None => Some(format!("{kind} has no schema")),
            Some(schema) => validator(schema).err().map(|why| format!("{kind}: {why}")),
        })
        .collect()
}

/// Everything that is referred to.
fn references(value: &Value) -> BTreeSet<String> {
    match value {
        Value::Object(members) => {
            let own = members.get("$ref").and_then(Value::as_str).map(str::to_owned);
            members.values().flat_map(references).chain(own).collect()
        }
        Value::Array(items) => items.iter().flat_map(references).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => BTreeSet::new(),
    }
}

/// A body without a meaning: what is described must say something about it other than that it is not there.
#[test]
fn everything_described_is_served() {
    let vigil = Vigil::start(Options::default());
    let (mut served, mut said) = (vigil.get_json("/openapi.json"), DOCUMENT.clone());
    // What the installation calls itself is a setting.
    assert_eq!(served["info"]["title"], "Vigil Monitoring API");
    (served["info"], said["info"]) = (Value::Null, Value::Null);
    assert_eq!(served, said, "what is served is what the code says");
    let mut lost = Vec::new();
    for (template, method, _) in operations() {
        let path = parameters(&template)
            .into_iter()
            .fold(template.clone(), |path, name| path.replace(&format!("{{{name}}}"), "1"));
        let request = Request::new(&method.to_ascii_uppercase(), &path).json(&json!(null));
        let answer = vigil.send(&request);
        let nowhere =
            answer.status == 405 || (answer.status == 404 && answer.json()["detail"] == "Not Found");
        if nowhere && !template.contains("{file}") {
            lost.push(format!("{method} {template}: {}", answer.text()));
        }
    }
    assert!(lost.is_empty(), "{lost:#?}");
}

/// Two types of one name would silently be described as one of them.
#[test]
fn every_described_type_has_a_name_of_its_own() {
    let derived = Regex::new(r"(?s)#\[derive\(([^)]*)\)\]((?:\s*#\[[^\n]*\]|\s*///[^\n]*)*)\s*(?:pub(?:\([^)]*\))? )?(?:struct|enum) (\w+)").unwrap();
    let renamed = Regex::new(r"#\[schema\([^\n]*\bas = (\w+)").unwrap();
    let mut named: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (path, text) in sources("src") {
        for found in derived.captures_iter(&text).filter(|found| found[1].contains("ToSchema")) {
            let name = renamed
                .captures(&found[2])
                .map_or(&found[3], |renamed| renamed.get(1).unwrap().as_str())
                .to_owned();
            named.entry(name).or_default().push(path.clone());
        }
    }
    assert!(named.len() > 20, "this test does not find the types any more: {named:?}");
    named.retain(|_, places| places.len() > 1);
    assert!(named.is_empty(), "give all but one another name by #[schema(as = …)]: {named:#?}");
}

/// The host's sources below a directory: paths and texts.
fn sources(below: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut open = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join(below)];
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(&dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else {
                found.push((path.display().to_string(), fs::read_to_string(&path).unwrap()));
            }
        }
    }
    found
}

/// Routes are added together with their description, and in no other way.
#[test]
fn everything_served_is_described() {
    let undescribed = Regex::new(r"\.(route|nest|nest_service|route_service|fallback_service)\(").unwrap();
    let mut found = Vec::new();
    for (path, text) in sources("src/api") {
        let lines = text.lines().enumerate().filter(|(_, line)| undescribed.is_match(line));
        found.extend(lines.map(|(at, line)| format!("{path}:{}: {}", at + 1, line.trim())));
    }
    // `plugins.route(kind, target)` finds a plugin; `renamed` is all routes, with the metrics where they are configured.
    found.retain(|line| !line.contains("plugins.route(") && !line.ends_with("fallback_service(renamed)"));
    assert!(found.is_empty(), "use routes! and utoipa::path: {found:#?}");
    assert!(operations().len() > 20, "the description has lost its routes");
}
