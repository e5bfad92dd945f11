//! An empty, failed or partial selector selects nothing: patterns and matchers against a naive reading of them.

use super::event::Tags;
use super::mutant::{Fault, PLANTED};
use super::policy::Pattern;
use super::random::Random;
use super::silence::{Subject, matchers};

fn text(random: &mut Random, alphabet: &[u8], longest: u64) -> String {
    let length = random.below(longest + 1);
    (0..length).map(|_| char::from(alphabet[random.place(alphabet.len())])).collect()
}

/// What a shell would say of stars, question marks and sets of letters, where there is a star at all.
fn naive(pattern: &[u8], name: &[u8]) -> bool {
    match pattern.split_first() {
        None => name.is_empty(),
        Some((b'*', rest)) => (0..=name.len()).any(|at| naive(rest, &name[at..])),
        Some((b'?', rest)) => !name.is_empty() && naive(rest, &name[1..]),
        Some((letter, rest)) => name.first() == Some(letter) && naive(rest, &name[1..]),
    }
}

/// The first selector that selects what it does not say.
fn wrong(seed: u64) -> Option<String> {
    let mut random = Random(seed);
    for _ in 0..20 {
        let (pattern, name) = (text(&mut random, b"ab*?", 4), text(&mut random, b"ab", 4));
        let selects = Pattern::new(&pattern).is_ok_and(|pattern| pattern.matches(&name));
        let says = match pattern.as_str() {
            "" => false,
            literal if !literal.contains('*') => literal == name,
            glob => naive(glob.as_bytes(), name.as_bytes()),
        };
        if selects != says {
            return Some(format!("pattern {pattern:?} on {name:?}"));
        }
        let broken = format!("{pattern}*[");
        if Pattern::new(&broken).is_ok() {
            return Some(format!("pattern {broken:?}, which is none"));
        }
        // Of a silence's matchers at least one must say something.
        let values: Vec<String> = (0..random.below(3)).map(|_| text(&mut random, b"ab.*", 2)).collect();
        let texts: Vec<String> = values.iter().map(|value| format!("target=~{value}")).collect();
        let means = |value: &String| regex::Regex::new(&format!("^(?:{value})$"));
        let empty = values.iter().all(|value| means(value).is_ok_and(|regex| regex.is_match("")));
        let tags = Tags::new();
        let subject =
            Subject { policy: "p", target: &name, severity: "warning", action: "restart", tags: &tags };
        if let Ok(matchers) = matchers(&texts)
            && (empty || texts.is_empty())
            && matchers.iter().all(|matcher| matcher.matches(&subject))
        {
            return Some(format!("matchers {texts:?} on {name:?}"));
        }
    }
    None
}

#[test]
fn an_empty_selector_selects_nothing() {
    for seed in 0..2_000 {
        assert_eq!(wrong(seed), None, "seed {seed}");
    }
    for fault in [Fault::EmptyPattern, Fault::EmptyMatchers] {
        PLANTED.set(Some(fault));
        let found = (0..2_000).find_map(wrong);
        PLANTED.set(None);
        println!("without {fault:?}: {}", found.as_deref().unwrap_or("nobody noticed"));
        assert!(found.is_some(), "{fault:?} is not noticed");
    }
}
