//! Holds every answer that a test sees against the description of the API: an undeclared status, another media type
//! or a body that its schema does not allow fails the test that saw it.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use jsonschema::Validator;
use serde_json::{Value, json};

use super::{Request, Response};

/// The description, as it is served.
pub(crate) static DOCUMENT: LazyLock<Value> =
    LazyLock::new(|| serde_json::to_value(vigil_host::api::document()).expect("the description is JSON"));

/// Validators by the place of their schema in the document, made when they are first needed.
static VALIDATORS: LazyLock<Mutex<HashMap<String, Arc<Validator>>>> = LazyLock::new(Mutex::default);

/// Checks an answer, if its route is described.
#[track_caller]
pub(crate) fn check(request: &Request, answer: &Response) {
    // A page of another site is told what it may do, and a slash too many where to go: for any path alike.
    if request.method() == "OPTIONS" || answer.status == 307 {
        return;
    }
    if let Err(why) = judge(request, answer) {
        panic!(
            "{} {}: {} is not as described: {why}\n{}",
            request.method(),
            request.path(),
            answer.status,
            answer.text().chars().take(2_000).collect::<String>()
        );
    }
}

fn judge(request: &Request, answer: &Response) -> Result<(), String> {
    let method = if request.method() == "HEAD" { "GET" } else { request.method() }.to_ascii_lowercase();
    let path = request.path().split(['?', '#']).next().unwrap_or_default();
    let found =
        template(path).and_then(|template| Some((template, DOCUMENT["paths"][template].get(&method)?)));
    let Some((template, operation)) = found else {
        // Nobody's route, or not with this method: an error of the usual shape.
        return if answer.status >= 400 {
            body(&problem(), answer)
        } else {
            Err("nobody describes this route".into())
        };
    };
    let status = answer.status.to_string();
    let Some(response) = operation["responses"].get(&status) else {
        return Err(format!(
            "{template} declares {:?}",
            operation["responses"].as_object().map(|all| all.keys().collect::<Vec<_>>())
        ));
    };
    if request.method() == "HEAD" {
        return Ok(());
    }
    let essence = |kind: &str| kind.split(';').next().unwrap_or_default().trim().to_owned();
    let kind = essence(answer.header("content-type").unwrap_or_default());
    let Some(content) = response["content"].as_object().filter(|content| !content.is_empty()) else {
        return if answer.body.is_empty() {
            Ok(())
        } else {
            Err("it has a body, and none is declared".into())
        };
    };
    let Some((_, media)) = content.iter().find(|(declared, _)| essence(declared) == kind) else {
        return Err(format!("its media type {kind:?} is none of {:?}", content.keys().collect::<Vec<_>>()));
    };
    if !kind.ends_with("json") {
        return Ok(());
    }
    body(&media["schema"], answer)
}

fn problem() -> Value {
    json!({"$ref": "#/components/schemas/Problem"})
}

fn body(schema: &Value, answer: &Response) -> Result<(), String> {
    if answer.body.is_empty() {
        return Err("its body is empty".into());
    }
    let value: Value =
        serde_json::from_slice(&answer.body).map_err(|wrong| format!("no strict JSON: {wrong}"))?;
    let faults: Vec<String> = validator(schema)?
        .iter_errors(&value)
        .take(5)
        .map(|fault| format!("{} at {}", fault, fault.instance_path()))
        .collect();
    if faults.is_empty() { Ok(()) } else { Err(faults.join("; ")) }
}

/// The validator of a schema of the document.
pub(crate) fn validator(schema: &Value) -> Result<Arc<Validator>, String> {
    let mut known = VALIDATORS.lock().unwrap_or_else(PoisonError::into_inner);
    let key = schema.to_string();
    if let Some(same) = known.get(&key) {
        return Ok(Arc::clone(same));
    }
    // References begin at the document's root, so the schema is put beside its components.
    let root = json!({"$schema": "https://json-schema.org/draft/2020-12/schema", "allOf": [schema], "components": DOCUMENT["components"]});
    let made =
        jsonschema::validator_for(&root).map_err(|wrong| format!("its schema can't be used: {wrong}"))?;
    let made = Arc::new(made);
    known.insert(key, Arc::clone(&made));
    Ok(made)
}

/// The template that a path is served by: a fixed part goes before a parameter.
pub(crate) fn template(path: &str) -> Option<&'static str> {
    let parts: Vec<&str> = path.split('/').collect();
    let fits = |template: &str| -> Option<usize> {
        let wanted: Vec<&str> = template.split('/').collect();
        let same = wanted.len() == parts.len()
            && wanted
                .iter()
                .zip(&parts)
                .all(|(wanted, part)| wanted == part || (wanted.starts_with('{') && !part.is_empty()));
        same.then(|| wanted.iter().filter(|wanted| wanted.starts_with('{')).count())
    };
    let templates = DOCUMENT["paths"].as_object()?;
    templates
        .keys()
        .filter_map(|template| Some((fits(template)?, template.as_str())))
        .min()
        .map(|(_, template)| template)
}
