//! Texts that want to hurt: bombs and mutations. A text may be refused or compiled, but never abort or take long.

use super::campaign;
use super::generate::Writer;
use super::random::Random;
use crate::cel::{MAX_BYTES, compile};
use std::time::{Duration, Instant};

/// The longest a compilation may take; unoptimised builds on a busy machine are not what is promised.
const LIMIT: Duration =
    if cfg!(debug_assertions) { Duration::from_secs(3) } else { Duration::from_millis(50) };

fn timed(source: &str) -> (bool, Duration) {
    let start = Instant::now();
    let outcome = compile(source);
    let took = start.elapsed();
    if let Err(errors) = &outcome {
        // What a caller sees when the parser panicked or there was no thread.
        let broken =
            errors.0.iter().any(|e| e.message.contains("cannot be compiled") || e.message.contains("thread"));
        assert!(!broken && !errors.0.is_empty(), "{source}: {errors}");
    }
    assert!(
        took < LIMIT,
        "{took:?} for {} bytes: {}",
        source.len(),
        source.chars().take(300).collect::<String>()
    );
    (outcome.is_ok(), took)
}

/// Nested `all()` of a depth.
fn nested(depth: usize) -> String {
    (0..depth).fold("true".to_owned(), |inner, i| format!("[1, 2, 3, 4, 5, 6, 7, 8].all(v{i}, {inner})"))
}

#[test]
fn bombs_are_refused_in_time() {
    let doubling = (0..24).fold("'ab'".to_owned(), |inner, i| format!("[{inner}].map(v{i}, v{i} + v{i})[0]"));
    let bombs = [
        vec!["1"; 1_500].join("+") + " > 0",
        vec!["1"; 249].join("+") + " > 0",
        format!("target{} == 1", ".a".repeat(2_000)),
        format!("target{} == 1", ".a".repeat(240)),
        format!("target.labels{} == 1", "[0]".repeat(160)),
        nested(7),
        nested(3),
        doubling + " == 'x'",
        "target.name.matches('((a{1000}){1000}){1000}')".to_owned(),
        "target.name.matches('(((((((((((((((((((a)))))))))))))))))))')".to_owned(),
        format!("target.name.matches('{}')", "\\\\pL{50}".repeat(40)),
        "(".repeat(200_000),
        "(".repeat(499),
        format!("{}1{} == 1", "(".repeat(200), ")".repeat(200)),
        format!("{}true", "!(".repeat(33)),
        format!("{}1", "true ? 1 : ".repeat(100)),
        format!("{}1{} == [1]", "[".repeat(33), "]".repeat(33)),
        format!("{}1{} == 1", "[".repeat(31), "][0]".repeat(31)),
        "a.b.c{".to_owned(),
        format!("{}{{}}", vec!["a"; 240].join(".")),
        "\0".repeat(3),
        "'".repeat(4_000),
        "1.".repeat(490),
        "?:".repeat(240),
        "in ".repeat(499),
    ];
    for bomb in &bombs {
        assert!(!timed(bomb).0, "compiled: {}", bomb.chars().take(200).collect::<String>());
    }
}

#[test]
fn the_largest_allowed_texts_compile_and_run() {
    let world = super::world::world();
    let long = [
        vec!["last('cpu') > 1.0"; 71].join(" && "),
        vec!["1"; 95].join(" + ") + " == 95",
        format!("{}true", "!".repeat(490)),
        format!("{}1{} == 1", "(".repeat(32), ")".repeat(32)),
        format!("{}1 == 1{}", "!!(true && ".repeat(32), ")".repeat(32)),
        format!("{}true", "false ? false : ".repeat(32)),
        format!("[{}].all(x, x == 1)", vec!["1"; 240].join(", ")),
        format!("{}1{} == 1", "[".repeat(8), "][0]".repeat(8)),
        format!("'{}' != 'x'", "y".repeat(MAX_BYTES - 10)),
    ];
    for source in &long {
        assert!(timed(source).0, "{source}: {:?}", compile(source).err().map(|e| e.to_string()));
        let program = compile(source).expect("compiled before");
        assert_eq!(program.eval(&world.resolve(&program)), Ok(true), "{source}");
    }
}

const TOKENS: [&str; 40] = [
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    ".",
    ",",
    "?",
    ":",
    "!",
    "-",
    "+",
    "*",
    "/",
    "%",
    "==",
    "&&",
    "||",
    "in",
    "<",
    ">=",
    "'",
    "\"",
    "r'",
    "b'",
    "'''",
    "\\",
    "0x",
    "1e",
    "1u",
    "99999999999999999999",
    "metric",
    ".all(x, ",
    "has(",
    "//",
    "\n",
    "é",
    "`",
    "\u{1}",
];

fn mutate(random: &mut Random, source: &str) -> String {
    let mut chars: Vec<char> = source.chars().collect();
    for _ in 0..=random.below(4) {
        let at = random.below(chars.len() + 1);
        let to = (at + 1 + random.below(12)).min(chars.len());
        match random.below(6) {
            0 => drop(chars.drain(at..to)),
            1 => drop(chars.splice(at..at, random.pick(&TOKENS).chars())),
            2 => drop(chars.splice(at..to, random.pick(&TOKENS).chars())),
            3 => {
                let piece: Vec<char> = chars[at..to].to_vec();
                let times = 1 + random.below(60);
                drop(chars.splice(at..at, piece.repeat(times)));
            }
            4 => {
                let byte = u8::try_from(random.below(256)).unwrap_or(0);
                chars.insert(at, char::from(byte));
            }
            _ => {
                let (left, right) = (random.below(chars.len().max(1)), random.below(chars.len().max(1)));
                if !chars.is_empty() {
                    chars.swap(left, right);
                }
            }
        }
    }
    chars.into_iter().collect()
}

#[test]
#[expect(clippy::print_stdout, reason = "the figures of a campaign")]
fn mutated_texts_never_abort_or_take_long() {
    let budget = Duration::from_secs(if campaign() { 600 } else { 5 });
    let start = Instant::now();
    let (mut texts, mut compiled, mut longest) = (0_u64, 0_u64, Duration::ZERO);
    while start.elapsed() < budget {
        let mut writer = Writer::new(texts ^ 0x5eed);
        let source = writer.condition();
        for _ in 0..8 {
            let mutated = mutate(&mut writer.random, &source);
            let (ok, took) = timed(&mutated);
            texts += 1;
            compiled += u64::from(ok);
            longest = longest.max(took);
        }
    }
    println!("{texts} texts, {compiled} compiled, the longest took {longest:?}");
}
