//! Whether two patterns of targets have a target in common.
//!
//! Each pattern is a small automaton, as `globset` reads it; both are walked at once, character by character. It is decided,
//! not guessed: `*-db` and `web-*` meet in `web-db`. Characters stand for themselves; where globset matches bytes, `?` and
//! classes say of a character beyond ASCII only "perhaps", which counts as yes here.

use super::policy::Pattern;

/// A piece of a pattern as globset reads it.
enum Piece {
    Char(char),
    One,
    Star,
    Class(Vec<Range>),
    /// `**/` at the beginning, `/**/` in the middle, `/**` at the end.
    Prefix,
    Middle,
    Suffix,
}

/// Characters from one to another, both included.
type Range = (u32, u32);

/// A step of the automaton.
enum Step {
    /// One character of these.
    Of(Vec<Range>),
    /// Any characters, also none.
    Star,
    /// The next two steps may be left out.
    Maybe,
}

const EVERY: Range = (0, char::MAX as u32);

impl Pattern {
    /// Whether a target can be one of both.
    #[must_use]
    pub fn meets(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Everything, _) | (_, Self::Everything) => true,
            (Self::Exactly(name), pattern) | (pattern, Self::Exactly(name)) => pattern.matches(name),
            (Self::Glob(one), Self::Glob(other)) => {
                meet(&steps(one.glob().glob()), &steps(other.glob().glob()))
            }
        }
    }
}

/// Walks both: is there a text that leads both to their ends?
fn meet(one: &[Step], other: &[Step]) -> bool {
    let width = other.len() + 1;
    let mut seen = vec![false; (one.len() + 1) * width];
    let mut open = vec![(0, 0)];
    while let Some((i, j)) = open.pop() {
        if std::mem::replace(&mut seen[i * width + j], true) {
            continue;
        }
        if i == one.len() && j == other.len() {
            return true;
        }
        open.extend(without(one, i).map(|i| (i, j)));
        open.extend(without(other, j).map(|j| (i, j)));
        if let (Some((to_i, mine)), Some((to_j, theirs))) = (with(one, i), with(other, j))
            && mine.iter().any(|a| theirs.iter().any(|b| a.0.max(b.0) <= a.1.min(b.1)))
        {
            open.push((to_i, to_j));
        }
    }
    false
}

/// Where one gets without a character.
fn without(steps: &[Step], at: usize) -> impl Iterator<Item = usize> {
    let (first, second) = match steps.get(at) {
        Some(Step::Star) => (Some(at + 1), None),
        Some(Step::Maybe) => (Some(at + 1), Some(at + 3)),
        Some(Step::Of(_)) | None => (None, None),
    };
    first.into_iter().chain(second)
}

/// Where one gets with a character, and which it may be.
fn with(steps: &[Step], at: usize) -> Option<(usize, &[Range])> {
    match steps.get(at)? {
        Step::Of(ranges) => Some((at + 1, ranges)),
        Step::Star => Some((at, std::slice::from_ref(&EVERY))),
        Step::Maybe => None,
    }
}

fn steps(glob: &str) -> Vec<Step> {
    let pieces = pieces(glob);
    let slash = || Step::Of(vec![(u32::from('/'), u32::from('/'))]);
    if let [Piece::Prefix] = pieces.as_slice() {
        return vec![Step::Star];
    }
    let mut steps = Vec::with_capacity(pieces.len());
    for piece in pieces {
        match piece {
            Piece::Char(c) => steps.push(Step::Of(vec![(u32::from(c), u32::from(c))])),
            Piece::One => steps.push(Step::Of(vec![EVERY])),
            Piece::Star => steps.push(Step::Star),
            Piece::Class(ranges) => steps.push(Step::Of(ranges)),
            Piece::Prefix => steps.extend([Step::Maybe, Step::Star, slash()]),
            Piece::Middle => steps.extend([slash(), Step::Maybe, Step::Star, slash()]),
            Piece::Suffix => steps.extend([slash(), Step::Star]),
        }
    }
    steps
}

/// Reads a pattern that globset has taken already.
fn pieces(glob: &str) -> Vec<Piece> {
    let chars: Vec<char> = glob.chars().collect();
    let mut pieces = Vec::new();
    let mut at = 0;
    while let Some(&c) = chars.get(at) {
        at += 1;
        match c {
            '?' => pieces.push(Piece::One),
            '[' => pieces.push(Piece::Class(class(&chars, &mut at))),
            '*' => star(&chars, &mut at, &mut pieces),
            c => pieces.push(Piece::Char(c)),
        }
    }
    pieces
}

