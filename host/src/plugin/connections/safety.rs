//! A plugin makes no call that it was not granted, and no secret comes back to it: rules and redaction against a naive reading.

use base64::Engine;
use base64::prelude::BASE64_STANDARD_NO_PAD;

use super::path::Path;
use super::redact::Redactor;
use super::rules::{Method, Rules};
use super::settings::RuleSettings;
use crate::domain::mutant::{Fault, PLANTED};
use crate::domain::random::Random;

fn path(random: &mut Random, words: &[&str]) -> String {
    let count = 1 + random.place(3);
    (0..count).map(|_| format!("/{}", words[random.place(words.len())])).collect()
}

const METHODS: [(Method, &str); 3] =
    [(Method::Get, "GET"), (Method::Post, "POST"), (Method::Delete, "DELETE")];

fn rule(method: &str, path: &str) -> RuleSettings {
    let (methods, path, query) = (vec![method.to_owned()], path.to_owned(), Vec::new());
    RuleSettings { methods, path, query, body: None, effect: None, plan: None }
}

/// The path of a rule as a regular expression.
fn meaning(pattern: &str) -> regex::Regex {
    let mut text = String::from("^");
    for part in pattern[1..].split('/') {
        match part {
            "**" => text += "(?:/[^/]*)*",
            "*" => text += "/[^/]+",
            word => text += &format!("/{word}"),
        }
    }
    regex::Regex::new(&(text + "$")).unwrap()
}

/// The first call that is let out without a rule, or not although there is one.
fn ungranted(seed: u64) -> Option<String> {
    let mut random = Random(seed);
    let rules: Vec<(usize, String)> =
        (0..random.place(4)).map(|_| (random.place(3), path(&mut random, &["a", "b", "*", "**"]))).collect();
    let settings: Vec<RuleSettings> =
        rules.iter().map(|(method, path)| rule(METHODS[*method].1, path)).collect();
    let compiled = Rules::new(&settings).unwrap();
    for _ in 0..10 {
        let (at, path) = (random.place(3), path(&mut random, &["a", "b", "c"]));
        let parsed = Path::parse(&path).unwrap();
        let granted = rules.iter().any(|(method, rule)| *method == at && meaning(rule).is_match(&path));
        if compiled.check(METHODS[at].0, &parsed, b"").is_ok() != granted {
            return Some(format!("{} {path} under {rules:?}", METHODS[at].1));
        }
    }
    None
}

/// The first answer of which a secret is left.
fn leaked(seed: u64) -> Option<String> {
    let mut random = Random(seed);
    let letters = b"abcXYZ019/+=:% -";
    let word = |random: &mut Random, length: usize| -> String {
        (0..length).map(|_| char::from(letters[random.place(letters.len())])).collect()
    };
    let length = 8 + random.place(12);
    let secret = word(&mut random, length);
    let percent: String = secret.bytes().map(|byte| format!("%{byte:02x}")).collect();
    let (redactor, mut text, mut forms) = (Redactor::new(&[secret.clone()]), String::new(), Vec::new());
    for _ in 0..1 + random.place(4) {
        let length = random.place(9);
        text += &word(&mut random, length);
        let form = match random.place(3) {
            0 => secret.clone(),
            1 => percent.clone(),
            _ => BASE64_STANDARD_NO_PAD.encode(&secret),
        };
        text += &form;
        text.push('\n');
        forms.push(form);
    }
    let left = String::from_utf8_lossy(&redactor.cut(text.clone().into_bytes())).to_ascii_lowercase();
    // What a base64 group shares with its neighbours is not the secret's alone.
    let core = |form: &String| form[..form.len() - 4].to_ascii_lowercase();
    forms.iter().find(|form| left.contains(&core(form))).map(|form| format!("{form:?} of {text:?}"))
}

#[test]
fn no_call_is_let_out_that_was_not_granted() {
    for seed in 0..5_000 {
        assert_eq!(ungranted(seed), None, "seed {seed}");
    }
    PLANTED.set(Some(Fault::Granted));
    let found = (0..5_000).find_map(ungranted);
    PLANTED.set(None);
    println!("without Granted: {}", found.as_deref().unwrap_or("nobody noticed"));
    assert!(found.is_some(), "a grant that is not asked for is not noticed");
}

#[test]
fn no_secret_comes_back() {
    for seed in 0..5_000 {
        assert_eq!(leaked(seed), None, "seed {seed}");
    }
    PLANTED.set(Some(Fault::Redacted));
    let found = (0..5_000).find_map(leaked);
    PLANTED.set(None);
    println!("without Redacted: {}", found.as_deref().unwrap_or("nobody noticed"));
    assert!(found.is_some(), "an answer that is not searched is not noticed");
}
