//! Cuts a connection's own secret out of what comes back, should the other side echo it.
//!
//! It finds the secret verbatim, in base64 and percent-encoded. A side that transforms it in another way
//! is outside of what can be promised.

use std::fmt::Write;

use base64::Engine;
use base64::prelude::{BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE_NO_PAD};

use crate::domain::mutant::{Fault, holds};

/// Shorter secrets would be found everywhere by chance.
const MIN_LEN: usize = 6;

const CUT: &[u8] = b"[redacted]";

/// Looks for some secrets.
pub(super) struct Redactor {
    needles: Vec<Vec<u8>>,
}

impl Redactor {
    /// Prepares to look for these.
    pub(super) fn new(secrets: &[String]) -> Self {
        let mut needles = Vec::new();
        for secret in secrets.iter().filter(|s| s.len() >= MIN_LEN) {
            needles.push(secret.as_bytes().to_vec());
            needles.push(percent(secret, false).into_bytes());
            needles.push(percent(secret, true).into_bytes());
            for offset in 0..3 {
                needles.extend(base64_inside(secret, offset));
            }
        }
        // Longest first, so that a whole form is cut before a part of it.
        needles.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        needles.dedup();
        Self { needles }
    }

    /// How many bytes past a limit must be looked at so that none is missed that begins before it.
    pub(super) fn reach(&self) -> usize {
        self.needles.first().map_or(0, Vec::len)
    }

    /// What is left of a text after the secrets are cut out.
    pub(super) fn cut(&self, bytes: Vec<u8>) -> Vec<u8> {
        if !holds(Fault::Redacted) {
            return bytes;
        }
        self.needles.iter().fold(bytes, |bytes, needle| replace(bytes, needle))
    }
}

fn percent(secret: &str, every: bool) -> String {
    let mut out = String::with_capacity(secret.len() * 3);
    for b in secret.bytes() {
        if !every && (b.is_ascii_alphanumeric() || b"-._~".contains(&b)) {
            out.push(char::from(b));
        } else {
            let _ = write!(out, "%{b:02X}");
        }
    }
    out
}

/// The part of a base64 text that the secret alone decides when it begins `offset` bytes into a group of
/// three, in both alphabets.
fn base64_inside(secret: &str, offset: usize) -> Vec<Vec<u8>> {
    let padded = [&vec![0; offset][..], secret.as_bytes()].concat();
    let whole = padded.len() * 8 / 6;
    let skip = (offset * 8).div_ceil(6);
    [BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE_NO_PAD]
        .iter()
        .map(|engine| engine.encode(&padded).as_bytes()[skip..whole].to_vec())
        .filter(|needle| needle.len() >= MIN_LEN)
        .collect()
}

fn replace(bytes: Vec<u8>, needle: &[u8]) -> Vec<u8> {
    let Some(first) = find(&bytes, needle) else { return bytes };
    let mut out = Vec::with_capacity(bytes.len());
    let (mut from, mut next) = (0, Some(first));
    while let Some(at) = next {
        out.extend_from_slice(&bytes[from..from + at]);
        out.extend_from_slice(CUT);
        from += at + needle.len();
        next = find(&bytes[from..], needle);
    }
    out.extend_from_slice(&bytes[from..]);
    out
}

fn find(bytes: &[u8], needle: &[u8]) -> Option<usize> {
    let (first, rest) = needle.split_first()?;
    let mut from = 0;
    // Percent-encoded digits come in either case.
    while let Some(at) = bytes[from..].iter().position(|b| b.eq_ignore_ascii_case(first)) {
        let start = from + at;
        let tail = bytes.get(start + 1..start + needle.len())?;
        if tail.eq_ignore_ascii_case(rest) {
            return Some(start);
        }
        from = start + 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(text: &str) -> String {
        let r = Redactor::new(&["s3cr3t/p+ss wörd".to_owned()]);
        String::from_utf8(r.cut(text.as_bytes().to_vec())).unwrap()
    }

    #[test]
    fn every_form_is_cut() {
        for text in [
            "s3cr3t/p+ss wörd",
            "s3cr3t%2Fp%2Bss%20w%C3%B6rd",
            "s3cr3t%2fp%2bss%20w%c3%b6rd",
            "%73%33%63%72%33%74%2F%70%2B%73%73%20%77%C3%B6%72%64",
        ] {
            assert_eq!(cut(&format!("a {text} b {text}")), "a [redacted] b [redacted]", "{text}");
        }
        for before in ["", "u", "us", "user:"] {
            for engine in [BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE_NO_PAD] {
                let text = engine.encode(format!("{before}s3cr3t/p+ss wörd and after"));
                assert!(cut(&text).contains("[redacted]"), "{before:?} {text}");
            }
        }
    }

    #[test]
    fn other_text_and_short_secrets_are_left_alone() {
        assert_eq!(cut("s3cr3t/p+ss word"), "s3cr3t/p+ss word");
        assert_eq!(Redactor::new(&["abc".to_owned()]).cut(b"abc".to_vec()), b"abc");
        assert_eq!(Redactor::new(&[]).reach(), 0);
    }
}