/// One star or two. Two are more than one only where they are a whole part between slashes.
fn star(chars: &[char], at: &mut usize, pieces: &mut Vec<Piece>) {
    if chars.get(*at) != Some(&'*') {
        pieces.push(Piece::Star);
        return;
    }
    let before = at.checked_sub(2).and_then(|before| chars.get(before));
    *at += 1;
    let after = chars.get(*at);
    let whole = matches!(after, None | Some('/'));
    if !whole || !(pieces.is_empty() || before == Some(&'/')) {
        pieces.extend([Piece::Star, Piece::Star]);
        return;
    }
    let last = after.is_none();
    *at += usize::from(!last);
    match pieces.pop() {
        None | Some(Piece::Prefix) => pieces.push(Piece::Prefix),
        Some(Piece::Suffix) => pieces.push(Piece::Suffix),
        Some(Piece::Char(_) | Piece::One | Piece::Star | Piece::Class(_) | Piece::Middle) => {
            pieces.push(if last { Piece::Suffix } else { Piece::Middle });
        }
    }
}

/// A class, behind its bracket, to behind its end.
fn class(chars: &[char], at: &mut usize) -> Vec<Range> {
    let negated = matches!(chars.get(*at), Some('!' | '^'));
    *at += usize::from(negated);
    let mut ranges: Vec<Range> = Vec::new();
    let (mut first, mut to) = (true, false);
    while let Some(&c) = chars.get(*at) {
        *at += 1;
        match c {
            ']' if !first => break,
            '-' if !first && !to => {
                to = true;
                continue;
            }
            c => match ranges.last_mut().filter(|_| to) {
                Some(range) => range.1 = u32::from(c),
                None => ranges.push((u32::from(c), u32::from(c))),
            },
        }
        (first, to) = (false, false);
    }
    if to {
        ranges.push((u32::from('-'), u32::from('-')));
    }
    ranges.sort_unstable();
    if negated { others(&ranges) } else { ranges }
}

/// Everything but these, which are sorted.
fn others(ranges: &[Range]) -> Vec<Range> {
    let mut rest = Vec::new();
    let mut from = EVERY.0;
    for (first, last) in ranges {
        if *first > from {
            rest.push((from, first - 1));
        }
        from = from.max(last + 1);
    }
    if from <= EVERY.1 {
        rest.push((from, EVERY.1));
    }
    rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn patterns_meet_where_a_name_is_of_both() {
        let table = [
            ("web-*", "*-db", true),
            ("web-*", "db-*", false),
            ("*a*", "*b*", true),
            ("a*b", "a*c", false),
            ("[a-c]*", "[d-f]*", false),
            ("[!a]*", "a*", false),
            ("x-?*", "x-", false),
            ("web-1", "web-*", true),
            ("all", "web-1", true),
            ("{a}*", "a*", false),
            ("a/**/b*", "a/b*", true),
            ("**/b*", "b*", true),
        ];
        for (one, other, expected) in table {
            let (a, b) = (Pattern::new(one).unwrap(), Pattern::new(other).unwrap());
            assert_eq!((a.meets(&b), b.meets(&a)), (expected, expected), "{one} and {other}");
        }
    }

    /// All texts over a few characters, up to the length that suffices for two patterns of three pieces.
    fn texts() -> Vec<String> {
        let mut all = vec![String::new()];
        let mut last = all.clone();
        for _ in 0..6 {
            last = last.iter().flat_map(|text| "ab/".chars().map(move |c| format!("{text}{c}"))).collect();
            all.extend(last.iter().cloned());
        }
        all
    }

    fn glob() -> impl Strategy<Value = String> {
        let piece = prop_oneof![
            4 => Just("*"), 3 => Just("a"), 2 => Just("b"), 2 => Just("/"), 1 => Just("?"), 1 => Just("[ab]"),
            1 => Just("[!a]"), 1 => Just("[a-b/]"), 1 => Just("**"),
        ];
        prop::collection::vec(piece, 1..=3).prop_map(|pieces| format!("{}*", pieces.concat())).prop_flat_map(
            |text| {
                let bare = text.trim_end_matches('*').to_owned();
                if bare.contains('*') {
                    prop_oneof![Just(text), Just(bare)].boxed()
                } else {
                    Just(text).boxed()
                }
            },
        )
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(400))]
        #[test]
        fn it_agrees_with_trying_every_name(one in glob(), other in glob()) {
            let (Ok(a), Ok(b)) = (Pattern::new(&one), Pattern::new(&other)) else { return Ok(()) };
            let found = texts().into_iter().find(|text| a.matches(text) && b.matches(text));
            prop_assert_eq!(a.meets(&b), found.is_some(), "{} and {}: {:?}", one, other, found);
        }
    }
}
