//! The limits an expression must keep *before* a parser sees it, and the tokens that make them countable.
//!
//! The parser recurses over left-deep chains without a limit of its own, so size, tokens and nesting are counted here
//! first, without recursion. It is not a second parser: what is no token of CEL is refused here with better words than
//! the parser has, everything else is left to it.

use super::error::CompileError;
use super::source::Source;

/// The longest expression, in bytes.
pub const MAX_BYTES: usize = 4096;
/// The most tokens of an expression.
pub const MAX_TOKENS: usize = 500;
/// The deepest nesting of brackets, and the most `?:` in one expression.
pub const MAX_NESTING: usize = 32;

/// A piece of the text; only where it is matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) start: usize,
    pub(super) end: usize,
}

/// Splits the text into tokens, or says which limit it breaks.
pub(super) fn check(source: &Source<'_>) -> Result<Vec<Token>, CompileError> {
    let text = source.text;
    if text.len() > MAX_BYTES {
        let message = format!("the expression is {} bytes long; at most {MAX_BYTES} are allowed", text.len());
        return Err(source.error(0, message));
    }
    if let Some(at) = text.find('\0') {
        return Err(source.error(at, "a NUL character is not allowed"));
    }
    let mut tokens = Vec::new();
    let mut open: Vec<(usize, u8)> = Vec::new();
    let mut choices = 0;
    let mut at = skip_space(text, 0);
    while at < text.len() {
        let end = token_end(source, at)?;
        tokens.push(Token { start: at, end });
        if tokens.len() > MAX_TOKENS {
            return Err(source.error(at, format!("more than {MAX_TOKENS} tokens; split the rule in several")));
        }
        match text.as_bytes()[at] {
            bracket @ (b'(' | b'[' | b'{') if end == at + 1 => open.push((at, bracket)),
            bracket @ (b')' | b']' | b'}') => close(source, &mut open, at, bracket)?,
            b'?' => choices += 1,
            _ => {}
        }
        if open.len() > MAX_NESTING || choices > MAX_NESTING {
            let message =
                format!("nested too deeply; at most {MAX_NESTING} levels and as many `?:` are allowed");
            return Err(source.error(at, message));
        }
        at = skip_space(text, end);
    }
    if let Some((at, bracket)) = open.last() {
        let message = format!("this `{}` is never closed", char::from(*bracket));
        return Err(source.error(*at, message));
    }
    if tokens.is_empty() {
        return Err(source.error(0, "the expression is empty"));
    }
    Ok(tokens)
}

fn close(
    source: &Source<'_>,
    open: &mut Vec<(usize, u8)>,
    at: usize,
    bracket: u8,
) -> Result<(), CompileError> {
    let wanted = match bracket {
        b')' => b'(',
        b']' => b'[',
        _ => b'{',
    };
    match open.pop() {
        Some((_, found)) if found == wanted => Ok(()),
        Some((_, found)) => {
            let message =
                format!("`{}` does not close the `{}` before it", char::from(bracket), char::from(found));
            Err(source.error(at, message))
        }
        None => {
            let message = format!("`{}` closes nothing; remove it", char::from(bracket));
            Err(source.error(at, message))
        }
    }
}

/// The first offset from `at` on that is neither white space nor a comment.
pub(super) fn skip_space(text: &str, mut at: usize) -> usize {
    let bytes = text.as_bytes();
    while at < bytes.len() {
        match bytes[at] {
            b' ' | b'\t' | b'\r' | b'\n' | 0x0c => at += 1,
            b'/' if bytes.get(at + 1) == Some(&b'/') => {
                at = text[at..].find('\n').map_or(bytes.len(), |n| at + n);
            }
            _ => break,
        }
    }
    at
}

fn token_end(source: &Source<'_>, at: usize) -> Result<usize, CompileError> {
    let bytes = source.text.as_bytes();
    let next = bytes.get(at + 1).copied().unwrap_or(b' ');
    match bytes[at] {
        b'"' | b'\'' => text_end(source, at, at, false),
        b'a'..=b'z' | b'A'..=b'Z' | b'_' => word_end(source, at),
        b'0'..=b'9' => Ok(number_end(bytes, at)),
        b'.' if next.is_ascii_digit() => Ok(number_end(bytes, at)),
        b'`' => match source.text[at + 1..].find(['`', '\n']) {
            Some(n) if bytes[at + 1 + n] == b'`' => Ok(at + n + 2),
            _ => Err(source.error(at, "this ` is never closed")),
        },
        b'=' | b'!' | b'<' | b'>' if next == b'=' => Ok(at + 2),
        b'&' if next == b'&' => Ok(at + 2),
        b'|' if next == b'|' => Ok(at + 2),
        b'!' | b'<' | b'>' | b'(' | b')' | b'[' | b']' | b'{' | b'}' | b'.' | b',' | b'-' | b'?' | b':'
        | b'+' | b'*' | b'/' | b'%' => Ok(at + 1),
        b'=' => Err(source.error(at, "unexpected `=`; to compare, write `==`")),
        b'&' => Err(source.error(at, "unexpected `&`; for \"and\", write `&&`")),
        b'|' => Err(source.error(at, "unexpected `|`; for \"or\", write `||`")),
        _ => {
            let found = source.text[at..].chars().next().unwrap_or(' ');
            Err(source.error(at, format!("unexpected character `{}`", found.escape_debug())))
        }
    }
}

/// The end of a name, or of a text with a prefix (`r"…"`, `b"…"`).
fn word_end(source: &Source<'_>, at: usize) -> Result<usize, CompileError> {
    let bytes = source.text.as_bytes();
    let mut quote = at;
    if matches!(bytes[quote], b'b' | b'B') {
        quote += 1;
    }
    let raw = matches!(bytes.get(quote), Some(b'r' | b'R'));
    if raw {
        quote += 1;
    }
    if matches!(bytes.get(quote), Some(b'"' | b'\'')) {
        return text_end(source, at, quote, raw);
    }
    let mut end = at;
    while end < bytes.len() && (bytes[end].is_ascii_alphanumeric() || bytes[end] == b'_') {
        end += 1;
    }
    Ok(end)
}

fn text_end(source: &Source<'_>, start: usize, quote_at: usize, raw: bool) -> Result<usize, CompileError> {
    let text = source.text;
    let bytes = text.as_bytes();
    let quote = &text[quote_at..=quote_at];
    let triple = text[quote_at..].starts_with(&quote.repeat(3));
    let closing = if triple { quote.repeat(3) } else { quote.to_owned() };
    let mut at = quote_at + closing.len();
    while at < bytes.len() {
        if text[at..].starts_with(&closing) {
            return Ok(at + closing.len());
        }
        match bytes[at] {
            b'\n' | b'\r' if !triple => break,
            b'\\' if !raw => at += escape_len(source, at)?,
            // Only whole characters, so that `at` stays sliceable.
            _ => at += text[at..].chars().next().map_or(1, char::len_utf8),
        }
    }
    Err(source.error(start, "this text is never closed; its closing quote is missing"))
}

fn escape_len(source: &Source<'_>, at: usize) -> Result<usize, CompileError> {
    match source.text[at + 1..].chars().next() {
        Some(
            'a'
            | 'b'
            | 'f'
            | 'n'
            | 'r'
            | 't'
            | 'v'
            | '"'
            | '\''
            | '\\'
            | '?'
            | '`'
            | 'x'
            | 'X'
            | 'u'
            | 'U'
            | '0'..='3',
        ) => Ok(2),
        Some(c) => {
            let message = format!(
                "`\\{}` is no escape; for a backslash write `\\\\`, for a pattern r\"…\"",
                c.escape_debug()
            );
            Err(source.error(at, message))
        }
        None => Err(source.error(at, "this text is never closed; its closing quote is missing")),
    }
}

fn number_end(bytes: &[u8], at: usize) -> usize {
    let digits = |mut i: usize| {
        while bytes.get(i).is_some_and(u8::is_ascii_digit) {
            i += 1;
        }
        i
    };
    let mut end;
    if bytes[at] == b'0' && bytes.get(at + 1) == Some(&b'x') {
        end = at + 2;
        while bytes.get(end).is_some_and(u8::is_ascii_hexdigit) {
            end += 1;
        }
    } else {
        end = digits(at);
        if bytes.get(end) == Some(&b'.') && bytes.get(end + 1).is_some_and(u8::is_ascii_digit) {
            end = digits(end + 1);
        }
        if matches!(bytes.get(end), Some(b'e' | b'E')) {
            let sign = usize::from(matches!(bytes.get(end + 1), Some(b'+' | b'-')));
            if bytes.get(end + 1 + sign).is_some_and(u8::is_ascii_digit) {
                end = digits(end + 1 + sign);
            }
        }
    }
    end + usize::from(matches!(bytes.get(end), Some(b'u' | b'U')))
}
